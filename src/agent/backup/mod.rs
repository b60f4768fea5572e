//! A base backup out of the pod, with the WAL that belongs to it.
//!
//! ```text
//! pg_basebackup -> check of each file -> chunks -> compress + seal, side by side -> sender -> link
//! pg_receivewal -> spool -> whole segments -> tar -> chunks -> compress + seal -> backlog -+
//! ```
//! WAL is received from the segment that the base backup begins in, as soon as that is known: see [`wal::follow`].

mod backlog;
mod base;
mod chunks;
mod level;
mod slot;
mod wal;

use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use self::backlog::Backlog;
pub use self::chunks::{ChunkCutter, ChunkSealer, Cut, Outgoing};
pub use self::level::ZstdLevel;
use self::slot::WalSlot;
pub use self::wal::WalBound;
use self::wal::{WalNeed, WalSource};
use super::host::{self, PodFiles};
use super::protocol::{BackupDone, BackupPart, BackupRequest, CHUNK_BOUNDS, Failure, FailureKind, PartTotals, Reply};
use super::replies::ReplySender;
use crate::crypt::Recipients;
use crate::parallel::{self, Ordered};
use crate::postgres::argv::{self, PostgresFacts};
use crate::postgres::basebackup::WalEnd;

/// The most that are compressed and sealed side by side: each holds a chunk twice in memory.
const MOST_SEALERS: usize = 4;

/// How many threads seal.
pub(super) fn sealers() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).clamp(1, MOST_SEALERS)
}

/// Makes the backup that `request` asks for and sends it all. `bound` changes when the client says where WAL ends.
///
/// # Errors
/// Whatever is not exactly as it should be: a backup that did not fail is whole.
pub async fn run(
    replies: &ReplySender,
    request: BackupRequest,
    files: &PodFiles,
    bound: watch::Receiver<WalBound>,
) -> Result<(), Failure> {
    let sealers = sealers();
    let sealer = sealer(request.chunk_bytes, request.zstd_level, &request.recipients, sealers)?;
    let server = ask_server(&request).await?;
    let system_identifier = server.system_identifier.parse().map_err(|error| {
        let message = format!("psql answered oddly: system identifier `{}`: {error}", server.system_identifier);
        Failure::new(FailureKind::Postgres, message)
    })?;

    let slot = if request.keep_wal { wal_slot(replies, &request).await } else { None };

    // Each has a queue of its own: however slow the link is, the server gets rid of its WAL.
    let (memory, sealer) = (sealer.memory(), Arc::new(sealer));
    let (base_cut, base_sealed) = sealing(&sealer, sealers);
    let (wal_cut, wal_sealed) = sealing(&sealer, 1);
    let backlog = Backlog::new(request.wal_room, &files.backlog);
    let (need, needed) = watch::channel(WalNeed::default());
    let cutter = |part, cut| ChunkCutter::new(part, request.chunk_bytes as usize, cut, memory.clone());
    let base = base::read(replies, &request, cutter(BackupPart::Base, base_cut), &need);
    let source = WalSource { system_identifier, segment_bytes: server.wal_segment_bytes, spool: &files.spool, slot };
    let wal = wal::follow(replies, &request, source, cutter(BackupPart::Wal, wal_cut), needed, bound);
    let sent = send(replies, base_sealed, &backlog);
    let ((base, base_bytes), wal, (), sent) = tokio::try_join!(base, wal, backlog.fill(wal_sealed), sent)?;
    base.check_database(system_identifier)?;
    wal.check.finish(&base.manifest, WalEnd::At(wal.until))?;
    let [base_totals, wal_totals, manifest_totals] = sent;
    for (cut, sent) in [(base_bytes, base_totals), (wal.bytes, wal_totals)] {
        if sent.raw_bytes != cut {
            let message = format!("{} bytes were sent of {cut} that were read", sent.raw_bytes);
            return Err(Failure::new(FailureKind::Damaged, message));
        }
    }
    let done = BackupDone {
        base: base::done(&base),
        wal_until: wal.until,
        first_segment: wal.first.to_string(),
        last_segment: wal.last.to_string(),
        wal_segment_bytes: server.wal_segment_bytes,
        server_version: server.version,
        base_totals,
        wal_totals,
        manifest_totals,
    };
    replies.reply(Reply::BackupDone(Box::new(done))).await?;
    replies.trailer()
}

