//! Where the answers to one request go.

use bytes::Bytes;

use super::protocol::{Envelope, Failure, FailureKind, Reply};
use crate::wire::{Conduit, LinkError};

/// Sends the answers to one request, from wherever its work is done.
#[derive(Clone)]
pub struct ReplySender {
    conduit: Conduit,
    id: u64,
}

impl From<LinkError> for Failure {
    fn from(error: LinkError) -> Self {
        Self::new(FailureKind::System, format!("the link is at an end: {error}"))
    }
}

impl ReplySender {
    /// For request number `id`; 0 for what cannot be read.
    pub fn new(conduit: Conduit, id: u64) -> Self {
        Self { conduit, id }
    }

    /// The request's number.
    pub fn id(&self) -> u64 {
        self.id
    }

    fn json(&self, body: Reply) -> Result<Vec<u8>, Failure> {
        serde_json::to_vec(&Envelope { id: self.id, body })
            .map_err(|error| Failure::new(FailureKind::System, format!("write an answer: {error}")))
    }

    /// Sends an answer. Waits while the window is full.
    ///
    /// # Errors
    /// When the link is at an end.
    pub async fn reply(&self, body: Reply) -> Result<(), Failure> {
        self.conduit.send_control(self.json(body)?).await?;
        Ok(())
    }

    /// Sends the bytes that belong to the last answer.
    ///
    /// # Errors
    /// When the link is at an end.
    pub async fn data(&self, bytes: Bytes) -> Result<(), Failure> {
        self.conduit.send_data(bytes).await?;
        Ok(())
    }

    /// Sends the totals of everything sent so far.
    ///
    /// # Errors
    /// When the link is at an end.
    pub fn trailer(&self) -> Result<(), Failure> {
        self.conduit.send_trailer()?;
        Ok(())
    }

    /// Passes on a line of a program. Never waits; a line that can no longer be sent is of no more use.
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
