//! Cuts a stream into chunks; compresses and seals them.

use std::io::{ErrorKind, Read};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use zstd::bulk::Compressor;
use zstd::zstd_safe::{self, CParameter};

use super::level::ZstdLevel;
use crate::agent::protocol::{BackupPart, BaseDone, ChunkHead, Digest, Failure, FailureKind};
use crate::crypt::Recipients;
use crate::parallel::{self, Pool};

/// What waits to be sealed, in order.
pub enum Cut {
    /// Raw bytes of one chunk.
    Chunk {
        part: BackupPart,
        /// Its place in the part, from 0.
        index: u32,
        raw: Vec<u8>,
    },
    /// Everything of the base backup is in the queue before this.
    BaseDone(BaseDone),
}

impl Cut {
    /// PostgreSQL's manifest as a chunk of its own.
    pub fn manifest(bytes: &[u8]) -> Self {
        Self::Chunk { part: BackupPart::Manifest, index: 0, raw: bytes.to_vec() }
    }
}

/// What is ready to be sent.
pub enum Outgoing {
    /// A sealed chunk.
    Chunk {
        /// What is said of it.
        head: ChunkHead,
        /// The whole age file.
        stored: Bytes,
    },
    /// Everything of the base backup has been sent before this.
    BaseDone(BaseDone),
}

/// Memory that is used again: fresh memory for each chunk costs as much as its checksum.
#[derive(Default)]
pub struct ChunkMemory {
    raw: Pool<Vec<u8>>,
    frames: Pool<Vec<u8>>,
    /// Sealed chunks come back when the client has made them durable.
    stored: Arc<Pool<Vec<u8>>>,
    compressors: Pool<Option<Compressor<'static>>>,
}

/// How chunks are made.
pub struct ChunkSealer {
    recipients: Recipients,
    level: ZstdLevel,
    memory: Arc<ChunkMemory>,
}

impl ChunkSealer {
    /// Seals to `recipients` after compressing.
    pub fn new(recipients: Recipients, level: ZstdLevel) -> Self {
        Self { recipients, level, memory: Arc::default() }
    }

    /// Where those that cut may take memory.
    pub fn memory(&self) -> Arc<ChunkMemory> {
        Arc::clone(&self.memory)
    }

    /// Makes one chunk. Takes CPU time for as long as it runs.
    ///
    /// # Errors
    /// When a library refuses.
    pub fn seal(&self, cut: Cut) -> Result<Outgoing, Failure> {
        let begun = Instant::now();
        let sealed = self.seal_now(cut);
        self.level.worked(begun.elapsed());
        sealed
    }

    fn seal_now(&self, cut: Cut) -> Result<Outgoing, Failure> {
        let (part, index, raw) = match cut {
            Cut::Chunk { part, index, raw } => (part, index, raw),
            Cut::BaseDone(base) => return Ok(Outgoing::BaseDone(base)),
        };
        let raw_sha256 = Digest(Sha256::digest(&raw).into());
        let raw_bytes = raw.len() as u64;
        let mut frame = self.memory.frames.take();
        let content = match part {
            BackupPart::Manifest => &raw,
            BackupPart::Base | BackupPart::Wal | BackupPart::Volume => {
                self.compress(&raw, &mut frame)?;
                &frame
            }
        };
        let mut stored = self.memory.stored.take();
        self.recipients
            .seal_into(content, &mut stored)
            .map_err(|error| Failure::new(FailureKind::System, format!("{part} chunk {index}: {error}")))?;
        self.memory.raw.put(raw);
        self.memory.frames.put(frame);
        let head = ChunkHead {
            part,
            index,
            stored_bytes: stored.len() as u64,
            stored_sha256: Digest(Sha256::digest(&stored).into()),
            raw_bytes,
            raw_sha256,
        };
        Ok(Outgoing::Chunk { head, stored: parallel::lend(stored, &self.memory.stored) })
    }

    /// One zstd frame that says how long its contents are and ends with their checksum.
    fn compress(&self, raw: &[u8], frame: &mut Vec<u8>) -> Result<(), Failure> {
        let mut compress = || {
            let level = self.level.now();
            let mut compressor = match self.memory.compressors.take() {
                Some(used) => used,
                None => Compressor::new(level)?,
            };
            compressor.set_compression_level(level)?;
            compressor.set_parameter(CParameter::ContentSizeFlag(true))?;
            compressor.set_parameter(CParameter::ChecksumFlag(true))?;
            frame.clear();
            frame.reserve_exact(zstd_safe::compress_bound(raw.len()));
            compressor.compress_to_buffer(raw, frame)?;
            self.memory.compressors.put(Some(compressor));
            Ok(())
        };
        compress().map_err(Failure::io("compress"))
    }
}

