//! Where bundles live: what a store promises, and the stores that keep the promise.
//!
//! A store knows objects, not bundles: names and bytes. What the bytes mean is `bundle`'s business.
//!
//! ```text
//! begin -> Draft: append, durable -> complete -> Pending: open (read back), publish(record) -> listed
//!            |                                      |
//!            +--- token, in the journal ------------+--- a later process: resume or abort
//! ```

pub mod directory;
mod draft;
mod error;
mod traced;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use directory::DirectoryStore;
pub use error::{Cause, StoreError};

use self::traced::TracedStore;

/// A place that keeps objects whole and for good.
///
/// An object is its bytes, its **record** and its notes. The record is one small file, made last: it is what publishes
/// the object. Nothing is ever renamed, copied or rewritten, so that the same words hold for a folder and for a bucket,
/// also one that forbids to change what is there.
///
/// What every store guarantees, and what the contract test (`tests/bundle/contract.rs`) proves of each:
/// 1. **Whole or absent.** `list`, `record` and `open` know an object only once its record is there, and then with all
///    its bytes. A crash before that leaves a draft, which only `resume` and `abort` see.
/// 2. **Durable.** After `publish` returned, the object outlives a crash of the machine; after `add_note`, the note.
///    After `Draft::durable` returned `n`, so do the first `n` bytes of the draft.
/// 3. **Never overwritten.** Of several that publish one name, or add one note, one succeeds and the others fail with
///    `Exists`; what was there stays as it was.
/// 4. **Read after write.** What is published is listed and opened at once, by any process.
/// 5. **Sorted.** `list` is in ascending order of names.
/// 6. **Left to the next.** A draft whose writer is gone, however it went, can be taken up or thrown away by any process
///    that has its token. Where the store can see that the writer lives, it gets `Busy`.
///
/// Calls block until they are done, and may come from any thread, those of the async runtime included: a store that is
/// asynchronous inside leaves the runtime itself (`block_in_place`).
pub trait Store: Send + Sync {
    /// What the store is called in settings, journals and messages; [`open_at`] opens it again.
    fn place(&self) -> String;

    /// Where a person finds the bytes of the object `name`, whether it is there or not.
    fn address(&self, name: &str) -> String;

    /// Begins a new object of about `expected` bytes. What an earlier draft of this name has left never becomes a part
    /// of it.
    ///
    /// # Errors
    /// `BadName`, `Exists`, `Busy`, `Full`, `Unusable`.
    fn begin(&self, name: &str, expected: u64) -> Result<Box<dyn Draft>, StoreError>;

    /// Takes up a draft that another process has left, after the bytes that its token calls durable: what was appended
    /// behind them is gone.
    ///
    /// # Errors
    /// `BadName`, `NotFound` when nothing is left of it, `Busy`, `Short` when the store has less than the token says,
    /// `Failed`, `Unusable`.
    fn resume(&self, token: &DraftToken) -> Result<ResumedDraft, StoreError>;

    /// Throws away what is left of a draft. What is published stays, and nothing left is well. Returns whether there was
    /// anything to throw away.
    ///
    /// # Errors
    /// `BadName`, `Busy`, `Failed`, `Unusable`.
    fn abort(&self, token: &DraftToken) -> Result<bool, StoreError>;

    /// All published objects with their records, ascending.
    ///
    /// # Errors
    /// `Unusable`.
    fn list(&self) -> Result<Vec<PublishedObject>, StoreError>;

    /// The record of a published object.
    ///
    /// # Errors
    /// `BadName`, `NotFound`, `Failed`.
    fn record(&self, name: &str) -> Result<Vec<u8>, StoreError>;

    /// Opens a published object.
    ///
    /// # Errors
    /// `BadName`, `NotFound`, `Failed`.
    fn open(&self, name: &str) -> Result<Arc<dyn Stored>, StoreError>;

    /// Keeps a small file beside a published object, for good.
    ///
    /// # Errors
    /// `BadName`, `NotFound` when there is no such object, `Exists` when there is such a note, `Full`, `Failed`.
    fn add_note(&self, name: &str, note: &str, bytes: &[u8]) -> Result<(), StoreError>;

    /// A note beside an object.
    ///
    /// # Errors
    /// `BadName`, `NotFound`, `Failed`.
    fn read_note(&self, name: &str, note: &str) -> Result<Vec<u8>, StoreError>;

    /// The room that is left, in bytes; `None` where the store cannot know.
    ///
    /// # Errors
    /// `Unusable`.
    fn free_bytes(&self) -> Result<Option<u64>, StoreError>;

    /// Files that somebody has put into the store by hand: they have no record, so they are no objects of it. Only a
    /// folder can have any.
    ///
    /// # Errors
    /// `Unusable`.
    fn loose_files(&self) -> Result<Vec<PathBuf>, StoreError> {
        Ok(Vec::new())
    }
}

