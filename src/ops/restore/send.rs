//! Sending a bundle's database into the recovery pod: open chunk after chunk, a little ahead of the stream.

use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::facts::OpenBundle;
use super::work::RestoreWork;
use crate::agent::protocol::{BackupPart, KeptChunks, StageReport, StageRequest};
use crate::bundle::{StoredChunk, Stream};
use crate::cluster::transport::{Agent, StageChunk};
use crate::error::{CommandError, Exit, Result};
use crate::journal::fault;
use crate::parallel::{self, Pool};
use crate::trace::{self, CallKind};

/// How many chunks are opened side by side, ahead of the one that is being sent. Each takes up to its raw size in memory.
const AHEAD: usize = 2;

/// Sends base and log, and returns what the agent has checked on the volume. What an earlier call of the run has sent, and
/// is there as the manifest says, is not sent again.
pub(super) async fn send(work: &RestoreWork, agent: &mut Agent) -> Result<StageReport> {
    let bundle = Arc::clone(work.bundle()?);
    let database = &bundle.reader.manifest().database;
    let system_identifier = database.system_identifier.parse().map_err(|e| {
        CommandError::new(Exit::Damaged, format!("system identifier `{}`", database.system_identifier)).because(e)
    })?;
    let (wal_end, wal_segment_bytes) = (database.wal_end(), database.wal_segment_bytes);
    let request = StageRequest { system_identifier, wal_end, wal_segment_bytes, fresh: false };
    let chunks: Vec<StoredChunk> =
        [Stream::Base, Stream::Wal].into_iter().flat_map(|stream| bundle.reader.chunks(stream)).collect();
    let total: u64 = chunks.iter().map(|chunk| chunk.raw_bytes).sum();
    let mut sink = agent.stage(request, |kept| kept.iter().all(|kept| is_of(kept, &chunks))).await?;
    let (kept, wanted): (Vec<_>, Vec<_>) =
        chunks.into_iter().partition(|chunk| chunk.index < sink.kept(part(chunk.stream)));
    let mut there: u64 = kept.iter().map(|chunk| chunk.raw_bytes).sum();
    let memory = Memory::default();
    let mut opened = parallel::spawn_in_order(wanted.into_iter(), AHEAD, move |chunk| {
        let frame = memory.open(&bundle, &chunk)?;
        Ok::<_, CommandError>((chunk, frame))
    });
    loop {
        work.ctx.events.bytes("database", there, Some(total));
        let next = opened.next().await.map_err(|e| CommandError::new(Exit::Failure, "open a chunk").because(e))?;
        let Some(next) = next else { break };
        let (chunk, frame) = next?;
        let raw_bytes = chunk.raw_bytes;
        sink.send(piece(&chunk, frame)?).await?;
        fault::point("staged-chunk")?;
        there += raw_bytes;
    }
    Ok(sink.finish().await?)
}

fn part(stream: Stream) -> BackupPart {
    match stream {
        Stream::Base => BackupPart::Base,
        Stream::Wal => BackupPart::Wal,
    }
}

/// Whether what is on the volume is what these chunks begin with.
fn is_of(kept: &KeptChunks, chunks: &[StoredChunk]) -> bool {
    let of_part: Vec<&StoredChunk> = chunks.iter().filter(|chunk| part(chunk.stream) == kept.part).collect();
    let Some(same) = of_part.get(..kept.chunks as usize) else { return false };
    let digests = same.iter().map(|chunk| digest(&chunk.raw_sha256).ok()).collect::<Option<Vec<_>>>();
    digests.is_some_and(|digests| <[u8; 32]>::from(Sha256::digest(digests.concat())) == kept.sha256.0)
}

/// Memory that is used again from chunk to chunk.
#[derive(Default)]
struct Memory {
    stored: Pool<Vec<u8>>,
    /// Those on their way come back when they have arrived.
    frames: Arc<Pool<Zeroizing<Vec<u8>>>>,
}

impl Memory {
    fn open(&self, bundle: &OpenBundle, chunk: &StoredChunk) -> Result<Bytes> {
        let what = format!("open {} chunk {}", chunk.stream.folder(), chunk.index);
        let (mut stored, mut frame) = (self.stored.take(), self.frames.take());
        trace::call_blocking(CallKind::Chunk, what, || {
            bundle.reader.open_chunk(chunk, &bundle.identities, &mut stored, &mut frame)
        })?;
        self.stored.put(stored);
        Ok(parallel::lend(frame, &self.frames))
    }
}

fn piece(chunk: &StoredChunk, frame: Bytes) -> Result<StageChunk> {
    let raw_sha256 = digest(&chunk.raw_sha256)
        .map_err(|e| CommandError::new(Exit::Damaged, "a chunk's digest in manifest.json").because(e))?;
    Ok(StageChunk { part: part(chunk.stream), index: chunk.index, frame, raw_bytes: chunk.raw_bytes, raw_sha256 })
}

fn digest(text: &str) -> Result<[u8; 32], hex::FromHexError> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes).map(|()| bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::protocol::Digest;

    fn chunk(stream: Stream, index: u32, content: &[u8]) -> StoredChunk {
        let raw_sha256 = hex::encode(Sha256::digest(content));
        let raw_bytes = content.len() as u64;
        StoredChunk { stream, index, offset: 0, stored_bytes: 1, sha256: String::new(), raw_bytes, raw_sha256 }
    }

    #[test]
    fn only_what_the_same_chunks_have_left_is_kept() {
        let chunks = [chunk(Stream::Base, 0, b"a"), chunk(Stream::Base, 1, b"b"), chunk(Stream::Wal, 0, b"c")];
        let over = |contents: &[&[u8]]| {
            let digests: Vec<u8> = contents.iter().flat_map(Sha256::digest).collect();
            Digest(Sha256::digest(digests).into())
        };
        let kept = |part, chunks, sha256| KeptChunks { part, chunks, sha256 };
        assert!(is_of(&kept(BackupPart::Base, 1, over(&[b"a"])), &chunks));
        assert!(is_of(&kept(BackupPart::Base, 2, over(&[b"a", b"b"])), &chunks));
        assert!(is_of(&kept(BackupPart::Wal, 1, over(&[b"c"])), &chunks));
        assert!(!is_of(&kept(BackupPart::Base, 2, over(&[b"a", b"x"])), &chunks), "another's");
        assert!(!is_of(&kept(BackupPart::Base, 1, over(&[b"a", b"b"])), &chunks), "another count");
        assert!(!is_of(&kept(BackupPart::Wal, 2, over(&[b"c", b"d"])), &chunks), "more than there are");
    }
}
