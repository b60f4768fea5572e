//! Exit codes and hints of what is wrong with an OpsChain version.

use super::{CommandError, Exit};
use crate::opschain::version::BadVersion;

impl From<BadVersion> for CommandError {
    fn from(error: BadVersion) -> Self {
        CommandError::new(Exit::Usage, error.to_string())
            .hint("A version is a release's date, such as 2026-08-20, or its chart's version, such as 2026.8.20.")
    }
}
