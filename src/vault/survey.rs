//! What a vault has recorded, as far as it can be read: one record that is damaged, of a newer format or in an odd place
//! hides none of the others from whoever only shows what there is.

use std::sync::Arc;

use super::error::VaultError;
use super::record::{Deployment, DeploymentId};

/// The deployments that can be read, newest first, and what cannot.
#[derive(Debug)]
pub struct Survey {
    pub deployments: Vec<Arc<Deployment>>,
    pub unread: Vec<UnreadRecord>,
}

/// A place of a deployment that cannot be read as one.
#[derive(Debug)]
pub struct UnreadRecord {
    /// Its folder in the vault.
    pub folder: String,
    /// The install that the folder belongs to: `NAMESPACE.RELEASE`.
    pub install: String,
    /// Its name, where the folder has that of a deployment.
    pub id: Option<DeploymentId>,
    pub error: VaultError,
}

impl UnreadRecord {
    pub(super) fn new(folder: &str, error: VaultError) -> Self {
        let mut parts = folder.split('/').skip(1);
        let install = parts.next().unwrap_or_default().to_owned();
        Self { folder: folder.to_owned(), install, id: parts.next().and_then(DeploymentId::parse), error }
    }
}

impl Survey {
    /// All of them, for whoever must not go by a part.
    ///
    /// # Errors
    /// Why the first that cannot be read cannot.
    pub fn whole(self) -> Result<Vec<Arc<Deployment>>, VaultError> {
        match self.unread.into_iter().next() {
            Some(unread) => Err(unread.error),
            None => Ok(self.deployments),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::git::{Content, Git};
    use crate::vault::tests::{fixture, install, intent};

    #[test]
    fn odd_metadata_of_every_kind_is_told_beside_what_can_be_read() {
        let f = fixture();
        let id = f.vault.record_intent(intent("2026-08-20T10:00:00Z", "2026-08-20"), b"a: 1\n", None).unwrap();
        let own = format!("deployments/opschain.opschain/{id}/record.json");
        let git = Git::open(f.vault.path()).unwrap();
        let record = String::from_utf8(git.read(&own).unwrap().unwrap()).unwrap();
        let newer = record.replacen("\"format\": 1", "\"format\": 9", 1);
        let odd = [
            ("opschain.opschain/20260821T100000Z-000001/record.json", "not json"),
            ("opschain.opschain/20260821T100000Z-000002/record.json", "{\"format\": 1}"),
            ("opschain.opschain/20260821T100000Z-000003/record.json", newer.as_str()),
            ("opschain.opschain/20260821T100000Z-000004/record.json", record.as_str()),
            ("opschain.opschain/20260821T100000Z-000005/outcome.json", "{}"),
            ("opschain.opschain/notes/record.json", "{}"),
            ("other.other/20260821T100000Z-000006/record.json", "[]"),
        ];
        let file = |(path, text): &(&str, &str)| (format!("deployments/{path}"), Content::Bytes((*text).into()));
        let files: Vec<(String, Content)> = odd.iter().map(file).collect();
        git.add(&git.lock().unwrap(), files, "Odd", "ops@host", &f.vault.signer).unwrap();
        for round in ["from the objects", "with what was kept"] {
            let all = f.vault.survey().unwrap();
            let mut unread: Vec<String> = all.unread.iter().map(|one| format!("{}/", one.folder)).collect();
            unread.sort();
            assert_eq!(unread.len(), odd.len(), "{round}");
            assert!(
                odd.iter().zip(&unread).all(|((path, _), folder)| format!("deployments/{path}").starts_with(folder))
            );
            assert_eq!(all.deployments.iter().map(|one| one.id()).collect::<Vec<_>>(), [&id], "{round}");
        }
        let own = f.vault.survey_of(&install()).unwrap();
        assert_eq!(own.unread.len(), odd.len() - 1, "another install's is no matter of this one");
        assert!(own.unread.iter().any(|one| matches!(one.error, VaultError::Format { found: 9, .. })));
        assert!(f.vault.deployments(&install()).is_err(), "nobody who acts goes by a part");
        assert_eq!(f.vault.resolve(&install(), id.short()).unwrap().id(), &id);
    }
    /// The file of an object, which lies loose.
    fn object(f: &crate::vault::tests::Fixture, id: git2::Oid) -> std::path::PathBuf {
        let id = id.to_string();
        f.vault.path().join(".git/objects").join(&id[..2]).join(&id[2..])
    }

    #[test]
    fn a_folder_without_its_tree_is_a_place_that_cannot_be_read_and_hides_no_other() {
        let f = fixture();
        let record = |at: &str| f.vault.record_intent(intent(at, "2026-08-20"), b"a: 1\n", None).unwrap();
        let (lost, good) = (record("2026-08-20T10:00:00Z"), record("2026-08-21T10:00:00Z"));
        let git = Git::open(f.vault.path()).unwrap();
        let root = git.repo().find_tree(git.tree_id().unwrap().unwrap()).unwrap();
        let folder = format!("deployments/opschain.opschain/{lost}");
        let id = root.get_path(std::path::Path::new(&folder)).unwrap().id();
        std::fs::remove_file(object(&f, id)).unwrap();
        let _ = std::fs::remove_file(f.vault.path().join(".git/dr/records"));
        let vault = crate::vault::Vault { cache: Default::default(), ..f.vault.clone() };
        let all = vault.survey().unwrap();
        assert_eq!(all.unread.iter().map(|one| &*one.folder).collect::<Vec<_>>(), [&*folder]);
        assert_eq!(all.deployments.iter().map(|one| one.id()).collect::<Vec<_>>(), [&good]);
        assert!(vault.snapshot().unwrap().values(&all.deployments[0], &f.identities).is_ok());
        assert!(git.files().is_err(), "who must see all is told");
    }

    #[test]
    fn the_newest_commit_and_its_tree_are_called_damaged_when_they_are() {
        for cut in [false, true] {
            for is_tree in [true, false] {
                let f = fixture();
                let git = Git::open(f.vault.path()).unwrap();
                let id = if is_tree { git.tree_id() } else { git.head_id() }.unwrap().unwrap();
                drop(git);
                std::fs::remove_file(object(&f, id)).unwrap();
                if cut {
                    std::fs::write(object(&f, id), b"x").unwrap();
                }
                let git = Git::open(f.vault.path()).unwrap();
                for error in [git.read("vault.json").err(), git.files().err(), git.names("deployments").err()] {
                    assert!(
                        matches!(&error, Some(VaultError::Damaged { what, .. }) if what.starts_with("the newest ")),
                        "{error:?}"
                    );
                }
            }
        }
    }
}
