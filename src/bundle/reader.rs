//! Reading a bundle. Nothing is unpacked, opened or believed before the signature was checked.

use std::sync::Arc;

use serde::Serialize;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::crypt::seal::Identities;
use crate::crypt::sign::{self, SignedBy, TrustedSigners};
use crate::store::{Store, StoreError, Stored};

use super::error::{BundleError, Fault};
use super::format::SIGNATURE_NAMESPACE;
use super::header::Header;
use super::layout::{Member, Order, Stream};
use super::manifest::{Manifest, MemberEntry};
use super::tarball::{self, BLOCK};

const VALUES: &str = "config/values.yaml.age";

/// Whose bundles to take.
#[derive(Debug, Clone)]
pub enum Trust {
    /// Those that one of these has signed.
    Signers(TrustedSigners),
    /// Anyone's, signed or not. Restoring such a bundle runs whatever its maker put into it.
    Anyone,
}

/// What is known of the signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum SignatureState {
    /// Good, by somebody trusted.
    Trusted {
        /// Who.
        signer: SignedBy,
    },
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

/// One chunk of a stream, with where it lies and what it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// The stream.
    pub stream: Stream,
    /// Its number, from 0.
    pub index: u32,
    /// Where its stored bytes begin in the bundle.
    pub offset: u64,
    /// How many stored bytes it has.
    pub stored_bytes: u64,
    /// SHA-256 of them, as lower-case hex.
    pub sha256: String,
    /// Its length after opening and unpacking.
    pub raw_bytes: u64,
    /// SHA-256 of that, as lower-case hex.
    pub raw_sha256: String,
}

/// Where a member lies.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) member: Member,
    pub(super) offset: u64,
    pub(super) bytes: u64,
}

/// An opened bundle: layout, signature and manifest are checked, the members' bytes are not yet.
pub struct Reader {
    pub(super) stored: Arc<dyn Stored>,
    pub(super) header: Header,
    pub(super) manifest: Manifest,
    pub(super) signature: SignatureState,
    /// The members that the manifest lists, in its order, then the manifest and its signature.
    pub(super) places: Vec<Place>,
}

impl Reader {
    /// Opens a bundle: walks the tar headers from member to member, reads the header, checks the signature over the
    /// manifest, and that the manifest lists exactly the members that are there, with their sizes. Reads a few KiB and
    /// a header a member, whatever the size.
    ///
    /// # Errors
    /// `NotABundle`, `TooNew`, `Truncated`, `Layout`, `Damaged`, `Unsigned`, `Untrusted`, `Json`, `Store`.
    pub fn open(stored: Arc<dyn Stored>, trust: &Trust) -> Result<Self, BundleError> {
        let name = stored.name().to_owned();
        open(stored, trust).map_err(|fault| fault.of(&name))
    }

    /// Opens the bundle `name` of `store`, which must be the bundle of that name and not a renamed one.
    ///
    /// # Errors
    /// As [`Self::open`]; `NotABundle` also when it names itself otherwise.
    pub fn open_in(store: &dyn Store, name: &str, trust: &Trust) -> Result<Self, BundleError> {
        let stored = store.open(name).map_err(|error| Fault::from(error).of(name))?;
        let reader = Self::open(stored, trust)?;
        if reader.header.id.as_str() != name {
            return Err(Fault::NotABundle(format!("it was renamed: it is bundle {}", reader.header.id)).of(name));
        }
        Ok(reader)
    }

    /// Reads only the clear header, of which nothing is proved yet.
    ///
    /// # Errors
    /// `NotABundle`, `TooNew`, `Truncated`, `Layout`, `Damaged`, `Json`, `Store`.
    pub fn peek(stored: &dyn Stored) -> Result<Header, BundleError> {
        read_header(stored).map(|(header, ..)| header).map_err(|fault| fault.of(stored.name()))
    }

    /// What the bundle is.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// What it must hold.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// What is known of its signature.
    pub fn signature(&self) -> &SignatureState {
        &self.signature
    }

    /// Its length in bytes.
    pub fn bytes(&self) -> u64 {
        self.stored.len()
    }

