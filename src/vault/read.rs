//! Reading the vault: deployments, and the plaintext of what is sealed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use git2::Oid;
use zeroize::Zeroizing;

use super::error::VaultError;
use super::files::{digest, parse, same_install};
use super::git::Git;
use super::objects::{Fault, Kind, Objects, entries, entry, on_threads};
use super::record::{Deployment, DeploymentId, Install, Outcome, Record, Sealed};
use super::{FINGERPRINT_FILE, REKEYED, Vault, select};
use crate::crypt::Identities;
use crate::values::FingerprintKey;

/// Where the sealed files of one commit are, so that many can be read without looking up each from the root.
pub(super) struct Seen {
    git: Mutex<Git>,
    files: HashMap<String, Oid>,
}

impl Vault {
    /// The vault as it is at this moment, for whoever reads much of it: what others write later is not seen, and each
    /// read is many times faster.
    ///
    /// # Errors
    /// The repository cannot be read.
    pub fn snapshot(&self) -> Result<Self, VaultError> {
        let git = Git::open(&self.path)?;
        let files = effective_files(&git)?;
        Ok(Self { seen: Some(Arc::new(Seen { git: Mutex::new(git), files })), ..self.clone() })
    }

    /// The key of the fingerprints.
    ///
    /// # Errors
    /// `Seal` when no identity opens it, `Damaged` when it is none.
    pub fn fingerprint_key(&self, identities: &Identities) -> Result<FingerprintKey, VaultError> {
        let sealed = self.sealed(FINGERPRINT_FILE)?;
        let key = identities.open(&sealed).map_err(VaultError::seal("open the vault's fingerprint key"))?;
        FingerprintKey::from_bytes(&key)
            .ok_or_else(|| VaultError::Damaged { what: FINGERPRINT_FILE.into(), reason: "it holds no 32 bytes".into() })
    }

    /// The deployments of an install, newest first.
    ///
    /// # Errors
    /// `Damaged` or `Format` when a record cannot be read.
    pub fn deployments(&self, install: &Install) -> Result<Vec<Deployment>, VaultError> {
        let mut all = self.all(&Git::open(&self.path)?)?;
        all.retain(|deployment| same_install(&deployment.record.install, install));
        Ok(all)
    }

    /// The deployments of every install, newest first.
    ///
    /// # Errors
    /// `Damaged` or `Format` when a record cannot be read.
    pub fn every_deployment(&self) -> Result<Vec<Deployment>, VaultError> {
        self.all(&Git::open(&self.path)?)
    }

    /// The deployment of the install that `selector` names: `latest`, `live`, `rev:7`, a name or its beginning or its
    /// last six characters, an OpsChain version, or a time (what was live then).
    ///
    /// # Errors
    /// `NotFound`, `Ambiguous`, or what reading fails with.
    pub fn resolve(&self, install: &Install, selector: &str) -> Result<Deployment, VaultError> {
        select::resolve(&self.deployments(install)?, selector).cloned()
    }

