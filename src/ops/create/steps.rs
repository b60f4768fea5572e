//! The steps of a bundle. None is undone by itself: what a run has left is put back by [`crate::ops::runs::undo`].

use std::time::Duration;

use jiff::Timestamp;
use tokio_util::task::AbortOnDropHandle;

use super::config::BundleConfig;
use super::copy_volumes::{COPY_VOLUMES, copy_volumes};
use super::mark;
use super::quiet::WalMark;
use super::work::{BundleState, CreateWork, handles_lost};
use super::{stopping, volumes};
use crate::agent::protocol::{BackupDone, BackupRequest};
use crate::bundle::{self, BackupFacts, BundleId, Header, OutOfScope, Writer};
use crate::clock;
use crate::cluster::{SessionCounts, lease_name};
use crate::crypt::Recipients;
use crate::error::{CommandError, Exit, Result};
use crate::journal::{Done, Outputs, Step, StepName, step};
use crate::ops::pump::{Pump, Pumped};
use crate::ops::quiesce::{self, RecordedReplicas, StoppedWriters};
use crate::ops::{helper, maintenance, published};
use crate::opschain::maintenance::{DrainProof, RecordedMode};
use crate::postgres::Lsn;
use crate::settings::Quiesce;
use crate::store::DraftToken;
use crate::text;

/// How long the application may take to serve again.
const SERVING_LIMIT: Duration = Duration::from_secs(900);
/// How long the last segment of the log may take to come once its end is known.
const WAL_LIMIT_SECONDS: u64 = 300;

pub(super) const NAME_BUNDLE: StepName<BundleId> = StepName::new("name-bundle");
const TAKE_LEASE: StepName<()> = StepName::new("take-lease");
const START_HELPER: StepName<()> = StepName::new("start-helper");
pub(super) const SEAL_CONFIG: StepName<DraftToken> = StepName::new("seal-config");
pub(super) const RECORD_MODE: StepName<RecordedMode> = StepName::new("record-mode");
const ENTER_MAINTENANCE: StepName<()> = StepName::new("enter-maintenance");
const WAIT_DRAINED: StepName<DrainProof> = StepName::new("wait-drained");
pub(super) const LEAVE_MAINTENANCE: StepName<bool> = StepName::new("leave-maintenance");
const RECORD_REPLICAS: StepName<RecordedReplicas> = StepName::new("record-replicas");
pub(super) const STOP_WRITERS: StepName<(Timestamp, StoppedWriters, SessionCounts)> = StepName::new("stop-writers");
const COPY_BASE: StepName<Lsn> = StepName::new("copy-base");
pub(super) const MARK_WAL: StepName<WalMark> = StepName::new("mark-wal");
pub(super) const RESUME_WRITERS: StepName<Timestamp> = StepName::new("resume-writers");
pub(super) const COPY_WAL: StepName<BackupDone> = StepName::new("copy-wal");
const VERIFY: StepName<()> = StepName::new("verify");
pub(super) const PUBLISH: StepName<u64> = StepName::new("publish");
pub(super) const WAIT_SERVING: StepName<Timestamp> = StepName::new("wait-serving");
const CLEAN_UP: StepName<()> = StepName::new("clean-up");

/// The steps that read all of the database.
pub(super) const BY_SIZE: [&str; 2] = [COPY_BASE.text(), VERIFY.text()];

