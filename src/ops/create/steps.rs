//! The steps of a bundle. Each may be run again after a crash in its middle, and so may its undoing.

use std::time::Duration;

use jiff::Timestamp;

use super::{Work, lost_hands};
use crate::agent::protocol::{BackupDone, BackupRequest};
use crate::bundle::{self, BackupFacts, BundleId, Header, Writer};
use crate::cluster::lease::lease_name;
use crate::cluster::pod::{self, BackupPod};
use crate::error::{CommandError, Exit, Result};
use crate::journal::{Done, Outputs, Step, StepName, step};
use crate::ops::helper::{self, POD_LIMIT};
use crate::ops::look;
use crate::ops::pump::{Pump, Pumped};
use crate::ops::quiesce::{self, Recorded};
use crate::opschain::workloads::REPLICATION_ROLE;
use crate::postgres::Lsn;
use crate::postgres::argv::Connection;
use crate::settings::Quiesce;
use crate::store::DraftToken;
use crate::text;

/// How long the application may take to serve again.
const SERVING_LIMIT: Duration = Duration::from_secs(900);
/// How long the last segment of the log may take to come once its end is known.
const WAL_LIMIT_SECONDS: u64 = 300;
/// How much log may wait in the helper pod's memory until it is sealed and sent.
const SPOOL_MIB: u64 = 1024;

pub(super) const NAME_BUNDLE: StepName<BundleId> = StepName::new("name-bundle");
const TAKE_LEASE: StepName<()> = StepName::new("take-lease");
const START_HELPER: StepName<()> = StepName::new("start-helper");
const SEAL_CONFIG: StepName<DraftToken> = StepName::new("seal-config");
const RECORD_REPLICAS: StepName<Recorded> = StepName::new("record-replicas");
pub(super) const STOP_WRITERS: StepName<Timestamp> = StepName::new("stop-writers");
const COPY_BASE: StepName<Lsn> = StepName::new("copy-base");
const MARK_WAL: StepName<Lsn> = StepName::new("mark-wal");
pub(super) const RESUME_WRITERS: StepName<Timestamp> = StepName::new("resume-writers");
pub(super) const COPY_WAL: StepName<BackupDone> = StepName::new("copy-wal");
const VERIFY: StepName<()> = StepName::new("verify");
pub(super) const PUBLISH: StepName<u64> = StepName::new("publish");
const WAIT_SERVING: StepName<()> = StepName::new("wait-serving");
const CLEAN_UP: StepName<()> = StepName::new("clean-up");

/// The steps, in the order that the way of quiescing asks for.
pub(super) fn steps(quiesce: Quiesce) -> Vec<Step<Work, CommandError>> {
    let name_bundle = step(NAME_BUNDLE, "name the bundle", |w, o| Box::pin(name_bundle(w, o)));
    let take_lease = step(TAKE_LEASE, "keep other runs off the install", |w, o| Box::pin(take_lease(w, o)))
        .undo(|w, _| Box::pin(release_lease(w)));
    let start_helper = step(START_HELPER, "start the helper pod", |w, o| Box::pin(start_helper(w, o)))
        .undo(|w, _| Box::pin(remove_helper(w)));
    let seal_config = step(SEAL_CONFIG, "seal values, chart and secrets", |w, o| Box::pin(seal_config(w, o)))
        .undo(|w, o| Box::pin(discard_draft(w, o)));
    let record_replicas =
        step(RECORD_REPLICAS, "write down the replica counts", |w, o| Box::pin(record_replicas(w, o)))
            .undo(|w, o| Box::pin(restart_writers(w, o)));
    let stop_writers = step(STOP_WRITERS, "stop API and workers", |w, o| Box::pin(stop_writers(w, o)));
    let copy_base = step(COPY_BASE, "copy the database", |w, o| Box::pin(copy_base(w, o)));
    let mark_wal = step(MARK_WAL, "note the WAL position", |w, o| Box::pin(mark_wal(w, o)));
    let resume_writers = step(RESUME_WRITERS, "bring API and workers back", |w, o| Box::pin(resume_writers(w, o)));
    let copy_wal = step(COPY_WAL, "copy the WAL up to that position", |w, o| Box::pin(copy_wal(w, o)));
    let verify = step(VERIFY, "read the stored file back", |w, o| Box::pin(verify(w, o)));
    let publish = step(PUBLISH, "publish the bundle", |w, o| Box::pin(publish(w, o)));
    let wait_serving = step(WAIT_SERVING, "wait until the application serves", |w, o| Box::pin(wait_serving(w, o)));
    let clean_up = step(CLEAN_UP, "remove the helper pod", |w, o| Box::pin(clean_up(w, o)));

    let mut steps = vec![name_bundle, take_lease, start_helper, seal_config];
    match quiesce {
        Quiesce::Brief => {
            steps.extend([copy_base, record_replicas, stop_writers, mark_wal, resume_writers, copy_wal]);
            steps.extend([verify, publish, wait_serving]);
        }
        Quiesce::Full => {
            steps.extend([record_replicas, stop_writers, copy_base, mark_wal, copy_wal, resume_writers]);
            steps.extend([verify, publish, wait_serving]);
        }
        Quiesce::None => steps.extend([copy_base, mark_wal, copy_wal, verify, publish]),
    }
    steps.push(clean_up);
    steps
}

