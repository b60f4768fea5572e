//! `dr bundle import`: a backup that was made without `dr`, with the config that belonged to it, as one bundle.
//!
//! facts -> plan -> steps. No cluster is touched, so there is no journal of runs: a bundle's name follows from its backup, so
//! that the same command after a kill begins its draft anew, and one that has come to its end finds the bundle there.

mod backup;
mod base;
mod built_in;
mod facts;
mod place;
mod plan;
mod request;
mod seal;
mod steps;
mod wal;

pub use built_in::{BuiltInList, BuiltInReader, list};
pub use place::BackupPlace;
pub use plan::ImportPlan;
pub use request::ImportRequest;
pub use steps::ImportReport;

use super::Ctx;
use crate::error::Result;

/// Looks at the backup and for the config that belonged to it. Changes nothing.
///
/// # Errors
/// The folder holds no such backup, the config vault no such deployment, or the keys do not fit.
pub fn plan(ctx: &Ctx, request: &ImportRequest) -> Result<ImportPlan> {
    // What is read out of a volume comes by a session that the runtime drives.
    plan::decide(tokio::task::block_in_place(|| facts::facts(ctx, request))?)
}

/// Makes the bundle that the plan says.
///
/// # Errors
/// The backup is not what its own manifest says, the store cannot be written to, or the user has asked to stop. Then
/// nothing of it is in the store.
pub fn import(ctx: &Ctx, request: &ImportRequest, plan: &ImportPlan) -> Result<ImportReport> {
    // Checking and sealing take the processor's time, and a bucket its own.
    tokio::task::block_in_place(|| steps::carry_out(ctx, request, plan))
}
