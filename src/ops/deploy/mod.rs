//! `dr deploy`: look at the values, compare, record what is meant, run helm, wait, record what came of it.
//!
//! In this order, so that a crash at any point leaves a record: intent in the vault, helm, outcome in the vault. A
//! deployment without an outcome was interrupted there. Values reach helm on stdin; their plaintext is on no disk.
//! `dr deploy rollback` is the same with values and chart out of the vault, `dr deploy upgrade` the same with the values
//! that are live, once for each release on the way.

mod chart;
mod facts;
mod order;
mod plan;
mod prepared;
mod preview;
mod previous;
mod report;
mod request;
mod rights;
mod steps;
mod stuck;
mod upgrade;
mod values;
mod version;
mod workers;

use std::collections::BTreeSet;

pub use prepared::Prepared;
pub use preview::preview;
pub use report::{DeployPlan, DeployReport, LiveSource};
pub(super) use request::GivenRelease;
pub use request::{DeployOptions, DeployRequest, RollbackRequest};
pub use upgrade::{UpgradePath, UpgradeRelease, UpgradeReport, plan_upgrade, upgrade_path};
pub(super) use upgrade::{releases_between, require_charts};
pub use values::LayerFinding;

use super::Ctx;
use super::history::History;
use super::lease::LeaseHolder;
use super::{runs, schedule};
use crate::clock;
use crate::error::Result;
use crate::helm::ChartSource;
use crate::journal::new_run_id;
use crate::ops::hooks;
use crate::settings::NotifyVerb;
use facts::{LiveMaterial, Subject};
use plan::Decision;

/// What `--allow` names where the settings want a bundle before each deployment, and this one goes without.
pub const NO_BUNDLE: &str = "no-bundle";

/// How the name of a deployment's lease begins.
const RUN: &str = "deploy";

/// Looks at everything and changes nothing.
///
/// # Errors
/// A run has the install half done; values that Helm would not read or that a lint forbids, a version that fits neither
/// values nor chart; vault, helm, registry or cluster that cannot be reached.
pub async fn plan(ctx: &Ctx, request: DeployRequest) -> Result<Prepared> {
    let mut request = request;
    let values = values::read(ctx, std::mem::take(&mut request.layers), &request.options.allow)?;
    let version =
        version::wanted_version(request.version.as_deref(), &request.options.allow, &values.tree, &values.name)?;
    let source = ChartSource::parse(request.chart.as_deref().unwrap_or(&ctx.install().chart));
    version::refuse_unsaid(&source, version.as_ref())?;
    runs::require_whole(ctx).await?;
    let history = facts::history(ctx).await?;
    let subject = facts::of_files(ctx, &source, values, version).await?;
    version::refuse_other_chart(&request.options.allow, subject.version.as_ref(), &subject.chart.facts)?;
    prepare(ctx, history, subject, request.options).await
}

/// The same for a rollback: values and chart come out of the vault.
///
/// # Errors
/// There is no such deployment, or no identity opens it; else as [`plan`].
pub async fn plan_rollback(ctx: &Ctx, request: RollbackRequest) -> Result<Prepared> {
    runs::require_whole(ctx).await?;
    let history = facts::history(ctx).await?;
    let subject = facts::of_vault(ctx, &history, &request).await?;
    prepare(ctx, history, subject, request.options).await
}

/// The same for values and chart that were opened and checked elsewhere.
///
/// # Errors
/// The chart does not fit the version; else as [`plan`].
pub(super) async fn plan_given(ctx: &Ctx, given: GivenRelease, options: DeployOptions) -> Result<Prepared> {
    runs::require_whole(ctx).await?;
    let history = facts::history(ctx).await?;
    let subject = facts::of_given(ctx, given).await?;
    version::refuse_other_chart(&options.allow, subject.version.as_ref(), &subject.chart.facts)?;
    prepare(ctx, history, subject, options).await
}

async fn prepare(ctx: &Ctx, history: History, subject: Subject, options: DeployOptions) -> Result<Prepared> {
    hooks::require(ctx, NotifyVerb::Deploy, &BTreeSet::new())?;
    let (facts, LiveMaterial { scrubber, diff, stored }) =
        facts::gather(ctx, history, &subject, &options.allow).await?;
    let Decision { plan, warnings, over_others, refused } =
        plan::decide(&facts, &options.allow, options.take_over.as_deref());
    for (warning, hint) in warnings {
        ctx.events.warn(warning, hint);
    }
    let deployed = facts.history.deployed().map(|deployed| deployed.revision);
    let is_wanted = ctx.settings()?.deploy.bundle_before && !options.allow.iter().any(|name| name == NO_BUNDLE);
    let bundle_before = is_wanted && deployed.is_some();
    Ok(Prepared {
        plan: DeployPlan { diff, findings: subject.findings.clone(), bundle_before, ..plan },
        subject,
        timeout: options.timeout.unwrap_or(ctx.settings()?.helm.timeout.0),
        options,
        deployed,
        stored,
        scrubber,
        over_others,
        refused,
        repair: false,
        bundle: None,
    })
}

/// Carries a plan out.
///
/// # Errors
/// A guarded key changes, or the release is pending, and nobody has agreed to it; the release has changed since the plan
/// was made; what helm, the cluster or the vault fail with. Whatever happens after the intent is recorded, the outcome
/// is recorded too, unless the process is killed.
pub async fn execute(ctx: &Ctx, prepared: Prepared) -> Result<DeployReport> {
    ctx.check_cancelled()?;
    hooks::around(ctx, NotifyVerb::Deploy, executed(ctx, prepared)).await
}

/// Refuses a deployment that the access rules would stop half-way: for who does something costly before it.
///
/// # Errors
/// [`Exit::Cluster`](crate::error::Exit::Cluster) naming what is not allowed.
pub async fn require_rights(ctx: &Ctx, prepared: &Prepared) -> Result<()> {
    rights::require(ctx, prepared, ctx.cluster().await?).await
}

async fn executed(ctx: &Ctx, prepared: Prepared) -> Result<DeployReport> {
    ctx.check_cancelled()?;
    prepared.refuse()?;
    // Once more: it may have been planned where the cluster could not be asked.
    runs::require_whole(ctx).await?;
    let cluster = ctx.cluster().await?;
    rights::require(ctx, &prepared, cluster).await?;
    match cluster.namespace_uid().await {
        Ok(None) => {
            cluster.create_namespace(&[]).await?;
        }
        // Without permission to read namespaces, assume it exists.
        Err(error) if !error.is_forbidden() => return Err(error.into()),
        _ => {}
    }
    // No bundle is made and nothing restored while this is at work, and the other way round.
    let run = new_run_id(RUN, clock::now());
    let mut lease = LeaseHolder::default();
    lease.take(ctx, &run).await?;
    let ended = steps::under_lease(ctx, &prepared, cluster).await;
    let released = lease.release(ctx, &run).await;
    let report = ended?;
    released?;
    // What makes bundles in the cluster has no vault to see it in.
    schedule::renew(ctx).await;
    Ok(report)
}
