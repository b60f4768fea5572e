//! The vault's work tree: for people, who read records there. Nothing here reads it.
//!
//! New files are written one by one and noted in git's index. A checkout, which looks at every file of the vault, would
//! take longer than all else that recording does. Neither is flushed to the disk: `git checkout .` makes both again.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use git2::{Index, IndexEntry, IndexTime, Oid, Repository};

use super::error::VaultError;
use super::objects::GitObjects;
use crate::read;

/// A plain file, as git writes it.
const PLAIN: u32 = 0o100_644;

/// Where the work tree of a repository stands, where it has one and that is not `branch`.
pub(super) fn stands_elsewhere(repo: &Repository, branch: &str) -> Option<String> {
    let head = repo.find_reference("HEAD").ok().filter(|_| !repo.is_bare())?;
    match head.symbolic_target() {
        Ok(Some(name)) if name == branch => None,
        Ok(Some(name)) => Some(name.strip_prefix("refs/heads/").unwrap_or(name).to_owned()),
        _ => Some("a commit without a branch".to_owned()),
    }
}

/// A vault's work tree, with git's index of it, which was read.
pub(super) struct WorkTree {
    repo: Repository,
    index: Index,
}

impl WorkTree {
    /// Reads the index of the work tree below `top`. One that is gone or damaged is made again from the newest commit: git
    /// would take every file that it lacks for deleted.
    pub(super) fn open(top: &Path) -> Result<Self, VaultError> {
        // A handle of its own, without our settings: those have the index flushed.
        let opened = Repository::open(top).and_then(|repo| index(&repo).map(|index| Self { repo, index }));
        opened.map_err(VaultError::git(format!("read the index of {}", top.display())))
    }

    /// Brings new files of the newest commit into it; what a person has put in their places is left alone.
    pub(super) fn show(mut self, files: &[(String, Oid)]) -> Result<(), VaultError> {
        let Some(top) = self.repo.workdir() else { return Ok(()) };
        let failed = || VaultError::git(format!("note the new files in the index of {}", top.display()));
        let objects = GitObjects::of(&self.repo).map_err(failed())?;
        for (path, id) in files {
            let content = objects.blob(*id).map_err(|fault| fault.of(path))?;
            let written = write_new(top, path, &content);
            let written = written.map_err(VaultError::io(format!("check out {path} in {}", top.display())))?;
            note(&mut self.index, path, *id, written.as_ref()).map_err(failed())?;
        }
        self.index.write().map_err(|error| match error.code() {
            // Of this lock libgit2 does not say where it is.
            git2::ErrorCode::Locked => VaultError::GitLocked {
                act: "write git's index".into(),
                lock: self.repo.path().join("index.lock").display().to_string(),
            },
            _ => failed()(error),
        })
    }
}

fn index(repo: &Repository) -> Result<Index, git2::Error> {
    let file = repo.path().join("index");
    if file.exists() {
        match repo.index() {
            Err(error) if error.class() == git2::ErrorClass::Index => _ = std::fs::remove_file(file),
            read => return read,
        }
    }
    let mut index = repo.index()?;
    if let Ok(head) = repo.head() {
        index.read_tree(&head.peel_to_tree()?)?;
    }
    Ok(index)
}

/// The note that the work tree has to follow, made before the branch moves and taken away when it has followed. One that
/// is there already was left by a writer that could not, or was killed: what it names is made up for as well. Where it
/// cannot be written, `git checkout .` still makes everything again.
pub(super) struct Behind {
    note: PathBuf,
    missed: Option<Option<Oid>>,
}

impl Behind {
    /// Below the git folder `common`; `head` is the commit that the work tree shows.
    pub(super) fn since(common: &Path, head: Option<Oid>) -> Self {
        let note = common.join("dr").join("behind");
        let left = read::file(&note, read::SMALL).ok();
        let missed = left.map(|text| std::str::from_utf8(&text).ok().and_then(|id| Oid::from_str(id.trim()).ok()));
        if missed.is_none() {
            let _ = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(common.join("dr"));
            let _ = std::fs::write(&note, head.map_or(String::new(), |head| head.to_string()));
        }
        Self { note, missed }
    }

    /// The commit that the work tree really shows, where that is not the newest; an empty one where it shows nothing.
    pub(super) fn missed(&self) -> Option<Option<Oid>> {
        self.missed
    }

