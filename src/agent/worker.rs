//! Takes requests off a link, one at a time, and answers them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use tokio::sync::{OwnedMutexGuard, watch};

use super::host::{self, PodFiles};
use super::protocol::{Envelope, Failure, FailureKind, Reply, Request};
use super::stage::Stage;
use super::{backup, facts, swap};
use crate::wire::{Conduit, Kind, LinkError, Message};

/// How long the last answer may be on its way.
const FAREWELL: Duration = Duration::from_secs(3);

/// Where the answers to one request go.
#[derive(Clone)]
pub struct Tell {
    conduit: Conduit,
    id: u64,
}

fn gone(error: &LinkError) -> Failure {
    Failure::new(FailureKind::System, format!("the link is at an end: {error}"))
}

impl Tell {
    fn json(&self, body: Reply) -> Result<Vec<u8>, Failure> {
        serde_json::to_vec(&Envelope { id: self.id, body })
            .map_err(|error| Failure::new(FailureKind::System, format!("write an answer: {error}")))
    }

    /// Sends an answer. Waits while the window is full.
    ///
    /// # Errors
    /// When the link is at an end.
    pub async fn reply(&self, body: Reply) -> Result<(), Failure> {
        self.conduit.send_control(self.json(body)?).await.map_err(|error| gone(&error)).map(|_| ())
    }

    /// Sends the bytes that belong to the last answer.
    ///
    /// # Errors
    /// When the link is at an end.
    pub async fn data(&self, bytes: Bytes) -> Result<(), Failure> {
        self.conduit.send_data(bytes).await.map_err(|error| gone(&error)).map(|_| ())
    }

    /// Sends the totals of everything sent so far.
    ///
    /// # Errors
    /// When the link is at an end.
    pub fn trailer(&self) -> Result<(), Failure> {
        self.conduit.send_trailer().map_err(|error| gone(&error)).map(|_| ())
    }

    /// Passes on a line of a program. Never waits; a line that can no longer be told is of no more use.
    pub fn log(&self, source: &str, line: &str) {
        let reply = Reply::Log { source: source.to_owned(), line: line.to_owned() };
        if let Ok(json) = self.json(reply) {
            let _ = self.conduit.post_control(json);
        }
    }

    /// Says that everything up to `sequence` is where it has to be.
    pub fn durable(&self, sequence: u64) {
        self.conduit.durable(sequence);
    }
}

/// Held while anything works on the pod's folders, by threads too, so that the work for an earlier link has ended
/// before that for the next one begins.
pub type Busy = Arc<OwnedMutexGuard<()>>;

/// The work for one link.
pub struct Worker {
    conduit: Conduit,
    files: PodFiles,
    run: String,
    busy: Busy,
}

/// Why a worker ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
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
    /// Works for whoever speaks over `conduit`.
    pub fn new(conduit: Conduit, files: PodFiles, run: String, busy: Busy) -> Self {
        Self { conduit, files, run, busy }
    }

    /// Answers requests until the client is done or the link is at an end.
    pub async fn work(self) -> Ended {
        loop {
            let Ok(message) = self.conduit.receive().await else { return Ended::LinkClosed };
            self.conduit.durable(message.sequence);
            // Data and trailers that belong to a request that has failed already are of no more use.
            if message.kind != Kind::Control {
                continue;
            }
            let (id, request) = match read::<Request>(&message) {
                Ok(envelope) => (envelope.id, envelope.body),
                Err(failure) => {
                    let tell = Tell { conduit: self.conduit.clone(), id: 0 };
                    let _ = tell.reply(Reply::Failed(failure)).await;
                    continue;
                }
            };
            let tell = Tell { conduit: self.conduit.clone(), id };
            let finish = matches!(request, Request::Finish);
            if let Err(failure) = self.answer(&tell, request).await
                && tell.reply(Reply::Failed(failure)).await.is_err()
            {
                return Ended::LinkClosed;
            }
            if finish {
                return Ended::Finished;
            }
        }
    }

    async fn answer(&self, tell: &Tell, request: Request) -> Result<(), Failure> {
        let place = swap::Place::new(&self.files, &self.run);
        match request {
            Request::Facts => tell.reply(Reply::Facts(Box::new(facts::look(&self.files).await?))).await,
            Request::Backup(request) => self.backup(tell, request).await,
            Request::Stage(request) => {
                let stage = Stage::begin(&self.files, &self.run, request, self.busy.clone()).await?;
                tell.reply(Reply::StageReady).await?;
                let report = stage.fill(tell, &self.conduit).await?;
                tell.reply(Reply::StageDone(report)).await
            }
            // These belong to a backup or stage that has failed; its failure has been told.
            Request::StopWal { .. } | Request::StageChunk(_) | Request::StageEnd => Ok(()),
            Request::Swap(request) => {
                let resumed = self.on_volume(move || place.swap(&request)).await?;
                let place = swap::Place::new(&self.files, &self.run);
                let control = facts::control(&place.pgdata).await?;
                tell.reply(Reply::Swapped(place.report(resumed, control))).await
            }
            Request::PutBack => {
                let moved = self.on_volume(move || place.put_back()).await?;
                tell.reply(Reply::Undone { moved }).await
            }
            Request::Clean => {
                let removed = self.on_volume(move || place.clean()).await?;
                tell.reply(Reply::Cleaned { removed }).await
            }
            Request::Finish => {
                tell.reply(Reply::Finished).await?;
                tell.trailer()?;
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
        let busy = self.busy.clone();
        host::blocking(move || {
            let result = work();
            drop(busy);
            result
        })
        .await
    }

    /// Runs a backup while listening for `StopWal`.
    async fn backup(&self, tell: &Tell, request: backup::Request) -> Result<(), Failure> {
        let (say, asked) = watch::channel(None);
        let mut work = std::pin::pin!(backup::run(tell, request, &self.files.spool, asked));
        loop {
            tokio::select! {
                done = &mut work => return done,
                message = self.conduit.receive() => {
                    let message = message.map_err(|error| gone(&error))?;
                    self.conduit.durable(message.sequence);
                    if message.kind != Kind::Control {
                        continue;
                    }
                    match read::<Request>(&message)? {
                        Envelope { id, body: Request::StopWal { until } } if id == tell.id => {
                            say.send_replace(Some(until));
                        }
                        _ => {
                            let message = "another request in the middle of a backup";
                            return Err(Failure::new(FailureKind::Request, message));
                        }
                    }
                }
            }
        }
    }
}
