//! Small things that every file of the vault needs: digests, names, JSON.

use jiff::Timestamp;
use rand::TryRngCore;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::error::VaultError;
use super::record::{DeploymentId, FORMAT, RecordedInstall};

pub(super) fn same_install(a: &RecordedInstall, b: &RecordedInstall) -> bool {
    a.folder() == b.folder()
}

pub(super) fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

pub(super) fn random(bytes: &mut [u8]) -> Result<(), VaultError> {
    rand::rngs::OsRng.try_fill_bytes(bytes).map_err(|e| VaultError::Io {
        act: "ask the machine for random bytes".into(),
        source: std::io::Error::other(e),
    })
}

pub(super) fn new_id(at: Timestamp) -> Result<DeploymentId, VaultError> {
    let mut salt = [0; 3];
    random(&mut salt)?;
    Ok(DeploymentId::new(at, salt))
}

pub(super) fn json(value: &impl Serialize) -> Result<Vec<u8>, VaultError> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|e| damaged("a new record", &e))?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Reads a file of the vault. The format is looked at first, so that a newer file is told from a damaged one.
pub(super) fn parse<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, VaultError> {
    #[derive(serde::Deserialize)]
    struct Versioned {
        format: u32,
    }
    let versioned: Versioned = serde_json::from_slice(bytes).map_err(|e| damaged(what, &e))?;
    if versioned.format > FORMAT {
        return Err(VaultError::Format { what: what.to_owned(), found: versioned.format, known: FORMAT });
    }
    serde_json::from_slice(bytes).map_err(|e| damaged(what, &e))
}

fn damaged(what: &str, error: &serde_json::Error) -> VaultError {
    VaultError::Damaged { what: what.to_owned(), reason: error.to_string() }
}
