//! Moving a base backup from the helper pod into the bundle, beside whatever else the run does meanwhile.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinHandle};
use tracing::Instrument;

use crate::agent::protocol::{BackupDone, BackupPart, BackupRequest, BaseDone, HELD_BACK_LIMIT};
use crate::bundle::{Stream, Writer};
use crate::cluster::transport::{Agent, BackupHandle, BackupItem, BackupStream, ReceivedChunk, Ticket, TransportError};
use crate::error::{CommandError, Exit, Result};
use crate::event::Events;
use crate::journal::fault;
use crate::postgres::Lsn;
use crate::text;
use crate::trace::{self, CallKind};

/// How long the agent may take to answer a word about the end of the log.
const HOLD_LIMIT: Duration = Duration::from_secs(60);

/// A backup on its way. The base backup and the log that is written meanwhile come together; the log goes on until
/// [`Pump::stop_wal`] says where it ends.
pub struct Pump {
    base: Option<oneshot::Receiver<BaseDone>>,
    handle: BackupHandle,
    task: JoinHandle<Result<Pumped>>,
}

/// What is left when all is written.
pub struct Pumped {
    /// The agent, for what comes next.
    pub agent: Agent,
    /// The bundle so far.
    pub writer: Writer,
    /// What the agent says it sent.
    pub done: BackupDone,
}

impl Pump {
    /// Begins a backup. `expected` is about how many bytes the base backup has.
    ///
    /// # Errors
    /// The agent cannot be asked, or the store keeps back more than the agent can.
    pub async fn start(
        agent: Agent,
        request: BackupRequest,
        writer: Writer,
        events: Events,
        expected: u64,
    ) -> Result<Self> {
        let request = BackupRequest { held_back_bytes: held_back(writer.backlog())?, ..request };
        let (tell_base, base) = oneshot::channel();
        let (tell_handle, handle) = oneshot::channel();
        let mut task =
            tokio::spawn(run(agent, request, writer, events, expected, tell_base, tell_handle).in_current_span());
        match handle.await {
            Ok(handle) => Ok(Self { base: Some(base), handle, task }),
            // It ended before it could give the handle: its own error says why.
            Err(_) => Err(why(&mut task).await),
        }
    }

    /// Waits until the base backup is whole; the log goes on.
    ///
    /// # Errors
    /// What went wrong on either side.
    pub async fn base(&mut self) -> Result<BaseDone> {
        let Some(base) = self.base.take() else {
            return Err(CommandError::new(Exit::Failure, "the base backup was waited for twice"));
        };
        match base.await {
            Ok(done) => Ok(done),
            Err(_) => Err(why(&mut self.task).await),
        }
    }

    /// Waits until no more log is handed over, so that the position that is noted next can be its end.
    ///
    /// # Errors
    /// What went wrong on either side.
    pub async fn hold_wal(&mut self) -> Result<()> {
        let held = tokio::select! {
            held = self.handle.hold_wal() => held,
            () = tokio::time::sleep(HOLD_LIMIT) => return Err(silent()),
            ended = &mut self.task => return Err(early(ended)),
        };
        self.or_why(held).await
    }

    /// Lets the log end at `until`, and nothing past it come.
    ///
    /// # Errors
    /// What went wrong on either side.
    pub async fn stop_wal(&mut self, until: Lsn) -> Result<()> {
        let stopped = tokio::select! {
            stopped = self.handle.stop_wal(until) => stopped,
            () = tokio::time::sleep(HOLD_LIMIT) => return Err(silent()),
            ended = &mut self.task => return Err(early(ended)),
        };
        self.or_why(stopped).await
    }

    async fn or_why(&mut self, said: Result<(), TransportError>) -> Result<()> {
        match said {
            Err(_) if self.task.is_finished() => Err(why(&mut self.task).await),
            said => Ok(said?),
        }
    }

    /// Waits until all is written, once the log has an end.
    ///
    /// # Errors
    /// What went wrong on either side.
    pub async fn finish(&mut self) -> Result<Pumped> {
        joined((&mut self.task).await)
    }

    /// Gives the backup up, and waits until nothing writes any more.
    pub async fn abandon(self) {
        // One that has ended may have been asked why already, and must not be asked again.
        if !self.task.is_finished() {
            self.task.abort();
            // It was told to end: how it ended does not matter.
            drop(self.task.await);
        }
    }
}

/// The application may be off meanwhile: it comes back rather than wait for a helper pod that stands still.
fn silent() -> CommandError {
    let what = format!("the helper pod has not answered for {} s", HOLD_LIMIT.as_secs());
    CommandError::new(Exit::Stream, what).hint("`kubectl get pods,nodes -o wide` shows whether its node stands still.")
}

type Ended = std::result::Result<Result<Pumped>, JoinError>;

fn joined(ended: Ended) -> Result<Pumped> {
    ended.map_err(|e| CommandError::new(Exit::Failure, "move the backup").because(e))?
}

async fn why(task: &mut JoinHandle<Result<Pumped>>) -> CommandError {
    early(task.await)
}

/// Why the backup has ended before it was to.
fn early(ended: Ended) -> CommandError {
    match joined(ended) {
        Err(error) => error,
        Ok(_) => CommandError::new(Exit::Stream, "the backup ended before it was told to"),
    }
}

