//! What the mirrors of the settings have, where the first store fails.

use crate::bundle::Catalog;
use crate::error::{CommandError, Exit, Result};
use crate::ops::published::{MissingBundle, missing};
use crate::ops::{Ctx, quoted};

/// The error of a bundle that the first store has not, or not whole, with the command for each mirror in whose catalog
/// `find` finds its name.
pub(super) fn with_mirrors(ctx: &Ctx, error: CommandError, find: impl Fn(&Catalog) -> Option<String>) -> CommandError {
    if !is_of_one_store(&error) {
        return error;
    }
    readable(ctx).into_iter().fold(error, |error, (place, catalog)| match find(&catalog) {
        Some(name) => error.hint(format!("Mirror {place} has {name}: `{}`.", instead(ctx, &place))),
        None => error,
    })
}

/// The error of a first store that cannot be listed, with the command for each mirror that can.
pub(super) fn with_lists(ctx: &Ctx, error: CommandError) -> CommandError {
    if !is_of_one_store(&error) {
        return error;
    }
    readable(ctx).into_iter().fold(error, |error, (place, catalog)| {
        error.hint(format!("Mirror {place} has {} in its list: `{}`.", catalog.entries.len(), instead(ctx, &place)))
    })
}

/// Says which bundles of this install the store of the settings should have, newer than all that it has.
pub(super) fn warn_of_missing(ctx: &Ctx, catalog: &Catalog) -> Vec<MissingBundle> {
    let missing = missing(ctx, &ctx.vault_install(), catalog);
    for bundle in &missing {
        let having = having(ctx, &bundle.bundle);
        let hint =
            having.first().map(|place| format!("Mirror {place} has it: `dr bundle list --store {}`.", quoted(place)));
        ctx.events.warn(format!("bundle {} of {:.0} {}", bundle.bundle, bundle.created, bundle.why()), hint);
    }
    missing
}

/// The mirrors that have the bundle of this name.
fn having(ctx: &Ctx, bundle: &str) -> Vec<String> {
    let has = |catalog: &Catalog| catalog.entries.iter().any(|entry| entry.name == bundle && entry.header.is_ok());
    readable(ctx).into_iter().filter(|(_, catalog)| has(catalog)).map(|(place, _)| place).collect()
}

/// Whether another store may do better.
fn is_of_one_store(error: &CommandError) -> bool {
    matches!(error.exit(), Exit::NotFound | Exit::Store | Exit::Damaged)
}

fn instead(ctx: &Ctx, place: &str) -> String {
    ctx.given.clone().with(&["--store", place]).to_string()
}

/// The mirrors that can be listed, in the order of the settings. One that cannot is told of by `dr status`.
fn readable(ctx: &Ctx) -> Vec<(String, Catalog)> {
    let places = ctx.settings().map(|settings| settings.store.mirror_places()).unwrap_or_default();
    let listed = |place: &str| -> Result<Catalog> { ctx.catalog(&*ctx.store_at(place)?) };
    places.into_iter().filter_map(|place| listed(&place).ok().map(|catalog| (place, catalog))).collect()
}