/// The steps, in the order that the way of quiescing asks for. Where work `drains`, OpsChain begins none while the
/// application is about to be stopped.
pub(super) fn steps(quiesce: Quiesce, drains: bool, takes_volumes: bool) -> Vec<Step<CreateWork, CommandError>> {
    let name_bundle = step(NAME_BUNDLE, |w, _| Box::pin(name_bundle(w)));
    let take_lease = step(TAKE_LEASE, |w, _| Box::pin(take_lease(w)));
    let start_helper = step(START_HELPER, |w, _| Box::pin(start_helper(w)));
    let seal_config = step(SEAL_CONFIG, |w, o| Box::pin(seal_config(w, o)));
    let record_mode = step(RECORD_MODE, |w, _| Box::pin(record_mode(w)));
    let enter_maintenance = step(ENTER_MAINTENANCE, |w, o| Box::pin(enter_maintenance(w, o)));
    let wait_drained = step(WAIT_DRAINED, |w, _| Box::pin(wait_drained(w)));
    let leave_maintenance = step(LEAVE_MAINTENANCE, |w, o| Box::pin(leave_maintenance(w, o)));
    let record_replicas = step(RECORD_REPLICAS, |w, _| Box::pin(record_replicas(w)));
    let stop_writers = step(STOP_WRITERS, |w, o| Box::pin(CreateWork::while_held(w, stop_writers(w, o))));
    let copy_base = step(COPY_BASE, |w, o| Box::pin(CreateWork::while_held_if_stopped(w, copy_base(w, o))));
    let mark_wal = step(MARK_WAL, |w, o| Box::pin(CreateWork::while_held(w, mark_wal(w, o))));
    let resume_writers = step(RESUME_WRITERS, |w, o| Box::pin(CreateWork::while_held(w, resume_writers(w, o))));
    let copy_wal = step(COPY_WAL, |w, _| Box::pin(CreateWork::while_held_if_stopped(w, copy_wal(w))));
    let verify = step(VERIFY, |w, o| Box::pin(verify(w, o)));
    let publish = step(PUBLISH, |w, o| Box::pin(publish(w, o)));
    let wait_serving = step(WAIT_SERVING, |w, o| Box::pin(wait_serving(w, o)));
    let clean_up = step(CLEAN_UP, |w, _| Box::pin(clean_up(w)));

    let volumes = step(COPY_VOLUMES, |w, _| Box::pin(CreateWork::while_held_if_stopped(w, copy_volumes(w))));
    let volumes = takes_volumes.then_some(volumes);

    let mut steps = vec![name_bundle, take_lease, start_helper, seal_config];
    let (mut drain, mut leave) = (Vec::new(), Vec::new());
    if drains {
        drain.extend([record_mode, enter_maintenance, wait_drained]);
        leave.push(leave_maintenance);
    }
    match quiesce {
        Quiesce::Brief => {
            steps.extend(volumes);
            steps.push(copy_base);
            steps.extend(drain);
            steps.extend([record_replicas, stop_writers, mark_wal, resume_writers, copy_wal]);
            steps.extend(leave);
            steps.extend([verify, publish, wait_serving]);
        }
        Quiesce::Full => {
            steps.extend(drain);
            steps.extend([record_replicas, stop_writers]);
            steps.extend(volumes);
            steps.extend([copy_base, mark_wal, copy_wal, resume_writers]);
            steps.extend(leave);
            steps.extend([verify, publish, wait_serving]);
        }
        Quiesce::None => {
            steps.extend(volumes);
            steps.extend([copy_base, mark_wal, copy_wal, verify, publish]);
        }
    }
    steps.push(clean_up);
    steps
}

/// The id is in the journal before anything bears it, so that putting back finds everything.
async fn name_bundle(work: &CreateWork) -> Result<Done<BundleId>> {
    let id = work.plan.named.clone().map_or_else(|| new_name(&work.ctx.install().release), Ok)?;
    let summary = id.to_string();
    Ok(Done::with(id, summary))
}

/// A name for a bundle of the release that is made now.
///
/// # Errors
/// The clock is out of all bounds, or the release's name does not do for a bundle's.
pub(super) fn new_name(release: &str) -> Result<BundleId> {
    let now = Timestamp::from_second(clock::now().as_second())
        .map_err(|e| CommandError::new(Exit::Failure, "read the clock").because(e))?;
    BundleId::generate(release, now).map_err(|e| CommandError::new(Exit::Failure, "name the bundle").because(e))
}

