//! Takes requests off a link, one at a time, and answers them.

use std::time::Duration;

use bytes::BytesMut;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use super::backup::WalBound;
use super::callers::Callers;
use super::door::Door;
use super::folders::VolumeGuard;
use super::host::{self, PodFiles};
use super::protocol::{
    BackupRequest, CHUNK_BOUNDS, Digest, ECHO_LIMIT, Envelope, Failure, FailureKind, HELD_BACK_LIMIT, Reply, Request,
};
use super::replies::ReplySender;
use super::stage::Stage;
use super::swap::RunFolders;
use super::{backup, facts, volume};
use crate::wire::{Conduit, FrameKind, Message};

/// How long the last answer may be on its way.
const FAREWELL: Duration = Duration::from_secs(3);

/// The work for one link.
pub struct Worker {
    conduit: Conduit,
    files: PodFiles,
    run: String,
    guard: VolumeGuard,
    callers: Callers,
    /// Where streams come straight to the pod; it closes with the work.
    door: Option<Door>,
    /// Begun, and not filled yet.
    stage: Option<Stage>,
}

/// Why a worker ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerEnd {
    /// The client said that it was done.
    Finished,
    /// The link is at an end.
    LinkClosed,
}

fn read<T: DeserializeOwned>(message: &Message) -> Result<Envelope<T>, Failure> {
    serde_json::from_slice(&message.payload)
        .map_err(|error| Failure::new(FailureKind::Request, format!("a request that makes no sense: {error}")))
}

impl Worker {
    /// Works for whoever speaks over `conduit`. `callers` takes the streams of a door that this opens.
    pub fn new(conduit: Conduit, files: PodFiles, run: String, guard: VolumeGuard, callers: Callers) -> Self {
        Self { conduit, files, run, guard, callers, door: None, stage: None }
    }

    /// Answers requests until the client is done or the link is at an end.
    pub async fn work(mut self) -> WorkerEnd {
        loop {
            let Ok(message) = self.conduit.receive().await else { return WorkerEnd::LinkClosed };
            self.conduit.durable(message.sequence);
            // Data and trailers that belong to a request that has failed already are of no more use.
            if message.kind != FrameKind::Control {
                continue;
            }
            let (id, request) = match read::<Request>(&message) {
                Ok(envelope) => (envelope.id, Ok(envelope.body)),
                Err(failure) => (0, Err(failure)),
            };
            let replies = ReplySender::new(self.conduit.clone(), id);
            let finish = matches!(request, Ok(Request::Finish));
            let answered = match request {
                Ok(request) => self.answer(&replies, request).await,
                Err(failure) => Err(failure),
            };
            if let Err(failure) = answered
                && replies.reply(Reply::Failed(failure)).await.is_err()
            {
                return WorkerEnd::LinkClosed;
            }
            if finish {
                return WorkerEnd::Finished;
            }
        }
    }

