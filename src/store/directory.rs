//! The store that is a folder: a folder an object.
//!
//! `<name>/<name>.tar` is the object's bytes, `<name>/published.json` its record, every other file there a note. Without
//! the record it is a draft. A draft's writer holds a lock (`flock`) on the bytes, which the kernel gives back however
//! the writer ends. A `.tar` in the store's own folder is a loose file, put there by hand.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::FlockOperation;

use super::draft::{DirectoryDraft, DirectoryPending, LockedFile};
use super::{Draft, DraftToken, PublishedObject, ResumedDraft, Store, StoreError, Stored, check_name};

const BYTES: &str = ".tar";
const RECORD: &str = "published.json";
/// How the name of a record or note begins while it is written.
const UNFINISHED: &str = ".new-";
/// Records and notes are a few kilobytes; a bigger file is not ours.
const SMALL_FILE_LIMIT: u64 = 1 << 20;

/// Bundles in a folder of the host, or of anything that is mounted there and honours fsync and locks.
#[derive(Debug, Clone)]
pub struct DirectoryStore {
    folder: PathBuf,
}

impl DirectoryStore {
    /// Makes the folder (mode 0700) where it is missing, and opens it.
    ///
    /// # Errors
    /// `Unusable` when it cannot be made or is not a folder.
    pub fn create(folder: &Path) -> Result<Self, StoreError> {
        make_folder(folder, true).map_err(|e| StoreError::unusable(folder.display().to_string(), e))?;
        Self::open_folder(folder)
    }

    /// Opens a folder that is there.
    ///
    /// # Errors
    /// `Unusable` when it is not there or not a folder.
    pub fn open_folder(folder: &Path) -> Result<Self, StoreError> {
        let unusable = |source| StoreError::unusable(folder.display().to_string(), source);
        if !fs::metadata(folder).map_err(unusable)?.is_dir() {
            return Err(unusable(io::Error::new(io::ErrorKind::NotADirectory, "it is not a folder")));
        }
        Ok(Self { folder: std::path::absolute(folder).map_err(unusable)? })
    }

