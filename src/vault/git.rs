//! The git repository under the vault: files in, signed commits out, nothing ever rewritten.
//!
//! What is read comes from the newest commit, never from the work tree, which is only there for people. libgit2 runs no
//! hook, no credential helper and no garbage collection.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

use git2::build::TreeUpdateBuilder;
use git2::{FileMode, Oid, Repository, RepositoryInitOptions, Signature, Time};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::error::VaultError;
use super::lock::{self, Lock};
use super::objects::{EntryKind, GitObjects, entries, entry, new_files};
use super::staging::StagedObjects;
use super::worktree::{Behind, WorkTree};
use crate::clock;

/// The one branch.
pub(super) const BRANCH: &str = "refs/heads/main";
/// Its name, as people give it to git.
pub(super) const BRANCH_NAME: &str = "main";
/// The newest commit that this host has seen, whatever becomes of the branch.
pub(super) const NEWEST: &str = "refs/dr/newest";
/// Settings that only we read: libgit2 flushes to the disk under this one, of which git itself says that it is out of
/// date each time that it finds it in the repository's own file.
const OWN_CONFIG: &str = "dr.config";
const OWN_SETTINGS: &str = "[core]\n\tfsyncObjectFiles = true\n";
/// Signs a commit: takes its bytes, gives an armoured SSH signature made for the namespace `git`.
pub type CommitSigner = Arc<dyn Fn(&[u8]) -> Result<String, String> + Send + Sync>;

/// A new file: its bytes, or a blob that is in the repository already.
pub(super) enum Content {
    Bytes(Vec<u8>),
    Blob(Oid),
}

impl Content {
    fn new_bytes(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Blob(_) => 0,
        }
    }
}

/// Files with their blobs, and why each folder that cannot be read cannot.
pub(super) type ReadableFiles = (Vec<(String, Oid)>, Vec<VaultError>);

pub(super) struct Git {
    repo: Repository,
    path: PathBuf,
    /// What is read in the place of the branch, which others may move.
    pinned: Option<Oid>,
}

/// What became of new files: they are recorded, whether or not they could be shown.
pub(super) struct AddedFiles {
    pub(super) commit: Oid,
    /// Why the work tree is behind, or the commit not remembered.
    pub(super) not_shown: Option<VaultError>,
}

/// A commit that the branch is at.
struct Committed {
    commit: Oid,
    /// The files that it brought.
    files: Vec<(String, Oid)>,
    /// Why it could not be remembered.
    forgotten: Option<VaultError>,
}

impl Git {
    /// Makes, in a new folder, a repository whose objects and references are flushed to the disk before a commit counts.
    pub(super) fn init(path: &Path) -> Result<Self, VaultError> {
        let name = path.display().to_string();
        let failed = || VaultError::git(format!("make a git repository in {name}"));
        std::fs::DirBuilder::new().mode(0o700).create(path).map_err(VaultError::io(format!("create {name}")))?;
        let mut options = RepositoryInitOptions::new();
        options.no_reinit(true).external_template(false).initial_head("main");
        let repo = Repository::init_opts(path, &options).map_err(failed())?;
        let mut config = repo.config().map_err(failed())?;
        config.set_str("core.autocrlf", "false").map_err(failed())?;
        config.set_str("gpg.format", "ssh").map_err(failed())?;
        drop(config);
        Self::settled(repo, path)
    }

    /// Lays our own settings over those of the repository.
    fn settled(repo: Repository, path: &Path) -> Result<Self, VaultError> {
        let failed = || VaultError::git(format!("read the settings of the config vault {}", path.display()));
        let own = repo.path().join(OWN_CONFIG);
        if !own.exists() {
            // A clone made by git has no such file.
            std::fs::write(&own, OWN_SETTINGS).map_err(VaultError::io(format!("write {}", own.display())))?;
        }
        let mut config = repo.config().map_err(failed())?;
        config.add_file(&own, git2::ConfigLevel::App, true).map_err(failed())?;
        drop(config);
        Ok(Self { repo, path: path.to_owned(), pinned: None })
    }

