//! The objects of a commit that is being made: written aside, flushed together, then moved in.
//!
//! To flush each of a dozen small objects in turn takes the disk's time a dozen times. Aside they may be half written
//! without harm; what is moved in is on the disk already, so that a crash never leaves a broken object behind.

use std::fs::File;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use git2::Repository;

use super::error::VaultError;

/// How many files are flushed at once: the file system then writes its journal once for all of them.
const AT_ONCE: usize = 16;

/// Room for the folders and the commit that come with new files, in bytes.
const FOLDERS: u64 = 64 << 10;

/// A repository aside that sees the objects of the one it belongs to and keeps new ones to itself. What was not moved
/// in is gone when it is dropped, or when the next one begins.
pub(super) struct StagedObjects {
    repo: Repository,
    folder: PathBuf,
    /// Where the objects belong.
    home: PathBuf,
}

impl StagedObjects {
    /// Begins for the repository whose common folder is given. The caller holds the vault's lock.
    pub(super) fn begin(common: &Path) -> Result<Self, VaultError> {
        let folder = common.join("dr").join("new");
        let failed = || VaultError::io(format!("make {}", folder.display()));
        if let Err(error) = std::fs::remove_dir_all(&folder) {
            // What a process that was killed has left behind.
            if error.kind() != io::ErrorKind::NotFound {
                return Err(failed()(error));
            }
        }
        let mut make = std::fs::DirBuilder::new();
        make.recursive(true).mode(0o700);
        for inner in ["objects/info", "refs"] {
            make.create(folder.join(inner)).map_err(failed())?;
        }
        std::fs::write(folder.join("HEAD"), "ref: refs/heads/main\n").map_err(failed())?;
        // Relative to the folder of the new objects: `<common>/dr/new/objects`.
        std::fs::write(folder.join("objects/info/alternates"), "../../../objects\n").map_err(failed())?;
        let opened = Repository::open_bare(&folder);
        let home = common.join("objects");
        opened.map(|repo| Self { repo, folder, home }).map_err(VaultError::git("write to the config vault"))
    }

    /// Where new objects are written.
    pub(super) fn repo(&self) -> &Repository {
        &self.repo
    }

    /// Makes sure that there is room for new files of so many bytes: of a disk that fills while it writes, libgit2 says no
    /// more than `no error`.
    ///
    /// # Errors
    /// `Io`, of a full disk or of one that cannot be written to.
    pub(super) fn require_room(&self, bytes: u64) -> Result<(), VaultError> {
        let path = self.folder.join("room");
        let reserved = File::create(&path).and_then(|file| {
            match rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes + FOLDERS) {
                // Not every file system can; on one that cannot, the room is only likely.
                Ok(()) | Err(rustix::io::Errno::OPNOTSUPP) => Ok(()),
                Err(error) => Err(error.into()),
            }
        });
        let removed = std::fs::remove_file(&path);
        reserved.and(removed).map_err(VaultError::io("make room for new files in the config vault"))
    }

    /// Moves everything in, whole and durable. After an error, what was moved is whole, and nothing points at it.
    pub(super) fn settle(self) -> Result<(), VaultError> {
        self.move_in().map_err(VaultError::io(format!("write objects into {}", self.home.display())))
    }

    fn move_in(&self) -> io::Result<()> {
        let (mut files, mut folders) = (Vec::new(), vec![self.home.clone()]);
        let aside = self.folder.join("objects");
        for part in std::fs::read_dir(&aside)? {
            let part = part?.file_name();
            // Loose objects lie in folders of two digits; beside them are only `info` and `pack`.
            if part.len() != 2 {
                continue;
            }
            let home = self.home.join(&part);
            for file in std::fs::read_dir(aside.join(&part))? {
                let file = file?;
                files.push((file.path(), home.join(file.file_name())));
            }
            folders.push(home);
        }
        flush(files.iter().map(|(from, _)| from.as_path()))?;
        for folder in &folders {
            match std::fs::create_dir(folder) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        for (from, to) in &files {
            std::fs::rename(from, to)?;
        }
        flush(folders.iter().map(PathBuf::as_path))
    }
}

impl Drop for StagedObjects {
    fn drop(&mut self) {
        // The next one clears away what cannot be removed now.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Has files or folders written to the disk, several at once.
fn flush<'p>(paths: impl Iterator<Item = &'p Path>) -> io::Result<()> {
    let paths: Vec<&Path> = paths.collect();
    let one = |path: &Path| File::open(path)?.sync_all();
    std::thread::scope(|scope| {
        let parts = paths.chunks(paths.len().div_ceil(AT_ONCE).max(1));
        let running: Vec<_> =
            parts.map(|part| scope.spawn(move || part.iter().try_for_each(|path| one(path)))).collect();
        running.into_iter().try_for_each(|part| part.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::tests::{fixture, git, install, intent};

    fn loose(folder: &Path) -> usize {
        git2::Repository::open(folder)
            .unwrap()
            .odb()
            .map(|odb| {
                let mut count = 0;
                odb.foreach(|_| {
                    count += 1;
                    true
                })
                .unwrap();
                count
            })
            .unwrap()
    }

    #[test]
    fn objects_are_nowhere_until_they_settle_and_what_a_killed_process_left_is_cleared_away() {
        let f = fixture();
        let common = f.vault.path().join(".git");
        let before = loose(f.vault.path());
        let aside = StagedObjects::begin(&common).unwrap();
        let id = aside.repo().blob(b"never committed").unwrap();
        assert_eq!(loose(f.vault.path()), before, "not before it settles");
        // As kill -9 leaves it: nobody clears up.
        std::mem::forget(aside);
        assert!(common.join("dr/new/objects").is_dir());
        let aside = StagedObjects::begin(&common).unwrap();
        assert!(aside.repo().find_blob(id).is_err(), "what was left is gone");
        let id = aside.repo().blob(b"another").unwrap();
        aside.settle().unwrap();
        assert!(!common.join("dr/new").exists());
        assert_eq!(git(&f, &["cat-file", "-p", &id.to_string()]).trim(), "another");
        f.vault.record_intent(intent("2026-08-20T10:00:00Z", "2026-08-20"), b"a: 1\n", None).unwrap();
        assert_eq!(f.vault.deployments(&install()).unwrap().len(), 1);
        git(&f, &["fsck", "--strict"]);
    }
}