    /// What errors call it.
    pub fn name(&self) -> &str {
        self.stored.name()
    }

    /// The stored bytes of the member `name`, checked against the manifest.
    ///
    /// # Errors
    /// `NoMember`, `Damaged`, `Store`.
    pub fn member(&self, name: &str) -> Result<Vec<u8>, BundleError> {
        self.find(name).and_then(|(place, entry)| self.read_checked(place, entry)).map_err(|fault| self.fault(fault))
    }

    /// The plaintext of the sealed member `name`, wiped when dropped. `config/values.yaml.age` is also held against
    /// the digest of the values in the manifest.
    ///
    /// # Errors
    /// As [`Self::member`]; `Sealed` when no identity fits.
    pub fn open_member(&self, name: &str, identities: &Identities) -> Result<Zeroizing<Vec<u8>>, BundleError> {
        self.open_plain(name, identities).map_err(|fault| self.fault(fault))
    }

    pub(super) fn open_plain(&self, name: &str, identities: &Identities) -> Result<Zeroizing<Vec<u8>>, Fault> {
        let (place, entry) = self.find(name)?;
        let sealed = self.read_checked(place, entry)?;
        let plaintext = identities.open(&sealed).map_err(|source| Fault::Sealed { member: name.to_owned(), source })?;
        if name == VALUES && hex::encode(Sha256::digest(plaintext.as_slice())) != self.manifest.values_sha256 {
            return Err(Fault::damaged(name, "its plaintext is not the values.yaml that the manifest names"));
        }
        Ok(plaintext)
    }

    /// The names of the sealed members outside the streams: config, chart, PostgreSQL's manifest.
    pub fn sealed_members(&self) -> impl Iterator<Item = &str> {
        self.listed()
            .filter(|(place, _)| place.member.is_sealed() && !matches!(place.member, Member::Chunk(..)))
            .map(|(_, entry)| entry.name.as_str())
    }

    /// The name of the chart's member, if the bundle holds one.
    pub fn chart(&self) -> Option<&str> {
        self.sealed_members().find(|name| name.starts_with("chart/"))
    }