    pub(super) fn open(path: &Path) -> Result<Self, VaultError> {
        let name = path.display().to_string();
        match Repository::open(path) {
            Ok(repo) => match super::torn::head(&repo, BRANCH) {
                Some(torn) => Err(torn),
                None => Self::settled(repo, path),
            },
            Err(error) if error.code() == git2::ErrorCode::NotFound => {
                // Where the user may not look, nothing is found either.
                for place in [path.to_owned(), path.join(".git")] {
                    if let Err(source) = std::fs::read_dir(&place)
                        && source.kind() == std::io::ErrorKind::PermissionDenied
                    {
                        return Err(VaultError::Io { act: format!("open the config vault {name}"), source });
                    }
                }
                if path.is_file() {
                    return Err(VaultError::NoFolder { path: name });
                }
                let is_left = [".git", "vault.json", "deployments"].iter().any(|name| path.join(name).exists());
                Err(if is_left { VaultError::NotOpened { path: name } } else { VaultError::Missing { path: name } })
            }
            Err(source) => Err(VaultError::Git { act: format!("open the config vault {name}"), source }),
        }
    }

    /// Waits for other writers on this host.
    ///
    /// # Errors
    /// As [`lock::wait`], which tells of the wait and ends it with a signal.
    pub(super) fn lock(&self) -> Result<Lock, VaultError> {
        self.lock_waiting(&|_| (), &CancellationToken::new())
    }

    pub(super) fn lock_waiting(&self, tell: &dyn Fn(String), cancel: &CancellationToken) -> Result<Lock, VaultError> {
        lock::wait(self.repo.path(), tell, cancel)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The repository itself, for what reads all of it.
    pub(super) fn repo(&self) -> &Repository {
        &self.repo
    }

    /// Where the work tree stands, where that is not the branch.
    pub(super) fn stands_elsewhere(&self) -> Option<String> {
        super::worktree::stands_elsewhere(&self.repo, BRANCH)
    }

    /// The work tree, where there is one and it stands on the branch: elsewhere git itself brings the files, as soon as
    /// somebody goes back to the branch.
    pub(super) fn work_tree(&self) -> Option<&Path> {
        self.repo.workdir().filter(|_| self.stands_elsewhere().is_none())
    }

    /// The newest commit of the branch.
    pub(super) fn head_id(&self) -> Result<Option<Oid>, VaultError> {
        Ok(self.head()?.map(|(id, _)| id))
    }

    /// The same, reading this commit and no later one. It can be added to once: the branch then is further.
    pub(super) fn pinned(self, commit: Option<Oid>) -> Self {
        Self { pinned: commit, ..self }
    }

    /// The newest commit, with its tree: read before libgit2 is asked for it.
    fn head(&self) -> Result<Option<(Oid, Oid)>, VaultError> {
        let id = match self.pinned {
            Some(pinned) => Some(pinned),
            None => self.reference(BRANCH)?,
        };
        let Some(id) = id else { return Ok(None) };
        let (tree, _) = self.objects()?.commit(id).map_err(|fault| match fault.of("the newest commit") {
            VaultError::Damaged { what, reason } => {
                let seen = self.remembered().ok().flatten().filter(|seen| *seen != id && self.tree_of(*seen).is_ok());
                let way = super::lost::way_back(
                    &self.repo,
                    &self.path,
                    seen.map(|seen| [BRANCH.to_owned(), seen.to_string()]),
                );
                VaultError::Damaged { what, reason: format!("{reason}; {way}") }
            }
            unread => unread,
        })?;
        Ok(Some((id, tree)))
    }

    /// The objects, to be read one by one.
    pub(super) fn objects(&self) -> Result<GitObjects<'_>, VaultError> {
        GitObjects::of(&self.repo).map_err(VaultError::git("open the config vault's objects"))
    }

    /// The tree of the newest commit.
    pub(super) fn tree_id(&self) -> Result<Option<Oid>, VaultError> {
        Ok(self.head()?.map(|(_, tree)| tree))
    }

    /// The tree of a commit.
    pub(super) fn tree_of(&self, commit: Oid) -> Result<Oid, VaultError> {
        let read = self.objects()?.commit(commit);
        read.map(|(tree, _)| tree).map_err(|fault| fault.of(&format!("commit {commit}")))
    }

    /// Whether `early` is `late` or lies behind it.
    pub(super) fn is_behind(&self, early: Oid, late: Oid) -> Result<bool, VaultError> {
        Ok(early == late || self.objects()?.ancestors(late, |id| id == early)?.contains(&early))
    }

