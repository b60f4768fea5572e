//! Reading a bundle. Nothing is unpacked, opened or believed before the signature was checked.

use std::sync::Arc;

use serde::Serialize;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::crypt::seal::Identities;
use crate::crypt::trusted::{SignedBy, TrustedSigners};
use crate::store::{Store, Stored};
use crate::values::overlay;

use super::error::{BundleError, BundleFault};
use super::format::SIGNATURE_NAMESPACE;
use super::header::Header;
use super::layout::{Member, Stream};
use super::manifest::{Manifest, MemberEntry};
use super::places::{self, Place, Tail};
use super::published::PublishedRecord;
use super::tarball::BLOCK;
use super::volume;

const VALUES: &str = "config/values.yaml.age";
pub(super) const OTHER_BYTES: &str = "its stored bytes are not those that the manifest lists";

/// Whose bundles to take.
#[derive(Debug, Clone)]
pub enum Trust {
    /// Those that one of these has signed.
    Signers(TrustedSigners),
    /// Anyone's, signed or not, but for those of keys that are revoked here. Restoring such a bundle runs whatever its
    /// maker put into it.
    Anyone(TrustedSigners),
}

/// What is known of the signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum SignatureState {
    /// Good, by somebody trusted.
    Trusted { signer: SignedBy },
    /// Good, but nobody asked whether the signer is trusted.
    Unchecked {
        /// `SHA256:...` of the key that made it.
        fingerprint: String,
    },
    /// There is none, and nobody minded.
    Unsigned,
}

impl SignatureState {
    /// The trusted signer's name.
    pub fn signer(&self) -> Option<&str> {
        match self {
            Self::Trusted { signer } => Some(&signer.principal),
            _ => None,
        }
    }
}

/// One chunk of a stream or of a volume, with where it lies and what it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredChunk {
    pub member: Member,
    /// Its number, from 0.
    pub index: u32,
    /// Where its stored bytes begin in the bundle.
    pub offset: u64,
    pub stored_bytes: u64,
    /// SHA-256 of them, as lower-case hex.
    pub sha256: String,
    /// Its length after opening and unpacking.
    pub raw_bytes: u64,
    /// SHA-256 of that, as lower-case hex.
    pub raw_sha256: String,
}

/// An opened bundle: layout, signature and manifest are checked, the members' bytes are not yet.
pub struct Reader {
    pub(super) stored: Arc<dyn Stored>,
    pub(super) header: Header,
    pub(super) manifest: Manifest,
    pub(super) signature: SignatureState,
    manifest_sha256: String,
    /// What all tar headers bear.
    pub(super) mtime: u64,
    /// The members that the manifest lists, in its order.
    pub(super) places: Vec<Place>,
    pub(super) tail: Tail,
}

impl Reader {
    /// Opens a bundle of which nothing is known: walks the tar headers from member to member, reads the header, checks
    /// the signature over the manifest, and that the manifest lists exactly the members that are there, with their sizes.
    /// Reads a few KiB and a header a member, whatever the size.
    ///
    /// # Errors
    /// `NotABundle`, `TooNew`, `Truncated`, `Layout`, `Damaged`, `Unsigned`, `Untrusted`, `Json`, `Store`.
    pub fn open(stored: Arc<dyn Stored>, trust: &Trust) -> Result<Self, BundleError> {
        let name = stored.name().to_owned();
        open(stored, None, trust).map_err(|fault| fault.of(&name))
    }

    /// Opens the bundle `name` of `store` by its record: reads the end of it with manifest and signature, and computes
    /// where every other member must be. Their tar headers are checked when their bytes pass.
    ///
    /// # Errors
    /// As [`Self::open`]; `Damaged` also when the record does not fit the bundle.
    pub fn open_in(store: &dyn Store, name: &str, trust: &Trust) -> Result<Self, BundleError> {
        let opened = || {
            let record = PublishedRecord::parse(&store.record(name)?, name)?;
            open(store.open(name)?, Some(&record), trust)
        };
        opened().map_err(|fault| fault.of(name))
    }

