//! `dr bundle copy`: bundles from one store into another one, each byte checked where it comes from and where it arrives.
//!
//! facts -> plan -> steps: `facts` lists both stores, `plan` decides without I/O, `steps` carries over. There is no journal
//! of runs, since no cluster is touched: `progress` keeps how far each copy is, and the same command goes on after a kill.

mod facts;
mod mirrors;
mod plan;
mod progress;
mod request;
mod steps;

pub use mirrors::{MirrorsReport, after_create, make_up};
pub use plan::CopyPlan;
pub use request::{CopyRequest, CopySelection};
pub use steps::CopyReport;

use super::Ctx;
use crate::error::Result;

/// Says what would be carried over, and what is there. Changes nothing.
///
/// # Errors
/// A store cannot be listed, there is no such bundle, the other store has another one of its name, or has no room.
pub fn plan(ctx: &Ctx, request: &CopyRequest) -> Result<CopyPlan> {
    plan::plan(facts::facts(ctx, request)?)
}

/// Carries over what the plan says.
///
/// # Errors
/// The user has asked to stop. What could not be carried over is in the report.
pub fn copy(ctx: &Ctx, request: &CopyRequest, plan: &CopyPlan) -> Result<CopyReport> {
    // The waits of a store, and those for the rate, may not keep the runtime from its work.
    tokio::task::block_in_place(|| steps::carry_out(ctx, request, plan))
}
