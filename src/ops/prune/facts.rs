//! What there is to prune: the catalog, and what the clocks say.

use jiff::{SignedDuration, Timestamp};

use crate::bundle::retention::{Candidate, DatabaseGroup};
use crate::bundle::{BundleStanding, Catalog, CatalogEntry, Header, ListedManifests, Trust, lease};
use crate::clock;
use crate::error::Result;
use crate::ops::{Ctx, published};
use crate::settings::Install;
use crate::store::Store;

/// Plain data for the plan.
#[derive(Debug, Clone)]
pub(super) struct PruneFacts {
    pub(super) store: String,
    pub(super) now: Timestamp,
    /// How far this host's clock is ahead of the API server's, where that was told.
    pub(super) ahead: Option<SignedDuration>,
    /// When the newest of the bundles that are judged was made.
    pub(super) newest: Option<(String, Timestamp)>,
    /// The bundles that are judged: those that open, made by somebody trusted, or that the vault lists.
    pub(super) bundles: Vec<JudgedBundle>,
    /// Those that nobody trusted here has signed, with how that was seen.
    pub(super) strangers: Vec<(String, String)>,
    /// Those whose removal was begun and not finished.
    pub(super) half_removed: Vec<String>,
    /// Those that cannot be read, with the reason.
    pub(super) unreadable: Vec<(String, String)>,
    /// How many are of other installs.
    pub(super) of_others: usize,
    /// How many files somebody has put there by hand.
    pub(super) loose: usize,
}

/// A bundle that is judged.
#[derive(Debug, Clone)]
pub(super) struct JudgedBundle {
    pub(super) candidate: Candidate,
    pub(super) bytes: u64,
    /// Whether the config vault lists this very bundle.
    pub(super) is_listed: bool,
}

/// # Errors
/// The store cannot be listed, or whom to trust is not known: then nothing in the store is known to be ours.
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
    let trust = ctx.trust(None, None, false)?;
    let known = KnownSigned { trust, listed: published::manifests(&published::listed(ctx)?) };
    let facts = of_catalog(&catalog, &*store, ahead, (!all_installs).then(|| ctx.install()), &known)?;
    // What was not read because of the signal is not to be taken for damaged.
    ctx.check_cancelled()?;
    Ok(facts)
}

/// By what a bundle is known to be ours.
struct KnownSigned {
    trust: Trust,
    listed: ListedManifests,
}

fn of_catalog(
    catalog: &Catalog,
    store: &dyn Store,
    ahead: Option<SignedDuration>,
    of: Option<&Install>,
    known: &KnownSigned,
) -> Result<PruneFacts> {
    let now = clock::now();
    let is_of_other = |header: &Header| {
        of.is_some_and(|of| (&of.namespace, &of.release) != (&header.install.namespace, &header.install.release))
    };
    let mut facts = PruneFacts {
        store: catalog.store.clone(),
        now,
        ahead,
        newest: None,
        bundles: Vec::new(),
        strangers: Vec::new(),
        half_removed: Vec::new(),
        unreadable: Vec::new(),
        of_others: 0,
        loose: 0,
    };
    for entry in &catalog.entries {
        match &entry.header {
            _ if !entry.is_stored() => facts.loose += 1,
            Err(_) if entry.is_hollow && entry.gone.as_ref().is_some_and(|mark| mark.at.is_some()) => {
                facts.half_removed.push(entry.name.clone());
            }
            Err(reason) => facts.unreadable.push((entry.name.clone(), reason.clone())),
            Ok(header) => facts.of_others += usize::from(is_of_other(header)),
        }
    }
    let is_judged =
        |_, entry: &CatalogEntry| entry.is_stored() && entry.header.as_ref().is_ok_and(|header| !is_of_other(header));
    for (at, standing) in catalog.standings(store, &known.trust, &known.listed, is_judged) {
        let entry = &catalog.entries[at];
        match (standing, &entry.header) {
            (BundleStanding::Stranger(reason), _) => facts.strangers.push((entry.name.clone(), reason)),
            (BundleStanding::Broken(reason), _) => facts.unreadable.push((entry.name.clone(), reason)),
            (BundleStanding::Ours { is_listed }, Ok(header)) => {
                if facts.newest.as_ref().is_none_or(|(_, newest)| *newest < header.created) {
                    facts.newest = Some((entry.name.clone(), header.created));
                }
                let candidate = candidate(entry, header, store.locked_until(&entry.name)?, now);
                facts.bundles.push(JudgedBundle { candidate, bytes: entry.bytes, is_listed });
            }
            (BundleStanding::Ours { .. }, Err(_)) => {}
        }
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
        proof: entry.proof.as_ref().filter(|proof| proof.counts()).map(|proof| proof.depth),
        pinned: entry.pin.as_ref().map(|pin| pin.reason.clone()),
        leased_until: lease::held_until(&entry.notes, now),
        locked_until,
        gone: entry.gone.as_ref().map(|mark| mark.at),
    }
}
