//! Where runs are kept.

use std::fmt;
use std::path::PathBuf;

use super::error::JournalError;

/// A place that keeps the lines of runs, and knows of each whether a process executes it. It knows nothing of what the
/// lines say.
///
/// An implementation promises:
/// - A run is there with its whole first line, or not at all, whatever dies when.
/// - Of a run that is there, one process at a time holds the log. The hold ends with the log, and soon after the death
///   of its process; it never ends while the process could still append.
/// - Lines are never changed. One that was cut off when its process died is not given out.
///
/// The calls block. A place that is reached over the network waits on its own.
pub trait RunStore: fmt::Debug + Send + Sync {
    /// Makes the run `id`, which is not there yet, with its first line, and holds it. When this returns, both are
    /// durable.
    ///
    /// # Errors
    /// `Io`.
    fn begin(&self, id: &str, first: &[u8]) -> Result<Box<dyn RunLog>, JournalError>;

    /// Takes the run `id` for appending.
    ///
    /// # Errors
    /// `NotFound`, `Held` by another, or `Io`.
    fn open(&self, id: &str) -> Result<Box<dyn RunLog>, JournalError>;

    /// The ids of all runs, in no order.
    ///
    /// # Errors
    /// `Io`.
    fn ids(&self) -> Result<Vec<String>, JournalError>;

    /// Reads the run `id`, which may go on meanwhile.
    ///
    /// # Errors
    /// `NotFound` or `Io`.
    fn read(&self, id: &str) -> Result<StoredRun, JournalError>;

    /// The folder of the run `id`, for what else is kept of it, where there is one.
    fn folder(&self, id: &str) -> Option<PathBuf>;
}

/// A run held for appending. Dropping it, or dying, gives up the hold.
pub trait RunLog: fmt::Debug + Send {
    /// Appends a line, which ends in a newline. When this returns, it is durable; when it fails, it is not there.
    ///
    /// # Errors
    /// `Io`.
    fn append(&mut self, line: &[u8]) -> Result<(), JournalError>;
}

/// A run as it is kept.
#[derive(Debug)]
pub struct StoredRun {
    /// By which it is kept, whatever its lines say.
    pub id: String,
    /// Its whole lines, newlines included.
    pub lines: Vec<u8>,
    /// Where they are, for messages.
    pub place: String,
    /// Whether a living process holds it.
    pub held: bool,
}
