//! `dr deploy`: look at the values, compare, record what is meant, run helm, wait, record what came of it.
//!
//! In this order, so that a crash at any point leaves a record: intent in the vault, helm, outcome in the vault. A
//! deployment without an outcome was interrupted there. Values reach helm on stdin; their plaintext is on no disk.

mod check;
mod live;
mod preview;

pub(super) use live::names;
pub use preview::preview;

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Serialize;
use zeroize::Zeroizing;

use super::helper::Hold;
use super::{Ctx, drift, guard, open};
use crate::cluster::{Cluster, WorkloadKind};
use crate::error::{CommandError, Exit, Result};
use crate::helm::{ChartFacts, ChartFile, Helm, Revision, Upgrade};
use crate::settings::Settings;
use crate::values::diff::Diff;
use crate::values::lint::{Finding, lint};
use crate::values::{Scrubber, Tree};
use crate::vault::{self, Deployment, DeploymentId, FORMAT, How, Image, Intent, Outcome, Status, Vault};

/// How the name of a deployment's lease begins.
const RUN: &str = "deploy-";
/// How long one waits for another deployment's lease: longer than the lease of a dead process lasts.
const OTHER_LIMIT: Duration = Duration::from_secs(45);

/// What the operator asks for.
pub struct DeployAsk {
    /// The values, as they were written.
    pub values: Zeroizing<Vec<u8>>,
    /// What to call them: the file's name.
    pub name: String,
    /// The OpsChain version that is to run.
    pub version: Option<String>,
    /// The chart, if not the one of the settings.
    pub chart: Option<String>,
    /// Why.
    pub message: Option<String>,
    /// How long it may take, if not as the settings say.
    pub timeout: Option<Duration>,
    /// Whether to wait until everything serves.
    pub wait: bool,
    /// Findings and guarded keys that are let through.
    pub allow: Vec<String>,
}

/// What would be done, for people and programs.
#[derive(Debug, Serialize)]
pub struct DeployPlan {
    /// The namespace.
    pub namespace: String,
    /// The Helm release.
    pub release: String,
    /// The chart.
    pub chart: ChartFacts,
    /// Where it comes from.
    pub chart_reference: String,
    /// The registry's digest of it.
    pub chart_digest: Option<String>,
    /// The OpsChain version.
    pub version: Option<String>,
    /// What the values file is called.
    pub values: String,
    /// SHA-256 of the values.
    pub values_sha256: String,
    /// What was found in the values.
    pub findings: Vec<Finding>,
    /// The deployment that is live, as far as the vault knows.
    pub live: Option<DeploymentId>,
    /// What changes against it; nothing when there is none, or no identity to open it.
    pub diff: Option<Diff>,
    /// Whether the values are the live ones, byte for byte; known without an identity.
    pub same_values: Option<bool>,
    /// helm's newest revision.
    pub revision: Option<u32>,
}

