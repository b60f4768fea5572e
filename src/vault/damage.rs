//! Files of the vault that cannot be read as they were written: told before somebody needs them.

use std::collections::HashSet;
use std::path::PathBuf;

use super::error::VaultError;
use super::git::Git;
use super::handle::Vault;
use super::verify::sealed::stanzas;

impl Vault {
    /// Where the work tree stands, where that is not the branch that is recorded on.
    ///
    /// # Errors
    /// The repository cannot be opened.
    pub fn stands_elsewhere(&self) -> Result<Option<String>, VaultError> {
        Ok(Git::open(self.path())?.stands_elsewhere())
    }

    /// What somebody's git has locked and not let go for a while.
    ///
    /// # Errors
    /// The repository cannot be opened.
    pub fn git_locks(&self) -> Result<Vec<PathBuf>, VaultError> {
        Ok(super::lock::left(Git::open(self.path())?.repo().path()))
    }

    /// Why each file of the newest commit that cannot be read cannot; and each commit behind it; no key is asked
    /// for. What only a key tells, or the files of earlier commits, [`Vault::verify`] finds.
    ///
    /// # Errors
    /// The repository cannot be read at all.
    pub fn damaged_files(&self) -> Result<Vec<VaultError>, VaultError> {
        let git = self.git()?;
        let mut found: Vec<VaultError> = Vec::new();
        // Many deployments point at the same bytes.
        let mut good = HashSet::new();
        let (files, lost) = git.readable_files()?;
        found.extend(lost);
        if let Some(tip) = git.head_id()? {
            found.extend(match git.repo().is_shallow() {
                true => Some(VaultError::Shallow { path: self.path().display().to_string() }),
                false => git.objects()?.ancestors(tip, |_| false).err(),
            });
        }
        for (path, id) in files {
            if good.contains(&id) {
                continue;
            }
            match git.blob(id, &path) {
                Ok(bytes) if path.ends_with(".age") && stanzas(&bytes).is_none() => {
                    found.push(VaultError::Damaged { what: path, reason: "it is no whole age file".into() });
                }
                Ok(_) => drop(good.insert(id)),
                Err(error) => found.push(error),
            }
        }
        // Records that are whole and say nothing, and folders without their trees.
        let told: Vec<String> = found.iter().map(ToString::to_string).collect();
        let others = self.survey()?.unread.into_iter().map(|unread| unread.error);
        found.extend(others.filter(|error| !told.contains(&error.to_string())));
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::tests::{fixture, intent};

    #[test]
    fn a_file_that_is_cut_or_missing_is_told_and_a_good_vault_has_none() {
        let f = fixture();
        let id = f.vault.record_intent(intent("2026-08-20T10:00:00Z", "2026-08-20"), b"a: 1\n", None).unwrap();
        assert!(f.vault.damaged_files().unwrap().is_empty());
        let git = Git::open(f.vault.path()).unwrap();
        for name in ["record.json", "values.yaml.age"] {
            let path = format!("deployments/opschain.opschain/{id}/{name}");
            let object = git.blob_id(&path).unwrap().unwrap().to_string();
            let file = f.vault.path().join(".git/objects").join(&object[..2]).join(&object[2..]);
            let good = std::fs::read(&file).unwrap();
            for broken in [Some(&good[..good.len() / 2]), None] {
                std::fs::remove_file(&file).unwrap();
                if let Some(bytes) = broken {
                    std::fs::write(&file, bytes).unwrap();
                }
                let found = f.vault.damaged_files().unwrap();
                assert!(found.len() == 1 && found[0].to_string().contains(name), "{found:?}");
                std::fs::write(&file, &good).unwrap();
            }
        }
        assert!(f.vault.damaged_files().unwrap().is_empty());
    }
}