/// A published object, as a list has it.
#[derive(Debug)]
pub struct PublishedObject {
    /// Its name.
    pub name: String,
    /// Its length in bytes; `None` when somebody has removed them.
    pub bytes: Option<u64>,
    /// Its record, or why that cannot be read.
    pub record: Result<Vec<u8>, StoreError>,
    /// The names of the notes beside it, ascending.
    pub notes: Vec<String>,
}

/// What finds a draft again: for the journal, so that the process after a crash can finish or remove it. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DraftToken {
    /// The object's name.
    pub object: String,
    /// How many bytes from its start were durable when the token was taken.
    #[serde(default)]
    pub durable: u64,
    /// Whether all its bytes are there, and only the record is missing.
    #[serde(default)]
    pub complete: bool,
    /// What else the store needs: the id of an upload, and its parts.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub upload: serde_json::Value,
}

impl DraftToken {
    /// All that is known of a draft whose writer may have died as it began.
    pub fn named(object: &str) -> Self {
        Self { object: object.to_owned(), durable: 0, complete: false, upload: serde_json::Value::Null }
    }
}

/// What became of a draft that another process has left.
pub enum ResumedDraft {
    /// It takes more bytes.
    Draft(Box<dyn Draft>),
    /// All its bytes are there; only the record is missing.
    Pending(Box<dyn Pending>),
    /// It was published.
    Published,
}

/// An object that is being written. Dropped, it stays as it is, for `resume` and `abort`.
pub trait Draft: Send {
    /// Adds bytes at the end; waits while the store is too far behind. After an error nothing more is taken.
    ///
    /// # Errors
    /// `Full`, `Failed`, `Poisoned`.
    fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError>;

    /// How many bytes from the start outlive a crash: all that the store can have made durable without more bytes or the
    /// end.
    ///
    /// # Errors
    /// `Full`, `Failed`, `Poisoned`.
    fn durable(&mut self) -> Result<u64, StoreError>;

    /// The most bytes that can have been added and not be durable, after `durable` was asked. Who keeps bytes until they
    /// are durable must be able to keep more than this.
    fn backlog(&self) -> u64;

    /// What finds it again.
    fn token(&self) -> DraftToken;

    /// Says that there are no more bytes, and makes all of them durable.
    ///
    /// # Errors
    /// `Full`, `Failed`, `Poisoned`.
    fn complete(self: Box<Self>) -> Result<Box<dyn Pending>, StoreError>;
}

/// An object whose bytes are all stored and that nothing lists yet. Dropped, it stays as it is, for `resume` and `abort`.
pub trait Pending: Send {
    /// Opens its bytes, read anew from where they are stored as far as the store can tell.
    ///
    /// # Errors
    /// `Failed`.
    fn open(&self) -> Result<Arc<dyn Stored>, StoreError>;

    /// What finds it again.
    fn token(&self) -> DraftToken;

    /// Makes its record, and with that publishes it.
    ///
    /// # Errors
    /// `Exists` when the name is published, `Full`, `Failed`. After `Failed` it may be published all the same: the answer
    /// may be what was lost.
    fn publish(self: Box<Self>, record: &[u8]) -> Result<(), StoreError>;
}

/// The bytes of an object. Reads may come from many threads at once.
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
    /// `Short` when the object ends before the buffer is full, `Failed`.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), StoreError>;
}

/// Opens the store that is called `place`.
///
/// # Errors
/// `Unusable`.
pub fn open_at(place: &str) -> Result<Arc<dyn Store>, StoreError> {
    Ok(Arc::new(TracedStore(DirectoryStore::open_folder(Path::new(place))?)))
}

/// Opens a single file outside any store, such as a bundle that somebody carried over by hand.
///
/// # Errors
/// `NotFound`, `Failed`.
pub fn open_file(path: &Path) -> Result<Arc<dyn Stored>, StoreError> {
    directory::open_path(path, path.display().to_string(), "the file system")
        .map(|file| Arc::new(file) as Arc<dyn Stored>)
}

/// Whether `name` may name an object or a note: letters, digits, `.`, `_`, `-`, first a letter or digit, at most 200
/// bytes.
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

    #[test]
    fn a_token_is_read_back_and_one_of_a_name_is_short() {
        let token = DraftToken { durable: 7, upload: serde_json::json!({"id": "x"}), ..DraftToken::named("a") };
        let text = serde_json::to_string(&token).unwrap();
        assert_eq!(serde_json::from_str::<DraftToken>(&text).unwrap(), token);
        assert_eq!(serde_json::from_str::<DraftToken>(r#"{"object":"a"}"#).unwrap(), DraftToken::named("a"));
    }
}