/// A plan with all that is needed to carry it out.
pub struct Prepared {
    /// What to show.
    pub plan: DeployPlan,
    ask: DeployAsk,
    settings: Settings,
    helm: Helm,
    vault: Vault,
    chart: ChartFile,
    scrubber: Scrubber,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub struct DeployReport {
    /// The deployment's name in the vault.
    pub deployment: DeploymentId,
    /// The namespace.
    pub namespace: String,
    /// The Helm release.
    pub release: String,
    /// helm's revision.
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
/// Values that Helm would not read or that a lint forbids, a version that fits neither values nor chart, a release in
/// the middle of something, a guarded key that changes; vault, helm, registry or cluster that cannot be reached.
pub async fn plan(ctx: &Ctx, ask: DeployAsk) -> Result<Prepared> {
    let settings = ctx.settings()?.clone();
    let tree = Tree::parse(&ask.values).map_err(|error| CommandError::from(error).context(&ask.name))?;
    let findings = lint(&tree, &ask.values);
    guard::refuse_findings(&ask.name, &findings, &ask.allow)?;
    let version = check::wanted_version(&ask, &tree)?;
    let vault = open::vault(&settings)?;
    let helm = open::helm(&settings, &settings.install.namespace).await?;
    if let Some(safe) = helm.should_be() {
        ctx.events.warn(
            format!("helm {} has known security holes", helm.version()),
            Some(format!("Upgrade it to {safe} or later.")),
        );
    }
    let release = settings.install.release.clone();
    let history = helm.history(&release).await?;
    let newest = history.last().cloned();
    if let Some(newest) = &newest {
        helm.refuse_pending(&release, newest)?;
    }
    let (chart, facts, source) = check::bring_chart(&settings, &ask, version.as_ref(), &helm).await?;
    check::refuse_other_version(&ask, version.as_ref(), &facts)?;
    let install = open::vault_install(&settings);
    let deployments = vault.deployments(&install)?;
    let live = live::live_deployment(&deployments, &history);
    live::warn_of_failed_install(ctx, newest.as_ref());
    let identities = match &settings.keys.identity {
        Some(_) => Some(open::identities(&settings, None)?),
        None => None,
    };
    let known = drift::Known {
        settings: &settings,
        helm: &helm,
        vault: &vault,
        identities: identities.as_ref(),
        deployments: &deployments,
        history: &history,
    };
    drift::before_deploy(ctx, &known, &ask.allow).await?;
    let values_sha256 = check::sha256(&ask.values);
    let (changes, scrubber) = check::compare(&vault, live, identities.as_ref(), &tree)?;
    if let Some(changes) = &changes {
        guard::refuse_data_loss(changes, &ask.allow)?;
    } else if live.is_some() {
        ctx.events.warn(
            "no identity on this host: the values are not compared with the live ones",
            Some("Set `[keys] identity` in dr.toml where the differences are to be seen before a deployment.".into()),
        );
    }
    let plan = DeployPlan {
        namespace: settings.install.namespace.clone(),
        release,
        chart: facts,
        chart_reference: source.text(),
        chart_digest: chart.digest().map(str::to_owned),
        version: version.map(|version| version.tag()),
        values: ask.name.clone(),
        same_values: live.and_then(Deployment::values_sha256).map(|sha256| sha256 == values_sha256),
        values_sha256,
        findings,
        live: live.map(|deployment| deployment.id().clone()),
        diff: changes,
        revision: newest.map(|newest| newest.revision),
    };
    Ok(Prepared { plan, ask, settings, helm, vault, chart, scrubber })
}

/// Carries a plan out.
///
/// # Errors
/// What helm, the cluster or the vault fail with. Whatever happens after the intent is recorded, the outcome is
/// recorded too, unless the process is killed.
pub async fn execute(ctx: &Ctx, prepared: Prepared) -> Result<DeployReport> {
    ctx.check_cancelled()?;
    let release = &prepared.plan.release;
    let cluster = open::cluster(&prepared.settings).await?;
    match cluster.namespace_uid().await {
        Ok(None) => {
            cluster.create_namespace(&[]).await?;
        }
        // Who may not look at namespaces was given one.
        Err(error) if !error.is_forbidden() => return Err(error.into()),
        _ => {}
    }
    // No bundle is made and nothing restored while this is at work, and the other way round.
    let run = format!("{RUN}{}", Timestamp::now().strftime("%Y%m%dT%H%M%SZ"));
    let mut hold = Hold::default();
    live::await_other_deployment(ctx, &cluster, release).await?;
    hold.take(ctx, &cluster, release, &run).await?;
    live::settle_interrupted(ctx, &prepared).await?;
    let ended = recorded(ctx, &prepared, &cluster).await;
    let released = hold.release(ctx, &cluster, release, &run).await;
    let report = ended?;
    released?;
    Ok(report)
}

/// Intent, deployment, outcome.
async fn recorded(ctx: &Ctx, prepared: &Prepared, cluster: &Cluster) -> Result<DeployReport> {
    let Prepared { plan, ask, settings, helm, vault, chart, scrubber } = prepared;
    let operator = cluster.operator().await.ok().flatten().and_then(|operator| operator.version);
    let intent = Intent {
        install: open::vault_install(settings),
        at: Timestamp::now(),
        by: ctx.who.clone(),
        why: ask.message.as_deref().map(|why| scrubber.scrub(why).into_owned()),
        how: How::Deploy,
        opschain_version: plan.version.clone(),
        chart: vault::Chart {
            name: plan.chart.name.clone(),
            version: plan.chart.version.clone(),
            app_version: plan.chart.app_version.clone(),
            reference: plan.chart_reference.clone(),
            digest: plan.chart_digest.clone(),
        },
        helm: Some(format!("v{}", helm.version())),
        operator,
    };
    let id = vault.record_intent(intent, &ask.values, Some(chart.bytes()))?;
    ctx.events.note(format!("recorded as {id}"));
    let began = Instant::now();
    let ended = deploy(ctx, prepared, cluster, &id).await;
    let seconds = began.elapsed().as_secs_f64();
    let outcome = outcome_of(prepared, cluster, &id, &ended, seconds).await;
    let recorded = vault.record_outcome(outcome, &ctx.who);
    let revision = ended.map_err(|error| error.context(format!("deployment {id}")))?;
    recorded.map_err(|error| CommandError::from(error).context("it is deployed, but its outcome was not recorded"))?;
    Ok(DeployReport {
        deployment: id,
        namespace: plan.namespace.clone(),
        release: plan.release.clone(),
        revision: revision.revision,
        chart: revision.chart,
        seconds,
        waited: ask.wait,
    })
}

async fn deploy(ctx: &Ctx, prepared: &Prepared, cluster: &Cluster, id: &DeploymentId) -> Result<Revision> {
    let Prepared { plan, ask, settings, helm, chart, scrubber, .. } = prepared;
    let timeout = ask.timeout.unwrap_or(settings.helm.timeout.0);
    ctx.events.waiting(format!("helm to deploy {} {}", plan.chart.name, plan.chart.version), None);
    let upgrade = Upgrade {
        release: &plan.release,
        chart: &chart.path(),
        values: &ask.values,
        sets: &[],
        timeout,
        // `dr` waits itself, and says for what.
        wait: false,
        create_namespace: true,
        description: Some(&live::description(id)),
    };
    let revision = helm.upgrade_install(&upgrade, scrubber, &ctx.events, &ctx.cancel).await?;
    if ask.wait {
        tokio::select! {
            served = serve(ctx, settings, cluster, timeout) => served?,
            () = ctx.cancel.cancelled() => return Err(super::interrupted()),
        }
    }
    Ok(revision)
}

/// Waits until the database is healthy and every Deployment and StatefulSet of the namespace has its pods.
async fn serve(ctx: &Ctx, settings: &Settings, cluster: &Cluster, limit: Duration) -> Result<()> {
    let name = &settings.database.cluster;
    if let Some(database) = cluster.database(name).await?
        && !database.is_hibernation_asked()
    {
        cluster.wait_database_healthy(name, limit, &ctx.events).await?;
    }
    let workloads = cluster.workloads().await?;
    let names: Vec<(WorkloadKind, &str)> =
        workloads.iter().map(|workload| (workload.kind, workload.name.as_str())).collect();
    if !names.is_empty() {
        cluster.wait_settled(&names, limit, &ctx.events).await?;
    }
    Ok(())
}

async fn outcome_of(
    prepared: &Prepared,
    cluster: &Cluster,
    id: &DeploymentId,
    ended: &Result<Revision>,
    seconds: f64,
) -> Outcome {
    let (status, error) = match ended {
        Ok(_) => (Status::Deployed, None),
        Err(error) if error.exit() == Exit::Interrupted => (Status::Interrupted, None),
        // The release has the values; what they started is not up in time.
        Err(error) => (Status::Failed, Some(prepared.scrubber.scrub(&error.to_string()).into_owned())),
    };
    // Of what failed, only a revision that was not there before is its own.
    let is_own = |revision: &u32| prepared.plan.revision.is_none_or(|before| *revision > before);
    let helm_revision = match ended {
        Ok(revision) => Some(revision.revision),
        Err(_) => {
            let newest = prepared.helm.newest(&prepared.plan.release).await.ok().flatten();
            newest.map(|newest| newest.revision).filter(is_own)
        }
    };
    // What runs is worth knowing, not worth failing for.
    let images = cluster.running_images().await.unwrap_or_default();
    let mut images: Vec<Image> =
        images.into_iter().map(|running| Image { reference: running.image, digest: running.digest }).collect();
    images.sort_by(|a, b| (&a.reference, &a.digest).cmp(&(&b.reference, &b.digest)));
    images.dedup();
    Outcome { format: FORMAT, id: id.clone(), at: Timestamp::now(), status, helm_revision, images, seconds, error }
}