    async fn answer(&mut self, replies: &ReplySender, request: Request) -> Result<(), Failure> {
        let folders = RunFolders::new(&self.files, &self.run);
        match request {
            Request::Facts => replies.reply(Reply::Facts(Box::new(facts::inspect(&self.files).await?))).await,
            Request::Listen { address, key } => {
                // An earlier one closes first.
                self.door = None;
                let door = self.door.insert(Door::open(address, key.0, self.callers.clone()).await?);
                replies.reply(Reply::Listening { port: door.port, key: Digest(door.key) }).await
            }
            Request::Echo { bytes } => self.echo(replies, bytes).await,
            Request::Backup(request) => self.backup(replies, *request).await,
            Request::Stage(request) => {
                self.stage = None;
                let stage = Stage::begin(&self.files, &self.run, request, self.guard.clone()).await?;
                let kept = self.stage.insert(stage).kept();
                replies.reply(Reply::StageReady { kept }).await
            }
            Request::StageFill => {
                let none = || Failure::new(FailureKind::Request, "no stage was begun");
                let stage = self.stage.take().ok_or_else(none)?;
                let report = stage.fill(replies, &self.conduit).await?;
                replies.reply(Reply::StageDone(report)).await
            }
            // These belong to a backup or stage that has failed; its failure has been told.
            Request::HoldWal | Request::StopWal { .. } | Request::StageChunk(_) | Request::StageEnd => Ok(()),
            Request::ReadVolume(request) => {
                let held_back = request.held_back_bytes.min(HELD_BACK_LIMIT) as usize;
                self.conduit.widen(request.chunk_bytes.min(CHUNK_BOUNDS.1) as usize, held_back);
                volume::read(replies, request, &self.files, self.guard.clone()).await
            }
            Request::FillVolume => {
                let filled = volume::fill(replies, &self.conduit, &self.files, self.guard.clone()).await?;
                replies.reply(Reply::VolumeFilled(filled)).await
            }
            Request::Swap(request) => {
                let (resumed, folders) =
                    self.on_volume(move || folders.swap(&request).map(|resumed| (resumed, folders))).await?;
                let control = facts::control(&folders.pgdata).await?;
                replies.reply(Reply::Swapped(folders.report(resumed, control))).await
            }
            Request::PutBack => {
                let moved = self.on_volume(move || folders.put_back()).await?;
                replies.reply(Reply::Undone { moved }).await
            }
            Request::Finish => {
                replies.reply(Reply::Finished).await?;
                replies.trailer()?;
                // A client that has its answer goes: its last acknowledgement may be lost with its session.
                let _ = tokio::time::timeout(FAREWELL, self.conduit.all_durable()).await;
                Ok(())
            }
        }
    }

    async fn on_volume<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let guard = self.guard.clone();
        host::blocking(move || {
            let _guard = guard;
            work()
        })
        .await
    }

    /// Sends back what comes.
    async fn echo(&self, replies: &ReplySender, bytes: u64) -> Result<(), Failure> {
        let refused = |message: String| Failure::new(FailureKind::Request, message);
        if bytes > ECHO_LIMIT {
            return Err(refused(format!("an echo of {bytes} bytes is more than {ECHO_LIMIT}")));
        }
        let mut come = BytesMut::new();
        while (come.len() as u64) < bytes {
            let message = self.conduit.receive().await?;
            self.conduit.durable(message.sequence);
            if message.kind != FrameKind::Data {
                return Err(refused("another request in the middle of an echo".into()));
            }
            come.extend_from_slice(&message.payload);
        }
        replies.reply(Reply::Echoed).await?;
        replies.data(come.freeze()).await
    }

    /// Runs a backup while listening for what ends its WAL.
    async fn backup(&self, replies: &ReplySender, request: BackupRequest) -> Result<(), Failure> {
        let held_back = request.held_back_bytes.min(HELD_BACK_LIMIT) as usize;
        self.conduit.widen(request.chunk_bytes.min(CHUNK_BOUNDS.1) as usize, held_back);
        let (bound, bounded) = watch::channel(WalBound::Open);
        let mut work = std::pin::pin!(backup::run(replies, request, &self.files, bounded));
        loop {
            tokio::select! {
                done = &mut work => return done,
                message = self.conduit.receive() => {
                    let message = message?;
                    if message.kind == FrameKind::Control {
                        bound.send_replace(match read::<Request>(&message)? {
                            Envelope { id, body: Request::HoldWal } if id == replies.id() => WalBound::Held,
                            Envelope { id, body: Request::StopWal { until } } if id == replies.id() => WalBound::At(until),
                            _ => {
                                let message = "another request in the middle of a backup";
                                return Err(Failure::new(FailureKind::Request, message));
                            }
                        });
                    }
                    // Only now: the client takes the acknowledgement for the promise that nothing past it is sent.
                    self.conduit.durable(message.sequence);
                }
            }
        }
    }
}
