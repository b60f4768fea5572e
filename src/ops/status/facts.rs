//! What status goes by.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::report::OpenRunStatus;
use crate::bundle::{BundleMark, BundleStanding, CatalogEntry, Header, MarkKind, Proof, PublishedRecord};
use crate::clock;
use crate::error::Result;
use crate::journal::{self, Outcome, Run};
use crate::ops::Ctx;
use crate::ops::prune::span;
use crate::ops::published::{self, MissingBundle};
use crate::ops::schedule::ScheduleLine;
use crate::store::Store;
use crate::vault::{Deployment, How};

/// What should be so.
#[derive(Debug, Clone)]
pub(super) struct Targets {
    pub(super) rpo: SignedDuration,
    pub(super) verified: SignedDuration,
    pub(super) restored: SignedDuration,
}

/// A bundle that is there, is ours, and is not marked as gone.
#[derive(Debug, Clone)]
pub(super) struct KnownBundle {
    pub(super) name: String,
    pub(super) bytes: u64,
    /// `namespace/release`.
    pub(super) install: String,
    pub(super) created: Timestamp,
    pub(super) recipients: Vec<String>,
    /// Whether it is in the store as a bundle, and not a file that somebody put there.
    pub(super) is_stored: bool,
    /// The deepest verification, if any; only one that somebody trusted has signed counts.
    pub(super) proof: Option<Proof>,
}

/// Plain data for the judgement.
#[derive(Debug, Clone)]
pub(super) struct StatusFacts {
    pub(super) now: Timestamp,
    pub(super) install: String,
    pub(super) store: String,
    pub(super) free_bytes: Option<u64>,
    /// All bundles of the store; or why they are not known.
    pub(super) bundles: std::result::Result<KnownBundles, String>,
    /// When the vault's deployments were; nothing without a vault, and the reason where it cannot be read.
    pub(super) deployments: Option<std::result::Result<Vec<Timestamp>, String>>,
    /// When the install was made anew last, as far as the vault knows: its database is another one since.
    pub(super) made_anew: Option<Timestamp>,
    pub(super) open_runs: Vec<OpenRunStatus>,
    /// Those of this host.
    pub(super) schedules: Vec<ScheduleLine>,
    /// How long the restores of this host took, newest first, with the bytes of their bundles.
    pub(super) restores: Vec<(SignedDuration, u64)>,
    pub(super) recipients: Vec<String>,
    pub(super) targets: Targets,
    pub(super) mirrors: Vec<MirrorFacts>,
    /// In how many stores, this one among them, each bundle has to be.
    pub(super) stores_needed: usize,
}

/// A store that is to hold the same.
#[derive(Debug, Clone)]
pub(super) struct MirrorFacts {
    pub(super) place: String,
    /// The names of what it holds, or why that is not known.
    pub(super) bundles: std::result::Result<BTreeSet<String>, String>,
}

fn mirror(ctx: &Ctx, place: String) -> MirrorFacts {
    let names = || -> Result<BTreeSet<String>> {
        let store = ctx.store_at(&place)?;
        let listed = store.list()?;
        // Half a copy is none, and one that the next prune removes is none for long.
        let is_whole = |name: &str, record: &[u8], bytes: Option<u64>| {
            PublishedRecord::parse(record, name).is_ok_and(|record| bytes == Some(record.bytes))
        };
        let stays = listed.into_iter().filter(|object| {
            object.record.as_ref().is_ok_and(|record| is_whole(&object.name, record, object.bytes))
                && BundleMark::read(&*store, &object.name, &object.notes, MarkKind::Gone).is_none()
        });
        Ok(stays.map(|object| object.name).collect())
    };
    let bundles = names().map_err(|error| error.to_string());
    MirrorFacts { place, bundles }
}

