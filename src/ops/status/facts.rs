//! What status goes by.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::report::OpenRunStatus;
use crate::bundle::{BundleMark, CatalogEntry, Depth, Header, MarkKind, PublishedRecord};
use crate::error::Result;
use crate::journal::{self, Outcome, Run};
use crate::ops::Ctx;
use crate::ops::prune::span;
use crate::ops::schedule::ScheduleLine;
use crate::store::Store;

/// What should be so.
#[derive(Debug, Clone)]
pub(super) struct Targets {
    pub(super) rpo: SignedDuration,
    pub(super) verified: SignedDuration,
    pub(super) restored: SignedDuration,
}

/// A bundle that is there and not marked as gone.
#[derive(Debug, Clone)]
pub(super) struct KnownBundle {
    pub(super) name: String,
    pub(super) bytes: u64,
    /// `namespace/release`; nothing of one that cannot be read.
    pub(super) install: Option<String>,
    pub(super) created: Option<Timestamp>,
    pub(super) recipients: Vec<String>,
    /// Whether it is in the store as a bundle, and not a file that somebody put there.
    pub(super) is_stored: bool,
    /// When it was verified, and how deeply.
    pub(super) proof: Option<(Timestamp, Depth)>,
}

/// Plain data for the judgement.
#[derive(Debug, Clone)]
pub(super) struct StatusFacts {
    pub(super) now: Timestamp,
    pub(super) install: String,
    pub(super) store: String,
    pub(super) free_bytes: Option<u64>,
    /// All bundles of the store, newest first; or why they cannot be listed.
    pub(super) bundles: std::result::Result<Vec<KnownBundle>, String>,
    /// When the vault's deployments were; nothing without a vault, and the reason where it cannot be read.
    pub(super) deployments: Option<std::result::Result<Vec<Timestamp>, String>>,
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
    let runs = journal::list(&*ctx.runs)?;
    let readable = || runs.iter().rev().filter_map(|(id, run)| Some((id, run.as_ref().ok()?)));
    let ours = |run: &Run| {
        (&*run.replay.begun.namespace, &*run.replay.begun.release) == (&*install.namespace, &*install.release)
    };
    let open = readable().filter(|(_, run)| run.is_open() && ours(run));
    let name = format!("{}/{}", install.namespace, install.release);
    Ok(StatusFacts {
        now: Timestamp::now(),
        schedules: schedules.into_iter().filter(|line| line.install == name).collect(),
        install: name,
        store: store.as_ref().map_or(place, |store| store.place()),
        free_bytes: store.as_ref().ok().and_then(|store| store.free_bytes().ok().flatten()),
        bundles: store.and_then(|store| known(ctx, &*store)).map_err(|error| error.to_string()),
        deployments: vault,
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

fn deployments(ctx: &Ctx) -> Result<Vec<Timestamp>> {
    let known = ctx.vault_to_read()?.known(&ctx.vault_install())?;
    Ok(known.iter().map(|deployment| deployment.record.at).collect())
}

/// The bundles of the store that are not marked as gone, newest first. What a restore has replaced is no state to go back to.
pub(super) fn known(ctx: &Ctx, store: &dyn Store) -> Result<Vec<KnownBundle>> {
    let catalog = ctx.catalog(store)?;
    let of = |header: &Header| format!("{}/{}", header.install.namespace, header.install.release);
    let bundle = |entry: CatalogEntry| {
        let (created, is_stored) = (entry.created(), entry.is_stored());
        let header = entry.header.ok();
        KnownBundle {
            name: entry.name,
            bytes: entry.bytes,
            install: header.as_ref().map(of),
            created,
            is_stored,
            recipients: header.map(|header| header.recipients).unwrap_or_default(),
            proof: entry.proof.map(|proof| (proof.verified_at, proof.depth)),
        }
    };
    let replaced = |entry: &CatalogEntry| entry.header.as_ref().is_ok_and(|header| header.replaced_by.is_some());
    Ok(catalog.entries.into_iter().filter(|entry| entry.gone.is_none() && !replaced(entry)).map(bundle).collect())
}

/// How long a restore that came to its end took, and how large its bundle was.
fn restore_of(run: &Run) -> Option<(SignedDuration, u64)> {
    let replay = &run.replay;
    let is_done = replay.begun.verb == "restore" && replay.outcome == Some(Outcome::Done);
    let bytes = replay.begun.plan.get("bytes").and_then(serde_json::Value::as_u64)?;
    is_done.then(|| (replay.last.duration_since(replay.begun.at), bytes))
}
