//! What `dr bundle list | show | verify` have to say: values that `ui` prints for people or as JSON.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use crate::postgres::Lsn;

use super::catalog::{Catalog, CatalogEntry};
use super::header::{Header, OutOfScope, SourceInstall};
use super::layout::Member;
use super::manifest::MemberEntry;
use super::marks::BundleMark;
use super::plain::PlainProof;
use super::proof::{Depth, Proof};
use super::reader::{Reader, SignatureState, is_chunk};
use super::reference::BundleReference;
use super::sample::{SampleProof, SampleShare, SampledChunks};
use super::stored::StoredProof;
use super::volume::{BundledVolume, VolumeProof};

/// `dr bundle list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListReport {
    pub store: String,
    /// The bundles, newest first.
    pub bundles: Vec<ListRow>,
    /// How many were not asked for.
    pub left_out: usize,
}

/// One bundle in a list. Only what its clear header says: nothing here is proved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListRow {
    pub name: String,
    pub address: String,
    /// Whether it is a file that was put into the store by hand: it has no record there, and no proofs.
    pub loose: bool,
    /// Its length in bytes.
    pub bytes: u64,
    /// When it was begun.
    pub created: Option<Timestamp>,
    /// The OpsChain version that made it.
    pub opschain_version: Option<String>,
    /// The namespace that it is from.
    pub namespace: Option<String>,
    /// The release that it is from.
    pub release: Option<String>,
    /// The PostgreSQL major version.
    pub postgresql_major: Option<u32>,
    /// `brief`, `full`, `none`.
    pub quiesce: Option<String>,
    /// The deepest good verification, of those the newest.
    pub proof: Option<Proof>,
    /// The run that has replaced what it holds since: it was made for safety before that.
    pub replaced_by: Option<String>,
    /// That it stays, where somebody has said so.
    pub pinned: Option<BundleMark>,
    /// That a later `prune` removes it.
    pub gone: Option<BundleMark>,
    /// Why it cannot be used, when its header cannot be read.
    pub unreadable: Option<String>,
}

impl ListReport {
    /// The report of those of `catalog` that `wanted` takes.
    pub fn new(catalog: &Catalog, wanted: impl Fn(&CatalogEntry) -> bool) -> Self {
        let entries = catalog.entries.iter().filter(|entry| wanted(entry));
        let bundles: Vec<ListRow> = entries.map(ListRow::new).collect();
        Self { store: catalog.store.clone(), left_out: catalog.entries.len() - bundles.len(), bundles }
    }
}

impl ListRow {
    fn new(entry: &CatalogEntry) -> Self {
        let header = entry.header.as_ref().ok();
        Self {
            name: entry.name.clone(),
            address: entry.address.clone(),
            loose: matches!(entry.reference, BundleReference::File { .. }),
            bytes: entry.bytes,
            created: header.map(|h| h.created),
            opschain_version: header.map(|h| h.opschain.version.clone()),
            namespace: header.map(|h| h.install.namespace.to_string()),
            release: header.map(|h| h.install.release.to_string()),
            postgresql_major: header.map(|h| h.postgresql.major),
            quiesce: header.map(|h| h.quiesce.to_string()),
            proof: entry.proof.clone(),
            replaced_by: header.and_then(|h| h.replaced_by.clone()),
            pinned: entry.pin.clone(),
            gone: entry.gone.clone(),
            unreadable: entry.header.as_ref().err().cloned(),
        }
    }
}

