//! The branch names a commit that cannot be read: what is seen of the cause, and the way back.

use std::path::{Path, PathBuf};

use git2::Repository;

use crate::read;

/// What to do where the newest commit cannot be read. `seen` is the branch, and another commit that it may name.
pub(super) fn way_back(repo: &Repository, place: &Path, seen: Option<[String; 2]>) -> String {
    let (place, objects) = (place.display(), repo.commondir().join("objects"));
    if let Some([branch, commit]) = seen {
        return format!("an earlier one was seen here: `git -C {place} update-ref {branch} {commit}` goes back to it");
    }
    if let Some(gone) = lent(&objects).into_iter().find(|folder| !folder.exists()) {
        return format!("objects of it lie in {}, which is not there: bring that folder back", gone.display());
    }
    match pack_without_index(&objects) {
        Some(pack) => {
            let index = pack.with_extension("idx");
            format!(
                "the index of a pack is empty or missing: `rm -f {} && git -C {place} index-pack {}`",
                index.display(),
                pack.display()
            )
        }
        None => format!("`git -C {place} fsck --full` names what else is"),
    }
}

/// The folders of other repositories that this one has objects from (`git clone --shared`).
fn lent(objects: &Path) -> Vec<PathBuf> {
    let text = read::file(&objects.join("info/alternates"), read::SMALL).unwrap_or_default();
    let lines = String::from_utf8_lossy(&text).into_owned();
    lines.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(|line| objects.join(line)).collect()
}

fn pack_without_index(objects: &Path) -> Option<PathBuf> {
    let packs = std::fs::read_dir(objects.join("pack")).ok()?.flatten().map(|entry| entry.path());
    let mut packs = packs.filter(|path| path.extension().is_some_and(|end| end == "pack"));
    packs.find(|pack| std::fs::metadata(pack.with_extension("idx")).map_or(true, |index| index.len() == 0))
}

#[cfg(test)]
mod tests {
    use crate::vault::VaultError;
    use crate::vault::git::{BRANCH, Git};
    use crate::vault::tests::{Fixture, fixture, git, intent};

    fn recorded() -> Fixture {
        let f = fixture();
        f.vault.record_intent(intent("2026-08-20T10:00:00Z", "2026-08-20"), b"a: 1\n", None).unwrap();
        f
    }

    /// The command that the error names is given, and all is there again.
    fn assert_fixed(f: &Fixture) {
        let Err(error @ VaultError::Damaged { .. }) = Git::open(f.vault.path()).unwrap().head_id() else { panic!() };
        let text = error.to_string();
        let command = text.split('`').nth(1).unwrap();
        let done = std::process::Command::new("sh").args(["-c", command]).output().unwrap();
        assert!(done.status.success(), "{text} {done:?}");
        assert_eq!(f.vault.survey().unwrap().deployments.len(), 1, "{text}");
    }

    #[test]
    fn a_branch_that_names_a_commit_that_is_not_there_goes_back_to_the_one_that_was_seen() {
        let f = recorded();
        std::fs::write(f.vault.path().join(".git").join(BRANCH), "1".repeat(40)).unwrap();
        assert_fixed(&f);
    }

    #[test]
    fn an_index_of_a_pack_that_is_empty_or_gone_is_made_anew() {
        for is_gone in [true, false] {
            let f = recorded();
            git(&f, &["gc", "-q", "--prune=now"]);
            let packs = std::fs::read_dir(f.vault.path().join(".git/objects/pack")).unwrap().flatten();
            let index = packs.map(|entry| entry.path()).find(|path| path.extension().unwrap() == "idx").unwrap();
            std::fs::remove_file(&index).unwrap();
            if !is_gone {
                std::fs::write(&index, "").unwrap();
            }
            assert_fixed(&f);
        }
    }

    #[test]
    fn a_shared_clone_without_its_source_is_called_one() {
        let f = recorded();
        let clone = f.folder.path().join("clone");
        git(&f, &["clone", "-q", "--shared", f.vault.path().to_str().unwrap(), clone.to_str().unwrap()]);
        let source = f.folder.path().join("moved");
        std::fs::rename(f.vault.path(), &source).unwrap();
        let error = Git::open(&clone).unwrap().head_id().unwrap_err().to_string();
        assert!(error.contains("which is not there"), "{error}");
    }
}
