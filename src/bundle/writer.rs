//! Writing a bundle: member by member into a draft of the store, then verified, then published.
//!
//! Whatever ends the program or drops the writer, what is left is a draft, which nothing takes for a bundle and which
//! [`Store::abort`] removes.

use std::collections::BTreeMap;
use std::fmt::Display;

use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::crypt::{Hashed, Recipients, Signer, TrustedSigners};
use crate::event::Events;
use crate::store::{Draft, DraftToken, Pending, Store};
use crate::values::overlay;

use super::error::{BundleError, BundleFault};
use super::format::SIGNATURE_NAMESPACE;
use super::header::{Header, OutOfScope};
use super::layout::{Member, Order, RAW_CHUNK_BYTES_LIMIT, Stream};
use super::manifest::{BackupIdentity, Manifest, MemberEntry, RawTotal, StreamTotal};
use super::proof::{Depth, Proof};
use super::published::PublishedRecord;
use super::reader::{Reader, Trust};
use super::readme;
use super::stored::StoredProof;
use super::tarball;
use super::volume::{self, BundledVolume, VolumeChunk};

/// How every age file begins: what does not is not let in, so that plaintext cannot slip into a bundle.
const AGE_MAGIC: &[u8] = b"age-encryption.org/v1\n";
const VALUES: &str = "values.yaml";

/// What is known only when all data have passed.
#[derive(Debug, Clone)]
pub struct BackupFacts {
    /// The database's identity and span of log.
    pub database: BackupIdentity,
    /// The base backup as the sending side counted it; compared with the sum of the chunks.
    pub base: RawTotal,
    /// The write-ahead log likewise.
    pub wal: RawTotal,
    /// How many of what is in it.
    pub counts: BTreeMap<String, u64>,
    pub scope: Vec<OutOfScope>,
}

/// A bundle that is being written. Dropped before the end, its draft stays for [`Store::abort`].
pub struct Writer {
    draft: Box<dyn Draft>,
    written: u64,
    header: Header,
    recipients: Recipients,
    mtime: u64,
    order: Order,
    members: Vec<MemberEntry>,
    values_sha256: String,
    helm_values_sha256: Option<String>,
    key_fingerprints: BTreeMap<String, String>,
    volumes: Vec<BundledVolume>,
    /// Of the volume that is being added.
    volume_chunks: Vec<VolumeChunk>,
}

impl Writer {
    /// Begins a bundle named `header.id` in `store`, and writes its header and README. `header.recipients` is set to
    /// the public keys of `recipients`.
    ///
    /// # Errors
    /// `Store`, or `Damaged` when the header's facts contradict each other.
    pub fn create(store: &dyn Store, header: Header, recipients: Recipients) -> Result<Self, BundleError> {
        let name = header.id.to_string();
        Self::begin(store, header, recipients).map_err(|fault| fault.of(&name))
    }

    fn begin(store: &dyn Store, mut header: Header, recipients: Recipients) -> Result<Self, BundleFault> {
        header.recipients = recipients.to_strings();
        header.check().map_err(|reason| BundleFault::damaged(Member::Header, reason))?;
        let mtime = header.mtime()?;
        let draft = store.begin(header.id.as_str(), header.estimated.database_bytes)?;
        let (first, readme) = (header.to_bytes()?, readme::render(&header));
        let mut writer = Self {
            draft,
            written: 0,
            header,
            recipients,
            mtime,
            order: Order::default(),
            members: Vec::new(),
            values_sha256: String::new(),
            helm_values_sha256: None,
            key_fingerprints: BTreeMap::new(),
            volumes: Vec::new(),
            volume_chunks: Vec::new(),
        };
        writer.add(&Member::Header, &Hashed::of(first), None)?;
        writer.add(&Member::Readme, &Hashed::of(readme), None)?;
        Ok(writer)
    }

    /// Seals `plaintext` and adds it as `config/<name>.age`; the digests of `values.yaml` go into the manifest.
    ///
    /// # Errors
    /// `Refused` out of order or with a name that the layout lacks; `Sealed`; `Store`.
    pub fn seal_config(&mut self, name: &str, plaintext: &[u8]) -> Result<(), BundleError> {
        if name == VALUES {
            self.values_sha256 = hex::encode(Sha256::digest(plaintext));
            let document = overlay::document_of_file(plaintext).ok();
            self.helm_values_sha256 = document.map(|document| hex::encode(Sha256::digest(&*document)));
        }
        let member = format!("config/{name}.age");
        match self.recipients.seal(plaintext) {
            Ok(sealed) => self.add_sealed(&member, &Hashed::of(sealed)),
            Err(source) => Err(self.name(BundleFault::Sealed { member, source })),
        }
    }

