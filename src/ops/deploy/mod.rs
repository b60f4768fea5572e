//! `dr deploy`: look at the values, compare, record what is meant, run helm, wait, record what came of it.
//!
//! In this order, so that a crash at any point leaves a record: intent in the vault, helm, outcome in the vault. A
//! deployment without an outcome was interrupted there. Values reach helm on stdin; their plaintext is on no disk.
//! `dr deploy rollback` is the same with values and chart out of the vault.

mod chart;
mod facts;
mod order;
mod plan;
mod preview;
mod steps;
mod stuck;
mod values;

use std::path::Path;
use std::time::Duration;

use serde::Serialize;

pub use order::VersionChange;
pub use preview::preview;
pub use stuck::Stuck;
pub use values::LayerFinding;

use super::Ctx;
use super::drift::{self, BeforeDeploy};
use super::guard::{self, Guarded};
use super::lease::LeaseHolder;
use crate::error::Result;
use crate::helm::{self, ChartFacts};
use crate::journal::new_run_id;
use crate::values::Scrubber;
use crate::values::diff::Diff;
use crate::values::overlay::Layer;
use crate::vault::{DeploymentId, How};
use facts::{DeploymentHistory, Subject};

/// How the name of a deployment's lease begins.
const RUN: &str = "deploy";
/// What LimePoint says of the order of releases.
const RELEASE_RULES: &str = "OpsChain is upgraded one release at a time";

/// What the operator asks for.
pub struct DeployRequest {
    /// The values: one file, or layers in the order that they were given.
    pub layers: Vec<Layer>,
    /// The OpsChain version that is to run.
    pub version: Option<String>,
    /// The chart, if not the one of the settings.
    pub chart: Option<String>,
    /// How it is to be done.
    pub options: DeployOptions,
}

/// What a rollback asks for.
pub struct RollbackRequest {
    /// The deployment to go back to; the one that was live before, if not named.
    pub deployment: Option<String>,
    /// Where the chart is, for a deployment that was recorded without it.
    pub chart: Option<String>,
    /// How it is to be done.
    pub options: DeployOptions,
}

/// How a deployment is to be done, whatever is deployed.
#[derive(Debug, Clone, Default)]
pub struct DeployOptions {
    pub message: Option<String>,
    /// How long it may take, if not as the settings say.
    pub timeout: Option<Duration>,
    /// Whether to wait until everything serves.
    pub wait: bool,
    /// Findings, versions and guarded keys that are let through.
    pub allow: Vec<String>,
    /// Whether helm is to say all that it does.
    pub debug: bool,
}

/// Where live values were had from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LiveSource {
    /// The config vault: the bytes that were deployed.
    Vault,
    /// What helm has stored: comments and layout are gone, and large numbers rounded.
    Helm,
}

/// What would be done, for people and programs.
#[derive(Debug, Serialize)]
pub struct DeployPlan {
    pub namespace: String,
    pub release: String,
    /// What makes it: a deployment or a rollback.
    pub how: How,
    pub chart: ChartFacts,
    /// Where it comes from.
    pub chart_reference: String,
    /// The registry's digest of it.
    pub chart_digest: Option<String>,
    /// The OpsChain version.
    pub version: Option<String>,
    /// The version that is live, and what lies between.
    pub upgrade: VersionChange,
    /// What the values are called: the file, or the layers in their order.
    pub values: String,
    /// SHA-256 of what helm reads.
    pub values_sha256: String,
    /// What was found in the values.
    pub findings: Vec<LayerFinding>,
    /// The deployment that is live, as far as the vault knows.
    pub live: Option<DeploymentId>,
    /// What changes against what is live; nothing when nothing is.
    pub diff: Option<Diff>,
    /// Where the live values were had from: `vault`, or `helm` where no identity opens the vault's.
    pub compared_with: Option<LiveSource>,
    /// Whether the values are the live ones, byte for byte; known without an identity.
    pub same_values: Option<bool>,
    /// The keys that stored data depends on, and that change: each must be let through by name.
    pub guarded: Vec<Guarded>,
    /// helm's newest revision.
    pub revision: Option<u32>,
    /// That revision, where it is in the middle of something.
    pub stuck: Option<Stuck>,
}

