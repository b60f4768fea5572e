//! Verifying the plaintexts: everything that a restore would need opens, unpacks, and is what PostgreSQL wrote.

use std::io::{self, BufRead, Read};

use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::crypt::seal::Identities;
use crate::event::Events;
use crate::parallel;
use crate::postgres;

use super::database::{self, BaseProof, WalProof};
use super::error::{BundleError, Fault};
use super::layout::{Member, Stream};
use super::manifest::StreamTotal;
use super::reader::{Chunk, Reader, SignatureState};

/// Everything that [`StoredProof`](super::StoredProof) says, and more: every member was opened, every chunk unpacked,
/// every file of the base backup held against PostgreSQL's own manifest, and the write-ahead log is there without a
/// gap up to the last position that a restore must reach.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlainProof {
    /// How many members were hashed and, where sealed, opened.
    pub members: usize,
    /// The length of the bundle in bytes.
    pub bytes: u64,
    /// What is known of the signature over the manifest.
    pub signature: SignatureState,
    /// The base backup.
    pub base: BaseProof,
    /// The write-ahead log.
    pub wal: WalProof,
}

impl Reader {
    /// Does all that [`Reader::verify_stored`] does and opens everything with `identities`. Each chunk is read once, and
    /// only a few are in memory at a time.
    ///
    /// # Errors
    /// `Sealed` when no identity fits, `Damaged`, `Database` when files or log are not what PostgreSQL's manifest says,
    /// `Cancelled`, `Store`.
    pub fn verify_plain(
        &self,
        identities: &Identities,
        events: &Events,
        cancel: &CancellationToken,
    ) -> Result<PlainProof, BundleError> {
        self.plain_proof(identities, events, cancel).map_err(|fault| self.fault(fault))
    }

    fn plain_proof(
        &self,
        identities: &Identities,
        events: &Events,
        cancel: &CancellationToken,
    ) -> Result<PlainProof, Fault> {
        let mut progress = Progress { events, done: 0, total: self.bytes() };
        // Small members first: a wrong key shows at once.
        for name in self.sealed_members() {
            progress.add(self.open_plain(name, identities)?.len() as u64);
        }
        let is_chunk = |member: &Member| matches!(member, Member::Chunk(..));
        self.hash_members(&mut |_, _| {}, cancel, &|place| !is_chunk(&place.member))?;
        self.check_tail_padding()?;
        for (place, _) in self.listed().filter(|(place, _)| is_chunk(&place.member)) {
            self.check_padding(place)?;
        }
        let files = self.backup_manifest(identities)?;
        let mut view = StreamView { reader: self, identities, progress: &mut progress, cancel };
        let base = view.read_through(Stream::Base, &self.manifest.base, |tar| {
            database::check_base(tar, &files, &self.manifest.database)
        })?;
        let wal = view
            .read_through(Stream::Wal, &self.manifest.wal, |tar| database::check_wal(tar, &self.manifest.database))?;
        events.bytes("verified", self.bytes(), Some(self.bytes()));
        Ok(PlainProof { members: self.places.len(), bytes: self.bytes(), signature: self.signature.clone(), base, wal })
    }

    /// PostgreSQL's own manifest of the base backup.
    fn backup_manifest(&self, identities: &Identities) -> Result<postgres::Manifest, Fault> {
        let name = Member::BackupManifest.to_string();
        let bytes = self.open_plain(&name, identities)?;
        postgres::Manifest::parse(&bytes).map_err(|error| Fault::Database(error.to_string()))
    }

    /// The plaintext of `chunk` before compression, checked against the manifest and wiped when dropped.
    ///
    /// # Errors
    /// `Damaged`, `Sealed`, `Store`.
    pub fn unpack_chunk(&self, chunk: &Chunk, identities: &Identities) -> Result<Zeroizing<Vec<u8>>, BundleError> {
        self.unpack(chunk, identities).map_err(|fault| self.fault(fault))
    }

