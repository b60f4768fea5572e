//! `dr deploy --dry-run`: which objects would change.

use super::prepared::Prepared;
use super::rights;
use crate::error::{CommandError, Result};
use crate::ops::objects::{self, ReleaseDiff};
use crate::ops::{Ctx, served};

/// Has helm render the deployment, with the cluster at hand where that goes, and compares the objects with those of the
/// live revision. Nothing is changed. A plan of which the cluster serves not all kinds is refused from then on.
///
/// # Errors
/// The chart does not render, helm cannot be asked, or could not read what it has stored.
pub async fn preview(ctx: &Ctx, prepared: &mut Prepared) -> Result<ReleaseDiff> {
    let Prepared { plan, subject, scrubber, .. } = &*prepared;
    let helm = ctx.helm().await?;
    let live = rights::stored(ctx, prepared).await?;
    ctx.events.waiting(format!("helm to render {} {}", plan.chart.name, plan.chart.version), None);
    let chart = subject.chart.file.path();
    let rendered = helm.render(&prepared.upgrade(&chart, None)).await;
    let rendered = rendered.map_err(|error| CommandError::from(error).context("render"))?;
    for object in live.iter().chain(&rendered.objects).chain(&rendered.hooks) {
        objects::register_secrets(ctx.secrets(), &object.fields);
    }
    let served = served::require(ctx, rendered.objects.iter().chain(&rendered.hooks), &chart).await;
    let diff = objects::between(prepared.deployed, &live, rendered, scrubber, &plan.namespace);
    if let Err(error) = served {
        prepared.refused.get_or_insert(error);
    }
    Ok(diff)
}
