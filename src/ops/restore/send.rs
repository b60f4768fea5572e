//! Sending a bundle's database into the recovery pod: open chunk after chunk, a little ahead of the stream.

use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::work::RestoreWork;
use crate::agent::protocol::{BackupPart, KeptChunks, StageReport, StageRequest};
use crate::bundle::layout::Member;
use crate::bundle::{StoredChunk, Stream};
use crate::cluster::transport::{Agent, StageChunk, StageSink};
use crate::crypt::seal::make_room;
use crate::error::{CommandError, Exit, Result};
use crate::journal::fault;
use crate::parallel::{self, Ordered, Pool};
use crate::trace::{self, CallKind};

/// How many chunks are opened side by side.
const OPENERS: usize = 2;
/// What opened chunks may take in memory together, in bytes: those that wait, the one that is being sent, and those that
/// the pod has not written yet, which may have to be sent again.
const FRAMES_LIMIT: u64 = 17 << 20;
/// The tar header and the padding around a stored chunk, in bytes.
const FRAMING: u64 = 1024;
/// However large they are: one that is opened, one on its way, and one that is being written.
const LEAST_FRAMES: u64 = 3;

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
    let (kept, wanted): (Vec<_>, Vec<_>) = chunks.into_iter().partition(|chunk| chunk.index < sink.kept(part(chunk)));
    let mut there: u64 = kept.iter().map(|chunk| chunk.raw_bytes).sum();
    let mut opened = open_ahead(wanted, move |chunk, stored, frame| {
        let what = format!("open {}", chunk.member);
        trace::call_blocking(CallKind::Chunk, what, || {
            Ok(bundle.reader.open_chunk(chunk, &bundle.identities, stored, frame)?)
        })
    });
    loop {
        work.ctx.events.bytes("database", there, Some(total));
        let Some((chunk, frame)) = next_opened(&mut opened, &mut sink).await? else { break };
        let raw_bytes = chunk.raw_bytes;
        sink.send(piece(&chunk, frame)?).await?;
        fault::point("staged-chunk")?;
        there += raw_bytes;
    }
    Ok(sink.finish().await?)
}

fn part(chunk: &StoredChunk) -> BackupPart {
    match chunk.member {
        Member::Chunk(Stream::Base, _) => BackupPart::Base,
        Member::Chunk(Stream::Wal, _) => BackupPart::Wal,
        _ => BackupPart::Volume,
    }
}

/// Whether what is on the volume is what these chunks begin with.
fn is_of(kept: &KeptChunks, chunks: &[StoredChunk]) -> bool {
    let of_part: Vec<&StoredChunk> = chunks.iter().filter(|chunk| part(chunk) == kept.part).collect();
    let Some(same) = of_part.get(..kept.chunks as usize) else { return false };
    let digests = same.iter().map(|chunk| digest(&chunk.raw_sha256).ok()).collect::<Option<Vec<_>>>();
    digests.is_some_and(|digests| <[u8; 32]>::from(Sha256::digest(digests.concat())) == kept.sha256.0)
}

/// The next chunk that is opened. Where none can be, for want of memory that the pod would have to let go of, the pod's end
/// is the end.
///
/// # Errors
/// The chunk is damaged; or the stage's.
pub(super) async fn next_opened(
    opened: &mut Ordered<Result<(StoredChunk, Bytes)>>,
    sink: &mut StageSink<'_>,
) -> Result<Option<(StoredChunk, Bytes)>> {
    let next = tokio::select! {
        next = opened.next() => next,
        error = sink.failure() => return Err(error.into()),
    };
    next.map_err(|e| CommandError::new(Exit::Failure, "open a chunk").because(e))?.transpose()
}

/// Opens `chunks` a little ahead of whoever takes them, in memory that is used again. A chunk is opened when there is
/// memory for it: one that was sent is in it until the pod has written it.
pub(super) fn open_ahead(
    chunks: Vec<StoredChunk>,
    open: impl Fn(&StoredChunk, &mut Vec<u8>, &mut Zeroizing<Vec<u8>>) -> Result<()> + Send + Sync + 'static,
) -> Ordered<Result<(StoredChunk, Bytes)>> {
    let largest = chunks.iter().map(|chunk| chunk.stored_bytes).max().unwrap_or(1).max(1);
    let frames = Arc::new(Pool::of((FRAMES_LIMIT / largest).max(LEAST_FRAMES) as usize));
    let stored = Pool::<Vec<u8>>::default();
    // Given out in the order of the chunks: a later one can never have the memory that an earlier one waits for.
    let jobs = chunks.into_iter().map(move |chunk| (chunk, frames.borrow()));
    parallel::spawn_in_order(jobs, OPENERS, move |(chunk, mut frame)| {
        let mut sealed = stored.take();
        // Each at once as large as it will ever be: what grows leaves holes behind.
        make_room(&mut frame, largest as usize);
        sealed.reserve_exact((largest + FRAMING).saturating_sub(sealed.len() as u64) as usize);
        open(&chunk, &mut sealed, &mut frame)?;
        stored.put(sealed);
        Ok((chunk, frame.into_bytes()))
    })
}

