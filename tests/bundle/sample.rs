//! Makes tiny bundles whose database is small but true: every check that a real one passes, it passes.

use std::collections::BTreeMap;
use std::sync::Arc;

use dr::internals::bundle::{
    BackupFacts, BackupIdentity, BundleId, BundledVolume, Estimated, FORMAT, Header, OpsChain, OutOfScope, PostgreSql,
    QuiesceMode, RawTotal, SourceInstall, Stream, Trust, UnpublishedBundle, Writer,
};
use dr::internals::bundle::{BundleError, Reader};
use dr::internals::crypt::{Hashed, Identities, Recipients, Signer, TrustedSigners};
use dr::internals::event::Events;
use dr::{DirectoryStore, Store, StoreError, Stored};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

pub const SYSTEM: u64 = 7_711_272_386_700_096_654;
pub const SEGMENT: u64 = 1 << 20;
pub const VALUES: &[u8] =
    b"env:\n  OPSCHAIN_PRIMARY_KEY: 'not a real key, 32 characters!!'\r\n# last line without newline";

/// Keys, a store in a temporary folder, and what was put into it.
pub struct Bench {
    pub folder: tempfile::TempDir,
    pub store: DirectoryStore,
    pub identities: Identities,
    pub signer: Signer,
}

impl Bench {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = DirectoryStore::create(&folder.path().join("store")).unwrap();
        Self { folder, store, identities: Identities::generate(), signer: Signer::generate("backup@test").unwrap() }
    }

    pub fn recipients(&self) -> Recipients {
        Recipients::parse(self.identities.recipients()).unwrap()
    }

    pub fn trust(&self) -> Trust {
        trust(&self.signer)
    }

    /// Writes and publishes a good bundle, and returns its name.
    pub fn publish(&self, header: Header) -> String {
        let name = header.id.to_string();
        let unpublished = write(&self.store, header, self.recipients(), &self.signer);
        let verified = unpublished.verify(&Events::none(), &CancellationToken::new()).unwrap();
        verified.publish(&self.store).unwrap();
        name
    }

    /// The bytes of a good bundle.
    pub fn bytes(&self) -> Vec<u8> {
        let name = self.publish(header());
        std::fs::read(self.store.address(&name)).unwrap()
    }
}

pub fn trust(signer: &Signer) -> Trust {
    let line = signer.trust_line("backup@test", dr::internals::bundle::HOST_NAMESPACES);
    Trust::Signers(TrustedSigners::parse(&line, "test"))
}

pub fn header() -> Header {
    header_of("2026-08-20", "2026-11-23T07:54:43Z")
}

pub fn header_of(version: &str, created: &str) -> Header {
    let created = created.parse().unwrap();
    Header {
        format: FORMAT,
        id: BundleId::generate("opschain", created).unwrap(),
        created,
        dr_version: "0.1.0".into(),
        opschain: OpsChain { version: version.into(), chart_version: version.replace("-0", ".").replace('-', ".") },
        install: SourceInstall {
            namespace: "opschain".parse().unwrap(),
            release: "opschain".parse().unwrap(),
            database_cluster: "opschain-db".parse().unwrap(),
            database_cluster_uid: "c0ffee00-0000-4000-8000-000000000001".into(),
        },
        postgresql: PostgreSql { major: 15, version: "15.14".into(), system_identifier: SYSTEM.to_string() },
        quiesce: QuiesceMode::Brief,
        estimated: Estimated { database_bytes: 40_000 },
        recipients: Vec::new(),
        scope: scope(),
        replaced_by: None,
    }
}

pub fn scope() -> Vec<OutOfScope> {
    vec![OutOfScope {
        what: "LDAP users and groups".into(),
        why: "they are not in the database".into(),
        whereabouts: "the volume opschain-ldap-claim".into(),
    }]
}

/// The files of a database folder, as far as a check of it goes.
pub fn files() -> Vec<(&'static str, Vec<u8>)> {
    let mut control = SYSTEM.to_le_bytes().to_vec();
    control.resize(8192, 0);
    let noise: Vec<u8> = (0..9000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    vec![
        ("backup_label", b"START WAL LOCATION: 0/2000028 (file 000000010000000000000020)\n".to_vec()),
        ("PG_VERSION", b"15\n".to_vec()),
        ("base/1/1259", noise),
        ("base/1/empty", Vec::new()),
        ("global/pg_control", control),
    ]
}

pub fn tar_of<N: AsRef<str>>(files: &[(N, Vec<u8>)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o600);
        tar.append_data(&mut header, name.as_ref(), content.as_slice()).unwrap();
    }
    tar.into_inner().unwrap()
}

