//! The store that is a folder: one file an object.
//!
//! `<name>.tar` is a finished object, `<name>.proof.json` the record beside it, `.<name>.partial-<run>` a draft. A
//! draft's writer holds a lock (`flock`) on it, which the kernel gives back however the writer ends.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Advice, AtFlags, FlockOperation, RenameFlags};

use super::{Draft, Store, StoreError, Stored, check_name};

const OBJECT: &str = ".tar";
const RECORD: &str = ".proof.json";
const PARTIAL: &str = ".partial-";
/// A record is a few hundred bytes; a bigger file is not ours.
const RECORD_LIMIT: u64 = 1 << 20;

/// Bundles in a folder of the host, or of anything that is mounted there and honours fsync and rename.
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
        let unusable = |source| StoreError::Unusable { place: folder.display().to_string(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(unusable)?;
        Self::open_folder(folder)
    }

    /// Opens a folder that is there.
    ///
    /// # Errors
    /// `Unusable` when it is not there or not a folder.
    pub fn open_folder(folder: &Path) -> Result<Self, StoreError> {
        let unusable = |source| StoreError::Unusable { place: folder.display().to_string(), source };
        if !fs::metadata(folder).map_err(unusable)?.is_dir() {
            return Err(unusable(io::Error::new(io::ErrorKind::NotADirectory, "it is not a folder")));
        }
        Ok(Self { folder: folder.to_owned() })
    }

    /// The path of the finished object `name`, whether it is there or not.
    pub fn path_of(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}{OBJECT}"))
    }

    fn unusable(&self, source: io::Error) -> StoreError {
        StoreError::Unusable { place: self.place(), source }
    }

    fn not_found(&self, name: &str) -> StoreError {
        StoreError::NotFound { object: name.to_owned(), place: self.place() }
    }

    /// All file names in the folder that are text.
    fn file_names(&self) -> Result<Vec<String>, StoreError> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(|e| self.unusable(e))? {
            let entry = entry.map_err(|e| self.unusable(e))?;
            names.extend(entry.file_name().into_string());
        }
        names.sort();
        Ok(names)
    }

    fn sync_folder(&self) -> io::Result<()> {
        File::open(&self.folder)?.sync_all()
    }

    /// Takes the lock of the draft at `path`; `None` when a living writer holds it or the draft has gone.
    fn lock_draft(&self, path: &Path) -> io::Result<Option<File>> {
        let file = match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok((file.metadata()?.nlink() > 0).then_some(file)),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl Store for DirectoryStore {
    fn place(&self) -> String {
        self.folder.display().to_string()
    }

    fn begin(&self, name: &str, run: &str) -> Result<Box<dyn Draft>, StoreError> {
        check_name(name)?;
        check_name(run)?;
        let busy = || StoreError::Busy { object: name.to_owned(), place: self.place() };
        if fs::symlink_metadata(self.path_of(name)).is_ok() {
            return Err(StoreError::Exists { object: name.to_owned(), place: self.place() });
        }
        let path = self.folder.join(format!(".{name}{PARTIAL}{run}"));
        if fs::symlink_metadata(&path).is_ok() {
            self.lock_draft(&path).map_err(|e| self.unusable(e))?.ok_or_else(busy)?;
            fs::remove_file(&path).map_err(|e| self.unusable(e))?;
        }
        let opened = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
        let file = opened.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => busy(),
            _ => failure("write", name, &self.place(), 0, error),
        })?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| busy())?;
        let draft =
            DirectoryDraft { store: self.clone(), name: name.to_owned(), path, file, written: 0, poisoned: false };
        // Two runs that begin the same name see each other here, whoever was first: both may step back, never neither.
        let prefix = format!(".{name}{PARTIAL}");
        for other in self.file_names()?.iter().filter(|other| other.starts_with(&prefix)) {
            let other = self.folder.join(other);
            let alive = other != draft.path
                && self.lock_draft(&other).map_err(|e| self.unusable(e))?.is_none()
                && fs::symlink_metadata(&other).is_ok();
            if alive {
                return Err(busy());
            }
        }
        Ok(Box::new(draft))
    }

    fn open(&self, name: &str) -> Result<Arc<dyn Stored>, StoreError> {
        check_name(name)?;
        Ok(Arc::new(open_path(&self.path_of(name), name.to_owned(), &self.place())?))
    }

    fn list(&self) -> Result<Vec<String>, StoreError> {
        let names = self.file_names()?;
        let mut names: Vec<String> = names
            .iter()
            .filter_map(|name| name.strip_suffix(OBJECT))
            .filter(|name| check_name(name).is_ok())
            .map(str::to_owned)
            .collect();
        // `a.tar` and `a-b.tar` sort otherwise than `a` and `a-b`.
        names.sort();
        Ok(names)
    }

    fn remove(&self, name: &str) -> Result<(), StoreError> {
        check_name(name)?;
        let failed = |source| StoreError::Io { act: "remove", object: name.to_owned(), source };
        match fs::remove_file(self.path_of(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(self.not_found(name)),
            other => other.map_err(failed)?,
        }
        match fs::remove_file(self.folder.join(format!("{name}{RECORD}"))) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other.map_err(failed)?,
        }
        self.sync_folder().map_err(failed)
    }

    fn sweep_drafts(&self, run: Option<&str>) -> Result<Vec<String>, StoreError> {
        let mut removed = Vec::new();
        for name in self.file_names()? {
            let Some((_, owner)) = name.strip_prefix('.').and_then(|rest| rest.rsplit_once(PARTIAL)) else { continue };
            if run.is_some_and(|run| run != owner) {
                continue;
            }
            let path = self.folder.join(&name);
            let failed = |source| StoreError::Io { act: "remove", object: name.clone(), source };
            if let Some(_lock) = self.lock_draft(&path).map_err(failed)? {
                fs::remove_file(&path).map_err(failed)?;
                removed.push(name);
            }
        }
        Ok(removed)
    }

    fn free_bytes(&self) -> Result<Option<u64>, StoreError> {
        let facts = rustix::fs::statvfs(&self.folder).map_err(|e| self.unusable(e.into()))?;
        Ok(Some(facts.f_bavail.saturating_mul(facts.f_frsize)))
    }

    fn write_record(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        check_name(name)?;
        if fs::symlink_metadata(self.path_of(name)).is_err() {
            return Err(self.not_found(name));
        }
        let record = format!("{name}{RECORD}");
        let failed = |source| failure("write", &record, &self.place(), 0, source);
        let mut file =
            tempfile::Builder::new().prefix(&format!(".{record}.")).tempfile_in(&self.folder).map_err(failed)?;
        file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
        file.persist(self.folder.join(&record)).map_err(|e| failed(e.error))?;
        self.sync_folder().map_err(failed)
    }

    fn read_record(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        check_name(name)?;
        let failed = |source| StoreError::Io { act: "read", object: format!("{name}{RECORD}"), source };
        let mut bytes = Vec::new();
        match File::open(self.folder.join(format!("{name}{RECORD}"))) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
            Ok(file) => file.take(RECORD_LIMIT).read_to_end(&mut bytes).map_err(failed)?,
        };
        Ok(Some(bytes))
    }
}

