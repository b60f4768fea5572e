//! Folders on the data volume: removing, syncing, and the record of a stage.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::OwnedMutexGuard;

use super::protocol::{Failure, FailureKind};

use crate::read;

/// Held while anything works on the pod's folders, by threads too, so that the work for an earlier link has ended
/// before that for the next one begins.
pub type VolumeGuard = Arc<OwnedMutexGuard<()>>;

/// What is known of a stage that has been filled and checked. Lies beside it, as `dr-stage-<run>.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageRecord {
    /// The run that filled it.
    pub run: String,
    /// The stage folder's inode number: it stays the same when the folder is renamed, so the folder is known for what
    /// it is wherever a kill has left it.
    pub inode: u64,
    /// The database's identity.
    pub system_identifier: u64,
    /// Set before a swap is undone: from then on the data counts as used, and may not be swapped in again.
    pub withdrawn: bool,
}

impl StageRecord {
    /// Reads the record; `None` when there is none.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn load(path: &Path) -> Result<Option<Self>, Failure> {
        match read::file(path, read::SMALL) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Failure::io(format!("read {}", path.display()))(error)),
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| {
                Failure::new(FailureKind::Unexpected, format!("{} cannot be read: {error}", path.display()))
            }),
        }
    }

    /// Writes the record. After a crash there is the old one or the new one, never a part.
    ///
    /// # Errors
    /// When the volume refuses.
    pub fn store(&self, path: &Path) -> Result<(), Failure> {
        let write = || {
            let fresh = path.with_extension("json.tmp");
            let mut file = File::create(&fresh)?;
            file.write_all(&serde_json::to_vec(self)?)?;
            file.sync_all()?;
            fs::rename(&fresh, path)?;
            sync_parent(path)
        };
        write().map_err(Failure::io(format!("write {}", path.display())))
    }
}

/// The inode number of a folder; `None` when there is nothing, or no folder.
///
/// # Errors
/// When the volume refuses to say.
pub fn inode(path: &Path) -> Result<Option<u64>, Failure> {
    match fs::symlink_metadata(path) {
        Ok(data) if data.is_dir() => Ok(Some(data.ino())),
        Ok(_) => Err(Failure::new(FailureKind::Unexpected, format!("{} is there and is no folder", path.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::io(format!("look at {}", path.display()))(error)),
    }
}

/// Removes a folder or a file with everything in it. `false` when there was nothing.
///
/// # Errors
/// When the volume refuses.
pub fn remove(path: &Path) -> Result<bool, Failure> {
    let removed = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => Err(error),
        Ok(data) if data.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
    };
    removed.and_then(|()| sync_parent(path)).map_err(Failure::io(format!("remove {}", path.display())))?;
    Ok(true)
}

/// Renames, and makes the new name durable in both folders.
///
/// # Errors
/// When `to` exists already, or the volume refuses.
pub fn rename(from: &Path, to: &Path) -> Result<(), Failure> {
    let act = || format!("rename {} to {}", from.display(), to.display());
    if fs::symlink_metadata(to).is_ok() {
        return Err(Failure::new(FailureKind::Unexpected, format!("{}: the new name is taken", act())));
    }
    fs::rename(from, to).and_then(|()| sync_parent(from)).and_then(|()| sync_parent(to)).map_err(Failure::io(act()))
}

/// Makes the names in the folder that holds `path` durable.
fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}
