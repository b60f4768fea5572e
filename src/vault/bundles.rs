//! The list of published bundles: by it, one that is missing from its store is noticed.

use super::error::VaultError;
use super::files::{json, parse};
use super::git::Content;
use super::handle::Vault;
use super::record::{BUNDLES, ListedBundle};

impl Vault {
    /// Writes down that a bundle was published, in a signed commit.
    ///
    /// # Errors
    /// `Locked` when another process writes for half a minute; whatever signing or writing fails with.
    pub fn list_bundle(&self, listed: &ListedBundle) -> Result<(), VaultError> {
        let (git, lock) = self.locked()?;
        let files = vec![(listed.path(), Content::Bytes(json(listed)?))];
        self.commit(&git, &lock, files, &format!("Bundle {}\n", listed.bundle), &listed.by)
    }

    /// The bundles that were published, oldest first.
    ///
    /// # Errors
    /// An entry cannot be read.
    pub fn listed_bundles(&self) -> Result<Vec<ListedBundle>, VaultError> {
        let git = self.git()?;
        let mut listed = Vec::new();
        for name in git.names(BUNDLES)? {
            let path = format!("{BUNDLES}/{name}");
            let entry: ListedBundle = parse(&path, &git.read(&path)?.unwrap_or_default())?;
            if entry.path() != path {
                return Err(VaultError::Damaged { what: path, reason: format!("it is that of {}", entry.bundle) });
            }
            listed.push(entry);
        }
        listed.sort_by_key(|listed| listed.at);
        Ok(listed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypt::TrustedSigners;
    use crate::vault::record::{FORMAT, RecordedInstall};
    use crate::vault::tests::{fixture, install};

    fn listed(bundle: &str, day: &str) -> ListedBundle {
        ListedBundle {
            format: FORMAT,
            bundle: bundle.into(),
            install: install(),
            at: format!("2026-11-{day}T07:54:43Z").parse().unwrap(),
            by: "ops@host".into(),
            opschain_version: "2026-08-20".into(),
            system_identifier: "7".into(),
            manifest_sha256: "0".repeat(64),
            store: "/bundles".into(),
            dr: "1".into(),
        }
    }

    #[test]
    fn published_bundles_are_listed_oldest_first_and_one_is_listed_once() {
        let f = fixture();
        let newer = listed("opschain-20261123T075443Z-0a1b2c", "23");
        let older = listed("opschain-20261122T075443Z-ffffff", "22");
        f.vault.list_bundle(&newer).unwrap();
        f.vault.list_bundle(&older).unwrap();
        assert!(matches!(f.vault.list_bundle(&older), Err(VaultError::Rewrite { .. })));
        let elsewhere = RecordedInstall { namespace: "other".into(), ..install() };
        assert!(newer.is_of(&install()) && !newer.is_of(&elsewhere));
        assert_eq!(f.vault.listed_bundles().unwrap(), [older, newer]);
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
        assert!(matches!(f.vault.listed_bundles(), Err(VaultError::Damaged { .. })));
    }
}
