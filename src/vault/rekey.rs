//! Sealing every version again, to the recipients of today. Nothing is rewritten: the new files stand beside the old
//! ones, under `rekeyed/`, and readers take the newest.
//!
//! A batch is one commit, so that a process that dies leaves whole batches; the next one does the rest.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use git2::Oid;
use jiff::{Timestamp, ToSpan};
use serde::Serialize;

use super::error::VaultError;
use super::files::{digest, json, new_id, parse};
use super::git::{Content, Git};
use super::handle::Vault;
use super::layout::{FINGERPRINT_FILE, REKEY_FILE, REKEYED};
use super::read::{open, path_of};
use super::record::{Deployment, DeploymentId, FORMAT, RekeyList, RekeyedFile};
use super::snapshot::effective_files;
use super::survey::Survey;
use super::verify::sealed::stanzas;
use crate::clock;
use crate::crypt::seal::SealError;
use crate::crypt::{Identities, Recipients};

/// How many files a commit holds: few enough to lose little, many enough that readers look through few folders.
const BATCH: usize = 64;

/// A file to be sealed again.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Due {
    path: String,
    blob: Oid,
    /// The digest of the plaintext; the fingerprint key has none.
    sha256: Option<String>,
}

/// What is to be sealed again, and to whom.
#[derive(Clone)]
pub struct RekeyPlan {
    recipients: Recipients,
    due: Vec<Due>,
    /// Sealed contents that are what others need: the old one, and the new one that stands for it.
    done: HashMap<Oid, Oid>,
    current: usize,
    unread: Vec<Unsealed>,
}

/// What cannot be sealed again, and why: its old form stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unsealed {
    /// The file, or the folder of a record that cannot be read.
    pub path: String,
    pub why: String,
    /// Whether another key than those at hand would do.
    pub closed: bool,
}

/// What a batch did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rekeyed {
    pub files: usize,
    /// How many of the new contents were opened again and were what they should be; the others are sealed to keys that
    /// are not at hand.
    pub reopened: usize,
    /// How many new contents were made.
    pub contents: usize,
    /// What was left as it is.
    pub unsealed: Vec<Unsealed>,
}

impl RekeyPlan {
    /// To whom.
    pub fn recipients(&self) -> Vec<String> {
        self.recipients.to_strings()
    }

    /// How many files are due.
    pub fn files(&self) -> usize {
        self.due.len()
    }

    /// How many different contents these have.
    pub fn contents(&self) -> usize {
        let mut blobs: Vec<Oid> = self.due.iter().map(|due| due.blob).collect();
        blobs.sort();
        blobs.dedup();
        blobs.len()
    }

    /// The records of which it is not known what is due.
    pub fn unread(&self) -> &[Unsealed] {
        &self.unread
    }

    /// How many are sealed to the recipients of today already.
    pub fn current(&self) -> usize {
        self.current
    }
}

impl Vault {
    /// What is not sealed to the recipients of today.
    ///
    /// # Errors
    /// The vault cannot be read.
    pub fn rekey_plan(&self) -> Result<RekeyPlan, VaultError> {
        self.rekey_plan_for(self.listed_recipients()?)
    }

    /// The same where `recipients` were those of today.
    ///
    /// # Errors
    /// The vault cannot be read.
    pub fn rekey_plan_for(&self, recipients: Recipients) -> Result<RekeyPlan, VaultError> {
        let git = self.git()?;
        let wanted = sorted(&recipients.to_strings());
        let files = effective_files(git.files()?);
        let own: HashMap<String, Oid> = git.files()?.into_iter().collect();
        let Survey { deployments, unread } = self.survey_in(&git)?;
        let sealed_to = sealed_to(&git, &deployments)?;
        let unread = unread.into_iter().map(|one| Unsealed::new(one.folder, &one.error)).collect();
        let mut plan = RekeyPlan { recipients, due: Vec::new(), done: HashMap::new(), current: 0, unread };
        for (path, (keys, sha256)) in sealed_to {
            let Some(blob) = files.get(&path).copied() else { continue };
            if sorted(&keys) != wanted {
                plan.due.push(Due { path, blob, sha256 });
                continue;
            }
            plan.current += 1;
            if let Some(old) = own.get(&path).filter(|old| **old != blob) {
                plan.done.insert(*old, blob);
            }
        }
        Ok(plan)
    }

