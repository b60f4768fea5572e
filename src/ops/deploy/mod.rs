//! `dr deploy`: look at the values, compare, record what is meant, run helm, wait, record what came of it.
//!
//! In this order, so that a crash at any point leaves a record: intent in the vault, helm, outcome in the vault. A
//! deployment without an outcome was interrupted there. Values reach helm on stdin; their plaintext is on no disk.
//! `dr deploy rollback` is the same with values and chart out of the vault.

mod before;
mod check;
mod layers;
mod live;
mod order;
mod preview;
mod run;
mod stuck;
mod subject;

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

pub use before::Source as LiveSource;
pub use layers::{Found, GivenLayer};
pub(super) use live::{is_of, names};
pub use order::Upgrade;
pub use preview::preview;
pub use stuck::{Process, Stuck};

use super::guard::{self, Guarded};
use super::helper::Hold;
use super::{Ctx, drift};
use crate::crypt::Identities;
use crate::error::{CommandError, Exit, Result};
use crate::helm::{self, ChartFacts, Helm, Revision};
use crate::settings::Settings;
use crate::values::Scrubber;
use crate::values::diff::{Diff, diff};
use crate::vault::{Deployment, DeploymentId, How, Vault};
use subject::Subject;

/// How the name of a deployment's lease begins.
const RUN: &str = "deploy-";
/// What LimePoint says of the order of releases.
const RELEASE_RULES: &str = "OpsChain is upgraded one release at a time";

/// What the operator asks for.
pub struct DeployAsk {
    /// The values: one file, or layers in the order that they were given.
    pub layers: Vec<GivenLayer>,
    /// The OpsChain version that is to run.
    pub version: Option<String>,
    /// The chart, if not the one of the settings.
    pub chart: Option<String>,
    /// How it is to be done.
    pub manner: Manner,
}

/// What a rollback asks for.
pub struct RollbackAsk {
    /// The deployment to go back to; the one that was live before, if not named.
    pub deployment: Option<String>,
    /// Where the chart is, for a deployment that was recorded without it.
    pub chart: Option<String>,
    /// How it is to be done.
    pub manner: Manner,
}

/// How a deployment is to be done, whatever is deployed.
#[derive(Debug, Clone, Default)]
pub struct Manner {
    /// Why.
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

/// What would be done, for people and programs.
#[derive(Debug, Serialize)]
pub struct DeployPlan {
    /// The namespace.
    pub namespace: String,
    /// The Helm release.
    pub release: String,
    /// What makes it: a deployment or a rollback.
    pub how: How,
    /// The chart.
    pub chart: ChartFacts,
    /// Where it comes from.
    pub chart_reference: String,
    /// The registry's digest of it.
    pub chart_digest: Option<String>,
    /// The OpsChain version.
    pub version: Option<String>,
    /// The version that is live, and what lies between.
    pub upgrade: Upgrade,
    /// What the values are called: the file, or the layers in their order.
    pub values: String,
    /// SHA-256 of what helm reads.
    pub values_sha256: String,
    /// What was found in the values.
    pub findings: Vec<Found>,
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
    manner: Manner,
    settings: Settings,
    helm: Helm,
    vault: Vault,
    scrubber: Scrubber,
    repair: bool,
}

impl Prepared {
    /// What helm is given, whether it renders or deploys.
    fn upgrade<'p>(&'p self, chart: &'p Path, description: Option<&'p str>) -> helm::Upgrade<'p> {
        helm::Upgrade {
            release: &self.plan.release,
            chart,
            values: &self.subject.values,
            sets: &[],
            timeout: self.manner.timeout.unwrap_or(self.settings.helm.timeout.0),
            // `dr` waits itself, and says for what.
            wait: false,
            create_namespace: true,
            description,
            debug: self.manner.debug,
        }
    }
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

/// What there is: settings, tools, and what helm and the vault know of the install.
struct Site {
    settings: Settings,
    vault: Vault,
    helm: Helm,
    /// Oldest first.
    history: Vec<Revision>,
    /// Newest first.
    deployments: Vec<Deployment>,
    identities: Option<Identities>,
}

impl Site {
    async fn look(ctx: &Ctx) -> Result<Self> {
        let settings = ctx.settings()?.clone();
        let vault = ctx.vault()?.clone();
        let helm = ctx.helm().await?.clone();
        if let Some(safe) = helm.should_be() {
            ctx.events.warn(
                format!("helm {} has known security holes", helm.version()),
                Some(format!("Upgrade it to {safe} or later.")),
            );
        }
        let history = helm.history(&settings.install.release).await?;
        let deployments = vault.deployments(&ctx.vault_install())?;
        let identities = ctx.identities_if_set()?;
        Ok(Self { settings, vault, helm, history, deployments, identities })
    }

    fn live(&self) -> Option<&Deployment> {
        live::live_deployment(&self.deployments, &self.history)
    }
}

/// Looks at everything and changes nothing.
///
/// # Errors
/// Values that Helm would not read or that a lint forbids, a version that fits neither values nor chart or is older than
/// what is live; vault, helm, registry or cluster that cannot be reached.
pub async fn plan(ctx: &Ctx, ask: DeployAsk) -> Result<Prepared> {
    // Before they are read: what is wrong with them is said in the operator's own words.
    ask.layers.iter().for_each(|layer| ctx.secrets().learn_document(&layer.bytes));
    let read = subject::read(&ask)?;
    let site = Site::look(ctx).await?;
    let manner = ask.manner.clone();
    let subject = subject::of_files(&site, ask, read).await?;
    prepare(ctx, site, subject, manner).await
}

