//! The vault itself: made, opened, held.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use git2::Oid;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::cache::DeploymentCache;
use super::error::VaultError;
use super::files::{json, new_id, parse, random};
use super::git::{AddedFiles, BRANCH_NAME, CommitSigner, Content, Git};
use super::layout::{ATTRIBUTES, FINGERPRINT_FILE, README};
use super::lock::Lock;
use super::objects::entry;
use super::record::{FORMAT, RecipientsChange, VaultHeader};
use super::snapshot::Snapshot;
use super::trust::VaultTrust;
use crate::clock;
use crate::crypt::Recipients;

/// A config vault. It holds no open file: each call opens the repository anew and sees what others have written. Only
/// a [`Vault::snapshot`] keeps to one moment.
#[derive(Clone)]
pub struct Vault {
    pub(super) path: PathBuf,
    pub(super) signer: CommitSigner,
    pub(super) snapshot: Option<Arc<Snapshot>>,
    pub(super) cache: Arc<DeploymentCache>,
    pub(super) trust: Option<Arc<VaultTrust>>,
    pub(super) notice: Option<Notice>,
    /// Ends the wait for another writer.
    pub(super) cancel: CancellationToken,
}

/// Hears what went wrong in passing, while what was asked for was done.
pub type Notice = Arc<dyn Fn(String) + Send + Sync>;

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Vault at {}", self.path.display())
    }
}

/// Where a vault is made before it takes its place.
const NEW: &str = ".dr-new";

/// How many commits are looked at for the one that took a file away.
const FURTHEST: usize = 10_000;

/// Makes the folder, and takes away what an `init` that was killed has left in it.
fn make_room(path: &Path) -> Result<(), VaultError> {
    let name = path.display().to_string();
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(VaultError::io(format!("create {name}")))?;
    let entries = std::fs::read_dir(path).map_err(VaultError::io(format!("read {name}")))?;
    if entries.flatten().any(|entry| entry.file_name() != NEW) {
        return Err(VaultError::Occupied { path: name });
    }
    match std::fs::remove_dir_all(path.join(NEW)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(VaultError::io(format!("empty {name}"))(error))
        }
        _ => Ok(()),
    }
}

/// The repository first: with it the vault is whole, and the files beside it only show what is in it.
fn move_up(new: &Path, path: &Path) -> Result<(), VaultError> {
    let act = || format!("make {}", path.display());
    std::fs::rename(new.join(".git"), path.join(".git")).map_err(VaultError::io(act()))?;
    let shown = std::fs::read_dir(new).map_err(VaultError::io(act()))?;
    for entry in shown.flatten() {
        std::fs::rename(entry.path(), path.join(entry.file_name())).map_err(VaultError::io(act()))?;
    }
    std::fs::remove_dir(new).map_err(VaultError::io(act()))?;
    std::fs::File::open(path).and_then(|folder| folder.sync_all()).map_err(VaultError::io(act()))
}

/// Why there is no `vault.json`: this is no vault, or a commit has taken it out.
fn without_header(git: &Git) -> Result<VaultError, VaultError> {
    let path = git.path().display().to_string();
    let objects = git.objects()?;
    let is_vault = |commit: Oid| {
        let tree = git.tree_of(commit).ok().and_then(|tree| objects.tree(tree).ok());
        tree.is_some_and(|tree| ["vault.json", "recipients"].iter().all(|name| entry(&tree, name).is_some()))
    };
    let mut at = git.head_id()?;
    for _ in 0..FURTHEST {
        let Some(commit) = at else { break };
        let parents = objects.commit(commit).map(|(_, parents)| parents).unwrap_or_default();
        if let Some(before) = parents.iter().copied().find(|parent| is_vault(*parent)) {
            let back = git.remembered()?.filter(|seen| is_vault(*seen)).unwrap_or(before).to_string();
            return Ok(VaultError::HeaderGone { path, commit: commit.to_string(), back });
        }
        at = parents.first().copied();
    }
    Ok(VaultError::Foreign { path })
}

impl Vault {
    /// Makes a new vault in a folder that is empty or not there, with its first signed commit.
    ///
    /// # Errors
    /// `Occupied` when there is something already; whatever sealing, signing or writing fails with. What could not be made
    /// whole is removed; what a crash leaves, the next `init` removes.
    pub fn init(path: &Path, recipients: &Recipients, by: &str, signer: CommitSigner) -> Result<Self, VaultError> {
        let (new, was_there) = (path.join(NEW), path.exists());
        make_room(path)?;
        let made = Self::make(&new, recipients, by, Arc::clone(&signer)).and_then(|()| move_up(&new, path));
        if let Err(error) = made {
            let _ = std::fs::remove_dir_all(&new);
            if !was_there {
                let _ = std::fs::remove_dir(path);
            }
            return Err(error);
        }
        Self::open(path, signer)
    }

