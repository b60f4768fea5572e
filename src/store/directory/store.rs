//! The folder as a store.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::draft::{DirectoryDraft, DirectoryPending};
use super::files::make_folder;
use super::object::{BYTES, ObjectFolder};
use crate::store::draft::{Draft, DraftToken, ResumedDraft};
use crate::store::error::StoreError;
use crate::store::promise::{PublishedObject, Store, check_name};
use crate::store::stored::Stored;

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

    fn object(&self, name: &str) -> Result<ObjectFolder, StoreError> {
        ObjectFolder::new(&self.folder, name)
    }

    fn unusable(&self, source: io::Error) -> StoreError {
        StoreError::unusable(self.place(), source)
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
        self.folder.join(name).join(format!("{name}{BYTES}")).display().to_string()
    }

    fn begin(&self, name: &str, _expected: u64) -> Result<Box<dyn Draft>, StoreError> {
        let object = self.object(name)?;
        let file = object.make()?;
        Ok(Box::new(DirectoryDraft::new(object, file, 0)))
    }

    fn resume(&self, token: &DraftToken) -> Result<ResumedDraft, StoreError> {
        let object = self.object(&token.object)?;
        if object.is_published()? {
            return Ok(ResumedDraft::Published);
        }
        let file = object.lock(false)?.ok_or_else(|| object.not_found())?;
        if object.is_published()? {
            return Ok(ResumedDraft::Published);
        }
        let failed = |source| object.write_failed("write", 0, source);
        if file.0.metadata().map_err(failed)?.len() < token.durable {
            return Err(StoreError::Short { object: token.object.clone(), wanted: token.durable });
        }
        if token.complete {
            let pending = DirectoryPending { object, _lock: file, bytes: token.durable };
            return Ok(ResumedDraft::Pending(Box::new(pending)));
        }
        file.0.set_len(token.durable).map_err(failed)?;
        Ok(ResumedDraft::Draft(Box::new(DirectoryDraft::new(object, file, token.durable))))
    }

    fn abort(&self, token: &DraftToken) -> Result<bool, StoreError> {
        self.object(&token.object)?.throw_away()
    }

    fn list(&self) -> Result<Vec<PublishedObject>, StoreError> {
        let mut published = Vec::new();
        for (name, _) in self.names()?.into_iter().filter(|(_, is_folder)| *is_folder) {
            published.extend(self.object(&name)?.listed());
        }
        Ok(published)
    }

    fn record(&self, name: &str) -> Result<Vec<u8>, StoreError> {
        self.object(name)?.record()
    }

    fn open(&self, name: &str) -> Result<Arc<dyn Stored>, StoreError> {
        let object = self.object(name)?;
        if !object.is_published()? {
            return Err(object.not_found());
        }
        Ok(Arc::new(object.open_bytes()?))
    }

    fn add_note(&self, name: &str, note: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.object(name)?.add_note(note, bytes)
    }

    fn read_note(&self, name: &str, note: &str) -> Result<Vec<u8>, StoreError> {
        self.object(name)?.read_note(note)
    }

    fn remove(&self, name: &str) -> Result<(), StoreError> {
        self.object(name)?.remove()
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
        let object = store.folder.join("a");
        assert_eq!((mode(&store.folder), mode(&object)), (0o700, 0o700));
        for file in ["a.tar", "published.json", "pin"] {
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
        fs::write(store.folder.join("a").join(".new-x"), b"half").unwrap();
        assert!(store.list().unwrap()[0].notes.is_empty());
        drop(store.begin("b", 1).unwrap());
        fs::write(store.folder.join("b").join(".new-x"), b"half").unwrap();
        assert_eq!(names(&store), ["a"]);
        assert!(store.abort(&DraftToken::named("b")).unwrap());
        assert!(!store.folder.join("b").exists());
    }

    #[test]
    fn what_cannot_be_asked_is_no_draft_that_may_be_thrown_away() {
        let (_folder, store) = store();
        std::os::unix::fs::symlink("a", store.folder.join("a")).unwrap();
        let token = DraftToken::named("a");
        assert!(matches!(store.begin("a", 1), Err(StoreError::Failed { .. })));
        assert!(matches!(store.resume(&token), Err(StoreError::Failed { .. })));
        assert!(matches!(store.abort(&token), Err(StoreError::Failed { .. })));
        assert!(matches!(store.open("a"), Err(StoreError::Failed { .. })));
        assert!(matches!(store.add_note("a", "pin", b"x"), Err(StoreError::Failed { .. })));
    }

    #[test]
    fn one_whose_record_cannot_be_read_is_listed_among_the_rest() {
        let (_folder, store) = store();
        publish(&store, "a");
        fs::create_dir_all(store.folder.join("b").join("published.json")).unwrap();
        let list = store.list().unwrap();
        assert!(list[0].record.is_ok());
        assert!(matches!(list[1].record, Err(StoreError::Failed { .. })));
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
    fn a_removal_that_was_cut_short_is_listed_and_removed_again() {
        let (_folder, store) = store();
        publish(&store, "a");
        store.add_note("a", "gone.000001.json", b"x").unwrap();
        fs::remove_file(store.address("a")).unwrap();
        assert_eq!((names(&store), store.list().unwrap()[0].bytes), (vec!["a".to_owned()], None));
        store.remove("a").unwrap();
        assert!(names(&store).is_empty() && !store.folder.join("a").exists());
        // What somebody else keeps there is not ours.
        publish(&store, "b");
        fs::create_dir(store.folder.join("b").join("theirs")).unwrap();
        store.remove("b").unwrap();
        assert!(names(&store).is_empty() && store.folder.join("b").join("theirs").exists());
    }

    #[test]
    fn a_store_that_is_a_file_or_absent_is_refused() {
        let (folder, _) = store();
        let file = folder.path().join("file");
        fs::write(&file, b"").unwrap();
        assert!(matches!(DirectoryStore::create(&file), Err(StoreError::Unusable { .. })));
        assert!(matches!(DirectoryStore::open_folder(&folder.path().join("no")), Err(StoreError::Unusable { .. })));
    }
}