    /// Opens a bundle by a record that no store has yet.
    pub(super) fn open_by_record(
        stored: Arc<dyn Stored>,
        record: &PublishedRecord,
        trust: &Trust,
    ) -> Result<Self, BundleError> {
        let name = stored.name().to_owned();
        open(stored, Some(record), trust).map_err(|fault| fault.of(&name))
    }

    /// Reads only the clear header, of which nothing is proved yet.
    ///
    /// # Errors
    /// `NotABundle`, `TooNew`, `Truncated`, `Layout`, `Damaged`, `Json`, `Store`.
    pub fn peek(stored: &dyn Stored) -> Result<Header, BundleError> {
        places::read_head(stored).map(|head| head.header).map_err(|fault| fault.of(stored.name()))
    }

    /// What the bundle is.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The record that a store is given of it.
    pub fn record(&self) -> PublishedRecord {
        PublishedRecord {
            header: self.header.clone(),
            bytes: self.bytes(),
            manifest_at: self.tail.manifest.start(),
            manifest_sha256: self.manifest_sha256.clone(),
            published_at: self.header.created,
        }
    }

    /// What it must hold.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// SHA-256 of the bytes of its manifest: which bundle this is, to the byte.
    pub fn manifest_sha256(&self) -> &str {
        &self.manifest_sha256
    }

    pub(super) fn members(&self) -> usize {
        self.places.len() + 1 + usize::from(self.tail.signature.is_some())
    }

    /// What is known of its signature.
    pub fn signature(&self) -> &SignatureState {
        &self.signature
    }

    /// Its length in bytes.
    pub fn bytes(&self) -> u64 {
        self.stored.len()
    }

    /// The plaintext of the sealed member `name`, wiped when dropped. `config/values.yaml.age` is also held against
    /// the digests of the values in the manifest.
    ///
    /// # Errors
    /// `NoMember`, `Damaged`, `Store`; `Sealed` when no identity fits.
    pub fn open_member(&self, name: &str, identities: &Identities) -> Result<Zeroizing<Vec<u8>>, BundleError> {
        self.open_plain(name, identities).map_err(|fault| self.fault(fault))
    }

    pub(super) fn open_plain(&self, name: &str, identities: &Identities) -> Result<Zeroizing<Vec<u8>>, BundleFault> {
        let (place, entry) = self.find(name)?;
        let sealed = self.stored_member(place, &entry.sha256)?;
        let plaintext =
            identities.open(&sealed).map_err(|source| BundleFault::Sealed { member: name.to_owned(), source })?;
        if name == VALUES {
            self.check_values(&plaintext).map_err(|reason| BundleFault::damaged(name, reason))?;
        }
        Ok(plaintext)
    }

    /// Whether these are the values that the manifest names, and what Helm had of them when the bundle was made: its maker
    /// may have taken them on sealed.
    fn check_values(&self, plaintext: &[u8]) -> Result<(), String> {
        if hex::encode(Sha256::digest(plaintext)) != self.manifest.values_sha256 {
            return Err("its plaintext is not the values.yaml that the manifest names".into());
        }
        let Some(stored) = &self.manifest.helm_values_sha256 else { return Ok(()) };
        match overlay::document_of_file(plaintext) {
            Ok(document) if hex::encode(Sha256::digest(&*document)) == *stored => Ok(()),
            Ok(_) => Err("they are not the values that were live when the bundle was made".into()),
            Err(error) => Err(format!("Helm would not read it: {error}")),
        }
    }

    /// The names of the sealed members that are no chunks: config, chart, PostgreSQL's manifest.
    pub fn sealed_members(&self) -> impl Iterator<Item = &str> {
        self.listed()
            .filter(|(place, _)| place.member.is_sealed() && !is_chunk(&place.member))
            .map(|(_, entry)| entry.name.as_str())
    }

