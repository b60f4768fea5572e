//! Files and folders: opened, locked, made durable.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::FlockOperation;

use crate::read;
use crate::store::error::StoreError;
use crate::store::stored::Stored;

/// Makes a folder that only its owner may enter.
pub(super) fn make_folder(folder: &Path, parents: bool) -> io::Result<()> {
    match DirBuilder::new().recursive(parents).mode(0o700).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        other => other,
    }
}

/// Makes the names in a folder durable.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Removes the files of a folder whose names begin with `prefix`.
pub(super) fn remove_beginning_with(prefix: &str, folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// A file with its writer's lock on it.
pub(super) struct LockedFile(pub(super) File);

impl LockedFile {
    /// Takes the lock; `None` where another one has it.
    pub(super) fn try_lock(file: File) -> io::Result<Option<Self>> {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self(file))),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for LockedFile {
    fn drop(&mut self) {
        // Closing would do, but for a process that is being started at this moment and has the file open until it is.
        let _closing_does_it_too = rustix::fs::flock(&self.0, FlockOperation::Unlock);
    }
}

/// A file that is read.
pub(in crate::store) struct StoredFile {
    name: String,
    pub(super) file: File,
    len: u64,
}

/// Opens the plain file at `path`; messages call it `name`, and where it should be `place`.
pub(in crate::store) fn open_path(path: &Path, name: String, place: &str) -> Result<StoredFile, StoreError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => StoreError::NotFound { object: name.clone(), place: place.to_owned() },
        _ => StoreError::failed("read", &name, source),
    };
    let file = OpenOptions::new().read(true).custom_flags(read::AT_ONCE).open(path).map_err(failed)?;
    let facts = file.metadata().map_err(failed)?;
    if !facts.is_file() {
        return Err(failed(io::Error::other("it is not a plain file")));
    }
    Ok(StoredFile { name, file, len: facts.len() })
}

impl Stored for StoredFile {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), StoreError> {
        self.file.read_exact_at(buffer, offset).map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => {
                StoreError::Short { object: self.name.clone(), wanted: offset + buffer.len() as u64 }
            }
            _ => StoreError::failed("read", &self.name, source),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_without_a_writer_is_refused_and_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("x.tar");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
        let opened = open_path(&pipe, "x".into(), "/store").map(drop);
        assert!(matches!(opened, Err(StoreError::Failed { act: "read", .. })), "{opened:?}");
    }

    #[test]
    fn a_writer_that_is_gone_holds_nothing_although_a_child_still_has_its_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let open = || File::open(file.path()).unwrap();
        let locked = LockedFile::try_lock(open()).unwrap().unwrap();
        assert!(LockedFile::try_lock(open()).unwrap().is_none());
        let _of_the_child = locked.0.try_clone().unwrap();
        drop(locked);
        assert!(LockedFile::try_lock(open()).unwrap().is_some());
    }
}
