//! Errors of the journal, for people.

use super::{CommandError, Exit};
use crate::journal::JournalError;

impl From<JournalError> for CommandError {
    fn from(error: JournalError) -> Self {
        let text = error.to_string();
        match error {
            JournalError::Io { source, .. } => CommandError::new(Exit::Failure, text)
                .because(source)
                .hint("A run whose journal cannot be written is stopped: free or mend that disk."),
            JournalError::Damaged { .. } => CommandError::new(Exit::Damaged, text)
                .hint("No run can be resumed from it. `dr server status` shows how the application stands."),
            JournalError::Illegal { source, .. } => CommandError::new(Exit::Damaged, text).because(source),
            JournalError::Newer { .. } => {
                CommandError::new(Exit::Format, text).hint("Use the version of dr that began this run.")
            }
            JournalError::NotFound(_) | JournalError::Ambiguous { .. } => {
                CommandError::new(Exit::NotFound, text).hint("`dr run list` shows all runs.")
            }
            JournalError::Held(_) => CommandError::new(Exit::Locked, text)
                .hint("Let it end, or stop that process with Ctrl-C; `dr run list` shows who began it."),
        }
    }
}
