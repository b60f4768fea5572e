//! Errors of tracing, for people.

use super::{CommandError, Exit};
use crate::trace::TraceError;

impl From<TraceError> for CommandError {
    fn from(error: TraceError) -> Self {
        let text = error.to_string();
        match error {
            TraceError::LogFile { source, .. } => CommandError::new(Exit::Usage, text)
                .because(source)
                .hint("Give --log-file a file in a folder that is there and that you may write."),
            TraceError::Begun(source) => CommandError::new(Exit::Failure, text).because(source),
        }
    }
}
