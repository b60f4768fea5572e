//! PGDATA in: chunks from the link into a fresh folder beside the data directory, every file checked and on disk.
//!
//! ```text
//! link -> whole chunks -> zstd, SHA-256, side by side -> tar reader -> check + files
//!                                                     -> fsync -> record
//! ```
//! A chunk is acknowledged when it is written.

mod files;

use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use self::files::StageFiles;
use super::folders::{self, StageRecord, VolumeGuard};
use super::host::{self, PodFiles};
use super::protocol::{
    BackupPart, CHUNK_BOUNDS, Digest, Envelope, Failure, FailureKind, Request, StageChunkHead, StageReport,
    StageRequest,
};
use super::replies::ReplySender;
use super::swap::RunFolders;
use crate::parallel;
use crate::postgres::basebackup::{BaseCheck, WalCheck};
use crate::ustar::{Both, TarReader, TarSink};
use crate::wire::{Conduit, FrameKind};

/// How many chunks are decompressed side by side. One thread does more than links and disks bring; a second one costs
/// more than it saves where cores are few.
const OPENERS: usize = 1;

/// A stage that is being filled.
pub struct Stage {
    folders: RunFolders,
    request: StageRequest,
    run: String,
    guard: VolumeGuard,
}

/// One chunk as it came, and the number that acknowledges it.
struct Arrived {
    head: StageChunkHead,
    frame: Vec<u8>,
    sequence: u64,
}

/// One chunk, decompressed.
struct Opened {
    part: BackupPart,
    raw: Vec<u8>,
    sequence: u64,
}

/// One of the two tars on its way onto the volume.
struct Tar<C> {
    reader: TarReader,
    check: C,
    files: StageFiles,
}

impl<C: TarSink> Tar<C>
where
    Failure: From<C::Error>,
{
    fn push(&mut self, raw: &[u8]) -> Result<(), Failure> {
        self.reader.push(raw, &mut Both(&mut self.check, &mut self.files))
    }
}

/// Both tars.
struct Tars {
    base: Tar<BaseCheck>,
    wal: Tar<WalCheck>,
}

fn damaged(message: String) -> Failure {
    Failure::new(FailureKind::Damaged, message)
}

impl Stage {
    /// Removes what an earlier attempt of this run has left, and makes an empty stage.
    ///
    /// # Errors
    /// When there is no volume, it refuses, or this run's data is already in place.
    pub async fn begin(
        files: &PodFiles,
        run: &str,
        request: StageRequest,
        guard: VolumeGuard,
    ) -> Result<Self, Failure> {
        let volume = files.volume.clone();
        let stage = Self { folders: RunFolders::new(files, run), request, run: run.to_owned(), guard };
        host::blocking(move || {
            if !volume.is_dir() {
                let message = format!("no volume is mounted at {}", volume.display());
                return Err(Failure::new(FailureKind::Request, message));
            }
            let run_folders = &stage.folders;
            if let Some(record) = StageRecord::load(&run_folders.record)?
                && folders::inode(&run_folders.pgdata)? == Some(record.inode)
            {
                let message = format!("run {} has put its data in place already: put it back first", record.run);
                return Err(Failure::new(FailureKind::Unexpected, message));
            }
            // The record first: a new folder may get the old one's inode number.
            folders::remove(&run_folders.record)?;
            folders::remove(&run_folders.stage)?;
            files::make_folders(&run_folders.stage)?;
            Ok(stage)
        })
        .await
    }

    /// Takes chunks until the client says that these are all, then checks the whole.
    ///
    /// # Errors
    /// At the first byte that is not as it should be. What has been written is left for the next attempt to remove.
    pub async fn fill(self, replies: &ReplySender, conduit: &Conduit) -> Result<StageReport, Failure> {
        let (arrived, mut queue) = mpsc::channel::<Arrived>(1);
        let (mut tars, guard, acknowledge) = (self.tars(), self.guard.clone(), replies.clone());
        let mut write = std::pin::pin!(host::blocking(move || {
            let _guard = guard;
            parallel::in_order(std::iter::from_fn(|| queue.blocking_recv()), OPENERS, open, |mut results| {
                results.try_for_each(|opened| {
                    let Opened { part, raw, sequence } = opened?;
                    tars.push(part, &raw)?;
                    acknowledge.durable(sequence);
                    Ok::<_, Failure>(())
                })
            })?;
            Ok(tars)
        }));
        let tars = tokio::select! {
            // It ends before all has come only when something is wrong.
            written = &mut write => written?,
            collected = collect(replies, conduit, arrived) => {
                // Whatever has come is written to the end first: after a failure the next attempt removes the folder,
                // and nobody may still write to it then.
                let written = write.await;
                collected?;
                written?
            }
        };
        self.check(tars).await
    }

    fn tars(&self) -> Tars {
        let StageRequest { system_identifier, wal_segment_bytes, .. } = self.request;
        let stage = &self.folders.stage;
        let tar = TarReader::new;
        Tars {
            base: Tar { reader: tar("base.tar"), check: BaseCheck::default(), files: StageFiles::new(stage.clone()) },
            wal: Tar {
                reader: tar("pg_wal.tar"),
                check: WalCheck::new(system_identifier, wal_segment_bytes),
                files: StageFiles::new(stage.join("pg_wal")),
            },
        }
    }