async fn take_lease(work: &CreateWork) -> Result<Done<()>> {
    work.hold_lease().await?;
    Ok(Done::said(format!("lease {}", lease_name(&work.ctx.install().release))))
}

async fn start_helper(work: &CreateWork) -> Result<Done<()>> {
    let live = &work.plan.live;
    let mut watchdog = None;
    if let Err(error) = helper::revoke_dead_watchdogs(&work.ctx, &work.run).await {
        work.ctx.events.warn(format!("rights of the watchdogs of runs that have died stay: {error}"), None);
    }
    if work.plan.watchdog {
        match helper::grant_watchdog(&work.ctx, &work.run).await {
            Ok(account) => watchdog = Some(account),
            Err(error) => without_watchdog(work, &error.to_string()),
        }
    }
    let account = watchdog.clone();
    let manifest = helper::backup_pod(&work.ctx, &work.run, &live.database_image, &live.placement, account).await?;
    let mut agent = helper::start(&work.ctx, &manifest, &work.run).await?;
    let facts = agent.facts().await?;
    if let Some(why) = &facts.watchdog_fails {
        without_watchdog(work, why);
    }
    let watches = watchdog.is_some() && facts.watchdog_fails.is_none();
    let way = agent.way();
    work.handles.lock().await.bundle = BundleState::Helper(agent);
    let tools = facts.postgres_major.map_or("without PostgreSQL".to_owned(), |major| format!("PostgreSQL {major}"));
    let watches = if watches { ", with a watchdog" } else { "" };
    Ok(Done::said(format!("{} ({tools}{watches}), {way}", helper::pod_name(&work.run))))
}

fn without_watchdog(work: &CreateWork, why: &str) {
    let text = format!("no watchdog: {why}; if this host dies while the application is stopped, nobody starts it");
    work.ctx.events.warn(text, Some("Then `dr server start` does, on any host.".into()));
}

async fn seal_config(work: &CreateWork, outputs: &Outputs) -> Result<Done<DraftToken>> {
    let BundleState::Helper(agent) = work.handles.lock().await.bundle.take() else { return Err(handles_lost()) };
    let (plan, settings, id) = (&work.plan, work.ctx.settings()?, outputs.get(NAME_BUNDLE)?);
    let recipients = Recipients::parse(&plan.recipients)?;
    let config = BundleConfig::gather(&work.ctx, &plan.live, &recipients).await?;
    let directory = work.read_directory().await?;
    let header = Header {
        format: if plan.volumes.is_empty() { bundle::FORMAT_WITHOUT_VOLUMES } else { bundle::FORMAT },
        created: id.created().ok_or_else(|| CommandError::new(Exit::Failure, "the bundle's name has no date"))?,
        dr_version: env!("CARGO_PKG_VERSION").into(),
        opschain: plan.live.opschain(),
        install: bundle::SourceInstall {
            namespace: settings.install.namespace.clone(),
            release: settings.install.release.clone(),
            database_cluster: settings.database.cluster.clone(),
            database_cluster_uid: plan.live.database_uid.clone(),
        },
        postgresql: plan.live.postgresql(),
        quiesce: match plan.quiesce {
            Quiesce::Brief => bundle::QuiesceMode::Brief,
            Quiesce::Full => bundle::QuiesceMode::Full,
            Quiesce::None => bundle::QuiesceMode::None,
        },
        estimated: bundle::Estimated { database_bytes: plan.live.databases_bytes },
        recipients: Vec::new(),
        scope: work.planned_scope(),
        replaced_by: plan.replaced_by.clone(),
        id,
    };
    let mut draft = Writer::create(&*work.store, header, recipients)?;
    config.add_config(&mut draft, directory.as_ref())?;
    if plan.volumes.is_empty() {
        config.add_chart(&mut draft)?;
    }
    draft.durable()?;
    let token = draft.token();
    let entries = directory.map_or(String::new(), |directory| format!(", {}", directory.line()));
    let summary = config.line() + &entries;
    let mut handles = work.handles.lock().await;
    handles.bundle = BundleState::Sealed { agent, draft };
    handles.preserved = config.preserved.clone();
    handles.config = (!plan.volumes.is_empty()).then_some(config);
    Ok(Done::with(token, summary))
}

