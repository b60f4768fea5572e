//! The list of published bundles that the config vault keeps, and which of them the store has not.

use jiff::Timestamp;
use serde::Serialize;

use super::Ctx;
use crate::bundle::Catalog;
use crate::bundle::published::PublishedRecord;
use crate::error::{CommandError, Exit, Result};
use crate::store::{Store, is_bucket};
use crate::text::plural;
use crate::vault::{FORMAT, ListedBundle, RecordedInstall};

/// The entry of a bundle that is about to be published in `store`.
pub fn entry(ctx: &Ctx, published: &PublishedRecord, store: String) -> ListedBundle {
    let header = &published.header;
    ListedBundle {
        format: FORMAT,
        bundle: header.id.to_string(),
        install: ctx.vault_install(),
        at: header.created,
        by: ctx.who.clone(),
        opschain_version: header.opschain.version.clone(),
        system_identifier: header.postgresql.system_identifier.clone(),
        manifest_sha256: published.manifest_sha256.clone(),
        store,
        dr: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// A bundle that the store has not, newer than all of the same install that it has.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MissingBundle {
    pub bundle: String,
    pub created: Timestamp,
    pub opschain_version: String,
    /// Where it was published.
    pub store: String,
}

/// Those that are missing of an install, oldest first. Older ones are not: they may have been removed by who needs the
/// room. Where this host has no config vault, nothing is known; where it cannot be read, that is said.
pub fn missing(ctx: &Ctx, install: &RecordedInstall, catalog: &Catalog) -> Vec<MissingBundle> {
    let has_vault = ctx.settings_or_defaults().is_ok_and(|settings| settings.vault.path.is_some());
    if !has_vault {
        return Vec::new();
    }
    let listed = || -> Result<_> { Ok(ctx.vault_to_read()?.listed_bundles()?) };
    match listed() {
        Ok(mut listed) => {
            listed.retain(|listed| listed.is_of(install));
            newer(listed, |bundle| catalog.entries.iter().any(|entry| entry.name == bundle && entry.header.is_ok()))
        }
        Err(error) => {
            let what = format!("whether a newer bundle is missing from store {} is not known: {error}", catalog.store);
            ctx.events.warn(what, error.hints().first().cloned());
            Vec::new()
        }
    }
}

/// Refuses to take a store for one without bundles that the config vault has listed bundles of.
///
/// # Errors
/// [`Exit::Store`].
pub fn require_not_emptied(ctx: &Ctx, catalog: &Catalog) -> Result<()> {
    let has_vault = ctx.settings_or_defaults().is_ok_and(|settings| settings.vault.path.is_some());
    if !catalog.entries.is_empty() || !has_vault {
        return Ok(());
    }
    // A vault that cannot be read is told of by who needs it.
    let listed = ctx.vault_to_read().and_then(|vault| Ok(vault.listed_bundles()?)).unwrap_or_default();
    emptied(&listed, &catalog.store).map_or(Ok(()), Err)
}

/// Warns before a bundle goes into a store that is empty and was not. It may have been emptied on purpose.
///
/// # Errors
/// The store cannot be listed.
pub fn warn_if_emptied(ctx: &Ctx, store: &dyn Store) -> Result<()> {
    if !store.list()?.is_empty() {
        return Ok(());
    }
    let empty = Catalog { store: store.place(), entries: Vec::new() };
    if let Err(error) = require_not_emptied(ctx, &empty) {
        ctx.events.warn(error.to_string(), error.hints().first().cloned());
    }
    Ok(())
}

fn emptied(listed: &[ListedBundle], place: &str) -> Option<CommandError> {
    let here = || listed.iter().filter(|listed| listed.store == place);
    let newest = here().max_by_key(|listed| listed.at)?;
    let count = plural(here().count() as u64, "bundle");
    let what = format!(
        "store {place} is empty, and the config vault lists {count} published in it, the newest {} of {:.0}",
        newest.bundle, newest.at
    );
    let mount = format!("`findmnt -T {place}` shows whether its disk is mounted.");
    let is_it = if is_bucket(place) { "Is it the right bucket and prefix (`store.url`)?".to_owned() } else { mount };
    let anew = "If they are gone for good, `dr bundle create` makes a new one here.";
    Some(CommandError::new(Exit::Store, what).hint(is_it).hint(anew))
}

fn newer(listed: Vec<ListedBundle>, is_there: impl Fn(&str) -> bool) -> Vec<MissingBundle> {
    let newest = listed.iter().filter(|listed| is_there(&listed.bundle)).map(|listed| listed.at).max();
    let missing = listed.into_iter().filter(|listed| !is_there(&listed.bundle) && Some(listed.at) > newest);
    missing
        .map(|listed| MissingBundle {
            bundle: listed.bundle,
            created: listed.at,
            opschain_version: listed.opschain_version,
            store: listed.store,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::testing::MemoryRuns;
    use crate::ops::testing;

    #[test]
    fn what_is_missing_is_said_only_where_it_is_newer_than_all_that_is_there() {
        let listed = |day: i64| {
            let mut header = crate::bundle::testing::header();
            header.id = format!("opschain-2026112{day}T075443Z-00000a").parse().unwrap();
            header.created = format!("2026-11-2{day}T07:54:43Z").parse().unwrap();
            let (bytes, manifest_at, manifest_sha256) = (9, 6, "0".repeat(64));
            let published_at = header.created;
            let record = PublishedRecord { header, bytes, manifest_at, manifest_sha256, published_at };
            entry(&testing::ctx(&MemoryRuns::default()), &record, "/bundles".into())
        };
        let all = || [1, 2, 3].map(listed).to_vec();
        let missing = |there: &[&str]| -> Vec<String> {
            let found = newer(all(), |bundle| there.iter().any(|day| bundle.contains(day)));
            found.into_iter().map(|missing| missing.created.to_string()[..10].to_owned()).collect()
        };
        assert_eq!(missing(&["20261123"]), Vec::<String>::new(), "the older ones may have been removed");
        assert_eq!(missing(&["20261121", "20261122"]), ["2026-11-23"]);
        assert_eq!(missing(&[]).len(), 3);
        let error = emptied(&all(), "/bundles").unwrap();
        assert!(error.message().contains("lists 3 bundles published in it, the newest opschain-20261123"), "{error}");
        assert!(error.hints()[0].contains("findmnt -T /bundles"), "{:?}", error.hints());
        assert!(emptied(&all(), "/elsewhere").is_none());
    }
}
