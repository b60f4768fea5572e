//! A backup as it comes out of a pod: checked chunks, acknowledged by the caller.

use std::sync::{Arc, Mutex, PoisonError};

use super::agent::Agent;
use super::error::{Result, TransportError};
use crate::agent::protocol::{
    BackupDone, BackupPart, BackupRequest, BaseDone, ChunkHead, Envelope, PartTotals, Reply, Request, VolumeDone,
};
use crate::crypt::Hashed;
use crate::parallel::{self, Pool};
use crate::postgres::Lsn;
use crate::trace::{self, CallKind};
use crate::wire::{Conduit, FrameKind, LinkError};

/// One sealed chunk, its SHA-256 verified.
#[derive(Clone)]
pub struct ReceivedChunk {
    pub part: BackupPart,
    /// Its place in the part, from 0.
    pub index: u32,
    /// The whole age file.
    pub stored: Hashed,
    /// How many bytes of the part it holds.
    pub raw_bytes: u64,
    /// The SHA-256 of those.
    pub raw_sha256: [u8; 32],
    /// To be given to [`BackupHandle::durable`].
    pub ticket: Ticket,
}

/// Stands for a chunk and everything before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// What a backup hands out, in order. Chunks of base and WAL may alternate; the chunks of each part come in order.
pub enum BackupItem {
    /// A chunk. The agent keeps it until it is called durable.
    Chunk(ReceivedChunk),
    /// The base backup and its manifest are whole. Now is the time to say where WAL may end.
    BaseDone(BaseDone),
    /// Everything was received, and all totals agree. The last item.
    Done(Box<BackupDone>),
}

/// What comes off the link.
pub(super) enum StreamItem {
    Chunk(ReceivedChunk),
    BaseDone(BaseDone),
    End(StreamEnd),
}

/// What the agent says at the end.
pub(super) enum StreamEnd {
    Backup(Box<BackupDone>),
    Volume(VolumeDone),
}

/// A backup on its way out of the pod. Must be read to [`BackupItem::Done`], or the agent be attached to anew.
pub struct BackupStream<'a> {
    agent: &'a mut Agent,
    id: u64,
    handle: BackupHandle,
    current: Option<(ChunkHead, Vec<u8>)>,
    /// Where chunks are collected: memory that is used again.
    memory: Arc<Pool<Vec<u8>>>,
    seen: [PartTotals; BackupPart::COUNT],
    done: Option<StreamEnd>,
}

/// Acknowledges chunks and ends the WAL, from wherever the caller writes.
#[derive(Clone)]
pub struct BackupHandle {
    conduit: Conduit,
    peer: String,
    id: u64,
    marks: Arc<Mutex<Marks>>,
}

#[derive(Default)]
struct Marks {
    /// A chunk is being received.
    receiving: bool,
    /// The last chunk handed out.
    handed_out: u64,
    /// The last one called durable.
    durable: u64,
    /// The last message seen.
    seen: u64,
}

impl BackupHandle {
    /// Says that the chunk of this ticket, and every chunk before it, will survive a crash. The agent sends a few
    /// chunks ahead and then waits for this.
    pub fn durable(&self, ticket: Ticket) {
        self.mark(|marks| marks.durable = marks.durable.max(ticket.0));
    }

    /// Waits until the agent hands over no more WAL: a position that is noted from then on can still be the end of it.
    ///
    /// # Errors
    /// The link's.
    pub async fn hold_wal(&self) -> Result<()> {
        self.say(Request::HoldWal).await?;
        self.conduit.all_durable().await.map_err(|source| self.broken(source))
    }

    /// Says that WAL is wanted up to `until` (a position that has been written, its segment switched) and no further.
    ///
    /// # Errors
    /// The link's.
    pub async fn stop_wal(&self, until: Lsn) -> Result<()> {
        self.say(Request::StopWal { until }).await
    }

    async fn say(&self, body: Request) -> Result<()> {
        let json = serde_json::to_vec(&Envelope { id: self.id, body })
            .map_err(|error| TransportError::Damaged(format!("write a request: {error}")))?;
        self.conduit.send_control(json).await.map(drop).map_err(|source| self.broken(source))
    }

    fn broken(&self, source: LinkError) -> TransportError {
        TransportError::Link { peer: self.peer.clone(), source }
    }

    fn mark(&self, change: impl FnOnce(&mut Marks)) {
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut marks);
        self.acknowledge(&marks);
    }

    /// Acknowledgements are cumulative: messages between chunks may only be acknowledged when every chunk before them
    /// is durable.
    fn acknowledge(&self, marks: &Marks) {
        let settled = !marks.receiving && marks.durable >= marks.handed_out;
        self.conduit.durable(if settled { marks.seen } else { marks.durable });
    }
}

impl Agent {
    /// Begins a backup.
    ///
    /// # Errors
    /// The link's; what the agent has against it comes with the first item.
    pub async fn backup(&mut self, request: BackupRequest) -> Result<BackupStream<'_>> {
        self.receive(Request::Backup(Box::new(request)), "backup").await
    }

    /// Asks for something that comes in chunks.
    pub(super) async fn receive(&mut self, request: Request, what: &'static str) -> Result<BackupStream<'_>> {
        let id = self.say(request).await?;
        self.unfinished = Some(what);
        let handle = BackupHandle {
            conduit: self.conduit.clone(),
            peer: self.peer.clone(),
            id,
            marks: Arc::new(Mutex::new(Marks::default())),
        };
        Ok(BackupStream {
            agent: self,
            id,
            handle,
            current: None,
            memory: Arc::default(),
            seen: Default::default(),
            done: None,
        })
    }
}