pub(super) fn piece(chunk: &StoredChunk, frame: Bytes) -> Result<StageChunk> {
    let raw_sha256 = digest(&chunk.raw_sha256)
        .map_err(|e| CommandError::new(Exit::Damaged, "a chunk's digest in manifest.json").because(e))?;
    Ok(StageChunk { part: part(chunk), index: chunk.index, frame, raw_bytes: chunk.raw_bytes, raw_sha256 })
}

fn digest(text: &str) -> Result<[u8; 32], hex::FromHexError> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes).map(|()| bytes)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use futures::future::BoxFuture;

    use super::*;
    use crate::agent::protocol::Digest;
    use crate::cluster::transport::{AgentSession, Dial, DialError, Patience};
    use crate::event::Events;
    use crate::wire::Limits;

    fn chunk(stream: Stream, index: u32, content: &[u8]) -> StoredChunk {
        let raw_sha256 = hex::encode(Sha256::digest(content));
        let raw_bytes = content.len() as u64;
        StoredChunk {
            member: Member::Chunk(stream, index),
            index,
            offset: 0,
            stored_bytes: 1,
            sha256: String::new(),
            raw_bytes,
            raw_sha256,
        }
    }

    /// Chunks of `bytes` each, which open to their own number, and how many were begun.
    fn numbered(count: u32, bytes: u64) -> (Ordered<Result<(StoredChunk, Bytes)>>, Arc<AtomicU32>) {
        let begun = Arc::new(AtomicU32::new(0));
        let chunks = (0..count).map(|n| StoredChunk { stored_bytes: bytes, ..chunk(Stream::Base, n, b"") });
        let count = Arc::clone(&begun);
        let opened = open_ahead(chunks.collect(), move |chunk, _, frame| {
            count.fetch_add(1, Ordering::SeqCst);
            frame.clear();
            frame.extend_from_slice(&chunk.index.to_be_bytes());
            Ok(())
        });
        (opened, begun)
    }

    async fn due(opened: &mut Ordered<Result<(StoredChunk, Bytes)>>) -> Option<Bytes> {
        opened.next().await.unwrap().map(|next| next.unwrap().1)
    }

    #[tokio::test]
    async fn no_more_chunks_are_in_memory_than_there_is_room_for_until_the_pod_has_written_some() {
        for (bytes, room) in [((4 << 20) + 5000, 4), (20 << 20, 3), (40 << 20, 3)] {
            let (mut opened, begun) = numbered(30, bytes);
            let mut unwritten = VecDeque::new();
            for _ in 0..room {
                unwritten.push_back(due(&mut opened).await.unwrap());
            }
            let waits = tokio::time::timeout(Duration::from_millis(50), opened.next()).await;
            assert!(waits.is_err(), "one more than there is room for");
            assert_eq!(begun.load(Ordering::SeqCst), room);
            for written in 0..30 {
                assert_eq!(unwritten.pop_front().unwrap(), u32::to_be_bytes(written)[..]);
                if written + room < 30 {
                    unwritten.extend(due(&mut opened).await);
                }
            }
            assert_eq!(begun.load(Ordering::SeqCst), 30);
        }
    }

    /// Who would speak to a pod that is gone.
    struct Gone;

    impl Dial for Gone {
        fn dial(&self) -> BoxFuture<'_, std::result::Result<AgentSession, DialError>> {
            Box::pin(async { Err(DialError { message: "pods \"dr-restore-1\" not found".into(), permanent: true }) })
        }

        fn describe(&self) -> String {
            "the agent in pod dr-restore-1".into()
        }
    }

    #[tokio::test]
    async fn a_pod_that_is_gone_ends_the_wait_for_memory_that_it_would_have_to_let_go_of() {
        let mut agent = Agent::over(Gone, "restore-1", Limits::default(), Patience::default(), Events::none());
        let mut sink = agent.fill_volume().await.unwrap();
        let (mut opened, _) = numbered(30, 20 << 20);
        let mut unwritten = Vec::new();
        let error = loop {
            let next = tokio::time::timeout(Duration::from_secs(20), next_opened(&mut opened, &mut sink)).await;
            match next.expect("it is noticed") {
                Ok(next) => unwritten.push(next),
                Err(error) => break error,
            }
        };
        assert!(unwritten.len() <= 3 && error.to_string().contains("not found"), "{}: {error}", unwritten.len());
    }

    #[tokio::test]
    async fn a_send_that_is_given_up_leaves_no_thread_behind() {
        let (mut opened, begun) = numbered(30, 4 << 20);
        let kept = [due(&mut opened).await, due(&mut opened).await];
        drop(opened);
        drop(kept);
        // The test's runtime waits for the threads that it has begun.
        assert!(begun.load(Ordering::SeqCst) < 10);
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
