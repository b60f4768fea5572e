//! `dr deploy`: look at the values, compare, record what is meant, run helm, wait, record what came of it.
//!
//! In this order, so that a crash at any point leaves a record: intent in the vault, helm, outcome in the vault. A
//! deployment without an outcome was interrupted there. Values reach helm on stdin; their plaintext is on no disk.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Serialize;
use zeroize::Zeroizing;

use super::helper::Hold;
use super::{Ctx, guard, open};
use crate::cluster::{Cluster, WorkloadKind};
use crate::crypt::Identities;
use crate::error::{CommandError, Exit, Result};
use crate::helm::{ChartFacts, ChartFile, ChartSource, Helm, Revision, Upgrade};
use crate::opschain::Version;
use crate::settings::Settings;
use crate::values::diff::{Diff, diff};
use crate::values::lint::{Finding, lint};
use crate::values::{Scrubber, Tree};
use crate::vault::{self, Deployment, DeploymentId, FORMAT, How, Image, Intent, Outcome, Status, Vault};

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
    let version = wanted_version(&ask, &tree)?;
    let vault = open::vault(&settings)?;
    let helm = open::helm(&settings, &settings.install.namespace).await?;
    if let Some(safe) = helm.should_be() {
        ctx.events.warn(
            format!("helm {} has known security holes", helm.version()),
            Some(format!("Upgrade it to {safe} or later.")),
        );
    }
    let release = settings.install.release.clone();
    let newest = helm.newest(&release).await?;
    if let Some(newest) = &newest {
        helm.refuse_pending(&release, newest)?;
    }
    let (chart, facts, source) = bring_chart(&settings, &ask, version.as_ref(), &helm).await?;
    refuse_other_version(&ask, version.as_ref(), &facts)?;
    let install = open::vault_install(&settings);
    let deployments = vault.deployments(&install)?;
    let live = deployments.iter().find(|deployment| deployment.is_deployed());
    warn_of_strangers(ctx, live, newest.as_ref());
    let identities = match &settings.keys.identity {
        Some(_) => Some(open::identities(&settings, None)?),
        None => None,
    };
    let values_sha256 = sha256(&ask.values);
    let (changes, scrubber) = compare(&vault, live, identities.as_ref(), &tree)?;
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
    if cluster.namespace_uid().await?.is_none() {
        cluster.create_namespace(&[]).await?;
    }
    // No bundle is made and nothing restored while this is at work, and the other way round.
    let run = format!("deploy-{}", Timestamp::now().strftime("%Y%m%dT%H%M%SZ"));
    let mut hold = Hold::default();
    hold.take(ctx, &cluster, release, &run).await?;
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
        description: Some(&format!("dr {id}")),
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
    let helm_revision = match ended {
        Ok(revision) => Some(revision.revision),
        Err(_) => prepared.helm.newest(&prepared.plan.release).await.ok().flatten().map(|newest| newest.revision),
    };
    // What runs is worth knowing, not worth failing for.
    let images = cluster.running_images().await.unwrap_or_default();
    let mut images: Vec<Image> =
        images.into_iter().map(|running| Image { reference: running.image, digest: running.digest }).collect();
    images.sort_by(|a, b| (&a.reference, &a.digest).cmp(&(&b.reference, &b.digest)));
    images.dedup();
    Outcome { format: FORMAT, id: id.clone(), at: Timestamp::now(), status, helm_revision, images, seconds, error }
}

/// The version that is to run: the one asked for, which the values must name too, or the one that the values name.
fn wanted_version(ask: &DeployAsk, tree: &Tree) -> Result<Option<Version>> {
    let bad = |text: &str| {
        CommandError::new(Exit::Usage, format!("`{text}` is not an OpsChain version"))
            .hint("Give it as a date, such as 2026-08-20.")
    };
    let asked = ask.version.as_deref().map(|text| text.parse::<Version>().map_err(|_| bad(text))).transpose()?;
    let key = crate::opschain::values::VERSION;
    let Some(named) = tree.text(key) else { return Ok(asked) };
    let Ok(named) = named.parse::<Version>() else { return Ok(asked) };
    match &asked {
        Some(asked) if *asked != named && !ask.allow.iter().any(|id| id == "version") => Err(CommandError::new(
            Exit::Version,
            format!("the values name version {} in {}, and {} is asked for", named.tag(), key.join("."), asked.tag()),
        )
        .hint(format!("Set {}: \"{}\" in {}.", key.join("."), asked.tag(), ask.name))
        .hint("Or add --allow version to deploy this chart with the images of the other version.")),
        Some(asked) => Ok(Some(asked.clone())),
        None => Ok(Some(named)),
    }
}

