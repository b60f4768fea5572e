//! Reading the vault: deployments, and the plaintext of what is sealed.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use git2::Oid;
use zeroize::Zeroizing;

use super::cache::ClearFiles;
use super::error::VaultError;
use super::files::{digest, parse, same_install};
use super::git::Git;
use super::handle::Vault;
use super::layout::{FINGERPRINT_FILE, REKEYED};
use super::objects::{EntryKind, GitObjects, entries, entry};
use super::record::{Deployment, DeploymentId, DeploymentOutcome, DeploymentRecord, RecordedInstall, Sealed};
use super::snapshot::{Snapshot, effective_files};
use super::survey::{Survey, UnreadRecord};
use super::threads::on_threads;
use crate::crypt::{Identities, SignedBy};
use crate::trace::{self, CallKind};
use crate::values::FingerprintKey;

impl Vault {
    /// The vault as it is at this moment, for whoever reads much of it: what others write later is not seen, and each
    /// read is many times faster.
    ///
    /// # Errors
    /// The repository cannot be read.
    pub fn snapshot(&self) -> Result<Self, VaultError> {
        let git = self.git()?;
        let files = effective_files(git.readable_files()?.0);
        Ok(Self { snapshot: Some(Arc::new(Snapshot { git: Mutex::new(git), files })), ..self.clone() })
    }

    /// The key of the fingerprints.
    ///
    /// # Errors
    /// `Seal` when no identity opens it, `Damaged` when it is none.
    pub fn fingerprint_key(&self, identities: &Identities) -> Result<FingerprintKey, VaultError> {
        let sealed = self.sealed(FINGERPRINT_FILE)?;
        let key = open(FINGERPRINT_FILE, &sealed, identities)?;
        FingerprintKey::from_bytes(&key)
            .ok_or_else(|| VaultError::Damaged { what: FINGERPRINT_FILE.into(), reason: "it holds no 32 bytes".into() })
    }

    /// The deployments of an install, newest first.
    ///
    /// # Errors
    /// `Damaged` or `Format` when a record cannot be read.
    pub fn deployments(&self, install: &RecordedInstall) -> Result<Vec<Deployment>, VaultError> {
        Ok(self.known(install)?.into_iter().map(Arc::unwrap_or_clone).collect())
    }

    /// The same for whoever only looks through them: nothing is copied.
    ///
    /// # Errors
    /// As [`Vault::deployments`].
    pub fn known(&self, install: &RecordedInstall) -> Result<Vec<Arc<Deployment>>, VaultError> {
        self.survey_of(install)?.whole()
    }

    /// The deployments of every install, and beside them what cannot be read as one: for whoever shows what there is.
    ///
    /// # Errors
    /// The repository cannot be read at all.
    pub fn survey(&self) -> Result<Survey, VaultError> {
        self.survey_in(&self.git()?)
    }

    /// The same of one install. What cannot be read of another is no matter of its own.
    ///
    /// # Errors
    /// The repository cannot be read at all.
    pub fn survey_of(&self, install: &RecordedInstall) -> Result<Survey, VaultError> {
        let mut all = self.survey()?;
        all.deployments.retain(|deployment| same_install(&deployment.record.install, install));
        all.unread.retain(|unread| unread.install == install.folder());
        Ok(all)
    }

