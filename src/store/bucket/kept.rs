//! Small files of a bucket that were read before: one whose tag (ETag) is that of the list is not asked for again.
//!
//! Kept is what the server has answered, as it came, and whoever reads it checks it as if it had just come. It can be made
//! again: what cannot be read, is another format's or may be somebody else's counts for nothing, and is written anew.

use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::ownership::others_wrote;
use crate::{read, write};

const FORMAT: u32 = 1;
/// The most that is kept of one bucket: well below what is read back.
const MOST: usize = 64 << 20;

/// The files of one bucket.
pub(super) struct KeptFiles {
    /// Where they are between processes, if anywhere.
    path: Option<PathBuf>,
    place: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Read back with the first list.
    files: Option<BTreeMap<String, KeptFile>>,
    /// Of all their texts.
    bytes: usize,
    /// The tags of the newest list; nothing is taken from here that was not listed.
    listed: BTreeMap<String, String>,
    changed: bool,
}

/// The file between processes.
#[derive(Serialize, Deserialize)]
struct Stored {
    format: u32,
    /// Of which bucket, by its server.
    place: String,
    files: BTreeMap<String, KeptFile>,
}

#[derive(Serialize, Deserialize)]
struct KeptFile {
    tag: String,
    text: String,
}

impl KeptFiles {
    /// Those of the bucket at `place`, kept in `folder` between processes.
    pub fn of(place: String, folder: Option<&Path>) -> Self {
        let path = folder.map(|folder| folder.join(format!("{}.json", &hex::encode(Sha256::digest(&place))[..32])));
        Self { path, place, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says what the bucket has now, with the tag of each: what is not there any more goes.
    pub fn list(&self, listed: impl Iterator<Item = (String, String)>) {
        let mut state = self.state();
        state.listed = listed.collect();
        let State { files, bytes, listed, changed } = &mut *state;
        let stored = || self.path.as_deref().and_then(|path| stored(path, &self.place)).unwrap_or_default();
        let files = files.get_or_insert_with(stored);
        let before = files.len();
        files.retain(|key, _| listed.contains_key(key));
        *changed |= files.len() != before;
        *bytes = files.values().map(|file| file.text.len()).sum();
    }

    /// What the file held when it was read, where the list has the same one.
    pub fn get(&self, key: &str) -> Option<Vec<u8>> {
        let state = self.state();
        let file = state.files.as_ref()?.get(key).filter(|file| state.listed.get(key) == Some(&file.tag))?;
        Some(file.text.clone().into_bytes())
    }

    /// Keeps what was read of a file with this tag. What is no text is not kept, nor what is not on the list.
    pub fn keep(&self, key: &str, tag: Option<&str>, bytes: &[u8]) {
        let mut state = self.state();
        let (Some(tag), Ok(text)) = (tag.filter(|tag| !tag.is_empty()), std::str::from_utf8(bytes)) else { return };
        let State { files: Some(files), bytes, listed, changed } = &mut *state else { return };
        if listed.contains_key(key) && *bytes + text.len() <= MOST {
            let file = KeptFile { tag: tag.to_owned(), text: text.to_owned() };
            let before = files.insert(key.to_owned(), file).map_or(0, |file| file.text.len());
            *bytes = *bytes + text.len() - before;
            *changed = true;
        }
    }
}

impl Drop for KeptFiles {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        let (Some(path), Some(files), true) = (&self.path, state.files.take(), state.changed) else { return };
        let stored = Stored { format: FORMAT, place: std::mem::take(&mut self.place), files };
        // Where it cannot be kept, all is read again.
        let _unkept = write_down(path, &stored);
    }
}

fn write_down(path: &Path, stored: &Stored) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    write::replace_file(path, 0o600, &serde_json::to_vec(stored)?)
}

fn stored(path: &Path, place: &str) -> Option<BTreeMap<String, KeptFile>> {
    if others_wrote(path).ok()?.is_some() {
        return None;
    }
    let stored: Stored = serde_json::from_slice(&read::file(path, read::RECORDS).ok()?).ok()?;
    (stored.format == FORMAT && stored.place == place).then_some(stored.files)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn listed(files: &KeptFiles, tags: &[(&str, &str)]) {
        files.list(tags.iter().map(|(key, tag)| ((*key).to_owned(), (*tag).to_owned())));
    }

    fn with_one(folder: &Path) -> PathBuf {
        let files = KeptFiles::of("s3://b".into(), Some(folder));
        listed(&files, &[("a", "1"), ("b", "1")]);
        files.keep("a", Some("1"), b"{}");
        files.path.clone().unwrap()
    }

    fn found(folder: &Path, place: &str) -> Option<Vec<u8>> {
        let files = KeptFiles::of(place.into(), Some(folder));
        listed(&files, &[("a", "1")]);
        files.get("a")
    }

    #[test]
    fn a_file_is_taken_from_here_only_while_the_list_has_its_tag() {
        let folder = tempfile::tempdir().unwrap();
        let path = with_one(folder.path());
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(found(folder.path(), "s3://b").as_deref(), Some(&b"{}"[..]));
        assert_eq!(found(folder.path(), "s3://other"), None);
        let files = KeptFiles::of("s3://b".into(), Some(folder.path()));
        assert_eq!(files.get("a"), None, "before anything is listed");
        listed(&files, &[("a", "2")]);
        assert_eq!(files.get("a"), None, "another file has its name");
        files.keep("a", Some("2"), b"new");
        files.keep("b", Some("1"), b"not listed");
        files.keep("a", None, b"without a tag");
        assert_eq!(files.get("a").as_deref(), Some(&b"new"[..]));
        listed(&files, &[("c", "1")]);
        files.keep("c", Some("1"), &[0xff]);
        assert_eq!(files.get("c"), None, "no text");
        drop(files);
        assert_eq!(found(folder.path(), "s3://b"), None, "what is gone is not kept");
    }

    #[test]
    fn what_is_damaged_or_may_be_anothers_counts_for_nothing_and_is_written_anew() {
        for damage in ["", "{", "[]", r#"{"format":2,"place":"s3://b","files":{}}"#] {
            let folder = tempfile::tempdir().unwrap();
            let path = with_one(folder.path());
            std::fs::write(&path, damage).unwrap();
            assert_eq!(found(folder.path(), "s3://b"), None, "{damage}");
            with_one(folder.path());
            assert!(found(folder.path(), "s3://b").is_some(), "{damage}");
        }
        let folder = tempfile::tempdir().unwrap();
        let path = with_one(folder.path());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
        assert_eq!(found(folder.path(), "s3://b"), None, "anybody may have written it");
        // A place that takes no file changes nothing.
        let nowhere = folder.path().join("file");
        std::fs::write(&nowhere, "").unwrap();
        with_one(&nowhere);
        assert_eq!(found(&nowhere, "s3://b"), None);
    }
}