/// `dr bundle show`: what header and signed manifest say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShowReport {
    pub name: String,
    pub address: String,
    /// What a command takes to name it again: its name or its file, and whom to believe.
    pub arguments: String,
    /// The command that checks all of it.
    pub verify: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// The format, such as `1.0`.
    pub format: String,
    /// When it was begun.
    pub created: Timestamp,
    /// The `dr` that made it.
    pub dr_version: String,
    /// The OpsChain version that made it.
    pub opschain_version: String,
    pub chart_version: String,
    pub install: SourceInstall,
    /// The run that has replaced what it holds since: it was made for safety before that.
    pub replaced_by: Option<String>,
    /// How writers were kept off.
    pub quiesce: String,
    pub database: DatabaseReport,
    pub signature: SignatureState,
    /// The age public keys that open it.
    pub recipients: Vec<String>,
    /// The digest of `values.yaml`.
    pub values_sha256: String,
    /// How many of what is in it.
    pub counts: BTreeMap<String, u64>,
    /// The members outside the streams, with their stored sizes.
    pub members: Vec<MemberReport>,
    /// Other volumes, without their chunks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<BundledVolume>,
    pub scope: Vec<OutOfScope>,
    /// The deepest good verification, of those the newest.
    pub proof: Option<Proof>,
    /// That it stays, where somebody has said so.
    pub pinned: Option<BundleMark>,
    /// That a later `prune` removes it.
    pub gone: Option<BundleMark>,
}

/// What a store keeps beside a bundle.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Beside {
    /// The deepest good verification.
    pub proof: Option<Proof>,
    pub pin: Option<BundleMark>,
    pub gone: Option<BundleMark>,
}

/// The database of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DatabaseReport {
    /// The PostgreSQL version.
    pub version: String,
    pub system_identifier: String,
    pub timeline: u32,
    /// Where replay begins.
    pub start_lsn: Lsn,
    /// Where replay ends.
    pub last_lsn: Lsn,
    /// Chunks of the base backup.
    pub base_chunks: u32,
    /// Bytes of the base backup.
    pub base_bytes: u64,
    /// Chunks of the log.
    pub wal_chunks: u32,
    /// Bytes of the log.
    pub wal_bytes: u64,
    /// Bytes of both as stored.
    pub stored_bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MemberReport {
    /// Its name in the tar.
    pub name: String,
    /// Its length as stored.
    pub bytes: u64,
    /// SHA-256 of its stored bytes.
    pub sha256: String,
}

impl ShowReport {
    /// The report of an opened bundle at `address`, with what is kept beside it.
    pub fn new(reader: &Reader, address: String, arguments: String, verify: String, kept: Beside) -> Self {
        let (header, manifest) = (reader.header(), reader.manifest());
        let Header { opschain, postgresql, .. } = header;
        let member = |entry: &MemberEntry| MemberReport {
            name: entry.name.clone(),
            bytes: entry.bytes,
            sha256: entry.sha256.clone(),
        };
        Self {
            name: header.id.to_string(),
            address,
            arguments,
            verify,
            bytes: reader.bytes(),
            format: header.format.to_string(),
            created: header.created,
            dr_version: header.dr_version.clone(),
            opschain_version: opschain.version.clone(),
            chart_version: opschain.chart_version.clone(),
            install: header.install.clone(),
            replaced_by: header.replaced_by.clone(),
            quiesce: header.quiesce.to_string(),
            database: DatabaseReport {
                version: postgresql.version.clone(),
                system_identifier: postgresql.system_identifier.clone(),
                timeline: manifest.database.timeline,
                start_lsn: manifest.database.start_lsn,
                last_lsn: manifest.database.last_lsn(),
                base_chunks: manifest.base.chunks,
                base_bytes: manifest.base.raw.bytes,
                wal_chunks: manifest.wal.chunks,
                wal_bytes: manifest.wal.raw.bytes,
                stored_bytes: manifest.base.stored_bytes + manifest.wal.stored_bytes,
            },
            signature: reader.signature().clone(),
            recipients: header.recipients.clone(),
            values_sha256: manifest.values_sha256.clone(),
            counts: manifest.counts.clone(),
            members: manifest.members.iter().filter(|entry| !is_chunk_entry(entry)).map(member).collect(),
            volumes: manifest.volumes.iter().map(BundledVolume::without_chunks).collect(),
            scope: manifest.scope.clone(),
            proof: kept.proof,
            pinned: kept.pin,
            gone: kept.gone,
        }
    }
}

