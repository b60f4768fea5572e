//! Sending a bundle's database into the recovery pod: open chunk after chunk, a little ahead of the stream.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::work::RestoreWork;
use crate::agent::protocol::{BackupPart, StageReport, StageRequest};
use crate::bundle::{StoredChunk, Stream};
use crate::cluster::transport::{Agent, StageChunk};
use crate::error::{CommandError, Exit, Result};
use crate::journal::fault;
use crate::parallel;
use crate::trace::{self, CallKind};

/// How many chunks are opened side by side, ahead of the one that is being sent. Each takes up to its raw size in memory.
const AHEAD: usize = 2;

/// Sends base and log, and returns what the agent has checked on the volume. Begins afresh each time it is called.
pub(super) async fn send(work: &RestoreWork, agent: &mut Agent) -> Result<StageReport> {
    let bundle = Arc::clone(work.bundle()?);
    let database = &bundle.reader.manifest().database;
    let system_identifier = database.system_identifier.parse().map_err(|e| {
        CommandError::new(Exit::Damaged, format!("system identifier `{}`", database.system_identifier)).because(e)
    })?;
    let request =
        StageRequest { system_identifier, wal_end: database.wal_end(), wal_segment_bytes: database.wal_segment_bytes };
    let chunks: Vec<StoredChunk> =
        [Stream::Base, Stream::Wal].into_iter().flat_map(|stream| bundle.reader.chunks(stream)).collect();
    let total: u64 = chunks.iter().map(|chunk| chunk.raw_bytes).sum();
    let mut sink = agent.stage(request).await?;
    let mut opened = parallel::spawn_in_order(chunks.into_iter(), AHEAD, move |chunk| {
        let what = format!("open {} chunk {}", chunk.stream.folder(), chunk.index);
        let frame =
            trace::call_blocking(CallKind::Chunk, what, || bundle.reader.open_chunk(&chunk, &bundle.identities))?;
        Ok::<_, CommandError>((chunk, frame))
    });
    let mut sent = 0;
    while let Some(next) =
        opened.next().await.map_err(|e| CommandError::new(Exit::Failure, "open a chunk").because(e))?
    {
        let (chunk, frame) = next?;
        let raw_bytes = chunk.raw_bytes;
        sink.send(piece(&chunk, frame)?).await?;
        fault::point("staged-chunk")?;
        sent += raw_bytes;
        work.ctx.events.bytes("database", sent, Some(total));
    }
    Ok(sink.finish().await?)
}

fn piece(chunk: &StoredChunk, mut frame: Zeroizing<Vec<u8>>) -> Result<StageChunk> {
    let mut raw_sha256 = [0; 32];
    hex::decode_to_slice(&chunk.raw_sha256, &mut raw_sha256)
        .map_err(|e| CommandError::new(Exit::Damaged, "a chunk's digest in manifest.json").because(e))?;
    Ok(StageChunk {
        part: match chunk.stream {
            Stream::Base => BackupPart::Base,
            Stream::Wal => BackupPart::Wal,
        },
        index: chunk.index,
        frame: std::mem::take(&mut *frame).into(),
        raw_bytes: chunk.raw_bytes,
        raw_sha256,
    })
}
