//! PGDATA in: chunks from the link into a folder beside the data directory, every file checked and on disk.
//!
//! ```text
//! link -> whole chunks -> zstd, SHA-256, side by side -> tar reader -> check + files -> outline
//!                                                        written out behind, all synced at the end -> record
//! ```
//! A chunk is acknowledged when it is written. What an attempt that was cut off has written is read back by the next one
//! of the run, and only the rest is sent.

pub(super) mod collect;
mod files;
mod outline;
mod tars;

use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use zstd::bulk::Decompressor;

use self::collect::{Arrived, collect};
use self::outline::{OutlineFile, Records, WrittenChunk};
use self::tars::Tars;
use super::folders::{self, StageRecord, VolumeGuard};
use super::host::{self, PodFiles};
use super::protocol::{
    BackupPart, Digest, Failure, FailureKind, KeptChunks, StageChunkHead, StageReport, StageRequest,
};
use super::replies::ReplySender;
use super::swap::RunFolders;
use super::sync::FolderSync;
use crate::parallel::{self, Pool};
use crate::wire::Conduit;

/// How many bytes are written before the system is asked to write them out: while the link brings more, the disk works.
const FLUSH_EVERY: u64 = 128 << 20;

/// A stage that can be filled.
pub struct Stage {
    folders: RunFolders,
    request: StageRequest,
    run: String,
    guard: VolumeGuard,
    work: StageWork,
    kept: [KeptPart; 2],
}

/// What fills a stage.
struct StageWork {
    tars: Tars,
    outline: OutlineFile,
    sync: FolderSync,
}

/// What an earlier attempt has left of one tar.
#[derive(Default)]
struct KeptPart {
    chunks: u32,
    bytes: u64,
    /// Over the digests of the chunks.
    digests: Sha256,
}

/// One chunk, decompressed.
pub(super) struct OpenedFrame {
    head: StageChunkHead,
    pub(super) raw: Vec<u8>,
    pub(super) sequence: u64,
}

/// Memory that is used again: fresh memory for each chunk costs as much as to write it.
#[derive(Default)]
pub(super) struct Memory {
    pub(super) frames: Pool<Vec<u8>>,
    plaintexts: Pool<Vec<u8>>,
    decompressors: Pool<Option<Decompressor<'static>>>,
}

impl Stage {
    /// Makes a stage: what an earlier attempt of this run has left is read back, or removed where all is to be fresh.
    ///
    /// # Errors
    /// When there is no volume, it refuses, or this run's data is already in place.
    pub async fn begin(
        files: &PodFiles,
        run: &str,
        request: StageRequest,
        guard: VolumeGuard,
    ) -> Result<Self, Failure> {
        let (volume, folders, run) = (files.volume.clone(), RunFolders::new(files, run), run.to_owned());
        host::blocking(move || {
            if !volume.is_dir() {
                let message = format!("no volume is mounted at {}", volume.display());
                return Err(Failure::new(FailureKind::Request, message));
            }
            let record = StageRecord::load(&folders.record)?;
            if let Some(record) = &record
                && folders::inode(&folders.pgdata)? == Some(record.inode)
            {
                let message = format!("run {} has put its data in place already: put it back first", record.run);
                return Err(Failure::new(FailureKind::Unexpected, message));
            }
            let left = if request.fresh || record.is_some() { None } else { take_up(&folders, &request) };
            let (work, kept) = match left {
                Some(left) => left,
                None => (begin_afresh(&folders, &request)?, Default::default()),
            };
            Ok(Self { folders, request, run, guard, work, kept })
        })
        .await
    }

    /// What need not be sent.
    pub fn kept(&self) -> Vec<KeptChunks> {
        let parts = [BackupPart::Base, BackupPart::Wal].into_iter().zip(&self.kept);
        let said = |(part, kept): (BackupPart, &KeptPart)| KeptChunks {
            part,
            chunks: kept.chunks,
            sha256: Digest(kept.digests.clone().finalize().into()),
        };
        parts.filter(|(_, kept)| kept.chunks > 0).map(said).collect()
    }