/// The value is in the journal before it is changed.
async fn record_mode(work: &CreateWork) -> Result<Done<RecordedMode>> {
    let recorded = maintenance::read(&work.ctx).await?;
    Ok(Done::with(recorded, format!("it is {}", recorded.word())))
}

async fn enter_maintenance(work: &CreateWork, outputs: &Outputs) -> Result<Done<()>> {
    work.hold_lease().await?;
    maintenance::enter(&work.ctx, &work.run, outputs.get(RECORD_MODE)?).await?;
    Ok(Done::said("OpsChain begins no work"))
}

async fn wait_drained(work: &CreateWork) -> Result<Done<DrainProof>> {
    let proof = maintenance::wait_drained(&work.ctx, work.ctx.settings()?.bundle.drain_timeout.0).await?;
    Ok(Done::with(proof, proof.line()))
}

/// Work that is held must not wait for the bundle's end. An API that does not come up must not cost the bundle either: it
/// is waited for once more when that is published.
async fn leave_maintenance(work: &CreateWork, outputs: &Outputs) -> Result<Done<bool>> {
    match put_mode_back(work, outputs).await {
        Ok(said) => Ok(Done::with(true, said)),
        Err(error) if matches!(error.exit(), Exit::Interrupted | Exit::Busy) => Err(error),
        Err(error) => {
            work.ctx.events.warn(format!("{error}: tried again later"), None);
            Ok(Done::with(false, "not yet"))
        }
    }
}

async fn put_mode_back(work: &CreateWork, outputs: &Outputs) -> Result<String> {
    maintenance::leave(&work.ctx, &work.run, outputs.get(RECORD_MODE)?).await
}

/// The counts are in the journal before anything is stopped, and only of what would come back.
async fn record_replicas(work: &CreateWork) -> Result<Done<RecordedReplicas>> {
    let recorded = RecordedReplicas::of_running(&quiesce::read(work.ctx.cluster().await?).await?);
    stopping::would_still_come_back(&work.ctx, &recorded, work.plan.live.revision).await?;
    let summary = recorded.line();
    Ok(Done::with(recorded, summary))
}

async fn stop_writers(
    work: &CreateWork,
    outputs: &Outputs,
) -> Result<Done<(Timestamp, StoppedWriters, SessionCounts)>> {
    work.hold_lease().await?;
    if outputs.maybe(WAIT_DRAINED).is_some() {
        maintenance::require_drained(&work.ctx).await?;
    }
    let recorded = outputs.get(RECORD_REPLICAS)?;
    let at = clock::now();
    let limit = work.ctx.settings()?.bundle.drain_timeout.0;
    let cluster = work.ctx.cluster().await?;
    let stopped = quiesce::stop(&work.ctx, cluster, &recorded, &work.run, limit).await?;
    let counts = cluster.session_counts(&work.plan.live.primary).await?;
    Ok(Done::with((at, stopped, counts), "no writer left"))
}

