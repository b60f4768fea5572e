//! What verifying the vault has found.

use std::collections::{BTreeMap, HashSet};

use git2::Oid;
use serde::Serialize;

use super::flaws::{Flaw, FlawSeverity, VaultFinding};

/// Records that name the same one before them: two hosts had recorded at once, and were merged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fork {
    /// The one that they name; none when each is its install's first.
    pub after: Option<String>,
    pub records: Vec<String>,
}

/// What one key opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OpenedBy {
    pub key: String,
    /// How many of the files it opened.
    pub files: usize,
}

/// What the keys at hand opened.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Opened {
    /// How many sealed files there are; a file sealed again counts once.
    pub files: usize,
    /// How many of them opened and were what was recorded.
    pub proved: usize,
    /// How many different sealed contents that took.
    pub contents: usize,
    pub by: Vec<OpenedBy>,
}

/// What was found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Verification {
    /// The newest commit.
    pub newest: Option<String>,
    /// How many commits were checked.
    pub commits: usize,
    pub signed_by: BTreeMap<String, usize>,
    pub deployments: usize,
    pub installs: usize,
    pub outcomes: usize,
    pub files: usize,
    pub bytes: u64,
    /// How many files were sealed again.
    pub rekeyed: usize,
    /// Where two hosts had recorded at once.
    pub forks: Vec<Fork>,
    /// What opened, where keys were at hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opened: Option<Opened>,
    pub findings: Vec<VaultFinding>,
    /// What is worth knowing and not wrong.
    pub notes: Vec<String>,
    /// Whether the whole history was looked at, or only what is new in it.
    #[serde(skip)]
    pub(super) whole: bool,
    /// Whether a part of the history cannot be read: a clone without it, or a commit that is missing or damaged.
    #[serde(skip)]
    pub(super) has_gap: bool,
    /// Files whose objects cannot be had: each has its finding.
    #[serde(skip)]
    pub(super) lost: HashSet<String>,
    /// The tree that what is new was laid over.
    #[serde(skip)]
    pub(super) base: Option<Oid>,
}

impl Verification {
    /// Whether the object of a deployment's record, or its folder's, cannot be had: that has its finding.
    pub(super) fn has_lost_record(&self, install: &str, id: &str) -> bool {
        let folder = format!("folder deployments/{install}/{id}/");
        self.lost.contains(&format!("deployments/{install}/{id}/record.json"))
            || self.findings.iter().any(|finding| finding.what == folder)
    }

    /// Whether there is a history that began by itself.
    pub(in crate::vault) fn has_second_root(&self) -> bool {
        self.findings.iter().any(|finding| finding.flaw == Flaw::SecondRoot)
    }

    /// What the findings say of the vault; nothing when there are none.
    pub fn severity(&self) -> Option<FlawSeverity> {
        self.findings.iter().map(|finding| finding.flaw.severity()).min()
    }
}
