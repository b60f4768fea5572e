//! `dr deploy --dry-run`: which objects would change.

use super::Prepared;
use crate::error::{CommandError, Result};
use crate::ops::Ctx;
use crate::ops::objects::{self, ReleaseDiff};
use crate::values::Scrubber;

/// Has helm render the deployment, with the cluster at hand where that goes, and compares the objects with those of the
/// live revision. Nothing is changed.
///
/// # Errors
/// The chart does not render, or helm cannot be asked.
pub async fn preview(ctx: &Ctx, prepared: &Prepared) -> Result<ReleaseDiff> {
    let Prepared { plan, subject, helm, scrubber, .. } = prepared;
    let live = helm.history(&plan.release).await?.into_iter().rfind(|revision| revision.status.is_deployed());
    ctx.events.waiting(format!("helm to render {} {}", plan.chart.name, plan.chart.version), None);
    let chart = subject.chart.path();
    let rendered = helm
        .render(&prepared.upgrade(&chart, None), scrubber)
        .await
        .map_err(|error| CommandError::from(error).context("render"))?;
    let revision = live.map(|live| live.revision);
    let live = match revision {
        Some(revision) => helm.get_manifest(&plan.release, revision).await?,
        None => Vec::new(),
    };
    for object in live.iter().chain(&rendered.objects).chain(&rendered.hooks) {
        objects::teach(ctx.secrets(), &object.fields);
    }
    // Masks must tell same from changed even where no vault key is at hand.
    let marked = if scrubber.fingerprint(b"").is_some() { scrubber.clone() } else { own_marks(prepared)? };
    Ok(objects::between(revision, &live, rendered, &marked, &plan.namespace))
}

fn own_marks(prepared: &Prepared) -> Result<Scrubber> {
    let mut marked = objects::masker(None)?;
    marked.learn_tree(&prepared.subject.tree);
    Ok(marked)
}