    /// Says which keys the data depends on: `fingerprints` by path go into the manifest.
    pub fn pair_keys(&mut self, fingerprints: BTreeMap<String, String>) {
        self.key_fingerprints = fingerprints;
    }

    /// Adds `values.yaml` as it was sealed elsewhere. `sha256` is said to be that of its plaintext, and `helm_sha256` is
    /// that of the document that Helm has stored of it: whoever opens the bundle holds it against both.
    ///
    /// # Errors
    /// As [`Self::add_sealed`].
    pub fn add_sealed_values(&mut self, sealed: &Hashed, sha256: &str, helm_sha256: &str) -> Result<(), BundleError> {
        self.values_sha256 = sha256.to_owned();
        self.helm_values_sha256 = Some(helm_sha256.to_owned());
        self.add_sealed(&format!("config/{VALUES}.age"), sealed)
    }

    /// Adds a member that was sealed elsewhere (`name` as in the tar), to the same recipients: this side cannot check
    /// that. `db/backup_manifest.age` comes this way, after the last chunk of either stream.
    ///
    /// # Errors
    /// As [`Self::seal_config`]; `Refused` also when the bytes are no age file. `values.yaml` has a way of its own,
    /// [`Self::add_sealed_values`].
    pub fn add_sealed(&mut self, name: &str, sealed: &Hashed) -> Result<(), BundleError> {
        let result = match Member::parse(name) {
            Err(reason) => Err(refused(name, reason)),
            Ok(Member::Chunk(..)) => Err(refused(name, "a chunk comes with its digests")),
            Ok(member) if !member.is_sealed() => Err(refused(name, "the writer makes it itself")),
            Ok(member) => self.add(&member, sealed, None),
        };
        result.map_err(|fault| self.name(fault))
    }

    /// Adds the next chunk of the tar of another volume: after the config, and before the chart. The rest as of
    /// [`Self::add_chunk`].
    ///
    /// # Errors
    /// `Refused` when it is too large, or the volume may not be called so; `Store`.
    pub fn add_volume_chunk(
        &mut self,
        volume: &str,
        stored: &Hashed,
        raw_bytes: u64,
        raw_sha256: &[u8; 32],
    ) -> Result<(), BundleError> {
        let name = volume::member(volume, u32::try_from(self.volume_chunks.len()).unwrap_or(u32::MAX));
        let result = match Member::parse(&name) {
            Ok(member) if volume::chunk_of(&member).is_some() && raw_bytes <= RAW_CHUNK_BYTES_LIMIT => {
                self.add(&member, stored, None)
            }
            _ => Err(refused(&name, "it is no chunk of a volume, or too large before compression")),
        };
        self.volume_chunks.push(VolumeChunk { raw_bytes, raw_sha256: hex::encode(raw_sha256) });
        result.map_err(|fault| self.name(fault))
    }

    /// Says what the volume was whose chunks were added since the last one: its own `chunks` are set to them.
    pub fn end_volume(&mut self, volume: BundledVolume) {
        let chunks = std::mem::take(&mut self.volume_chunks);
        self.volumes.push(BundledVolume { chunks, ..volume });
    }

    /// Adds the next chunk of `stream`: `stored` is one whole age file of one whole zstd frame; `raw_bytes` and
    /// `raw_sha256` are of the plaintext before compression.
    ///
    /// # Errors
    /// `Refused` when it is not the next one, or is too large; `Store`.
    pub fn add_chunk(
        &mut self,
        stream: Stream,
        index: u32,
        stored: &Hashed,
        raw_bytes: u64,
        raw_sha256: &[u8; 32],
    ) -> Result<(), BundleError> {
        let member = Member::Chunk(stream, index);
        let result = if raw_bytes > RAW_CHUNK_BYTES_LIMIT {
            Err(refused(&member, "it is too large before compression"))
        } else {
            let raw = Raw { bytes: raw_bytes, sha256: raw_sha256 };
            self.add(&member, stored, Some(&raw))
        };
        result.map_err(|fault| self.name(fault))
    }

