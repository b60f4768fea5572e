//! The list of published bundles: by it, one that is missing from its store is noticed.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::error::VaultError;
use super::files::{json, parse, same_install};
use super::git::Content;
use super::handle::Vault;
use super::record::{FORMAT, RecordedInstall};
use crate::bundle::BundleId;
use crate::bundle::published::PublishedRecord;

/// A bundle that was published, as its host has written it down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ListedBundle {
    pub format: u32,
    pub bundle: BundleId,
    pub install: RecordedInstall,
    /// When it was made.
    pub at: Timestamp,
    pub by: String,
    pub opschain_version: String,
    /// Its database's identity.
    pub system_identifier: String,
    /// SHA-256 of its manifest: which bundle this is, to the byte.
    pub manifest_sha256: String,
    /// Where it was published.
    pub store: String,
    pub dr: String,
}

impl ListedBundle {
    /// The entry of a bundle of `install` that was just published in `store`.
    pub fn new(published: &PublishedRecord, install: RecordedInstall, store: String, by: &str) -> Self {
        let header = &published.header;
        Self {
            format: FORMAT,
            bundle: header.id.clone(),
            install,
            at: header.created,
            by: by.to_owned(),
            opschain_version: header.opschain.version.clone(),
            system_identifier: header.postgresql.system_identifier.clone(),
            manifest_sha256: published.manifest_sha256.clone(),
            store,
            dr: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    /// Reads an entry by its path.
    ///
    /// # Errors
    /// `Damaged` where it is none, or that of another bundle; `Format`.
    pub(super) fn read(path: &str, bytes: &[u8]) -> Result<Self, VaultError> {
        let listed: Self = parse(path, bytes)?;
        match path_of(&listed.bundle) == path {
            true => Ok(listed),
            false => {
                Err(VaultError::Damaged { what: path.to_owned(), reason: format!("it is that of {}", listed.bundle) })
            }
        }
    }
}

impl Vault {
    /// Writes down that a bundle was published, in a signed commit.
    ///
    /// # Errors
    /// `Locked` when another process writes for half a minute; whatever signing or writing fails with.
    pub fn list_bundle(&self, listed: &ListedBundle) -> Result<(), VaultError> {
        let (git, lock) = self.locked()?;
        let files = vec![(path_of(&listed.bundle), Content::Bytes(json(listed)?))];
        self.commit(&git, &lock, files, &format!("Bundle {}\n", listed.bundle), &listed.by)
    }

    /// The bundles of an install that were published, oldest first.
    ///
    /// # Errors
    /// An entry cannot be read.
    pub fn listed_bundles(&self, install: &RecordedInstall) -> Result<Vec<ListedBundle>, VaultError> {
        let git = self.git()?;
        let mut listed = Vec::new();
        for name in git.names(FOLDER)? {
            let path = format!("{FOLDER}/{name}");
            let entry = ListedBundle::read(&path, &git.read(&path)?.unwrap_or_default())?;
            if same_install(&entry.install, install) {
                listed.push(entry);
            }
        }
        listed.sort_by_key(|listed| listed.at);
        Ok(listed)
    }
}

pub(super) const FOLDER: &str = "bundles";

fn path_of(bundle: &BundleId) -> String {
    format!("{FOLDER}/{bundle}.json")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::testing::header;
    use crate::crypt::TrustedSigners;
    use crate::vault::tests::{fixture, install};

    fn listed(id: &str, day: &str) -> ListedBundle {
        let mut header = header();
        header.id = id.parse().unwrap();
        header.created = format!("2026-11-{day}T07:54:43Z").parse().unwrap();
        let published_at = header.created;
        let (bytes, manifest_at, manifest_sha256) = (9000, 6144, "0".repeat(64));
        let published = PublishedRecord { header, bytes, manifest_at, manifest_sha256, published_at };
        ListedBundle::new(&published, install(), "/bundles".into(), "ops@host")
    }

    #[test]
    fn published_bundles_are_listed_oldest_first_and_one_is_listed_once() {
        let f = fixture();
        let newer = listed("opschain-20261123T075443Z-0a1b2c", "23");
        let older = listed("opschain-20261122T075443Z-ffffff", "22");
        let elsewhere = RecordedInstall { namespace: "other".into(), ..install() };
        f.vault.list_bundle(&newer).unwrap();
        f.vault.list_bundle(&older).unwrap();
        assert!(matches!(f.vault.list_bundle(&older), Err(VaultError::Rewrite { .. })));
        assert_eq!(f.vault.listed_bundles(&install()).unwrap(), [older, newer]);
        assert_eq!(f.vault.listed_bundles(&elsewhere).unwrap(), []);
    }

    #[test]
    fn an_entry_that_is_none_or_has_the_name_of_another_is_found() {
        let f = fixture();
        let line = format!("ops@host namespaces=\"git\" {}", f.key.public_key().to_openssh().unwrap());
        let flaws = || f.vault.verify(&TrustedSigners::parse(&line, "test"), None).unwrap().findings.len();
        let good = listed("opschain-20261123T075443Z-0a1b2c", "23");
        f.vault.list_bundle(&good).unwrap();
        assert_eq!(flaws(), 0);
        for (number, bytes) in [json(&good).unwrap(), b"{}".to_vec()].into_iter().enumerate() {
            let (git, lock) = f.vault.locked().unwrap();
            let files = vec![(format!("bundles/opschain-20261123T075443Z-00000{number}.json"), Content::Bytes(bytes))];
            f.vault.commit(&git, &lock, files, "x", "ops@host").unwrap();
            assert_eq!(flaws(), number + 1);
        }
        assert!(matches!(f.vault.listed_bundles(&install()), Err(VaultError::Damaged { .. })));
    }
}
