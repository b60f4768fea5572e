//! Why the vault refused.

use std::io;

use super::layout::EXCEPTIONS;
use crate::crypt::seal::SealError;

/// Why the vault refused. No variant quotes a plaintext.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// There is none.
    #[error("there is no config vault at {path}")]
    Missing {
        /// Where it was looked for.
        path: String,
    },
    /// There was one that this host had verified, and its folder is gone.
    #[error("the config vault {path} is gone: commit {commit} of it was verified on this host before")]
    Gone {
        path: String,
        commit: String,
        /// The file that remembers it.
        memory: String,
    },
    /// There was one, and git does not take it for a repository any more.
    #[error("{path} holds a config vault that git cannot open: its .git folder, or HEAD or objects in it, is missing")]
    NotOpened { path: String },
    /// There is something at the place of a new one.
    #[error("{path} is not empty")]
    Occupied { path: String },
    /// It is a git repository, but not a vault.
    #[error("{path} is a git repository, but not a config vault: it has no vault.json")]
    Foreign { path: String },
    /// A commit has taken away what makes it a vault.
    #[error("the config vault {path} is not used: commit {commit} takes vault.json out of it")]
    HeaderGone {
        path: String,
        commit: String,
        /// The newest commit that is known to have it.
        back: String,
    },
    /// There is a file in its place.
    #[error("{path} is a file, and no config vault")]
    NoFolder { path: String },
    /// A clone without the older commits.
    #[error("the config vault {path} is a shallow clone: its older commits are not here")]
    Shallow { path: String },
    /// A newer program wrote it.
    #[error("{what} has format {found}; this dr reads up to format {known}")]
    Format {
        what: String,
        /// Its format.
        found: u32,
        /// What this program reads.
        known: u32,
    },
    /// libgit2 refused.
    #[error("{act}")]
    Git {
        /// What was attempted.
        act: String,
        #[source]
        source: git2::Error,
    },
    /// The operating system refused.
    #[error("{act}")]
    Io {
        /// What was attempted.
        act: String,
        #[source]
        source: io::Error,
    },
    /// Something outside of the vault that was named cannot be read.
    #[error("read {what}")]
    Unread {
        what: String,
        #[source]
        source: io::Error,
    },
    /// A folder that was named is of no repository.
    #[error("{path} is no git repository")]
    NoRepository {
        path: String,
        #[source]
        source: git2::Error,
    },
    /// Another process writes, for longer than one waits.
    #[error("{} holds the lock of the config vault, {path}", holder.as_ref().map_or("another process".to_owned(), |pid| format!("process {pid}")))]
    Locked {
        /// The lock file.
        path: String,
        /// The process, as it has left its number there.
        holder: Option<u32>,
    },
    /// A lock file of git's own is in the way. It stays when its process is killed.
    #[error("{act}: a git process holds, or has left, the lock {lock}")]
    GitLocked {
        /// What was attempted.
        act: String,
        lock: String,
    },
    /// The repository has no branch of that name.
    #[error("the config vault {path} has no branch {branch}")]
    NoBranch {
        path: String,
        branch: &'static str,
        /// What names a commit of the vault that the branch may be made of.
        from: String,
    },
    /// The signing key refused.
    #[error("sign the vault's commit: {0}")]
    Sign(String),
    /// Sealing or opening failed.
    #[error("{act}")]
    Seal {
        /// What was attempted.
        act: String,
        #[source]
        source: SealError,
    },
    /// No deployment fits.
    #[error("no deployment in the vault fits `{selector}`")]
    NotFound {
        /// What was asked for.
        selector: String,
    },
    /// Several deployments fit.
    #[error("`{selector}` fits {} deployments: {}", matches.len(), matches.join(", "))]
    Ambiguous {
        /// What was asked for.
        selector: String,
        /// Their names.
        matches: Vec<String>,
    },
    /// Values that Helm would not read.
    #[error("{reason}")]
    Layers {
        /// What is wrong; nothing of the values is quoted.
        reason: String,
    },
    /// Stored bytes are not what was written.
    #[error("{what} in the vault is damaged: {reason}")]
    Damaged { what: String, reason: String },
    /// A file that is never rewritten is there already.
    #[error("{path} is in the vault already, and nothing in it is ever rewritten")]
    Rewrite { path: String },
    /// What another host has recorded is not what a trusted one would write.
    #[error("what was fetched is refused: {first}{}", more(*count))]
    Incoming {
        /// How many flaws it has.
        count: usize,
        first: String,
        /// Whether it is a matter of who signed it.
        untrusted: bool,
        /// The file of those who are trusted, where a key that is not among them has signed.
        signers: Option<String>,
    },
    /// The vault itself is not what a trusted host would write.
    #[error("the config vault {path} is not used: {first}{}", more(*count))]
    Unbelieved {
        path: String,
        /// How many flaws it has.
        count: usize,
        first: String,
        /// Whether it is a matter of who signed it.
        untrusted: bool,
        /// The last commit that was verified.
        verified: Option<String>,
        /// The file of those who are trusted, where a key that is not among them has signed.
        signers: Option<String>,
    },
    /// The branch does not have what was verified here before.
    #[error("the config vault {path} {}: it does not have commit {commit}, which was verified here before", if *has_object { "was moved back" } else { "is another one than before" })]
    MovedBack {
        path: String,
        commit: String,
        /// Whether the commit is in the repository, though not in the branch.
        has_object: bool,
    },
    /// The list of recipients has keys of which this host knows nothing.
    #[error("{}, and neither the settings nor anybody on this host knows {}", let_in(new), if new.len() == 1 { "that key" } else { "these keys" })]
    NewRecipients {
        /// Who let it in, and the key.
        new: Vec<(String, String)>,
    },
    /// The same file was written on both sides, differently.
    #[error("both sides have written {}, each with other bytes", paths.join(", "))]
    Conflict {
        /// The files.
        paths: Vec<String>,
    },
    /// The remote holds another vault.
    #[error(
        "the config vault {path} and the one that was fetched began apart: they have no commit in common, and are never merged"
    )]
    Unrelated {
        path: String,
        /// Where it was fetched from, without passwords.
        remote: String,
        /// Whether the vault here has recorded something.
        has_deployments: bool,
    },
    /// There is no remote, or there are several.
    #[error("the config vault {path} has {}", if names.is_empty() { "no remote".to_owned() } else { format!("the remotes {}", names.join(", ")) })]
    NoRemote { path: String, names: Vec<String> },
    /// The user's git failed. Passwords of addresses are masked.
    #[error("{act}: {said}")]
    Remote {
        /// What was attempted.
        act: String,
        /// What git said.
        said: String,
        /// The same by hand.
        same: String,
    },
    /// The user has asked to stop.
    #[error("stopped")]
    Stopped,
    /// The file of accepted findings is not as it should be.
    #[error("{EXCEPTIONS} of the repository: {reason}")]
    Exceptions { reason: String },
    /// A repository has a hook already.
    #[error("there is a hook already: {path}")]
    HookThere {
        path: String,
        /// What was to be written into it.
        command: String,
    },
    /// A change of the recipients makes no sense.
    #[error("{key} {reason}")]
    Recipient { key: String, reason: &'static str },
}

