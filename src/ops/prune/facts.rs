//! What there is to prune: the catalog, and what the clocks say.

use jiff::{SignedDuration, Timestamp};

use crate::bundle::retention::{Candidate, DatabaseGroup};
use crate::bundle::{BundleReference, Catalog, CatalogEntry, Header, lease};
use crate::error::Result;
use crate::ops::Ctx;
use crate::settings::Install;
use crate::store::Store;

/// Plain data for the plan.
#[derive(Debug, Clone)]
pub(super) struct PruneFacts {
    pub(super) store: String,
    pub(super) now: Timestamp,
    /// How far this host's clock is ahead of the API server's, where that was told.
    pub(super) ahead: Option<SignedDuration>,
    /// When the newest bundle of the store says that it was made, of whatever install.
    pub(super) newest: Option<(String, Timestamp)>,
    /// The bundles that are judged, with their sizes.
    pub(super) bundles: Vec<(Candidate, u64)>,
    /// Those whose removal was begun and not finished.
    pub(super) half_removed: Vec<String>,
    /// Those that cannot be read, with the reason.
    pub(super) unreadable: Vec<(String, String)>,
    /// How many are of other installs.
    pub(super) of_others: usize,
    /// How many files somebody has put there by hand.
    pub(super) loose: usize,
}

pub(super) async fn facts(ctx: &Ctx, all_installs: bool) -> Result<PruneFacts> {
    let store = ctx.store()?;
    let ahead = match ctx.cluster().await {
        Ok(cluster) => cluster.clock_ahead().await,
        Err(_) => None,
    };
    if ahead.is_none() {
        ctx.events.note("no cluster tells the time: this host's clock is held against the bundles only");
    }
    let catalog = ctx.catalog(&*store)?;
    of_catalog(&catalog, &*store, ahead, (!all_installs).then(|| ctx.install()))
}

fn of_catalog(
    catalog: &Catalog,
    store: &dyn Store,
    ahead: Option<SignedDuration>,
    of: Option<&Install>,
) -> Result<PruneFacts> {
    let now = Timestamp::now();
    let mut facts = PruneFacts {
        store: catalog.store.clone(),
        now,
        ahead,
        newest: None,
        bundles: Vec::new(),
        half_removed: Vec::new(),
        unreadable: Vec::new(),
        of_others: 0,
        loose: 0,
    };
    for entry in &catalog.entries {
        // A file that lies there tells of the clocks as well as a bundle does.
        let created = entry.header.as_ref().ok().map(|header| header.created);
        if let Some(created) = created.filter(|at| facts.newest.as_ref().is_none_or(|(_, known)| known < at)) {
            facts.newest = Some((entry.name.clone(), created));
        }
        let header = match &entry.header {
            _ if matches!(entry.reference, BundleReference::File { .. }) => {
                facts.loose += 1;
                continue;
            }
            Err(_) if entry.is_hollow && entry.gone.as_ref().is_some_and(|mark| mark.at.is_some()) => {
                facts.half_removed.push(entry.name.clone());
                continue;
            }
            Err(reason) => {
                facts.unreadable.push((entry.name.clone(), reason.clone()));
                continue;
            }
            Ok(header) => header,
        };
        let is_ours =
            |of: &Install| (&of.namespace, &of.release) == (&header.install.namespace, &header.install.release);
        if of.is_some_and(|of| !is_ours(of)) {
            facts.of_others += 1;
            continue;
        }
        let locked_until = store.locked_until(&entry.name)?;
        facts.bundles.push((candidate(entry, header, locked_until, now), entry.bytes));
    }
    Ok(facts)
}

fn candidate(entry: &CatalogEntry, header: &Header, locked_until: Option<Timestamp>, now: Timestamp) -> Candidate {
    Candidate {
        name: entry.name.clone(),
        group: DatabaseGroup {
            namespace: header.install.namespace.to_string(),
            release: header.install.release.to_string(),
            system_identifier: header.postgresql.system_identifier.clone(),
        },
        version: header.opschain.version.clone(),
        created: header.created,
        proof: entry.proof.as_ref().map(|proof| proof.depth),
        pinned: entry.pin.as_ref().map(|pin| pin.reason.clone()),
        leased_until: lease::held_until(&entry.notes, now),
        locked_until,
        gone: entry.gone.as_ref().map(|mark| mark.at),
    }
}
