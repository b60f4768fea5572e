//! `dr deploy --dry-run`: which objects would change.

use super::prepared::Prepared;
use crate::error::{CommandError, Result};
use crate::ops::Ctx;
use crate::ops::objects::{self, ReleaseDiff};

/// Has helm render the deployment, with the cluster at hand where that goes, and compares the objects with those of the
/// live revision. Nothing is changed.
///
/// # Errors
/// The chart does not render, or helm cannot be asked.
pub async fn preview(ctx: &Ctx, prepared: &Prepared) -> Result<ReleaseDiff> {
    let Prepared { plan, subject, scrubber, .. } = prepared;
    let helm = ctx.helm().await?;
    ctx.events.waiting(format!("helm to render {} {}", plan.chart.name, plan.chart.version), None);
    let chart = subject.chart.file.path();
    let rendered = helm.render(&prepared.upgrade(&chart, None)).await;
    let rendered = rendered.map_err(|error| CommandError::from(error).context("render"))?;
    let live = match (&prepared.stored, prepared.deployed) {
        (Some(stored), _) => stored.clone(),
        (None, Some(revision)) => helm.get_manifest(&plan.release, revision).await?,
        (None, None) => Vec::new(),
    };
    for object in live.iter().chain(&rendered.objects).chain(&rendered.hooks) {
        objects::register_secrets(ctx.secrets(), &object.fields);
    }
    Ok(objects::between(prepared.deployed, &live, rendered, scrubber, &plan.namespace))
}