async fn run(
    mut agent: Agent,
    request: BackupRequest,
    mut writer: Writer,
    events: Events,
    expected: u64,
    tell_base: oneshot::Sender<BaseDone>,
    tell_handle: oneshot::Sender<BackupHandle>,
) -> Result<Pumped> {
    let mut stream = agent.backup(request).await?;
    // Whoever asked may be gone: then the backup is about to be given up.
    drop(tell_handle.send(stream.handle()));
    let mut tell_base = Some(tell_base);
    let (mut moved, mut unsettled) = (0, Unsettled::default());
    // It comes with the base backup's end, and stands behind the last chunk of the log. Until then it is only here, and
    // acknowledged with the chunks after it: who loses it has lost this process, and the run is put back.
    let mut manifest: Option<ReceivedChunk> = None;
    while let Some(item) = stream.next().await? {
        match item {
            BackupItem::Chunk(chunk) if chunk.part == BackupPart::Manifest => manifest = Some(chunk),
            BackupItem::Chunk(chunk) => {
                store(&mut writer, &chunk, &mut unsettled, &stream)?;
                fault::point("chunk")?;
                if chunk.part == BackupPart::Base {
                    moved += chunk.raw_bytes;
                    events.bytes("database", moved, Some(expected.max(moved)));
                }
            }
            BackupItem::BaseDone(base) => {
                if let Some(tell) = tell_base.take() {
                    drop(tell.send(base));
                }
            }
            BackupItem::Done(done) => {
                if let Some(manifest) = manifest.take() {
                    store(&mut writer, &manifest, &mut unsettled, &stream)?;
                }
                drop(stream);
                return Ok(Pumped { agent, writer, done: *done });
            }
        }
    }
    Err(CommandError::new(Exit::Stream, "the backup ended without its totals"))
}

/// How many bytes are written before they are made durable together: each time costs the disk about as much as a
/// megabyte does, and a window holds more than this and a chunk.
pub(super) const SYNC_EVERY: u64 = 8 << 20;

/// Writes a chunk, and lets the agent forget those that have become durable. A store may be some chunks behind; what it
/// has not made durable when the stream ends, the agent keeps until the bundle is whole.
fn store(
    writer: &mut Writer,
    chunk: &ReceivedChunk,
    unsettled: &mut Unsettled<Ticket>,
    stream: &BackupStream<'_>,
) -> Result<()> {
    let what = format!("store {} chunk {}", chunk.part, chunk.index);
    let durable = tokio::task::block_in_place(|| {
        trace::call_blocking(CallKind::Chunk, what, || {
            add(writer, chunk)?;
            let due = writer.written() - unsettled.durable >= SYNC_EVERY;
            Ok::<_, CommandError>(if due { Some(writer.durable()?) } else { None })
        })
    })?;
    unsettled.add(writer.written(), chunk.ticket);
    if let Some(ticket) = durable.and_then(|durable| unsettled.settle(durable)) {
        stream.durable(ticket);
    }
    Ok(())
}

fn add(writer: &mut Writer, chunk: &ReceivedChunk) -> Result<()> {
    let stream = match chunk.part {
        BackupPart::Base => Stream::Base,
        BackupPart::Wal => Stream::Wal,
        BackupPart::Volume => {
            return Err(CommandError::new(Exit::Stream, "a volume came in the place of the database"));
        }
        BackupPart::Manifest => return Ok(writer.add_sealed("db/backup_manifest.age", &chunk.stored)?),
    };
    Ok(writer.add_chunk(stream, chunk.index, &chunk.stored, chunk.raw_bytes, &chunk.raw_sha256)?)
}

/// How much the agent must be able to send beyond what is durable: nothing is made durable before there is enough of it
/// ([`SYNC_EVERY`]), nor by the store before it has more than its backlog. With too small a window both would wait for
/// ever.
pub(super) fn held_back(backlog: u64) -> Result<u64> {
    let wanted = if backlog == 0 { 0 } else { backlog + SYNC_EVERY };
    if wanted <= HELD_BACK_LIMIT {
        return Ok(wanted);
    }
    let (backlog, most) = (text::bytes(backlog), text::bytes(HELD_BACK_LIMIT - SYNC_EVERY));
    let what = format!("the store holds back {backlog} before any is durable, and the helper pod can keep {most}");
    Err(CommandError::new(Exit::Store, what).hint("A bundle of this size goes into a folder: `store.path` in dr.toml."))
}

/// What was written and may not be durable, in order: where it ends, and what stands for it.
pub(super) struct Unsettled<T> {
    written: VecDeque<(u64, T)>,
    /// How many bytes are.
    pub(super) durable: u64,
}

impl<T> Default for Unsettled<T> {
    fn default() -> Self {
        Self { written: VecDeque::new(), durable: 0 }
    }
}

impl<T: Copy> Unsettled<T> {
    pub(super) fn add(&mut self, end: u64, ticket: T) {
        self.written.push_back((end, ticket));
    }

    /// Forgets what ends within the first `durable` bytes. Returns what stands for the last of it.
    pub(super) fn settle(&mut self, durable: u64) -> Option<T> {
        self.durable = durable;
        let settled = self.written.partition_point(|(end, _)| *end <= durable);
        self.written.drain(..settled).last().map(|(_, ticket)| ticket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_durable_is_acknowledged() {
        let mut unsettled = Unsettled::default();
        for (end, ticket) in [(100, 'a'), (200, 'b'), (300, 'c')] {
            unsettled.add(end, ticket);
        }
        assert_eq!(unsettled.settle(99), None, "a chunk of which the end is missing");
        assert_eq!(unsettled.settle(250), Some('b'));
        assert_eq!(unsettled.settle(250), None, "twice");
        assert_eq!(unsettled.settle(300), Some('c'));
    }

    #[test]
    fn a_store_that_holds_back_more_than_the_pod_can_keep_is_refused() {
        assert_eq!(held_back(0).unwrap(), 0);
        assert_eq!(held_back(48 << 20).unwrap(), 56 << 20);
        let error = held_back(250 << 20).unwrap_err();
        assert_eq!(error.exit(), Exit::Store);
    }
}
