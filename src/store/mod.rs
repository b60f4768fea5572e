//! Where bundles live: what a store promises, and the stores that keep the promise.
//!
//! A store knows objects, not bundles: names and bytes. What the bytes mean is `bundle`'s business.

#[cfg(test)]
pub(crate) mod contract;
pub mod directory;

use std::io;
use std::path::Path;
use std::sync::Arc;

pub use directory::DirectoryStore;

/// Why a store refused. Every variant names the object or the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store itself cannot be used.
    #[error("store {place}")]
    Unusable {
        /// Which store.
        place: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No such object.
    #[error("no {object} in store {place}")]
    NotFound {
        /// The object.
        object: String,
        /// Which store.
        place: String,
    },
    /// The name could lead out of the store or hide in it.
    #[error("`{0}` cannot be the name of a stored bundle")]
    BadName(String),
    /// An object of this name is there, and objects are never overwritten.
    #[error("{object} is already in store {place}")]
    Exists {
        /// The object.
        object: String,
        /// Which store.
        place: String,
    },
    /// Another process is writing an object of this name.
    #[error("{object} is being written by another process into store {place}")]
    Busy {
        /// The object.
        object: String,
        /// Which store.
        place: String,
    },
    /// No room left.
    #[error("store {place} is full; {object} was not stored ({written} bytes were)")]
    Full {
        /// The object.
        object: String,
        /// Which store.
        place: String,
        /// How much of it fitted.
        written: u64,
    },
    /// Reading or writing an object failed.
    #[error("{act} {object}")]
    Io {
        /// `read`, `write`, `sync`, `publish`, `remove`.
        act: &'static str,
        /// The object.
        object: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// An earlier write or sync failed, so nothing more is taken: after a failed sync nobody knows what is on the disk.
    #[error("{0} cannot be written to any more, since an earlier write or sync of it failed")]
    Poisoned(String),
}

/// A place that keeps finished objects whole and for good.
///
/// What every store guarantees, and what `contract` proves of each:
/// 1. **Whole or absent.** `list` and `open` know an object only after `publish` returned, and then with all its
///    bytes. A crash before that leaves a draft at most, which no call but `sweep_drafts` sees.
/// 2. **Durable.** After `publish` returned, the object outlives a crash of the machine. After `Draft::sync` returned
///    `n`, so do the first `n` bytes of the draft (until it is swept).
/// 3. **Never overwritten.** `publish` of a name that exists fails with `Exists` and leaves the old object as it was.
/// 4. **Read after write.** What is published is listed and opened at once, by any process.
/// 5. **Sorted.** `list` is in ascending order of names.
/// 6. **One writer.** While one process writes a draft of a name, another one that begins the same name gets `Busy`;
///    `sweep_drafts` never touches a draft whose writer lives.
pub trait Store: Send + Sync {
    /// What to call the store in messages, such as `/var/lib/dr/bundles`.
    fn place(&self) -> String;

    /// Begins a new object. `run` is the id of the run on whose behalf it is written; an abandoned draft of the same
    /// name and run is thrown away first.
    ///
    /// # Errors
    /// `BadName`, `Exists`, `Busy`, `Full`, `Unusable`.
    fn begin(&self, name: &str, run: &str) -> Result<Box<dyn Draft>, StoreError>;

    /// Opens a finished object.
    ///
    /// # Errors
    /// `BadName`, `NotFound`, `Io`.
    fn open(&self, name: &str) -> Result<Arc<dyn Stored>, StoreError>;

    /// The names of all finished objects, ascending.
    ///
    /// # Errors
    /// `Unusable`.
    fn list(&self) -> Result<Vec<String>, StoreError>;

    /// Removes a finished object and its record, durably. A crash in between leaves the record without its object at
    /// worst, which nothing lists.
    ///
    /// # Errors
    /// `BadName`, `NotFound`, `Io`.
    fn remove(&self, name: &str) -> Result<(), StoreError>;

    /// Removes drafts whose writers are gone: those of `run`, or of every run. Returns what was removed.
    ///
    /// # Errors
    /// `Unusable`, `Io`.
    fn sweep_drafts(&self, run: Option<&str>) -> Result<Vec<String>, StoreError>;

    /// The room that is left, in bytes; `None` where the store cannot know.
    ///
    /// # Errors
    /// `Unusable`.
    fn free_bytes(&self) -> Result<Option<u64>, StoreError>;

    /// Keeps a small record beside the finished object `name`, replacing the one before atomically.
    ///
    /// # Errors
    /// `BadName`, `NotFound` when there is no such object, `Full`, `Io`.
    fn write_record(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError>;

    /// The record beside `name`, if there is one.
    ///
    /// # Errors
    /// `BadName`, `Io`.
    fn read_record(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError>;
}

/// An object that is being written. Dropped without `publish`, it is thrown away.
pub trait Draft: Send {
    /// Adds bytes at the end. After an error nothing more is taken.
    ///
    /// # Errors
    /// `Full`, `Io`, `Poisoned`.
    fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError>;

    /// How many bytes were added so far.
    fn written(&self) -> u64;

    /// Makes everything that was added durable and returns how many bytes that is.
    ///
    /// # Errors
    /// `Full`, `Io`, `Poisoned`.
    fn sync(&mut self) -> Result<u64, StoreError>;

    /// Opens what the store now holds of it, read anew from where it is stored as far as the store can tell. Only
    /// synced bytes are promised to be there.
    ///
    /// # Errors
    /// `Io`.
    fn reopen(&self) -> Result<Arc<dyn Stored>, StoreError>;

    /// Turns the draft into a finished object.
    ///
    /// # Errors
    /// `Exists`, `Full`, `Io`, `Poisoned`; the draft is then thrown away. One case is open: when the last sync of the
    /// folder fails, the whole object is there already, and only a crash of the machine may still undo that.
    fn publish(self: Box<Self>) -> Result<(), StoreError>;
}

/// A finished object, or the synced part of a draft. Reads may come from many threads at once.
pub trait Stored: Send + Sync {
    /// What to call it in messages.
    fn name(&self) -> &str;

    /// Its length in bytes.
    fn len(&self) -> u64;

    /// Whether it has no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `buffer` from `offset` on.
    ///
    /// # Errors
    /// `Io`, of kind `UnexpectedEof` when the object ends before the buffer is full.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), StoreError>;
}

/// Opens a single file outside any store, such as a bundle that somebody carried over by hand.
///
/// # Errors
/// `NotFound`, `Io`.
pub fn open_file(path: &Path) -> Result<Arc<dyn Stored>, StoreError> {
    directory::open_path(path, path.display().to_string(), "the file system")
        .map(|file| Arc::new(file) as Arc<dyn Stored>)
}

/// Whether `name` may name an object: letters, digits, `.`, `_`, `-`, first a letter or digit, at most 200 bytes.
pub(crate) fn check_name(name: &str) -> Result<(), StoreError> {
    let first = name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    let rest = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if first && rest && name.len() <= 200 { Ok(()) } else { Err(StoreError::BadName(name.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_the_store_or_hide_in_it_are_refused() {
        for bad in ["", ".", "..", ".hidden", "-x", "a/b", "a\\b", "a b", "ä", "a\0b", &"a".repeat(201)] {
            assert!(matches!(check_name(bad), Err(StoreError::BadName(_))), "{bad}");
        }
        assert!(check_name("opschain-20261123T075443Z-0a1b2c").is_ok());
    }
}
