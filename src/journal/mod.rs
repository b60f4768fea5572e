//! Runs: what a long verb intends, did and undid, on disk before and after each step.
//!
//! This is not a log for reading: it is what the next `dr` rebuilds the state from after a crash. A run is a list of
//! lines, append-only, each durable before the act that it announces and after the act that it reports. A process that
//! executes a run holds it, so that an unfinished run without a holder is known to be interrupted. Where runs are kept is a
//! [`RunStore`]'s; on a host that is a folder a run (`<state>/runs/<id>/`).
//!
//! The journal knows no verb. A verb brings its steps, what they work with and what they fail with.
//!
//! Format changelog: 1.0 the first · 1.1 `steps_sha256` in the first record, outcome `aborted` · 1.2 record
//! `program`.

mod error;
pub mod fault;
mod folder;
mod program;
mod record;
mod remains;
mod run;
mod runner;
mod step;
mod store;
#[cfg(test)]
pub(crate) mod testing;

pub use error::{Interrupted, JournalError, StepError};
pub use folder::FolderRuns;
pub use program::StartedProgram;
pub use record::{Begun, Outcome, Record, Replay, StepState};
pub use remains::{ClosingRun, Remains, ended};
pub use run::{Journal, JournalNotes, ListedRun, Run, find, list, named};
pub use runner::{RunContext, RunFailure, UndoFailure, execute, put_back};
pub use step::{Done, Outputs, Step, StepName, digest, step, to_undo};
pub use store::{RunStore, StoredRun};

use serde::{Deserialize, Serialize};

/// The version of the journal's format. A higher major is refused; a higher minor is read, but not continued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Format {
    /// Changed when an older program would misread.
    pub major: u32,
    /// Changed when something was added.
    pub minor: u32,
}

/// What this program writes.
pub const FORMAT: Format = Format { major: 1, minor: 2 };

/// Makes the id of a new run: `<verb>-<UTC date and time>-<6 hex>`, so that ids sort by time within a verb.
pub fn new_run_id(verb: &str, now: jiff::Timestamp) -> String {
    let random: u32 = rand::random();
    format!("{verb}-{}-{:06x}", now.strftime("%Y%m%dT%H%M%SZ"), random & 0xff_ffff)
}
