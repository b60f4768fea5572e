//! Carrying a plan out, under the lease: intent in the vault, helm, waiting, outcome in the vault.
//!
//! In this order, so that a crash at any point leaves a record. A deployment without an outcome was interrupted there.

use std::time::{Duration, Instant};

use super::prepared::Prepared;
use super::report::{DeployPlan, DeployReport};
use super::{order, plan, stuck};
use crate::clock;
use crate::cluster::{Cluster, WorkloadKind};
use crate::error::{CommandError, Exit, Result};
use crate::helm::Revision;
use crate::journal::fault;
use crate::ops::{Ctx, history, interrupted, neighbours, settle};
use crate::opschain::Version;
use crate::vault::{self, DeploymentId, DeploymentOutcome, DeploymentStatus, FORMAT, Image, Intent, RecordedInstall};

/// How long a helm of this host that outlived its `dr` is waited for.
const HELM_ENDS_WITHIN: Duration = Duration::from_secs(60);

/// All that is done while no other run may work on the install.
///
/// # Errors
/// As [`super::execute`].
pub(super) async fn under_lease(ctx: &Ctx, prepared: &Prepared, cluster: &Cluster) -> Result<DeployReport> {
    let release = &prepared.plan.release;
    // The plan has asked this too; from here on no other `dr` can change the answer.
    let revisions = ctx.helm().await?.history(release).await?;
    plan::refuse_stale(release, prepared.plan.revision, revisions.last().map(|newest| newest.revision))?;
    settle_release(ctx, prepared, revisions).await?;
    let id = record_intent(ctx, prepared, cluster).await?;
    let began = Instant::now();
    let ended = deploy(ctx, prepared, cluster, &id).await;
    let seconds = began.elapsed().as_secs_f64();
    let outcome = outcome_of(ctx, prepared, cluster, &id, &ended, seconds).await?;
    let ways = ways_on(&prepared.plan, &outcome, prepared.bundle.as_deref());
    let recorded = ctx.vault()?.record_outcome(outcome, &ctx.who);
    let revision =
        ended.map_err(|error| ways.into_iter().fold(error.context(format!("deployment {id}")), CommandError::hint))?;
    recorded.map_err(|error| CommandError::from(error).context("it is deployed, but its outcome was not recorded"))?;
    Ok(DeployReport {
        deployment: id,
        namespace: prepared.plan.namespace.clone(),
        release: release.clone(),
        revision: revision.revision,
        chart: revision.chart,
        seconds,
        waited: prepared.options.wait,
        bundle_before: prepared.bundle.clone(),
    })
}

/// What can be done about a deployment that helm has begun and that failed. Back, too: by a bundle, where what ran may have
/// changed the database.
pub(super) fn ways_on(plan: &DeployPlan, outcome: &DeploymentOutcome, bundle: Option<&str>) -> Vec<String> {
    let Some(revision) = outcome.helm_revision.filter(|_| outcome.status == DeploymentStatus::Failed) else {
        return Vec::new();
    };
    let mut ways = vec![format!(
        "Revision {revision} has the new values. Fix what it stopped at; the same command then deploys them again."
    )];
    let wanted = plan.version.as_deref().and_then(|version| version.parse::<Version>().ok());
    let has_run = wanted.is_some_and(|version| order::has_run(&version, &outcome.images));
    match (plan.live_version.as_ref().or(plan.upgrade.from.as_ref()), &plan.live) {
        (Some(from), _) if has_run && plan.version.as_ref() != Some(from) => {
            let named = bundle.map_or_else(|| format!("--version {from}"), str::to_owned);
            ways.push(format!(
                "Back to {from}: containers of the new version ran and may have changed the database, so not by a rollback; \
                 `dr bundle restore {named} --into-existing` puts database and config back together."
            ));
        }
        (_, Some(live)) => ways.push(format!("Back to what was live before: `dr deploy rollback {live}`.")),
        // Jobs and claims of a first try are not made again by a second one.
        (_, None) if plan.is_first => {
            let DeployPlan { namespace, release, .. } = plan;
            ways.push(format!(
                "Where it stops at the same again though that is fixed: nothing was live yet, so begin anew. `helm uninstall {release} -n {namespace}`, look that nothing in the namespace is to be kept (`kubectl get pvc -n {namespace}`), `kubectl delete namespace {namespace}`, and the same command."
            ));
        }
        (_, None) => {}
    }
    ways
}

/// Puts a pending release right, where the operator has agreed, and notes what came of what was interrupted.
/// `revisions` are those that helm has under the lease.
///
/// # Errors
/// The release is pending and nobody has agreed to the repair; it was not dead, and has changed; what asking helm and the
/// cluster fails with.
async fn settle_release(ctx: &Ctx, prepared: &Prepared, mut revisions: Vec<Revision>) -> Result<()> {
    let Prepared { plan, repair, .. } = prepared;
    let helm = ctx.helm().await?;
    let removed = match &plan.stuck {
        Some(_) if *repair => {
            // The names of hosts may be equal: a helm that is not seen is watched for.
            let removed = settle::settle_release(ctx, false, &[], HELM_ENDS_WITHIN).await?;
            // An earlier helm may have ended in the meantime, and this is where its outcome stands.
            revisions = helm.history(&plan.release).await?;
            revisions.extend(removed.clone());
            removed
        }
        _ => {
            if let Some(newest) = revisions.last() {
                helm.refuse_pending(&plan.release, newest)?;
            }
            None
        }
    };
    note_interrupted(ctx, &revisions, &ctx.vault_install_in(ctx.cluster().await?).await)?;
    if plan.stuck.is_some() && removed.is_none() {
        return Err(plan::stale(format!("the helm that was at work on release {} has ended after all", plan.release)));
    }
    Ok(())
}

