//! A bundle on its way into a folder. Whoever has the file has its lock.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use rustix::fs::Advice;

use super::files::LockedFile;
use super::object::ObjectFolder;
use crate::store::draft::{Draft, DraftToken, Pending};
use crate::store::error::StoreError;
use crate::store::stored::Stored;

pub(super) struct DirectoryDraft {
    object: ObjectFolder,
    file: LockedFile,
    written: u64,
    durable: u64,
    poisoned: bool,
}

impl DirectoryDraft {
    /// A draft whose file ends at `written`.
    pub(super) fn new(object: ObjectFolder, file: LockedFile, written: u64) -> Self {
        Self { object, file, written, durable: written, poisoned: false }
    }

    /// Does one thing with the file. After a failed one nobody knows what is on the disk, and nothing more is taken.
    fn attempt<T>(&mut self, act: &'static str, attempt: impl FnOnce(&File) -> io::Result<T>) -> Result<T, StoreError> {
        if self.poisoned {
            return Err(StoreError::Poisoned(self.object.name.clone()));
        }
        attempt(&self.file.0).map_err(|error| {
            self.poisoned = true;
            self.object.write_failed(act, self.written, error)
        })
    }
}

impl Draft for DirectoryDraft {
    fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let end = self.written;
        self.attempt("write", |file| file.write_all_at(bytes, end))?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    fn durable(&mut self) -> Result<u64, StoreError> {
        self.attempt("sync", File::sync_data)?;
        self.durable = self.written;
        Ok(self.durable)
    }

    fn backlog(&self) -> u64 {
        0
    }

    fn token(&self) -> DraftToken {
        DraftToken { durable: self.durable, ..DraftToken::named(&self.object.name) }
    }

    fn complete(mut self: Box<Self>) -> Result<Box<dyn Pending>, StoreError> {
        self.attempt("sync", File::sync_all)?;
        Ok(Box::new(DirectoryPending { object: self.object, _lock: self.file, bytes: self.written }))
    }
}

pub(super) struct DirectoryPending {
    pub(super) object: ObjectFolder,
    pub(super) _lock: LockedFile,
    pub(super) bytes: u64,
}

impl Pending for DirectoryPending {
    fn open(&self) -> Result<Arc<dyn Stored>, StoreError> {
        let stored = self.object.open_bytes()?;
        // What was just written sits in the page cache, and reading it there would prove nothing about the disk. The
        // kernel drops the clean pages of the file; where it does not (tmpfs, some network mounts), nothing is lost.
        let _advice_only = rustix::fs::fadvise(&stored.file, 0, None, Advice::DontNeed);
        Ok(Arc::new(stored))
    }

    fn token(&self) -> DraftToken {
        DraftToken { durable: self.bytes, complete: true, ..DraftToken::named(&self.object.name) }
    }

    fn publish(self: Box<Self>, record: &[u8]) -> Result<(), StoreError> {
        self.object.publish(record)
    }
}