    /// How many bytes of the bundle outlive a crash: what may be acknowledged to the sending side.
    ///
    /// # Errors
    /// `Store`.
    pub fn durable(&mut self) -> Result<u64, BundleError> {
        self.draft.durable().map_err(|error| self.name(error.into()))
    }

    /// How many bytes were written so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// See [`Draft::backlog`].
    pub fn backlog(&self) -> u64 {
        self.draft.backlog()
    }

    /// What finds the draft again.
    pub fn token(&self) -> DraftToken {
        self.draft.token()
    }

    /// Writes manifest and signature, and makes the whole durable. It is not a bundle yet: nobody has looked at what
    /// the store holds.
    ///
    /// # Errors
    /// `Refused` when members are missing or the counts of the sending side are not those of the chunks; `Sign`;
    /// `Store`.
    pub fn finish(mut self, facts: BackupFacts, signer: &Signer) -> Result<UnpublishedBundle, BundleError> {
        let record = self.seal_off(facts, signer).map_err(|fault| self.name(fault))?;
        let trusted = TrustedSigners::parse(&signer.trust_line(&signer.name(), &[SIGNATURE_NAMESPACE]), "the signer");
        let pending = self.draft.complete().map_err(|error| BundleFault::from(error).of(self.header.id.as_str()))?;
        Ok(UnpublishedBundle { pending, record, trust: Trust::Signers(trusted) })
    }

    fn seal_off(&mut self, facts: BackupFacts, signer: &Signer) -> Result<PublishedRecord, BundleFault> {
        let manifest = Manifest {
            format: self.header.format,
            id: self.header.id.clone(),
            database: facts.database,
            base: self.total(Stream::Base, facts.base)?,
            wal: self.total(Stream::Wal, facts.wal)?,
            values_sha256: self.values_sha256.clone(),
            helm_values_sha256: self.helm_values_sha256.clone(),
            key_fingerprints: self.key_fingerprints.clone(),
            counts: facts.counts,
            scope: facts.scope,
            volumes: self.volumes.clone(),
            members: self.members.clone(),
        };
        let bytes = manifest.to_bytes()?;
        Manifest::parse(&bytes, &self.header)?;
        let signature = signer.sign(SIGNATURE_NAMESPACE, &bytes).map_err(BundleFault::Sign)?;
        let manifest_at = self.written;
        let bytes = Hashed::of(bytes);
        self.add(&Member::Manifest, &bytes, None)?;
        self.add(&Member::Signature, &Hashed::of(signature), None)?;
        self.append(&tarball::END)?;
        Ok(PublishedRecord {
            header: self.header.clone(),
            bytes: self.written,
            manifest_at,
            manifest_sha256: hex::encode(bytes.sha256()),
            published_at: clock::now(),
        })
    }

    /// Sums up the chunks of `stream` and holds them against what the sending side counted.
    fn total(&self, stream: Stream, counted: RawTotal) -> Result<StreamTotal, BundleFault> {
        let prefix = format!("db/{}/", stream.folder());
        let mut total = StreamTotal { chunks: 0, stored_bytes: 0, raw: RawTotal { bytes: 0 } };
        for entry in self.members.iter().filter(|entry| entry.name.starts_with(&prefix)) {
            total.chunks += 1;
            total.stored_bytes += entry.bytes;
            total.raw.bytes += entry.raw_bytes.unwrap_or_default();
        }
        if total.raw.bytes == counted.bytes {
            return Ok(total);
        }
        Err(refused(prefix, format!("{} bytes were sent and {} came", counted.bytes, total.raw.bytes)))
    }

