//! The files of one commit.

use std::collections::HashMap;
use std::sync::Mutex;

use git2::Oid;

use super::git::Git;

/// Where the sealed files of one commit are, so that many can be read without looking up each from the root.
pub(super) struct Snapshot {
    pub(super) git: Mutex<Git>,
    pub(super) files: HashMap<String, Oid>,
}

/// These files of a commit by their paths, each rekeyed one in the place of what it stands for.
pub(super) fn effective_files(files: Vec<(String, Oid)>) -> HashMap<String, Oid> {
    let mut own = HashMap::new();
    let mut rekeyed: Vec<(String, Oid)> = Vec::new();
    for (path, id) in files {
        match path.strip_prefix("rekeyed/") {
            Some(_) => rekeyed.push((path, id)),
            None => drop(own.insert(path, id)),
        }
    }
    // Folder names begin with the time, so that later ones come later and take the place.
    rekeyed.sort();
    for (path, id) in rekeyed {
        if let Some((_, stands_for)) = path.strip_prefix("rekeyed/").and_then(|rest| rest.split_once('/')) {
            own.insert(stands_for.to_owned(), id);
        }
    }
    own
}
