//! Runs: what a long verb intends, did and undid, on disk before and after each step.
//!
//! This is not a log for reading pleasure: it is what the next `dr` rebuilds the state from after a crash. One folder
//! a run (`<state>/runs/<id>/`), so that one damaged run harms no other. In it `journal.jsonl`, append-only JSON
//! Lines, each line on disk before the act that it announces and after the act that it reports; and `lock`, held by
//! the process that executes the run, so that a run without a holder is known to be dead.
//!
//! Format changelog: 1.0 the first.

pub mod fault;
pub mod file;
pub mod record;
pub mod runner;

pub use file::{Journal, JournalError, Listed, Run, list, open_run};
pub use record::{Begun, Outcome, Record, StepState};
pub use runner::{Done, Outputs, Policy, Step, execute, put_back, step};

use serde::{Deserialize, Serialize};

/// The version of the journal's form. A higher major is refused; a higher minor is read, but not continued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Format {
    /// Changed when an older program would misread.
    pub major: u32,
    /// Changed when something was added.
    pub minor: u32,
}

/// What this program writes.
pub const FORMAT: Format = Format { major: 1, minor: 0 };

/// Makes the id of a new run: `<verb>-<UTC date and time>-<6 hex>`, so that ids sort by time within a verb.
pub fn new_run_id(verb: &str, now: jiff::Timestamp) -> String {
    let random: u32 = rand::random();
    format!("{verb}-{}-{:06x}", now.strftime("%Y%m%dT%H%M%SZ"), random & 0xff_ffff)
}
