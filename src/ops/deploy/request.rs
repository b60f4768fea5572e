//! What is asked for.

use std::time::Duration;

use zeroize::Zeroizing;

use crate::helm::ChartFile;
use crate::opschain::Version;
use crate::values::Tree;
use crate::values::overlay::Layer;

/// What the operator asks for.
pub struct DeployRequest {
    /// The values: one file, or layers in the order that they were given.
    pub layers: Vec<Layer>,
    /// The OpsChain version that is to run.
    pub version: Option<String>,
    /// The chart, if not the one of the settings.
    pub chart: Option<String>,
    /// How it is to be done.
    pub options: DeployOptions,
}

/// What a rollback asks for.
pub struct RollbackRequest {
    /// The deployment to go back to; the one that was live before, if not named.
    pub deployment: Option<String>,
    /// Where the chart is, for a deployment that was recorded without it.
    pub chart: Option<String>,
    /// How it is to be done.
    pub options: DeployOptions,
}

/// Values and chart that were had from elsewhere than a file or the vault, both checked there.
pub struct GivenRelease {
    /// What the values are called.
    pub name: String,
    /// As they are recorded.
    pub layers: Vec<Layer>,
    /// What helm reads: the layers, merged.
    pub values: Zeroizing<Vec<u8>>,
    /// The same, read.
    pub tree: Tree,
    pub chart: ChartFile,
    /// Where the chart comes from.
    pub reference: String,
    pub version: Version,
    /// For the record, before the operator's own words.
    pub reason: String,
}

/// How a deployment is to be done, whatever is deployed.
#[derive(Debug, Clone, Default)]
pub struct DeployOptions {
    pub message: Option<String>,
    /// How long it may take, if not as the settings say.
    pub timeout: Option<Duration>,
    /// Whether to wait until everything serves.
    pub wait: bool,
    /// Findings, versions and guarded keys that are let through.
    pub allow: Vec<String>,
    /// A deleted namespace whose leftovers in the cluster go to this release.
    pub take_over: Option<String>,
    /// Whether helm is to say all that it does.
    pub debug: bool,
}
