//! PGDATA in: chunks from the link into a fresh folder beside the data directory, every file checked and on disk.
//!
//! ```text
//! link -> whole chunks, SHA-256 -> zstd -> tar reader -> files, CRC of each -> compare with backup_manifest
//!                                                     -> WAL: names, headers, no gap, pg_waldump -> fsync -> record
//! ```
//! Decompression and writing run side by side on threads of their own; a chunk is acknowledged when it is written.

mod unpack;

use std::path::Path;

use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use self::unpack::Unpack;
use super::folders::{self, StageRecord};
use super::host::{self, PodFiles};
use super::protocol::{
    CHUNK_BOUNDS, ChunkHead, Digest, Envelope, Failure, FailureKind, Request, StageReport, StageRequest, Stream,
};
use super::swap::Place;
use super::worker::{Busy, Tell};
use crate::postgres::{Lsn, Segment, wal};
use crate::wire::{Conduit, Kind};

/// A stage that is being filled.
pub struct Stage {
    place: Place,
    request: StageRequest,
    run: String,
    busy: Busy,
}

/// One chunk as it came, and the number that acknowledges it.
struct Arrived {
    head: ChunkHead,
    bytes: Vec<u8>,
    sequence: u64,
}

/// One chunk, decompressed.
struct Opened {
    stream: Stream,
    raw: Vec<u8>,
    sequence: u64,
}

fn damaged(message: String) -> Failure {
    Failure::new(FailureKind::Damaged, message)
}

fn gone(error: impl std::fmt::Display) -> Failure {
    Failure::new(FailureKind::System, format!("the stage was given up: {error}"))
}

impl Stage {
    /// Removes what an earlier attempt of this run has left, and makes an empty stage.
    ///
    /// # Errors
    /// When there is no volume, it refuses, or this run's data is already in place.
    pub async fn begin(files: &PodFiles, run: &str, request: StageRequest, busy: Busy) -> Result<Self, Failure> {
        let place = Place::new(files, run);
        let volume = files.volume.clone();
        let stage = Self { place: place.clone(), request, run: run.to_owned(), busy: busy.clone() };
        host::blocking(move || {
            let _busy = busy;
            if !volume.is_dir() {
                return Err(Failure::new(
                    FailureKind::Request,
                    format!("no volume is mounted at {}", volume.display()),
                ));
            }
            if let Some(record) = StageRecord::load(&place.record)?
                && folders::inode(&place.pgdata)? == Some(record.inode)
            {
                let message = format!("run {} has put its data in place already: put it back first", record.run);
                return Err(Failure::new(FailureKind::Unexpected, message));
            }
            // The record first: a new folder may get the old one's inode number.
            folders::remove(&place.record)?;
            folders::remove(&place.stage)?;
            unpack::make_folder(&place.stage)
        })
        .await?;
        Ok(stage)
    }

    /// Takes chunks until the client says that these are all, then checks the whole.
    ///
    /// # Errors
    /// At the first byte that is not as it should be. What has been written is left for the next attempt to remove.
    pub async fn fill(self, tell: &Tell, conduit: &Conduit) -> Result<StageReport, Failure> {
        let (arrived, to_open) = mpsc::channel::<Arrived>(1);
        let (opened, to_write) = mpsc::channel::<Opened>(1);
        let unpack = Unpack::new(&self.place.stage, self.request.clone());
        let (busy, acknowledge) = (self.busy.clone(), tell.clone());
        // Every thread holds one end: the other tells when all of them have let go of the folder.
        let (held, mut released) = mpsc::channel::<()>(1);
        let (held_open, held_write) = (held.clone(), held);
        let open = host::blocking(move || {
            let _held = held_open;
            open_all(to_open, &opened)
        });
        let write = host::blocking(move || {
            let (_busy, _held) = (busy, held_write);
            write_all(to_write, unpack, &acknowledge)
        });
        let filled = async { tokio::try_join!(collect(tell, conduit, arrived), open, write) }.await;
        // After a failure the next attempt removes the folder: nobody may still write to it then.
        while released.recv().await.is_some() {}
        let ((), (), unpack) = filled?;
        self.check(tell, unpack).await
    }

    async fn check(self, tell: &Tell, unpack: Unpack) -> Result<StageReport, Failure> {
        let Self { place, request, run, busy } = self;
        let mut report = unpack.finish()?;
        report.wal_read = read_wal(tell, &place.stage, &request, &report).await?;
        let (stage, record) = (place.stage.clone(), place.record.clone());
        let system_identifier = report.system_identifier;
        host::blocking(move || {
            let _busy = busy;
            folders::sync_tree(&stage)?;
            let inode = folders::inode(&stage)?
                .ok_or_else(|| Failure::new(FailureKind::Unexpected, "the stage folder has gone"))?;
            StageRecord { run, inode, system_identifier, withdrawn: false }.store(&record)
        })
        .await?;
        Ok(report)
    }
}

