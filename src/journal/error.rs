//! What can go wrong with runs, and what the runner asks of the errors of steps.

use std::error::Error;
use std::fmt;

use super::FORMAT;
use super::record::IllegalRecord;
use crate::ownership::OthersCan;

/// Why a run cannot be begun, read or continued.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Reading or writing failed. A journal that cannot be written stops its run.
    #[error("{act} {place}")]
    Io {
        act: &'static str,
        place: String,
        /// Why it failed.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// Others can write the journal or replace it, and have anything put back.
    #[error("{place} {others}")]
    Open { place: String, others: OthersCan },
    /// A line is not a record.
    #[error("{place}: line {line} is damaged")]
    Damaged {
        place: String,
        /// The line, from 1.
        line: usize,
    },
    /// The records do not add up.
    #[error("{place}")]
    Illegal {
        place: String,
        #[source]
        source: IllegalRecord,
    },
    /// The journal is of a newer format than this program knows.
    #[error("{place}: format {major}.{minor} is newer than {}.{}", FORMAT.major, FORMAT.minor)]
    Newer {
        place: String,
        /// Its major version.
        major: u32,
        /// Its minor version.
        minor: u32,
    },
    /// What a step has left cannot be written, or is not what the later step expects.
    #[error("the output of step {step} is not as expected")]
    Output {
        step: &'static str,
        #[source]
        source: serde_json::Error,
    },
    /// There is no such run.
    #[error("there is no run `{0}`")]
    NotFound(String),
    /// The beginning of an id fits several runs.
    #[error("`{prefix}` fits {} runs: {}", runs.len(), runs.join(", "))]
    Ambiguous {
        prefix: String,
        /// What it fits.
        runs: Vec<String>,
    },
    /// Another process executes it.
    #[error("run {0} is being executed by another process")]
    Held(String),
}

/// The user has asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

/// What steps fail with. The journal knows no error of the program; what it needs of one is said here.
pub trait StepError: fmt::Display + From<JournalError> + From<Interrupted> + From<super::fault::InjectedFault> {
    /// The error in a line, for who watches. `Display` has the causes, too.
    fn headline(&self) -> &str;
}