    /// The plaintext of a sealed file of a deployment, proved by its digest.
    pub(super) fn plaintext(
        &self,
        of: &Deployment,
        sealed: &Sealed,
        identities: &Identities,
    ) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let path = format!("deployments/{}/{}/{}", of.record.install.folder(), of.id(), sealed.file);
        let stored = self.sealed(&path)?;
        let plaintext = identities.open(&stored).map_err(VaultError::seal(format!("open {path} in the vault")))?;
        if digest(&plaintext) != sealed.sha256 {
            return Err(VaultError::Damaged { what: path, reason: "it is not the plaintext that was recorded".into() });
        }
        Ok(plaintext)
    }

    /// A sealed file: the newest rekeyed one that stands for it, else the file itself.
    fn sealed(&self, path: &str) -> Result<Vec<u8>, VaultError> {
        let missing = || VaultError::Damaged { what: path.to_owned(), reason: "the file is missing".into() };
        if let Some(seen) = &self.seen {
            let id = *seen.files.get(path).ok_or_else(missing)?;
            // A thread that panicked while it read has changed nothing.
            return seen.git.lock().unwrap_or_else(PoisonError::into_inner).blob(id, path);
        }
        let git = Git::open(&self.path)?;
        for rekeyed in git.names(REKEYED)?.into_iter().rev() {
            if let Some(bytes) = git.read(&format!("{REKEYED}/{rekeyed}/{path}"))? {
                return Ok(bytes);
            }
        }
        git.read(path)?.ok_or_else(missing)
    }

    /// Every deployment of every install, newest first.
    pub(super) fn all(&self, git: &Git) -> Result<Vec<Deployment>, VaultError> {
        self.walk(git, true)
    }

    /// The same without their outcomes, for writers: a third less to read.
    pub(super) fn records(&self, git: &Git) -> Result<Vec<Deployment>, VaultError> {
        self.walk(git, false)
    }

    fn walk(&self, git: &Git, outcomes: bool) -> Result<Vec<Deployment>, VaultError> {
        let Some(root) = git.tree_id()? else { return Ok(Vec::new()) };
        let objects = git.objects()?;
        let tree = |id, path: &str| objects.tree(id).map_err(|fault| fault.of(path));
        let root = tree(root, "the newest tree")?;
        let Some(deployments) = entry(&root, "deployments") else { return Ok(Vec::new()) };
        let mut folders: Vec<(String, Oid)> = Vec::new();
        for install in entries(&tree(deployments.id, "deployments")?) {
            let path = install.path("deployments");
            for folder in entries(&tree(install.id, &path)?) {
                let name = std::str::from_utf8(folder.name).unwrap_or_default();
                let folder_path = folder.path(&path);
                if DeploymentId::parse(name).is_none() || folder.kind != Kind::Folder {
                    return Err(VaultError::Damaged {
                        what: folder_path,
                        reason: "no deployment has such a name".into(),
                    });
                }
                folders.push((folder_path, folder.id));
            }
        }
        let mut all =
            on_threads(&self.path, &folders, |objects, (folder, id)| deployment(objects, folder, *id, outcomes))?;
        all.sort_by(|a, b| (b.record.at, b.id()).cmp(&(a.record.at, a.id())));
        Ok(all)
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

/// Reads one deployment from its folder's tree.
fn deployment(objects: &Objects<'_>, folder: &str, id: Oid, outcome: bool) -> Result<Deployment, VaultError> {
    let tree = objects.tree(id).map_err(|fault| fault.of(folder))?;
    let file = |name: &str| -> Result<Option<(String, Vec<u8>)>, VaultError> {
        let path = format!("{folder}/{name}");
        let bytes = entry(&tree, name).map(|entry| objects.blob(entry.id)).transpose();
        bytes.map(|found| found.map(|bytes| (path.clone(), bytes))).map_err(|fault: Fault| fault.of(&path))
    };
    let (path, bytes) = file("record.json")?.ok_or_else(|| VaultError::Damaged {
        what: format!("{folder}/record.json"),
        reason: "the file is missing".into(),
    })?;
    let record: Record = parse(&path, &bytes)?;
    if folder != format!("deployments/{}/{}", record.install.folder(), record.id) {
        return Err(VaultError::Damaged { what: path, reason: "it belongs to another folder".into() });
    }
    let outcome = if outcome { file("outcome.json")? } else { None };
    let outcome = outcome.map(|(path, bytes)| parse::<Outcome>(&path, &bytes)).transpose()?;
    Ok(Deployment { record, outcome, record_sha256: digest(&bytes) })
}

/// Every file of the newest commit by its path, each rekeyed one in the place of what it stands for.
pub(super) fn effective_files(git: &Git) -> Result<HashMap<String, Oid>, VaultError> {
    let mut own = HashMap::new();
    let mut rekeyed: Vec<(String, Oid)> = Vec::new();
    for (path, id) in git.files()? {
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
    Ok(own)
}
