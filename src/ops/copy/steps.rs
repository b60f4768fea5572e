//! Carries bundles over.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use serde::Serialize;
use tokio::runtime::Handle;

use super::plan::{CopyLine, CopyPlan};
use super::progress::{CopyProgress, CopyState};
use super::request::{CopyRequest, stopped};
use crate::bundle::{BundleFault, Proof, PublishedRecord, Reader, Trust, UnpublishedBundle};
use crate::error::{CommandError, Exit, Result};
use crate::ops::bundles::{hold, open};
use crate::ops::{Ctx, evidence};
use crate::store::{Draft, DraftToken, Pending, ResumedDraft, Store, StoreError};
use crate::text;

/// How long a copy may read a bundle that somebody marks as gone meanwhile.
const LEASE: SignedDuration = SignedDuration::from_hours(24);
/// How far the draft is, is kept each time so many bytes more are durable.
const KEPT_EVERY: u64 = 64 << 20;

/// How many bytes are read and handed over at once, at the most and where few may go a second.
const MOST_AT_ONCE: u64 = 4 << 20;
const LEAST_AT_ONCE: u64 = 8 << 10;

/// What was carried over.
#[derive(Debug, Default, Serialize)]
pub struct CopyReport {
    pub from: String,
    pub to: String,
    pub copied: Vec<CopiedBundle>,
    /// Those that were there before, the same to the byte.
    pub there: Vec<String>,
    /// Those that were there as well, and are marked as gone there.
    pub marked: Vec<String>,
    /// How many notes went along: what was proved of these bundles, and the evidence of it.
    pub notes: usize,
    /// What could not be carried over, with the reason.
    pub failed: Vec<(String, String)>,
    /// What the first of it is, as an exit code says it.
    #[serde(skip)]
    pub failure: Option<Exit>,
}

/// One that was carried over.
#[derive(Debug, Serialize)]
pub struct CopiedBundle {
    pub bundle: String,
    pub bytes: u64,
    /// Where a person finds it.
    pub address: String,
    /// How many of its bytes an earlier command had carried over.
    pub resumed_bytes: u64,
    pub milliseconds: u64,
}

pub(super) fn carry_out(ctx: &Ctx, request: &CopyRequest, plan: &CopyPlan) -> Result<CopyReport> {
    let (store, trust) = (ctx.store_paced(&plan.to, request.bytes_a_second)?, request.keys(ctx)?.trust(ctx)?);
    let (from, to, there, marked) = (plan.from.clone(), plan.to.clone(), plan.there.clone(), plan.marked.clone());
    let mut report = CopyReport { from, to, there, marked, ..CopyReport::default() };
    for (bundle, why) in &plan.unreadable {
        report.failed.push((bundle.clone(), why.clone()));
        report.failure.get_or_insert(Exit::Damaged);
    }
    for (bundle, why) in &plan.refused {
        report.failed.push((bundle.clone(), why.clone()));
        report.failure.get_or_insert(Exit::Store);
    }
    for line in &plan.copies {
        let copied = one(ctx, &*store, line, &trust, request.bytes_a_second);
        if ctx.cancel.is_cancelled() && copied.is_err() {
            return Err(stopped());
        }
        match copied {
            Ok(Some(copied)) => report.copied.push(copied),
            Ok(None) => report.there.push(line.bundle.clone()),
            // Of one alone, the error says all that there is to say.
            Err(error) if plan.copies.len() == 1 && report.failed.is_empty() => return Err(error),
            Err(error) => {
                report.failure.get_or_insert(error.exit());
                report.failed.push((line.bundle.clone(), error.to_string()));
            }
        }
    }
    report.notes = carry_notes(ctx, &*store, &report);
    Ok(report)
}