    /// The plaintext of a sealed file of a deployment, proved by its digest.
    pub(super) fn plaintext(
        &self,
        of: &Deployment,
        sealed: &Sealed,
        identities: &Identities,
    ) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let path = path_of(of, sealed);
        let stored = self.sealed(&path)?;
        let plaintext = open(&path, &stored, identities)?;
        if digest(&plaintext) != sealed.sha256 {
            return Err(VaultError::Damaged { what: path, reason: "it is not the plaintext that was recorded".into() });
        }
        Ok(plaintext)
    }

    /// What the values are sealed in now, for telling which deployments share it; only in a [`Vault::snapshot`].
    pub fn sealed_form(&self, of: &Deployment) -> Option<Vec<Oid>> {
        let files = &self.snapshot.as_ref()?.files;
        of.record.layers.iter().map(|layer| files.get(&path_of(of, &layer.sealed)).copied()).collect()
    }

    /// The chart's archive, proved by its digest; `None` when the deployment was recorded without it.
    ///
    /// # Errors
    /// As [`Vault::values`].
    pub fn chart(
        &self,
        deployment: &Deployment,
        identities: &Identities,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, VaultError> {
        let archive = deployment.record.chart_archive.as_ref();
        archive.map(|sealed| self.plaintext(deployment, sealed, identities)).transpose()
    }

    /// A sealed file: the newest rekeyed one that stands for it, else the file itself.
    fn sealed(&self, path: &str) -> Result<Vec<u8>, VaultError> {
        let missing = || VaultError::Damaged { what: path.to_owned(), reason: "the file is missing".into() };
        if let Some(seen) = &self.snapshot {
            let id = *seen.files.get(path).ok_or_else(missing)?;
            // A thread that panicked while it read has changed nothing.
            return seen.git.lock().unwrap_or_else(PoisonError::into_inner).blob(id, path);
        }
        let git = self.git()?;
        for rekeyed in git.names(REKEYED)?.into_iter().rev() {
            if let Some(bytes) = git.read(&format!("{REKEYED}/{rekeyed}/{path}"))? {
                return Ok(bytes);
            }
        }
        git.read(path)?.ok_or_else(missing)
    }

    /// Every deployment of every install, newest first, for writers: where an outcome cannot be read, that is no reason not to record. Outcomes may be left out.
    pub(super) fn records(&self, git: &Git) -> Result<Vec<Arc<Deployment>>, VaultError> {
        self.walk(git).or_else(|_| {
            let (folders, _) = folders(git)?;
            let read = |objects: &GitObjects<'_>, (folder, id): &(String, Oid)| {
                clear(objects, folder, *id, false).and_then(|clear| deployment(folder, &clear)).map(Arc::new)
            };
            Ok(sorted(on_threads(&self.path, &folders, read)?))
        })
    }

    fn walk(&self, git: &Git) -> Result<Vec<Arc<Deployment>>, VaultError> {
        self.survey_in(git)?.whole()
    }

    pub(super) fn survey_in(&self, git: &Git) -> Result<Survey, VaultError> {
        let (folders, mut unread) = folders(git)?;
        let common = git.repo().commondir();
        let mut found = self.cache.find(common, &folders);
        let missing: Vec<usize> = (0..folders.len()).filter(|place| found[*place].is_none()).collect();
        let read = on_threads(&self.path, &missing, |objects, place| {
            let (folder, id) = &folders[*place];
            Ok(clear(objects, folder, *id, true).and_then(|clear| {
                let deployment = Arc::new(deployment(folder, &clear)?);
                Ok((*id, clear, deployment))
            }))
        })?;
        let mut new = Vec::with_capacity(read.len());
        for (place, read) in missing.iter().zip(read) {
            match read {
                Ok((id, clear, deployment)) => {
                    found[*place] = Some(Arc::clone(&deployment));
                    new.push((id, clear, deployment));
                }
                Err(error) => unread.push(UnreadRecord::new(&folders[*place].0, error)),
            }
        }
        self.cache.keep(common, new);
        self.cache.sweep(common, folders.len());
        let mut deployments = Vec::with_capacity(folders.len());
        for ((folder, _), deployment) in folders.iter().zip(found) {
            let Some(deployment) = deployment else { continue };
            // A folder that was copied to another place has the same tree.
            match belongs(folder, &deployment.record) {
                Ok(()) => deployments.push(deployment),
                Err(error) => unread.push(UnreadRecord::new(folder, error)),
            }
        }
        Ok(Survey { deployments: sorted(deployments), unread })
    }

    /// Who signed the record of each of these.
    ///
    /// # Errors
    /// The history cannot be read.
    pub fn signers_of(&self, of: &[&Deployment]) -> Result<HashMap<DeploymentId, SignedBy>, VaultError> {
        let path = |of: &Deployment| format!("deployments/{}/{}/record.json", of.record.install.folder(), of.id());
        let mut signed = self.signed_by(&self.git()?, of.iter().map(|of| path(of)).collect())?;
        Ok(of.iter().filter_map(|of| Some((of.id().clone(), signed.remove(&path(of))?))).collect())
    }

    pub(super) fn folder_of(&self, git: &Git, id: &DeploymentId) -> Result<String, VaultError> {
        for install in git.names("deployments")? {
            let folder = format!("deployments/{install}/{id}");
            if git.blob_id(&format!("{folder}/record.json"))?.is_some() {
                return Ok(folder);
            }
        }
        Err(VaultError::NotFound { selector: id.to_string() })
    }
}

/// Opens a sealed file of the vault.
pub(super) fn open(path: &str, stored: &[u8], identities: &Identities) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    let opened = trace::call_blocking(CallKind::Vault, format!("open {path}"), || identities.open(stored));
    opened.map_err(VaultError::seal(format!("open {path} in the vault")))
}

/// Where a sealed file of a deployment is, as it was first sealed.
pub(super) fn path_of(of: &Deployment, sealed: &Sealed) -> String {
    format!("deployments/{}/{}/{}", of.record.install.folder(), of.id(), sealed.file)
}

/// Folders with their trees.
type Folders = Vec<(String, Oid)>;

