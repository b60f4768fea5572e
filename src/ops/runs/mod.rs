//! `dr run`: what runs there are, how far each got, and what becomes of those that stand open.
//!
//! Nothing here knows a verb: what differs between them is in the [table](table::VERBS).

mod abort;
mod behind;
mod half_done;
mod list;
mod named;
mod recover;
mod resume;
mod table;
mod target;
pub mod undo;
pub mod verb;
mod ways;

pub use abort::{AbortPlan, AbortReport, abort, plan_abort};
pub use behind::open_behind;
pub use half_done::{half_done, require_whole};
#[cfg(test)]
pub use list::RunLine;
pub use list::{RunList, RunShown, is_open, is_over, list, show};
pub(super) use named::newest_named;
pub use recover::{InterruptedRuns, last_recorded, put_back_interrupted, to_put_back, without_settings};
pub use resume::{Resumed, resume};
pub use undo::PutBackReport;
pub use ways::{WaysOn, closing_command, next_command, next_command_asked, resume_command, with_ways};
