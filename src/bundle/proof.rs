//! What is remembered of the last verification, in a small record beside the bundle. It tells the operator how fresh
//! the knowledge is; it is in the clear and unsigned, so nothing ever relies on it in place of verifying.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::store::{Store, StoreError};

/// How deep a verification went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Depth {
    /// Every stored byte against the signed manifest.
    Stored,
    /// Every plaintext and every database file as well.
    Plain,
    /// It was restored, and the database proved its identity.
    Restored,
}

impl fmt::Display for Depth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stored => "stored bytes",
            Self::Plain => "plaintexts",
            Self::Restored => "restored",
        })
    }
}

/// The record of the last good verification.
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
}

impl Proof {
    /// A verification that ended just now.
    pub fn new(depth: Depth, signer: Option<&str>) -> Self {
        Self {
            verified_at: Timestamp::now(),
            depth,
            dr_version: env!("CARGO_PKG_VERSION").to_owned(),
            signer: signer.map(str::to_owned),
        }
    }

    /// Keeps it beside `bundle`.
    ///
    /// # Errors
    /// As [`Store::write_record`].
    pub fn write(&self, store: &dyn Store, bundle: &str) -> Result<(), StoreError> {
        let text = serde_json::to_vec_pretty(self).map_err(|error| StoreError::Io {
            act: "write the record of",
            object: bundle.to_owned(),
            source: error.into(),
        })?;
        store.write_record(bundle, &text)
    }

    /// The record beside `bundle`; one that cannot be read counts as none, since it is worth nothing then.
    pub fn read(store: &dyn Store, bundle: &str) -> Option<Self> {
        let bytes = store.read_record(bundle).ok()??;
        serde_json::from_slice(&bytes).ok()
    }
}