async fn copy_base(work: &CreateWork, outputs: &Outputs) -> Result<Done<Lsn>> {
    let (settings, id) = (work.ctx.settings()?, outputs.get(NAME_BUNDLE)?);
    let request = BackupRequest {
        connection: helper::replication(&settings.database.service()),
        recipients: work.plan.recipients.clone(),
        chunk_bytes: u64::from(settings.bundle.chunk_mib) << 20,
        held_back_bytes: 0,
        zstd_level: settings.bundle.zstd_level.0,
        max_rate: work.plan.max_rate.clone(),
        label: format!("dr {id}"),
        wal_wait_seconds: WAL_LIMIT_SECONDS,
        keep_wal: work.plan.keep_wal,
        wal_room: helper::WAL_ROOM,
    };
    let mut handles = work.handles.lock().await;
    let BundleState::Sealed { agent, draft } = handles.bundle.take() else { return Err(handles_lost()) };
    let expected = work.plan.live.databases_bytes;
    let pump = Pump::start(agent, request, draft, work.ctx.events.clone(), expected).await?;
    // Kept before it is waited for: whoever is stopped meanwhile can end it.
    handles.bundle = BundleState::Copying(pump);
    let BundleState::Copying(pump) = &mut handles.bundle else { return Err(handles_lost()) };
    let base = pump.base().await?;
    let pages = if work.plan.live.page_checksums { "every page's checksum is right" } else { "no page checksums" };
    Ok(Done::with(base.end, format!("{} files, consistent at {}, {pages}", base.files, base.end)))
}

async fn mark_wal(work: &CreateWork, outputs: &Outputs) -> Result<Done<WalMark>> {
    let stopped = match work.plan.quiesce {
        Quiesce::None => None,
        _ => outputs.get(STOP_WRITERS).map(|(_, stopped, counts)| Some((stopped, counts)))?,
    };
    let mark = mark::mark_wal(work, stopped).await?;
    let summary = mark.lsn.to_string();
    Ok(Done::with(mark, summary))
}

async fn resume_writers(work: &CreateWork, outputs: &Outputs) -> Result<Done<Timestamp>> {
    let recorded = outputs.get(RECORD_REPLICAS)?;
    let writers = quiesce::put_back(&work.ctx, Some(&recorded), &work.run, false).await?;
    for writer in writers.iter().filter(|writer| !writer.is_back()) {
        work.ctx.events.warn(writer.to_string(), Some("`dr server start` starts the application.".into()));
    }
    let back = clock::now();
    // The bundle is finished meanwhile: when the application serves again is not to be seen only after that.
    let (ctx, to_serve) = (work.ctx.clone(), recorded.clone());
    let watch = async move { quiesce::serving_since(ctx.cluster().await.ok()?, &to_serve, SERVING_LIMIT).await };
    work.handles.lock().await.serving = Some(AbortOnDropHandle::new(tokio::spawn(watch)));
    Ok(Done::with(back, recorded.line()))
}

async fn copy_wal(work: &CreateWork) -> Result<Done<BackupDone>> {
    let mut handles = work.handles.lock().await;
    // Held until it is whole: whoever is stopped meanwhile can end it.
    let BundleState::Copying(pump) = &mut handles.bundle else { return Err(handles_lost()) };
    let Pumped { agent, writer, done } = pump.finish().await?;
    handles.bundle = BundleState::Filled { agent, draft: writer, done: done.clone() };
    let summary = format!("{} to {}", done.first_segment, done.last_segment);
    Ok(Done::with(done, summary))
}

/// What the bundle does not hold, as it was planned and as it was seen.
pub(super) fn scope(work: &CreateWork, outputs: &Outputs) -> Result<Vec<OutOfScope>> {
    let mode = outputs.maybe(WAIT_DRAINED).zip(outputs.maybe(RECORD_MODE)).map(|(proof, mode)| OutOfScope {
        what: "maintenance mode as it was".into(),
        why: format!(
            "the database says that it is on, for the bundle: {}; before, it was {}",
            proof.line(),
            mode.word()
        ),
        whereabouts: format!(
            "After a restore OpsChain begins no work. Once it may, set {}.",
            maintenance::by_hand(mode)
        ),
    });
    let seen = outputs.maybe(COPY_VOLUMES).unwrap_or_default();
    let planned = volumes::scope_as_seen(work.planned_scope(), &work.plan.volumes, &seen);
    let seen = outputs.get(MARK_WAL)?.seen;
    Ok(mode.into_iter().chain(planned).chain(seen).map(OutOfScope::into_text).collect())
}

