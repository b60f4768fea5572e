//! Carrying a plan out: intent, helm, waiting, outcome.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::{DeployReport, GivenLayer, Prepared, live};
use crate::cluster::{Cluster, WorkloadKind};
use crate::error::{CommandError, Exit, Result};
use crate::helm::Revision;
use crate::ops::Ctx;
use crate::settings::Settings;
use crate::vault::{self, DeploymentId, FORMAT, Image, Intent, Outcome, Status};

/// Intent, deployment, outcome.
pub(super) async fn recorded(ctx: &Ctx, prepared: &Prepared, cluster: &Cluster) -> Result<DeployReport> {
    let Prepared { plan, subject, manner, helm, vault, .. } = prepared;
    let operator = cluster.operator().await.ok().flatten().and_then(|operator| operator.version);
    let intent = Intent {
        install: ctx.vault_install(),
        at: Timestamp::now(),
        by: ctx.who.clone(),
        why: why(prepared),
        how: plan.how,
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
    let layers: Vec<_> = subject.layers.iter().map(GivenLayer::for_vault).collect();
    let id = vault.record_layers(intent, &layers, Some(subject.chart.bytes()))?;
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
        waited: manner.wait,
    })
}

/// The reason for the record: where it goes back to, and the operator's own words without a secret.
fn why(prepared: &Prepared) -> Option<String> {
    let message = prepared.manner.message.as_deref().map(|why| prepared.scrubber.scrub(why).into_owned());
    match (&prepared.subject.reason, message) {
        (Some(reason), Some(message)) => Some(format!("{reason}: {message}")),
        (reason, message) => message.or_else(|| reason.clone()),
    }
}

async fn deploy(ctx: &Ctx, prepared: &Prepared, cluster: &Cluster, id: &DeploymentId) -> Result<Revision> {
    let Prepared { plan, subject, manner, settings, helm, scrubber, .. } = prepared;
    ctx.events.waiting(format!("helm to deploy {} {}", plan.chart.name, plan.chart.version), None);
    let (chart, description) = (subject.chart.path(), live::description(id));
    let upgrade = prepared.upgrade(&chart, Some(&description));
    let revision = helm.upgrade_install(&upgrade, scrubber, &ctx.events, &ctx.cancel).await?;
    if manner.wait {
        tokio::select! {
            served = serve(ctx, settings, cluster, upgrade.timeout) => served?,
            () = ctx.cancel.cancelled() => return Err(crate::ops::interrupted()),
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
    // The number of one that was removed is given again.
    let removed = u32::from(prepared.plan.stuck.is_some());
    let is_own = |revision: &u32| prepared.plan.revision.is_none_or(|before| *revision + removed > before);
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
