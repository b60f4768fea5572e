//! The folder of one object.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::files::{LockedFile, StoredFile, make_folder, open_path, remove_beginning_with, sync_folder};
use crate::read;
use crate::store::error::StoreError;
use crate::store::promise::{PublishedObject, check_name};

/// How the file of an object's bytes ends.
pub(super) const BYTES: &str = ".tar";
const RECORD: &str = "published.json";
/// How the name of a record or note begins while it is written.
const UNFINISHED: &str = ".new-";

/// An object of a folder, whether it is there or not.
#[derive(Debug, Clone)]
pub(super) struct ObjectFolder {
    store: PathBuf,
    pub(super) name: String,
}

impl ObjectFolder {
    /// The object `name` of the store that is the folder `store`.
    ///
    /// # Errors
    /// `BadName`.
    pub(super) fn new(store: &Path, name: &str) -> Result<Self, StoreError> {
        check_name(name)?;
        Ok(Self { store: store.to_owned(), name: name.to_owned() })
    }

    fn folder(&self) -> PathBuf {
        self.store.join(&self.name)
    }

    /// Where its bytes are.
    pub(super) fn bytes_path(&self) -> PathBuf {
        self.folder().join(format!("{}{BYTES}", self.name))
    }

    /// Whether its record is there. A folder that cannot be asked is an error and no answer: who takes it for a draft
    /// may remove a bundle.
    pub(super) fn is_published(&self) -> Result<bool, StoreError> {
        match fs::symlink_metadata(self.folder().join(RECORD)) {
            Ok(_) => Ok(true),
            Err(error) if is_missing(&error) => Ok(false),
            Err(error) => Err(StoreError::failed("read", &self.name, error)),
        }
    }

    fn place(&self) -> String {
        self.store.display().to_string()
    }

    pub(super) fn exists(&self) -> StoreError {
        StoreError::Exists { object: self.name.clone(), place: self.place() }
    }

    pub(super) fn busy(&self) -> StoreError {
        StoreError::Busy { object: self.name.clone(), place: self.place() }
    }

    pub(super) fn not_found(&self) -> StoreError {
        self.missing(&self.name)
    }

    /// What is not there, unless the store itself is gone: then nobody knows.
    fn missing(&self, called: &str) -> StoreError {
        match self.store.metadata() {
            Err(gone) => StoreError::unusable(self.place(), gone),
            Ok(_) => StoreError::NotFound { object: called.to_owned(), place: self.place() },
        }
    }