/// The id is in the journal before anything bears it, so that putting back finds everything.
async fn name_bundle(work: &Work, _: &Outputs) -> Result<Done<BundleId>> {
    let now = Timestamp::from_second(Timestamp::now().as_second())
        .map_err(|e| CommandError::new(Exit::Failure, "read the clock").because(e))?;
    let id = BundleId::generate(&work.settings.install.release, now)
        .map_err(|e| CommandError::new(Exit::Failure, "name the bundle").because(e))?;
    let summary = id.to_string();
    Ok(Done::with(id, summary))
}

async fn take_lease(work: &Work, _: &Outputs) -> Result<Done<()>> {
    still_ours(work).await?;
    Ok(Done::said(format!("lease {}", lease_name(&work.settings.install.release))))
}

/// Takes the lease, or makes sure that it was not lost: asked again before every act that another run must not see half
/// done.
async fn still_ours(work: &Work) -> Result<()> {
    work.hands.lock().await.lease.take(&work.ctx, &work.cluster, &work.settings.install.release, &work.run).await
}

async fn release_lease(work: &Work) -> Result<()> {
    let release = &work.settings.install.release;
    work.hands.lock().await.lease.release(&work.ctx, &work.cluster, release, &work.run).await
}

async fn start_helper(work: &Work, _: &Outputs) -> Result<Done<()>> {
    let (database, live) = (&work.settings.database, &work.plan.live);
    let manifest = BackupPod {
        pod: helper::pod(&work.cluster, &work.run, &live.database_image, &live.pull_secrets),
        replication_secret: database.replication_secret(),
        ca_secret: database.ca_secret(),
        spool_mib: SPOOL_MIB,
    }
    .manifest()?;
    let mut agent = helper::start(&work.ctx, &work.cluster, &manifest, &work.run).await?;
    let facts = agent.facts().await?;
    work.hands.lock().await.agent = Some(agent);
    let tools = facts.postgres_major.map_or("without PostgreSQL".to_owned(), |major| format!("PostgreSQL {major}"));
    Ok(Done::said(format!("{} ({tools})", helper::pod_name(&work.run))))
}

async fn remove_helper(work: &Work) -> Result<()> {
    drop(work.hands.lock().await.agent.take());
    work.cluster.sweep_pods(Some(&work.run), POD_LIMIT, &work.ctx.events).await?;
    Ok(())
}