/// Whether the disk is full: the library has no code for it, only the system's words.
fn is_full(error: &git2::Error) -> bool {
    let words = ["No space left on device", "Disk quota exceeded"];
    words.iter().any(|words| error.message().contains(words))
}

/// The lock file that is in the way, where one is: `failed to lock file '/v/.git/index.lock' for writing: `.
fn lock_of(error: &git2::Error) -> Option<String> {
    let name = error.message().split('\'').nth(1);
    let is_lock = |name: &&str| error.code() == git2::ErrorCode::Locked || name.ends_with(".lock");
    name.filter(is_lock).map(str::to_owned).filter(|name| std::path::Path::new(name).exists())
}

fn more(count: usize) -> String {
    if count > 1 { format!(" (and {} more)", count - 1) } else { String::new() }
}

fn let_in(new: &[(String, String)]) -> String {
    let each: Vec<String> = new.iter().map(|(by, key)| format!("{by} has let {key} open what is recorded")).collect();
    each.join(", ")
}

impl VaultError {
    pub(crate) fn git(act: impl Into<String>) -> impl FnOnce(git2::Error) -> Self {
        let act = act.into();
        move |source| match lock_of(&source) {
            _ if is_full(&source) => {
                Self::Io { act, source: io::Error::new(io::ErrorKind::StorageFull, source.message()) }
            }
            Some(lock) => Self::GitLocked { act, lock },
            None => Self::Git { act, source },
        }
    }

    pub(super) fn io(act: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let act = act.into();
        move |source| Self::Io { act, source }
    }

    pub(super) fn seal(act: impl Into<String>) -> impl FnOnce(SealError) -> Self {
        let act = act.into();
        move |source| Self::Seal { act, source }
    }
}
