//! The list of published bundles that the config vault keeps, and which of them the store has not.

use std::collections::HashMap;

use jiff::Timestamp;
use serde::Serialize;

use super::Ctx;
use crate::bundle::published::PublishedRecord;
use crate::bundle::{Catalog, CatalogEntry, ListedManifests};
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

/// What the config vault lists, signed, by the name of the bundle. Empty on a host without one.
///
/// # Errors
/// It cannot be read.
pub fn listed(ctx: &Ctx) -> Result<HashMap<String, ListedBundle>> {
    Ok(read_list(ctx)?.into_iter().map(|listed| (listed.bundle.clone(), listed)).collect())
}

/// The same; where it cannot be read, that is said, and it is empty.
pub fn listed_or_none(ctx: &Ctx) -> HashMap<String, ListedBundle> {
    listed(ctx).unwrap_or_else(|error| {
        let what = format!("which bundles the config vault lists is not known: {error}");
        ctx.events.warn(what, error.hints().first().cloned());
        HashMap::new()
    })
}

/// The digests of the manifests of `listed`.
pub fn manifests(listed: &HashMap<String, ListedBundle>) -> ListedManifests {
    listed.values().map(|listed| listed.manifest_sha256.clone()).collect()
}

/// Whether the record of an entry says of the bundle what the vault lists of it.
pub fn fits(listed: &ListedBundle, entry: &CatalogEntry) -> bool {
    let Ok(header) = &entry.header else { return false };
    let install = &header.install;
    entry.name == listed.bundle
        && entry.manifest_sha256.as_ref() == Some(&listed.manifest_sha256)
        && (&install.namespace, &install.release) == (&listed.install.namespace, &listed.install.release)
        && header.created == listed.at
        && header.opschain.version == listed.opschain_version
        && header.postgresql.system_identifier == listed.system_identifier
}

fn read_list(ctx: &Ctx) -> Result<Vec<ListedBundle>> {
    match ctx.settings_or_defaults().is_ok_and(|settings| settings.vault.path.is_some()) {
        true => Ok(ctx.vault_to_read()?.listed_bundles()?),
        false => Ok(Vec::new()),
    }
}

/// A bundle that the store has not, newer than all of the same install that it has; or another one of that name.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MissingBundle {
    pub bundle: String,
    pub created: Timestamp,
    pub opschain_version: String,
    /// Where it was published.
    pub store: String,
    /// Whether something of that name is there that is not what the vault lists.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub has_other: bool,
}

impl MissingBundle {
    /// How it is missing, in words.
    pub fn why(&self) -> String {
        match self.has_other {
            true => "is not in the store: what is there under its name is not what the config vault lists".to_owned(),
            false => format!("is not in the store: it was published in {}", self.store),
        }
    }
}

/// Those that are missing of an install, oldest first. Older ones are not: they may have been removed by who needs the
/// room. What has the name of a listed one, and is another, is never taken for it. Where this host has no config vault,
/// nothing is known; where it cannot be read, that is said.
pub fn missing(ctx: &Ctx, install: &RecordedInstall, catalog: &Catalog) -> Vec<MissingBundle> {
    match read_list(ctx) {
        Ok(listed) => newer(listed.into_iter().filter(|listed| listed.is_of(install)).collect(), catalog),
        Err(error) => {
            let what = format!("whether a newer bundle is missing from store {} is not known: {error}", catalog.store);
            ctx.events.warn(what, error.hints().first().cloned());
            Vec::new()
        }
    }
}

/// The same of what is known already.
pub fn missing_of(
    listed: &HashMap<String, ListedBundle>,
    install: &RecordedInstall,
    catalog: &Catalog,
) -> Vec<MissingBundle> {
    let mut missing = newer(listed.values().filter(|listed| listed.is_of(install)).cloned().collect(), catalog);
    missing.sort_by_key(|bundle| bundle.created);
    missing
}

