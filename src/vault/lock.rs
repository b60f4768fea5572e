//! One writer of a vault at a time, of those of this host.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::error::VaultError;
use crate::read;

/// How long one waits for another process to finish writing.
const PATIENCE: Duration = Duration::from_secs(30);

/// After this somebody is told what is waited for.
const SILENCE: Duration = Duration::from_secs(1);

/// Held while the repository is written to. The operating system lets go of it when the process ends, however it ends.
///
/// While it is held, a mark says so. Who takes the lock and finds the mark knows that a writer was killed, and that the
/// lock files which libgit2 keeps beside what it writes are that writer's: they do not go away with their process.
pub(super) struct Lock {
    /// Dropping it is what lets go.
    _file: File,
    mark: PathBuf,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // A mark that stays costs the next writer a look at lock files.
        let _ = std::fs::remove_file(&self.mark);
    }
}

/// What libgit2 locks while we write, under the repository's folder.
const LOCKED: &[&str] = &["refs/heads/main.lock", "refs/dr/newest.lock", "packed-refs.lock", "HEAD.lock", "index.lock"];

/// A git at work holds a lock for moments.
const STALE: Duration = Duration::from_secs(2);

/// What a git that was killed has locked, so that nothing more is written: git itself takes no lock away.
pub(super) fn left(folder: &Path) -> Vec<PathBuf> {
    let stays = |path: &PathBuf| {
        let modified = path.metadata().and_then(|found| found.modified()).ok();
        modified.and_then(|modified| modified.elapsed().ok()).is_some_and(|age| age > STALE)
    };
    LOCKED.iter().map(|name| folder.join(name)).filter(stays).collect()
}

/// Waits for other writers of this host on the repository in this folder, up to half a minute. `tell` hears whom it waits
/// for, and a signal that comes meanwhile ends the wait. One that came before does not: what is written then tells what was
/// done.
///
/// # Errors
/// `Locked`, or `Stopped`.
pub(super) fn wait(folder: &Path, tell: &dyn Fn(String), cancel: &CancellationToken) -> Result<Lock, VaultError> {
    let path = folder.join("dr.lock");
    let name = path.display().to_string();
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(VaultError::io(format!("open {name}")))?;
    let (begun, stopped_before) = (Instant::now(), cancel.is_cancelled());
    let mut told = false;
    loop {
        match file.try_lock() {
            Ok(()) => return mark(folder, file),
            Err(TryLockError::Error(source)) => {
                return Err(VaultError::Io { act: format!("lock {name}"), source });
            }
            Err(TryLockError::WouldBlock) => {}
        }
        let (waited, holder) = (begun.elapsed(), writer(folder));
        if waited >= PATIENCE {
            return Err(VaultError::Locked { path: name, holder });
        }
        if cancel.is_cancelled() && !stopped_before {
            return Err(VaultError::Stopped);
        }
        if waited >= SILENCE && !told {
            let who = holder.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"));
            tell(format!("{who} writes to the config vault; waiting for it, at most {} s", PATIENCE.as_secs()));
            told = true;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Clears away what a killed writer has left, and marks that one is at work again.
fn mark(folder: &Path, file: File) -> Result<Lock, VaultError> {
    let mark = folder.join("dr.writing");
    if mark.exists() {
        for name in LOCKED {
            match std::fs::remove_file(folder.join(name)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(VaultError::io(format!("remove {name}, which a killed dr has left"))(error));
                }
                _ => {}
            }
        }
    }
    std::fs::write(&mark, std::process::id().to_string())
        .map_err(VaultError::io(format!("write {}", mark.display())))?;
    Ok(Lock { _file: file, mark })
}

/// The process that writes, as its mark says.
fn writer(folder: &Path) -> Option<u32> {
    let mark = read::file(&folder.join("dr.writing"), read::SMALL).ok()?;
    std::str::from_utf8(&mark).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::vault::git::Git;
    use crate::vault::tests::fixture;

    #[test]
    fn a_wait_for_another_writer_is_told_and_ends_with_a_signal_that_comes_in_it() {
        let f = fixture();
        let (git, cancel) = (Git::open(f.vault.path()).unwrap(), CancellationToken::new());
        let held = git.lock().unwrap();
        let told = Mutex::new(Vec::new());
        let tell = |text| {
            told.lock().unwrap().push(text);
            cancel.cancel();
        };
        assert!(matches!(Git::open(f.vault.path()).unwrap().lock_waiting(&tell, &cancel), Err(VaultError::Stopped)));
        let told = told.into_inner().unwrap();
        assert_eq!(
            told,
            [format!("process {} writes to the config vault; waiting for it, at most 30 s", std::process::id())]
        );
        drop(held);
        assert!(git.lock_waiting(&|_| (), &cancel).is_ok(), "what was done is written down after a signal, too");
    }
}