    /// The chunks of `stream` in order; skip to go on from a later one.
    pub fn chunks(&self, stream: Stream) -> impl Iterator<Item = Chunk> {
        self.listed().filter_map(move |(place, entry)| match place.member {
            Member::Chunk(of, index) if of == stream => Some(Chunk {
                stream,
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

    /// The stored bytes of `chunk`: one whole age file, checked against the manifest.
    ///
    /// # Errors
    /// `Damaged`, `Store`.
    pub fn read_chunk(&self, chunk: &Chunk) -> Result<Vec<u8>, BundleError> {
        self.stored_chunk(chunk).map_err(|fault| self.fault(fault))
    }

    /// `chunk` opened: one whole zstd frame, wiped when dropped. The receiving side unpacks it and must find
    /// `raw_bytes` bytes with the digest `raw_sha256`.
    ///
    /// # Errors
    /// `Damaged`, `Sealed`, `Store`.
    pub fn open_chunk(&self, chunk: &Chunk, identities: &Identities) -> Result<Zeroizing<Vec<u8>>, BundleError> {
        self.chunk_frame(chunk, identities).map_err(|fault| self.fault(fault))
    }

    pub(super) fn stored_chunk(&self, chunk: &Chunk) -> Result<Vec<u8>, Fault> {
        let bytes = self.read(chunk.offset, chunk.stored_bytes)?;
        let member = Member::Chunk(chunk.stream, chunk.index);
        check_digest(&member.to_string(), &bytes, &chunk.sha256)?;
        Ok(bytes)
    }

    pub(super) fn chunk_frame(&self, chunk: &Chunk, identities: &Identities) -> Result<Zeroizing<Vec<u8>>, Fault> {
        let sealed = self.stored_chunk(chunk)?;
        let member = || Member::Chunk(chunk.stream, chunk.index).to_string();
        identities.open(&sealed).map_err(|source| Fault::Sealed { member: member(), source })
    }

    /// The members that the manifest lists, with where they are.
    pub(super) fn listed(&self) -> impl Iterator<Item = (&Place, &MemberEntry)> {
        self.places.iter().zip(&self.manifest.members)
    }

    pub(super) fn fault(&self, fault: Fault) -> BundleError {
        fault.of(self.stored.name())
    }

    fn find(&self, name: &str) -> Result<(&Place, &MemberEntry), Fault> {
        self.listed().find(|(_, entry)| entry.name == name).ok_or_else(|| Fault::NoMember(name.to_owned()))
    }

    fn read_checked(&self, place: &Place, entry: &MemberEntry) -> Result<Vec<u8>, Fault> {
        let bytes = self.read(place.offset, place.bytes)?;
        check_digest(&entry.name, &bytes, &entry.sha256)?;
        Ok(bytes)
    }

    fn read(&self, offset: u64, bytes: u64) -> Result<Vec<u8>, Fault> {
        read(&*self.stored, offset, bytes)
    }
}

fn check_digest(member: &str, bytes: &[u8], expected: &str) -> Result<(), Fault> {
    if hex::encode(Sha256::digest(bytes)) == expected {
        Ok(())
    } else {
        Err(Fault::damaged(member, "its stored bytes are not those that the manifest lists"))
    }
}

fn read(stored: &dyn Stored, offset: u64, bytes: u64) -> Result<Vec<u8>, Fault> {
    // Callers have checked `bytes` against the member's limit and the file's length.
    let mut buffer = vec![0; bytes as usize];
    stored.read_at(offset, &mut buffer).map_err(cut_off)?;
    Ok(buffer)
}

/// A file that got shorter while it was read is cut off; every other failure is the store's.
pub(super) fn cut_off(error: StoreError) -> Fault {
    match &error {
        StoreError::Io { source, .. } if source.kind() == std::io::ErrorKind::UnexpectedEof => {
            Fault::Truncated("while it is read".into())
        }
        _ => Fault::Store(error),
    }
}

fn open(stored: Arc<dyn Stored>, trust: &Trust) -> Result<Reader, Fault> {
    let (header, places, signed) = walk(&*stored)?;
    let listed = places.len() - if signed { 2 } else { 1 };
    let manifest_bytes = read(&*stored, places[listed].offset, places[listed].bytes)?;
    let signature = match (places.get(listed + 1), trust) {
        (None, Trust::Signers(_)) => return Err(Fault::Unsigned),
        (None, Trust::Anyone) => SignatureState::Unsigned,
        (Some(place), Trust::Signers(signers)) => {
            let armored = read(&*stored, place.offset, place.bytes)?;
            let signer = signers.verify(SIGNATURE_NAMESPACE, &manifest_bytes, &armored).map_err(Fault::Untrusted)?;
            SignatureState::Trusted { signer }
        }
        (Some(place), Trust::Anyone) => {
            let armored = read(&*stored, place.offset, place.bytes)?;
            let fingerprint =
                sign::verify_claimed(SIGNATURE_NAMESPACE, &manifest_bytes, &armored).map_err(Fault::Untrusted)?;
            SignatureState::Unchecked { fingerprint }
        }
    };
    let manifest = Manifest::parse(&manifest_bytes, &header)?;
    fits(&places[..listed], &manifest)?;
    let reader = Reader { stored, header, manifest, signature, places };
    // The header decides where the bundle may be restored, so it is proved here and not only by a verification.
    reader.find("bundle.json").and_then(|(place, entry)| reader.read_checked(place, entry))?;
    Ok(reader)
}

/// Whether the manifest lists exactly `places`.
fn fits(places: &[Place], manifest: &Manifest) -> Result<(), Fault> {
    for (place, entry) in places.iter().zip(&manifest.members) {
        let found = place.member.to_string();
        if found != entry.name {
            let reason = format!("the manifest has {} in its place", entry.name);
            return Err(Fault::Layout { member: found, reason });
        }
        if place.bytes != entry.bytes {
            let reason = format!("it has {} bytes and the manifest says {}", place.bytes, entry.bytes);
            return Err(Fault::damaged(found, reason));
        }
    }
    if let Some(place) = places.get(manifest.members.len()) {
        return Err(Fault::Layout { member: place.member.to_string(), reason: "the manifest does not list it".into() });
    }
    manifest.members.get(places.len()).map_or(Ok(()), |entry| Err(Fault::NoMember(entry.name.clone())))
}

/// The first member: the header, where its content ends, and the time that all tar headers bear.
fn read_header(stored: &dyn Stored) -> Result<(Header, Place, u64), Fault> {
    let alien = |fault: Fault| match fault {
        fault @ Fault::Store(_) => fault,
        other => Fault::NotABundle(other.to_string()),
    };
    let block = read_block(stored, 0, "at its start").map_err(alien)?;
    let (member, bytes, mtime) = tarball::parse(&block, 0, None).map_err(alien)?;
    if member != Member::Header {
        return Err(Fault::NotABundle(format!("it begins with {member} and not with bundle.json")));
    }
    let place = check_place(stored, member, BLOCK, bytes)?;
    let header = Header::parse(&read(stored, place.offset, place.bytes)?)?;
    if header.mtime()? != mtime {
        return Err(Fault::damaged(Member::Header, "its tar header bears another time than the bundle"));
    }
    Ok((header, place, mtime))
}

/// All members, and whether the last one is a signature.
fn walk(stored: &dyn Stored) -> Result<(Header, Vec<Place>, bool), Fault> {
    let (header, first, mtime) = read_header(stored)?;
    let mut order = Order::default();
    let mut offset = first.offset + first.bytes + tarball::padding(first.bytes);
    let layout = |member: String, reason: String| Fault::Layout { member, reason };
    order.admit(&first.member).map_err(|reason| layout(first.member.to_string(), reason))?;
    let mut places = vec![first];
    loop {
        let last = places.last().map(|place| place.member.to_string()).unwrap_or_default();
        let block = read_block(stored, offset, &format!("after {last}"))?;
        let at_end = block.iter().all(|byte| *byte == 0);
        if at_end && !order.has_manifest() {
            return Err(Fault::Truncated(format!("after {last}")));
        }
        if at_end || order.has_signature() {
            check_end(stored, offset)?;
            return Ok((header, places, order.has_signature()));
        }
        let (member, bytes, _) = tarball::parse(&block, offset, Some(mtime))?;
        order.admit(&member).map_err(|reason| layout(member.to_string(), reason))?;
        let place = check_place(stored, member, offset + BLOCK, bytes)?;
        offset = place.offset + place.bytes + tarball::padding(place.bytes);
        places.push(place);
    }
}

/// Whether a member of this length may be there, and is.
fn check_place(stored: &dyn Stored, member: Member, offset: u64, bytes: u64) -> Result<Place, Fault> {
    if bytes > member.bytes_limit() {
        let reason = format!("its {bytes} bytes are more than the {} that it may have", member.bytes_limit());
        return Err(Fault::Layout { member: member.to_string(), reason });
    }
    if offset + bytes + tarball::padding(bytes) > stored.len() {
        return Err(Fault::Truncated(format!("in {member}")));
    }
    Ok(Place { member, offset, bytes })
}

fn read_block(stored: &dyn Stored, offset: u64, at: &str) -> Result<[u8; BLOCK as usize], Fault> {
    if offset + BLOCK > stored.len() {
        return Err(Fault::Truncated(at.to_owned()));
    }
    let mut block = [0; BLOCK as usize];
    stored.read_at(offset, &mut block).map_err(cut_off)?;
    Ok(block)
}

/// Two empty blocks, and nothing after them.
fn check_end(stored: &dyn Stored, offset: u64) -> Result<(), Fault> {
    let end = tarball::END.len() as u64;
    if offset + end > stored.len() {
        return Err(Fault::Truncated("in the last two blocks".into()));
    }
    let mut found = tarball::END;
    stored.read_at(offset, &mut found).map_err(cut_off)?;
    if found != tarball::END || offset + end != stored.len() {
        return Err(Fault::Layout {
            member: "data after the last member".into(),
            reason: "nothing may follow it".into(),
        });
    }
    Ok(())
}