/// The folder of every deployment, with its tree; and what stands among them and is none.
fn folders(git: &Git) -> Result<(Folders, Vec<UnreadRecord>), VaultError> {
    let (mut folders, mut unread): (Folders, Vec<UnreadRecord>) = Default::default();
    let Some(root) = git.tree_id()? else { return Ok((folders, unread)) };
    let objects = git.objects()?;
    let tree = |id, path: &str| objects.tree(id).map_err(|fault| fault.of(path));
    let root = tree(root, "the newest tree")?;
    let Some(deployments) = entry(&root, "deployments") else { return Ok((folders, unread)) };
    for install in entries(&tree(deployments.id, "deployments")?) {
        let path = install.path("deployments");
        let below = match tree(install.id, &path) {
            Ok(below) => below,
            Err(error) => {
                unread.push(UnreadRecord::new(&path, error));
                continue;
            }
        };
        for folder in entries(&below) {
            let name = std::str::from_utf8(folder.name).unwrap_or_default();
            let folder_path = folder.path(&path);
            if DeploymentId::parse(name).is_none() || folder.kind != EntryKind::Folder {
                let reason = "no deployment has such a name".into();
                let error = VaultError::Damaged { what: folder_path.clone(), reason };
                unread.push(UnreadRecord::new(&folder_path, error));
                continue;
            }
            folders.push((folder_path, folder.id));
        }
    }
    Ok((folders, unread))
}

/// Newest first; of one moment, by the chain: what was recorded later is newer.
fn sorted(mut all: Vec<Arc<Deployment>>) -> Vec<Arc<Deployment>> {
    all.sort_by(|a, b| (b.record.at, b.id()).cmp(&(a.record.at, a.id())));
    if all.windows(2).any(|pair| pair[0].record.at == pair[1].record.at) {
        let places = places_in_chain(&all);
        let place = |of: &Deployment| places.get(of.id()).copied().unwrap_or_default();
        all.sort_by(|a, b| (b.record.at, place(b), b.id()).cmp(&(a.record.at, place(a), a.id())));
    }
    all
}

/// How many came before each, at least, as the records name each other.
fn places_in_chain(all: &[Arc<Deployment>]) -> HashMap<DeploymentId, usize> {
    let by_id: HashMap<&DeploymentId, &Arc<Deployment>> = all.iter().map(|one| (one.id(), one)).collect();
    let mut places: HashMap<DeploymentId, usize> = HashMap::new();
    let mut ahead: Vec<(&Arc<Deployment>, bool)> = all.iter().map(|one| (one, false)).collect();
    let mut begun: HashSet<&DeploymentId> = HashSet::new();
    while let Some((one, was_begun)) = ahead.pop() {
        let named = || one.record.previous.iter().chain(&one.record.joins).filter_map(|other| by_id.get(&other.id));
        if was_begun {
            let before = named().filter_map(|other| places.get(other.id())).max();
            places.insert(one.id().clone(), before.map_or(0, |place| place + 1));
        } else if begun.insert(one.id()) {
            // A chain that is a ring is no chain; it ends here all the same.
            ahead.push((one, true));
            ahead.extend(named().map(|other| (*other, false)));
        }
    }
    places
}

/// Reads the clear files of a deployment from its folder's tree.
fn clear(objects: &GitObjects<'_>, folder: &str, id: Oid, outcome: bool) -> Result<ClearFiles, VaultError> {
    let tree = objects.tree(id).map_err(|fault| fault.of(folder))?;
    let file = |name: &str| -> Result<Option<Vec<u8>>, VaultError> {
        let bytes = entry(&tree, name).map(|entry| objects.blob(entry.id)).transpose();
        bytes.map_err(|fault| fault.of(&format!("{folder}/{name}")))
    };
    let record = file("record.json")?.ok_or_else(|| VaultError::Damaged {
        what: format!("{folder}/record.json"),
        reason: "the file is missing".into(),
    })?;
    let outcome = if outcome { file("outcome.json")? } else { None };
    Ok(ClearFiles { tree: tree.to_vec(), record, outcome })
}

/// What the clear files of a folder say.
fn deployment(folder: &str, clear: &ClearFiles) -> Result<Deployment, VaultError> {
    let record: DeploymentRecord = parse(&format!("{folder}/record.json"), &clear.record)?;
    belongs(folder, &record)?;
    let outcome = clear.outcome.as_deref();
    let outcome =
        outcome.map(|bytes| parse::<DeploymentOutcome>(&format!("{folder}/outcome.json"), bytes)).transpose()?;
    Ok(Deployment { record, outcome, record_sha256: digest(&clear.record) })
}

fn belongs(folder: &str, record: &DeploymentRecord) -> Result<(), VaultError> {
    if folder == format!("deployments/{}/{}", record.install.folder(), record.id) {
        return Ok(());
    }
    let what = format!("{folder}/record.json");
    Err(VaultError::Damaged { what, reason: "it belongs to another folder".into() })
}