/// A plan with all that is needed to carry it out.
pub struct Prepared {
    /// What to show.
    pub plan: DeployPlan,
    subject: Subject,
    options: DeployOptions,
    /// How long helm may take.
    timeout: Duration,
    scrubber: Scrubber,
    /// The revision that helm has deployed.
    deployed: Option<u32>,
    drift: BeforeDeploy,
    repair: bool,
}

impl Prepared {
    /// What helm is given, whether it renders or deploys.
    fn upgrade<'p>(&'p self, chart: &'p Path, description: Option<&'p str>) -> helm::UpgradeRequest<'p> {
        helm::UpgradeRequest {
            release: &self.plan.release,
            chart,
            values: &self.subject.values,
            sets: &[],
            timeout: self.timeout,
            // `dr` waits itself, and says for what.
            wait: false,
            create_namespace: true,
            description,
            debug: self.options.debug,
        }
    }

    /// Says that the operator has agreed to have a pending release put right.
    pub fn agree_to_repair(&mut self) {
        self.repair = true;
    }

    /// Says that the operator has typed the name of every guarded key that changes.
    pub fn agree_to_loss(&mut self) {
        self.plan.guarded.clear();
    }
}

/// What came of it.
#[derive(Debug, Serialize)]
pub struct DeployReport {
    /// The deployment's name in the vault.
    pub deployment: DeploymentId,
    pub namespace: String,
    pub release: String,
    pub revision: u32,
    /// `name-version` of the chart.
    pub chart: String,
    /// How long it took.
    pub seconds: f64,
    /// Whether everything was waited for and serves.
    pub waited: bool,
}

/// Looks at everything and changes nothing.
///
/// # Errors
/// Values that Helm would not read or that a lint forbids, a version that fits neither values nor chart or is older than
/// what is live; vault, helm, registry or cluster that cannot be reached.
pub async fn plan(ctx: &Ctx, request: DeployRequest) -> Result<Prepared> {
    let mut request = request;
    let values = values::read(ctx, std::mem::take(&mut request.layers), &request.options.allow)?;
    let version = plan::wanted_version(request.version.as_deref(), &request.options.allow, &values)?;
    let known = facts::known(ctx).await?;
    let subject = facts::of_files(ctx, &request, values, version).await?;
    prepare(ctx, known, subject, request.options).await
}

/// The same for a rollback: values and chart come out of the vault.
///
/// # Errors
/// There is no such deployment, or no identity opens it; else as [`plan`].
pub async fn plan_rollback(ctx: &Ctx, request: RollbackRequest) -> Result<Prepared> {
    let known = facts::known(ctx).await?;
    let subject = facts::of_vault(ctx, &known, &request).await?;
    prepare(ctx, known, subject, request.options).await
}

async fn prepare(ctx: &Ctx, known: DeploymentHistory, subject: Subject, options: DeployOptions) -> Result<Prepared> {
    let settings = ctx.settings()?;
    let facts = facts::gather(ctx, known, &subject).await?;
    if let Some((warning, hint)) = plan::failed_install(facts.history.newest()) {
        ctx.events.warn(warning, Some(hint.into()));
    }
    let drift = drift::before_deploy(ctx, &facts.history, &facts.live, &facts.scrubber, &options.allow).await?;
    let plan = plan::decide(ctx.install(), settings.deploy.skipped_releases, &options.allow, &subject, &facts)?;
    Ok(Prepared {
        plan,
        subject,
        timeout: options.timeout.unwrap_or(settings.helm.timeout.0),
        options,
        deployed: facts.history.deployed().map(|deployed| deployed.revision),
        scrubber: facts.scrubber,
        drift,
        repair: false,
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
    guard::refuse_data_loss(&prepared.plan.guarded)?;
    let cluster = ctx.cluster().await?;
    match cluster.namespace_uid().await {
        Ok(None) => {
            cluster.create_namespace(&[]).await?;
        }
        // Without permission to read namespaces, assume it exists.
        Err(error) if !error.is_forbidden() => return Err(error.into()),
        _ => {}
    }
    // No bundle is made and nothing restored while this is at work, and the other way round.
    let run = new_run_id(RUN, jiff::Timestamp::now());
    let mut lease = LeaseHolder::default();
    lease.take(ctx, &run).await?;
    let ended = steps::under_lease(ctx, &prepared, cluster).await;
    let released = lease.release(ctx, &run).await;
    let report = ended?;
    released?;
    Ok(report)
}
