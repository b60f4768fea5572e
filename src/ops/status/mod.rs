//! `dr status`: could this install be restored now, to when, and how long would it take.
//!
//! All of it is computed from the store, the vault and this host's runs when it is asked for: nothing that made a bundle
//! remembers anything, so a host that was replaced says the same. No cluster is asked.

mod facts;
mod judge;
mod metrics;
mod report;

pub use metrics::{METRICS_BEGIN, text as metrics_text};
pub use report::{AllStatus, BundleMoment, InstallStatus, StatusReport};

use super::Ctx;
use super::schedule::ScheduleLine;
use crate::clock;
use crate::error::Result;

/// Judges this install, with what is scheduled on this host.
///
/// # Errors
/// There are no settings. A store that cannot be read is a finding.
pub fn status(ctx: &Ctx, schedules: Vec<ScheduleLine>) -> Result<StatusReport> {
    let facts = facts::facts(ctx, schedules)?;
    // What was not answered because of the signal is no finding.
    ctx.check_cancelled()?;
    Ok(judge::judge(facts))
}

/// Judges every install of the store by its bundles.
///
/// # Errors
/// The store cannot be read.
pub fn all(ctx: &Ctx) -> Result<AllStatus> {
    let store = ctx.store()?;
    Ok(judge::all(facts::known(ctx, &*store)?, store.place(), &facts::targets(ctx)?, clock::now()))
}