    /// Takes chunks until the client says that these are all, then checks the whole.
    ///
    /// # Errors
    /// At the first byte that is not as it should be; the next attempt then begins afresh. Where the volume is full or
    /// the link is at an end, it takes up what has been written.
    pub async fn fill(self, replies: &ReplySender, conduit: &Conduit) -> Result<StageReport, Failure> {
        let outline = self.folders.outline.clone();
        let filled = self.fill_and_check(replies, conduit).await;
        if let Err(failure) = &filled
            && !matches!(failure.kind, FailureKind::System | FailureKind::Space)
        {
            host::blocking(move || folders::remove(&outline)).await?;
        }
        filled
    }

    async fn fill_and_check(self, replies: &ReplySender, conduit: &Conduit) -> Result<StageReport, Failure> {
        let Self { folders, request, run, guard, work, kept } = self;
        let (arrived, queue) = mpsc::channel::<Arrived>(1);
        let memory = Arc::new(Memory::default());
        let next = [kept[0].chunks, kept[1].chunks, 0, 0];
        let (own, acknowledge) = (Arc::clone(&memory), replies.clone());
        let mut write = std::pin::pin!(host::blocking(move || {
            let work = work.write(queue, &own, |sequence| acknowledge.durable(sequence))?;
            Ok((work, guard))
        }));
        let (work, guard) = tokio::select! {
            // It ends before all has come only when something is wrong.
            written = &mut write => written?,
            collected = collect(replies, conduit, &memory.frames, next, arrived) => {
                // Whatever has come is written to the end first: the next attempt reads it back, and nobody may still
                // write to it then.
                let written = write.await;
                collected?;
                written?
            }
        };
        let kept_bytes = kept.iter().map(|part| part.bytes).sum();
        host::blocking(move || {
            let _guard = guard;
            let report = StageReport { kept_bytes, ..work.check(&folders, &request)? };
            let inode = folders::inode(&folders.stage)?
                .ok_or_else(|| Failure::new(FailureKind::Unexpected, "the stage folder has gone"))?;
            let system_identifier = report.system_identifier;
            StageRecord { run, inode, system_identifier, withdrawn: false }.store(&folders.record)?;
            Ok(report)
        })
        .await
    }
}

fn begin_afresh(folders: &RunFolders, request: &StageRequest) -> Result<StageWork, Failure> {
    // The outline before the folder that it tells of. The record, too: a new folder may get the old one's inode number.
    folders::remove(&folders.outline)?;
    folders::remove(&folders.record)?;
    folders::remove(&folders.stage)?;
    files::make_folders(&folders.stage)?;
    let sync = FolderSync::open(&folders.stage)?;
    Ok(StageWork { tars: Tars::new(&folders.stage, request), outline: OutlineFile::open(&folders.outline, 0)?, sync })
}

/// Reads back what an earlier attempt has written, up to the first chunk that is not whole. `None` when there is nothing
/// of use.
fn take_up(folders: &RunFolders, request: &StageRequest) -> Option<(StageWork, [KeptPart; 2])> {
    let sync = FolderSync::open(&folders.stage).ok()?;
    let records = Records::open(&folders.outline).ok()?;
    let (mut tars, mut kept, mut end) = (Tars::new(&folders.stage, request), <[KeptPart; 2]>::default(), 0);
    let plaintexts = Pool::<Vec<u8>>::default();
    let read = |(written, end): (WrittenChunk, u64)| {
        let mut raw = plaintexts.take();
        written.read_back(&folders.stage, &mut raw).then_some((written.head, raw, end))
    };
    parallel::in_order(records, parallel::threads(), read, |results| {
        for (head, raw, ends) in results.map_while(|read| read) {
            let part = kept.get_mut(head.part as usize).filter(|part| part.chunks == head.index)?;
            tars.push(head.part, &raw, true).ok()?;
            part.chunks += 1;
            part.bytes += head.raw_bytes;
            part.digests.update(head.raw_sha256.0);
            end = ends;
            plaintexts.put(raw);
        }
        Some(())
    })?;
    let outline = OutlineFile::open(&folders.outline, end).ok()?;
    (end > 0).then_some((StageWork { tars, outline, sync }, kept))
}

