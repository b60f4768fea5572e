//! Reading a folder: into a tar, or only to know what is in it.
//!
//! Nothing is followed out of the folder: every name is opened below the folder that it was found in, and no link is opened.

use std::collections::HashMap;
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, open, openat, readlinkat, statat};
use sha2::{Digest as _, Sha256};

use super::listing::to_text;
use super::{LISTING, ListedEntry, OF_THE_FILESYSTEM, Result, TreeError, TreeKind, TreeListing, TreeTotals};

/// How deep folders may lie in each other: each is held open while what is in it is read.
const DEPTH_LIMIT: usize = 500;

/// Writes the folder `root` as one tar, and its listing at the end. `moved` is told how many bytes of files were read.
///
/// # Errors
/// Something cannot be read, or `out` does not take it.
pub fn pack(root: &Path, out: impl Write, moved: impl FnMut(u64)) -> Result<TreeTotals> {
    let mut tar = tar::Builder::new(out);
    let (listing, totals) = Walk::of(Some(&mut tar), moved).walk(root)?;
    let lines = listing.to_lines()?;
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Regular);
    header.set_mode(0o600);
    header.set_size(lines.len() as u64);
    let end = tar.append_data(&mut header, LISTING, &lines[..]).and_then(|()| tar.into_inner()?.flush());
    end.map_err(TreeError::io("write the end of the tar"))?;
    Ok(totals)
}

/// What is in the folder `root`: every byte of it is read.
///
/// # Errors
/// Something cannot be read.
pub fn list(root: &Path) -> Result<TreeListing> {
    Ok(Walk::<io::Sink, _>::of(None, |_| {}).walk(root)?.0)
}

struct Walk<'a, W: Write, M> {
    tar: Option<&'a mut tar::Builder<W>>,
    moved: M,
    listing: TreeListing,
    totals: TreeTotals,
    /// The first name of each file that has several.
    names: HashMap<(u64, u64), String>,
}

impl<'a, W: Write, M: FnMut(u64)> Walk<'a, W, M> {
    fn of(tar: Option<&'a mut tar::Builder<W>>, moved: M) -> Self {
        let (listing, totals, names) = (TreeListing::default(), TreeTotals::default(), HashMap::new());
        Self { tar, moved, listing, totals, names }
    }

    fn walk(mut self, root: &Path) -> Result<(TreeListing, TreeTotals)> {
        let act = |error: rustix::io::Errno| TreeError::io(format!("open {}", root.display()))(error.into());
        let folder = open(root, FOLDER, Mode::empty()).map_err(act)?;
        let stat = fstat(&folder).map_err(act)?;
        self.add(b".", &stat, TreeKind::Folder, &mut io::empty())?;
        self.folder(&folder, b"", 0)?;
        let totals = TreeTotals { left_out: self.totals.left_out, moving: self.totals.moving, ..self.listing.totals() };
        Ok((self.listing, totals))
    }

    /// What is in an open folder, by name. `above` is its path with a slash at the end, or nothing.
    fn folder(&mut self, folder: &OwnedFd, above: &[u8], depth: usize) -> Result<()> {
        if depth > DEPTH_LIMIT {
            return Err(TreeError::damaged(format!("{} lies in {DEPTH_LIMIT} folders", to_text(above))));
        }
        let failed = |error: rustix::io::Errno| {
            TreeError::io(format!("read folder {}", to_text(if above.is_empty() { b"." } else { above })))(error.into())
        };
        let mut names: Vec<CString> = Vec::new();
        for found in Dir::read_from(folder).map_err(failed)? {
            let name = found.map_err(failed)?.file_name().to_owned();
            let own = depth == 0 && (name.as_bytes() == OF_THE_FILESYSTEM.as_bytes());
            if !matches!(name.as_bytes(), b"." | b"..") && !own {
                names.push(name);
            }
        }
        names.sort();
        for name in names {
            let path = [above, name.as_bytes()].concat();
            self.named(folder, &name, &path, depth)?;
        }
        Ok(())
    }