    /// What stands at a path of the newest commit.
    fn entry_at(&self, path: &str) -> Result<Option<(EntryKind, Oid)>, VaultError> {
        let Some(tree) = self.tree_id()? else { return Ok(None) };
        self.objects()?.find(tree, path).map_err(|(folder, fault)| match folder.as_str() {
            "" => fault.of("the newest tree"),
            folder => fault.of(folder),
        })
    }

    /// Every file of the newest commit, with its path.
    pub(super) fn files(&self) -> Result<Vec<(String, Oid)>, VaultError> {
        self.files_but(|_| false).map(|(files, _)| files)
    }

    /// The same without those of deployments whose folder cannot be read.
    pub(super) fn readable_files(&self) -> Result<ReadableFiles, VaultError> {
        self.files_but(|folder| folder.starts_with("deployments/"))
    }

    /// `may_lack` says which folders are passed over if they cannot be read.
    fn files_but(&self, may_lack: impl Fn(&str) -> bool) -> Result<ReadableFiles, VaultError> {
        let objects = self.objects()?;
        let (mut found, mut lost) = (Vec::new(), Vec::new());
        let mut folders: Vec<(String, Oid)> = self.tree_id()?.map(|id| (String::new(), id)).into_iter().collect();
        while let Some((folder, id)) = folders.pop() {
            let tree = match objects.tree(id) {
                Ok(tree) => tree,
                Err(fault) if may_lack(&folder) => {
                    lost.push(fault.of(&folder));
                    continue;
                }
                Err(fault) => return Err(fault.of(if folder.is_empty() { "the newest tree" } else { &folder })),
            };
            for entry in entries(&tree) {
                let path = entry.path(&folder);
                match entry.kind {
                    EntryKind::Folder => folders.push((path, entry.id)),
                    EntryKind::File => found.push((path, entry.id)),
                    EntryKind::Other => {}
                }
            }
        }
        Ok((found, lost))
    }

    /// The blob of a file in the newest commit.
    pub(super) fn blob_id(&self, path: &str) -> Result<Option<Oid>, VaultError> {
        Ok(self.entry_at(path)?.filter(|(kind, _)| *kind != EntryKind::Folder).map(|(_, id)| id))
    }

    /// The bytes of a blob, of which `path` tells whose they are.
    pub(super) fn blob(&self, id: Oid, path: &str) -> Result<Vec<u8>, VaultError> {
        self.objects()?.blob(id).map_err(|fault| fault.of(path))
    }

    /// Stores the bytes of a file that no commit names yet.
    pub(super) fn store(&self, bytes: &[u8]) -> Result<Oid, VaultError> {
        self.repo.blob(bytes).map_err(VaultError::git("write to the config vault"))
    }

    /// A file of the newest commit.
    pub(super) fn read(&self, path: &str) -> Result<Option<Vec<u8>>, VaultError> {
        self.blob_id(path)?.map(|id| self.blob(id, path)).transpose()
    }

    /// The names in a folder of the newest commit, sorted; none where there is no such folder.
    pub(super) fn names(&self, folder: &str) -> Result<Vec<String>, VaultError> {
        let Some((EntryKind::Folder, id)) = self.entry_at(folder)? else { return Ok(Vec::new()) };
        let below = self.objects()?.tree(id).map_err(|fault| fault.of(folder))?;
        Ok(entries(&below).filter_map(|entry| std::str::from_utf8(entry.name).ok().map(str::to_owned)).collect())
    }

    /// Adds files in one signed commit. The caller holds the lock.
    ///
    /// A crash leaves the commit before or this one: the branch moves last, after the objects are on the disk. The work
    /// tree follows after that; when it cannot, the files are recorded all the same, why is told beside the commit, and
    /// the next writer brings it up to date.
    pub(super) fn add(
        &self,
        _held: &Lock,
        files: Vec<(String, Content)>,
        message: &str,
        by: &str,
        signer: &CommitSigner,
    ) -> Result<AddedFiles, VaultError> {
        let top = self.work_tree().map(Path::to_owned);
        let behind = Behind::since(self.repo.commondir(), self.head_id()?);
        std::thread::scope(move |scope| {
            let (committed, told) = mpsc::channel::<Vec<(String, Oid)>>();
            // The index is read while the objects are flushed. Nothing is told of a commit that failed.
            let shown = scope.spawn(move || -> Result<(), VaultError> {
                let Some(tree) = top.as_deref().map(WorkTree::open).transpose()? else { return Ok(()) };
                told.recv().map_or(Ok(()), |files| tree.show(&files))
            });
            let Committed { commit, files, forgotten } = self.commit_files(files, message, by, signer)?;
            let missed = behind.missed().map_or(Ok(Vec::new()), |from| self.files_since(from, commit));
            let _ = committed.send(missed.ok().filter(|missed| !missed.is_empty()).unwrap_or(files));
            let shown = shown.join().unwrap_or(Ok(()));
            if shown.is_ok() {
                behind.made_up();
            }
            Ok(AddedFiles { commit, not_shown: shown.err().or(forgotten) })
        })
    }

