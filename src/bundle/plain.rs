//! Verifying the plaintexts: everything that a restore would need opens, unpacks, and is what PostgreSQL wrote.

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::crypt::seal::Identities;
use crate::event::Events;
use crate::postgres::basebackup::{BaseBackupError, BaseCheck, WalCheck};
use crate::postgres::{BackupManifest, Lsn};
use crate::ustar::{TarReader, TarSink};

use super::error::{BundleError, BundleFault};
use super::layout::{Member, Stream};
use super::manifest::BackupIdentity;
use super::reader::{Reader, SignatureState, StoredChunk, is_chunk};
use super::volume::VolumeProof;

/// What was seen of the base backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BaseProof {
    /// How many files have the size and CRC32C that `backup_manifest` lists: all of them.
    pub files: u64,
    pub bytes: u64,
    /// The system identifier in the control file: the bundle's.
    pub system_identifier: String,
}

/// What was seen of the write-ahead log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WalProof {
    /// How many segments, each with a header of this database.
    pub segments: u64,
    /// From where the log is there without a gap.
    pub from: Lsn,
    pub to: Lsn,
}

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
    /// Other volumes, each file of theirs held against the listing that is sealed with them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<VolumeProof>,
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
    ) -> Result<PlainProof, BundleFault> {
        let mut progress = Progress { events, done: 0, total: self.bytes() };
        // Small members first: a wrong key shows at once.
        for name in self.sealed_members() {
            progress.add(self.open_plain(name, identities)?.len() as u64);
        }
        self.hash_members(&mut |_, _| {}, cancel, &|place| !is_chunk(&place.member))?;
        self.check_tail_padding()?;
        let volumes = self.check_volumes(identities, cancel, |bytes| progress.add(bytes))?;
        let (base, wal) = DatabaseReading { reader: self, identities, progress: &mut progress, cancel }.check()?;
        events.bytes("verified", self.bytes(), Some(self.bytes()));
        Ok(PlainProof {
            members: self.members(),
            bytes: self.bytes(),
            signature: self.signature.clone(),
            base,
            wal,
            volumes,
        })
    }
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

/// The database on its way past the check.
struct DatabaseReading<'a, 'b> {
    reader: &'a Reader,
    identities: &'a Identities,
    progress: &'a mut Progress<'b>,
    cancel: &'a CancellationToken,
}

impl DatabaseReading<'_, '_> {
    /// Checks both tars as a restore would.
    fn check(&mut self) -> Result<(BaseProof, WalProof), BundleFault> {
        let facts = &self.reader.manifest.database;
        let listing = self.reader.open_plain(&Member::BackupManifest.to_string(), self.identities)?;
        // Before anything long is read.
        check_span(&BackupManifest::parse(&listing).map_err(BaseBackupError::from)?, facts)?;
        let system_identifier = facts.system_identifier.parse().map_err(|error| {
            BundleFault::Database(format!("system identifier `{}`: {error}", facts.system_identifier))
        })?;
        let mut base = BaseCheck::default();
        self.read(Stream::Base, &mut base)?;
        let base = base.finish(Some(&listing))?;
        base.check_database(system_identifier)?;
        let mut wal = WalCheck::new(system_identifier, facts.wal_segment_bytes);
        self.read(Stream::Wal, &mut wal)?;
        let span = wal.finish(&base.manifest, facts.wal_end())?;
        let files = base.manifest.files.len() as u64;
        Ok((
            BaseProof { files, bytes: base.bytes, system_identifier: facts.system_identifier.clone() },
            WalProof { segments: span.segments, from: facts.start_lsn, to: facts.last_lsn() },
        ))
    }

    /// Gives the plaintext of `stream`, which is one tar, to `sink`.
    fn read(&mut self, stream: Stream, sink: &mut impl TarSink<Error = BaseBackupError>) -> Result<(), BundleFault> {
        let chunks: Vec<StoredChunk> = self.reader.chunks(stream).collect();
        let progress = &mut *self.progress;
        let mut reader = TarReader::new(stream.tar());
        self.reader.unpack_each(&chunks, self.identities, self.cancel, |chunk, raw| {
            progress.add(chunk.stored_bytes);
            Ok(reader.push(raw, sink)?)
        })?;
        Ok(reader.finish().map_err(BaseBackupError::from)?)
    }
}

/// Whether both manifests speak of the same backup.
pub(super) fn check_span(listed: &BackupManifest, facts: &BackupIdentity) -> Result<(), BundleFault> {
    if listed.system_identifier.is_some_and(|id| id.to_string() != facts.system_identifier) {
        return Err(BundleFault::Database("backup_manifest is that of another database".into()));
    }
    if (listed.timeline, listed.start, listed.end) != (facts.timeline, facts.start_lsn, facts.end_lsn) {
        return Err(BundleFault::Database(format!(
            "backup_manifest speaks of timeline {} from {} to {}, and the bundle's manifest of timeline {} from {} to {}",
            listed.timeline, listed.start, listed.end, facts.timeline, facts.start_lsn, facts.end_lsn
        )));
    }
    Ok(())
}