fn is_chunk_entry(entry: &MemberEntry) -> bool {
    Member::parse(&entry.name).is_ok_and(|member| is_chunk(&member))
}

/// `dr bundle verify`: what was seen, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    pub name: String,
    /// Whose bundle it is: `namespace/release`.
    pub install: String,
    /// The command that checks all of it.
    pub verify: String,
    /// How deep it went.
    pub depth: Depth,
    /// How many members were hashed.
    pub members: usize,
    /// How many bytes were read.
    pub bytes: u64,
    pub signature: SignatureState,
    /// The database as seen, when the bundle was opened with a key.
    pub database: Option<VerifiedDatabase>,
    /// Other volumes as seen, likewise.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<VolumeProof>,
    /// How long it took.
    pub milliseconds: u64,
}

/// What was seen of the database's plaintext.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerifiedDatabase {
    /// Files that are what PostgreSQL's own manifest lists: all of them.
    pub files: u64,
    pub bytes: u64,
    /// The system identifier, in control file and log.
    pub system_identifier: String,
    /// Segments of the log.
    pub wal_segments: u64,
    /// From where the log is there without a gap.
    pub wal_from: Lsn,
    pub wal_to: Lsn,
}

impl VerifyReport {
    /// The report of a verification without a key.
    pub fn stored(header: &Header, verify: String, proof: StoredProof, milliseconds: u64) -> Self {
        let StoredProof { members, bytes, signature } = proof;
        let (name, install) = (header.id.to_string(), header.install.name());
        let (depth, database, volumes) = (Depth::Stored, None, Vec::new());
        Self { name, install, verify, depth, members, bytes, signature, database, volumes, milliseconds }
    }

    /// The report of a verification with a key.
    pub fn plain(header: &Header, verify: String, proof: PlainProof, milliseconds: u64) -> Self {
        let PlainProof { members, bytes, signature, base, wal, volumes } = proof;
        let database = VerifiedDatabase {
            files: base.files,
            bytes: base.bytes,
            system_identifier: base.system_identifier,
            wal_segments: wal.segments,
            wal_from: wal.from,
            wal_to: wal.to,
        };
        let (name, install) = (header.id.to_string(), header.install.name());
        Self {
            name,
            install,
            verify,
            depth: Depth::Plain,
            members,
            bytes,
            signature,
            database: Some(database),
            volumes,
            milliseconds,
        }
    }
}

/// `dr bundle verify --sample 5%`: what was seen of a part, and how much was not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SampleReport {
    pub name: String,
    /// Whose bundle it is: `namespace/release`.
    pub install: String,
    /// The command that checks all of it.
    pub verify: String,
    /// Always `sampled`: no depth that a proof has.
    pub depth: &'static str,
    /// What was asked for, such as `5%`.
    pub sample: SampleShare,
    /// Whether what was read was opened, too.
    pub opened: bool,
    /// How many members were hashed.
    pub members: usize,
    /// How many bytes were read.
    pub bytes: u64,
    pub members_not_read: usize,
    pub bytes_not_read: u64,
    pub base_chunks: SampledChunks,
    pub wal_chunks: SampledChunks,
    pub signature: SignatureState,
    /// How long it took.
    pub milliseconds: u64,
}

impl SampleReport {
    pub fn new(header: &Header, verify: String, sample: SampleShare, proof: SampleProof, milliseconds: u64) -> Self {
        let SampleProof { members, bytes, members_not_read, bytes_not_read, opened, base, wal, signature } = proof;
        Self {
            name: header.id.to_string(),
            install: header.install.name(),
            verify,
            depth: "sampled",
            sample,
            opened,
            members,
            bytes,
            members_not_read,
            bytes_not_read,
            base_chunks: base,
            wal_chunks: wal,
            signature,
            milliseconds,
        }
    }
}
