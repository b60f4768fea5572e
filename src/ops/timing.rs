//! `dr run show --timing`: where the time of a run went.

use serde::Serialize;

use super::Ctx;
use super::runs::newest_named;
use crate::error::{CommandError, Exit, Result};
use crate::journal;
use crate::trace::timing::{self, CallTiming, StepTiming};

/// Where the time of a run went, as far as it was recorded.
#[derive(Debug, Serialize)]
pub struct RunTiming {
    pub run: String,
    /// All steps together, in milliseconds.
    pub milliseconds: f64,
    /// Each step, in the order in which they ended; one that was done again stands there again.
    pub steps: Vec<StepTiming>,
    /// All calls of each kind, the longest kind first.
    pub calls: Vec<CallTiming>,
}

/// Reads what was recorded of the run whose id is `id` or begins with it.
///
/// # Errors
/// There is no such run, or what was recorded cannot be read.
pub fn timing(ctx: &Ctx, id: &str) -> Result<RunTiming> {
    let (run, _) = journal::find(&*ctx.runs, &newest_named(ctx, id)?)?;
    let failed = |error| CommandError::new(Exit::Failure, format!("read the timing of run {run}")).because(error);
    let steps = match ctx.runs.folder(&run) {
        Some(folder) => timing::read(&folder).map_err(failed)?,
        None => Vec::new(),
    };
    Ok(RunTiming {
        // The sum of no floats is -0.
        milliseconds: steps.iter().fold(0.0, |sum, step| sum + step.milliseconds),
        calls: timing::total(&steps),
        steps,
        run,
    })
}
