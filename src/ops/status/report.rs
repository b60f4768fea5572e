//! What `dr status` says.

use jiff::Timestamp;
use serde::Serialize;

use crate::ops::doctor::{Finding, Level};
use crate::ops::schedule::ScheduleLine;

/// One install, judged.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StatusReport {
    /// When it was judged.
    pub at: Timestamp,
    /// `namespace/release`.
    pub install: String,
    pub store: StoreStatus,
    pub bundles: BundleStatus,
    /// Seconds since the newest bundle was made: what would be lost now.
    pub rpo_seconds: Option<i64>,
    /// How long a restore of the newest bundle would take, by the restores that this host has run.
    pub rto_predicted_seconds: Option<u64>,
    /// How many deployments of the vault no bundle has; nothing where there is no vault, or the store cannot be read.
    pub deployments_since: Option<usize>,
    pub open_runs: Vec<OpenRunStatus>,
    /// What of this host makes bundles of it by itself.
    pub schedules: Vec<ScheduleLine>,
    /// The public keys that open the newest bundle and are still among the recipients of the settings.
    pub recipients: Vec<String>,
    pub findings: Vec<Finding>,
    /// The command that is next, where something must be fixed first.
    pub next: Option<String>,
    /// Whether nothing must be fixed first.
    pub safe: bool,
}

/// The store.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StoreStatus {
    pub place: String,
    /// Why it cannot be read.
    pub error: Option<String>,
    pub free_bytes: Option<u64>,
}

/// The bundles of an install.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct BundleStatus {
    /// How many there are, those that are marked as gone left out.
    pub count: usize,
    /// Bytes of all of them.
    pub bytes: u64,
    /// The newest.
    pub made: Option<BundleMoment>,
    /// The newest verification of any depth, of those that somebody trusted has signed.
    pub verified: Option<BundleMoment>,
    /// The newest that ended with a running database that proved its identity.
    pub restored: Option<BundleMoment>,
    /// How many bundles have a proof that nobody trusted has signed, and no other.
    pub unsigned_proofs: usize,
}

/// A bundle, and when something was done with it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BundleMoment {
    pub bundle: String,
    pub at: Timestamp,
    pub bytes: u64,
    /// Who has signed that it was so, of a proof.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// A run that stands open.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OpenRunStatus {
    pub run: String,
    pub verb: String,
}

/// All installs of a store, one line each.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AllStatus {
    pub at: Timestamp,
    pub store: String,
    /// The one that is worst off first.
    pub installs: Vec<InstallStatus>,
    /// How many bundles cannot be opened, of whatever install.
    pub unreadable: usize,
    /// How many nobody trusted here has signed: they are of no install.
    pub strangers: usize,
    /// Whether nothing must be fixed first.
    pub safe: bool,
}

/// One install of many.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InstallStatus {
    pub install: String,
    pub level: Level,
    pub bundles: BundleStatus,
}
