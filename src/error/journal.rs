//! Errors of the journal, for people.

use super::crypt::make_own;
use super::{CommandError, Exit, OpenRun};
use crate::journal::fault::InjectedFault;
use crate::journal::{Interrupted, JournalError, RunFailure, StepError, UndoFailure};

/// An open run is closed by its id, one that is over asks for nothing: which of them it is the list tells.
const UNREADABLE: &str = "`dr run list` tells whether it is over, and the command that closes an open one.";

impl From<JournalError> for CommandError {
    fn from(error: JournalError) -> Self {
        let text = error.to_string();
        match error {
            JournalError::Io { source, .. } => CommandError::new(Exit::Failure, text)
                .because(source)
                .hint("A run whose journal cannot be written is stopped: free or repair that disk."),
            JournalError::Open { place, others } => CommandError::new(Exit::Resume, text)
                .hint(make_own(&place, &others))
                .hint("If it is no run of yours: `dr server start` takes the counts that the Deployments bear."),
            JournalError::Damaged { .. } => CommandError::new(Exit::Damaged, text).hint(UNREADABLE),
            JournalError::Illegal { source, .. } => {
                CommandError::new(Exit::Damaged, text).because(source).hint(UNREADABLE)
            }
            JournalError::Newer { .. } => CommandError::new(Exit::Format, text)
                .hint("Use the version of dr that began this run.")
                .hint(UNREADABLE),
            JournalError::Output { source, .. } => CommandError::new(Exit::Resume, text).because(source),
            JournalError::NotFound(_) | JournalError::Ambiguous { .. } => {
                CommandError::new(Exit::NotFound, text).hint("`dr run list` shows all runs.")
            }
            JournalError::Held(_) => CommandError::new(Exit::Locked, text)
                .hint("Let it end, or stop that process with Ctrl-C; `dr run list` shows who began it."),
        }
    }
}

impl From<Interrupted> for CommandError {
    fn from(error: Interrupted) -> Self {
        CommandError::new(Exit::Interrupted, error.to_string())
    }
}

impl From<InjectedFault> for CommandError {
    fn from(error: InjectedFault) -> Self {
        CommandError::new(Exit::Failure, error.to_string())
    }
}

impl StepError for CommandError {
    fn headline(&self) -> &str {
        self.message()
    }
}

impl From<RunFailure<CommandError>> for CommandError {
    fn from(RunFailure { run, error, step }: RunFailure<CommandError>) -> Self {
        error.behind_it(OpenRun::new(run, step))
    }
}

impl From<UndoFailure<CommandError>> for CommandError {
    fn from(UndoFailure { run, step, title, error }: UndoFailure<CommandError>) -> Self {
        error.context(title).behind_it(OpenRun::new(run, step))
    }
}
