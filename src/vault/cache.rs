//! Records at hand: what was read once of a folder is not read again.
//!
//! A deployment's folder is known by the id of its tree, which stands for every byte in it. What is kept is held against
//! that id each time: the tree is hashed, and so are the files that it names. So the file (`dr/records` in the git
//! folder) needs no care, whoever can write it: it may be deleted, cut, old or forged, and is made again from the objects.
//! It holds the clear records and outcomes, nothing that is sealed. `verify` does not use it: it reads the objects
//! themselves.
//!
//! ```text
//! entry:  tree (20)  length of its object (4)  of record.json (4)  of outcome.json, or ffffffff (4)  all three
//! ```

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use git2::{ObjectType, Oid};

use super::files::digest;
use super::objects::entry;
use super::record::{Deployment, DeploymentOutcome, DeploymentRecord, FORMAT};

use crate::read;

/// The file's name below the git folder.
const FILE: &str = "dr/records";
/// What stands before the two files of an entry.
const HEAD: usize = 32;
/// The length of an outcome that is not there.
const NONE: u32 = u32::MAX;
/// More entries beyond those in use than this, and the file is written anew.
const SPARE: usize = 256;

/// The bytes of a deployment's two clear files, as they were committed.
pub(super) struct ClearFiles {
    /// The object of their folder.
    pub(super) tree: Vec<u8>,
    pub(super) record: Vec<u8>,
    pub(super) outcome: Option<Vec<u8>>,
}

/// Deployments by their folder's tree, for all who share one vault.
#[derive(Default)]
pub(super) struct DeploymentCache(Mutex<State>);

#[derive(Default)]
struct State {
    loaded: bool,
    known: HashMap<Oid, Arc<Deployment>>,
    /// How many entries the file has, and whether the last of them is whole.
    entries: usize,
    torn: bool,
}

impl DeploymentCache {
    fn state(&self) -> MutexGuard<'_, State> {
        // A thread that panicked has at worst not kept something.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of each folder, in their order. `common` is the git folder.
    pub(super) fn find(&self, common: &Path, folders: &[(String, Oid)]) -> Vec<Option<Arc<Deployment>>> {
        let mut state = self.state();
        if !state.loaded {
            state.load(&read::file(&common.join(FILE), read::RECORDS).unwrap_or_default());
        }
        folders.iter().map(|(_, id)| state.known.get(id).cloned()).collect()
    }

    /// Keeps what was read of folders. Where the file cannot be written, the next process reads the objects again.
    pub(super) fn keep(&self, common: &Path, read: Vec<(Oid, ClearFiles, Arc<Deployment>)>) {
        let mut state = self.state();
        let mut bytes = Vec::new();
        for (id, clear, deployment) in read {
            if state.known.insert(id, deployment).is_none() {
                append(&mut bytes, id, &clear);
                state.entries += 1;
            }
        }
        if !bytes.is_empty() {
            let anew = state.torn;
            // The next process finds whatever could not be written missing.
            let _ = write(&common.join(FILE), &bytes, anew);
            state.torn = false;
        }
    }

    /// Whether so much of the file is of no use that it should go; `used` folders are there.
    pub(super) fn sweep(&self, common: &Path, used: usize) {
        let mut state = self.state();
        if state.entries > 2 * used + SPARE {
            let _ = std::fs::remove_file(common.join(FILE));
            *state = State::default();
        }
    }
}

impl State {
    fn load(&mut self, mut bytes: &[u8]) {
        self.loaded = true;
        while !bytes.is_empty() {
            let Some((id, deployment, rest)) = take(bytes) else {
                self.torn = true;
                return;
            };
            self.entries += 1;
            if let Some(deployment) = deployment {
                self.known.insert(id, Arc::new(deployment));
            }
            bytes = rest;
        }
    }
}

/// Appends an entry.
fn append(to: &mut Vec<u8>, id: Oid, clear: &ClearFiles) {
    let outcome = clear.outcome.as_deref();
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(NONE).to_le_bytes();
    to.extend_from_slice(id.as_bytes());
    to.extend_from_slice(&length(&clear.tree));
    to.extend_from_slice(&length(&clear.record));
    to.extend_from_slice(&outcome.map_or(NONE.to_le_bytes(), length));
    to.extend_from_slice(&clear.tree);
    to.extend_from_slice(&clear.record);
    to.extend_from_slice(outcome.unwrap_or_default());
}

