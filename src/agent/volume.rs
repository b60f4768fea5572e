//! The volume of a claim: out of the pod as one tar, and in again.
//!
//! ```text
//! read  volume -> tar with its listing -> chunks -> compress + seal, side by side -> link
//! fill  link -> whole chunks -> zstd, SHA-256 -> tar -> files -> synced -> each read back, held against the listing
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use tokio::sync::mpsc;

use super::backup::{self, ChunkCutter, Outgoing};
use super::folders::VolumeGuard;
use super::host::{self, PodFiles};
use super::protocol::{BackupPart, Failure, FailureKind, PartTotals, Reply, VolumeDone, VolumeFilled, VolumeRequest};
use super::replies::ReplySender;
use super::stage::collect::{Arrived, collect};
use super::stage::{Memory, open};
use super::sync::FolderSync;
use crate::filetree::{self, TreeKind, TreePieces};
use crate::parallel;
use crate::wire::Conduit;

/// How many pieces of a tar wait for whoever unpacks it.
const WAITING_PIECES: usize = 2;

/// Sends all that is in the volume.
///
/// # Errors
/// Something in it cannot be read; or the link's.
pub async fn read(
    replies: &ReplySender,
    request: VolumeRequest,
    files: &PodFiles,
    guard: VolumeGuard,
) -> Result<(), Failure> {
    let root = mounted(files)?;
    let sealers = backup::sealers();
    let sealer = backup::sealer(request.chunk_bytes, request.zstd_level, &request.recipients, sealers)?;
    let (memory, sealer) = (sealer.memory(), Arc::new(sealer));
    let (cut, mut sealed) = backup::sealing(&sealer, sealers);
    let mut cutter = ChunkCutter::new(BackupPart::Volume, request.chunk_bytes as usize, cut, memory);
    let packed = host::blocking(move || {
        let _guard = guard;
        let totals = filetree::pack(&root, IntoChunks(&mut cutter), |_| {})?;
        Ok((totals, cutter.finish()?))
    });
    let sending = async {
        let mut sent = PartTotals::default();
        while let Some(next) = sealed.next().await.map_err(|error| host::stopped(&error))? {
            if let Outgoing::Chunk { head, stored } = next? {
                sent.add(&head);
                replies.reply(Reply::Chunk(head)).await?;
                replies.data(stored).await?;
            }
        }
        Ok::<_, Failure>(sent)
    };
    let ((totals, bytes), sent) = tokio::try_join!(packed, sending)?;
    if sent.raw_bytes != bytes {
        return Err(Failure::damaged(format!("{} bytes were sent of {bytes} that were packed", sent.raw_bytes)));
    }
    replies.reply(Reply::VolumeDone(VolumeDone { totals, sent })).await?;
    replies.trailer()
}

/// Replaces what is in the volume by the tar whose chunks come, and reads all of it back.
///
/// # Errors
/// At the first byte that is not as it should be, or the volume refuses. What is there then is of no use: this begins anew.
pub async fn fill(
    replies: &ReplySender,
    conduit: &Conduit,
    files: &PodFiles,
    guard: VolumeGuard,
) -> Result<VolumeFilled, Failure> {
    let root = mounted(files)?;
    let (arrived, queue) = mpsc::channel::<Arrived>(1);
    let memory = Arc::new(Memory::default());
    let (own, acknowledge) = (Arc::clone(&memory), replies.clone());
    let mut writing = std::pin::pin!(host::blocking(move || {
        let _guard = guard;
        fill_and_look(&root, queue, &own, |sequence| acknowledge.durable(sequence))
    }));
    tokio::select! {
        // It ends before all has come only when something is wrong.
        filled = &mut writing => filled,
        collected = collect(replies, conduit, &memory.frames, [0; BackupPart::COUNT], arrived) => {
            let filled = writing.await;
            collected?;
            filled
        }
    }
}

fn mounted(files: &PodFiles) -> Result<PathBuf, Failure> {
    let root = files.claimed.clone();
    let missing = || Failure::new(FailureKind::Request, format!("no volume is mounted at {}", root.display()));
    if root.is_dir() { Ok(root) } else { Err(missing()) }
}

fn fill_and_look(
    root: &Path,
    mut queue: mpsc::Receiver<Arrived>,
    memory: &Memory,
    acknowledge: impl Fn(u64),
) -> Result<VolumeFilled, Failure> {
    // Before the first byte is written: what cannot be written out from then on is an error of the sync.
    let sync = FolderSync::open(root)?;
    let (pieces, tar) = sync_channel(WAITING_PIECES);
    let listed = std::thread::scope(|scope| {
        let filler = scope.spawn(move || filetree::fill(root, TreePieces::new(tar)));
        let arriving = std::iter::from_fn(|| queue.blocking_recv());
        let passed = parallel::in_order(
            arriving,
            1,
            |chunk| open(chunk, memory),
            |results| {
                for opened in results {
                    let opened = opened?;
                    if pieces.send(opened.raw).is_err() {
                        // It has failed; its own error says why.
                        break;
                    }
                    acknowledge(opened.sequence);
                }
                Ok::<_, Failure>(())
            },
        );
        drop(pieces);
        let stopped = |_| Failure::new(FailureKind::System, "the agent stopped while it filled a volume");
        let filled = filler.join().map_err(stopped)?;
        passed?;
        filled.map_err(Failure::from)
    })?;
    let files = listed.entries.iter().filter(|entry| matches!(entry.kind, TreeKind::File { .. }));
    let files: Vec<PathBuf> = files.map(|entry| filetree::place(root, &entry.path)).collect::<Result<_, _>>()?;
    sync.settle(&files)?;
    let (totals, differences) = filetree::hold_against(&filetree::list(root)?, &listed)?;
    Ok(VolumeFilled { totals, differences })
}

/// A tar on its way into chunks.
struct IntoChunks<'a>(&'a mut ChunkCutter);

impl std::io::Write for IntoChunks<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes).map_err(std::io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