/// The same for a rollback: values and chart come out of the vault.
///
/// # Errors
/// There is no such deployment, or no identity opens it; else as [`plan`].
pub async fn plan_rollback(ctx: &Ctx, ask: RollbackAsk) -> Result<Prepared> {
    let site = Site::look(ctx).await?;
    let subject = subject::of_vault(ctx, &site, &ask).await?;
    prepare(ctx, site, subject, ask.manner).await
}

async fn prepare(ctx: &Ctx, site: Site, subject: Subject, manner: Manner) -> Result<Prepared> {
    let install = &site.settings.install;
    let live = site.live();
    let newest = site.history.last();
    live::warn_of_failed_install(ctx, newest);
    let known = drift::Known {
        settings: &site.settings,
        helm: &site.helm,
        vault: &site.vault,
        identities: site.identities.as_ref(),
        deployments: &site.deployments,
        history: &site.history,
    };
    let goes_over = drift::before_deploy(ctx, &known, &manner.allow).await?;
    let stuck = stuck::explain(ctx, &site.settings, &site.helm, &site.history, &site.deployments).await?;
    let before = before::find(&site, live).await?;
    let mut scrubber = before::scrubber(&site)?;
    scrubber.learn_tree(&subject.tree);
    ctx.secrets().learn_tree(&subject.tree);
    for before in &before {
        scrubber.learn_tree(&before.tree);
        ctx.secrets().learn_tree(&before.tree);
    }

    let trees: Vec<_> = before.iter().map(|before| &before.tree).collect();
    let running = order::live_version(live, &trees, newest);
    let tried = order::tried_since(&site.deployments, live);
    let caution = site.settings.deploy.skipped_releases;
    let upgrade = order::check(running.as_ref(), tried, subject.version.as_ref(), caution, &manner.allow)?;
    let versions_differ = running.is_some() && subject.version.is_some() && running != subject.version;
    let guarded = before::guarded(&site, &before, &subject).await?;
    for before in &before {
        order::credentials_first(&before.tree, &subject.tree, versions_differ, &manner.allow)?;
    }
    let values_sha256 = check::sha256(&subject.values);
    let plan = DeployPlan {
        namespace: install.namespace.clone(),
        release: install.release.clone(),
        how: subject.how,
        chart: subject.facts.clone(),
        chart_reference: subject.reference.clone(),
        chart_digest: subject.digest.clone(),
        version: subject.version.as_ref().map(|version| version.tag()),
        upgrade,
        values: subject.name.clone(),
        same_values: live.and_then(Deployment::values_sha256).map(|sha256| sha256 == values_sha256),
        values_sha256,
        findings: subject.findings.clone(),
        live: live.map(|deployment| deployment.id().clone()),
        diff: before.first().map(|before| diff(&before.tree, &subject.tree, &scrubber)),
        compared_with: before.first().map(|before| before.source),
        guarded: guard::unallowed(guarded, &manner.allow),
        revision: newest.map(|newest| newest.revision),
        stuck,
    };
    let Site { settings, vault, helm, .. } = site;
    let helm = if goes_over { helm.over_others() } else { helm };
    Ok(Prepared { plan, subject, manner, settings, helm, vault, scrubber, repair: false })
}

impl Prepared {
    /// Says that the operator has agreed to have a pending release put right.
    pub fn agree_to_repair(&mut self) {
        self.repair = true;
    }

    /// Says that the operator has typed the name of every guarded key that changes.
    pub fn agree_to_loss(&mut self) {
        self.plan.guarded.clear();
    }
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
    let release = &prepared.plan.release;
    let cluster = ctx.cluster().await?;
    match cluster.namespace_uid().await {
        Ok(None) => {
            cluster.create_namespace(&[]).await?;
        }
        // Who may not look at namespaces was given one.
        Err(error) if !error.is_forbidden() => return Err(error.into()),
        _ => {}
    }
    // No bundle is made and nothing restored while this is at work, and the other way round.
    let lease = format!("{RUN}{}", Timestamp::now().strftime("%Y%m%dT%H%M%SZ"));
    let mut hold = Hold::default();
    hold.take(ctx, cluster, release, &lease).await?;
    let ended = held(ctx, &prepared, cluster).await;
    let released = hold.release(ctx, cluster, release, &lease).await;
    let report = ended?;
    released?;
    Ok(report)
}

/// What is done under the lease.
async fn held(ctx: &Ctx, prepared: &Prepared, cluster: &crate::cluster::Cluster) -> Result<DeployReport> {
    refuse_stale(prepared).await?;
    stuck::settle(ctx, prepared, cluster).await?;
    run::recorded(ctx, prepared, cluster).await
}

/// While this waited for the operator or the lease, somebody else may have deployed: then what was shown and guarded
/// is not what would happen.
async fn refuse_stale(prepared: &Prepared) -> Result<()> {
    let plan = &prepared.plan;
    let now = prepared.helm.newest(&plan.release).await?.map(|newest| newest.revision);
    if now == plan.revision {
        return Ok(());
    }
    let name =
        |revision: Option<u32>| revision.map_or("not installed".to_owned(), |number| format!("at revision {number}"));
    let text = format!(
        "release {} is {} by now, and was {} when this was planned",
        plan.release,
        name(now),
        name(plan.revision)
    );
    Err(stale(text))
}

fn stale(text: String) -> CommandError {
    CommandError::new(Exit::Locked, text).hint("Run the same command again: it compares with what is live now.")
}
