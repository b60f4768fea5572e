//! Sends a backup into a pod, chunk by chunk.

use bytes::Bytes;

use super::agent::Agent;
use super::error::{Result, TransportError};
use crate::agent::protocol::{BackupPart, Digest, Reply, Request, StageChunkHead, StageReport, StageRequest};
use crate::trace::{self, CallKind};

/// One chunk to be staged, opened from its age file: the identity never enters the pod.
#[derive(Clone)]
pub struct StageChunk {
    /// Which of the two tars it is of.
    pub part: BackupPart,
    /// Its place in the tar, from 0.
    pub index: u32,
    /// The zstd frame.
    pub frame: Bytes,
    /// How many bytes it decompresses to.
    pub raw_bytes: u64,
    /// Their SHA-256, as the bundle's manifest says it.
    pub raw_sha256: [u8; 32],
}

/// A stage that is being filled. Must be finished, or the agent be attached to anew.
pub struct StageSink<'a> {
    agent: &'a mut Agent,
    id: u64,
}

impl Agent {
    /// Begins a fresh stage beside the data directory; what an earlier attempt of the run has left is removed.
    ///
    /// # Errors
    /// The agent's, or the link's.
    pub async fn stage(&mut self, request: StageRequest) -> Result<StageSink<'_>> {
        let id = self.say(Request::Stage(request)).await?;
        match self.answer(id).await? {
            Reply::StageReady => {
                self.unfinished = Some("stage");
                Ok(StageSink { agent: self, id })
            }
            _ => Err(self.odd()),
        }
    }
}

impl StageSink<'_> {
    /// Sends one chunk. Chunks of a tar come in order, from 0. Returns when the last of its bytes is on its way;
    /// waits while too much before it is not written yet.
    ///
    /// # Errors
    /// The agent's (a damaged chunk, a full volume), or the link's. The stage is over then.
    pub async fn send(&mut self, chunk: StageChunk) -> Result<()> {
        let StageChunk { part, index, frame, raw_bytes, raw_sha256 } = chunk;
        let frame_bytes = frame.len() as u64;
        let head = StageChunkHead { part, index, frame_bytes, raw_bytes, raw_sha256: Digest(raw_sha256) };
        let sent = async {
            self.agent.say_in(self.id, Request::StageChunk(head)).await?;
            self.agent.conduit.widen(frame.len());
            self.agent.conduit.send_data(frame).await.map_err(|source| self.agent.broken(source))?;
            Ok(None)
        };
        let answer = async { self.agent.answer(self.id).await.map(Some) };
        // The agent only answers now to say what is wrong.
        let either = async {
            tokio::select! {
                outcome = answer => outcome,
                outcome = sent => outcome,
            }
        };
        match trace::call(CallKind::Stream, format!("send {part} chunk {index}"), either).await {
            Ok(None) => Ok(()),
            Ok(Some(_)) => Err(self.agent.odd()),
            Err(error) => Err(self.over(error)),
        }
    }

    /// Says that these were all chunks, and waits until everything is written, checked and synced.
    ///
    /// # Errors
    /// The agent's (a file that is missing, extra or damaged, missing WAL), or the link's.
    pub async fn finish(mut self) -> Result<StageReport> {
        let sent = async {
            self.agent.say_in(self.id, Request::StageEnd).await?;
            self.agent.conduit.send_trailer().map_err(|source| self.agent.broken(source))?;
            self.agent.answer(self.id).await
        };
        match trace::call(CallKind::Agent, format!("check and sync what was sent, {}", self.agent.peer), sent).await {
            Ok(Reply::StageDone(report)) => {
                self.agent.unfinished = None;
                Ok(report)
            }
            Ok(_) => Err(self.agent.odd()),
            Err(error) => Err(self.over(error)),
        }
    }

    /// After the agent itself has given up the stage, the link can carry other requests.
    fn over(&mut self, error: TransportError) -> TransportError {
        if matches!(error, TransportError::Agent { .. }) {
            self.agent.unfinished = None;
        }
        error
    }
}