/// A slot that keeps the backup's WAL, from before it begins. A backup without one may still come through.
async fn wal_slot(replies: &ReplySender, request: &BackupRequest) -> Option<WalSlot> {
    let taken = WalSlot::take(&request.connection).await;
    taken.map_err(|failure| replies.log("psql", &format!("no replication slot keeps the WAL: {failure}"))).ok()
}

/// What seals the chunks of a request, on so many threads.
///
/// # Errors
/// The request makes no sense.
pub(super) fn sealer(
    chunk_bytes: u64,
    zstd_level: Option<i32>,
    recipients: &[String],
    sealers: usize,
) -> Result<ChunkSealer, Failure> {
    let bad = |message: String| Failure::new(FailureKind::Request, message);
    let (least, most) = CHUNK_BOUNDS;
    if !(least..=most).contains(&chunk_bytes) {
        return Err(bad(format!("chunks of {chunk_bytes} bytes, where {least} to {most} are allowed")));
    }
    let level = match zstd_level {
        None => ZstdLevel::auto(sealers),
        Some(level @ 1..=19) => ZstdLevel::fixed(level),
        Some(level) => return Err(bad(format!("zstd level {level}, where 1 to 19 are allowed"))),
    };
    let recipients = Recipients::parse(recipients).map_err(|error| bad(error.to_string()))?;
    Ok(ChunkSealer::new(recipients, level))
}

/// Asks the server what it is, and refuses what cannot be backed up whole.
async fn ask_server(request: &BackupRequest) -> Result<PostgresFacts, Failure> {
    let arguments = argv::query(&request.connection, argv::SERVER_FACTS);
    let answer = host::output("psql", &arguments, Some(&request.connection)).await?;
    let facts: PostgresFacts = serde_json::from_str(answer.trim())
        .map_err(|error| Failure::new(FailureKind::Postgres, format!("psql answered oddly: {error}")))?;
    if facts.in_recovery {
        let message = format!("the server at {} is a standby", request.connection.host);
        return Err(Failure::new(FailureKind::Standby, message));
    }
    if !facts.tablespaces.is_empty() {
        let message = format!("the database has tablespaces of its own: {}", facts.tablespaces.join(", "));
        return Err(Failure::new(FailureKind::Tablespaces, message));
    }
    let (server, image) = (facts.version / 10_000, host::postgres_major().await);
    if image.is_some_and(|image| image != server) {
        let image = image.unwrap_or_default();
        let message = format!("the server is PostgreSQL {server}, the programs in the pod are of {image}");
        return Err(Failure::new(FailureKind::Postgres, message));
    }
    Ok(facts)
}

/// A queue of what is to be sealed, and what comes out of it, on `threads` threads.
pub(super) fn sealing(
    sealer: &Arc<ChunkSealer>,
    threads: usize,
) -> (mpsc::Sender<Cut>, Ordered<Result<Outgoing, Failure>>) {
    let (cut, mut queue) = mpsc::channel(1);
    let (jobs, sealer) = (std::iter::from_fn(move || queue.blocking_recv()), Arc::clone(sealer));
    (cut, parallel::spawn_in_order(jobs, threads, move |job| sealer.seal(job)))
}

/// Sends what is sealed, of base and WAL each in order; neither waits for more than a chunk of the other. Returns what was
/// sent of base, WAL and manifest.
async fn send(
    replies: &ReplySender,
    mut base: Ordered<Result<Outgoing, Failure>>,
    wal: &Backlog,
) -> Result<[PartTotals; 3], Failure> {
    let mut sent = [PartTotals::default(); 3];
    let (mut more_base, mut more_wal) = (true, true);
    while more_base || more_wal {
        let next = tokio::select! {
            next = base.next(), if more_base => next.map_err(|error| host::stopped(&error))?.transpose()?,
            more = wal.ready(), if more_wal => {
                more_wal = more;
                match wal.take().await? {
                    Some((head, stored)) => Some(Outgoing::Chunk { head, stored }),
                    None => continue,
                }
            }
        };
        match next {
            None => more_base = false,
            Some(Outgoing::BaseDone(done)) => replies.reply(Reply::BaseDone(done)).await?,
            Some(Outgoing::Chunk { head, stored }) => {
                sent[head.part as usize].add(&head);
                replies.reply(Reply::Chunk(head)).await?;
                replies.data(stored).await?;
            }
        }
    }
    Ok(sent)
}