    /// The files that a commit has and an earlier one had not.
    pub(super) fn files_since(&self, from: Option<Oid>, to: Oid) -> Result<Vec<(String, Oid)>, VaultError> {
        new_files(&self.objects()?, from.map(|commit| self.tree_of(commit)).transpose()?, self.tree_of(to)?)
    }

    fn commit_files(
        &self,
        files: Vec<(String, Content)>,
        message: &str,
        by: &str,
        signer: &CommitSigner,
    ) -> Result<Committed, VaultError> {
        let failed = || VaultError::git("write to the config vault");
        let fresh = StagedObjects::begin(self.repo.commondir())?;
        let bytes = files.iter().map(|(_, content)| content.new_bytes()).sum();
        fresh.require_room(bytes)?;
        let repo = fresh.repo();
        let parent = self.head_id()?;
        let base = match parent {
            Some(id) => repo.find_commit(id).and_then(|commit| commit.tree()).map_err(failed())?,
            None => {
                let empty = repo.treebuilder(None).and_then(|builder| builder.write()).map_err(failed())?;
                repo.find_tree(empty).map_err(failed())?
            }
        };
        let mut update = TreeUpdateBuilder::new();
        let mut named = Vec::with_capacity(files.len());
        // Most files are of one new folder, which is looked up once: a folder of many deployments takes long to read.
        let mut new_folder: Option<String> = None;
        for (path, content) in files {
            let folder = path.rsplit_once('/').map(|(folder, _)| folder);
            if folder.is_none() || folder != new_folder.as_deref() {
                if self.entry_at(&path)?.is_some() {
                    return Err(VaultError::Rewrite { path });
                }
                new_folder = match folder {
                    Some(folder) if self.entry_at(folder)?.is_none() => Some(folder.to_owned()),
                    _ => None,
                };
            }
            let id = match content {
                Content::Bytes(bytes) => repo.blob(&bytes).map_err(failed())?,
                Content::Blob(id) => id,
            };
            update.upsert(path.as_str(), id, FileMode::Blob);
            named.push((path, id));
        }
        let tree = update.create_updated(repo, &base).map_err(failed())?;
        let parents: Vec<Oid> = parent.into_iter().collect();
        let commit = commit_in(repo, tree, &parents, message, by, signer)?;
        drop(base);
        fresh.settle()?;
        let forgotten = self.advance(commit, parents.first().copied(), message)?;
        Ok(Committed { commit, files: named, forgotten })
    }

    /// Makes a signed commit that no branch knows yet.
    pub(super) fn commit(
        &self,
        tree: Oid,
        parents: &[Oid],
        message: &str,
        by: &str,
        signer: &CommitSigner,
    ) -> Result<Oid, VaultError> {
        commit_in(&self.repo, tree, parents, message, by, signer)
    }

    /// Moves the branch from one commit to a later one. The caller holds the lock. Why the commit could not be remembered
    /// is given back: it is there all the same, and the next writer remembers it.
    pub(super) fn advance(&self, to: Oid, from: Option<Oid>, message: &str) -> Result<Option<VaultError>, VaultError> {
        let failed = || VaultError::git("write to the config vault");
        let subject = message.lines().next().unwrap_or(message);
        match from {
            // Fails when somebody without our lock (a `git pull`) has moved the branch meanwhile.
            Some(from) => self.repo.reference_matching(BRANCH, to, true, from, subject).map_err(failed())?,
            None => self.repo.reference(BRANCH, to, false, subject).map_err(failed())?,
        };
        Ok(self.keep_newest(to).err())
    }

    /// Keeps the newest commit under a name of our own, so that a branch that was moved back is found out. What was
    /// remembered and is not before `commit` stays remembered.
    pub(super) fn remember(&self, _held: &Lock, commit: Oid) -> Result<(), VaultError> {
        self.keep_newest(commit)
    }

