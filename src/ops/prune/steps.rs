//! Marks and removes.

use serde::Serialize;

use super::plan::PrunePlan;
use crate::bundle::{BundleMark, MarkKind};
use crate::error::{CommandError, Exit, Result};
use crate::ops::Ctx;
use crate::ops::bundles::keep;

/// What a prune has done.
#[derive(Debug, Default, Serialize)]
pub struct PruneReport {
    pub store: String,
    pub marked: Vec<String>,
    pub removed: Vec<String>,
    /// Bytes of those that were removed.
    pub removed_bytes: u64,
    /// Whether the store keeps these bytes, as the versions of a bucket.
    pub keeps_removed: bool,
    /// What could not be done, with the reason.
    pub failed: Vec<(String, String)>,
    /// What the first of it is, as an exit code says it.
    #[serde(skip)]
    pub failure: Option<Exit>,
    /// How long what was marked can be taken back, in hours.
    pub grace_hours: i64,
}

/// Marks first, so that what is marked has its whole time of grace, whatever the removals take.
pub(super) fn carry_out(ctx: &Ctx, plan: &PrunePlan) -> Result<PruneReport> {
    let store = ctx.store()?;
    let catalog = ctx.catalog(&*store)?;
    let mut report = PruneReport {
        store: plan.store.clone(),
        grace_hours: plan.grace_hours,
        keeps_removed: !plan.removes.is_empty() && store.keeps_removed()?,
        ..PruneReport::default()
    };
    let mark = BundleMark::new(&ctx.who, &format!("no rule keeps it ({})", plan.rules));
    for line in &plan.marks {
        ctx.check_cancelled()?;
        let entry = catalog.find(&line.bundle)?;
        let kept = keep(&mark, &*store, (&entry.name, &entry.notes), MarkKind::Gone, true);
        ctx.check_cancelled()?;
        report.note(&line.bundle, kept, |report| report.marked.push(line.bundle.clone()));
    }
    for line in &plan.removes {
        ctx.check_cancelled()?;
        let removed = store.remove(&line.bundle).map_err(CommandError::from);
        ctx.check_cancelled()?;
        report.note(&line.bundle, removed, |report| {
            report.removed.push(line.bundle.clone());
            report.removed_bytes += line.bytes;
        });
    }
    Ok(report)
}

impl PruneReport {
    fn note(&mut self, bundle: &str, done: Result<()>, count: impl FnOnce(&mut Self)) {
        match done {
            Ok(()) => count(self),
            Err(error) => {
                self.failure.get_or_insert(error.exit());
                self.failed.push((bundle.to_owned(), error.to_string()));
            }
        }
    }
}

/// `dr bundle unprune`.
#[derive(Debug, Serialize)]
pub struct UnpruneReport {
    pub bundle: String,
    /// Whether it was marked.
    pub changed: bool,
}

/// Takes back that the bundle whose name begins with `text` is marked as gone in the store `place`, that of the settings when
/// absent. The next prune may mark it again.
///
/// # Errors
/// There is no such bundle, or the store refuses.
pub fn unprune(ctx: &Ctx, text: &str, place: Option<&str>) -> Result<UnpruneReport> {
    let store = ctx.store_or(place)?;
    let catalog = ctx.catalog(&*store)?;
    let entry = catalog.find(text)?;
    let changed = entry.gone.is_some();
    if changed {
        let back = BundleMark::new(&ctx.who, "taken back");
        keep(&back, &*store, (&entry.name, &entry.notes), MarkKind::Gone, false)?;
    }
    Ok(UnpruneReport { bundle: entry.name.clone(), changed })
}