    fn add(&mut self, member: &Member, stored: &Hashed, raw: Option<&Raw>) -> Result<(), BundleFault> {
        let bytes = stored.bytes().len() as u64;
        check_stored(member, stored.bytes())?;
        self.order.admit(member).map_err(|reason| refused(member, reason))?;
        let name = member.to_string();
        self.append(&tarball::header(&name, bytes, self.mtime)?)?;
        self.append(stored.bytes())?;
        self.append(&tarball::END[..tarball::padding(bytes) as usize])?;
        self.members.push(MemberEntry {
            name,
            bytes,
            sha256: hex::encode(stored.sha256()),
            raw_bytes: raw.map(|raw| raw.bytes),
            raw_sha256: raw.map(|raw| hex::encode(raw.sha256)),
        });
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), BundleFault> {
        self.draft.append(bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    fn name(&self, fault: BundleFault) -> BundleError {
        fault.of(self.header.id.as_str())
    }
}

fn refused(member: impl Display, reason: impl Into<String>) -> BundleFault {
    BundleFault::Refused { member: member.to_string(), reason: reason.into() }
}

/// Whether these bytes may be stored as `member`.
fn check_stored(member: &Member, stored: &[u8]) -> Result<(), BundleFault> {
    if stored.len() as u64 > member.bytes_limit() {
        let reason = format!("{} bytes are more than the {} that it may have", stored.len(), member.bytes_limit());
        return Err(refused(member, reason));
    }
    if member.is_sealed() && !stored.starts_with(AGE_MAGIC) {
        return Err(refused(member, "it is not an age file"));
    }
    Ok(())
}

/// What comes with a chunk.
struct Raw<'a> {
    bytes: u64,
    sha256: &'a [u8; 32],
}

/// All bytes are handed to the store; what it holds has not been looked at. Dropped, it stays for [`Store::abort`].
#[must_use = "an unpublished bundle is no bundle"]
pub struct UnpublishedBundle {
    pending: Box<dyn Pending>,
    record: PublishedRecord,
    trust: Trust,
}

impl UnpublishedBundle {
    /// A copy of `source`, of which `pending` has all bytes. It is believed as the source was.
    pub fn of_copy(pending: Box<dyn Pending>, source: &Reader, trust: &Trust) -> Self {
        let record = PublishedRecord { published_at: clock::now(), ..source.record() };
        Self { pending, record, trust: trust.clone() }
    }

    /// Reads back from the store what was written, by the record that is to be published, with the signature checked
    /// against the key of this run. For a look inside before publishing, such as [`Reader::verify_plain`].
    ///
    /// # Errors
    /// As [`Reader::open_in`].
    pub fn reader(&self) -> Result<Reader, BundleError> {
        let stored =
            self.pending.open().map_err(|error| BundleFault::from(error).of(self.record.header.id.as_str()))?;
        Reader::open_by_record(stored, &self.record, &self.trust)
    }

    /// Reads back every stored byte and checks it against manifest and signature.
    ///
    /// # Errors
    /// Everything that [`Reader::open_in`] and [`Reader::verify_stored`] refuse.
    pub fn verify(self, events: &Events, cancel: &CancellationToken) -> Result<VerifiedBundle, BundleError> {
        let proof = self.reader()?.verify_stored(events, cancel)?;
        Ok(VerifiedBundle { pending: self.pending, record: self.record, proof, prover: None })
    }
}

/// Every stored byte was read back and is right. Dropped, it stays for [`Store::abort`].
#[must_use = "a verified bundle is not in the catalog before it is published"]
pub struct VerifiedBundle {
    pending: Box<dyn Pending>,
    record: PublishedRecord,
    proof: StoredProof,
    /// Who signs that it was verified.
    prover: Option<Signer>,
}

impl VerifiedBundle {
    /// The same, and what is kept of the verification is signed. Without a key it counts for nobody.
    pub fn proved_by(self, prover: Option<Signer>) -> Self {
        Self { prover, ..self }
    }

    pub fn proof(&self) -> &StoredProof {
        &self.proof
    }

    /// What a store and a vault are told of it.
    pub fn record(&self) -> &PublishedRecord {
        &self.record
    }

    /// Makes it a bundle of `store`, the one that it was begun in, and keeps the verification beside it.
    ///
    /// # Errors
    /// `Store`, or `Damaged` when the store then holds another record. A proof that cannot be kept is no failure of the
    /// bundle: the next verification keeps one.
    pub fn publish(self, store: &dyn Store) -> Result<StoredProof, BundleError> {
        let name = self.record.header.id.to_string();
        let record = self.record.to_bytes().map_err(|fault| fault.of(&name))?;
        let published = self.pending.publish(&record);
        // What the store says is not taken on trust; and where it failed, the answer may be all that was lost.
        match (store.record(&name), published) {
            (Ok(found), _) if found == record => {}
            (_, Err(error)) => return Err(BundleFault::from(error).of(&name)),
            (Ok(_), Ok(())) => return Err(PublishedRecord::misfit("it is not what was written").of(&name)),
            (Err(error), Ok(())) => return Err(BundleFault::from(error).of(&name)),
        }
        let proof = Proof::new(Depth::Stored, self.proof.signature.signer(), &self.record.manifest_sha256);
        drop(proof.keep(store, &name, self.prover.as_ref()));
        Ok(self.proof)
    }
}