    fn make(path: &Path, recipients: &Recipients, by: &str, signer: CommitSigner) -> Result<(), VaultError> {
        let git = Git::init(path)?;
        let vault = Self::at(path, signer);
        let at = clock::now();
        let mut key = Zeroizing::new([0u8; 32]);
        random(key.as_mut())?;
        let sealed = recipients.seal(key.as_slice()).map_err(VaultError::seal("seal the fingerprint key"))?;
        let head = VaultHeader { format: FORMAT, created: at, dr: env!("CARGO_PKG_VERSION").into() };
        let change = RecipientsChange {
            format: FORMAT,
            at,
            by: by.to_owned(),
            add: recipients.to_strings(),
            remove: Vec::new(),
            why: None,
        };
        let files = vec![
            ("vault.json".to_owned(), Content::Bytes(json(&head)?)),
            ("README.md".to_owned(), Content::Bytes(README.into())),
            (".gitattributes".to_owned(), Content::Bytes(ATTRIBUTES.into())),
            (FINGERPRINT_FILE.to_owned(), Content::Bytes(sealed)),
            (format!("recipients/{}.json", new_id(at)?), Content::Bytes(json(&change)?)),
        ];
        let lock = git.lock()?;
        git.add(&lock, files, "Begin the config vault", by, &vault.signer).map(drop)
    }

    /// Opens a vault.
    ///
    /// # Errors
    /// `Missing`, `Foreign`, `HeaderGone`, `NoBranch` or `Format`; `Git` when the repository cannot be read, for example because it belongs to
    /// another user.
    pub fn open(path: &Path, signer: CommitSigner) -> Result<Self, VaultError> {
        let git = Git::open(path)?;
        if let (None, Some(from)) = (git.head_id()?, git.other_name()?) {
            return Err(VaultError::NoBranch { path: path.display().to_string(), branch: BRANCH_NAME, from });
        }
        let Some(head) = git.read("vault.json")? else { return Err(without_header(&git)?) };
        parse::<VaultHeader>("vault.json", &head)?;
        Ok(Self::at(path, signer))
    }

    fn at(path: &Path, signer: CommitSigner) -> Self {
        let cancel = CancellationToken::new();
        Self { path: path.to_owned(), signer, snapshot: None, cache: Arc::default(), trust: None, notice: None, cancel }
    }

    /// The same, and from now on nothing of it is used that is not believed. Without it, it is what anybody has written.
    #[must_use]
    pub fn trusting(self, trust: VaultTrust) -> Self {
        Self { trust: Some(Arc::new(trust)), ..self }
    }

    /// The same, and what goes wrong in passing is told.
    #[must_use]
    pub fn telling(self, notice: Notice) -> Self {
        Self { notice: Some(notice), ..self }
    }

    /// The same, and a signal ends the wait for another writer.
    #[must_use]
    pub fn stopping(self, cancel: CancellationToken) -> Self {
        Self { cancel, ..self }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Verifies what is new in it, as whatever reads it does by itself.
    ///
    /// # Errors
    /// `Unbelieved` or `MovedBack`.
    pub fn verify_new(&self) -> Result<(), VaultError> {
        self.git().map(drop)
    }

    /// The repository as it is at this moment, its new commits verified. What comes later is not seen by it.
    pub(super) fn git(&self) -> Result<Git, VaultError> {
        self.believed(Git::open(&self.path)?)
    }

    /// The same, to be written to: what other writers of this host have added is in it.
    pub(super) fn locked(&self) -> Result<(Git, Lock), VaultError> {
        let git = Git::open(&self.path)?;
        let tell = |text: String| self.notice.iter().for_each(|notice| notice(text.clone()));
        let lock = git.lock_waiting(&tell, &self.cancel)?;
        Ok((self.believed(git)?, lock))
    }

    fn believed(&self, git: Git) -> Result<Git, VaultError> {
        match &self.trust {
            Some(trust) => {
                let tip = trust.verified_tip(&git)?;
                Ok(git.pinned(tip))
            }
            None => Ok(git),
        }
    }

    /// Adds files in one signed commit.
    pub(super) fn commit(
        &self,
        git: &Git,
        lock: &Lock,
        files: Vec<(String, Content)>,
        message: &str,
        by: &str,
    ) -> Result<(), VaultError> {
        let before = git.head_id()?;
        let AddedFiles { commit, not_shown } = git.add(lock, files, message, by, &self.signer)?;
        if let Some(trust) = &self.trust {
            trust.note_upon(git, before, commit);
        }
        if let Some(error) = not_shown {
            self.tell_not_shown(error);
        }
        Ok(())
    }

    /// Says that the files of the newest commit could not be written beside it.
    pub(super) fn tell_not_shown(&self, error: VaultError) {
        let Some(notice) = &self.notice else { return };
        let cause = std::error::Error::source(&error).map_or(String::new(), |cause| format!(": {cause}"));
        notice(format!(
            "it is recorded, but what lies beside it in the vault could not follow: {error}{cause}. The next record brings it up to date"
        ));
    }
}