    fn object_folder(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn bytes_path(&self, name: &str) -> PathBuf {
        self.object_folder(name).join(format!("{name}{BYTES}"))
    }

    fn is_published(&self, name: &str) -> bool {
        fs::symlink_metadata(self.object_folder(name).join(RECORD)).is_ok()
    }

    fn unusable(&self, source: io::Error) -> StoreError {
        StoreError::unusable(self.place(), source)
    }

    fn busy(&self, name: &str) -> StoreError {
        StoreError::Busy { object: name.to_owned(), place: self.place() }
    }

    pub(super) fn exists(&self, object: &str) -> StoreError {
        StoreError::Exists { object: object.to_owned(), place: self.place() }
    }

    fn not_found(&self, object: &str) -> StoreError {
        StoreError::NotFound { object: object.to_owned(), place: self.place() }
    }

    /// A failed write, which may be for want of room.
    pub(super) fn write_failed(&self, act: &'static str, object: &str, written: u64, source: io::Error) -> StoreError {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                StoreError::Full { object: object.to_owned(), place: self.place(), written }
            }
            _ => StoreError::failed(act, object, source),
        }
    }

    /// Opens the bytes of a draft and takes the writer's lock; `None` when there are none.
    fn lock(&self, name: &str, create: bool) -> Result<Option<LockedFile>, StoreError> {
        let failed = |source| self.write_failed("write", name, 0, source);
        let path = self.bytes_path(name);
        let opened = OpenOptions::new().read(true).write(true).create(create).mode(0o600).open(&path);
        let file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !create => return Ok(None),
            // The folder went while another process threw its draft away.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(self.busy(name)),
            Err(error) => return Err(failed(error)),
        };
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(self.busy(name)),
            Err(error) => return Err(failed(error.into())),
        }
        let file = LockedFile(file);
        // Whoever held the lock before may have thrown the file away since it was opened.
        if file.0.metadata().map_err(failed)?.nlink() == 0 {
            return if create { Err(self.busy(name)) } else { Ok(None) };
        }
        Ok(Some(file))
    }

    /// Makes a small file beside the bytes of `name`: whole, durable, and never over another one.
    ///
    /// It is written under a name of its own first, which nothing reads, because a crash in the middle of writing it in
    /// place would leave half of it.
    pub(super) fn place_new(&self, name: &str, file_name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let object = format!("{name}/{file_name}");
        let failed = |source| self.write_failed("write", &object, 0, source);
        let folder = self.object_folder(name);
        let mut file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(&folder).map_err(failed)?;
        file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
        file.persist_noclobber(folder.join(file_name)).map_err(|error| match error.error.kind() {
            io::ErrorKind::AlreadyExists => self.exists(&object),
            _ => failed(error.error),
        })?;
        // From here on the file is there; only whether it outlives a crash of the machine is still open.
        sync_folder(&folder).map_err(failed)
    }

    pub(super) fn publish(&self, name: &str, record: &[u8]) -> Result<(), StoreError> {
        self.place_new(name, RECORD, record).map_err(|error| match error {
            StoreError::Exists { .. } => self.exists(name),
            other => other,
        })
    }

    pub(super) fn open_bytes(&self, name: &str) -> Result<StoredFile, StoreError> {
        open_path(&self.bytes_path(name), name.to_owned(), &self.place())
    }

    fn read_small(&self, name: &str, file_name: &str, called: &str) -> Result<Vec<u8>, StoreError> {
        let mut bytes = Vec::new();
        let read = File::open(self.object_folder(name).join(file_name))
            .and_then(|file| file.take(SMALL_FILE_LIMIT).read_to_end(&mut bytes));
        match read {
            Ok(_) => Ok(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(self.not_found(called)),
            Err(error) => Err(StoreError::failed("read", called, error)),
        }
    }

    fn published(&self, name: String) -> Result<PublishedObject, StoreError> {
        let (bytes_name, mut bytes, mut notes) = (format!("{name}{BYTES}"), None, Vec::new());
        for entry in fs::read_dir(self.object_folder(&name)).map_err(|e| self.unusable(e))? {
            let entry = entry.map_err(|e| self.unusable(e))?;
            match entry.file_name().into_string() {
                Ok(file) if file == bytes_name => bytes = entry.metadata().ok().map(|facts| facts.len()),
                Ok(file) if file != RECORD && check_name(&file).is_ok() => notes.push(file),
                _ => {}
            }
        }
        notes.sort();
        Ok(PublishedObject { record: self.record(&name), name, bytes, notes })
    }

    /// Names of the folder that may name objects, with whether each is a folder itself.
    fn names(&self) -> Result<Vec<(String, bool)>, StoreError> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(|e| self.unusable(e))? {
            let entry = entry.map_err(|e| self.unusable(e))?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if check_name(&name).is_ok() {
                names.push((name, entry.path().is_dir()));
            }
        }
        names.sort();
        Ok(names)
    }
}

impl Store for DirectoryStore {
    fn place(&self) -> String {
        self.folder.display().to_string()
    }

    fn address(&self, name: &str) -> String {
        self.bytes_path(name).display().to_string()
    }

    fn begin(&self, name: &str, _expected: u64) -> Result<Box<dyn Draft>, StoreError> {
        check_name(name)?;
        if self.is_published(name) {
            return Err(self.exists(name));
        }
        let failed = |source| self.write_failed("write", name, 0, source);
        make_folder(&self.object_folder(name), false).map_err(failed)?;
        sync_folder(&self.folder).map_err(failed)?;
        let file = self.lock(name, true)?.ok_or_else(|| self.busy(name))?;
        // Only the holder of the lock publishes: a look without it could be too early.
        if self.is_published(name) {
            return Err(self.exists(name));
        }
        file.0.set_len(0).map_err(failed)?;
        sync_folder(&self.object_folder(name)).map_err(failed)?;
        Ok(Box::new(DirectoryDraft::new(self.clone(), name.to_owned(), file, 0)))
    }

    fn resume(&self, token: &DraftToken) -> Result<ResumedDraft, StoreError> {
        let name = &token.object;
        check_name(name)?;
        if self.is_published(name) {
            return Ok(ResumedDraft::Published);
        }
        let file = self.lock(name, false)?.ok_or_else(|| self.not_found(name))?;
        if self.is_published(name) {
            return Ok(ResumedDraft::Published);
        }
        let failed = |source| self.write_failed("write", name, 0, source);
        if file.0.metadata().map_err(failed)?.len() < token.durable {
            return Err(StoreError::Short { object: name.clone(), wanted: token.durable });
        }
        if token.complete {
            return Ok(ResumedDraft::Pending(Box::new(DirectoryPending::new(
                self.clone(),
                name.clone(),
                file,
                token.durable,
            ))));
        }
        file.0.set_len(token.durable).map_err(failed)?;
        Ok(ResumedDraft::Draft(Box::new(DirectoryDraft::new(self.clone(), name.clone(), file, token.durable))))
    }