async fn verify(work: &CreateWork, outputs: &Outputs) -> Result<Done<()>> {
    let mut handles = work.handles.lock().await;
    let BundleState::Filled { agent, draft, done } = handles.bundle.take() else { return Err(handles_lost()) };
    require_same_revision(work).await?;
    let quiesced = outputs.get(MARK_WAL)?.lsn;
    let facts = BackupFacts {
        database: bundle::BackupIdentity {
            system_identifier: done.base.system_identifier.to_string(),
            timeline: done.base.timeline,
            start_lsn: done.base.start,
            end_lsn: done.base.end,
            quiesce_lsn: (work.plan.quiesce != Quiesce::None).then_some(quiesced),
            wal_end_lsn: Some(done.wal_until),
            wal_segment_bytes: done.wal_segment_bytes,
        },
        base: bundle::RawTotal { bytes: done.base_totals.raw_bytes },
        wal: bundle::RawTotal { bytes: done.wal_totals.raw_bytes },
        counts: work.counts(done.base.files),
        scope: scope(work, outputs)?,
    };
    let signer = work.ctx.bundle_signer()?;
    let (events, cancel) = (&work.ctx.events, &work.ctx.cancel);
    let bundle = tokio::task::block_in_place(|| draft.finish(facts, &signer)?.verify(events, cancel))?;
    let (members, bytes) = (bundle.proof().members, bundle.proof().bytes);
    handles.bundle = BundleState::Verified { agent, bundle };
    Ok(Done::said(format!("{members} members, {}, signature valid", text::bytes(bytes))))
}

/// What was deployed meanwhile is not the config that the bundle holds.
async fn require_same_revision(work: &CreateWork) -> Result<()> {
    let (release, planned) = (&work.ctx.install().release, work.plan.live.revision);
    let newest = work.ctx.helm().await?.history(release).await?.last().map_or(0, |newest| newest.revision);
    if newest == planned {
        return Ok(());
    }
    let what = format!("release {release} went from revision {planned} to {newest} while the bundle was made");
    Err(CommandError::new(Exit::Drift, what).hint("Make the bundle again: `dr bundle create`."))
}

async fn publish(work: &CreateWork, outputs: &Outputs) -> Result<Done<u64>> {
    let id = outputs.get(NAME_BUNDLE)?;
    let mut handles = work.handles.lock().await;
    let BundleState::Verified { agent, bundle } = handles.bundle.take() else { return Err(handles_lost()) };
    let (ctx, store) = (&work.ctx, &work.store);
    let listed = published::entry(ctx, bundle.record(), store.place());
    let bundle = bundle.proved_by(ctx.signer().ok());
    let proof = tokio::task::block_in_place(|| bundle.publish(&**store))?;
    handles.bundle = BundleState::Published(agent);
    // Nothing relies on the list, and the bundle is whole without it. Where there is no vault, there is none.
    let has_vault = ctx.settings()?.vault.carried.is_none();
    let list = || match has_vault {
        true => Ok(ctx.vault()?.list_bundle(&listed)?),
        false => Ok::<(), CommandError>(()),
    };
    let kept = tokio::task::block_in_place(list);
    if let Err(error) = kept {
        ctx.events.warn(format!("the config vault does not list bundle {id}: {error}"), error.hints().first().cloned());
    }
    Ok(Done::with(proof.bytes, store.address(id.as_str())))
}