    /// The name of the chart's member, if the bundle holds one.
    pub fn chart(&self) -> Option<&str> {
        self.sealed_members().find(|name| name.starts_with("chart/"))
    }

    /// The chunks of `stream` in order; skip to go on from a later one.
    pub fn chunks(&self, stream: Stream) -> impl Iterator<Item = StoredChunk> {
        self.listed().filter_map(move |(place, entry)| match place.member {
            Member::Chunk(of, index) if of == stream => Some(StoredChunk {
                member: place.member.clone(),
                index,
                offset: place.offset,
                stored_bytes: place.bytes,
                sha256: entry.sha256.clone(),
                raw_bytes: entry.raw_bytes?,
                raw_sha256: entry.raw_sha256.clone()?,
            }),
            _ => None,
        })
    }

    /// Opens `chunk` into `frame`, by way of `stored`, both of which may have been used before: one whole zstd frame. The
    /// receiving side unpacks it and must find `raw_bytes` bytes with the digest `raw_sha256`.
    ///
    /// # Errors
    /// `Damaged`, `Sealed`, `Store`.
    pub fn open_chunk(
        &self,
        chunk: &StoredChunk,
        identities: &Identities,
        stored: &mut Vec<u8>,
        frame: &mut Zeroizing<Vec<u8>>,
    ) -> Result<(), BundleError> {
        self.chunk_frame_into(chunk, identities, stored, frame).map_err(|fault| self.fault(fault))
    }

    pub(super) fn chunk_frame(
        &self,
        chunk: &StoredChunk,
        identities: &Identities,
    ) -> Result<Zeroizing<Vec<u8>>, BundleFault> {
        let mut frame = Zeroizing::default();
        self.chunk_frame_into(chunk, identities, &mut Vec::new(), &mut frame)?;
        Ok(frame)
    }

    /// The same into `frame`, by way of `stored`: memory that was used before.
    pub(super) fn chunk_frame_into(
        &self,
        chunk: &StoredChunk,
        identities: &Identities,
        stored: &mut Vec<u8>,
        frame: &mut Zeroizing<Vec<u8>>,
    ) -> Result<(), BundleFault> {
        let place = Place { member: chunk.member.clone(), offset: chunk.offset, bytes: chunk.stored_bytes };
        let sealed = self.read_framed(&place, &chunk.sha256, stored)?;
        let failed = |source| BundleFault::Sealed { member: place.member.to_string(), source };
        identities.open_into(sealed, frame).map_err(failed)
    }

    /// The members that the manifest lists, with where they are.
    pub(super) fn listed(&self) -> impl Iterator<Item = (&Place, &MemberEntry)> {
        self.places.iter().zip(&self.manifest.members)
    }

    pub(super) fn fault(&self, fault: BundleFault) -> BundleError {
        fault.of(self.stored.name())
    }

    fn find(&self, name: &str) -> Result<(&Place, &MemberEntry), BundleFault> {
        self.listed().find(|(_, entry)| entry.name == name).ok_or_else(|| BundleFault::NoMember(name.to_owned()))
    }

    /// The stored bytes of the member at `place`; they and all that stands around them are checked.
    pub(super) fn stored_member(&self, place: &Place, sha256: &str) -> Result<Vec<u8>, BundleFault> {
        let mut buffer = Vec::new();
        let bytes = self.read_framed(place, sha256, &mut buffer)?.len();
        buffer.truncate(BLOCK as usize + bytes);
        buffer.drain(..BLOCK as usize);
        Ok(buffer)
    }