    fn abort(&self, token: &DraftToken) -> Result<bool, StoreError> {
        let name = &token.object;
        check_name(name)?;
        let failed = |source| StoreError::failed("remove", name, source);
        let lock = self.lock(name, false)?;
        let folder = self.object_folder(name);
        if self.is_published(name) || !folder.is_dir() {
            return Ok(false);
        }
        if lock.is_some() {
            fs::remove_file(self.bytes_path(name)).map_err(failed)?;
        }
        remove_unfinished(&folder).map_err(failed)?;
        match fs::remove_dir(&folder) {
            // Nothing of ours is left in it.
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
            other => other.map_err(failed)?,
        }
        sync_folder(&self.folder).map_err(failed)?;
        Ok(true)
    }

    fn list(&self) -> Result<Vec<PublishedObject>, StoreError> {
        let names = self.names()?.into_iter().filter(|(name, is_folder)| *is_folder && self.is_published(name));
        names.map(|(name, _)| self.published(name)).collect()
    }

    fn record(&self, name: &str) -> Result<Vec<u8>, StoreError> {
        check_name(name)?;
        self.read_small(name, RECORD, name)
    }

    fn open(&self, name: &str) -> Result<Arc<dyn Stored>, StoreError> {
        check_name(name)?;
        if !self.is_published(name) {
            return Err(self.not_found(name));
        }
        Ok(Arc::new(self.open_bytes(name)?))
    }

    fn add_note(&self, name: &str, note: &str, bytes: &[u8]) -> Result<(), StoreError> {
        check_name(name)?;
        check_note(name, note)?;
        if !self.is_published(name) {
            return Err(self.not_found(name));
        }
        self.place_new(name, note, bytes)
    }

    fn read_note(&self, name: &str, note: &str) -> Result<Vec<u8>, StoreError> {
        check_name(name)?;
        check_note(name, note)?;
        self.read_small(name, note, &format!("{name}/{note}"))
    }

    fn free_bytes(&self) -> Result<Option<u64>, StoreError> {
        let facts = rustix::fs::statvfs(&self.folder).map_err(|e| self.unusable(e.into()))?;
        Ok(Some(facts.f_bavail.saturating_mul(facts.f_frsize)))
    }

    fn loose_files(&self) -> Result<Vec<PathBuf>, StoreError> {
        let names = self.names()?.into_iter();
        Ok(names
            .filter(|(name, is_folder)| !is_folder && name.ends_with(BYTES))
            .map(|(name, _)| self.folder.join(name))
            .collect())
    }
}

/// A note may not take the place of the bytes or of the record.
fn check_note(name: &str, note: &str) -> Result<(), StoreError> {
    check_name(note)?;
    let taken = note == RECORD || note.strip_suffix(BYTES) == Some(name);
    if taken { Err(StoreError::BadName(note.to_owned())) } else { Ok(()) }
}

fn make_folder(folder: &Path, parents: bool) -> io::Result<()> {
    match DirBuilder::new().recursive(parents).mode(0o700).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        other => other,
    }
}

