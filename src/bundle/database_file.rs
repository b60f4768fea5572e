//! One file of the database, out of its stream. Chunks that lie inside of other files are neither read nor opened.

use tokio_util::sync::CancellationToken;

use crate::crypt::seal::Identities;
use crate::ustar::{self, BLOCK, Block};

use super::error::BundleFault;
use super::layout::Stream;
use super::reader::{Reader, StoredChunk};
use super::unpack::{Plaintext, Scratch};

/// The plaintext of a stream, from anywhere in it; the chunk that was wanted last stays open.
pub(super) struct RawStream<'a> {
    reader: &'a Reader,
    stream: Stream,
    identities: &'a Identities,
    cancel: &'a CancellationToken,
    chunks: Vec<StoredChunk>,
    /// Where in the stream each chunk begins, and where the last one ends.
    edges: Vec<u64>,
    /// Which chunk is in `raw`.
    open: Option<usize>,
    raw: Plaintext,
    scratch: Scratch,
}

impl<'a> RawStream<'a> {
    pub(super) fn new(
        reader: &'a Reader,
        stream: Stream,
        identities: &'a Identities,
        cancel: &'a CancellationToken,
    ) -> Self {
        let chunks: Vec<StoredChunk> = reader.chunks(stream).collect();
        let mut edges = vec![0];
        edges.extend(chunks.iter().scan(0, |end, chunk| {
            *end += chunk.raw_bytes;
            Some(*end)
        }));
        let (raw, scratch) = (Plaintext::default(), Scratch::default());
        Self { reader, stream, identities, cancel, chunks, edges, open: None, raw, scratch }
    }

    /// Where the content of the file of that name begins, and its length. Reads from tar header to tar header.
    ///
    /// # Errors
    /// `Database` when the stream is no tar, `Damaged`, `Sealed`, `Cancelled`, `Store`.
    pub(super) fn find(&mut self, name: &str) -> Result<Option<(u64, u64)>, BundleFault> {
        let mut offset: u64 = 0;
        loop {
            let mut block: Block = [0; BLOCK as usize];
            let mut filled = 0;
            self.pass(offset, BLOCK, &mut |part| {
                block[filled..filled + part.len()].copy_from_slice(part);
                filled += part.len();
                Ok(())
            })?;
            if block.iter().all(|byte| *byte == 0) {
                return Ok(None);
            }
            let entry = ustar::entry_in(&block).map_err(|what| self.wrong(&what))?;
            let content = offset + BLOCK;
            if entry.path == name && !entry.folder {
                return Ok(Some((content, entry.bytes)));
            }
            offset = content.saturating_add(entry.bytes).saturating_add(ustar::padding(entry.bytes));
        }
    }

    /// Gives `bytes` bytes from `offset` on to `take`, in pieces.
    ///
    /// # Errors
    /// As [`Self::find`], and what `take` fails with.
    pub(super) fn pass(
        &mut self,
        mut offset: u64,
        mut bytes: u64,
        take: &mut dyn FnMut(&[u8]) -> Result<(), BundleFault>,
    ) -> Result<(), BundleFault> {
        while bytes > 0 {
            let part = self.at(offset)?;
            let length = bytes.min(part.len() as u64);
            take(&part[..length as usize])?;
            offset += length;
            bytes -= length;
        }
        Ok(())
    }

    /// What the chunk that has `offset` holds from there on: one byte at least.
    fn at(&mut self, offset: u64) -> Result<&[u8], BundleFault> {
        let index = self.edges.partition_point(|edge| *edge <= offset) - 1;
        let Some(chunk) = self.chunks.get(index) else { return Err(self.wrong("it is cut off")) };
        if self.open != Some(index) {
            if self.cancel.is_cancelled() {
                return Err(BundleFault::Cancelled);
            }
            self.open = None;
            self.reader.unpack(chunk, self.identities, &mut self.scratch, &mut self.raw)?;
            self.open = Some(index);
        }
        Ok(&self.raw[(offset - self.edges[index]) as usize..])
    }

    fn wrong(&self, what: &str) -> BundleFault {
        BundleFault::Database(format!("{}: {what}", self.stream.tar()))
    }
}