/// Waits until the application serves, and says when it was seen to.
async fn wait_serving(work: &CreateWork, outputs: &Outputs) -> Result<Done<Timestamp>> {
    let recorded = outputs.get(RECORD_REPLICAS)?;
    let cluster = work.ctx.cluster().await?;
    let waited_for = recorded.without(&work.plan.unready);
    quiesce::wait_serving(&work.ctx, cluster, &waited_for, SERVING_LIMIT).await?;
    let now = clock::now();
    if !work.plan.unready.is_empty() {
        quiesce::require_scaled(cluster, &recorded).await?;
        let what = format!("not ready before it was stopped, and so not waited for: {}", work.plan.unready.join(", "));
        work.ctx.events.warn(what, Some("`dr server status` shows it.".into()));
    }
    let seen = match work.handles.lock().await.serving.take() {
        Some(watch) if watch.is_finished() => watch.await.ok().flatten(),
        _ => None,
    };
    if outputs.maybe(LEAVE_MAINTENANCE) == Some(false) {
        put_mode_back(work, outputs).await?;
    }
    Ok(Done::with(seen.unwrap_or(now), recorded.line()))
}

async fn clean_up(work: &CreateWork) -> Result<Done<()>> {
    if let BundleState::Published(agent) = work.handles.lock().await.bundle.take() {
        // The pod is removed next in any case.
        drop(agent.finish().await);
    }
    helper::remove(&work.ctx, &work.run).await?;
    work.handles.lock().await.lease.release(&work.ctx, &work.run).await?;
    Ok(Done::said("nothing of this run is left in the cluster"))
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use tokio::sync::Mutex;

    use super::super::plan::decide;
    use super::super::request::CreateRequest;
    use super::*;
    use crate::journal::Replay;
    use crate::journal::testing::{MemoryRuns, begun};
    use crate::ops::testing;

    /// A bundle in the making of which this process holds nothing, and the outputs that its journal has.
    fn of_a_dead_process(folder: &std::path::Path) -> (CreateWork, Outputs) {
        let facts = serde_json::from_str(include_str!("../../../fixtures/facts/create-good.json")).unwrap();
        let plan = decide(&CreateRequest::default(), facts).unwrap();
        let mut replay = Replay::begin(begun("create-1"));
        let id = BundleId::generate("opschain", Timestamp::UNIX_EPOCH).unwrap();
        replay.outputs.insert(NAME_BUNDLE.text().into(), serde_json::to_value(id).unwrap());
        replay.outputs.insert(MARK_WAL.text().into(), serde_json::json!({"lsn": "0/1", "seen": []}));
        let ctx = testing::ctx(&MemoryRuns::default());
        let store = ctx.store_at(folder.to_str().unwrap()).unwrap();
        let (handles, directory) = (Mutex::default(), OnceLock::new());
        let work = CreateWork { ctx, plan, run: "create-1".into(), store, handles, directory };
        (work, Outputs::of(&replay))
    }

    #[tokio::test]
    async fn a_step_whose_process_holds_nothing_of_the_bundle_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (work, outputs) = of_a_dead_process(folder.path());
        let refused = [
            ("seal-config", seal_config(&work, &outputs).await.map(drop)),
            ("copy-base", copy_base(&work, &outputs).await.map(drop)),
            ("copy-wal", copy_wal(&work).await.map(drop)),
            ("verify", verify(&work, &outputs).await.map(drop)),
            ("publish", publish(&work, &outputs).await.map(drop)),
        ];
        for (step, ended) in refused {
            let error = ended.unwrap_err();
            assert_eq!(error.exit(), Exit::Resume, "{step}");
            assert_eq!(error.message(), "what an earlier step held is gone with its process", "{step}");
            assert!(error.hints()[0].contains("`dr bundle create`"), "{step}: {:?}", error.hints());
        }
        assert!(work.store.list().unwrap().is_empty());
    }

    #[test]
    fn names_leave_most_of_a_narrow_line_for_what_is_seen() {
        for quiesce in [Quiesce::Brief, Quiesce::Full, Quiesce::None] {
            assert!(steps(quiesce, true, true).iter().all(|step| step.name().len() <= 26));
        }
    }
}