/// Writes down what came of earlier deployments that have no outcome, as far as helm knows: its `revisions`, and the
/// pending one that was just put right. The lease is held, so none of them is still at work.
fn note_interrupted(ctx: &Ctx, revisions: &[Revision], install: &RecordedInstall) -> Result<()> {
    let vault = ctx.vault()?;
    let mut deployments = vault.deployments(install)?;
    deployments.retain(|deployment| !deployment.record.install.is_in_another_cluster(install));
    for outcome in stuck::outcomes_of_interrupted(&deployments, revisions, &ctx.who) {
        let note = format!("{} was interrupted: noted in the vault as {}", outcome.id, outcome.status.word());
        vault.record_outcome(outcome, &ctx.who)?;
        ctx.events.note(note);
    }
    Ok(())
}

async fn record_intent(ctx: &Ctx, prepared: &Prepared, cluster: &Cluster) -> Result<DeploymentId> {
    let Prepared { plan, subject, .. } = prepared;
    let operator = cluster.operator().await.ok().flatten().and_then(|operator| operator.version);
    let intent = Intent {
        install: ctx.vault_install_in(cluster).await,
        at: clock::now(),
        by: ctx.secrets().scrub(&ctx.who).into_owned(),
        why: why(ctx, prepared),
        how: plan.how,
        opschain_version: plan.version.clone(),
        chart: vault::RecordedChart {
            name: plan.chart.name.clone(),
            version: plan.chart.version.clone(),
            app_version: plan.chart.app_version.clone(),
            reference: plan.chart_reference.clone(),
            digest: plan.chart_digest.clone(),
        },
        helm: Some(format!("v{}", ctx.helm().await?.version())),
        operator,
        bundle_before: prepared.bundle.clone(),
    };
    let id = ctx.vault()?.record_layers(intent, &subject.layers, Some(subject.chart.file.bytes()))?;
    ctx.events.note(format!("recorded as {id}"));
    Ok(id)
}

/// The reason for the record: where it goes back to, and the operator's own words without a secret.
fn why(ctx: &Ctx, prepared: &Prepared) -> Option<String> {
    let message = prepared.options.message.as_deref().map(|why| ctx.secrets().scrub_words(why));
    match (&prepared.subject.reason, message) {
        (Some(reason), Some(message)) => Some(format!("{reason}: {message}")),
        (reason, message) => message.or_else(|| reason.clone()),
    }
}

async fn deploy(ctx: &Ctx, prepared: &Prepared, cluster: &Cluster, id: &DeploymentId) -> Result<Revision> {
    fault::point("deploy.recorded")?;
    let Prepared { plan, subject, options, .. } = prepared;
    neighbours::take_over(ctx, &plan.taken_over).await?;
    ctx.events.waiting(format!("helm to deploy {} {}", plan.chart.name, plan.chart.version), None);
    let (chart, description) = (subject.chart.file.path(), history::description(id));
    let upgrade = prepared.upgrade(&chart, Some(&description));
    let helm = ctx.helm().await?;
    let over = prepared.over_others.then(|| helm.clone().over_others());
    let revision = over.as_ref().unwrap_or(helm).upgrade_install(&upgrade, &ctx.events, &ctx.cancel, None).await?;
    if options.wait {
        tokio::select! {
            served = serve(ctx, cluster, upgrade.timeout) => served?,
            () = ctx.cancel.cancelled() => return Err(interrupted()),
        }
    }
    Ok(revision)
}

/// Waits until the database is healthy and every Deployment and StatefulSet of the namespace has its pods.
async fn serve(ctx: &Ctx, cluster: &Cluster, limit: Duration) -> Result<()> {
    let name = &ctx.settings()?.database.cluster;
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
    ctx: &Ctx,
    prepared: &Prepared,
    cluster: &Cluster,
    id: &DeploymentId,
    ended: &Result<Revision>,
    seconds: f64,
) -> Result<DeploymentOutcome> {
    let (status, error) = match ended {
        Ok(_) => (DeploymentStatus::Deployed, None),
        Err(error) if error.exit() == Exit::Interrupted => (DeploymentStatus::Interrupted, None),
        // The release has the values; what they started is not up in time.
        Err(error) => (DeploymentStatus::Failed, Some(ctx.secrets().scrub(&error.to_string()).into_owned())),
    };
    // Of what failed, only a revision that was not there before is its own.
    // The number of one that was removed is given again.
    let removed = u32::from(prepared.plan.stuck.is_some());
    let is_own = |revision: &u32| prepared.plan.revision.is_none_or(|before| *revision + removed > before);
    let helm_revision = match ended {
        Ok(revision) => Some(revision.revision),
        Err(_) => {
            // Only now that helm has acted is it known whether it came to a revision at all.
            let newest = ctx.helm().await?.newest(&prepared.plan.release).await.ok().flatten();
            newest.map(|newest| newest.revision).filter(is_own)
        }
    };
    // What runs is worth knowing, not worth failing for.
    let images = cluster.running_images().await.unwrap_or_default();
    let mut images: Vec<Image> =
        images.into_iter().map(|running| Image { reference: running.image, digest: running.digest }).collect();
    images.sort_by(|a, b| (&a.reference, &a.digest).cmp(&(&b.reference, &b.digest)));
    images.dedup();
    Ok(DeploymentOutcome {
        format: FORMAT,
        id: id.clone(),
        at: clock::now(),
        status,
        helm_revision,
        images,
        seconds,
        error,
    })
}