async fn seal_config(work: &Work, outputs: &Outputs) -> Result<Done<DraftToken>> {
    let keys = work.keys()?;
    let id = outputs.get(NAME_BUNDLE)?;
    let created = id.created().ok_or_else(|| CommandError::new(Exit::Failure, "the bundle's name has no date"))?;
    let config = look::config(&work.ctx, &work.plan.live, &keys.recipients).await?;
    let header = Header {
        format: bundle::FORMAT,
        created,
        dr_version: env!("CARGO_PKG_VERSION").into(),
        opschain: work.plan.live.opschain(),
        install: bundle::SourceInstall {
            namespace: work.settings.install.namespace.clone(),
            release: work.settings.install.release.clone(),
            database_cluster: work.settings.database.cluster.clone(),
            database_cluster_uid: work.plan.live.database_uid.clone(),
        },
        postgresql: work.plan.live.postgresql(),
        quiesce: match work.plan.quiesce {
            Quiesce::Brief => bundle::QuiesceMode::Brief,
            Quiesce::Full => bundle::QuiesceMode::Full,
            Quiesce::None => bundle::QuiesceMode::None,
        },
        estimated: bundle::Estimated { database_bytes: work.plan.live.databases_bytes },
        recipients: Vec::new(),
        scope: work.plan.scope.clone(),
        id,
    };
    let mut writer = Writer::create(&*work.store, header, keys.recipients.clone())?;
    config.vaulted.add_values(&mut writer)?;
    writer.seal_config("release.json", &config.release.to_bytes()?)?;
    writer.seal_config("secrets.yaml", &config.secrets)?;
    config.vaulted.add_layers_and_chart(&mut writer, &config.release.chart)?;
    writer.durable()?;
    let token = writer.token();
    work.hands.lock().await.writer = Some(writer);
    Ok(Done::with(token, format!("{}, {} Secrets and ConfigMaps", config.release.chart, config.kept)))
}

/// A draft is no bundle: nothing lists it, and this removes it.
async fn discard_draft(work: &Work, outputs: &Outputs) -> Result<()> {
    let mut hands = work.hands.lock().await;
    if let Some(pump) = hands.pump.take() {
        pump.abandon().await;
    }
    drop((hands.writer.take(), hands.finished.take(), hands.verified.take()));
    let named = || outputs.maybe(NAME_BUNDLE).map(|id| DraftToken::named(id.as_str()));
    if let Some(token) = outputs.maybe(SEAL_CONFIG).or_else(named) {
        work.store.abort(&token)?;
    }
    Ok(())
}

async fn record_replicas(work: &Work, _: &Outputs) -> Result<Done<Recorded>> {
    let recorded = quiesce::running(&work.cluster).await?;
    quiesce::annotate(&work.cluster, &recorded, &work.run).await?;
    let summary = recorded.line();
    Ok(Done::with(recorded, summary))
}

async fn stop_writers(work: &Work, outputs: &Outputs) -> Result<Done<Timestamp>> {
    still_ours(work).await?;
    let recorded = outputs.get(RECORD_REPLICAS)?;
    let at = Timestamp::now();
    quiesce::stop(&work.ctx, &work.cluster, &recorded, work.settings.bundle.drain_timeout.0).await?;
    Ok(Done::with(at, "no writer left"))
}

/// The counts in the journal, or those on the Deployments when the run died between the two.
async fn restart_writers(work: &Work, outputs: &Outputs) -> Result<()> {
    let recorded = match outputs.maybe(RECORD_REPLICAS) {
        Some(recorded) => recorded,
        None => quiesce::read(&work.cluster).await?,
    };
    quiesce::resume(&work.cluster, &recorded, &work.run).await
}

async fn copy_base(work: &Work, outputs: &Outputs) -> Result<Done<Lsn>> {
    let mut hands = work.hands.lock().await;
    let (Some(agent), Some(writer)) = (hands.agent.take(), hands.writer.take()) else { return Err(lost_hands()) };
    let id = outputs.get(NAME_BUNDLE)?;
    let request = BackupRequest {
        connection: connection(&work.settings.database.service()),
        recipients: work.plan.recipients.clone(),
        chunk_bytes: u64::from(work.settings.bundle.chunk_mib) << 20,
        zstd_level: work.settings.bundle.zstd_level,
        max_rate: work.plan.max_rate.clone(),
        label: format!("dr {id}"),
        wal_until_asked: true,
        wal_wait_seconds: WAL_LIMIT_SECONDS,
    };
    let total = work.plan.live.databases_bytes;
    let pump = Pump::start(agent, request, writer, work.ctx.events.clone(), total).await?;
    let pump = hands.pump.insert(pump);
    let base = pump.base().await?;
    Ok(Done::with(base.end, format!("{} files, consistent at {}", base.files, base.end)))
}

