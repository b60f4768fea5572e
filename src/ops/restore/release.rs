//! The Helm half of a restore: chart and values from the bundle, the release, and its record in the config vault.

use std::time::Duration;

use jiff::Timestamp;
use zeroize::Zeroizing;

use super::layers;
use super::plan::RestoreChart;
use super::work::RestoreWork;
use crate::error::{CommandError, Exit, Result};
use crate::helm::{self, ChartFile, HelmError, Revision, UpgradeRequest};
use crate::ops::{history, settle};
use crate::vault::{Deployment, DeploymentOutcome, DeploymentStatus, How, Image, Intent, RecordedChart};

/// Helm only applies: what is waited for is waited for, and shown, by the steps. Its hooks may take this long.
pub(super) const HELM_LIMIT: Duration = Duration::from_secs(600);

/// The exact bytes of the bundle's values.
fn values(work: &RestoreWork) -> Result<Zeroizing<Vec<u8>>> {
    work.bundle()?.member("config/values.yaml.age")
}

/// The chart, as a file that helm can read; it goes when dropped.
async fn chart(work: &RestoreWork) -> Result<ChartFile> {
    match &work.plan.chart {
        RestoreChart::Bundle => {
            let bundle = work.bundle()?;
            let name = bundle.reader.chart().ok_or_else(|| {
                CommandError::new(Exit::Damaged, format!("bundle {} holds no chart", work.plan.bundle))
                    .hint("Name the chart's file with --chart.")
            })?;
            Ok(ChartFile::from_bytes(&bundle.member(name)?)?)
        }
        RestoreChart::Pulled { reference, version } => {
            let source = helm::ChartSource::parse(reference);
            Ok(work.ctx.helm().await?.fetch(&source, Some(version)).await?)
        }
    }
}

/// Installs or upgrades the release with the bundle's values and `sets` over them.
pub(super) async fn deploy(work: &RestoreWork, sets: &[(&str, &str)], state: &str) -> Result<Revision> {
    work.hold_lease().await?;
    // Only an earlier process of this run has begun anything in this namespace, and runs resume on their own host. Its
    // helm may have outlived it, and works for as long as it was allowed to.
    settle::settle_release(&work.ctx, true, HELM_LIMIT).await?;
    let (values, chart) = (values(work)?, chart(work).await?);
    let mut sets = sets.to_vec();
    sets.extend(work.plan.other_version().map(|version| (layers::VERSION, version)));
    let request = UpgradeRequest {
        release: &work.plan.release,
        chart: &chart.path(),
        values: &values,
        sets: &sets,
        timeout: HELM_LIMIT,
        wait: false,
        create_namespace: false,
        description: Some(&history::description_of_restore(&work.plan.bundle, state)),
        debug: false,
    };
    let helm = work.ctx.helm().await?;
    helm.upgrade_install(&request, &work.ctx.events, &work.ctx.cancel).await.map_err(|error| match error {
        // What is to be done is said of the run: the way of a deployment does not lead on here.
        HelmError::Stopped { .. } => CommandError::new(Exit::Interrupted, error.to_string()),
        error => error.into(),
    })
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
    let chart = chart(work).await?;
    let facts = ctx.helm().await?.chart_facts(&chart.path()).await?;
    let reference = match &plan.chart {
        RestoreChart::Bundle => format!("bundle {}", plan.bundle),
        RestoreChart::Pulled { reference, .. } => reference.clone(),
    };
    let intent = Intent {
        install: ctx.vault_install(),
        at: Timestamp::now(),
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
    };
    let layers = layers::deployed(work.bundle()?, values(work)?, plan.other_version())?;
    let id = vault.record_layers(intent, &layers, Some(chart.bytes()))?;
    let images = ctx.cluster().await?.running_images().await?;
    let outcome = DeploymentOutcome {
        format: crate::vault::FORMAT,
        id: id.clone(),
        at: Timestamp::now(),
        status: DeploymentStatus::Deployed,
        helm_revision: Some(revision),
        images: images.into_iter().map(|image| Image { reference: image.image, digest: image.digest }).collect(),
        seconds: 0.0,
        error: None,
    };
    vault.record_outcome(outcome, &ctx.who)?;
    Ok(Some(id.to_string()))
}
