//! Where values are edited: a private folder in memory, never on a disk, and gone when the work is done.
//!
//! Only file systems that live in memory are taken, by what the kernel says of them (statfs), not by their name. The
//! folder is removed when the [`ScratchDir`] is dropped; one whose process was killed outright is swept by the next.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::statfs;
use tempfile::TempDir;
use zeroize::Zeroizing;

use crate::error::{CommandError, Exit, Result};
use crate::read;

const PREFIX: &str = "dr-edit-";
/// Held as long as the process lives, however it ends.
const LOCK: &str = ".lock";
const VALUES: &str = "values.yaml";
/// What `statfs` calls them, in linux/magic.h.
const TMPFS: u64 = 0x0102_1994;
const RAMFS: u64 = 0x8584_58F6;
/// A folder without a lock is being made at this moment, unless it is older than this.
const FRESH: Duration = Duration::from_secs(60);

/// A private folder in memory with the file that is edited.
pub(super) struct ScratchDir {
    folder: TempDir,
    _lock: File,
}

impl ScratchDir {
    /// Makes one in the first of `places` that lives in memory, after sweeping out those of dead processes.
    ///
    /// # Errors
    /// None of them does; the reason is said for each.
    pub(super) fn make(places: &[PathBuf], bytes: &[u8]) -> Result<Self> {
        let mut reasons = Vec::new();
        for place in places {
            match refusal(place) {
                None => {
                    sweep(place);
                    return Self::make_in(place, bytes).map_err(|e| {
                        CommandError::new(Exit::Failure, format!("edit in {}", place.display())).because(e)
                    });
                }
                Some(reason) => reasons.push(format!("{} {reason}", place.display())),
            }
        }
        let text = format!("there is no place in memory to edit in: {}", reasons.join("; "));
        Err(CommandError::new(Exit::Failure, text)
            .hint("Values are never written to a disk in the clear. Mount a tmpfs on /dev/shm, or set XDG_RUNTIME_DIR to one."))
    }

    fn make_in(place: &Path, bytes: &[u8]) -> std::io::Result<Self> {
        let owner_only = std::fs::Permissions::from_mode(0o700);
        let folder =
            tempfile::Builder::new().prefix(PREFIX).rand_bytes(10).permissions(owner_only).tempdir_in(place)?;
        let private = |name: &str| {
            let mut options = OpenOptions::new();
            options.write(true).create_new(true).mode(0o600).open(folder.path().join(name))
        };
        let lock = private(LOCK)?;
        lock.lock()?;
        private(VALUES)?.write_all(bytes)?;
        Ok(Self { folder, _lock: lock })
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The file that is edited.
    pub(super) fn file(&self) -> PathBuf {
        self.folder.path().join(VALUES)
    }

    /// What the file holds now: an editor may have put another in its place.
    ///
    /// # Errors
    /// It is gone, no plain file any more, or far too large.
    pub(super) fn read(&self) -> Result<Zeroizing<Vec<u8>>> {
        let file = self.file();
        let failed = |e| CommandError::new(Exit::Failure, "read what was edited").because(e);
        let meta = std::fs::symlink_metadata(&file).map_err(failed)?;
        if !meta.is_file() || meta.len() > read::VALUES {
            return Err(CommandError::new(Exit::Failure, "what was edited is no plain file of a fit size any more"));
        }
        read::file(&file, read::VALUES).map(Zeroizing::new).map_err(failed)
    }
}

/// Why a place will not do.
fn refusal(place: &Path) -> Option<String> {
    match statfs(place) {
        Err(error) => Some(format!("cannot be used ({error})")),
        Ok(found) => {
            #[expect(clippy::cast_sign_loss, reason = "the type differs by platform")]
            let kind = found.f_type as u64 & 0xFFFF_FFFF;
            (!matches!(kind, TMPFS | RAMFS)).then(|| "is on a disk".to_owned())
        }
    }
}

/// Removes what killed processes of this user have left. What cannot be removed is somebody's, or in use.
fn sweep(place: &Path) {
    let own = rustix::process::getuid().as_raw();
    for entry in std::fs::read_dir(place).into_iter().flatten().flatten() {
        let path = entry.path();
        let ours = entry.file_name().to_string_lossy().starts_with(PREFIX)
            && std::fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_dir() && meta.uid() == own);
        if ours && is_dead(&path) {
            let _ = std::fs::remove_dir_all(&path);
        }
    }
}

fn is_dead(folder: &Path) -> bool {
    match File::open(folder.join(LOCK)) {
        Ok(lock) => !matches!(lock.try_lock(), Err(TryLockError::WouldBlock)),
        Err(_) => {
            let made = std::fs::metadata(folder).and_then(|meta| meta.modified());
            made.is_ok_and(|made| made.elapsed().is_ok_and(|age| age > FRESH))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every Linux has it; a machine without is not one that these tests run on.
    fn memory() -> TempDir {
        tempfile::tempdir_in("/dev/shm").unwrap()
    }

    #[test]
    fn the_folder_is_private_in_memory_and_gone_when_dropped() {
        let place = memory();
        let scratch = ScratchDir::make(&[PathBuf::from("/nonexistent"), place.path().to_owned()], b"a: 1\n").unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(scratch.folder()), mode(&scratch.file())), (0o700, 0o600));
        assert_eq!(scratch.read().unwrap().as_slice(), b"a: 1\n");
        let folder = scratch.folder().to_owned();
        drop(scratch);
        assert!(!folder.exists());
    }

    #[test]
    fn a_disk_is_refused_with_the_reason_of_each_place() {
        let disk = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let error =
            ScratchDir::make(&[PathBuf::from("/nonexistent"), disk.path().to_owned()], b"a: 1\n").err().unwrap();
        assert!(error.message().contains("/nonexistent cannot be used"), "{error}");
        assert!(error.message().contains("is on a disk"), "{error}");
        assert_eq!(std::fs::read_dir(disk.path()).unwrap().count(), 0, "nothing was written there");
    }

    #[test]
    fn what_a_killed_process_left_is_swept_and_what_lives_stays() {
        let place = memory();
        let places = [place.path().to_owned()];
        let alive = ScratchDir::make(&places, b"a: 1\n").unwrap();
        // As a killed process leaves it: the folder is there, and nobody holds its lock.
        let dead = place.path().join(format!("{PREFIX}dead"));
        std::fs::create_dir(&dead).unwrap();
        std::fs::write(dead.join(LOCK), "").unwrap();
        std::fs::write(dead.join(VALUES), "a: 2\n").unwrap();
        let beginning = place.path().join(format!("{PREFIX}new"));
        std::fs::create_dir(&beginning).unwrap();
        let next = ScratchDir::make(&places, b"a: 3\n").unwrap();
        assert!(!dead.exists() && beginning.exists() && alive.file().exists() && next.file().exists());
    }

    #[test]
    fn a_link_in_the_place_of_the_file_is_not_followed() {
        let scratch = ScratchDir::make(&[memory().keep()], b"a: 1\n").unwrap();
        std::fs::remove_file(scratch.file()).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", scratch.file()).unwrap();
        assert!(scratch.read().is_err());
        let place = scratch.folder().parent().unwrap().to_owned();
        drop(scratch);
        std::fs::remove_dir(place).unwrap();
    }
}
