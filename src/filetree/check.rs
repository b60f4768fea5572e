//! Whether a tar is what its own listing says.

use std::collections::BTreeMap;
use std::io::{self, Read};

use sha2::{Digest as _, Sha256};

use super::listing::to_text;
use super::{LISTING, ListedEntry, Result, TreeError, TreeKind, TreeListing};

/// Reads a whole tar, and holds every file of it against the listing at its end. Nothing is written.
///
/// # Errors
/// The first thing that is not as listed, or that the tar has no listing.
pub fn check(tar: impl Read) -> Result<TreeListing> {
    let mut seen = BTreeMap::new();
    let listing = each(tar, |entry, path| {
        let kind = match entry.header().entry_type() {
            tar::EntryType::Regular => {
                let (mut hash, bytes) = (Hashing(Sha256::new()), entry.size());
                io::copy(entry, &mut hash).map_err(TreeError::io(format!("read {path} of the tar")))?;
                Some(TreeKind::File { bytes, sha256: hex::encode(hash.0.finalize()) })
            }
            tar::EntryType::Directory => Some(TreeKind::Folder),
            // Their ends are in the listing, byte for byte; a header may write them in another way.
            tar::EntryType::Symlink | tar::EntryType::Link => None,
            other => return Err(TreeError::damaged(format!("{path} is of a kind that no tar of ours has: {other:?}"))),
        };
        match seen.insert(path.to_owned(), kind) {
            None => Ok(()),
            Some(_) => Err(TreeError::damaged(format!("{path} is in the tar twice"))),
        }
    })?;
    for ListedEntry { path, kind, .. } in &listing.entries {
        let is_link = matches!(kind, TreeKind::Symlink { .. } | TreeKind::HardLink { .. });
        match seen.remove(path) {
            Some(Some(found)) if found == *kind => {}
            Some(None) if is_link => {}
            Some(_) => return Err(TreeError::damaged(format!("{path} of the tar is not what its listing says"))),
            None => return Err(TreeError::damaged(format!("{path} is in the listing of the tar and not in it"))),
        }
    }
    match seen.first_key_value() {
        None => Ok(listing),
        Some((path, _)) => Err(TreeError::damaged(format!("{path} is in the tar and not in its listing"))),
    }
}

/// Gives every entry of a tar to `take`, with its path as the listing has it, and returns the listing, which must come last.
pub(super) fn each<R: Read>(
    tar: R,
    mut take: impl FnMut(&mut tar::Entry<'_, R>, &str) -> Result<()>,
) -> Result<TreeListing> {
    let mut archive = tar::Archive::new(tar);
    let mut listing = None;
    for entry in archive.entries().map_err(TreeError::io("read the tar"))? {
        let mut entry = entry.map_err(TreeError::io("read the tar"))?;
        if listing.is_some() {
            return Err(TreeError::damaged("something follows the listing of the tar"));
        }
        let path = to_text(plain(&entry.path_bytes()));
        match path.as_str() {
            LISTING => listing = Some(TreeListing::read(&mut entry)?),
            path => take(&mut entry, path)?,
        }
    }
    // What follows the end of a tar is read too, so that whoever sends it is not left standing.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(TreeError::io("read the tar"))?;
    listing.ok_or_else(|| TreeError::damaged("the tar has no listing: it is cut off"))
}

/// Without what a tar writes around a folder's path.
fn plain(path: &[u8]) -> &[u8] {
    let path = path.strip_suffix(b"/").unwrap_or(path);
    match path.strip_prefix(b"./") {
        Some(b"") | None => path,
        Some(path) => path,
    }
}

struct Hashing(Sha256);

impl io::Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
