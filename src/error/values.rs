//! What is wrong with a values file, for people.

use super::{CommandError, Exit};
use crate::values::YamlError;

impl From<YamlError> for CommandError {
    fn from(error: YamlError) -> Self {
        Self::new(Exit::Failure, error.to_string())
            .hint("Fix the file at that place: Helm refuses it, too, or reads it in a way that nobody means. What it has deployed all the same, --allow not-read keeps and deploys as bytes.")
    }
}
