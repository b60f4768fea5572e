//! A tar onto a volume.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use serde::{Deserialize, Serialize};

use super::check::each;
use super::listing::from_text;
use super::{ListedEntry, OF_THE_FILESYSTEM, Result, TreeError, TreeKind, TreeListing, TreeTotals};

/// What is on the volume and is not as it was listed, though every byte is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeDifferences {
    /// Entries with another owner or mode: the volume does not let them be set.
    pub owners: u64,
}

/// Removes what is in the folder `root`, and unpacks `tar` into it. Returns the tar's listing: what is there now is still to be
/// held against it, once it is on disk.
///
/// May be done again, whatever an earlier time has left.
///
/// # Errors
/// The tar is not as it should be, or the volume refuses.
pub fn fill(root: &Path, tar: impl Read) -> Result<TreeListing> {
    clear(root)?;
    let mut folders = BTreeSet::from([String::new()]);
    let listing = each(tar, |entry, path| {
        let above = path.rsplit_once('/').map_or("", |(above, _)| above);
        if path != "." && (!folders.contains(above) || !is_below(path)) {
            return Err(TreeError::damaged(format!("{path} of the tar lies in no folder of it")));
        }
        let place = place(root, path)?;
        let act = TreeError::io(format!("write {path}"));
        match entry.header().entry_type() {
            tar::EntryType::Directory if path == "." => {}
            tar::EntryType::Directory => {
                DirBuilder::new().mode(0o700).create(&place).map_err(act)?;
                folders.insert(path.to_owned());
            }
            tar::EntryType::Regular => {
                let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&place);
                file.and_then(|mut file| io::copy(entry, &mut file)).map_err(act)?;
            }
            // They are made when no file is written any more, so that none is written through one.
            _ => {}
        }
        Ok(())
    })?;
    for entry in &listing.entries {
        let place = place(root, &entry.path)?;
        let made = match &entry.kind {
            TreeKind::Symlink { to } => symlink(OsStr::from_bytes(&from_text(to)?), place),
            TreeKind::HardLink { to } => {
                let first = self::place(root, to)?;
                let is_file = fs::symlink_metadata(&first).is_ok_and(|found| found.is_file());
                if is_file { fs::hard_link(first, place) } else { Err(io::ErrorKind::InvalidData.into()) }
            }
            _ => continue,
        };
        made.map_err(TreeError::io(format!("make link {}", entry.path)))?;
    }
    // The last first: what is made in a folder changes its time.
    listing.entries.iter().rev().try_for_each(|entry| dress(&place(root, &entry.path)?, entry))?;
    Ok(listing)
}

/// Holds what was found in a folder against what was listed.
///
/// # Errors
/// Names the first entry that is missing, that should not be there, or that is another file.
pub fn hold_against(found: &TreeListing, listed: &TreeListing) -> Result<(TreeTotals, TreeDifferences)> {
    let (mut seen, mut differences) = (found.by_path(), TreeDifferences::default());
    for entry in &listed.entries {
        let path = &entry.path;
        match seen.remove(path.as_str()) {
            Some(there) if there.kind == entry.kind => {
                let facts = |entry: &ListedEntry| (entry.mode, entry.uid, entry.gid);
                // Nobody asks for the mode of a symlink.
                let is_link = matches!(entry.kind, TreeKind::Symlink { .. });
                differences.owners += u64::from(!is_link && facts(there) != facts(entry));
            }
            Some(_) => {
                return Err(TreeError::damaged(format!("{path} on the volume is not what the bundle's listing says")));
            }
            None => return Err(TreeError::damaged(format!("{path} is in the bundle's listing and not on the volume"))),
        }
    }
    match seen.first_key_value() {
        None => Ok((listed.totals(), differences)),
        Some((path, _)) => Err(TreeError::damaged(format!("{path} is on the volume and not in the bundle's listing"))),
    }
}

fn clear(root: &Path) -> Result<()> {
    let act = || TreeError::io(format!("clear {}", root.display()));
    for found in fs::read_dir(root).map_err(act())? {
        let found = found.map_err(act())?;
        if found.file_name() == OF_THE_FILESYSTEM {
            continue;
        }
        let is_folder = found.file_type().map_err(act())?.is_dir();
        let removed = if is_folder { fs::remove_dir_all(found.path()) } else { fs::remove_file(found.path()) };
        removed.map_err(act())?;
    }
    Ok(())
}

fn is_below(path: &str) -> bool {
    path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

/// Where an entry of a listing lies, below `root`.
///
/// # Errors
/// The path leads out.
pub fn place(root: &Path, path: &str) -> Result<PathBuf> {
    if path == "." {
        return Ok(root.to_owned());
    }
    if !is_below(path) {
        return Err(TreeError::damaged(format!("path `{path}` leads out of the volume")));
    }
    Ok(root.join(OsStr::from_bytes(&from_text(path)?)))
}

/// Gives an entry its owner, mode and time. What a volume does not let be set is found when it is looked at.
fn dress(place: &Path, entry: &ListedEntry) -> Result<()> {
    let act = || TreeError::io(format!("set owner, mode and time of {}", entry.path));
    if matches!(entry.kind, TreeKind::HardLink { .. }) {
        return Ok(());
    }
    unless_refused(lchown(place, Some(entry.uid), Some(entry.gid))).map_err(act())?;
    if !matches!(entry.kind, TreeKind::Symlink { .. }) {
        unless_refused(fs::set_permissions(place, fs::Permissions::from_mode(entry.mode))).map_err(act())?;
    }
    let time = Timespec { tv_sec: entry.mtime, tv_nsec: entry.mtime_nanos.into() };
    let times = Timestamps { last_access: time, last_modification: time };
    let set = utimensat(CWD, place, &times, AtFlags::SYMLINK_NOFOLLOW);
    unless_refused(set.map_err(io::Error::from)).map_err(act())
}

fn unless_refused(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported) => Ok(()),
        done => done,
    }
}
