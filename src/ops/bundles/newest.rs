//! The newest bundle of this install, where none is named.

use std::collections::BTreeSet;

use crate::bundle::{BundleStanding, Catalog, CatalogEntry, ListedManifests, Trust};
use crate::error::{CommandError, Exit, Result};
use crate::ops::Ctx;
use crate::settings::Install;
use crate::store::Store;

/// The newest of this install; where the store has none of it, the newest of the only other. One that cannot be read may
/// be of any: it is taken, so that it is said and no older one is shown in its place. So is one whose record calls it
/// another install's, and is not its own. One that is marked as gone is passed over, and named.
///
/// # Errors
/// [`Exit::NotFound`] where there is none, [`Exit::Unconfirmed`] where there are several others.
pub(super) fn newest_of<'c>(
    ctx: &Ctx,
    catalog: &'c mut Catalog,
    store: &dyn Store,
    trust: &Trust,
) -> Result<&'c CatalogEntry> {
    let install = ctx.install();
    let at = place_of_newest(catalog, install)?;
    let is_passed = |place: usize, entry: &CatalogEntry| place < at && entry.gone.is_none() && entry.header.is_ok();
    for (place, standing) in catalog.standings(store, trust, &ListedManifests::new(), is_passed) {
        if let BundleStanding::Broken(reason) = standing {
            catalog.entries[place].header = Err(reason);
        }
    }
    // What was not read because of the signal is not to be taken for damaged.
    ctx.check_cancelled()?;
    let at = place_of_newest(catalog, install)?;
    let name = wanted(install);
    let marked = catalog.entries.iter().take(at).filter_map(|entry| Some((entry, entry.gone.as_ref()?)));
    for (entry, gone) in marked.filter(|(entry, _)| install_of(entry).is_none_or(|of| of == name)) {
        let hint = format!("`dr bundle unprune {}` takes that back; named, it is used as it is.", entry.name);
        ctx.events.warn(format!("bundle {}, which is newer, is marked as gone: {gone}", entry.name), Some(hint));
    }
    Ok(&catalog.entries[at])
}

/// The same by what the records say.
pub(super) fn newest_by_records<'c>(catalog: &'c Catalog, install: &Install) -> Result<&'c CatalogEntry> {
    place_of_newest(catalog, install).map(|at| &catalog.entries[at])
}

fn place_of_newest(catalog: &Catalog, install: &Install) -> Result<usize> {
    let all: Vec<(usize, &CatalogEntry)> = catalog.entries.iter().enumerate().collect();
    let stays: Vec<(usize, &CatalogEntry)> = all.iter().copied().filter(|(_, entry)| entry.gone.is_none()).collect();
    let there = if stays.is_empty() { all } else { stays };
    let newest = |name: &str| there.iter().find(|(_, entry)| install_of(entry).is_none_or(|of| of == name));
    let names: BTreeSet<String> = there.iter().filter_map(|(_, entry)| install_of(entry)).collect();
    let wanted = wanted(install);
    let others: Vec<&String> = names.iter().collect();
    let name = match &*others {
        [only] if !names.contains(&wanted) => only,
        [_, _, ..] if !names.contains(&wanted) => {
            let what = format!("store {} has no bundle of {wanted}, and bundles of several others", catalog.store);
            let newest = others.iter().filter_map(|name| Some((name, newest(name)?)));
            return Err(newest.fold(CommandError::new(Exit::Unconfirmed, what), |error, (name, (_, entry))| {
                error.hint(format!("{} is the newest of {name}.", entry.name))
            }));
        }
        _ => &wanted,
    };
    newest(name).map(|(at, _)| *at).ok_or_else(|| {
        CommandError::new(Exit::NotFound, format!("store {} has no bundle", catalog.store))
            .hint("`dr bundle create` makes one.")
    })
}

fn install_of(entry: &CatalogEntry) -> Option<String> {
    entry.header.as_ref().ok().map(|header| header.install.name())
}

fn wanted(install: &Install) -> String {
    format!("{}/{}", install.namespace, install.release)
}
