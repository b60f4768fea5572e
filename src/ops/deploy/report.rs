//! What would be done, and what came of it: for people and programs.

use serde::{Deserialize, Serialize};

use super::order::VersionChange;
use super::stuck::Stuck;
use super::values::LayerFinding;
use crate::helm::ChartFacts;
use crate::ops::guard::Guarded;
use crate::ops::neighbours::StandingNeighbour;
use crate::values::diff::Diff;
use crate::vault::{DeploymentId, How};

/// Where live values were had from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LiveSource {
    /// The config vault: the bytes that were deployed.
    Vault,
    /// What helm has stored: comments and layout are gone, and large numbers rounded.
    Helm,
}

/// What would be done, for people and programs.
#[derive(Debug, Serialize)]
pub struct DeployPlan {
    pub namespace: String,
    pub release: String,
    /// What makes it: a deployment or a rollback.
    pub how: How,
    pub chart: ChartFacts,
    /// Where it comes from.
    pub chart_reference: String,
    /// The registry's digest of it.
    pub chart_digest: Option<String>,
    /// The OpsChain version.
    pub version: Option<String>,
    /// The version that is live, and what lies between.
    pub upgrade: VersionChange,
    /// What the values are called: the file, or the layers in their order.
    pub values: String,
    /// SHA-256 of what helm reads.
    pub values_sha256: String,
    /// What was found in the values.
    pub findings: Vec<LayerFinding>,
    /// The deployment that is live, as far as the vault knows: one that went live, never one that failed.
    pub live: Option<DeploymentId>,
    /// The OpsChain version of that one.
    pub live_version: Option<String>,
    /// What helm runs in its place: a deployment that did not go live.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tried: Option<TriedDeployment>,
    /// Whether nothing but deployments that did not go live is all that helm knows.
    #[serde(skip)]
    pub is_first: bool,
    /// What changes against what is live; nothing when nothing is.
    pub diff: Option<Diff>,
    /// Where the live values were had from: `vault`, or `helm` where no identity opens the vault's.
    pub compared_with: Option<LiveSource>,
    /// Whether the values are the live ones, byte for byte; known without an identity.
    pub same_values: Option<bool>,
    /// The keys that stored data depends on, and that change: each must be let through by name.
    pub guarded: Vec<Guarded>,
    /// What a deleted OpsChain has left in the cluster, and this release takes over.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub taken_over: Vec<StandingNeighbour>,
    /// Whether a bundle is made of what is live first.
    pub bundle_before: bool,
    /// Of a rollback: the bundle that was made of what is gone back to when it was replaced, its data with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_bundle: Option<String>,
    /// helm's newest revision.
    pub revision: Option<u32>,
    /// That revision, where it is in the middle of something.
    pub stuck: Option<Stuck>,
}

/// A deployment that helm runs and that did not go live.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct TriedDeployment {
    pub id: DeploymentId,
    /// `failed`, `interrupted` or `unknown`.
    pub state: String,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub struct DeployReport {
    /// The deployment's name in the vault.
    pub deployment: DeploymentId,
    pub namespace: String,
    pub release: String,
    pub revision: u32,
    /// `name-version` of the chart.
    pub chart: String,
    /// How long it took.
    pub seconds: f64,
    /// Whether everything was waited for and serves.
    pub waited: bool,
    /// The bundle of what was live before, where one was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bundle_before: Option<String>,
}