pub(super) fn facts(ctx: &Ctx, schedules: Vec<ScheduleLine>) -> Result<StatusFacts> {
    let settings = ctx.settings()?;
    let install = ctx.install();
    let store = ctx.store();
    let place = settings.store.place().unwrap_or_default();
    let vault = settings.vault.path.as_ref().map(|_| deployments(ctx).map_err(|error| error.to_string()));
    let deployed = vault.as_ref().and_then(|deployed| deployed.as_ref().ok());
    let made_anew =
        deployed.and_then(|deployed| deployed.iter().filter(|one| makes_anew(one)).map(|one| one.record.at).max());
    let runs = journal::list(&*ctx.runs)?;
    let readable = || runs.iter().rev().filter_map(|(id, run)| Some((id, run.as_ref().ok()?)));
    let ours = |run: &Run| {
        (&*run.replay.begun.namespace, &*run.replay.begun.release) == (&*install.namespace, &*install.release)
    };
    let open = readable().filter(|(_, run)| run.is_open() && ours(run));
    let name = format!("{}/{}", install.namespace, install.release);
    Ok(StatusFacts {
        now: clock::now(),
        schedules: schedules.into_iter().filter(|line| line.install == name).collect(),
        install: name,
        store: store.as_ref().map_or(place, |store| store.place()),
        free_bytes: store.as_ref().ok().and_then(|store| store.free_bytes().ok().flatten()),
        bundles: store.and_then(|store| known(ctx, &*store)).map_err(|error| error.to_string()),
        deployments: vault.map(|known| known.map(|known| known.iter().map(|one| one.record.at).collect())),
        made_anew,
        open_runs: open
            .map(|(id, run)| OpenRunStatus { run: id.clone(), verb: run.replay.begun.verb.clone() })
            .collect(),
        restores: readable().filter_map(|(_, run)| restore_of(run)).collect(),
        recipients: settings.keys.recipients.clone(),
        targets: targets(ctx)?,
        mirrors: settings.store.mirror_places().into_iter().map(|place| mirror(ctx, place)).collect(),
        stores_needed: settings.store.policy.needed(settings.store.mirrors.len() + 1),
    })
}

pub(super) fn targets(ctx: &Ctx) -> Result<Targets> {
    let status = &ctx.settings()?.status;
    Ok(Targets {
        rpo: span(status.made_within),
        verified: span(status.verified_within),
        restored: span(status.restored_within),
    })
}

fn deployments(ctx: &Ctx) -> Result<Vec<Arc<Deployment>>> {
    Ok(ctx.vault_to_read()?.known(&ctx.vault_install())?)
}

/// Whether it was a first installation: of a database that was new.
fn makes_anew(deployment: &Deployment) -> bool {
    let outcome = deployment.outcome.as_ref();
    let is_first = outcome.is_some_and(|outcome| outcome.helm_revision == Some(1));
    is_first && deployment.record.how == How::Deploy && deployment.state() == "deployed"
}

/// The bundles of a store, by what they are worth; those that are marked as gone left out.
#[derive(Debug, Clone, Default)]
pub(super) struct KnownBundles {
    /// Those that open, made by somebody trusted, or that the vault lists; newest first.
    pub(super) ours: Vec<KnownBundle>,
    /// Those that nobody trusted here has signed.
    pub(super) strangers: Vec<String>,
    /// Those that cannot be opened, with the reason.
    pub(super) broken: Vec<(String, String)>,
    /// Those of the install of the settings that the vault lists, newer than all that are there.
    pub(super) missing: Vec<MissingBundle>,
}

/// What a restore has replaced is no state to go back to, and is left out. What the vault lists, signed, and is older than
/// one of its install that opens, is not opened: it was when it was published.
///
/// # Errors
/// The store cannot be listed, or whom to trust is not known: then nothing in it is known to be ours.
pub(super) fn known(ctx: &Ctx, store: &dyn Store) -> Result<KnownBundles> {
    let catalog = ctx.catalog(store)?;
    let (trust, listed) = (ctx.trust(None, None, false)?, published::listed_or_none(ctx));
    let install = |entry: &CatalogEntry| entry.header.as_ref().ok().map(|header| header.install.name());
    let mut installs = BTreeSet::new();
    let is_newest: Vec<bool> =
        catalog.entries.iter().map(|entry| entry.gone.is_none() && installs.insert(install(entry))).collect();
    let is_taken = |at: usize, entry: &CatalogEntry| {
        let fits = listed.get(&entry.name).is_some_and(|listed| published::fits(listed, entry));
        let is_replaced = entry.header.as_ref().is_ok_and(|header| header.replaced_by.is_some());
        fits && !is_newest[at] && !is_replaced
    };
    let is_opened = |at: usize, entry: &CatalogEntry| entry.gone.is_none() && !is_taken(at, entry);
    let mut opened: BTreeMap<usize, BundleStanding> =
        catalog.standings(store, &trust, &published::manifests(&listed), is_opened).into_iter().collect();
    let installs: Vec<Option<String>> = catalog.entries.iter().map(&install).collect();
    let may_open: Vec<bool> =
        catalog.entries.iter().enumerate().map(|(at, e)| e.gone.is_none() && is_taken(at, e)).collect();
    // In most stores there is no such round.
    for most in [1, 8, 64, usize::MAX] {
        let is_state = |at: usize| catalog.entries[at].header.as_ref().is_ok_and(|header| header.replaced_by.is_none());
        let seen = |at| opened.get(&at).map(|seen| matches!(seen, BundleStanding::Ours { .. }) && is_state(at));
        let next = next_to_open(&installs, &may_open, seen, most);
        if next.is_empty() {
            break;
        }
        opened.extend(catalog.standings(store, &trust, &published::manifests(&listed), |at, _| next.contains(&at)));
    }
    // What was not read because of the signal is not to be taken for damaged.
    ctx.check_cancelled()?;
    let missing = published::missing_of(&listed, &ctx.vault_install(), &catalog);
    let mut known = KnownBundles { missing, ..KnownBundles::default() };
    for (at, entry) in catalog.entries.into_iter().enumerate().filter(|(_, entry)| entry.gone.is_none()) {
        match (opened.remove(&at), &entry.header) {
            (Some(BundleStanding::Stranger(_)), _) => known.strangers.push(entry.name),
            (Some(BundleStanding::Broken(reason)), _) => known.broken.push((entry.name, reason)),
            (_, Err(reason)) => known.broken.push((entry.name.clone(), reason.clone())),
            (_, Ok(Header { replaced_by: Some(_), .. })) => {}
            (_, Ok(header)) => known.ours.push(bundle(&entry, header)),
        }
    }
    Ok(known)
}

