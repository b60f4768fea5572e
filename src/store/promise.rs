//! What every store promises.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;

use super::conditions::StoreConditions;
use super::draft::{Draft, DraftToken, ResumedDraft};
use super::error::StoreError;
use super::stored::Stored;

/// A place that keeps objects whole and for good.
///
/// An object is its bytes, its **record** and its notes. The record is one small file, made last: it is what publishes
/// the object. Nothing is ever renamed, copied or rewritten, so that the same words hold for a folder and for a bucket,
/// also one that forbids to change what is there.
///
/// What every store guarantees, and what the contract test (`tests/bundle/contract.rs`) proves of each:
/// 1. **Whole or absent.** `list`, `record` and `open` know an object only once its record is there, and then with all
///    its bytes, unless its removal was cut short (7). A crash before that leaves a draft, which only `resume` and `abort`
///    see.
/// 2. **Durable.** After `publish` returned, the object outlives a crash of the machine; after `add_note`, the note.
///    After `Draft::durable` returned `n`, so do the first `n` bytes of the draft.
/// 3. **Never overwritten.** Of several that publish one name, or add one note, one succeeds and the others fail with
///    `Exists`; what was there stays as it was.
/// 4. **Read after write.** What is published is listed and opened at once, by any process.
/// 5. **Sorted.** `list` is in ascending order of names.
/// 6. **Left to the next.** A draft whose writer is gone, however it went, can be taken up or thrown away by any process
///    that has its token. Where the store can see that the writer lives, it gets `Busy`.
/// 7. **Removed as a whole.** After `remove` returned, nothing of the object is listed or opened; cut short, it is listed
///    without its bytes.
///
/// Calls block until they are done, and may come from any thread, those of the async runtime included: a store that is
/// asynchronous inside leaves the runtime itself (`block_in_place`).
pub trait Store: Send + Sync {
    /// What the store is called in settings, journals and messages; [`open_at`](crate::store::open_at) opens it again.
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

    /// Throws away what is left of a draft; of one that only has a name, no more than a writer can have left that died as it
    /// began. What is published stays, and nothing left is well; so is what this process may
    /// not remove (a bucket's lock, a key without that right), which stays unlisted. Returns whether anything was removed.
    ///
    /// # Errors
    /// `BadName`, `Busy`, `Failed`, `Unusable`.
    fn abort(&self, token: &DraftToken) -> Result<bool, StoreError>;

    /// All published objects with their records, ascending. One that cannot be read is among them, with the reason.
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

    /// Removes a published object: its bytes first, so that one whose removal was cut short is still listed, without its
    /// bytes, and can be removed again; then its record, and its notes last.
    ///
    /// # Errors
    /// `BadName`, `NotFound`, `Failed`, also where a lock or a missing right forbids it.
    fn remove(&self, name: &str) -> Result<(), StoreError>;

    /// Until when the store lets nobody remove the object, [`Timestamp::MAX`] for one without an end; `None` where it knows
    /// no locks, or this one has none.
    ///
    /// # Errors
    /// `BadName`, `Failed`.
    fn locked_until(&self, name: &str) -> Result<Option<Timestamp>, StoreError> {
        check_name(name).map(|()| None)
    }

    /// Whether the store keeps the bytes of what was removed from it, until its own rules let them go.
    ///
    /// # Errors
    /// `Failed`, `Unusable`.
    fn keeps_removed(&self) -> Result<bool, StoreError> {
        Ok(false)
    }

    /// Proves with a file of its own, which it removes, what the store's server keeps of the promises that rest on it;
    /// `None` where they rest on no server.
    ///
    /// # Errors
    /// `Failed`, `Unusable`: nothing can be written there.
    fn conditions(&self) -> Result<Option<StoreConditions>, StoreError> {
        Ok(None)
    }

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
    /// As [`Store::begin`] was given it.
    pub name: String,
    /// Its length in bytes; `None` when somebody has removed them.
    pub bytes: Option<u64>,
    /// Its record, or why that cannot be read.
    pub record: Result<Vec<u8>, StoreError>,
    /// The names of the notes beside it, ascending.
    pub notes: Vec<String>,
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
}