struct DirectoryDraft {
    store: DirectoryStore,
    name: String,
    path: PathBuf,
    file: File,
    written: u64,
    poisoned: bool,
}

impl DirectoryDraft {
    fn guard<T>(&mut self, act: &'static str, result: io::Result<T>) -> Result<T, StoreError> {
        result.map_err(|error| {
            self.poisoned = true;
            failure(act, &self.name, &self.store.place(), self.written, error)
        })
    }

    fn check(&self) -> Result<(), StoreError> {
        if self.poisoned { Err(StoreError::Poisoned(self.name.clone())) } else { Ok(()) }
    }
}

impl Draft for DirectoryDraft {
    fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.check()?;
        let result = self.file.write_all(bytes);
        self.guard("write", result)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    fn written(&self) -> u64 {
        self.written
    }

    fn sync(&mut self) -> Result<u64, StoreError> {
        self.check()?;
        let result = self.file.sync_data();
        self.guard("sync", result)?;
        Ok(self.written)
    }

    fn reopen(&self) -> Result<Arc<dyn Stored>, StoreError> {
        let file = open_path(&self.path, self.name.clone(), &self.store.place())?;
        // What was just written sits in the page cache, and reading it there would prove nothing about the disk. The
        // kernel drops the clean pages of the file; where it does not (tmpfs, some network mounts), nothing is lost.
        let _advice_only = rustix::fs::fadvise(&file.file, 0, None, Advice::DontNeed);
        Ok(Arc::new(file))
    }

