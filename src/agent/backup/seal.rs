//! Cuts a stream into chunks; compresses and seals them side by side.

use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::agent::protocol::{ChunkHead, Digest, Failure, FailureKind, Stream, StreamTotals};
use crate::crypt::Recipients;

/// A chunk that is ready to be sent.
pub struct SealedChunk {
    /// What is said of it.
    pub head: ChunkHead,
    /// The whole age file.
    pub stored: Bytes,
}

/// What goes to the sender, in order.
pub enum Outgoing {
    /// A chunk that is being sealed.
    Chunk(JoinHandle<Result<SealedChunk, Failure>>),
    /// Everything of the base backup is in the queue before this.
    BaseDone(crate::agent::protocol::BaseDone),
}

/// How chunks are made.
pub struct Sealer {
    recipients: Recipients,
    zstd_level: i32,
}

impl Sealer {
    /// Seals to `recipients` after compressing with `zstd_level`.
    pub fn new(recipients: Recipients, zstd_level: i32) -> Self {
        Self { recipients, zstd_level }
    }

    /// Makes one chunk. Takes CPU time for as long as it runs.
    ///
    /// # Errors
    /// When a library refuses.
    pub fn seal(&self, stream: Stream, index: u32, raw: &[u8]) -> Result<SealedChunk, Failure> {
        let raw_sha256 = Digest(Sha256::digest(raw).into());
        let stored = match stream {
            Stream::Manifest => self.recipients.seal(raw),
            Stream::Base | Stream::Wal => self.recipients.seal(&self.compress(raw)?),
        }
        .map_err(|error| Failure::new(FailureKind::System, format!("{stream} chunk {index}: {error}")))?;
        let head = ChunkHead {
            stream,
            index,
            stored_bytes: stored.len() as u64,
            stored_sha256: Digest(Sha256::digest(&stored).into()),
            raw_bytes: raw.len() as u64,
            raw_sha256,
        };
        Ok(SealedChunk { head, stored: Bytes::from(stored) })
    }

    /// One zstd frame that says how long its contents are and ends with their checksum.
    fn compress(&self, raw: &[u8]) -> Result<Vec<u8>, Failure> {
        let compress = || {
            let mut compressor = zstd::bulk::Compressor::new(self.zstd_level)?;
            compressor.set_parameter(zstd::zstd_safe::CParameter::ContentSizeFlag(true))?;
            compressor.set_parameter(zstd::zstd_safe::CParameter::ChecksumFlag(true))?;
            compressor.compress(raw)
        };
        compress().map_err(Failure::io("compress"))
    }
}

/// One stream on its way into chunks. To be used on a thread that may block.
pub struct Cutter {
    stream: Stream,
    chunk_bytes: usize,
    sealer: Arc<Sealer>,
    out: mpsc::Sender<Outgoing>,
    runtime: Handle,
    buffer: Vec<u8>,
    index: u32,
    raw_bytes: u64,
    hash: Sha256,
}

impl Cutter {
    /// Sends the chunks of `stream` to `out`, whose capacity bounds how many are in the making.
    pub fn new(stream: Stream, chunk_bytes: usize, sealer: Arc<Sealer>, out: mpsc::Sender<Outgoing>) -> Self {
        Self {
            stream,
            chunk_bytes,
            sealer,
            out,
            runtime: Handle::current(),
            buffer: Vec::new(),
            index: 0,
            raw_bytes: 0,
            hash: Sha256::new(),
        }
    }

    /// Appends to the stream what `read` puts at the end of the buffer it is given, at most as many bytes as it is
    /// told. Returns the new bytes' number; 0 is the end.
    ///
    /// # Errors
    /// Those of `read`, and when nobody sends any more.
    pub fn fill(&mut self, read: impl FnOnce(&mut Vec<u8>, usize) -> Result<(), Failure>) -> Result<usize, Failure> {
        if self.buffer.capacity() == 0 {
            self.buffer.reserve_exact(self.chunk_bytes);
        }
        let before = self.buffer.len();
        read(&mut self.buffer, self.chunk_bytes - before)?;
        let fresh = &self.buffer[before..];
        let count = fresh.len();
        self.hash.update(fresh);
        self.raw_bytes += count as u64;
        if self.buffer.len() == self.chunk_bytes {
            self.cut()?;
        }
        Ok(count)
    }

    /// Appends `bytes` to the stream.
    ///
    /// # Errors
    /// When nobody sends any more.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), Failure> {
        while !bytes.is_empty() {
            let taken = self.fill(|buffer, room| {
                buffer.extend_from_slice(&bytes[..room.min(bytes.len())]);
                Ok(())
            })?;
            bytes = &bytes[taken..];
        }
        Ok(())
    }

    /// Sends what is left as the last chunk, and the totals.
    ///
    /// # Errors
    /// When nobody sends any more.
    pub fn finish(mut self) -> Result<StreamTotals, Failure> {
        if !self.buffer.is_empty() {
            self.cut()?;
        }
        Ok(StreamTotals {
            chunks: self.index,
            raw_bytes: self.raw_bytes,
            raw_sha256: Digest(self.hash.finalize().into()),
            stored_bytes: 0,
        })
    }

    /// Gives away what has been collected, even if the chunk is not full.
    ///
    /// # Errors
    /// When nobody sends any more.
    fn cut(&mut self) -> Result<(), Failure> {
        let raw = std::mem::take(&mut self.buffer);
        let (sealer, stream, index) = (self.sealer.clone(), self.stream, self.index);
        self.index += 1;
        let sealing = self.runtime.spawn_blocking(move || sealer.seal(stream, index, &raw));
        self.out
            .blocking_send(Outgoing::Chunk(sealing))
            .map_err(|_| Failure::new(FailureKind::System, "the backup was given up"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypt::Identities;

    #[tokio::test]
    async fn chunks_open_with_age_and_zstd_and_add_up_to_the_stream() {
        let keys = Identities::generate();
        let sealer = Arc::new(Sealer::new(Recipients::parse(keys.recipients()).unwrap(), 1));
        let (sender, mut receiver) = mpsc::channel(2);
        let stream: Vec<u8> = (0..200_000u32).flat_map(|i| (i / 7).to_le_bytes()).collect();
        let bytes = stream.clone();
        let cutting = tokio::task::spawn_blocking(move || {
            let mut cutter = Cutter::new(Stream::Base, 100_000, sealer, sender);
            bytes.chunks(7_777).for_each(|part| cutter.write(part).unwrap());
            cutter.finish().unwrap()
        });
        let mut back = Vec::new();
        while let Some(Outgoing::Chunk(sealing)) = receiver.recv().await {
            let chunk = sealing.await.unwrap().unwrap();
            assert_eq!(Digest(Sha256::digest(&chunk.stored).into()), chunk.head.stored_sha256);
            let frame = keys.open(&chunk.stored).unwrap();
            let raw = zstd::stream::decode_all(&frame[..]).unwrap();
            let said = zstd::zstd_safe::get_frame_content_size(&frame).ok().flatten();
            assert_eq!(said, Some(raw.len() as u64));
            assert_eq!(chunk.head.raw_bytes, raw.len() as u64);
            back.extend(raw);
        }
        let totals = cutting.await.unwrap();
        assert!(back == stream);
        assert_eq!((totals.chunks, totals.raw_bytes), (8, 800_000));
        assert_eq!(totals.raw_sha256, Digest(Sha256::digest(&stream).into()));
    }
}
