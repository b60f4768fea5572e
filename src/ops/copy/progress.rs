//! How far a copy is, kept on this host, so that the next `dr` goes on where a killed one was.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{CommandError, Exit, Result};
use crate::read;
use crate::store::DraftToken;
use crate::write;

/// The one copy of a bundle into a store that goes on from this host; held until it is dropped.
#[derive(Debug)]
pub(super) struct CopyProgress {
    file: PathBuf,
    lock: PathBuf,
    _locked: File,
}

/// What is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct CopyState {
    /// Which bundle it is of, to the byte.
    pub(super) manifest_sha256: String,
    /// What finds the draft.
    pub(super) token: DraftToken,
}

/// How many bytes of a copy are there already, as far as this host knows.
pub(super) fn carried(state: &Path, to: &str, bundle: &str) -> u64 {
    let kept = read::file(&file_of(state, to, bundle), read::SMALL).ok();
    kept.and_then(|bytes| serde_json::from_slice::<CopyState>(&bytes).ok()).map_or(0, |state| state.token.durable)
}

fn file_of(state: &Path, to: &str, bundle: &str) -> PathBuf {
    let key = hex::encode(Sha256::digest(format!("{to}\0{bundle}")));
    state.join("copies").join(format!("{key}.json"))
}

impl CopyProgress {
    /// Takes up the copy of `bundle` into the store `to`.
    ///
    /// # Errors
    /// [`Exit::Locked`] when another process is at it; the folder cannot be written.
    pub(super) fn take(state: &Path, to: &str, bundle: &str) -> Result<Self> {
        let failed = |error| CommandError::new(Exit::Failure, "keep how far the copy is").because(error);
        fs::create_dir_all(state.join("copies")).map_err(failed)?;
        let file = file_of(state, to, bundle);
        let lock = file.with_extension("lock");
        let locked = File::options().create(true).truncate(false).write(true).open(&lock).map_err(failed)?;
        match locked.try_lock() {
            Ok(()) => Ok(Self { file, lock, _locked: locked }),
            Err(TryLockError::WouldBlock) => {
                let what = format!("bundle {bundle} is being copied to {to} by another process of this host");
                Err(CommandError::new(Exit::Locked, what).hint("Let it end, then run the command again."))
            }
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    /// What an earlier process has kept; nothing where that cannot be read.
    pub(super) fn state(&self) -> Option<CopyState> {
        serde_json::from_slice(&read::file(&self.file, read::SMALL).ok()?).ok()
    }

    /// Keeps it in the place of what was kept.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn keep(&self, state: &CopyState) -> io::Result<()> {
        write::replace_file(&self.file, 0o600, &serde_json::to_vec(state)?)
    }

    /// Forgets it: the copy is published, or thrown away.
    pub(super) fn forget(self) {
        // What stays is taken for an earlier copy, whose draft the store then does not find.
        for path in [&self.file, &self.lock] {
            drop(fs::remove_file(path));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_at_a_time_goes_on_where_the_last_one_was() {
        let folder = tempfile::tempdir().unwrap();
        let take = || CopyProgress::take(folder.path(), "s3://b", "b-1");
        let first = take().unwrap();
        assert_eq!(take().unwrap_err().exit(), Exit::Locked);
        assert!(CopyProgress::take(folder.path(), "/elsewhere", "b-1").is_ok());
        let state = CopyState { manifest_sha256: "0".into(), token: DraftToken::named("b-1") };
        first.keep(&state).unwrap();
        drop(first);
        let next = take().unwrap();
        assert_eq!(next.state(), Some(state));
        next.forget();
        assert_eq!(take().unwrap().state(), None);
    }
}