    fn keep_newest(&self, commit: Oid) -> Result<(), VaultError> {
        let failed = || VaultError::git("remember the newest commit of the config vault");
        if let Some(known) = self.remembered()? {
            let before = self.is_behind(known, commit).unwrap_or(false);
            if known == commit || !before {
                return Ok(());
            }
        }
        self.repo.reference(NEWEST, commit, true, "dr: the newest commit").map(drop).map_err(failed())
    }

    /// The newest commit that was ever seen here.
    pub(super) fn remembered(&self) -> Result<Option<Oid>, VaultError> {
        self.reference(NEWEST)
    }

    /// The commit that a reference names.
    pub(super) fn reference(&self, name: &str) -> Result<Option<Oid>, VaultError> {
        match self.repo.refname_to_id(name) {
            Ok(id) => Ok(Some(id)),
            Err(error) if error.code() == git2::ErrorCode::NotFound => Ok(None),
            Err(source) => Err(super::torn::reference(&self.repo, name, [BRANCH, NEWEST])
                .unwrap_or_else(|| VaultError::git(format!("read {name}"))(source))),
        }
    }

    /// What names commits of a vault beside the branch, the surest first.
    pub(super) fn other_name(&self) -> Result<Option<String>, VaultError> {
        let failed = || VaultError::git("list the branches of the config vault");
        if let Some(seen) = self.remembered()? {
            return Ok(Some(seen.to_string()));
        }
        let mut found: Vec<String> = Vec::new();
        for reference in self.repo.references().map_err(failed())?.flatten() {
            let (Some(commit), Ok(name)) = (reference.target(), reference.name()) else { continue };
            let tree = self.tree_of(commit).and_then(|tree| Ok(self.objects()?.tree(tree).ok()));
            let short = name.strip_prefix("refs/remotes/").or_else(|| name.strip_prefix("refs/heads/"));
            if tree.ok().flatten().is_some_and(|tree| entry(&tree, "vault.json").is_some()) {
                found.extend(short.filter(|short| !short.ends_with("/HEAD")).map(str::to_owned));
            }
        }
        let place = found.iter().position(|name| name.ends_with("/main")).unwrap_or(0);
        Ok(found.into_iter().nth(place))
    }

    /// Keeps what a remote is known to have.
    pub(super) fn track(&self, name: &str, commit: Oid) -> Result<(), VaultError> {
        let made = self.repo.reference(name, commit, true, "dr: synced");
        made.map(drop).map_err(VaultError::git(format!("write {name}")))
    }

    /// Takes a reference away.
    pub(super) fn forget(&self, name: &str) -> Result<(), VaultError> {
        let gone = self.repo.find_reference(name).and_then(|mut reference| reference.delete());
        gone.map_err(VaultError::git(format!("remove {name}")))
    }
}

/// Makes a signed commit. Its dates are those of writing, by which a signature is judged; what is recorded may be years
/// older.
fn commit_in(
    repo: &Repository,
    tree: Oid,
    parents: &[Oid],
    message: &str,
    by: &str,
    signer: &CommitSigner,
) -> Result<Oid, VaultError> {
    let failed = || VaultError::git("write to the config vault");
    let tree = repo.find_tree(tree).map_err(failed())?;
    let parents: Vec<git2::Commit<'_>> =
        parents.iter().map(|id| repo.find_commit(*id)).collect::<Result<_, _>>().map_err(failed())?;
    let writer = signature(by, clock::now()).map_err(failed())?;
    let parents: Vec<&git2::Commit<'_>> = parents.iter().collect();
    let unsigned = repo.commit_create_buffer(&writer, &writer, message, &tree, &parents).map_err(failed())?;
    let text = std::str::from_utf8(&unsigned).map_err(|_| VaultError::Sign("the commit is not text".into()))?;
    let armored = signer(text.as_bytes()).map_err(VaultError::Sign)?;
    repo.commit_signed(text, armored.trim_end(), Some("gpgsig")).map_err(failed())
}

fn signature(by: &str, at: Timestamp) -> Result<Signature<'static>, git2::Error> {
    let clean: String = by.chars().filter(|c| !matches!(c, '<' | '>' | '\n' | '\0')).collect();
    let address = if clean.contains('@') { clean.clone() } else { format!("{clean}@localhost") };
    let name = clean.split('@').next().filter(|name| !name.is_empty()).unwrap_or("dr").to_owned();
    Signature::new(&name, &address, &Time::new(at.as_second(), 0))
}