/// Removes what a crash has left of records and notes.
fn remove_unfinished(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Makes the names in a folder durable.
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

pub(super) struct StoredFile {
    name: String,
    pub(super) file: File,
    len: u64,
}

pub(super) fn open_path(path: &Path, name: String, place: &str) -> Result<StoredFile, StoreError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => StoreError::NotFound { object: name.clone(), place: place.to_owned() },
        _ => StoreError::failed("read", &name, source),
    };
    let file = File::open(path).map_err(failed)?;
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
    use std::os::unix::fs::PermissionsExt;

    fn store() -> (tempfile::TempDir, DirectoryStore) {
        let folder = tempfile::tempdir().unwrap();
        let store = DirectoryStore::create(&folder.path().join("a/bundles")).unwrap();
        (folder, store)
    }

    fn publish(store: &DirectoryStore, name: &str) {
        let mut draft = store.begin(name, 1).unwrap();
        draft.append(b"x").unwrap();
        draft.complete().unwrap().publish(b"{}").unwrap();
    }

    fn names(store: &DirectoryStore) -> Vec<String> {
        store.list().unwrap().into_iter().map(|object| object.name).collect()
    }

    #[test]
    fn folders_and_files_are_private() {
        let (_folder, store) = store();
        publish(&store, "a");
        store.add_note("a", "pin", b"x").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let object = store.object_folder("a");
        assert_eq!((mode(&store.folder), mode(&object)), (0o700, 0o700));
        for file in ["a.tar", RECORD, "pin"] {
            assert_eq!(mode(&object.join(file)), 0o600, "{file}");
        }
    }

    #[test]
    fn the_bytes_lie_where_the_store_says_under_the_objects_own_name() {
        let (_folder, store) = store();
        publish(&store, "a");
        assert_eq!(fs::read(store.address("a")).unwrap(), b"x");
        assert!(store.address("a").ends_with("/a/a.tar"));
    }

    #[test]
    fn a_second_writer_of_a_name_is_busy_until_the_first_is_gone() {
        let (_folder, store) = store();
        let first = store.begin("a", 1).unwrap();
        assert!(matches!(store.begin("a", 1), Err(StoreError::Busy { .. })));
        assert!(matches!(store.abort(&first.token()), Err(StoreError::Busy { .. })));
        assert!(matches!(store.resume(&first.token()), Err(StoreError::Busy { .. })));
        drop(first);
        store.begin("a", 1).unwrap();
    }

    #[test]
    fn a_writer_that_is_gone_holds_nothing_although_a_child_still_has_its_file() {
        let (_folder, store) = store();
        make_folder(&store.object_folder("a"), false).unwrap();
        let locked = store.lock("a", true).unwrap().unwrap();
        let _of_the_child = locked.0.try_clone().unwrap();
        drop(locked);
        assert!(store.abort(&DraftToken::named("a")).unwrap());
    }

    #[test]
    fn a_file_put_there_by_hand_is_loose_and_no_object() {
        let (_folder, store) = store();
        publish(&store, "a");
        fs::write(store.folder.join("old.tar"), b"x").unwrap();
        fs::write(store.folder.join("notes.txt"), b"x").unwrap();
        assert_eq!(names(&store), ["a"]);
        assert_eq!(store.loose_files().unwrap(), [store.folder.join("old.tar")]);
        assert!(matches!(store.open("old"), Err(StoreError::NotFound { .. })));
    }

    #[test]
    fn what_a_crash_left_of_a_record_or_note_is_neither() {
        let (_folder, store) = store();
        publish(&store, "a");
        fs::write(store.object_folder("a").join(".new-x"), b"half").unwrap();
        assert!(store.list().unwrap()[0].notes.is_empty());
        drop(store.begin("b", 1).unwrap());
        fs::write(store.object_folder("b").join(".new-x"), b"half").unwrap();
        assert_eq!(names(&store), ["a"]);
        assert!(store.abort(&DraftToken::named("b")).unwrap());
        assert!(!store.object_folder("b").exists());
    }

    #[test]
    fn bytes_that_somebody_removed_are_missed_in_the_list() {
        let (_folder, store) = store();
        publish(&store, "a");
        fs::remove_file(store.address("a")).unwrap();
        assert_eq!(store.list().unwrap()[0].bytes, None);
        assert!(matches!(store.open("a"), Err(StoreError::NotFound { .. })));
    }

    #[test]
    fn a_store_that_is_a_file_or_absent_is_refused() {
        let (folder, _) = store();
        let file = folder.path().join("file");
        fs::write(&file, b"").unwrap();
        assert!(matches!(DirectoryStore::create(&file), Err(StoreError::Unusable { .. })));
        assert!(matches!(DirectoryStore::open_folder(&folder.path().join("no")), Err(StoreError::Unusable { .. })));
    }

    #[test]
    fn a_full_disk_is_called_full() {
        let (_folder, store) = store();
        let error = store.write_failed("write", "a", 7, io::Error::from_raw_os_error(28));
        assert_eq!(error.to_string(), format!("store {} is full; a was not stored (7 bytes were)", store.place()));
    }
}
