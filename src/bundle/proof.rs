//! What is remembered of each good verification, in a note of its own beside the bundle. It tells the operator how fresh
//! the knowledge is. Anybody who can write to the store can leave one, so only those count that somebody trusted here has
//! signed; nothing ever relies on one in place of verifying.

use std::cmp::Reverse;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::clock;
use crate::crypt::sign::SignError;
use crate::crypt::{COMMIT_NAMESPACE, SignedBy, Signer, TrustedSigners};
use crate::store::{PublishedObject, Store, StoreError};

use super::error::{BundleError, BundleFault};
use super::format::{PROOF_NAMESPACE, SIGNATURE_NAMESPACE};

const PREFIX: &str = "proof.";
/// Begins what is signed of a proof. It is a JSON list, so no manifest is ever taken for one, though who makes a bundle signs
/// for the same namespace that its stored bytes are what the manifest says.
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
        let (bytes, signature) = (self.signed_bytes().ok()?, self.signature.as_ref()?.as_bytes());
        let signed = match namespace_of(self.depth) {
            PROOF_NAMESPACE => proved_by(signers, &bytes, signature),
            other => signers.verify(other, &bytes, signature),
        };
        signed.ok().map(|by| by.principal)
    }
}

/// What a proof of that depth is signed for: whoever makes a bundle sees its stored bytes, and nothing deeper.
fn namespace_of(depth: Depth) -> &'static str {
    match depth {
        Depth::Stored => SIGNATURE_NAMESPACE,
        Depth::Plain | Depth::Restored => PROOF_NAMESPACE,
    }
}

/// Who has signed what was seen of a bundle. What is of before that had a namespace of its own was signed as bundles are: it
/// counts where the key is trusted for the vault's commits, too, which no key is that only makes bundles.
///
/// # Errors
/// The signature is nobody's who is trusted for that.
pub fn proved_by(signers: &TrustedSigners, bytes: &[u8], armored: &[u8]) -> Result<SignedBy, SignError> {
    let refused = match signers.verify(PROOF_NAMESPACE, bytes, armored) {
        Ok(by) => return Ok(by),
        Err(refused) => refused,
    };
    match signers.verify(SIGNATURE_NAMESPACE, bytes, armored) {
        Ok(by) if !signers.is_over(COMMIT_NAMESPACE, &by) => Ok(by),
        _ => Err(refused),
    }
}

impl Proof {
    /// A verification that ended just now.
    pub fn new(depth: Depth, signer: Option<&str>, manifest_sha256: &str) -> Self {
        Self {
            verified_at: clock::now(),
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

    /// Whether a note of that name is a proof.
    pub fn is_note(name: &str) -> bool {
        name.starts_with(PREFIX)
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
        let sign = |signer: &Signer| signer.sign(namespace_of(self.depth), &bytes);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{DirectoryStore, Store};

    #[test]
    fn a_key_that_only_makes_bundles_proves_no_restore_and_what_a_host_signed_before_still_counts() {
        let folder = tempfile::tempdir().unwrap();
        let store = DirectoryStore::create(folder.path()).unwrap();
        let (creator, host) = (Signer::generate("pod").unwrap(), Signer::generate("host").unwrap());
        let text = |lines: &[(&Signer, &[&str])]| {
            lines.iter().map(|(key, uses)| key.trust_line(&key.name(), uses) + "\n").collect::<String>()
        };
        let today = text(&[(&creator, &[SIGNATURE_NAMESPACE]), (&host, &[SIGNATURE_NAMESPACE, PROOF_NAMESPACE])]);
        let counted = |name: &str, signer: &Signer, depth, signers: &str| {
            store.begin(name, 0).unwrap().complete().unwrap().publish(b"{}").unwrap();
            Proof::new(depth, None, "0").keep(&store, name, Some(signer)).unwrap();
            let object = store.list().unwrap().into_iter().find(|object| object.name == name).unwrap();
            let proof = Proof::deepest(&store, &object, "0", &TrustedSigners::parse(signers, "test")).unwrap();
            assert_eq!(proof.depth, depth);
            proof.proved_by
        };
        assert_eq!(counted("a", &creator, Depth::Stored, &today).as_deref(), Some("pod"));
        assert_eq!(counted("b", &creator, Depth::Plain, &today), None);
        assert_eq!(counted("c", &creator, Depth::Restored, &today), None);
        assert_eq!(counted("d", &host, Depth::Restored, &today).as_deref(), Some("host"));

        // As it was signed before.
        let uses = &[SIGNATURE_NAMESPACE, COMMIT_NAMESPACE][..];
        let signers = TrustedSigners::parse(&text(&[(&creator, &[SIGNATURE_NAMESPACE]), (&host, uses)]), "test");
        let old = |signer: &Signer| {
            let signature = signer.sign(SIGNATURE_NAMESPACE, b"seen").unwrap();
            proved_by(&signers, b"seen", signature.as_bytes()).map(|by| by.principal).ok()
        };
        assert_eq!((old(&host).as_deref(), old(&creator)), (Some("host"), None));
    }
}