    /// For each deployment, every key that opens one of its files, as they were first sealed or sealed again.
    ///
    /// # Errors
    /// The vault cannot be read.
    pub fn readers(&self) -> Result<HashMap<DeploymentId, BTreeSet<String>>, VaultError> {
        let git = self.git()?;
        let mut readers: HashMap<DeploymentId, BTreeSet<String>> = HashMap::new();
        for deployment in self.survey_in(&git)?.deployments {
            let record = &deployment.record;
            readers.entry(record.id.clone()).or_default().extend(record.recipients.iter().cloned());
        }
        for (_, list) in lists(&git)? {
            for file in &list.files {
                let id = file.path.split('/').nth(2).and_then(DeploymentId::parse);
                if let Some(known) = id.and_then(|id| readers.get_mut(&id)) {
                    known.extend(list.recipients.iter().cloned());
                }
            }
        }
        Ok(readers)
    }

    /// Seals the next batch of the plan again, each file only after it was proved to be what was recorded, and commits
    /// it. Nothing is due any more when this gives zero files. A crash leaves the batch undone; a new plan has it again.
    ///
    /// # Errors
    /// Whatever sealing, signing or writing fails with: the batch is not written then. A file that no identity opens, or
    /// that is not what was recorded, is left as it is and named.
    pub fn rekey_batch(&self, plan: &mut RekeyPlan, identities: &Identities, by: &str) -> Result<Rekeyed, VaultError> {
        let mut made = Rekeyed { files: 0, reopened: 0, contents: 0, unsealed: Vec::new() };
        let batch: Vec<Due> = plan.due.drain(..plan.due.len().min(BATCH)).collect();
        if batch.is_empty() {
            return Ok(made);
        }
        let git = self.git()?;
        let keys = plan.recipients.to_strings();
        let ours = identities.recipients().iter().any(|key| keys.contains(key));
        let mut new: HashMap<Oid, (Oid, String)> = HashMap::new();
        for due in &batch {
            if new.contains_key(&due.blob) {
                continue;
            }
            let (blob, sha256) = match plan.done.get(&due.blob) {
                Some(blob) => (*blob, digest(&git.blob(*blob, &due.path)?)),
                None => {
                    let bytes = match reseal(&git, due, identities, &plan.recipients, ours) {
                        Ok(bytes) => bytes,
                        Err(error @ (VaultError::Damaged { .. } | VaultError::Seal { .. })) => {
                            made.unsealed.push(Unsealed::new(due.path.clone(), &error));
                            continue;
                        }
                        Err(other) => return Err(other),
                    };
                    made.contents += 1;
                    made.reopened += usize::from(ours);
                    (git.store(&bytes)?, digest(&bytes))
                }
            };
            plan.done.insert(due.blob, blob);
            new.insert(due.blob, (blob, sha256));
        }
        if new.is_empty() {
            return Ok(made);
        }
        let (git, lock) = self.locked()?;
        if sorted(&self.recipients()?.to_strings()) != sorted(&keys) {
            return Err(VaultError::Recipient {
                key: "the list of recipients".into(),
                reason: "was changed meanwhile: run it again",
            });
        }
        let at = clock::now();
        let id = next_id(&git, at)?;
        let folder = format!("{REKEYED}/{id}");
        let mut files = Vec::new();
        let mut listed = Vec::new();
        for due in batch {
            let Some((blob, sha256)) = new.get(&due.blob) else { continue };
            files.push((format!("{folder}/{}", due.path), Content::Blob(*blob)));
            listed.push(RekeyedFile { path: due.path, sealed_sha256: sha256.clone() });
        }
        made.files = files.len();
        let list = RekeyList {
            format: FORMAT,
            at,
            by: by.to_owned(),
            recipients: keys,
            files: listed,
            dr: env!("CARGO_PKG_VERSION").into(),
        };
        files.push((format!("{folder}/{REKEY_FILE}"), Content::Bytes(json(&list)?)));
        let message = format!("Seal {} files again\n\nRecipients: {}\n", made.files, list.recipients.len());
        self.commit(&git, &lock, files, &message, by)?;
        Ok(made)
    }
}

