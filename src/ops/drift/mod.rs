//! `dr config drift`: what the vault says, what helm has stored, what the cluster has.
//!
//! Three columns, compared in pairs: the live deployment's values with the values of helm's deployed revision, and the
//! objects of that revision with those of the cluster. Each difference is told with its cause, as far as helm's history
//! and the objects' managed fields know it. No secret is shown: both sides are masked before they are compared.

mod before;
mod cause;
mod facts;
mod ignore;
mod loss;
mod objects;
mod plan;
mod release;
mod report;

pub(super) use before::{BeforeDeploy, before_deploy};
#[cfg(test)]
pub use cause::Cause;
pub use report::{Between, DriftFinding, DriftReport, Extent};
#[cfg(test)]
pub use report::{HelmSide, Ignored, VaultSide};

use super::Ctx;
use super::history::{History, LiveValues, scrubber_of};
use crate::error::Result;

/// Compares vault, release and objects. Nothing is changed.
///
/// # Errors
/// Vault or helm cannot be read. A cluster that does not answer for its objects is said in the report.
pub async fn drift(ctx: &Ctx) -> Result<DriftReport> {
    let settings = ctx.settings()?;
    let history = History::read(ctx).await?;
    let identities = ctx.identities_if_set()?;
    let values = LiveValues::read(ctx, &history, identities.as_ref(), true).await?;
    let scrubber = scrubber_of(ctx, identities.as_ref(), values.trees())?;
    let facts = facts::gather(ctx, &history, None).await?;
    Ok(plan::report(ctx.install(), &settings.drift.ignore, &history, &values, &facts, &scrubber))
}
