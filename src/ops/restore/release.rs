//! The Helm half of a restore: the release, from the bundle's chart and values, and its record in the config vault.

use std::time::Duration;

use super::chart::{self, HELM_LIMIT, values};
use super::held::RestoreHold;
use super::plan::RestoreChart;
use super::work::RestoreWork;
use super::{layers, volume};
use crate::clock;
use crate::cluster::{ClusterError, HELD, REPLICAS, STOPPED_BY, Wait, WorkloadKind};
use crate::error::{CommandError, Exit, Result};
use crate::helm::{Helm, HelmError, Revision};
use crate::ops::quiesce::WRITERS;
use crate::ops::{history, interrupted, settle};
use crate::vault::{Deployment, DeploymentOutcome, DeploymentStatus, How, Image, Intent, RecordedChart};

/// How long the operator's webhook may be away.
const WEBHOOK_LIMIT: Duration = Duration::from_secs(120);

/// Installs or upgrades the release with the bundle's values and `sets` over them. `given` is the claim that a database is
/// made on: right before helm runs it must still be what was proved.
pub(super) async fn deploy(
    work: &RestoreWork,
    sets: &[(&str, &str)],
    state: &str,
    given: Option<&str>,
) -> Result<Revision> {
    work.hold_lease().await?;
    // In a namespace that was empty only an earlier process of this run has begun anything, and runs resume on their own
    // host. Its helm may have outlived it, and works for as long as it was allowed to. Over an install, it may be
    // anybody's helm.
    settle::settle_release(&work.ctx, work.plan.existing.is_none(), &work.helms, HELM_LIMIT).await?;
    wait_webhook(work).await?;
    let (bundle, plan) = (work.bundle()?, &work.plan);
    let (values, chart) = (values(bundle, plan)?, work.chart().await?);
    if let Some(proof) = given {
        volume::check(work, proof).await?;
    }
    let (path, sets, description) =
        (chart.path(), chart::sets(plan, sets), history::description_of_restore(&plan.bundle, state));
    let request = chart::request(plan, &path, &values, &sets, Some(&description));
    let helm = over_others(work).await?;
    let begun = |process| work.note_helm(process);
    let ended = helm.upgrade_install(&request, &work.ctx.events, &work.ctx.cancel, Some(&begun)).await;
    ended.map_err(|error| match error {
        // What is to be done is said of the run: the way of a deployment does not lead on here.
        HelmError::Stopped { .. } => CommandError::new(Exit::Interrupted, error.to_string()),
        error => error.into(),
    })
}

/// An operator that is just being moved or updated is back in a moment, and helm would fail in its middle.
///
/// # Errors
/// Its webhook does not answer in that time.
async fn wait_webhook(work: &RestoreWork) -> Result<()> {
    let cluster = work.ctx.cluster().await?;
    let mut wait = Wait::new("the database operator's webhook to answer", WEBHOOK_LIMIT, &work.ctx.events);
    loop {
        let error = match cluster.check_operator_webhook().await {
            Err(error @ ClusterError::Webhook { .. }) => error,
            // What else is wrong with it, helm finds, too.
            _ => return Ok(()),
        };
        let waited = tokio::select! {
            waited = wait.not_yet(Some(error.to_string())) => waited,
            () = work.ctx.cancel.cancelled() => return Err(interrupted()),
        };
        if waited.is_err() {
            return Err(error.into());
        }
    }
}

/// Helm, which goes over what this program and others have set since the release was deployed where it would refuse to.
///
/// # Errors
/// It cannot be asked.
pub(super) async fn over_others(work: &RestoreWork) -> Result<Helm> {
    let helm = work.ctx.helm().await?.clone();
    let refuses = work.plan.existing.is_some() && helm.applies_on_server(&work.plan.release).await?;
    Ok(if refuses { helm.over_others() } else { helm })
}

/// Notes on the workers, who have no replicas, how many they are to have and why they have none.
///
/// # Errors
/// They may not be changed.
pub(super) async fn hold_workers(work: &RestoreWork, hold: &RestoreHold, workers: i32) -> Result<()> {
    let notes = [
        (REPLICAS, Some(workers.to_string())),
        (STOPPED_BY, Some(work.run.clone())),
        (HELD, Some(hold.original.to_note())),
    ];
    work.ctx.cluster().await?.adjust(WorkloadKind::Deployment, WRITERS[1], None, &notes).await?;
    Ok(())
}

/// Writes the finished deployment, helm's `revision`, into the config vault, if this host has one. Returns its id.
pub(super) async fn record(work: &RestoreWork, revision: u32) -> Result<Option<String>> {
    let (ctx, plan) = (&work.ctx, &work.plan);
    if ctx.settings_or_defaults()?.vault.path.is_none() {
        return Ok(None);
    }
    let vault = ctx.vault()?;
    let why = format!("restored from bundle {} by run {}", plan.bundle, work.run);
    // A killed process may have written it already.
    let known = vault.deployments(&ctx.vault_install())?;
    let same = |known: &&Deployment| known.record.why.as_ref() == Some(&why) && known.revision() == Some(revision);
    if let Some(done) = known.iter().find(same) {
        return Ok(Some(done.id().to_string()));
    }
    let bundle = work.bundle()?;
    let chart = work.chart().await?;
    let facts = ctx.helm().await?.chart_facts(&chart.path()).await?;
    let reference = match &plan.chart {
        RestoreChart::Bundle | RestoreChart::Kept => format!("bundle {}", plan.bundle),
        RestoreChart::Pulled { reference, .. } => reference.clone(),
    };
    let intent = Intent {
        install: ctx.vault_install_in(ctx.cluster().await?).await,
        at: clock::now(),
        by: ctx.who.clone(),
        why: Some(why),
        how: How::Restore,
        opschain_version: Some(plan.version.clone()),
        chart: RecordedChart {
            name: facts.name,
            version: facts.version,
            app_version: facts.app_version,
            reference,
            digest: chart.digest().map(str::to_owned),
        },
        helm: Some(plan.helm.clone()),
        operator: Some(plan.operator.clone()),
        bundle_before: None,
    };
    let layers = layers::deployed(bundle, plan)?;
    let id = vault.record_layers(intent, &layers, Some(chart.bytes()))?;
    let images = ctx.cluster().await?.running_images().await?;
    let outcome = DeploymentOutcome {
        format: crate::vault::FORMAT,
        id: id.clone(),
        at: clock::now(),
        status: DeploymentStatus::Deployed,
        helm_revision: Some(revision),
        images: images.into_iter().map(|image| Image { reference: image.image, digest: image.digest }).collect(),
        seconds: 0.0,
        error: None,
    };
    vault.record_outcome(outcome, &ctx.who)?;
    Ok(Some(id.to_string()))
}