/// Has what was proved of these bundles, and the evidence of it, beside their copies: each is signed, and says which bundle
/// it is of. What fails is warned of: the copies are whole without.
fn carry_notes(ctx: &Ctx, to: &dyn Store, report: &CopyReport) -> usize {
    let copied = report.copied.iter().map(|copied| &copied.bundle);
    let bundles: BTreeSet<&String> = copied.chain(&report.there).collect();
    // A file has no notes.
    let Ok(from) = ctx.store_at(&report.from) else { return 0 };
    let (mut carried, mut failed) = (0, None);
    let notes_of = |store: &dyn Store| -> Result<BTreeMap<String, Vec<String>>, StoreError> {
        let found = store.list()?.into_iter().filter(|object| bundles.contains(&object.name));
        Ok(found.map(|object| (object.name, object.notes)).collect())
    };
    match (notes_of(&*from), notes_of(to)) {
        (Ok(notes), Ok(there)) => {
            for (bundle, note) in notes.iter().flat_map(|(bundle, notes)| notes.iter().map(move |note| (bundle, note)))
            {
                let has = there.get(bundle).is_some_and(|there| there.contains(note));
                if has || !(Proof::is_note(note) || evidence::is_note(note)) {
                    continue;
                }
                match from.read_note(bundle, note).and_then(|bytes| to.add_note(bundle, note, &bytes)) {
                    Ok(()) => carried += 1,
                    Err(StoreError::Exists { .. }) => {}
                    Err(error) => failed = Some(error),
                }
            }
        }
        (Err(error), _) | (_, Err(error)) => failed = Some(error),
    }
    if let Some(error) = failed {
        let what = format!("not all that was proved of the bundles is beside their copies: {}", text::chain(&error));
        ctx.events.warn(what, Some("The same command carries over what is missing.".to_owned()));
    }
    carried
}

/// Carries one over; `None` when somebody else has done it meanwhile.
fn one(
    ctx: &Ctx,
    store: &dyn Store,
    line: &CopyLine,
    trust: &Trust,
    bytes_a_second: Option<u64>,
) -> Result<Option<CopiedBundle>> {
    let begun = Instant::now();
    let Some(reference) = &line.reference else { return Ok(None) };
    let reader = open(ctx, reference, trust)?;
    if reader.manifest_sha256() != line.manifest_sha256 {
        let what = format!("bundle {} is another one than its record says", line.bundle);
        return Err(CommandError::new(Exit::Damaged, what).hint("Take another copy of it: `dr bundle list`."));
    }
    hold(ctx, reference, "copy", LEASE);
    let progress = CopyProgress::take(&ctx.state, &store.place(), &line.bundle)?;
    let mut copying = Copying { ctx, store, line, reader: &reader, progress, pace: Pace::new(bytes_a_second) };
    let (pending, resumed_bytes) = match copying.arrived() {
        Ok(Some(arrived)) => arrived,
        Ok(None) => return copying.was_there().map(|()| None),
        Err(error) => return Err(copying.given_up(error)),
    };
    let verified = match UnpublishedBundle::of_copy(pending, &reader, trust).verify(&ctx.events, &ctx.cancel) {
        Ok(verified) => verified,
        Err(error) => return Err(copying.given_up(error.into())),
    };
    match verified.proved_by(ctx.signer().ok()).publish(store) {
        Ok(proof) => {
            copying.progress.forget();
            let milliseconds = begun.elapsed().as_millis().try_into().unwrap_or(u64::MAX);
            let (bundle, address) = (line.bundle.clone(), store.address(&line.bundle));
            Ok(Some(CopiedBundle { bundle, bytes: proof.bytes, address, resumed_bytes, milliseconds }))
        }
        Err(error) if matches!(*error.fault, BundleFault::Store(StoreError::Exists { .. })) => {
            copying.was_there().map(|()| None)
        }
        Err(error) => Err(error.into()),
    }
}

/// One bundle on its way.
struct Copying<'a> {
    ctx: &'a Ctx,
    store: &'a dyn Store,
    line: &'a CopyLine,
    reader: &'a Reader,
    progress: CopyProgress,
    pace: Pace,
}