/// The replication role, by its certificate, over TLS with the server's name checked.
fn connection(service: &str) -> Connection {
    Connection {
        host: service.to_owned(),
        port: 5432,
        user: REPLICATION_ROLE.into(),
        dbname: "postgres".into(),
        sslmode: "verify-full".into(),
        sslcert: Some(pod::CLIENT_CERTIFICATE.into()),
        sslkey: Some(pod::CLIENT_KEY.into()),
        sslrootcert: Some(pod::SERVER_CA.into()),
    }
}

async fn mark_wal(work: &Work, _: &Outputs) -> Result<Done<Lsn>> {
    still_ours(work).await?;
    let primary = &work.plan.live.primary;
    let lsn = work.cluster.current_lsn(primary).await?;
    work.cluster.switch_wal(primary).await?;
    Ok(Done::with(lsn, lsn.to_string()))
}

async fn resume_writers(work: &Work, outputs: &Outputs) -> Result<Done<Timestamp>> {
    let recorded = outputs.get(RECORD_REPLICAS)?;
    quiesce::resume(&work.cluster, &recorded, &work.run).await?;
    Ok(Done::with(Timestamp::now(), recorded.line()))
}

async fn copy_wal(work: &Work, outputs: &Outputs) -> Result<Done<BackupDone>> {
    let mut hands = work.hands.lock().await;
    let pump = hands.pump.take().ok_or_else(lost_hands)?;
    let Pumped { agent, writer, done } = pump.finish(outputs.get(MARK_WAL)?).await?;
    hands.agent = Some(agent);
    hands.finished = Some((writer, done.clone()));
    let summary = format!("{} to {}", done.first_segment, done.last_segment);
    Ok(Done::with(done, summary))
}

async fn verify(work: &Work, outputs: &Outputs) -> Result<Done<()>> {
    let mut hands = work.hands.lock().await;
    let (writer, done) = hands.finished.take().ok_or_else(lost_hands)?;
    let quiesced = outputs.get(MARK_WAL)?;
    let facts = BackupFacts {
        database: bundle::BackupIdentity {
            system_identifier: done.base.system_identifier.to_string(),
            timeline: done.base.timeline,
            start_lsn: done.base.start,
            end_lsn: done.base.end,
            quiesce_lsn: (work.plan.quiesce != Quiesce::None).then_some(quiesced),
            wal_segment_bytes: done.wal_segment_bytes,
        },
        base: bundle::RawTotal { bytes: done.base_totals.raw_bytes },
        wal: bundle::RawTotal { bytes: done.wal_totals.raw_bytes },
        counts: [("database_files".to_owned(), done.base.files)].into(),
        scope: work.plan.scope.clone(),
    };
    let signer = &work.keys()?.signer;
    let (events, cancel) = (work.ctx.events.clone(), work.ctx.cancel.clone());
    let verified = tokio::task::block_in_place(|| writer.finish(facts, signer)?.verify(&events, &cancel))?;
    let (members, bytes) = (verified.proof().members, verified.proof().bytes);
    hands.verified = Some(verified);
    Ok(Done::said(format!("{members} members, {}, signature good", text::bytes(bytes))))
}

async fn publish(work: &Work, outputs: &Outputs) -> Result<Done<u64>> {
    let id = outputs.get(NAME_BUNDLE)?;
    let verified = work.hands.lock().await.verified.take().ok_or_else(lost_hands)?;
    let proof = tokio::task::block_in_place(|| verified.publish(&*work.store))?;
    Ok(Done::with(proof.bytes, work.store.address(id.as_str())))
}

async fn wait_serving(work: &Work, outputs: &Outputs) -> Result<Done<()>> {
    let recorded = outputs.get(RECORD_REPLICAS)?;
    quiesce::wait_serving(&work.ctx, &work.cluster, &recorded, SERVING_LIMIT).await?;
    Ok(Done::said(recorded.line()))
}

async fn clean_up(work: &Work, _: &Outputs) -> Result<Done<()>> {
    if let Some(agent) = work.hands.lock().await.agent.take() {
        // The pod is removed next in any case.
        drop(agent.finish().await);
    }
    remove_helper(work).await?;
    release_lease(work).await?;
    Ok(Done::said("nothing of this run is left in the cluster"))
}