    fn unpack(&self, chunk: &Chunk, identities: &Identities) -> Result<Zeroizing<Vec<u8>>, Fault> {
        let frame = self.chunk_frame(chunk, identities)?;
        let raw = unpack_frame(&frame, chunk.raw_bytes).and_then(|raw| {
            let same = hex::encode(Sha256::digest(raw.as_slice())) == chunk.raw_sha256;
            if same { Ok(raw) } else { Err("its plaintext is not what the manifest lists".to_owned()) }
        });
        raw.map_err(|reason| Fault::damaged(Member::Chunk(chunk.stream, chunk.index), reason))
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

struct Progress<'a> {
    events: &'a Events,
    done: u64,
    total: u64,
}

impl Progress<'_> {
    fn add(&mut self, bytes: u64) {
        self.done += bytes;
        self.events.bytes("verified", self.done.min(self.total), Some(self.total));
    }
}

/// What reading a stream needs.
struct StreamView<'a, 'b> {
    reader: &'a Reader,
    identities: &'a Identities,
    progress: &'a mut Progress<'b>,
    cancel: &'a CancellationToken,
}

impl StreamView<'_, '_> {
    /// Lets `check` read the plaintext of `stream` as one tar, then reads what it left and compares the whole.
    fn read_through<T>(
        &mut self,
        stream: Stream,
        total: &StreamTotal,
        check: impl FnOnce(&mut dyn Read) -> Result<T, String>,
    ) -> Result<T, Fault> {
        let chunks: Vec<Chunk> = self.reader.chunks(stream).collect();
        let work = |chunk: &Chunk| {
            if self.cancel.is_cancelled() {
                return Err(Fault::Cancelled);
            }
            self.reader.unpack(chunk, self.identities).map(|raw| (raw, chunk.stored_bytes))
        };
        let progress = &mut *self.progress;
        parallel::in_order(chunks.iter(), parallel::threads(), work, |results| {
            let hasher = total.raw.sha256.as_ref().map(|_| Sha256::new());
            let mut whole =
                Joined { results, progress, hasher, bytes: 0, part: Zeroizing::default(), at: 0, fault: None };
            let checked = check(&mut whole);
            let drained = io::copy(&mut whole, &mut io::sink());
            // A chunk that cannot be read makes the tar unreadable too; the chunk is the cause.
            if let Some(fault) = whole.fault.take() {
                return Err(fault);
            }
            let checked = checked.map_err(Fault::Database)?;
            drained.map_err(|error| Fault::Database(error.to_string()))?;
            let sha256 = whole.hasher.map(|hasher| hex::encode(hasher.finalize()));
            if whole.bytes != total.raw.bytes || sha256 != total.raw.sha256 {
                return Err(Fault::Database(format!(
                    "db/{} as a whole is not what the manifest lists",
                    stream.folder()
                )));
            }
            Ok(checked)
        })
    }
}

type Unpacked = Result<(Zeroizing<Vec<u8>>, u64), Fault>;

/// The plaintexts of all chunks, one after the other.
struct Joined<'a, 'b, I: Iterator<Item = Unpacked>> {
    results: I,
    progress: &'a mut Progress<'b>,
    hasher: Option<Sha256>,
    bytes: u64,
    part: Zeroizing<Vec<u8>>,
    at: usize,
    fault: Option<Fault>,
}

impl<I: Iterator<Item = Unpacked>> Read for Joined<'_, '_, I> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.part.len() {
            if self.fault.is_some() {
                return Err(io::Error::other("a chunk cannot be read"));
            }
            match self.results.next() {
                None => return Ok(0),
                Some(Err(fault)) => self.fault = Some(fault),
                Some(Ok((raw, stored_bytes))) => {
                    if let Some(hasher) = &mut self.hasher {
                        hasher.update(raw.as_slice());
                    }
                    self.bytes += raw.len() as u64;
                    self.progress.add(stored_bytes);
                    (self.part, self.at) = (raw, 0);
                }
            }
        }
        let count = buffer.len().min(self.part.len() - self.at);
        buffer[..count].copy_from_slice(&self.part[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
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