/// PostgreSQL's manifest of `files`, as version 15 writes it.
pub fn backup_manifest(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let lines: Vec<String> = files
        .iter()
        .map(|(path, content)| {
            let sum = hex::encode(crc32c::crc32c(content).to_le_bytes());
            format!(
                r#"{{ "Path": "{path}", "Size": {}, "Last-Modified": "2026-11-23 07:54:43 GMT", "Checksum-Algorithm": "CRC32C", "Checksum": "{sum}" }}"#,
                content.len()
            )
        })
        .collect();
    let body = format!(
        "{{ \"PostgreSQL-Backup-Manifest-Version\": 1,\n\"Files\": [\n{}\n],\n\"WAL-Ranges\": [\n\
         {{ \"Timeline\": 1, \"Start-LSN\": \"0/2000028\", \"End-LSN\": \"0/2000100\" }}\n],\n",
        lines.join(",\n")
    );
    format!("{body}\"Manifest-Checksum\": \"{}\"}}\n", hex::encode(Sha256::digest(&body))).into_bytes()
}

/// Segments 0x20 and 0x21 of the log.
pub fn segments() -> Vec<(String, Vec<u8>)> {
    [0x20u64, 0x21]
        .map(|number| {
            let mut bytes = vec![0; SEGMENT as usize];
            bytes[0..2].copy_from_slice(&0xD110u16.to_le_bytes());
            bytes[2..4].copy_from_slice(&2u16.to_le_bytes());
            bytes[4..8].copy_from_slice(&1u32.to_le_bytes());
            bytes[8..16].copy_from_slice(&(number * SEGMENT).to_le_bytes());
            bytes[24..32].copy_from_slice(&SYSTEM.to_le_bytes());
            bytes[32..36].copy_from_slice(&(SEGMENT as u32).to_le_bytes());
            bytes[36..40].copy_from_slice(&8192u32.to_le_bytes());
            (format!("0000000100000000{number:08X}"), bytes)
        })
        .to_vec()
}

pub fn database_facts() -> BackupIdentity {
    BackupIdentity {
        system_identifier: SYSTEM.to_string(),
        timeline: 1,
        start_lsn: "0/2000028".parse().unwrap(),
        end_lsn: "0/2000100".parse().unwrap(),
        quiesce_lsn: Some("0/2100200".parse().unwrap()),
        wal_end_lsn: None,
        wal_segment_bytes: SEGMENT,
    }
}

/// What goes into a bundle; tests change a part of it.
pub struct Content {
    pub base: Vec<u8>,
    pub wal: Vec<u8>,
    pub backup_manifest: Vec<u8>,
    pub database: BackupIdentity,
    /// Values that were sealed elsewhere, and what is said of them: their digest, and that of what Helm had.
    pub values: Option<(Hashed, String, String)>,
    pub release: &'static [u8],
    /// Other volumes, with their tars.
    pub volumes: Vec<(BundledVolume, Vec<u8>)>,
    /// How long a chunk of the base is before it is compressed.
    pub base_chunk: usize,
}

impl Content {
    pub fn good() -> Self {
        Self {
            base: tar_of(&files()),
            wal: tar_of(&segments()),
            backup_manifest: backup_manifest(&files()),
            database: database_facts(),
            values: None,
            release: b"{\"revision\": 3}",
            volumes: Vec::new(),
            base_chunk: 8_000,
        }
    }
}

pub fn write(store: &dyn Store, header: Header, recipients: Recipients, signer: &Signer) -> UnpublishedBundle {
    write_content(store, header, recipients, signer, &Content::good()).unwrap()
}

pub fn write_content(
    store: &dyn Store,
    header: Header,
    recipients: Recipients,
    signer: &Signer,
    content: &Content,
) -> Result<UnpublishedBundle, BundleError> {
    fill(Writer::create(store, header, recipients.clone())?, recipients, signer, content)
}

