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
mod named;
mod objects;
mod plan;
mod release;
mod report;

pub(super) use before::{before_deploy, touches_fields};
pub use cause::Cause;
pub(super) use named::of_objects;
pub use report::{Between, DriftFinding, DriftReport, Extent};
#[cfg(test)]
pub use report::{HelmSide, Ignored, VaultSide};

use std::time::Duration;

use super::history::{History, LiveValues, scrubber_of};
use super::{Ctx, runs};
use crate::error::Result;
use crate::helm::Object;
use crate::values::Scrubber;

/// Compares vault, release and objects. Nothing is changed.
///
/// # Errors
/// Vault or helm cannot be read. A cluster that does not answer for its objects is said in the report.
pub async fn drift(ctx: &Ctx) -> Result<DriftReport> {
    let history = History::read(ctx).await?;
    let identities = ctx.identities_if_set()?;
    let values = LiveValues::read(ctx, &history, identities.as_ref(), true).await?;
    let scrubber = scrubber_of(ctx, identities.as_ref(), values.trees())?;
    let (mut report, _) = inspect(ctx, &history.scrubbed(ctx.secrets()), &values, &scrubber, None).await?;
    match runs::half_done(ctx).await {
        Ok(half_done) => report.half_done = half_done,
        Err(error) => report.notes.push(format!("whether the install is whole is not known: {error}")),
    }
    Ok(report)
}

/// Compares what was read already with the objects, which may take as long as `limit`. Beside the report come the
/// objects of helm's deployed revision, where they could be read.
///
/// # Errors
/// There is no helm.
pub(super) async fn inspect(
    ctx: &Ctx,
    history: &History,
    values: &LiveValues,
    scrubber: &Scrubber,
    limit: Option<Duration>,
) -> Result<(DriftReport, Option<Vec<Object>>)> {
    let (facts, stored) = facts::gather(ctx, history, values, scrubber, limit).await?;
    Ok((plan::report(&ctx.settings()?.drift.ignore, history, &facts), stored))
}
