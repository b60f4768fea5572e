//! What an image is called: registry, repository, tag.

use std::fmt;
use std::str::FromStr;

use super::error::ImageError;

/// The whole name of an image, its registry in it: nothing is put in front of it by whoever reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageReference {
    registry: String,
    repository: String,
    tag: String,
}

/// What docker's own registry is called in names of images, in its API, and where its logins are kept.
const DOCKER: (&str, &str, &str) = ("docker.io", "registry-1.docker.io", "https://index.docker.io/v1/");

impl ImageReference {
    /// The registry, as it stands in the name.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Where its API is.
    pub fn host(&self) -> &str {
        if self.registry == DOCKER.0 { DOCKER.1 } else { &self.registry }
    }

    /// What a login for it is kept under.
    pub fn login_key(&self) -> &str {
        if self.registry == DOCKER.0 { DOCKER.2 } else { &self.registry }
    }

    pub fn repository(&self) -> &str {
        &self.repository
    }

    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// Reads one; without a tag it has `tag`.
    ///
    /// # Errors
    /// `Reference` with the reason.
    pub fn parse(text: &str, tag: &str) -> Result<Self, ImageError> {
        let bad = |reason| ImageError::Reference { text: text.escape_debug().to_string(), reason };
        if text.contains('@') {
            return Err(bad("a digest is what comes of the image, and nothing that it can be given"));
        }
        let no_host = "it has to begin with its registry, such as registry.example.org/tools/dr";
        let (registry, rest) = text.split_once('/').ok_or_else(|| bad(no_host))?;
        if !(registry.contains(['.', ':']) || registry == "localhost") {
            return Err(bad(no_host));
        }
        if !is_host(registry) {
            return Err(bad("its registry is no HOST or HOST:PORT"));
        }
        let (repository, tag) = rest.split_once(':').unwrap_or((rest, tag));
        if !repository.split('/').all(is_step) {
            return Err(bad(
                "between registry and tag it has small letters, digits and single . _ - inside of each step",
            ));
        }
        if !is_tag(tag) {
            return Err(bad("its tag has up to 128 letters, digits and . _ -, the first of them no . or -"));
        }
        Ok(Self { registry: registry.into(), repository: repository.into(), tag: tag.into() })
    }
}

impl FromStr for ImageReference {
    type Err = ImageError;

    fn from_str(text: &str) -> Result<Self, ImageError> {
        Self::parse(text, env!("CARGO_PKG_VERSION"))
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}:{}", self.registry, self.repository, self.tag)
    }
}

/// `registry.example.org`, `10.0.0.1:5000`, `[fd00::1]:5000`.
fn is_host(text: &str) -> bool {
    let authority: Option<http::uri::Authority> = text.parse().ok();
    authority.is_some_and(|one| !one.host().is_empty() && !one.as_str().contains('@') && !text.ends_with(':'))
}

fn is_step(text: &str) -> bool {
    let word = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let bytes = text.as_bytes();
    let inside = bytes.iter().all(|byte| word(Some(byte)) || b"._-".contains(byte));
    inside && word(bytes.first()) && word(bytes.last()) && !text.contains("..")
}

fn is_tag(text: &str) -> bool {
    let word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let bytes = text.as_bytes();
    bytes.len() <= 128 && bytes.first().is_some_and(word) && bytes.iter().all(|byte| word(byte) || b".-".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_into_its_parts_and_written_whole() {
        let read = |text: &str| ImageReference::parse(text, "0.1.0").unwrap();
        let one = read("10.0.0.1:5000/tools/dr");
        assert_eq!((one.registry(), one.repository(), one.tag()), ("10.0.0.1:5000", "tools/dr", "0.1.0"));
        assert_eq!(one.to_string(), "10.0.0.1:5000/tools/dr:0.1.0");
        assert_eq!(read("localhost/dr:x-1").to_string(), "localhost/dr:x-1");
        let docker = read("docker.io/our/dr");
        assert_eq!(docker.host(), "registry-1.docker.io");
        assert_eq!(docker.login_key(), "https://index.docker.io/v1/");
    }

    #[test]
    fn what_is_none_is_refused_with_its_reason() {
        for (text, reason) in [
            ("dr", "begin with its registry"),
            ("tools/dr", "begin with its registry"),
            ("r.example/dr@sha256:00", "a digest"),
            ("r.example:/dr", "no HOST"),
            ("u:p@r.example/dr", "a digest"),
            ("r.example/Dr", "small letters"),
            ("r.example/a//b", "small letters"),
            ("r.example/../b", "small letters"),
            ("r.example/dr:", "its tag"),
            ("r.example/dr:-x", "its tag"),
            ("r.example/dr:a/b", "its tag"),
        ] {
            let error = ImageReference::parse(text, "x").unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
