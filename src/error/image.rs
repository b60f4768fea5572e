//! What goes wrong with `dr`'s own image, for people.

use super::{CommandError, Exit};
use crate::image::ImageError;

impl From<ImageError> for CommandError {
    fn from(error: ImageError) -> Self {
        let text = error.to_string();
        match error {
            ImageError::Program { .. } => CommandError::new(Exit::Failure, text)
                .hint("Use the released dr program: one static file, for the architecture of the cluster's nodes."),
            ImageError::Reference { .. } => CommandError::new(Exit::Usage, text)
                .hint("Such as `registry.example.org/tools/dr`, with or without `:TAG`."),
            ImageError::Login { registry, .. } => CommandError::new(Exit::Keys, text)
                .hint(format!("Log in anew: `helm registry login {registry}` or `docker login {registry}`.")),
            ImageError::Unauthorized { registry, .. } => CommandError::new(Exit::Keys, text)
                .hint(format!("Log in as somebody who may: `helm registry login {registry}` or `docker login {registry}`.")),
            ImageError::Refused { .. } => CommandError::new(Exit::Failure, text)
                .hint("Try again: what it has by now is not sent twice. Without a registry: `dr image save FILE`."),
            ImageError::Unreachable { .. } => CommandError::new(Exit::Failure, text).hint(
                "A registry with a certificate of the site's own needs --ca-file, one without TLS --plain-http. Without a registry: `dr image save FILE`.",
            ),
            ImageError::Io(source) => CommandError::new(Exit::Failure, text).because(source),
        }
    }
}
