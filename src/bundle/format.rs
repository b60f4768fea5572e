//! The version of the bundle format: what it is, what changed, and who can read what.
//!
//! # Changelog
//! - **1.0** The first.
//! - **1.1** `config/layer-<n>`: the layers of values that were given in several.
//! - **1.2** `helm_values_sha256` of the manifest; layers may be sealed as the config vault has them, and `release.json`
//!   lists those as `sealed_layers`.
//! - **1.3** `wal_end_lsn` of the manifest: the log ends there.
//! - **1.4** `pod_security` of `release.json`: labels of the namespace.
//! - **1.5** `key_fingerprints` of the manifest, made under `pairing_key` of `release.json`; `cluster_uid` of
//!   `release.json`.
//! - **1.6** `replaced_by` of the header: a bundle of what a restore then replaced.
//! - **1.7** `config/ldap-data.ldif` and `config/ldap-config.ldif`, and `directory_entries` among the counts.
//! - **1.8** `volumes` of the manifest, and `config/volume-<name>-<index>.tar.zst`: the files of other volumes. A bundle that
//!   holds none is of 1.7.
//!
//! # When to raise what
//! A reader takes every minor version of a major that it knows: it ignores unknown fields of the two JSON members and
//! unknown `config/*.age` members. Whatever an older reader would misunderstand raises the major version, and every
//! older major stays readable (`fixtures/bundles/v1` is the proof for this one and is never made anew).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::crypt::COMMIT_NAMESPACE;

/// The newest format that this program writes and reads.
pub const FORMAT: FormatVersion = FormatVersion { major: 1, minor: 8 };
/// The format of a bundle that holds no other volumes than the database's.
pub const FORMAT_WITHOUT_VOLUMES: FormatVersion = FormatVersion { major: 1, minor: 7 };

/// What a bundle's signature is made for: `-n` of `ssh-keygen -Y verify`.
pub const SIGNATURE_NAMESPACE: &str = "dr-bundle@v1";
/// What the signature of what was seen of a bundle is made for: of its plaintext, or of its restore. Who makes bundles claims
/// nothing of the kind, so a key that is trusted for bundles alone proves none.
pub const PROOF_NAMESPACE: &str = "dr-proof@v1";
/// What a host that makes, proves and records signs for.
pub const HOST_NAMESPACES: &[&str] = &[SIGNATURE_NAMESPACE, PROOF_NAMESPACE, COMMIT_NAMESPACE];

/// A version of the bundle format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FormatVersion {
    /// Raised when an older reader would misunderstand the bundle.
    pub major: u32,
    /// Raised when something is added that an older reader may ignore.
    pub minor: u32,
}

impl FormatVersion {
    /// Whether a program that knows formats up to `reader` understands a bundle of this one.
    pub fn is_readable_by(self, reader: Self) -> bool {
        self.major >= 1 && self.major <= reader.major
    }
}

impl fmt::Display for FormatVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_minor_is_read_and_a_newer_major_and_none_are_not() {
        let version = |major, minor| FormatVersion { major, minor };
        assert!(version(1, 9).is_readable_by(FORMAT) && FORMAT.is_readable_by(version(2, 0)));
        assert!(!version(2, 0).is_readable_by(FORMAT) && !version(0, 9).is_readable_by(FORMAT));
    }
}
