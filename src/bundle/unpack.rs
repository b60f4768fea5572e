//! Unpacking chunks: opened, uncompressed, and checked against the signed manifest.

use std::io::{self, BufRead, Read};

use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::crypt::seal::Identities;
use crate::parallel;
use crate::trace::{self, CallKind};

use super::error::BundleFault;
use super::layout::Member;
use super::reader::{Reader, StoredChunk};

impl Reader {
    /// Unpacks the chunks side by side and gives the plaintext of each to `take`, in their order. Only a few are in memory
    /// at a time.
    ///
    /// # Errors
    /// `Damaged`, `Sealed`, `Cancelled`, `Store`, and what `take` fails with.
    pub(super) fn unpack_each(
        &self,
        chunks: &[StoredChunk],
        identities: &Identities,
        cancel: &CancellationToken,
        mut take: impl FnMut(&StoredChunk, &[u8]) -> Result<(), BundleFault>,
    ) -> Result<(), BundleFault> {
        let work = |chunk: &StoredChunk| match cancel.is_cancelled() {
            true => Err(BundleFault::Cancelled),
            false => self.unpack(chunk, identities),
        };
        parallel::in_order(chunks.iter(), parallel::threads(), work, |results| {
            results.zip(chunks).try_for_each(|(raw, chunk)| take(chunk, &raw?))
        })
    }

    /// The plaintext of `chunk` before compression, checked against the manifest and wiped when dropped.
    ///
    /// # Errors
    /// `Damaged`, `Sealed`, `Store`.
    pub(super) fn unpack(
        &self,
        chunk: &StoredChunk,
        identities: &Identities,
    ) -> Result<Zeroizing<Vec<u8>>, BundleFault> {
        let what = format!("check {} chunk {}", chunk.stream.folder(), chunk.index);
        trace::call_blocking(CallKind::Chunk, what, || {
            let frame = self.chunk_frame(chunk, identities)?;
            let raw = unpack_frame(&frame, chunk.raw_bytes).and_then(|raw| {
                let same = hex::encode(Sha256::digest(raw.as_slice())) == chunk.raw_sha256;
                if same { Ok(raw) } else { Err("its plaintext is not what the manifest lists".to_owned()) }
            });
            raw.map_err(|reason| BundleFault::damaged(Member::Chunk(chunk.stream, chunk.index), reason))
        })
    }
}

/// Unpacks one whole zstd frame of exactly `bytes` bytes; it never makes more.
fn unpack_frame(frame: &[u8], bytes: u64) -> Result<Zeroizing<Vec<u8>>, String> {
    let odd = |error: io::Error| format!("it is not a zstd frame: {error}");
    let mut decoder = zstd::stream::read::Decoder::with_buffer(frame).map_err(odd)?.single_frame();
    // `bytes` was held against the limit of a chunk when the manifest was read.
    let mut raw = Zeroizing::new(Vec::with_capacity(bytes as usize + 1));
    (&mut decoder).take(bytes + 1).read_to_end(&mut raw).map_err(odd)?;
    if raw.len() as u64 != bytes {
        return Err(format!("it does not unpack to {bytes} bytes"));
    }
    if decoder.finish().fill_buf().is_ok_and(|rest| !rest.is_empty()) {
        return Err("something follows its zstd frame".into());
    }
    Ok(raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_unpacks_to_its_size_and_nothing_else_passes() {
        let raw = vec![7u8; 100_000];
        let frame = zstd::bulk::compress(&raw, 1).unwrap();
        assert_eq!(unpack_frame(&frame, 100_000).unwrap().as_slice(), raw);
        assert!(unpack_frame(&frame, 99_999).is_err(), "a bomb is unpacked");
        assert!(unpack_frame(&frame, 100_001).is_err());
        assert!(unpack_frame(&[frame.as_slice(), b"x"].concat(), 100_000).unwrap_err().contains("follows"));
        assert!(unpack_frame(&[frame.as_slice(), &frame].concat(), 100_000).unwrap_err().contains("follows"));
        assert!(unpack_frame(b"plain text", 10).unwrap_err().contains("not a zstd frame"));
        assert!(unpack_frame(&frame[..frame.len() - 1], 100_000).is_err());
    }
}