/// One part on its way into chunks. To be used on a thread that may block.
pub struct ChunkCutter {
    part: BackupPart,
    chunk_bytes: usize,
    queue: mpsc::Sender<Cut>,
    memory: Arc<ChunkMemory>,
    /// As long as a chunk, or not made yet.
    buffer: Vec<u8>,
    filled: usize,
    index: u32,
    total: u64,
}

impl ChunkCutter {
    /// Gives the chunks of `part` to `queue`.
    pub fn new(part: BackupPart, chunk_bytes: usize, queue: mpsc::Sender<Cut>, memory: Arc<ChunkMemory>) -> Self {
        Self { part, chunk_bytes, queue, memory, buffer: Vec::new(), filled: 0, index: 0, total: 0 }
    }

    /// Where the chunks go.
    pub fn queue(&self) -> mpsc::Sender<Cut> {
        self.queue.clone()
    }

    /// Appends what one read of `from` brings, and returns it; `None` at the end. `name` stands in errors.
    ///
    /// # Errors
    /// When it cannot be read, or nobody sends any more.
    pub fn read(&mut self, from: &mut impl Read, name: &str) -> Result<Option<&[u8]>, Failure> {
        self.make_room()?;
        let before = self.filled;
        let count = loop {
            match from.read(&mut self.buffer[before..]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read.map_err(Failure::io(format!("read from {name}")))?,
            }
        };
        self.filled += count;
        self.total += count as u64;
        Ok((count > 0).then(|| &self.buffer[before..self.filled]))
    }

    /// Appends `bytes`.
    ///
    /// # Errors
    /// When nobody sends any more.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), Failure> {
        while self.read(&mut bytes, "memory")?.is_some() {}
        Ok(())
    }

    /// Sends what is left as the last chunk. Returns how many bytes there were in all.
    ///
    /// # Errors
    /// When nobody sends any more.
    pub fn finish(mut self) -> Result<u64, Failure> {
        self.cut()?;
        Ok(self.total)
    }

    fn make_room(&mut self) -> Result<(), Failure> {
        if self.filled == self.chunk_bytes {
            self.cut()?;
        }
        if self.buffer.is_empty() {
            self.buffer = self.memory.raw.take();
            self.buffer.resize(self.chunk_bytes, 0);
        }
        Ok(())
    }

    fn cut(&mut self) -> Result<(), Failure> {
        let mut raw = std::mem::take(&mut self.buffer);
        raw.truncate(std::mem::take(&mut self.filled));
        if raw.is_empty() {
            return Ok(());
        }
        let chunk = Cut::Chunk { part: self.part, index: self.index, raw };
        self.index += 1;
        self.queue.blocking_send(chunk).map_err(|_| Failure::given_up("the backup"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypt::Identities;

    #[test]
    fn chunks_open_with_age_and_zstd_and_add_up_to_the_stream() {
        let keys = Identities::generate();
        let sealer = ChunkSealer::new(Recipients::parse(keys.recipients()).unwrap(), ZstdLevel::fixed(1));
        let (queue, mut cuts) = mpsc::channel(100);
        let stream: Vec<u8> = (0..200_000u32).flat_map(|i| (i / 7).to_le_bytes()).collect();
        let mut cutter = ChunkCutter::new(BackupPart::Base, 100_000, queue, sealer.memory());
        let (first, mut second) = stream.split_at(500_000);
        first.chunks(7_777).for_each(|part| cutter.write(part).unwrap());
        let mut seen = Vec::new();
        while let Some(piece) = cutter.read(&mut second, "the test").unwrap() {
            seen.extend_from_slice(piece);
        }
        assert!(seen == stream[500_000..]);
        assert_eq!(cutter.finish().unwrap(), 800_000);
        let (mut back, mut count) = (Vec::new(), 0);
        while let Ok(cut) = cuts.try_recv() {
            let Outgoing::Chunk { head, stored } = sealer.seal(cut).unwrap() else { panic!("no chunk") };
            assert_eq!(Digest(Sha256::digest(&stored).into()), head.stored_sha256);
            let frame = keys.open(&stored).unwrap();
            let raw = zstd::stream::decode_all(&frame[..]).unwrap();
            let said = zstd::zstd_safe::get_frame_content_size(&frame).ok().flatten();
            assert_eq!(said, Some(raw.len() as u64));
            assert_eq!((head.index, head.raw_bytes), (count, raw.len() as u64));
            assert_eq!(head.raw_sha256, Digest(Sha256::digest(&raw).into()));
            back.extend(raw);
            count += 1;
        }
        assert!(back == stream);
        assert_eq!(count, 8);
    }
}