/// Puts data messages together into whole chunks, up to the trailer.
async fn collect(tell: &Tell, conduit: &Conduit, out: mpsc::Sender<Arrived>) -> Result<(), Failure> {
    let mut current: Option<(ChunkHead, Vec<u8>)> = None;
    let mut next = [0u32; 3];
    let mut ended = false;
    loop {
        let message = conduit.receive().await.map_err(gone)?;
        match message.kind {
            Kind::Trailer if ended => {
                tell.durable(message.sequence);
                return Ok(());
            }
            Kind::Control => {
                let read: Envelope<Request> = serde_json::from_slice(&message.payload).map_err(gone)?;
                match (read.body, &current) {
                    (Request::StageChunk(head), None) if !ended => {
                        expect(&head, &mut next)?;
                        let bytes = Vec::with_capacity(head.stored_bytes as usize);
                        current = Some((head, bytes));
                    }
                    (Request::StageEnd, None) if !ended => ended = true,
                    _ => return Err(Failure::new(FailureKind::Request, "another request in the middle of a stage")),
                }
            }
            _ => {
                let Some((head, bytes)) = &mut current else {
                    return Err(Failure::new(FailureKind::Request, "data that belongs to no chunk"));
                };
                bytes.extend_from_slice(&message.payload);
                let have = bytes.len() as u64;
                if have > head.stored_bytes {
                    return Err(damaged(format!("{} chunk {} is longer than said", head.stream, head.index)));
                }
                if have == head.stored_bytes
                    && let Some((head, bytes)) = current.take()
                    && out.send(Arrived { head, bytes, sequence: message.sequence }).await.is_err()
                {
                    // A thread further on has failed; its own error says why.
                    return Ok(());
                }
            }
        }
    }
}

/// Chunks of each stream come in order, each once, and are of a size that can be held.
fn expect(head: &ChunkHead, next: &mut [u32; 3]) -> Result<(), Failure> {
    let place = &mut next[head.stream as usize];
    if head.index != *place {
        return Err(damaged(format!("{} chunk {} came where {} was due", head.stream, head.index, place)));
    }
    *place += 1;
    let most = CHUNK_BOUNDS.1 * 2;
    if head.stored_bytes > most || head.raw_bytes > most || head.stored_bytes == 0 {
        return Err(damaged(format!("{} chunk {} has an impossible size", head.stream, head.index)));
    }
    Ok(())
}

/// Checks and decompresses chunks, on a thread.
fn open_all(mut arrived: mpsc::Receiver<Arrived>, out: &mpsc::Sender<Opened>) -> Result<(), Failure> {
    let mut inflate = zstd::bulk::Decompressor::new().map_err(Failure::io("decompress"))?;
    while let Some(Arrived { head, bytes, sequence }) = arrived.blocking_recv() {
        let (stream, index) = (head.stream, head.index);
        if Digest(Sha256::digest(&bytes).into()) != head.stored_sha256 {
            return Err(damaged(format!("{stream} chunk {index} was damaged on the way")));
        }
        let raw = match stream {
            Stream::Manifest => bytes,
            // The bound is what was announced: a frame cannot make the pod run out of memory.
            Stream::Base | Stream::Wal => inflate
                .decompress(&bytes, head.raw_bytes as usize)
                .map_err(|error| damaged(format!("{stream} chunk {index} does not decompress: {error}")))?,
        };
        if raw.len() as u64 != head.raw_bytes || Digest(Sha256::digest(&raw).into()) != head.raw_sha256 {
            return Err(damaged(format!("{stream} chunk {index} does not hold what was said")));
        }
        if out.blocking_send(Opened { stream, raw, sequence }).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// Writes files, on a thread.
fn write_all(mut opened: mpsc::Receiver<Opened>, mut unpack: Unpack, tell: &Tell) -> Result<Unpack, Failure> {
    while let Some(Opened { stream, raw, sequence }) = opened.blocking_recv() {
        unpack.push(stream, &raw)?;
        tell.durable(sequence);
    }
    Ok(unpack)
}

/// Has `pg_waldump` read every WAL record that recovery will read: each carries a checksum of its own. `false` when
/// the image has no `pg_waldump`.
async fn read_wal(tell: &Tell, stage: &Path, request: &StageRequest, report: &StageReport) -> Result<bool, Failure> {
    if host::program("pg_waldump").is_err() {
        tell.log("agent", "pg_waldump is not in the image: WAL was checked by its segments' headers only");
        return Ok(false);
    }
    let end = wal::end_of_records(request.wal_until, request.wal_segment_bytes)
        .map_err(|error| Failure::new(FailureKind::Request, error.to_string()))?;
    let arguments = [
        "--quiet".to_owned(),
        format!("--path={}", stage.join("pg_wal").display()),
        format!("--timeline={}", report.timeline),
        format!("--start={}", report.start),
        format!("--end={end}"),
    ];
    host::output("pg_waldump", &arguments, None)
        .await
        .map_err(|failure| Failure::new(FailureKind::Wal, failure.message))?;
    Ok(true)
}

/// The segments from the one that recovery begins in to the one that holds the last byte before the wanted position.
fn segments_needed(request: &StageRequest, start: Lsn, timeline: u32) -> Result<(Segment, Segment), Failure> {
    let wrong = |error: wal::WalError| Failure::new(FailureKind::Wal, error.to_string());
    let first = Segment::holding(start, timeline, request.wal_segment_bytes).map_err(wrong)?;
    let last = Segment::needed_to_reach(request.wal_until, timeline, request.wal_segment_bytes).map_err(wrong)?;
    Ok((first, last))
}