    fn named(&mut self, folder: &OwnedFd, name: &CString, path: &[u8], depth: usize) -> Result<()> {
        let failed = |error: rustix::io::Errno| TreeError::io(format!("read {}", to_text(path)))(error.into());
        let Some(stat) = there(statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)).map_err(failed)? else {
            self.totals.moving += 1;
            return Ok(());
        };
        match FileType::from_raw_mode(stat.st_mode) {
            // The name of what comes at the end of the tar.
            _ if path == LISTING.as_bytes() => self.totals.left_out += 1,
            FileType::Directory => {
                let Some(inner) = there(openat(folder, name, FOLDER, Mode::empty())).map_err(failed)? else {
                    self.totals.moving += 1;
                    return Ok(());
                };
                self.add(path, &stat, TreeKind::Folder, &mut io::empty())?;
                self.folder(&inner, &[path, b"/"].concat(), depth + 1)?;
            }
            FileType::Symlink => match there(readlinkat(folder, name, Vec::new())).map_err(failed)? {
                Some(to) => {
                    let to = to_text(to.as_bytes());
                    self.add(path, &stat, TreeKind::Symlink { to }, &mut io::empty())?;
                }
                None => self.totals.moving += 1,
            },
            FileType::RegularFile => match there(openat(folder, name, FILE, Mode::empty())).map_err(failed)? {
                Some(file) => self.file(&file, path)?,
                None => self.totals.moving += 1,
            },
            _ => self.totals.left_out += 1,
        }
        Ok(())
    }

    fn file(&mut self, file: &OwnedFd, path: &[u8]) -> Result<()> {
        let failed = |error: io::Error| TreeError::io(format!("read {}", to_text(path)))(error);
        let before = fstat(file).map_err(|error| failed(error.into()))?;
        if before.st_nlink > 1 {
            let inode = (before.st_dev, before.st_ino);
            if let Some(first) = self.names.get(&inode) {
                let kind = TreeKind::HardLink { to: first.clone() };
                return self.add(path, &before, kind, &mut io::empty());
            }
            self.names.insert(inode, to_text(path));
        }
        let bytes = u64::try_from(before.st_size).unwrap_or_default();
        let mut open = File::from(file.try_clone().map_err(failed)?);
        let mut content =
            Content { file: &mut open, left: bytes, hash: Sha256::new(), moved: &mut self.moved, short: false };
        match self.tar.as_deref_mut() {
            Some(tar) => append(tar, path, &before, &TreeKind::File { bytes, sha256: String::new() }, &mut content)?,
            None => io::copy(&mut content, &mut io::sink()).map(drop).map_err(failed)?,
        }
        let (short, sha256) = (content.short, hex::encode(content.hash.finalize()));
        let after = fstat(file).map_err(|error| failed(error.into()))?;
        let when = |stat: &Stat| (stat.st_size, stat.st_mtime, stat.st_mtime_nsec);
        if short || when(&before) != when(&after) {
            self.totals.moving += 1;
        }
        self.listing.entries.push(entry(path, &before, TreeKind::File { bytes, sha256 }));
        Ok(())
    }

    /// Anything but a file.
    fn add(&mut self, path: &[u8], stat: &Stat, kind: TreeKind, content: &mut dyn Read) -> Result<()> {
        if let Some(tar) = self.tar.as_deref_mut() {
            append(tar, path, stat, &kind, content)?;
        }
        self.listing.entries.push(entry(path, stat, kind));
        Ok(())
    }
}

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const FILE: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// `None` where it has gone, or has become something else, since its name was read.
fn there<T>(found: rustix::io::Result<T>) -> rustix::io::Result<Option<T>> {
    use rustix::io::Errno;
    match found {
        Ok(found) => Ok(Some(found)),
        Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR | Errno::STALE) => Ok(None),
        Err(error) => Err(error),
    }
}

fn entry(path: &[u8], stat: &Stat, kind: TreeKind) -> ListedEntry {
    ListedEntry {
        path: to_text(path),
        kind,
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime: stat.st_mtime,
        mtime_nanos: u32::try_from(stat.st_mtime_nsec).unwrap_or_default(),
    }
}

fn append(
    tar: &mut tar::Builder<impl Write>,
    path: &[u8],
    stat: &Stat,
    kind: &TreeKind,
    content: &mut dyn Read,
) -> Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_mode(stat.st_mode & 0o7777);
    header.set_uid(stat.st_uid.into());
    header.set_gid(stat.st_gid.into());
    header.set_mtime(u64::try_from(stat.st_mtime).unwrap_or_default());
    header.set_size(0);
    let name = Path::new(OsStr::from_bytes(path));
    let appended = match kind {
        TreeKind::Folder => {
            header.set_entry_type(tar::EntryType::Directory);
            tar.append_data(&mut header, Path::new(OsStr::from_bytes(&[path, b"/"].concat())), content)
        }
        TreeKind::File { bytes, .. } => {
            header.set_entry_type(tar::EntryType::Regular);
            header.set_size(*bytes);
            tar.append_data(&mut header, name, content)
        }
        TreeKind::Symlink { to } => {
            header.set_entry_type(tar::EntryType::Symlink);
            tar.append_link(&mut header, name, OsStr::from_bytes(&super::listing::from_text(to)?))
        }
        TreeKind::HardLink { to } => {
            header.set_entry_type(tar::EntryType::Link);
            tar.append_link(&mut header, name, OsStr::from_bytes(&super::listing::from_text(to)?))
        }
    };
    appended.map_err(TreeError::io(format!("write {} into the tar", to_text(path))))
}

/// As many bytes of a file as it had when it was opened: what it lacks by now is made up with zeros, as tar programs do.
struct Content<'a, M> {
    file: &'a mut File,
    left: u64,
    hash: Sha256,
    moved: &'a mut M,
    short: bool,
}

impl<M: FnMut(u64)> Read for Content<'_, M> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let part = &mut buffer[..wanted];
        let mut count = if self.short { 0 } else { self.file.read(part)? };
        if count == 0 && wanted > 0 {
            part.fill(0);
            (count, self.short) = (wanted, true);
        }
        self.hash.update(&part[..count]);
        self.left -= count as u64;
        (self.moved)(count as u64);
        Ok(count)
    }
}