    /// The work tree is up to date.
    pub(super) fn made_up(self) {
        let _ = std::fs::remove_file(&self.note);
    }
}

/// Writes a file where there is none; nothing is returned where there is one. What cannot be written whole is removed. A
/// link among its folders, which would lead elsewhere, is not followed.
fn write_new(top: &Path, path: &str, bytes: &[u8]) -> io::Result<Option<Metadata>> {
    let path = &top.join(path);
    let folders: Vec<&Path> = path.ancestors().skip(1).take_while(|folder| *folder != top).collect();
    for folder in folders.iter().rev() {
        if folder.symlink_metadata().is_ok_and(|found| found.is_symlink()) {
            return Err(io::Error::other(format!("{} is a link, which is not followed", folder.display())));
        }
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut file: File = match OpenOptions::new().write(true).create_new(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
        opened => opened?,
    };
    file.write_all(bytes).and_then(|()| file.metadata()).map(Some).inspect_err(|_| {
        let _ = std::fs::remove_file(path);
    })
}

/// What git remembers of a file, so that it need not read it to know that it is unchanged. Of a file that was not written
/// here nothing is remembered: git compares it the next time.
fn note(index: &mut Index, path: &str, id: Oid, file: Option<&Metadata>) -> Result<(), git2::Error> {
    // The index has 32 bits for each, and git compares what is left of them.
    let low = |number: u64| (number & u64::from(u32::MAX)) as u32;
    let time = |seconds: i64, nanoseconds: i64| IndexTime::new(seconds as i32, nanoseconds as u32);
    index.add(&IndexEntry {
        ctime: file.map_or(IndexTime::new(0, 0), |file| time(file.ctime(), file.ctime_nsec())),
        mtime: file.map_or(IndexTime::new(0, 0), |file| time(file.mtime(), file.mtime_nsec())),
        dev: file.map_or(0, |file| low(file.dev())),
        ino: file.map_or(0, |file| low(file.ino())),
        mode: PLAIN,
        uid: file.map_or(0, MetadataExt::uid),
        gid: file.map_or(0, MetadataExt::gid),
        file_size: file.map_or(0, |file| low(file.len())),
        id,
        flags: 0,
        flags_extended: 0,
        path: path.as_bytes().to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::vault::git::Git;
    use crate::vault::tests::{fixture, git, intent};
    use crate::vault::verify::tests::{three, trusting};

    #[test]
    fn new_files_are_there_and_git_finds_nothing_changed() {
        let f = fixture();
        let id = f.vault.record_intent(intent("2026-08-20T10:00:00Z", "2026-08-20"), b"a: 1\n", None).unwrap();
        let folder = f.vault.path().join("deployments/opschain.opschain").join(id.as_str());
        assert!(folder.join("record.json").is_file() && folder.join("values.yaml.age").is_file());
        assert_eq!(git(&f, &["status", "--porcelain"]), "");
        let listed = git(&f, &["ls-files", "--stage", folder.join("record.json").to_str().unwrap()]);
        assert!(listed.starts_with("100644 "), "{listed}");
        git(&f, &["fsck", "--strict"]);
    }

    #[test]
    fn what_a_person_has_put_there_stays_and_git_tells_of_it() {
        let f = fixture();
        let id = f.vault.record_intent(intent("2026-08-20T10:00:00Z", "2026-08-20"), b"a: 1\n", None).unwrap();
        let path = format!("deployments/opschain.opschain/{id}/record.json");
        std::fs::write(f.vault.path().join(&path), "mine").unwrap();
        let id = Git::open(f.vault.path()).unwrap().blob_id(&path).unwrap().unwrap();
        WorkTree::open(f.vault.path()).unwrap().show(&[(path.clone(), id)]).unwrap();
        assert_eq!(std::fs::read_to_string(f.vault.path().join(&path)).unwrap(), "mine");
        assert_eq!(git(&f, &["status", "--porcelain"]), format!(" M {path}\n"));
    }

    #[test]
    fn a_work_tree_that_could_not_follow_is_told_of_and_made_up_for_by_the_next_record() {
        let f = fixture();
        let told: Arc<Mutex<Vec<String>>> = Arc::default();
        let listener = Arc::clone(&told);
        let vault = f.vault.clone().telling(Arc::new(move |text| listener.lock().unwrap().push(text)));
        // As a git that was killed leaves it.
        let lock = vault.path().join(".git/index.lock");
        std::fs::write(&lock, "").unwrap();
        let record = |at: &str, text: &[u8]| vault.record_intent(intent(at, "2026-08-20"), text, None).unwrap();
        record("2026-08-20T10:00:00Z", b"a: 1\n");
        let said = std::mem::take(&mut *told.lock().unwrap());
        assert!(said.len() == 1 && said[0].contains(lock.to_str().unwrap()), "{said:?}");
        std::fs::remove_file(&lock).unwrap();
        record("2026-08-21T10:00:00Z", b"a: 2\n");
        assert!(told.lock().unwrap().is_empty() && !vault.path().join(".git/dr/behind").exists());
        assert_eq!(git(&f, &["status", "--porcelain"]), "");
    }

    #[test]
    fn an_index_that_is_gone_or_damaged_is_made_again_from_the_newest_commit() {
        for damage in [None, Some(&b"xx"[..]), Some(b"")] {
            let f = fixture();
            f.vault.record_intent(intent("2026-08-20T10:00:00Z", "2026-08-20"), b"a: 1\n", None).unwrap();
            let index = f.vault.path().join(".git/index");
            std::fs::remove_file(&index).unwrap();
            damage.iter().for_each(|bytes| std::fs::write(&index, bytes).unwrap());
            f.vault.record_intent(intent("2026-08-21T10:00:00Z", "2026-08-20"), b"a: 2\n", None).unwrap();
            assert_eq!(git(&f, &["status", "--porcelain"]), "", "{damage:?}");
        }
    }

    #[test]
    fn a_link_among_the_folders_leads_nowhere() {
        let f = fixture();
        let elsewhere = tempfile::tempdir().unwrap();
        let deployments = f.vault.path().join("deployments");
        let _ = std::fs::remove_dir_all(&deployments);
        std::os::unix::fs::symlink(elsewhere.path(), &deployments).unwrap();
        let told: Arc<Mutex<Vec<String>>> = Arc::default();
        let listener = Arc::clone(&told);
        let vault = f.vault.clone().telling(Arc::new(move |text| listener.lock().unwrap().push(text)));
        vault.record_intent(intent("2026-08-20T10:00:00Z", "2026-08-20"), b"a: 1\n", None).unwrap();
        assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0);
        let told = told.lock().unwrap();
        assert!(told.len() == 1 && told[0].contains("is a link"), "{told:?}");
    }

    #[test]
    fn a_file_in_the_way_of_a_folder_is_no_reason_not_to_record() {
        let f = fixture();
        let install = f.vault.path().join("deployments/opschain.opschain");
        std::fs::create_dir_all(install.parent().unwrap()).unwrap();
        std::fs::write(&install, "mine").unwrap();
        f.vault.record_intent(intent("2026-08-20T10:00:00Z", "2026-08-20"), b"a: 1\n", None).unwrap();
        assert_eq!(std::fs::read_to_string(&install).unwrap(), "mine");
        assert_eq!(f.vault.survey().unwrap().whole().unwrap().len(), 1);
        std::fs::remove_file(&install).unwrap();
        git(&f, &["checkout", "HEAD", "."]);
        assert_eq!(git(&f, &["status", "--porcelain"]), "");
    }

    #[test]
    fn a_work_tree_on_another_branch_is_one_note_and_is_left_alone() {
        for detached in [true, false] {
            let f = three();
            git(&f, if detached { &["checkout", "-q", "--detach"] } else { &["checkout", "-q", "-b", "work"] });
            f.vault.record_intent(intent("2026-08-09T10:00:00Z", "2026-08-01"), b"x: 1\n", None).unwrap();
            assert_eq!(git(&f, &["status", "--porcelain"]), "");
            let found = f.vault.verify(&trusting(&f), None).unwrap();
            assert!(found.notes.len() == 1 && found.notes[0].contains("switch main"), "{:?}", found.notes);
            assert!(f.vault.stands_elsewhere().unwrap().is_some_and(|name| detached || name == "work"));
            git(&f, &["switch", "-q", "main"]);
            let found = f.vault.verify(&trusting(&f), None).unwrap();
            assert_eq!((found.findings.len(), found.notes.len()), (0, 0), "{:?}", found.notes);
            assert_eq!(git(&f, &["status", "--porcelain"]), "");
        }
    }
}
