//! Moving a base backup from the helper pod into the bundle, beside whatever else the run does meanwhile.

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::agent::protocol::{BackupDone, BackupPart, BackupRequest, BaseDone};
use crate::bundle::{Stream, Writer};
use crate::cluster::transport::{Agent, BackupHandle, BackupItem, ReceivedChunk};
use crate::error::{CommandError, Exit, Result};
use crate::event::Events;
use crate::journal::fault;
use crate::postgres::Lsn;

/// A backup on its way. The base backup and the log that is written meanwhile come together; the log goes on until
/// [`Pump::finish`] says where it may end.
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
    /// The agent cannot be asked.
    pub async fn start(
        agent: Agent,
        request: BackupRequest,
        writer: Writer,
        events: Events,
        expected: u64,
    ) -> Result<Self> {
        let (tell_base, base) = oneshot::channel();
        let (tell_handle, handle) = oneshot::channel();
        let mut task = tokio::spawn(run(agent, request, writer, events, expected, tell_base, tell_handle));
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

    /// Lets the log end at `until`, and waits until all is written.
    ///
    /// # Errors
    /// What went wrong on either side.
    pub async fn finish(mut self, until: Lsn) -> Result<Pumped> {
        if let Err(error) = self.handle.stop_wal(Some(until)).await {
            if self.task.is_finished() {
                return Err(why(&mut self.task).await);
            }
            return Err(error.into());
        }
        joined(&mut self.task).await
    }

    /// Gives the backup up, and waits until nothing writes any more.
    pub async fn abandon(self) {
        self.task.abort();
        // It was told to end: how it ended does not matter.
        drop(self.task.await);
    }
}

async fn joined(task: &mut JoinHandle<Result<Pumped>>) -> Result<Pumped> {
    task.await.map_err(|e| CommandError::new(Exit::Failure, "move the backup").because(e))?
}

async fn why(task: &mut JoinHandle<Result<Pumped>>) -> CommandError {
    match joined(task).await {
        Err(error) => error,
        Ok(_) => CommandError::new(Exit::Stream, "the backup ended without its base"),
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
    let mut moved = 0;
    // It comes with the base backup's end, and stands behind the last chunk of the log.
    let mut manifest: Option<ReceivedChunk> = None;
    while let Some(item) = stream.next().await? {
        match item {
            BackupItem::Chunk(chunk) if chunk.part == BackupPart::Manifest => manifest = Some(chunk),
            BackupItem::Chunk(chunk) => {
                tokio::task::block_in_place(|| store(&mut writer, &chunk))?;
                stream.durable(chunk.ticket);
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
                    tokio::task::block_in_place(|| store(&mut writer, &manifest))?;
                    stream.durable(manifest.ticket);
                }
                drop(stream);
                return Ok(Pumped { agent, writer, done: *done });
            }
        }
    }
    Err(CommandError::new(Exit::Stream, "the backup ended without its totals"))
}

/// Writes a chunk and makes it durable: only then may the agent forget it.
fn store(writer: &mut Writer, chunk: &ReceivedChunk) -> Result<()> {
    let stream = match chunk.part {
        BackupPart::Base => Stream::Base,
        BackupPart::Wal => Stream::Wal,
        BackupPart::Manifest => return Ok(writer.add_sealed("db/backup_manifest.age", &chunk.stored)?),
    };
    writer.add_chunk(stream, chunk.index, &chunk.stored, &chunk.stored_sha256, chunk.raw_bytes, &chunk.raw_sha256)?;
    writer.sync()?;
    Ok(())
}