/// The next bundles to open, newest first and at most so many of an install: those of installs of which nothing that was
/// opened stands. `seen` tells of a bundle that was opened whether it does.
fn next_to_open(
    installs: &[Option<String>],
    may_open: &[bool],
    seen: impl Fn(usize) -> Option<bool>,
    most: usize,
) -> BTreeSet<usize> {
    let stand: BTreeSet<&Option<String>> =
        (0..installs.len()).filter(|at| seen(*at) == Some(true)).map(|at| &installs[at]).collect();
    let mut next: BTreeMap<&Option<String>, Vec<usize>> = BTreeMap::new();
    for (at, install) in installs.iter().enumerate() {
        if may_open[at] && seen(at).is_none() && !stand.contains(install) {
            next.entry(install).or_default().push(at);
        }
    }
    next.into_values().flat_map(|places| places.into_iter().take(most)).collect()
}

fn bundle(entry: &CatalogEntry, header: &Header) -> KnownBundle {
    KnownBundle {
        name: entry.name.clone(),
        bytes: entry.bytes,
        install: header.install.name(),
        created: header.created,
        recipients: header.recipients.clone(),
        is_stored: entry.is_stored(),
        proof: entry.proof.clone(),
    }
}

/// How long a restore that came to its end took, and how large its bundle was.
fn restore_of(run: &Run) -> Option<(SignedDuration, u64)> {
    let replay = &run.replay;
    let is_done = replay.begun.verb == "restore" && replay.outcome == Some(Outcome::Done);
    let bytes = replay.begun.plan.get("bytes").and_then(serde_json::Value::as_u64)?;
    is_done.then(|| (replay.last.duration_since(replay.begun.at), bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_the_newest_of_an_install_does_not_stand_the_next_are_opened() {
        let installs: Vec<Option<String>> = ["a", "b", "a", "a", "b", "a"].map(|name| Some(name.to_owned())).into();
        let next = |seen: &[(usize, bool)], may: [bool; 6], most| {
            let seen: BTreeMap<usize, bool> = seen.iter().copied().collect();
            let next = next_to_open(&installs, &may, |at| seen.get(&at).copied(), most);
            next.into_iter().collect::<Vec<_>>()
        };
        let all = [true; 6];
        assert_eq!(next(&[(0, true), (1, true)], all, 1), [0; 0]);
        assert_eq!(next(&[(0, false), (1, true)], all, 1), [2]);
        assert_eq!(next(&[(0, false), (1, false)], all, 1), [2, 4]);
        assert_eq!(next(&[(0, false), (1, false), (2, false), (4, true)], all, 8), [3, 5]);
        assert_eq!(
            next(&[(0, false)], [true, false, true, false, false, true], 8),
            [2, 5],
            "not what is marked as gone"
        );
        assert_eq!(next(&(0..6).map(|at| (at, false)).collect::<Vec<_>>(), all, 8), [0; 0], "all were opened");
    }
}
