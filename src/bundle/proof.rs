//! What is remembered of each good verification, in a note of its own beside the bundle. It tells the operator how fresh
//! the knowledge is. Anybody who can write to the store can leave one, so only those count that somebody trusted here has
//! signed; nothing ever relies on one in place of verifying.

use std::cmp::Reverse;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::crypt::{Signer, TrustedSigners};
use crate::store::{PublishedObject, Store, StoreError};

use super::error::{BundleError, BundleFault};
use super::format::SIGNATURE_NAMESPACE;

const PREFIX: &str = "proof.";
/// Begins what is signed of a proof. It is a JSON list, so no manifest is ever taken for one, though both are signed for
/// the same namespace: who is trusted for bundles is trusted for what was seen of them.
const PURPOSE: &str = "dr-proof@v1";

/// How deep a verification went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Depth {
    /// Every stored byte against the signed manifest.
    #[serde(rename = "checksums", alias = "stored")]
    Stored,
    /// Every plaintext and every database file as well.
    #[serde(rename = "decrypted", alias = "plain")]
    Plain,
    /// It was restored, and the database proved its identity.
    Restored,
}

impl fmt::Display for Depth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// A good verification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// When it ended.
    pub verified_at: Timestamp,
    /// How deep it went.
    pub depth: Depth,
    /// By which version of `dr`.
    pub dr_version: String,
    /// Whose signature was found good.
    #[serde(default)]
    pub signer: Option<String>,
    /// SHA-256 of the manifest of the bundle that was verified: it proves nothing of another one of that name.
    pub manifest_sha256: String,
    /// Who proved it: by a signature of the note that is trusted here. Nothing in the note itself says that.
    #[serde(skip_deserializing)]
    pub proved_by: Option<String>,
}

/// The note's JSON.
#[derive(Serialize, Deserialize)]
struct ProofNote {
    verified_at: Timestamp,
    depth: Depth,
    dr_version: String,
    #[serde(default)]
    signer: Option<String>,
    manifest_sha256: String,
    /// Of [`ProofNote::signed_bytes`], armored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signature: Option<String>,
}

impl ProofNote {
    fn signed_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        let Self { verified_at, depth, dr_version, signer, manifest_sha256, .. } = self;
        serde_json::to_vec(&(PURPOSE, manifest_sha256, depth, verified_at, dr_version, signer))
    }

    /// Who has signed it, where that is somebody trusted now.
    fn signed_by(&self, signers: &TrustedSigners) -> Option<String> {
        let (bytes, signature) = (self.signed_bytes().ok()?, self.signature.as_ref()?);
        Some(signers.verify(SIGNATURE_NAMESPACE, &bytes, signature.as_bytes()).ok()?.principal)
    }
}

impl Proof {
    /// A verification that ended just now.
    pub fn new(depth: Depth, signer: Option<&str>, manifest_sha256: &str) -> Self {
        Self {
            verified_at: Timestamp::now(),
            depth,
            dr_version: env!("CARGO_PKG_VERSION").to_owned(),
            signer: signer.map(str::to_owned),
            manifest_sha256: manifest_sha256.to_owned(),
            proved_by: None,
        }
    }

    /// Whether somebody who is trusted here says so.
    pub fn counts(&self) -> bool {
        self.proved_by.is_some()
    }

    /// Its name, by which proofs sort by time, and which tells how deep it is.
    fn note(&self) -> String {
        format!("{PREFIX}{}.{}.json", self.verified_at.strftime("%Y%m%dT%H%M%SZ"), self.depth)
    }

    /// Keeps it beside `bundle`, signed, or, without a key, as what anybody could have written. One of the same second and
    /// depth says the same already.
    ///
    /// # Errors
    /// `Store`, `Sign`.
    pub fn keep(&self, store: &dyn Store, bundle: &str, signer: Option<&Signer>) -> Result<(), BundleError> {
        let note = self.note();
        let json = |source| BundleFault::Json { member: note.clone(), source }.of(bundle);
        let mut written = ProofNote {
            verified_at: self.verified_at,
            depth: self.depth,
            dr_version: self.dr_version.clone(),
            signer: self.signer.clone(),
            manifest_sha256: self.manifest_sha256.clone(),
            signature: None,
        };
        let bytes = written.signed_bytes().map_err(json)?;
        let sign = |signer: &Signer| signer.sign(SIGNATURE_NAMESPACE, &bytes);
        written.signature = signer.map(sign).transpose().map_err(|error| BundleFault::Sign(error).of(bundle))?;
        match store.add_note(bundle, &note, &serde_json::to_vec_pretty(&written).map_err(json)?) {
            Ok(()) | Err(StoreError::Exists { .. }) => Ok(()),
            Err(error) => Err(BundleFault::from(error).of(bundle)),
        }
    }

    /// The deepest proof of the bundle whose manifest has that digest that one of `signers` has signed, of those the newest: a
    /// look at checksums takes nothing away from what a restore has proved. Where none is signed, the deepest of the others,
    /// which counts for nothing. One that cannot be read counts as none.
    pub fn deepest(
        store: &dyn Store,
        object: &PublishedObject,
        manifest_sha256: &str,
        signers: &TrustedSigners,
    ) -> Option<Self> {
        let mut proofs: Vec<&String> = object.notes.iter().rev().filter(|note| note.starts_with(PREFIX)).collect();
        // By their names: in a store that is far away, each that is read costs a round trip.
        proofs.sort_by_key(|note| Reverse(depth_in(note)));
        let mut unsigned = None;
        for note in proofs {
            let Ok(bytes) = store.read_note(&object.name, note) else { continue };
            let Ok(read) = serde_json::from_slice::<ProofNote>(&bytes) else { continue };
            if read.manifest_sha256 != manifest_sha256 {
                continue;
            }
            let proved_by = read.signed_by(signers);
            let ProofNote { verified_at, depth, dr_version, signer, manifest_sha256, .. } = read;
            let proof = Self { verified_at, depth, dr_version, signer, manifest_sha256, proved_by };
            if proof.counts() {
                return Some(proof);
            }
            unsigned.get_or_insert(proof);
        }
        unsigned
    }
}

/// How deep the proof of that name is.
fn depth_in(note: &str) -> Option<Depth> {
    let word = note.strip_suffix(".json")?.rsplit('.').next()?;
    Depth::deserialize(serde::de::value::StrDeserializer::<serde::de::value::Error>::new(word)).ok()
}