async fn bring_chart(
    settings: &Settings,
    ask: &DeployAsk,
    version: Option<&Version>,
    helm: &Helm,
) -> Result<(ChartFile, ChartFacts, ChartSource)> {
    let source = ChartSource::parse(ask.chart.as_deref().unwrap_or(&settings.install.chart));
    let number = version.and_then(Version::chart);
    if matches!(source, ChartSource::Registry(_)) && number.is_none() {
        return Err(CommandError::new(Exit::Usage, "which version of the chart is to be deployed is not said")
            .hint("Add --version, such as --version 2026-08-20, or set env.OPSCHAIN_VERSION in the values."));
    }
    let brought = helm.bring(&source, number.as_deref()).await;
    let chart = brought.map_err(|error| CommandError::from(error).context(format!("bring chart {}", source.text())))?;
    let facts = helm.chart_facts(&chart.path()).await?;
    Ok((chart, facts, source))
}

fn refuse_other_version(ask: &DeployAsk, version: Option<&Version>, facts: &ChartFacts) -> Result<()> {
    let Some(version) = version else { return Ok(()) };
    let fits = facts.version.parse::<Version>().is_ok_and(|chart| chart == *version);
    if fits || ask.allow.iter().any(|id| id == "version") {
        return Ok(());
    }
    let text = format!("the chart is version {}, and {} is to run", facts.version, version.tag());
    Err(CommandError::new(Exit::Version, text)
        .hint(format!("Give the chart of that version: {}.", version.chart().unwrap_or_else(|| version.tag())))
        .hint("Or add --allow version if this chart is meant."))
}

/// Says when the release was touched by something else than `dr`, as far as revisions tell.
fn warn_of_strangers(ctx: &Ctx, live: Option<&Deployment>, newest: Option<&Revision>) {
    let Some(newest) = newest else { return };
    let known = live.and_then(Deployment::revision);
    if known == Some(newest.revision) {
        return;
    }
    let message = match known {
        Some(known) => format!(
            "the release is at revision {}, and the vault knows it at {known}: something else than `dr deploy` touched it",
            newest.revision
        ),
        None => format!("the release is at revision {}, and the vault knows nothing of it", newest.revision),
    };
    let hint = "`dr config diff release FILE` shows what this deployment would change in it.";
    ctx.events.warn(message, Some(hint.into()));
    if newest.revision == 1 && newest.status.is_failed() {
        ctx.events.warn(
            "the first installation failed, and a failed first installation can often not be upgraded",
            Some("If this fails too, run `helm uninstall` for the release and deploy again.".into()),
        );
    }
}

/// The differences from the live values, and a scrubber that knows the secrets of both.
fn compare(
    vault: &Vault,
    live: Option<&Deployment>,
    identities: Option<&Identities>,
    tree: &Tree,
) -> Result<(Option<Diff>, Scrubber)> {
    let key = identities.map(|identities| vault.fingerprint_key(identities)).transpose()?;
    let mut scrubber = Scrubber::new(key);
    scrubber.learn_tree(tree);
    let (Some(live), Some(identities)) = (live, identities) else { return Ok((None, scrubber)) };
    let before = vault.values(live, identities)?;
    let before = Tree::parse(&before)?;
    scrubber.learn_tree(&before);
    Ok((Some(diff(&before, tree, &scrubber)), scrubber))
}

pub(super) fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;
    hex::encode(sha2::Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(values: &str, version: Option<&str>, allow: &[&str]) -> DeployAsk {
        DeployAsk {
            values: Zeroizing::new(values.into()),
            name: "values.yaml".into(),
            version: version.map(str::to_owned),
            chart: None,
            message: None,
            timeout: None,
            wait: true,
            allow: allow.iter().map(|id| (*id).to_owned()).collect(),
        }
    }

    fn version(values: &str, asked: Option<&str>, allow: &[&str]) -> Result<Option<String>> {
        let tree = Tree::parse(values.as_bytes()).unwrap();
        wanted_version(&ask(values, asked, allow), &tree).map(|found| found.map(|version| version.tag()))
    }

    #[test]
    fn the_version_asked_for_and_the_one_in_the_values_must_agree() {
        let values = "env:\n  OPSCHAIN_VERSION: \"2026-08-20\"\n";
        assert_eq!(version(values, None, &[]).unwrap().as_deref(), Some("2026-08-20"));
        assert_eq!(version(values, Some("2026.8.20"), &[]).unwrap().as_deref(), Some("2026-08-20"));
        assert_eq!(version(values, Some("2026-09-14"), &[]).unwrap_err().exit(), Exit::Version);
        assert_eq!(version(values, Some("2026-09-14"), &["version"]).unwrap().as_deref(), Some("2026-09-14"));
        assert_eq!(version("a: 1\n", Some("newest"), &[]).unwrap_err().exit(), Exit::Usage);
        assert_eq!(version("a: 1\n", None, &[]).unwrap(), None);
    }

    #[test]
    fn a_chart_of_another_version_is_refused_unless_allowed() {
        let facts = ChartFacts { name: "opschain".into(), version: "2026.8.20".into(), app_version: None };
        let fits: Version = "2026-08-20".parse().unwrap();
        let other: Version = "2026-09-14".parse().unwrap();
        assert!(refuse_other_version(&ask("", None, &[]), Some(&fits), &facts).is_ok());
        assert!(refuse_other_version(&ask("", None, &[]), Some(&other), &facts).is_err());
        assert!(refuse_other_version(&ask("", None, &["version"]), Some(&other), &facts).is_ok());
    }
}
