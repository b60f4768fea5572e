//! What is wrong with a values file, for people.

use super::{CommandError, Exit};
use crate::values::YamlError;

impl From<YamlError> for CommandError {
    fn from(error: YamlError) -> Self {
        Self::new(Exit::Failure, error.to_string())
            .hint("Fix the file at that place; Helm would refuse it too, or read it in a way that nobody means.")
    }
}
