//! Why an image is not made, or does not get to where it is to be.

/// Why an image was not made or not pushed. Texts of a registry are cut short and hold nothing that steers a terminal.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The program would not run in a pod.
    #[error("{path} cannot be an image: {reason}")]
    Program { path: String, reason: String },
    #[error("`{text}` is no name of an image: {reason}")]
    Reference { text: String, reason: &'static str },
    /// What was logged in with cannot be read.
    #[error("the login for registry {registry} in {path} cannot be used: {reason}")]
    Login { registry: String, path: String, reason: String },
    /// The registry knows nobody, or not this one.
    #[error("registry {registry} does not let {who} push to {repository}: {said}")]
    Unauthorized { registry: String, repository: String, who: String, said: String },
    /// It answered, and not with what was asked for.
    #[error("registry {registry} refuses to {act}: {said}")]
    Refused { registry: String, act: String, said: String },
    /// It did not answer.
    #[error("registry {registry} cannot be reached: {cause}")]
    Unreachable { registry: String, cause: String },
    #[error("read the program while the image is made")]
    Io(#[source] std::io::Error),
}
