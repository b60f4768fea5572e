//! What is looked at of the store: what it holds, what it promises, and whether a bundle has room there.

use std::path::Path;

use super::findings::FindingsBuilder;
use crate::bundle::{BundleStanding, Catalog, CatalogEntry, Depth, Proof};
use crate::error::{CommandError, chain};
use crate::ops::{Ctx, bundles, published};
use crate::settings::Settings;
use crate::store::{BucketProtection, Store, StoreConditions, is_bucket};
use crate::text::{bytes, plural};

pub(super) fn store(ctx: &Ctx, settings: &Settings, findings: &mut FindingsBuilder) {
    let Some(place) = settings.store.place() else {
        return findings.bad("store", "no store is set", "dr init, then set `path` or `url` under [store]");
    };
    if !is_bucket(&place) {
        let path = Path::new(&place);
        if !path.exists() {
            return findings.bad("store", format!("there is no store {place}"), "dr init");
        }
        if let Err(error) = tempfile::Builder::new().prefix(".dr-doctor-").tempfile_in(path) {
            let text = format!("nothing can be written into store {place}: {}", chain(&error));
            return findings.bad("store", text, format!("ls -ld {place}"));
        }
    }
    let store = match ctx.store_at(&place) {
        Ok(store) => store,
        Err(error) => return findings.failed("store", error),
    };
    let catalog = ctx.catalog(&*store);
    match (catalog, store.free_bytes().map_err(CommandError::from)) {
        (Ok(Catalog { entries, .. }), Ok(free)) => {
            let newest = newest_good(ctx, &*store, &entries, findings);
            findings.known.bundles = newest.map_or(0, |_| entries.len());
            let is_proof = |proof: &Proof| proof.counts() && proof.depth >= Depth::Plain;
            let unproved = |entry: &&CatalogEntry| !entry.proof.as_ref().is_some_and(is_proof);
            findings.known.to_verify =
                newest.filter(unproved).map(|newest| bundles::verify_command(ctx, &newest.name, None));
            room(findings, &place, plural(entries.len() as u64, "bundle"), free);
        }
        (Err(error), _) | (_, Err(error)) => return findings.failed("store", error),
    }
    match store.conditions() {
        Ok(Some(conditions)) => store_conditions(&conditions, settings.store.checksum.is_some(), findings),
        Ok(None) => {}
        Err(error) => findings.failed("store", CommandError::from(error)),
    }
}

/// The newest bundle that is ours. Where the newest of all is not, that is said; whom to trust is told of with the keys.
fn newest_good<'e>(
    ctx: &Ctx,
    store: &dyn Store,
    entries: &'e [CatalogEntry],
    findings: &mut FindingsBuilder,
) -> Option<&'e CatalogEntry> {
    let trust = ctx.trust(None, None, false).ok()?;
    let listed = published::manifests(&published::listed_or_none(ctx));
    let standing = |entry: &CatalogEntry| entry.standing(store, &trust, &listed);
    let newest = entries.first()?;
    let (what, way) = match standing(newest) {
        BundleStanding::Ours { .. } => return Some(newest),
        BundleStanding::Stranger(reason) => (
            format!("nobody trusted here has signed it: {reason}"),
            format!("dr bundle show {} --any-signer", newest.name),
        ),
        BundleStanding::Broken(reason) => {
            (format!("it cannot be opened: {reason}"), format!("dr bundle verify {}", newest.name))
        }
    };
    findings.warn("store", format!("bundle {}: {what}", newest.name), way);
    entries.iter().skip(1).find(|entry| matches!(standing(entry), BundleStanding::Ours { .. }))
}

/// What a bucket's server was seen to keep.
fn store_conditions(conditions: &StoreConditions, sends_checksum: bool, findings: &mut FindingsBuilder) {
    let StoreConditions { writers, winners, refuses_stale, left, protection } = conditions;
    let stale = match refuses_stale {
        Some(true) => "a stale replacement was refused",
        Some(false) => "a stale replacement was taken",
        None => "it knows no replacement of a known version, and dr asks for none",
    };
    let raced = format!("store: of {writers} writers of one name {winners} succeeded, {stale}");
    match conditions.hold() {
        true => findings.ok("store", raced),
        false => findings.warn(
            "store",
            format!("{raced}: it is for one writer"),
            "let one host only make and copy bundles there",
        ),
    }
    match protection {
        Ok(BucketProtection { versions: false, lock: None, .. }) => {
            let text = "store: it keeps no versions and has no Object Lock: whoever has its key can remove bundles";
            findings.ok("store", text);
        }
        Ok(BucketProtection { versions, lock, .. }) => {
            let versions = if *versions { "versions are kept" } else { "no versions are kept" };
            let lock_text = match lock {
                None => "no Object Lock".to_owned(),
                Some(None) => "Object Lock without a default retention".to_owned(),
                Some(Some(retention)) => format!("Object Lock by default: {retention}"),
            };
            let text = format!("store: {versions}, {lock_text}");
            match lock.is_some() && !sends_checksum {
                true => {
                    let text = format!("{text}, and such a bucket asks for a checksum with each part");
                    findings.warn("store", text, "set `checksum = \"sha256\"` under [store] in dr.toml");
                }
                false => findings.ok("store", text),
            }
        }
        Err(why) => {
            findings.ok("store", format!("store: versions and Object Lock cannot be seen with this key: {why}"))
        }
    }
    if let Some(left) = left {
        findings.ok("store", format!("store: a probe of one line stays there: {left}"));
    }
}

/// Whether a bundle of the database fits. A bundle of incompressible data is as large as the database, and its log.
fn room(findings: &mut FindingsBuilder, place: &str, holds: String, free: Option<u64>) {
    let text = format!("store {place}: {holds}");
    match (free, findings.known.database_size) {
        (Some(free), Some(size)) if free < size / 2 => findings.bad(
            "store",
            format!("{text}, {} free, and the database has {}", bytes(free), bytes(size)),
            "free room on the store's disk, or set another store",
        ),
        (Some(free), Some(size)) if free < size.saturating_mul(3) => findings.warn(
            "store",
            format!("{text}, {} free: room for few bundles of a database of {}", bytes(free), bytes(size)),
            "free room on the store's disk, or set another store",
        ),
        (Some(free), Some(size)) => {
            findings.ok("store", format!("{text}, {} free for a database of {}", bytes(free), bytes(size)))
        }
        (Some(free), None) => findings.ok("store", format!("{text}, {} free", bytes(free))),
        (None, _) => findings.ok("store", text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::doctor::{Finding, Level};

    fn seen(free: u64, size: u64) -> Finding {
        let mut findings = FindingsBuilder::default();
        findings.known.database_size = Some(size);
        room(&mut findings, "/s", plural(1, "bundle"), Some(free));
        findings.finish().findings.remove(0)
    }

    #[test]
    fn a_store_without_room_for_one_bundle_is_bad_and_for_few_is_doubtful() {
        assert_eq!(seen(1 << 30, 4 << 30).level, Level::Bad);
        assert_eq!(seen(4 << 30, 4 << 30).level, Level::Warn);
        assert_eq!(seen(40 << 30, 4 << 30).level, Level::Ok);
        assert_eq!(seen(1 << 30, 4 << 30).text, "store /s: 1 bundle, 1.0 GiB free, and the database has 4.0 GiB");
    }
}
