//! What is in a folder, entry by entry.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};

use serde::{Deserialize, Serialize};

use super::{Result, TreeError};

/// The longest line of a listing: two paths, each of whose bytes takes three.
const LINE_LIMIT: u64 = 64 << 10;

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TreeKind {
    Folder,
    File {
        bytes: u64,
        /// As lower-case hex.
        sha256: String,
    },
    Symlink {
        /// As it is written in the link.
        to: String,
    },
    /// Another name of a file that comes before.
    HardLink {
        /// The path of that file.
        to: String,
    },
}

/// An entry. Paths are relative; bytes that are no UTF-8, and `%`, are written as `%` and two hex digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedEntry {
    /// `.` is the folder itself.
    pub path: String,
    pub kind: TreeKind,
    /// The lower twelve bits.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// In seconds since 1970.
    pub mtime: i64,
    #[serde(default)]
    pub mtime_nanos: u32,
}

/// How much there is of what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TreeTotals {
    pub files: u64,
    /// The folder itself is not counted.
    pub folders: u64,
    pub symlinks: u64,
    pub hard_links: u64,
    /// The length of all files.
    pub bytes: u64,
    /// Pipes, sockets and devices, which are not in it.
    pub left_out: u64,
    /// Files that changed or went while they were read.
    pub moving: u64,
}

/// All of a folder, folders before what is in them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TreeListing {
    pub entries: Vec<ListedEntry>,
}

impl TreeListing {
    /// One line of JSON an entry.
    ///
    /// # Errors
    /// None that an entry can give.
    pub fn to_lines(&self) -> Result<Vec<u8>> {
        let mut lines = Vec::new();
        for entry in &self.entries {
            serde_json::to_writer(&mut lines, entry)
                .map_err(|error| TreeError::io("write the listing")(error.into()))?;
            lines.push(b'\n');
        }
        Ok(lines)
    }

    /// Reads lines of JSON.
    ///
    /// # Errors
    /// A line is none, or is too long.
    pub fn read(from: impl Read) -> Result<Self> {
        let (mut from, mut entries, mut line) = (BufReader::new(from), Vec::new(), Vec::new());
        loop {
            line.clear();
            let mut bounded = (&mut from).take(LINE_LIMIT);
            if bounded.read_until(b'\n', &mut line).map_err(TreeError::io("read the listing"))? == 0 {
                return Ok(Self { entries });
            }
            let wrong = |error| TreeError::damaged(format!("line {} of the listing: {error}", entries.len() + 1));
            entries.push(serde_json::from_slice(&line).map_err(wrong)?);
        }
    }

    pub fn totals(&self) -> TreeTotals {
        let mut totals = TreeTotals::default();
        for entry in &self.entries {
            totals.count(entry);
        }
        totals
    }

    /// By path.
    pub(super) fn by_path(&self) -> BTreeMap<&str, &ListedEntry> {
        self.entries.iter().map(|entry| (entry.path.as_str(), entry)).collect()
    }
}

impl TreeTotals {
    pub(super) fn count(&mut self, entry: &ListedEntry) {
        match &entry.kind {
            TreeKind::Folder if entry.path == "." => {}
            TreeKind::Folder => self.folders += 1,
            TreeKind::Symlink { .. } => self.symlinks += 1,
            TreeKind::HardLink { .. } => self.hard_links += 1,
            TreeKind::File { bytes, .. } => (self.files, self.bytes) = (self.files + 1, self.bytes + bytes),
        }
    }
}

/// A path as a listing has it.
pub(super) fn to_text(path: &[u8]) -> String {
    let mut text = String::with_capacity(path.len());
    for part in path.utf8_chunks() {
        text.push_str(&part.valid().replace('%', "%25"));
        part.invalid().iter().for_each(|byte| text.push_str(&format!("%{byte:02x}")));
    }
    text
}

/// The bytes that [`to_text`] was given.
///
/// # Errors
/// It never wrote such a text.
pub(super) fn from_text(text: &str) -> Result<Vec<u8>> {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let byte = part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.ok_or_else(|| TreeError::damaged(format!("`{text}` is no path of a listing")))?);
        bytes.extend_from_slice(part.get(2..).unwrap_or_default().as_bytes());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_are_a_text_and_come_back() {
        for path in [&b"plain/a b"[..], "J\u{f6}rg/100%".as_bytes(), b"\xff\xfe/x%ff", b"", b"%"] {
            assert_eq!(from_text(&to_text(path)).unwrap(), path);
        }
        assert_eq!(to_text(b"a\xffb%"), "a%ffb%25");
        for odd in ["%", "%2", "a%zz", "%\u{e9}1"] {
            assert!(from_text(odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn a_listing_is_read_back_and_a_line_that_is_none_is_told_by_its_number() {
        let entry = |path: &str, kind| ListedEntry {
            path: path.into(),
            kind,
            mode: 0o640,
            uid: 1000,
            gid: 0,
            mtime: -1,
            mtime_nanos: 5,
        };
        let file = TreeKind::File { bytes: 3, sha256: "0".repeat(64) };
        let listing = TreeListing {
            entries: vec![
                entry(".", TreeKind::Folder),
                entry("a", file),
                entry("b", TreeKind::HardLink { to: "a".into() }),
                entry("c", TreeKind::Symlink { to: "/x y".into() }),
            ],
        };
        let lines = listing.to_lines().unwrap();
        assert_eq!(TreeListing::read(&lines[..]).unwrap(), listing);
        let totals = TreeTotals { files: 1, symlinks: 1, hard_links: 1, bytes: 3, ..TreeTotals::default() };
        assert_eq!(listing.totals(), totals);
        let cut = TreeListing::read(&lines[..lines.len() - 3]).unwrap_err().to_string();
        assert!(cut.starts_with("line 4 of the listing"), "{cut}");
    }
}
