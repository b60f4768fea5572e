//! What came of a restore.

use serde::Serialize;

use super::afterwards::AfterRestore;
use crate::bundle::OutOfScope;
use crate::ops::deploy::UpgradeReport;
use crate::ops::evidence::KeptEvidence;
use crate::ops::forecast::ForecastOutcome;
use crate::postgres::Lsn;

/// A restored install.
#[derive(Debug, Serialize)]
pub struct RestoreReport {
    pub bundle: String,
    /// What a command takes to name the bundle again.
    pub arguments: String,
    /// To where: `namespace/release`.
    pub install: String,
    /// Whether the API answered, and said nothing of another version.
    pub serves: bool,
    /// What was seen of it, in words.
    pub seen: String,
    /// The OpsChain version of its values.
    pub version: String,
    /// The database's identity, as the running database gave it.
    pub system_identifier: String,
    /// Where the running database was when it was asked.
    pub lsn: Lsn,
    /// Files that were compared with PostgreSQL's manifest.
    pub files: u64,
    /// The deployment's id in the config vault, if there is one.
    pub deployment: Option<String>,
    /// How long it took, over all its processes.
    pub milliseconds: u64,
    /// What did not come back, and what to do about it.
    pub scope: Vec<OutOfScope>,
    /// What is left for people to do.
    pub afterwards: AfterRestore,
    /// Why nothing scheduled runs yet, where it is held.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<String>,
    /// The bundle of what was there before, and the command that brings that back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub safety_bundle: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub way_back: Option<String>,
    /// The upgrade that followed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upgraded: Option<UpgradeReport>,
    /// All that was proved, each with what it was held against.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<KeptEvidence>,
    /// How wrong the forecast was, where anything was known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forecast: Option<ForecastOutcome>,
    /// What leads to the next bundle, in order.
    pub next: Vec<String>,
}