impl Copying<'_> {
    /// Has all bytes in the other store, and says how many were there at the beginning. `None` when it is published.
    fn arrived(&mut self) -> Result<Option<(Box<dyn Pending>, u64)>> {
        let (mut draft, from) = match self.taken_up()? {
            ResumedDraft::Published => return Ok(None),
            ResumedDraft::Pending(pending) => return Ok(Some((pending, self.reader.bytes()))),
            ResumedDraft::Draft(draft) => {
                let from = draft.token().durable;
                (draft, from)
            }
        };
        self.carry(&mut *draft, from)?;
        let pending = draft.complete()?;
        self.keep(pending.token());
        Ok(Some((pending, from)))
    }

    /// The draft that an earlier process has left of this very bundle, or a new one.
    fn taken_up(&self) -> Result<ResumedDraft> {
        let name = self.line.bundle.as_str();
        if let Some(CopyState { manifest_sha256, token }) = self.progress.state() {
            let resumed = if manifest_sha256 == self.line.manifest_sha256 {
                self.store.resume(&token)
            } else {
                Err(StoreError::NotFound { object: name.to_owned(), place: self.store.place() })
            };
            match resumed {
                Ok(resumed) => return Ok(resumed),
                Err(StoreError::NotFound { .. } | StoreError::Short { .. }) => drop(self.store.abort(&token)?),
                Err(error) => return Err(error.into()),
            }
        }
        // Known before there is anything: who comes after a kill then finds what was begun.
        self.keep(DraftToken::named(name));
        let draft = self.store.begin(name, self.reader.bytes())?;
        self.keep(draft.token());
        Ok(ResumedDraft::Draft(draft))
    }

    fn carry(&mut self, draft: &mut dyn Draft, from: u64) -> Result<()> {
        let (mut kept, mut last, total) = (from, from, self.reader.bytes());
        let (ctx, what) = (self.ctx, format!("copied {}", self.line.bundle));
        let (progress, line, pace) = (&self.progress, self.line, &mut self.pace);
        let piece = pace.piece();
        let mut passed = |draft: &mut dyn Draft, at: u64| {
            ctx.events.bytes(what.clone(), at, Some(total));
            // What fails here fails again at the next bytes.
            let durable = draft.durable().unwrap_or_default();
            if durable >= kept + KEPT_EVERY {
                kept = durable;
                keep(ctx, progress, line, draft.token());
            }
            pace.wait(ctx, at - last);
            last = at;
        };
        let copied = self.reader.copy_to(draft, from, piece, &ctx.cancel, &mut passed);
        if copied.is_err() && draft.durable().is_ok() {
            keep(ctx, progress, line, draft.token());
        }
        Ok(copied?)
    }

    fn keep(&self, token: DraftToken) {
        keep(self.ctx, &self.progress, self.line, token);
    }

    /// After a failure: what is known to be wrong is thrown away, anything else is left for the same command to go on with.
    fn given_up(self, error: CommandError) -> CommandError {
        if error.exit() != Exit::Damaged {
            return error.hint("The same command goes on with what is not copied yet.");
        }
        let token = self.progress.state().map_or_else(|| DraftToken::named(&self.line.bundle), |state| state.token);
        match self.store.abort(&token) {
            Ok(_) => {
                self.progress.forget();
                error
            }
            Err(left) => error.hint(format!("What was copied of it is left there, unlisted: {left}.")),
        }
    }

    /// Somebody else has published the name: it has to be this bundle.
    fn was_there(self) -> Result<()> {
        let name = &self.line.bundle;
        let record = PublishedRecord::parse(&self.store.record(name)?, name).map_err(|fault| fault.of(name))?;
        if record.manifest_sha256 != self.line.manifest_sha256 {
            let what = format!("somebody has published another bundle {name} in store {}", self.store.place());
            return Err(CommandError::new(Exit::Store, what).hint("Nothing is ever overwritten: look at it there."));
        }
        if let Some(state) = self.progress.state() {
            // Published by another draft than this one, or by this one: then nothing is left to throw away.
            self.store.abort(&state.token)?;
        }
        self.progress.forget();
        Ok(())
    }
}

/// Without it a killed copy begins anew, and that is all.
fn keep(ctx: &Ctx, progress: &CopyProgress, line: &CopyLine, token: DraftToken) {
    let state = CopyState { manifest_sha256: line.manifest_sha256.clone(), token };
    if let Err(error) = progress.keep(&state) {
        ctx.events.note(format!("how far the copy of {} is, was not kept: {error}", line.bundle));
    }
}

/// How fast bytes may pass.
struct Pace {
    bytes_a_second: Option<u64>,
    begun: Instant,
    passed: u64,
}

impl Pace {
    fn new(bytes_a_second: Option<u64>) -> Self {
        Self { bytes_a_second, begun: Instant::now(), passed: 0 }
    }

    /// How many bytes go at once: a quarter of a second's.
    fn piece(&self) -> u64 {
        self.bytes_a_second.map_or(MOST_AT_ONCE, |rate| (rate / 4).clamp(LEAST_AT_ONCE, MOST_AT_ONCE))
    }

    /// Waits until `more` bytes may have passed, or the user asks to stop.
    fn wait(&mut self, ctx: &Ctx, more: u64) {
        self.passed += more;
        let Some(rate) = self.bytes_a_second else { return };
        let due = self.begun + Duration::from_millis(self.passed.saturating_mul(1000) / rate.max(1));
        Handle::current().block_on(async {
            tokio::select! {
                () = ctx.cancel.cancelled() => {}
                () = tokio::time::sleep_until(due.into()) => {}
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_few_bytes_may_go_a_second_few_go_at_once() {
        let piece = |rate| Pace::new(rate).piece();
        assert_eq!([None, Some(1), Some(1 << 20), Some(1 << 30)].map(piece), [4 << 20, 8 << 10, 1 << 18, 4 << 20]);
    }
}
