//! What differs between two values files, by path, as Helm sees it.
//!
//! The order of keys does not count. Items of a list are matched by what identifies them (`name`, `key`, `id`, or what
//! the caller names), but only where that is unique on both sides; else by place. Secrets are masked: the fingerprint
//! tells same from changed.
//!
//! ```text
//! walk ──> lists ──> sequence      which nodes stand for each other (shape: is this node that one?)
//!   ├────> inside ─> text          what differs within a text: lines, a certificate's fields, JSON or YAML
//!   ├────> rename                  what went away here and came there
//!   └────> layout                  comments, order of keys, how it is written
//! parts                            versions in a row, of which only what differs is read
//! ```
//!
//! Time and memory are linear in the two files: a node is known by a number (`shape`), so that no subtree is compared
//! twice, and the search for the shortest list of edits has a budget (`sequence`).

mod by_key;
mod certificate;
mod change;
mod inside;
mod layout;
mod lists;
mod options;
mod parts;
mod pattern;
mod rename;
mod rules;
mod sequence;
mod shape;
mod text;
mod unread;
mod walk;

use serde::Serialize;

pub use change::{CertificateField, Change, Inside, Renamed, ShownValue, What};
pub use layout::Layout;
pub(super) use layout::{comments, placed_comments};
pub(super) use lists::{IDENTIFIERS, identities};
pub use options::{Only, Options, Passed};
pub use parts::{Cutter, ValuesText};
pub use pattern::{Pattern, PatternError};
pub use rules::{Rule, Rules};
pub use text::{Hunk, Sign, TextLine, unified};

use crate::redact::Scrubber;
use crate::yaml::Tree;

/// How much two values files differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Every byte is the same.
    Same,
    /// Helm reads the same from both: comments, order of keys, quotes or blank space differ.
    Layout,
    /// Helm reads something else, but only where it was asked not to look.
    Ignored,
    /// Helm reads something else.
    Changed,
}

/// All differences.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Diff {
    pub class: Class,
    /// Each, in the order of the new file; what is gone stands where its map or list is.
    pub changes: Vec<Change>,
    /// What was renamed or moved. Both halves stand in `changes` too.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub renamed: Vec<Renamed>,
    /// Comments and writing, where that was asked for and differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layout: Option<Layout>,
    /// Differences that were asked to be left out.
    #[serde(skip_serializing_if = "Passed::is_empty")]
    pub passed: Passed,
}

impl Diff {
    /// The same of the files that were read: a last line without its end is read as if it had one, so files that differ
    /// only there are no longer [`Class::Same`].
    pub fn of_files(mut self, old: &[u8], new: &[u8]) -> Self {
        if self.class == Class::Same && old != new {
            self.class = Class::Layout;
        }
        self
    }

    /// `2 changed, 1 added`, or `same`. A renaming is one, whatever stands below it.
    pub fn summary(&self) -> String {
        match self.class {
            Class::Same => return "same".into(),
            Class::Layout => return "comments or layout only".into(),
            Class::Ignored => return "nothing but what is ignored".into(),
            Class::Changed => {}
        }
        let words = [
            (What::Changed, "changed"),
            (What::Retyped, "changed in type"),
            (What::Added, "added"),
            (What::Removed, "removed"),
            (What::Reordered, "reordered"),
        ];
        let count = |what| self.changes.iter().filter(|change| change.what == what && !change.is_renamed()).count();
        let counts = words.iter().map(|(what, word)| (count(*what), *word));
        let parts: Vec<String> = counts
            .chain([(self.renamed.len(), "renamed")])
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| format!("{count} {word}"))
            .collect();
        parts.join(", ")
    }
}

/// Compares two values files and leaves nothing out: what guards and records go by. `scrubber` makes the masks; it
/// needs to know no secret beforehand.
pub fn diff(old: &Tree, new: &Tree, scrubber: &Scrubber) -> Diff {
    diff_with(old, new, scrubber, &Options::default())
}

/// Compares two values files as `options` say.
/// What this program does not read is compared as text, as one change at the root.
///
/// With options that leave something out, nothing left is [`Class::Ignored`], and `passed` counts what was left out.
pub fn diff_with(old: &Tree, new: &Tree, scrubber: &Scrubber, options: &Options) -> Diff {
    if old.unread().or(new.unread()).is_some() {
        let changes: Vec<Change> = unread::compare(old, new, scrubber, options.reveal).into_iter().collect();
        let class = if changes.is_empty() { Class::Same } else { Class::Changed };
        return Diff { class, changes, renamed: Vec::new(), layout: None, passed: Passed::default() };
    }
    let mut found = walk::compare(old, new, scrubber, options);
    let passed = found.passed;
    let class = match (found.changes.is_empty(), passed.is_empty(), old.source() == new.source()) {
        (false, ..) => Class::Changed,
        (true, false, _) => Class::Ignored,
        (true, true, true) => Class::Same,
        (true, true, false) => Class::Layout,
    };
    let layout = options.layout.then(|| layout::compare(old, new)).flatten();
    found.changes.shrink_to_fit();
    Diff { class, changes: found.changes, renamed: found.renamed, layout, passed }
}

#[cfg(test)]
mod tests;