/// The first entry and what follows it; nothing where it is not whole, or not what its tree names. What this program
/// cannot read as a record is left to the reader of the objects, who says what is wrong with it.
fn take(bytes: &[u8]) -> Option<(Oid, Option<Deployment>, &[u8])> {
    let number = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let id = Oid::from_bytes(bytes.get(..20)?).ok()?;
    let (tree, record, outcome) = (number(20)? as usize, number(24)? as usize, number(28)?);
    let (tree, rest) = bytes.get(HEAD..)?.split_at_checked(tree)?;
    let (record, rest) = rest.split_at_checked(record)?;
    let (outcome, rest) = match outcome {
        NONE => (None, rest),
        length => rest.split_at_checked(length as usize).map(|(outcome, rest)| (Some(outcome), rest))?,
    };
    let named = |name: &str| entry(tree, name).map(|entry| entry.id);
    let is = |kind, bytes: &[u8], id| Oid::hash_object(kind, bytes).ok() == Some(id);
    let is_named = is(ObjectType::Tree, tree, id)
        && is(ObjectType::Blob, record, named("record.json")?)
        && match (outcome, named("outcome.json")) {
            (Some(outcome), Some(id)) => is(ObjectType::Blob, outcome, id),
            (outcome, named) => outcome.is_none() && named.is_none(),
        };
    is_named.then(|| (id, read(record, outcome), rest))
}

fn read(record: &[u8], outcome: Option<&[u8]>) -> Option<Deployment> {
    let read: DeploymentRecord = serde_json::from_slice(record).ok()?;
    let outcome: Option<DeploymentOutcome> = outcome.map(serde_json::from_slice).transpose().ok()?;
    let fits = read.format <= FORMAT && outcome.as_ref().is_none_or(|outcome| outcome.format <= FORMAT);
    fits.then(|| Deployment { record: read, outcome, record_sha256: digest(record) })
}

/// Appends to the file, or writes it anew. Whoever else is writing goes first, and these entries are not kept.
fn write(path: &Path, bytes: &[u8], anew: bool) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let mut file: File = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    file.try_lock()?;
    if anew {
        file.set_len(0)?;
    }
    file.write_all(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::Vault;
    use crate::vault::record::DeploymentStatus;
    use crate::vault::tests::{Fixture, fixture, install, intent, outcome, signer};

    fn two() -> Fixture {
        let f = fixture();
        for (at, number) in [("2026-08-20T10:00:00Z", 1), ("2026-08-21T10:00:00Z", 2)] {
            let id =
                f.vault.record_intent(intent(at, "2026-08-20"), format!("a: {number}\n").as_bytes(), None).unwrap();
            f.vault.record_outcome(outcome(&id, at, DeploymentStatus::Deployed, number), "ops@host").unwrap();
        }
        f
    }

    /// As another process sees it.
    fn anew(f: &Fixture) -> Vec<Deployment> {
        Vault::open(f.vault.path(), signer(&f.key)).unwrap().deployments(&install()).unwrap()
    }

    #[test]
    fn what_is_kept_is_what_the_objects_say_and_any_damage_to_it_is_made_good() {
        let f = two();
        let file = f.vault.path().join(".git").join(FILE);
        let _ = std::fs::remove_file(&file);
        let true_ones = anew(&f);
        assert_eq!(true_ones.len(), 2);
        let whole = std::fs::read(&file).unwrap();
        assert_eq!(anew(&f), true_ones, "from the file");
        assert_eq!(std::fs::read(&file).unwrap(), whole, "nothing is kept twice");
        for cut in [0, 1, HEAD, whole.len() / 2, whole.len() - 1] {
            std::fs::write(&file, &whole[..cut]).unwrap();
            assert_eq!(anew(&f), true_ones, "cut at {cut}");
            assert_eq!(anew(&f), true_ones, "cut at {cut}, the second time");
        }
        for place in (0..whole.len()).step_by(37) {
            let mut broken = whole.clone();
            broken[place] ^= 0x20;
            std::fs::write(&file, &broken).unwrap();
            assert_eq!(anew(&f), true_ones, "flipped at {place}");
        }
    }

    #[test]
    fn what_somebody_has_put_into_the_file_is_not_what_was_recorded() {
        let f = two();
        let file = f.vault.path().join(".git").join(FILE);
        let true_ones = anew(&f);
        let forged = |from: &str, to: &str| {
            let text = std::fs::read(&file).unwrap();
            let places: Vec<usize> = (0..text.len()).filter(|at| text[*at..].starts_with(from.as_bytes())).collect();
            assert!(!places.is_empty() && from.len() == to.len());
            let mut text = text;
            places.iter().for_each(|at| text[*at..at + to.len()].copy_from_slice(to.as_bytes()));
            std::fs::write(&file, text).unwrap();
        };
        forged("\"2026-08-20\"", "\"2027-09-14\"");
        assert_eq!(anew(&f), true_ones);
        forged("deployed", "rejected");
        assert_eq!(anew(&f), true_ones);
    }

    #[test]
    fn an_outcome_that_comes_later_is_seen_though_the_record_was_kept() {
        let f = two();
        let id = f.vault.record_intent(intent("2026-08-22T10:00:00Z", "2026-08-20"), b"a: 3\n", None).unwrap();
        assert_eq!(anew(&f)[0].state(), "unknown");
        f.vault.record_outcome(outcome(&id, "2026-08-22T10:00:00Z", DeploymentStatus::Failed, 3), "ops@host").unwrap();
        assert_eq!((anew(&f)[0].state(), f.vault.deployments(&install()).unwrap()[0].state()), ("failed", "failed"));
    }
}
