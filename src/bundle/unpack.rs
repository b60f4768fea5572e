//! Unpacking chunks: opened, uncompressed, and checked against the signed manifest.

use std::io::{self, BufRead, Read};

use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::crypt::seal::{Identities, make_room};
use crate::parallel::{self, Pool};
use crate::trace::{self, CallKind};

use super::error::BundleFault;
use super::reader::{Reader, StoredChunk};

/// What unpacking needs in memory beside its result. It is kept from chunk to chunk: to get and to wipe fresh memory for
/// each takes as long as to open it.
#[derive(Default)]
pub(super) struct Scratch {
    stored: Vec<u8>,
    frame: Plaintext,
}

/// Wiped when dropped, and not between two chunks.
pub(super) type Plaintext = Zeroizing<Vec<u8>>;

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
        let (scratches, plaintexts) = (Pool::<Scratch>::default(), Pool::<Plaintext>::default());
        let work = |chunk: &StoredChunk| {
            if cancel.is_cancelled() {
                return Err(BundleFault::Cancelled);
            }
            let (mut scratch, mut raw) = (scratches.take(), plaintexts.take());
            self.unpack(chunk, identities, &mut scratch, &mut raw)?;
            scratches.put(scratch);
            Ok(raw)
        };
        parallel::in_order(chunks.iter(), parallel::threads(), work, |results| {
            results.zip(chunks).try_for_each(|(raw, chunk)| {
                let raw = raw?;
                take(chunk, &raw)?;
                plaintexts.put(raw);
                Ok(())
            })
        })
    }

    /// Unpacks `chunk` into `raw`: its plaintext before compression, checked against the manifest.
    ///
    /// # Errors
    /// `Damaged`, `Sealed`, `Store`.
    pub(super) fn unpack(
        &self,
        chunk: &StoredChunk,
        identities: &Identities,
        scratch: &mut Scratch,
        raw: &mut Plaintext,
    ) -> Result<(), BundleFault> {
        let what = format!("check {}", chunk.member);
        trace::call_blocking(CallKind::Chunk, what, || {
            self.chunk_frame_into(chunk, identities, &mut scratch.stored, &mut scratch.frame)?;
            let unpacked = unpack_frame(&scratch.frame, chunk.raw_bytes, raw).and_then(|()| {
                let same = hex::encode(Sha256::digest(raw.as_slice())) == chunk.raw_sha256;
                if same { Ok(()) } else { Err("its plaintext is not what the manifest lists".to_owned()) }
            });
            unpacked.map_err(|reason| BundleFault::damaged(&chunk.member, reason))
        })
    }
}

/// Unpacks one whole zstd frame of exactly `bytes` bytes into `raw`; it never makes more.
fn unpack_frame(frame: &[u8], bytes: u64, raw: &mut Plaintext) -> Result<(), String> {
    let odd = |error: io::Error| format!("it is not a zstd frame: {error}");
    let mut decoder = zstd::stream::read::Decoder::with_buffer(frame).map_err(odd)?.single_frame();
    // `bytes` was held against the limit of a chunk when the manifest was read.
    make_room(raw, bytes as usize + 1);
    (&mut decoder).take(bytes + 1).read_to_end(raw).map_err(odd)?;
    if raw.len() as u64 != bytes {
        return Err(format!("it does not unpack to {bytes} bytes"));
    }
    if decoder.finish().fill_buf().is_ok_and(|rest| !rest.is_empty()) {
        return Err("something follows its zstd frame".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_unpacks_to_its_size_and_nothing_else_passes() {
        // Used again, as between chunks.
        let mut out = Plaintext::default();
        let mut unpacked = |frame: &[u8], bytes: u64| unpack_frame(frame, bytes, &mut out).map(|()| out.to_vec());
        let raw = vec![7u8; 100_000];
        let frame = zstd::bulk::compress(&raw, 1).unwrap();
        assert_eq!(unpacked(&frame, 100_000).unwrap(), raw);
        assert!(unpacked(&frame, 99_999).is_err(), "a bomb is unpacked");
        assert!(unpacked(&frame, 100_001).is_err());
        assert!(unpacked(&[frame.as_slice(), b"x"].concat(), 100_000).unwrap_err().contains("follows"));
        assert!(unpacked(&[frame.as_slice(), &frame].concat(), 100_000).unwrap_err().contains("follows"));
        assert!(unpacked(b"plain text", 10).unwrap_err().contains("not a zstd frame"));
        assert!(unpacked(&frame[..frame.len() - 1], 100_000).is_err());
        let small = zstd::bulk::compress(b"small", 1).unwrap();
        assert_eq!(unpacked(&small, 5).unwrap(), b"small");
    }
}
