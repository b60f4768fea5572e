//! `dr bundle pin | unpin`: a bundle that stays, whatever the rules say.

use serde::Serialize;

use crate::bundle::{BundleFault, BundleMark, BundleReference, MarkKind};
use crate::error::{CommandError, Exit, Result};
use crate::names;
use crate::ops::Ctx;
use crate::store::{Store, StoreError};

/// `dr bundle pin | unpin`.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct PinReport {
    pub bundle: String,
    /// The pin that holds from now on.
    pub pinned: Option<BundleMark>,
    /// Whether that is new.
    pub changed: bool,
}

/// Has the bundle whose name begins with `text` stay.
///
/// # Errors
/// There is no such bundle, it is a loose file, the reason is empty, or the store refuses.
pub fn pin(ctx: &Ctx, text: &str, reason: &str) -> Result<PinReport> {
    let reason = reason.trim();
    if reason.is_empty() || !names::is_text(reason) {
        return Err(CommandError::new(Exit::Usage, "the reason is empty, too long or no line of text")
            .hint("Say why it has to stay: nobody remembers in a year."));
    }
    mark(ctx, text, Some(reason))
}

/// Takes the pin of the bundle away.
///
/// # Errors
/// As [`pin`].
pub fn unpin(ctx: &Ctx, text: &str) -> Result<PinReport> {
    mark(ctx, text, None)
}

fn mark(ctx: &Ctx, text: &str, reason: Option<&str>) -> Result<PinReport> {
    let store = ctx.store()?;
    let catalog = ctx.catalog(&*store)?;
    let entry = catalog.find(text)?;
    let bundle = entry.name.clone();
    if let BundleReference::File { path } = &entry.reference {
        let what = format!("{} is a file that was put into the store by hand", path.display());
        return Err(CommandError::new(Exit::Usage, what).hint("dr never removes such a file, so it needs no pin."));
    }
    let had = entry.pin.clone();
    if had.as_ref().map(|mark| mark.reason.as_str()) == reason {
        return Ok(PinReport { bundle, pinned: had, changed: false });
    }
    let new = BundleMark::new(&ctx.who, reason.unwrap_or("taken away"));
    keep(&new, &*store, (&bundle, &entry.notes), MarkKind::Pinned, reason.is_some())?;
    Ok(PinReport { bundle, pinned: reason.map(|_| new), changed: true })
}

/// Keeps a mark, or takes one away.
///
/// # Errors
/// [`Exit::Locked`] when somebody else has decided about this bundle since it was looked at; the store's.
pub(in crate::ops) fn keep(
    mark: &BundleMark,
    store: &dyn Store,
    (bundle, notes): (&str, &[String]),
    kind: MarkKind,
    set: bool,
) -> Result<()> {
    mark.keep(store, bundle, notes, kind, set).map_err(|error| match *error.fault {
        BundleFault::Store(StoreError::Exists { .. }) => {
            let what = format!("somebody else has decided about bundle {bundle} at the same moment");
            CommandError::new(Exit::Locked, what).hint("`dr bundle list` shows how it stands now.")
        }
        _ => error.into(),
    })
}