    async fn check(self, tars: Tars) -> Result<StageReport, Failure> {
        let Self { folders, request, run, guard } = self;
        let report = tars.finish(&request)?;
        host::blocking(move || {
            let _guard = guard;
            folders::sync_tree(&folders.stage)?;
            let inode = folders::inode(&folders.stage)?
                .ok_or_else(|| Failure::new(FailureKind::Unexpected, "the stage folder has gone"))?;
            let system_identifier = report.system_identifier;
            StageRecord { run, inode, system_identifier, withdrawn: false }.store(&folders.record)?;
            Ok(report)
        })
        .await
    }
}

impl Tars {
    fn push(&mut self, part: BackupPart, raw: &[u8]) -> Result<(), Failure> {
        match part {
            BackupPart::Base => self.base.push(raw),
            BackupPart::Wal => self.wal.push(raw),
            BackupPart::Manifest => {
                Err(Failure::new(FailureKind::Request, "a manifest by itself: the one in base.tar is used"))
            }
        }
    }

    /// Checks the whole: both tars complete, every file as PostgreSQL's manifest says, WAL record after record to its
    /// end.
    fn finish(self, request: &StageRequest) -> Result<StageReport, Failure> {
        let Self { base, wal } = self;
        base.reader.finish()?;
        wal.reader.finish()?;
        let bytes = base.files.bytes() + wal.files.bytes();
        let base = base.check.finish(None)?;
        base.check_database(request.system_identifier)?;
        let span = wal.check.finish(&base.manifest, request.wal_end)?;
        Ok(StageReport {
            files: base.manifest.files.len() as u64,
            bytes,
            system_identifier: base.system_identifier,
            timeline: base.manifest.timeline,
            start: base.manifest.start,
            last_segment: span.last.to_string(),
        })
    }
}

/// Puts data messages together into whole chunks, up to the trailer.
async fn collect(replies: &ReplySender, conduit: &Conduit, out: mpsc::Sender<Arrived>) -> Result<(), Failure> {
    let mut current: Option<(StageChunkHead, Vec<u8>)> = None;
    let mut next = [0u32; 3];
    let mut ended = false;
    loop {
        let message = conduit.receive().await?;
        match message.kind {
            FrameKind::Trailer if ended => {
                replies.durable(message.sequence);
                return Ok(());
            }
            FrameKind::Control => {
                let read: Envelope<Request> = serde_json::from_slice(&message.payload).map_err(|error| {
                    Failure::new(FailureKind::Request, format!("in the middle of a stage: {error}"))
                })?;
                match (read.body, &current) {
                    (Request::StageChunk(head), None) if !ended => {
                        expect(&head, &mut next)?;
                        let frame = Vec::with_capacity(head.frame_bytes as usize);
                        current = Some((head, frame));
                    }
                    (Request::StageEnd, None) if !ended => ended = true,
                    _ => return Err(Failure::new(FailureKind::Request, "another request in the middle of a stage")),
                }
            }
            _ => {
                let Some((head, frame)) = &mut current else {
                    return Err(Failure::new(FailureKind::Request, "data that belongs to no chunk"));
                };
                frame.extend_from_slice(&message.payload);
                let have = frame.len() as u64;
                if have > head.frame_bytes {
                    return Err(damaged(format!("{} chunk {} is longer than said", head.part, head.index)));
                }
                if have == head.frame_bytes
                    && let Some((head, frame)) = current.take()
                    && out.send(Arrived { head, frame, sequence: message.sequence }).await.is_err()
                {
                    // Writing has failed; its own error says why.
                    return Ok(());
                }
            }
        }
    }
}

/// Chunks of each tar come in order, each once, and are of a size that can be held.
fn expect(head: &StageChunkHead, next: &mut [u32; 3]) -> Result<(), Failure> {
    let place = &mut next[head.part as usize];
    if head.index != *place {
        return Err(damaged(format!("{} chunk {} came where {} was due", head.part, head.index, place)));
    }
    *place += 1;
    let most = CHUNK_BOUNDS.1 * 2;
    if head.frame_bytes > most || head.raw_bytes > most || head.frame_bytes == 0 {
        return Err(damaged(format!("{} chunk {} has an impossible size", head.part, head.index)));
    }
    Ok(())
}

/// Decompresses a chunk and checks what it holds.
fn open(Arrived { head, frame, sequence }: Arrived) -> Result<Opened, Failure> {
    let StageChunkHead { part, index, .. } = head;
    // The bound is what was announced: a frame cannot make the pod run out of memory.
    let raw = zstd::bulk::decompress(&frame, head.raw_bytes as usize)
        .map_err(|error| damaged(format!("{part} chunk {index} does not decompress: {error}")))?;
    if raw.len() as u64 != head.raw_bytes || Digest(Sha256::digest(&raw).into()) != head.raw_sha256 {
        return Err(damaged(format!("{part} chunk {index} does not hold what was said")));
    }
    Ok(Opened { part, raw, sequence })
}
