//! What can be wrong with a vault, each with a name that scripts may go by.

use jiff::Timestamp;
use serde::Serialize;

use crate::vault::error::VaultError;

/// A kind of flaw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Flaw {
    /// A commit without a signature.
    Unsigned,
    /// A commit signed by a key that is not trusted, or not for this, or not at that time.
    UntrustedSigner,
    /// A signature that does not fit its commit.
    BadSignature,
    /// A file that was there is gone.
    Deleted,
    /// A file that was there has other bytes.
    Rewritten,
    /// A merge that writes something of its own.
    MergeWrites,
    /// A second beginning: a history that has nothing to do with this vault.
    SecondRoot,
    /// A file where none belongs, a link, or a program.
    StrangeFile,
    /// The branch does not have the newest commit that this host has seen.
    RolledBack,
    /// The branch is not the one that a vault has.
    WrongBranch,
    /// A clone without the older commits.
    Shallow,
    /// An object that the history names is not in the repository.
    MissingObject,
    /// An object is not what its name says.
    DamagedObject,
    /// An object's file cannot be read, for want of rights or by a fault of the disk.
    UnreadObject,
    /// A clear file that cannot be read, or is of a newer format.
    Unreadable,
    /// A deployment without its record.
    MissingRecord,
    /// A record that belongs to another folder.
    Misplaced,
    /// A record names one before it that was never recorded.
    BrokenChain,
    /// A record names one that was recorded only later.
    Reordered,
    /// A record names one before it whose record has other bytes.
    AlteredRecord,
    /// A record leaves out one that had been recorded before it.
    SkippedRecord,
    /// An outcome that belongs to another deployment.
    ForeignOutcome,
    /// A sealed file that its record names is missing.
    MissingSealed,
    /// A sealed file is not the one that was recorded.
    SwappedSealed,
    /// A sealed file that is no whole age file.
    NotSealed,
    /// Sealed to other recipients than the list had.
    WrongRecipients,
    /// No identity at hand opens it.
    NotOpened,
    /// It opens, and is not what was recorded.
    WrongPlaintext,
}

/// What a flaw says of the vault, gravest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FlawSeverity {
    /// Somebody who is not trusted wrote it.
    Untrusted,
    /// It is not what was written.
    Damaged,
    /// It cannot be told: the system does not let it be read.
    Unread,
    /// It cannot be told with these keys.
    Closed,
}

impl Flaw {
    /// Whether there is a key that whoever trusts it would be helped by.
    pub fn names_a_key(self) -> bool {
        self == Self::UntrustedSigner
    }

    /// What it says of the vault.
    pub fn severity(self) -> FlawSeverity {
        match self {
            Self::Unsigned | Self::UntrustedSigner | Self::BadSignature => FlawSeverity::Untrusted,
            Self::UnreadObject => FlawSeverity::Unread,
            Self::NotOpened => FlawSeverity::Closed,
            _ => FlawSeverity::Damaged,
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VaultFinding {
    pub flaw: Flaw,
    /// The file, commit or branch.
    pub what: String,
    /// The commit that it came with, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// When that commit was made, as it says itself, where it is a matter of who signed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// What is wrong with it, in a sentence without its subject.
    pub says: String,
}

impl VaultFinding {
    /// Whether it says only that a file or folder of a single deployment or rekeying cannot be had. Which bytes belong
    /// there is signed all the same, and whoever reads them is told.
    pub(in crate::vault) fn is_a_lost_part(&self) -> bool {
        let is_part = |what: &str| {
            let path = what.strip_prefix("file ").or_else(|| what.strip_prefix("folder ")).unwrap_or_default();
            let below = path.trim_end_matches('/').split('/').count();
            (path.starts_with("rekeyed/") && below > 1) || (path.starts_with("deployments/") && below > 2)
        };
        matches!(self.flaw, Flaw::MissingObject | Flaw::DamagedObject | Flaw::UnreadObject) && is_part(&self.what)
    }

    /// The error of what cannot be read, where that is the flaw: its bytes may be the right ones.
    pub(in crate::vault) fn unread(&self) -> Option<VaultError> {
        let source = || std::io::Error::other(self.says.clone());
        (self.flaw == Flaw::UnreadObject)
            .then(|| VaultError::Io { act: format!("read {} in the vault", self.what), source: source() })
    }

    pub(in crate::vault) fn new(flaw: Flaw, what: impl Into<String>, says: impl Into<String>) -> Self {
        Self { flaw, what: what.into(), commit: None, at: None, says: says.into() }
    }

    pub(in crate::vault) fn at(mut self, commit: git2::Oid) -> Self {
        self.commit = Some(commit.to_string());
        self
    }
}