    /// The same, as a part of `buffer`, which may have been used before.
    fn read_framed<'b>(&self, place: &Place, sha256: &str, buffer: &'b mut Vec<u8>) -> Result<&'b [u8], BundleFault> {
        buffer.resize((place.end() - place.start()) as usize, 0);
        self.stored.read_at(place.start(), buffer).map_err(places::cut_off)?;
        let (block, rest) = buffer.split_at(BLOCK as usize);
        let (content, padding) = rest.split_at(place.bytes as usize);
        places::check_block(place, block, self.mtime)?;
        if hex::encode(Sha256::digest(content)) != sha256 {
            return Err(BundleFault::damaged(&place.member, OTHER_BYTES));
        }
        places::check_padding(place, padding)?;
        Ok(content)
    }
}

/// Whether it is a chunk, of the database or of another volume.
pub(super) fn is_chunk(member: &Member) -> bool {
    matches!(member, Member::Chunk(..)) || volume::chunk_of(member).is_some()
}

fn open(stored: Arc<dyn Stored>, record: Option<&PublishedRecord>, trust: &Trust) -> Result<Reader, BundleFault> {
    let head = places::read_head(&*stored)?;
    let (walked, window, tail) = match record {
        None => {
            let (places, tail) = places::walk(&*stored, &head)?;
            (Some(places), None, tail)
        }
        Some(record) => {
            let (window, tail) = places::tail_by_record(&stored, &head, record)?;
            (None, Some(window), tail)
        }
    };
    let end: &dyn Stored = window.as_ref().map_or(&*stored, |window| window);
    let bytes = places::read(end, &tail.manifest)?;
    let signature = match (&tail.signature, trust) {
        (None, Trust::Signers(_)) => return Err(BundleFault::Unsigned),
        (None, Trust::Anyone(_)) => SignatureState::Unsigned,
        (Some(place), Trust::Signers(signers)) => {
            let armored = places::read(end, place)?;
            let signer = signers.verify(SIGNATURE_NAMESPACE, &bytes, &armored).map_err(BundleFault::Untrusted)?;
            SignatureState::Trusted { signer }
        }
        (Some(place), Trust::Anyone(signers)) => {
            let armored = places::read(end, place)?;
            let fingerprint =
                signers.verify_claimed(SIGNATURE_NAMESPACE, &bytes, &armored).map_err(BundleFault::Untrusted)?;
            SignatureState::Unchecked { fingerprint }
        }
    };
    let manifest_sha256 = hex::encode(Sha256::digest(&bytes));
    if record.is_some_and(|record| record.manifest_sha256 != manifest_sha256) {
        return Err(PublishedRecord::misfit("it is the record of another manifest"));
    }
    let manifest = Manifest::parse(&bytes, &head.header)?;
    let places = match walked {
        Some(places) => {
            fits(&places, &manifest)?;
            places
        }
        None => places::computed(&manifest, &tail)?,
    };
    let reader =
        Reader { stored, header: head.header, manifest, signature, manifest_sha256, mtime: head.mtime, places, tail };
    // The header decides where the bundle may be restored, so it is proved here and not only by a verification.
    reader.find("bundle.json").and_then(|(place, entry)| reader.stored_member(place, &entry.sha256))?;
    Ok(reader)
}

/// Whether the manifest lists exactly `places`.
fn fits(places: &[Place], manifest: &Manifest) -> Result<(), BundleFault> {
    for (place, entry) in places.iter().zip(&manifest.members) {
        let found = place.member.to_string();
        if found != entry.name {
            let reason = format!("the manifest has {} in its place", entry.name);
            return Err(BundleFault::Layout { member: found, reason });
        }
        if place.bytes != entry.bytes {
            let reason = format!("it has {} bytes and the manifest says {}", place.bytes, entry.bytes);
            return Err(BundleFault::damaged(found, reason));
        }
    }
    if let Some(place) = places.get(manifest.members.len()) {
        return Err(BundleFault::Layout {
            member: place.member.to_string(),
            reason: "the manifest does not list it".into(),
        });
    }
    manifest.members.get(places.len()).map_or(Ok(()), |entry| Err(BundleFault::NoMember(entry.name.clone())))
}