impl StageWork {
    /// Writes chunks as they come, and lets each be acknowledged when it and its record are written. A thread of its own
    /// sees to it that the disk is never far behind.
    fn write(
        self,
        mut queue: mpsc::Receiver<Arrived>,
        memory: &Memory,
        acknowledge: impl Fn(u64),
    ) -> Result<Self, Failure> {
        let Self { mut tars, mut outline, sync } = self;
        let (due, flushes) = sync_channel(1);
        std::thread::scope(|scope| {
            let flusher = scope.spawn(|| flushes.into_iter().try_for_each(|()| sync.flush()));
            let arriving = std::iter::from_fn(|| queue.blocking_recv());
            let mut unflushed = 0;
            let written = parallel::in_order(
                arriving,
                openers(),
                |chunk| open(chunk, memory),
                |mut results| {
                    results.try_for_each(|opened| {
                        let OpenedFrame { head, raw, sequence } = opened?;
                        unflushed += raw.len() as u64;
                        let placed = tars.push(head.part, &raw, false)?;
                        memory.plaintexts.put(raw);
                        outline.append(&WrittenChunk::new(head, placed))?;
                        acknowledge(sequence);
                        // Where the disk is still at it, the next time comes soon.
                        if unflushed >= FLUSH_EVERY && due.try_send(()).is_ok() {
                            unflushed = 0;
                        }
                        Ok::<_, Failure>(())
                    })
                },
            );
            drop(due);
            let flushed =
                flusher.join().map_err(|_| Failure::new(FailureKind::System, "the agent stopped in a sync"))?;
            written.and(flushed)
        })?;
        Ok(Self { tars, outline, sync })
    }

    /// Checks the whole and makes it durable. The outline is of no more use then; after a failure to write it must not be
    /// used, since what is read back may never have reached the disk.
    fn check(self, folders: &RunFolders, request: &StageRequest) -> Result<StageReport, Failure> {
        let Self { tars, sync, .. } = self;
        let (report, size) = tars.finish(request)?;
        let synced = sync.finish();
        folders::remove(&folders.outline)?;
        let on_volume = synced?;
        if on_volume != size {
            let message = format!(
                "{} files of {} bytes are in {}, {} of {} were put there",
                on_volume.files,
                on_volume.bytes,
                folders.stage.display(),
                size.files,
                size.bytes
            );
            return Err(Failure::new(FailureKind::Unexpected, message));
        }
        Ok(report)
    }
}

/// How many chunks are decompressed side by side. One thread does more than most links and disks bring; where cores are
/// few, a second one costs more than it saves.
fn openers() -> usize {
    (parallel::threads() / 2).max(1)
}

/// Decompresses a chunk and checks what it holds.
pub(super) fn open(Arrived { head, frame, sequence }: Arrived, memory: &Memory) -> Result<OpenedFrame, Failure> {
    let StageChunkHead { part, index, .. } = head;
    let unpacked = |error| Failure::damaged(format!("{part} chunk {index} does not decompress: {error}"));
    let mut decompressor = match memory.decompressors.take() {
        Some(used) => used,
        None => Decompressor::new().map_err(unpacked)?,
    };
    let mut raw = memory.plaintexts.take();
    raw.clear();
    // The bound is what was announced: a frame cannot make the pod run out of memory.
    raw.reserve_exact(head.raw_bytes as usize);
    decompressor.decompress_to_buffer(&frame, &mut raw).map_err(unpacked)?;
    memory.decompressors.put(Some(decompressor));
    memory.frames.put(frame);
    if raw.len() as u64 != head.raw_bytes || Digest(Sha256::digest(&raw).into()) != head.raw_sha256 {
        return Err(Failure::damaged(format!("{part} chunk {index} does not hold what was said")));
    }
    Ok(OpenedFrame { head, raw, sequence })
}