    /// A failed write, which may be for want of room.
    pub(super) fn write_failed(&self, act: &'static str, written: u64, source: io::Error) -> StoreError {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                StoreError::Full { object: self.name.clone(), place: self.place(), written }
            }
            _ => StoreError::failed(act, &self.name, source),
        }
    }

    /// Makes the folder, and opens and locks an empty file in it.
    pub(super) fn make(&self) -> Result<LockedFile, StoreError> {
        let failed = |source| self.write_failed("write", 0, source);
        if self.is_published()? {
            return Err(self.exists());
        }
        make_folder(&self.folder(), false).and_then(|()| sync_folder(&self.store)).map_err(failed)?;
        let file = self.lock(true)?.ok_or_else(|| self.busy())?;
        // Only the holder of the lock publishes: a look without it could be too early.
        if self.is_published()? {
            return Err(self.exists());
        }
        file.0.set_len(0).and_then(|()| sync_folder(&self.folder())).map_err(failed)?;
        Ok(file)
    }

    /// Opens the bytes of a draft and takes the writer's lock; `None` when there are none.
    pub(super) fn lock(&self, create: bool) -> Result<Option<LockedFile>, StoreError> {
        let failed = |source| self.write_failed("write", 0, source);
        let opened = OpenOptions::new().read(true).write(true).create(create).mode(0o600).open(self.bytes_path());
        let file = match opened {
            Ok(file) => LockedFile::try_lock(file).map_err(failed)?.ok_or_else(|| self.busy())?,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !create => return Ok(None),
            // The folder went while another process threw its draft away.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(self.busy()),
            Err(error) => return Err(failed(error)),
        };
        // Whoever held the lock before may have thrown the file away since it was opened.
        if file.0.metadata().map_err(failed)?.nlink() == 0 {
            return if create { Err(self.busy()) } else { Ok(None) };
        }
        Ok(Some(file))
    }

    /// Removes what is left of a draft. Returns whether there was anything.
    pub(super) fn throw_away(&self) -> Result<bool, StoreError> {
        let failed = |source| StoreError::failed("remove", &self.name, source);
        let lock = self.lock(false)?;
        let folder = self.folder();
        if self.is_published()? || !folder.is_dir() {
            return Ok(false);
        }
        if lock.is_some() {
            fs::remove_file(self.bytes_path()).map_err(failed)?;
        }
        remove_beginning_with(UNFINISHED, &folder).map_err(failed)?;
        match fs::remove_dir(&folder) {
            // Nothing of ours is left in it.
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
            other => other.map_err(failed)?,
        }
        sync_folder(&self.store).map_err(failed)?;
        Ok(true)
    }

    /// Makes the record.
    pub(super) fn publish(&self, record: &[u8]) -> Result<(), StoreError> {
        self.place_new(RECORD, &self.name, record)
    }

    /// Makes a note.
    pub(super) fn add_note(&self, note: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.check_note(note)?;
        if !self.is_published()? {
            return Err(self.not_found());
        }
        self.place_new(note, &format!("{}/{note}", self.name), bytes)
    }

    /// Makes a small file: whole, durable, and never over another one. Messages call it `called`.
    ///
    /// It is written under a name of its own first, which nothing reads, because a crash in the middle of writing it in
    /// place would leave half of it.
    fn place_new(&self, file_name: &str, called: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let failed = |source| self.write_failed("write", 0, source);
        let folder = self.folder();
        let mut file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(&folder).map_err(failed)?;
        file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
        file.persist_noclobber(folder.join(file_name)).map_err(|error| match error.error.kind() {
            io::ErrorKind::AlreadyExists => StoreError::Exists { object: called.to_owned(), place: self.place() },
            _ => failed(error.error),
        })?;
        // From here on the file is there; only whether it outlives a crash of the machine is still open.
        sync_folder(&folder).map_err(failed)
    }

    /// The record.
    pub(super) fn record(&self) -> Result<Vec<u8>, StoreError> {
        self.read_small(RECORD, &self.name)
    }

    /// A note.
    pub(super) fn read_note(&self, note: &str) -> Result<Vec<u8>, StoreError> {
        self.check_note(note)?;
        self.read_small(note, &format!("{}/{note}", self.name))
    }

    fn read_small(&self, file_name: &str, called: &str) -> Result<Vec<u8>, StoreError> {
        match read::file(&self.folder().join(file_name), read::SMALL) {
            Ok(bytes) => Ok(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(self.missing(called)),
            Err(error) => Err(StoreError::failed("read", called, error)),
        }
    }

    /// A note may not take the place of the bytes or of the record.
    fn check_note(&self, note: &str) -> Result<(), StoreError> {
        check_name(note)?;
        let taken = note == RECORD || note.strip_suffix(BYTES) == Some(&self.name);
        if taken { Err(StoreError::BadName(note.to_owned())) } else { Ok(()) }
    }

    /// Removes the bytes, then the record, then the notes and the folder.
    pub(super) fn remove(&self) -> Result<(), StoreError> {
        let failed = |source| StoreError::failed("remove", &self.name, source);
        if !self.is_published()? {
            return Err(self.not_found());
        }
        let folder = self.folder();
        for file in [self.bytes_path(), folder.join(RECORD)] {
            match fs::remove_file(file) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other.and_then(|()| sync_folder(&folder)).map_err(failed)?,
            }
        }
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_type().is_ok_and(|kind| kind.is_file()) {
                fs::remove_file(entry.path()).map_err(failed)?;
            }
        }
        match fs::remove_dir(&folder) {
            // Somebody else keeps something there.
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
            other => other.map_err(failed)?,
        }
        sync_folder(&self.store).map_err(failed)
    }

    /// Opens the bytes, published or not.
    pub(super) fn open_bytes(&self) -> Result<StoredFile, StoreError> {
        open_path(&self.bytes_path(), self.name.clone(), &self.place()).map_err(|error| match error {
            StoreError::NotFound { object, .. } => self.missing(&object),
            error => error,
        })
    }

    /// The object as a list has it; `None` for a draft. Where the folder cannot be asked, it may be one: it is listed with
    /// the reason.
    pub(super) fn listed(&self) -> Option<PublishedObject> {
        let contents = self.is_published().and_then(|published| published.then(|| self.contents()).transpose());
        let ((bytes, notes), record) = match contents {
            Ok(None) => return None,
            Ok(Some(contents)) => (contents, self.record()),
            Err(error) => ((None, Vec::new()), Err(error)),
        };
        Some(PublishedObject { name: self.name.clone(), bytes, record, notes })
    }

    /// The length of its bytes, and the names of the notes.
    fn contents(&self) -> Result<(Option<u64>, Vec<String>), StoreError> {
        let failed = |source| StoreError::failed("read", &self.name, source);
        let (bytes_name, mut bytes, mut notes) = (format!("{}{BYTES}", self.name), None, Vec::new());
        for entry in fs::read_dir(self.folder()).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            match entry.file_name().into_string() {
                Ok(file) if file == bytes_name => bytes = entry.metadata().ok().map(|facts| facts.len()),
                Ok(file) if self.check_note(&file).is_ok() => notes.push(file),
                _ => {}
            }
        }
        notes.sort();
        Ok((bytes, notes))
    }
}

/// Whether nothing is there; of a path through a plain file, too.
fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_called_full() {
        let object = ObjectFolder::new(Path::new("/x"), "a").unwrap();
        let error = object.write_failed("write", 7, io::Error::from_raw_os_error(28));
        assert_eq!(error.to_string(), "store /x is full; a was not stored (7 bytes were)");
    }
}
