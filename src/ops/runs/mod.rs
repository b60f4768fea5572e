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

pub use abort::{AbortPlan, AbortReport, abort, plan_abort};
pub use behind::open_behind;
#[cfg(test)]
pub use list::RunLine;
pub use list::{RunList, RunShown, list, show};
pub use recover::put_back_dead;
pub use resume::resume;
pub use verb::{PutBackReport, Resumed};

use super::Ctx;
use crate::error::{CommandError, Exit};
use crate::journal::{self, Run};

/// The command that is next for an open run: to resume it, or to abort it where that would be refused.
pub fn next_command(id: &str, run: &Run) -> String {
    let way = if table::resumable(&run.replay).is_ok() { "resume" } else { "abort" };
    format!("dr run {way} {id}")
}

/// Names only such ways on of the run behind an error as would not be refused.
pub fn with_ways(ctx: &Ctx, error: CommandError) -> CommandError {
    let Some(open) = error.open_run() else { return error };
    let refused = match journal::find(&*ctx.runs, &open.run) {
        Ok((_, run)) => table::resumable(&run.replay).is_err(),
        Err(_) => false,
    };
    if refused || error.exit() == Exit::Resume { error.not_resumable() } else { error }
}