impl Unsealed {
    /// What an error says of a file.
    pub fn new(path: String, error: &VaultError) -> Self {
        let cause = std::error::Error::source(error).map_or(String::new(), |source| format!(": {source}"));
        let closed = matches!(error, VaultError::Seal { source: SealError::NoMatch, .. });
        Self { path, why: format!("{error}{cause}"), closed }
    }
}

/// Every sealed file: whom it is sealed to now, and the digest of its plaintext.
#[expect(clippy::type_complexity, reason = "said in the line above, used once")]
fn sealed_to(
    git: &Git,
    deployments: &[Arc<Deployment>],
) -> Result<BTreeMap<String, (Vec<String>, Option<String>)>, VaultError> {
    let mut all = BTreeMap::new();
    let first = git.names("recipients")?.into_iter().next();
    if let Some(name) = first {
        let path = format!("recipients/{name}");
        let change: super::record::RecipientsChange = parse(&path, &git.read(&path)?.unwrap_or_default())?;
        all.insert(FINGERPRINT_FILE.to_owned(), (change.add, None));
    }
    for deployment in deployments {
        let record = &deployment.record;
        for sealed in record.layers.iter().map(|layer| &layer.sealed).chain(&record.chart_archive) {
            all.insert(path_of(deployment, sealed), (record.recipients.clone(), Some(sealed.sha256.clone())));
        }
    }
    for list in lists(git)? {
        for file in list.1.files {
            if let Some(known) = all.get_mut(&file.path) {
                known.0.clone_from(&list.1.recipients);
            }
        }
    }
    Ok(all)
}

/// Opens a file, proves it, seals it to the new recipients, and proves that too as far as the keys at hand allow.
fn reseal(
    git: &Git,
    due: &Due,
    identities: &Identities,
    recipients: &Recipients,
    ours: bool,
) -> Result<Vec<u8>, VaultError> {
    let path = &due.path;
    let wrong = |reason: &str| VaultError::Damaged { what: path.clone(), reason: reason.to_owned() };
    let old = open(path, &git.blob(due.blob, path)?, identities)?;
    match &due.sha256 {
        Some(sha256) if digest(&old) != *sha256 => return Err(wrong("it is not the plaintext that was recorded")),
        None if old.len() != 32 => return Err(wrong("it holds no 32 bytes")),
        _ => {}
    }
    let new = recipients.seal(&old).map_err(VaultError::seal(format!("seal {path}")))?;
    if stanzas(&new) != Some(recipients.count()) {
        return Err(wrong("it was not sealed to every recipient"));
    }
    if ours {
        let again = open(&format!("{path}, sealed anew"), &new, identities)?;
        if *again != *old {
            return Err(wrong("sealed anew it is not what it was"));
        }
    }
    Ok(new)
}

/// The lists of `rekeyed/`, oldest first, with the names of their folders.
pub(super) fn lists(git: &Git) -> Result<Vec<(String, RekeyList)>, VaultError> {
    let mut lists = Vec::new();
    for name in git.names(REKEYED)? {
        let path = format!("{REKEYED}/{name}/{REKEY_FILE}");
        // A folder without a list was made by hand: its files stand for others, and nobody says whom they are for.
        if let Some(bytes) = git.read(&path)? {
            lists.push((name, parse(&path, &bytes)?));
        }
    }
    Ok(lists)
}

/// A name behind all others: readers take the file of the last folder.
fn next_id(git: &Git, at: Timestamp) -> Result<DeploymentId, VaultError> {
    let last = git.names(REKEYED)?.pop().and_then(|name| DeploymentId::parse(&name));
    let mut at = at;
    loop {
        let id = new_id(at)?;
        match &last {
            Some(last) if id.time() <= last.time() => {
                at = at.checked_add(1.second()).map_err(|_| VaultError::Damaged {
                    what: format!("{REKEYED}/{last}"),
                    reason: "its date is beyond all dates".into(),
                })?;
            }
            _ => return Ok(id),
        }
    }
}

fn sorted(keys: &[String]) -> Vec<String> {
    let mut keys = keys.to_vec();
    keys.sort();
    keys.dedup();
    keys
}
