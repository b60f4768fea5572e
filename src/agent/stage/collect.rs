//! Chunks of a stage off the link.

use tokio::sync::mpsc;

use crate::agent::protocol::{BackupPart, CHUNK_BOUNDS, Envelope, Failure, FailureKind, Request, StageChunkHead};
use crate::agent::replies::ReplySender;
use crate::parallel::Pool;
use crate::wire::{Conduit, FrameKind};

/// One chunk as it came, and the number that acknowledges it.
pub struct Arrived {
    pub head: StageChunkHead,
    pub frame: Vec<u8>,
    pub sequence: u64,
}

/// Puts data messages together into whole chunks, in memory out of `frames`, up to the trailer. `next` is the number of
/// the chunk that is due of each part.
///
/// # Errors
/// What comes is not what was said, or the link's.
pub async fn collect(
    replies: &ReplySender,
    conduit: &Conduit,
    frames: &Pool<Vec<u8>>,
    mut next: [u32; BackupPart::COUNT],
    out: mpsc::Sender<Arrived>,
) -> Result<(), Failure> {
    let mut current: Option<(StageChunkHead, Vec<u8>)> = None;
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
                        let mut frame = frames.take();
                        frame.clear();
                        frame.reserve_exact(head.frame_bytes as usize);
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
                    return Err(Failure::damaged(format!("{} chunk {} is longer than said", head.part, head.index)));
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
fn expect(head: &StageChunkHead, next: &mut [u32; BackupPart::COUNT]) -> Result<(), Failure> {
    let place = &mut next[head.part as usize];
    if head.index != *place {
        return Err(Failure::damaged(format!("{} chunk {} came where {} was due", head.part, head.index, place)));
    }
    *place += 1;
    let most = CHUNK_BOUNDS.1 * 2;
    if head.frame_bytes > most || head.raw_bytes > most || head.frame_bytes == 0 {
        return Err(Failure::damaged(format!("{} chunk {} has an impossible size", head.part, head.index)));
    }
    Ok(())
}
