//! What is remembered of each good verification, in a note of its own beside the bundle. It tells the operator how fresh
//! the knowledge is; it is in the clear and unsigned, so nothing ever relies on it in place of verifying.

use std::cmp::Reverse;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::store::{PublishedObject, Store, StoreError};

use super::error::{BundleError, BundleFault};

const PREFIX: &str = "proof.";

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
        }
    }

    /// Its name, by which proofs sort by time, and which tells how deep it is.
    fn note(&self) -> String {
        format!("{PREFIX}{}.{}.json", self.verified_at.strftime("%Y%m%dT%H%M%SZ"), self.depth)
    }

    /// Keeps it beside `bundle`. One of the same second and depth says the same already.
    ///
    /// # Errors
    /// `Store`.
    pub fn keep(&self, store: &dyn Store, bundle: &str) -> Result<(), BundleError> {
        let note = self.note();
        let json = |source| BundleFault::Json { member: note.clone(), source }.of(bundle);
        match store.add_note(bundle, &note, &serde_json::to_vec_pretty(self).map_err(json)?) {
            Ok(()) | Err(StoreError::Exists { .. }) => Ok(()),
            Err(error) => Err(BundleFault::from(error).of(bundle)),
        }
    }

    /// The deepest proof of the bundle whose manifest has that digest, of those the newest: a look at checksums takes
    /// nothing away from what a restore has proved. One that cannot be read counts as none, since it is worth nothing then.
    pub fn deepest(store: &dyn Store, object: &PublishedObject, manifest_sha256: &str) -> Option<Self> {
        let mut proofs: Vec<&String> = object.notes.iter().rev().filter(|note| note.starts_with(PREFIX)).collect();
        // By their names: in a store that is far away, each that is read costs a round trip.
        proofs.sort_by_key(|note| Reverse(depth_in(note)));
        let mut read = proofs.into_iter().filter_map(|note| store.read_note(&object.name, note).ok());
        read.find_map(|bytes| {
            serde_json::from_slice::<Self>(&bytes).ok().filter(|proof| proof.manifest_sha256 == manifest_sha256)
        })
    }
}

/// How deep the proof of that name is.
fn depth_in(note: &str) -> Option<Depth> {
    let word = note.strip_suffix(".json")?.rsplit('.').next()?;
    Depth::deserialize(serde::de::value::StrDeserializer::<serde::de::value::Error>::new(word)).ok()
}
