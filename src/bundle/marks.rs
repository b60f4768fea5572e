//! What was decided about a bundle, in numbered notes beside it: that it is pinned, that `prune` has marked it as gone.
//! Nothing is rewritten: the note with the highest number holds, and it may take the mark away again. By numbers and not
//! by time, so that clocks that differ change no order, and of two that decide at once one is refused.
//!
//! They are in the clear and unsigned: whoever can write to the store can make one. What they can do is bounded: one that
//! cannot be read never lets a bundle go.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::clock;
use crate::names;
use crate::store::{Store, StoreError};

use super::error::{BundleError, BundleFault};

/// What a mark says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkKind {
    /// It stays, whatever the rules say.
    Pinned,
    /// A later `prune` removes it.
    Gone,
}

impl MarkKind {
    fn prefix(self) -> &'static str {
        match self {
            Self::Pinned => "pin.",
            Self::Gone => "gone.",
        }
    }

    /// The number of the note, if it is one of this kind.
    fn number(self, note: &str) -> Option<u32> {
        note.strip_prefix(self.prefix())?.strip_suffix(".json")?.parse().ok()
    }

    fn note(self, number: u32) -> String {
        format!("{}{number:06}.json", self.prefix())
    }

    /// The newest note of this kind, with its number.
    fn newest(self, notes: &[String]) -> Option<(u32, &String)> {
        notes.iter().filter_map(|note| Some((self.number(note)?, note))).max()
    }
}

/// A mark that holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleMark {
    /// When it was made, by the clock of who made it; not known when its note cannot be read.
    pub at: Option<Timestamp>,
    /// Who made it: `user@host`.
    pub by: String,
    pub reason: String,
}

/// `keep for the audit, since 2026-08-20 by op@host`
impl fmt::Display for BundleMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(at) = self.at else { return f.write_str(&self.reason) };
        write!(f, "{}, since {} by {}", self.reason, at.strftime("%Y-%m-%d"), self.by)
    }
}

/// The note's JSON.
#[derive(Serialize, Deserialize)]
struct MarkNote {
    /// False takes the mark away.
    set: bool,
    at: Timestamp,
    by: String,
    reason: String,
    dr_version: String,
}

impl BundleMark {
    /// A mark that is made now.
    pub fn new(by: &str, reason: &str) -> Self {
        Self { at: Some(clock::now()), by: by.to_owned(), reason: reason.to_owned() }
    }

    /// The mark of this kind that holds for `bundle`, which has these notes. A note that cannot be read counts as a mark,
    /// of a time that is not known.
    pub fn read(store: &dyn Store, bundle: &str, notes: &[String], kind: MarkKind) -> Option<Self> {
        let (_, note) = kind.newest(notes)?;
        let unreadable = |why: String| Self { at: None, by: String::new(), reason: format!("{note}: {why}") };
        let read = match store.read_note(bundle, note) {
            Ok(bytes) => serde_json::from_slice::<MarkNote>(&bytes).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match read {
            Ok(read) if !read.set => None,
            Ok(read) if [&read.by, &read.reason].into_iter().all(|text| names::is_text(text)) => {
                Some(Self { at: Some(read.at), by: read.by, reason: read.reason })
            }
            Ok(_) => Some(unreadable("it holds what is not text".into())),
            Err(why) => Some(unreadable(why)),
        }
    }

    /// Keeps the mark beside `bundle`, which has these notes; or, unless `set`, takes away the one that is there.
    ///
    /// # Errors
    /// `Store`; `Exists` in it when somebody else decided at the same moment.
    pub fn keep(
        &self,
        store: &dyn Store,
        bundle: &str,
        notes: &[String],
        kind: MarkKind,
        set: bool,
    ) -> Result<(), BundleError> {
        let failed = |error: StoreError| BundleFault::from(error).of(bundle);
        let note = kind.note(kind.newest(notes).map_or(1, |(number, _)| number.saturating_add(1)));
        let written = MarkNote {
            set,
            at: self.at.unwrap_or_else(clock::now),
            by: self.by.clone(),
            reason: self.reason.clone(),
            dr_version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let json = |source| BundleFault::Json { member: note.clone(), source }.of(bundle);
        store.add_note(bundle, &note, &serde_json::to_vec_pretty(&written).map_err(json)?).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::DirectoryStore;

    fn published() -> (tempfile::TempDir, DirectoryStore) {
        let folder = tempfile::tempdir().unwrap();
        let store = DirectoryStore::create(folder.path()).unwrap();
        let draft = store.begin("b", 0).unwrap();
        draft.complete().unwrap().publish(b"{}").unwrap();
        (folder, store)
    }

    fn notes(store: &DirectoryStore) -> Vec<String> {
        store.list().unwrap().remove(0).notes
    }

    #[test]
    fn the_newest_note_holds_and_none_is_rewritten() {
        let (_folder, store) = published();
        let seen = || BundleMark::read(&store, "b", &notes(&store), MarkKind::Pinned);
        assert_eq!(seen(), None);
        for (turn, set) in [true, false, true].into_iter().enumerate() {
            let mark = BundleMark::new("op@host", &format!("turn {turn}"));
            mark.keep(&store, "b", &notes(&store), MarkKind::Pinned, set).unwrap();
            assert_eq!(seen(), set.then_some(mark), "turn {turn}");
        }
        assert_eq!(notes(&store), ["pin.000001.json", "pin.000002.json", "pin.000003.json"]);
        assert_eq!(BundleMark::read(&store, "b", &notes(&store), MarkKind::Gone), None);
    }

    #[test]
    fn of_two_that_decide_at_once_one_is_refused() {
        let (_folder, store) = published();
        let (seen, mark) = (notes(&store), BundleMark::new("op@host", "x"));
        mark.keep(&store, "b", &seen, MarkKind::Pinned, true).unwrap();
        let error = mark.keep(&store, "b", &seen, MarkKind::Pinned, false).unwrap_err();
        assert!(matches!(*error.fault, BundleFault::Store(StoreError::Exists { .. })), "{error}");
    }

    #[test]
    fn a_note_that_cannot_be_read_is_a_mark_of_no_time() {
        let (_folder, store) = published();
        store.add_note("b", "gone.000007.json", b"{").unwrap();
        let mark = BundleMark::read(&store, "b", &notes(&store), MarkKind::Gone).unwrap();
        assert_eq!(mark.at, None);
        assert!(mark.to_string().starts_with("gone.000007.json: "), "{mark}");
        let steering =
            r#"{"set": true, "at": "2026-08-20T00:00:00Z", "by": "x", "reason": "\u001b[2J", "dr_version": "1"}"#;
        store.add_note("b", "gone.000008.json", steering.as_bytes()).unwrap();
        let mark = BundleMark::read(&store, "b", &notes(&store), MarkKind::Gone).unwrap();
        assert_eq!((mark.at, mark.reason.as_str()), (None, "gone.000008.json: it holds what is not text"));
    }
}