/// Adds another volume, in small chunks.
pub fn add_volume(
    writer: &mut Writer,
    recipients: &Recipients,
    volume: &BundledVolume,
    tar: &[u8],
) -> Result<(), BundleError> {
    for raw in cut(tar, 1_500) {
        let stored = Hashed::of(recipients.seal(&zstd::bulk::compress(&raw, 1).unwrap()).unwrap());
        writer.add_volume_chunk(&volume.volume, &stored, raw.len() as u64, &Sha256::digest(&raw).into())?;
    }
    writer.end_volume(volume.clone());
    Ok(())
}

/// Puts all of it into a bundle that was begun.
pub fn fill(
    mut writer: Writer,
    recipients: Recipients,
    signer: &Signer,
    content: &Content,
) -> Result<UnpublishedBundle, BundleError> {
    match &content.values {
        None => writer.seal_config("values.yaml", VALUES)?,
        Some((sealed, sha256, helm_sha256)) => writer.add_sealed_values(sealed, sha256, helm_sha256)?,
    }
    writer.seal_config("release.json", content.release)?;
    writer.seal_config("secrets.yaml", b"kind: List\n")?;
    for (volume, tar) in &content.volumes {
        add_volume(&mut writer, &recipients, volume, tar)?;
    }
    let chart = recipients.seal(b"not really a chart").unwrap();
    writer.add_sealed("chart/opschain-2026.8.20.tgz.age", &Hashed::of(chart))?;
    let base = cut(&content.base, content.base_chunk);
    let wal = cut(&content.wal, 1_500_000);
    for index in 0..base.len().max(wal.len()) {
        for (stream, pieces) in [(Stream::Base, &base), (Stream::Wal, &wal)] {
            if let Some(raw) = pieces.get(index) {
                add_chunk(&mut writer, &recipients, stream, index as u32, raw)?;
            }
        }
    }
    let listing = Hashed::of(recipients.seal(&content.backup_manifest).unwrap());
    writer.add_sealed("db/backup_manifest.age", &listing)?;
    assert!(writer.durable()? + writer.backlog() >= writer.written());
    let facts = BackupFacts {
        database: content.database.clone(),
        base: whole(&content.base),
        wal: whole(&content.wal),
        counts: BTreeMap::from([("secrets".into(), 4)]),
        scope: scope(),
    };
    writer.finish(facts, signer)
}

pub fn whole(raw: &[u8]) -> RawTotal {
    RawTotal { bytes: raw.len() as u64 }
}

pub fn cut(bytes: &[u8], size: usize) -> Vec<Vec<u8>> {
    bytes.chunks(size).map(<[u8]>::to_vec).collect()
}

pub fn add_chunk(
    writer: &mut Writer,
    recipients: &Recipients,
    stream: Stream,
    index: u32,
    raw: &[u8],
) -> Result<(), BundleError> {
    let stored = Hashed::of(recipients.seal(&zstd::bulk::compress(raw, 1).unwrap()).unwrap());
    writer.add_chunk(stream, index, &stored, raw.len() as u64, &Sha256::digest(raw).into())
}

/// A bundle in memory.
pub struct Memory(pub Vec<u8>);

impl Stored for Memory {
    fn name(&self) -> &str {
        "memory"
    }

    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), StoreError> {
        let from = offset as usize;
        match self.0.get(from..from + buffer.len()) {
            Some(bytes) => buffer.copy_from_slice(bytes),
            None => {
                return Err(StoreError::Short { object: "memory".into(), wanted: offset + buffer.len() as u64 });
            }
        }
        Ok(())
    }
}

/// Opens and verifies every stored byte: what must fail for any damage.
pub fn check(bytes: Vec<u8>, trust: &Trust) -> Result<(), BundleError> {
    let reader = Reader::open(Arc::new(Memory(bytes)), trust)?;
    reader.verify_stored(&Events::none(), &CancellationToken::new()).map(|_| ())
}

/// Opens, and verifies all plaintexts as well.
pub fn check_plain(bytes: Vec<u8>, trust: &Trust, identities: &Identities) -> Result<(), BundleError> {
    let reader = Reader::open(Arc::new(Memory(bytes)), trust)?;
    reader.verify_plain(identities, &Events::none(), &CancellationToken::new()).map(|_| ())
}

/// An error and its causes on one line.
pub fn text(error: &BundleError) -> String {
    dr::internals::error::chain(error)
}