impl BackupStream<'_> {
    /// A handle to acknowledge chunks with.
    pub fn handle(&self) -> BackupHandle {
        self.handle.clone()
    }

    pub(super) fn odd(&self) -> TransportError {
        self.agent.odd()
    }

    /// See [`BackupHandle::durable`].
    pub fn durable(&self, ticket: Ticket) {
        self.handle.durable(ticket);
    }

    /// The next item; `None` after the last. Waits as long as the agent works: the link's heartbeats tell a slow
    /// server from a dead one. May be dropped while it waits without losing anything.
    ///
    /// # Errors
    /// The agent's, the link's, or that what came is not what was announced. The backup is over then.
    pub async fn next(&mut self) -> Result<Option<BackupItem>> {
        match self.next_item().await? {
            None => Ok(None),
            Some(StreamItem::Chunk(chunk)) => Ok(Some(BackupItem::Chunk(chunk))),
            Some(StreamItem::BaseDone(base)) => Ok(Some(BackupItem::BaseDone(base))),
            Some(StreamItem::End(StreamEnd::Backup(done))) => Ok(Some(BackupItem::Done(done))),
            Some(StreamItem::End(StreamEnd::Volume(_))) => Err(self.agent.odd()),
        }
    }

    pub(super) async fn next_item(&mut self) -> Result<Option<StreamItem>> {
        if self.agent.unfinished.is_none() {
            return Ok(None);
        }
        let item = trace::call(CallKind::Stream, "receive", self.wait()).await;
        if matches!(item, Ok(StreamItem::End(_)) | Err(TransportError::Agent { .. })) {
            self.agent.unfinished = None;
        }
        item.map(Some)
    }

    async fn wait(&mut self) -> Result<StreamItem> {
        loop {
            if let Some((head, bytes)) = self.current.take_if(|(head, bytes)| bytes.len() as u64 == head.stored_bytes) {
                return self.hand_out(head, bytes).map(StreamItem::Chunk);
            }
            let message = self.agent.conduit.receive().await.map_err(|source| self.agent.broken(source))?;
            let mut item = None;
            match message.kind {
                FrameKind::Control => match self.agent.reply(self.id, &message)? {
                    None => {}
                    Some(Reply::Chunk(head)) => self.begin(head)?,
                    Some(Reply::BaseDone(base)) => item = Some(StreamItem::BaseDone(base)),
                    Some(Reply::BackupDone(done)) => self.done = Some(StreamEnd::Backup(done)),
                    Some(Reply::VolumeDone(done)) => self.done = Some(StreamEnd::Volume(done)),
                    Some(_) => return Err(self.agent.odd()),
                },
                FrameKind::Trailer => {
                    if let Some(done) = self.done.take() {
                        self.check(&done)?;
                        item = Some(StreamItem::End(done));
                    }
                }
                _ => self.append(&message.payload)?,
            }
            let receiving = self.current.is_some();
            self.handle.mark(|marks| (marks.seen, marks.receiving) = (message.sequence, receiving));
            if let Some(item) = item {
                return Ok(item);
            }
        }
    }

    fn begin(&mut self, head: ChunkHead) -> Result<()> {
        let due = self.seen[head.part as usize].chunks;
        if self.current.is_some() || head.index != due {
            let message = format!("{} chunk {} came where {due} was due", head.part, head.index);
            return Err(TransportError::Damaged(message));
        }
        let mut bytes = self.memory.take();
        bytes.clear();
        bytes.reserve_exact(head.stored_bytes as usize);
        self.current = Some((head, bytes));
        Ok(())
    }

    fn append(&mut self, payload: &[u8]) -> Result<()> {
        match &mut self.current {
            Some((head, bytes)) if bytes.len() + payload.len() <= head.stored_bytes as usize => {
                bytes.extend_from_slice(payload);
                Ok(())
            }
            _ => Err(TransportError::Damaged("bytes came that belong to no chunk".into())),
        }
    }

    /// Hands out the collected chunk, its SHA-256 verified.
    fn hand_out(&mut self, head: ChunkHead, bytes: Vec<u8>) -> Result<ReceivedChunk> {
        let stored = Hashed::of(parallel::lend(bytes, &self.memory));
        if *stored.sha256() != head.stored_sha256.0 {
            let message = format!("{} chunk {} was damaged on the way", head.part, head.index);
            return Err(TransportError::Damaged(message));
        }
        let mut ticket = 0;
        self.handle.mark(|marks| {
            ticket = marks.seen;
            (marks.receiving, marks.handed_out) = (false, ticket);
        });
        self.seen[head.part as usize].add(&head);
        Ok(ReceivedChunk {
            part: head.part,
            index: head.index,
            stored,
            raw_bytes: head.raw_bytes,
            raw_sha256: head.raw_sha256.0,
            ticket: Ticket(ticket),
        })
    }

    fn check(&self, done: &StreamEnd) -> Result<()> {
        let parts = match done {
            StreamEnd::Backup(done) => vec![
                (BackupPart::Base, &done.base_totals),
                (BackupPart::Wal, &done.wal_totals),
                (BackupPart::Manifest, &done.manifest_totals),
            ],
            StreamEnd::Volume(done) => vec![(BackupPart::Volume, &done.sent)],
        };
        for (part, sent) in parts {
            let seen = &self.seen[part as usize];
            if seen != sent {
                let message = format!(
                    "{part}: {} chunks of {} bytes were received, {} of {} were sent",
                    seen.chunks, seen.stored_bytes, sent.chunks, sent.stored_bytes
                );
                return Err(TransportError::Damaged(message));
            }
        }
        Ok(())
    }
}
