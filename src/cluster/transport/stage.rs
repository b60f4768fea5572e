//! Sends a backup into a pod, chunk by chunk.

use bytes::Bytes;

use super::agent::Agent;
use super::error::{Result, TransportError};
use crate::agent::protocol::{
    BackupPart, Digest, KeptChunks, Reply, Request, StageChunkHead, StageReport, StageRequest, VolumeFilled,
};
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

/// A stage, or a volume, that is being filled. Must be finished, or the agent be attached to anew.
pub struct StageSink<'a> {
    agent: &'a mut Agent,
    id: u64,
    kept: Vec<KeptChunks>,
}

impl Agent {
    /// Begins a stage beside the data directory. What an earlier attempt of the run has left is kept where `same` says
    /// that it is of what is about to be sent, and removed otherwise.
    ///
    /// # Errors
    /// The agent's, or the link's.
    pub async fn stage(
        &mut self,
        request: StageRequest,
        same: impl FnOnce(&[KeptChunks]) -> bool,
    ) -> Result<StageSink<'_>> {
        let mut kept = self.begin_stage(request.clone()).await?;
        if !kept.is_empty() && !same(&kept) {
            kept = self.begin_stage(StageRequest { fresh: true, ..request }).await?;
        }
        let id = self.say(Request::StageFill).await?;
        self.unfinished = Some("stage");
        Ok(StageSink { agent: self, id, kept })
    }

    /// Begins to replace what is in the volume of a claim.
    ///
    /// # Errors
    /// The link's.
    pub async fn fill_volume(&mut self) -> Result<StageSink<'_>> {
        let id = self.say(Request::FillVolume).await?;
        self.unfinished = Some("filling of a volume");
        Ok(StageSink { agent: self, id, kept: Vec::new() })
    }

    async fn begin_stage(&mut self, request: StageRequest) -> Result<Vec<KeptChunks>> {
        match self.ask("begin a stage", Request::Stage(request)).await? {
            Reply::StageReady { kept } => Ok(kept),
            _ => Err(self.odd()),
        }
    }
}

impl StageSink<'_> {
    /// How many chunks of `part`, from its first on, are there already. The next one is due.
    pub fn kept(&self, part: BackupPart) -> u32 {
        self.kept.iter().find(|kept| kept.part == part).map_or(0, |kept| kept.chunks)
    }

    /// Sends one chunk. Chunks of a tar come in order. Returns when the last of its bytes is on its way;
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
            self.agent.conduit.widen(frame.len(), 0);
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

    /// Waits until the stage fails, for who waits for something else meanwhile: what was sent stays in memory until the pod
    /// has written it, and a pod that is gone never does. May be dropped at any point.
    pub async fn failure(&mut self) -> TransportError {
        match self.agent.answer(self.id).await {
            // It answers before the end only to say what is wrong.
            Ok(_) => self.agent.odd(),
            Err(error) => self.over(error),
        }
    }

    /// Says that these were all chunks, and waits until everything is written, checked and synced.
    ///
    /// # Errors
    /// The agent's (a file that is missing, extra or damaged, missing WAL), or the link's.
    pub async fn finish(mut self) -> Result<StageReport> {
        match self.end().await? {
            Reply::StageDone(report) => Ok(report),
            _ => Err(self.agent.odd()),
        }
    }

    /// [`Self::finish`] where the volume of a claim is filled.
    ///
    /// # Errors
    /// The agent's (a file that is not as the tar's listing says), or the link's.
    pub async fn finish_volume(mut self) -> Result<VolumeFilled> {
        match self.end().await? {
            Reply::VolumeFilled(filled) => Ok(filled),
            _ => Err(self.agent.odd()),
        }
    }

    async fn end(&mut self) -> Result<Reply> {
        let sent = async {
            self.agent.say_in(self.id, Request::StageEnd).await?;
            self.agent.conduit.send_trailer().map_err(|source| self.agent.broken(source))?;
            self.agent.answer(self.id).await
        };
        match trace::call(CallKind::Agent, format!("check and sync what was sent, {}", self.agent.peer), sent).await {
            Ok(reply) => {
                self.agent.unfinished = None;
                Ok(reply)
            }
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
