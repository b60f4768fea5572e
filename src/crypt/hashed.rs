//! Bytes with their digest.

use std::fmt;

use bytes::Bytes;
use sha2::{Digest, Sha256};

/// Bytes and their SHA-256. The two cannot come apart, so that whoever gets them need not take it again.
#[derive(Clone, PartialEq, Eq)]
pub struct Hashed {
    bytes: Bytes,
    sha256: [u8; 32],
}

impl Hashed {
    /// Takes the digest.
    pub fn of(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self { sha256: Sha256::digest(&bytes).into(), bytes }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Their SHA-256.
    pub fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }
}

impl fmt::Debug for Hashed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes, SHA-256 {}", self.bytes.len(), hex::encode(self.sha256))
    }
}