/// Refuses to take a store for one without bundles that the config vault has listed bundles of.
///
/// # Errors
/// [`Exit::Store`].
pub fn require_not_emptied(ctx: &Ctx, catalog: &Catalog) -> Result<()> {
    if !catalog.entries.is_empty() {
        return Ok(());
    }
    // A vault that cannot be read is told of by who needs it.
    let listed = read_list(ctx).unwrap_or_default();
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

fn newer(listed: Vec<ListedBundle>, catalog: &Catalog) -> Vec<MissingBundle> {
    let by_name: HashMap<&str, &CatalogEntry> =
        catalog.entries.iter().rev().map(|entry| (entry.name.as_str(), entry)).collect();
    let there = |listed: &ListedBundle| by_name.get(listed.bundle.as_str()).filter(|entry| entry.is_stored());
    let is_there =
        |listed: &ListedBundle| by_name.get(listed.bundle.as_str()).is_some_and(|entry| is_it(listed, entry));
    let has_other =
        |listed: &ListedBundle| there(listed).is_some_and(|entry| entry.header.is_ok()) && !is_there(listed);
    let newest = listed.iter().filter(|listed| is_there(listed)).map(|listed| listed.at).max();
    let missing = listed.iter().filter(|listed| !is_there(listed) && (Some(listed.at) > newest || has_other(listed)));
    missing
        .map(|listed| MissingBundle {
            bundle: listed.bundle.clone(),
            created: listed.at,
            opschain_version: listed.opschain_version.clone(),
            store: listed.store.clone(),
            has_other: has_other(listed),
        })
        .collect()
}

/// Whether an entry of the name is what the vault lists. A file has no record: it is held against its own signature when it
/// is opened.
fn is_it(listed: &ListedBundle, entry: &CatalogEntry) -> bool {
    if entry.is_stored() { fits(listed, entry) } else { entry.header.is_ok() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::Header;
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
        let at = |day: &str| {
            let mut entry = crate::bundle::testing::entry(&format!("2026-11-{day}T07:54:43Z"));
            entry.name = format!("opschain-202611{day}T075443Z-00000a");
            entry
        };
        let missing = |there: Vec<CatalogEntry>| -> Vec<String> {
            let found = newer(all(), &Catalog { store: "/bundles".into(), entries: there });
            let day = |missing: &MissingBundle| missing.created.to_string()[..10].to_owned();
            found.iter().map(|missing| day(missing) + if missing.has_other { " other" } else { "" }).collect()
        };
        assert_eq!(missing(vec![at("23")]), Vec::<String>::new(), "the older ones may have been removed");
        assert_eq!(missing(vec![at("21"), at("22")]), ["2026-11-23"]);
        assert_eq!(missing(Vec::new()).len(), 3);
        let changed = |day: &str, change: fn(&mut CatalogEntry)| {
            let mut entry = at(day);
            change(&mut entry);
            entry
        };
        let header = |entry: &mut CatalogEntry, change: fn(&mut Header)| change(entry.header.as_mut().unwrap());
        let other_digest = changed("23", |entry| entry.manifest_sha256 = Some("1".repeat(64)));
        assert_eq!(missing(vec![other_digest, at("22")]), ["2026-11-23 other"]);
        for change in [
            (|header| header.install.namespace = "other".into()) as fn(&mut Header),
            |header| header.install.release = "other".into(),
            |header| header.opschain.version = "2020-01-01".into(),
            |header| header.postgresql.system_identifier = "1".into(),
        ] {
            let mut entry = at("23");
            header(&mut entry, change);
            assert_eq!(missing(vec![entry, at("22")]), ["2026-11-23 other"]);
        }
        let older = changed("21", |entry| entry.manifest_sha256 = None);
        assert_eq!(missing(vec![at("23"), older]), ["2026-11-21 other"], "whatever else is there");
        let unreadable = changed("23", |entry| entry.header = Err("damaged".into()));
        assert_eq!(missing(vec![unreadable, at("22")]), ["2026-11-23"]);
        let error = emptied(&all(), "/bundles").unwrap();
        assert!(error.message().contains("lists 3 bundles published in it, the newest opschain-20261123"), "{error}");
        assert!(error.hints()[0].contains("findmnt -T /bundles"), "{:?}", error.hints());
        assert!(emptied(&all(), "/elsewhere").is_none());
    }
}