    fn publish(mut self: Box<Self>) -> Result<(), StoreError> {
        self.check()?;
        let result = self.file.sync_all();
        self.guard("sync", result)?;
        let target = self.store.path_of(&self.name);
        match rename_new(&self.path, &target) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(StoreError::Exists { object: self.name.clone(), place: self.store.place() });
            }
            other => self.guard("publish", other)?,
        }
        // From here on the object is there under its name; only whether the name outlives a crash is still open.
        let result = self.store.sync_folder();
        self.guard("publish", result)
    }
}

impl Drop for DirectoryDraft {
    fn drop(&mut self) {
        // After publish the path is gone, and the error of that is the expected case.
        drop(fs::remove_file(&self.path));
    }
}

/// Renames without ever replacing. File systems that cannot (NFS, some FUSE) get a hard link instead, which refuses to
/// replace as well; a crash between its two calls leaves both names of one whole file, and the draft's is swept later.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::CWD;
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            rustix::fs::linkat(CWD, from, CWD, to, AtFlags::empty())?;
            fs::remove_file(from)
        }
        other => Ok(other?),
    }
}

fn failure(act: &'static str, object: &str, place: &str, written: u64, source: io::Error) -> StoreError {
    let (object, place) = (object.to_owned(), place.to_owned());
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full { object, place, written },
        _ => StoreError::Io { act, object, source },
    }
}

pub(super) struct StoredFile {
    name: String,
    file: File,
    len: u64,
}

pub(super) fn open_path(path: &Path, name: String, place: &str) -> Result<StoredFile, StoreError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => StoreError::NotFound { object: name.clone(), place: place.to_owned() },
        _ => StoreError::Io { act: "read", object: name.clone(), source },
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
        self.file.read_exact_at(buffer, offset).map_err(|source| StoreError::Io {
            act: "read",
            object: self.name.clone(),
            source,
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

    #[test]
    fn keeps_the_contract() {
        let (_folder, store) = store();
        super::super::contract::check(&store);
    }

    #[test]
    fn folder_and_files_are_private() {
        let (_folder, store) = store();
        let mut draft = store.begin("a", "r").unwrap();
        draft.append(b"x").unwrap();
        draft.publish().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&store.folder), mode(&store.path_of("a"))), (0o700, 0o600));
    }

    #[test]
    fn a_draft_left_by_a_dead_writer_is_swept_and_a_living_one_is_not() {
        let (_folder, store) = store();
        fs::write(store.folder.join(".old.partial-r1"), b"half").unwrap();
        let living = store.begin("new", "r2").unwrap();
        assert_eq!(store.sweep_drafts(Some("r9")).unwrap(), Vec::<String>::new());
        assert_eq!(store.sweep_drafts(None).unwrap(), [".old.partial-r1"]);
        living.publish().unwrap();
        assert_eq!(store.list().unwrap(), ["new"]);
    }

    #[test]
    fn a_second_writer_of_a_name_is_busy_whatever_its_run() {
        let (_folder, store) = store();
        let _first = store.begin("a", "r1").unwrap();
        for run in ["r1", "r2"] {
            assert!(matches!(store.begin("a", run), Err(StoreError::Busy { .. })), "{run}");
        }
        drop(_first);
        store.begin("a", "r2").unwrap();
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
        let error = failure("write", "a", "/b", 7, io::Error::from_raw_os_error(28));
        assert_eq!(error.to_string(), "store /b is full; a was not stored (7 bytes were)");
    }
}
