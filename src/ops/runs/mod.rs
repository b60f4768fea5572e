//! `dr run`: what runs there are, how far each got, and what becomes of those that stand open.
//!
//! Nothing here knows a verb: what differs between them is in the [table](table::VERBS).

mod abort;
mod behind;
mod list;
mod recover;
mod resume;
mod table;
pub mod verb;
mod ways;

pub use abort::{AbortPlan, AbortReport, abort, plan_abort};
pub use behind::open_behind;
#[cfg(test)]
pub use list::RunLine;
pub use list::{RunList, RunShown, list, show};
pub use recover::put_back_dead;
pub use resume::resume;
pub use verb::{PutBackReport, Resumed};
pub use ways::{next_command, next_command_asked, with_ways};
