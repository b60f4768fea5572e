//! What is said of the columns.

use serde::{Deserialize, Serialize};

use super::cause::Cause;
use crate::error::{Exit, OpenRun};
use crate::ops::objects::Field;
use crate::values::Path;

/// Between which two columns something differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Between {
    /// The vault and helm's stored release.
    VaultHelm,
    /// helm's stored release and the cluster.
    HelmCluster,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DriftFinding {
    /// Between which columns.
    pub between: Between,
    /// What: `release`, `values`, or an object such as `Deployment opschain-api`.
    pub object: String,
    pub cause: Cause,
    /// The cause in words.
    pub text: String,
    /// What differs, the left column as the old one; none where the whole is meant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<Field>,
}

impl DriftFinding {
    pub(super) fn new(between: Between, object: String, cause: Cause, fields: Vec<Field>) -> Self {
        Self { between, object, text: cause.text(), cause, fields }
    }
}

/// The vault's column.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VaultSide {
    /// The deployment that it holds to be live.
    pub deployment: String,
    /// When it was recorded.
    pub at: jiff::Timestamp,
    /// The OpsChain version.
    pub version: Option<String>,
    /// helm's revision, where it was recorded.
    pub revision: Option<u32>,
}

/// helm's column.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HelmSide {
    /// The revision that is deployed.
    pub revision: u32,
    /// Since when.
    pub at: String,
    /// `name-version` of its chart.
    pub chart: String,
}

/// How far a column was compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Extent {
    Whole {
        /// How many values or objects were looked at.
        count: usize,
    },
    Not {
        because: String,
    },
}

/// What was found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DriftReport {
    pub namespace: String,
    pub release: String,
    /// The vault's column; none when it has no deployment that went live.
    pub vault: Option<VaultSide>,
    /// helm's column; none when nothing is deployed.
    pub helm: Option<HelmSide>,
    /// How far the values were compared.
    pub values: Extent,
    /// How far the objects were compared.
    pub objects: Extent,
    /// What differs.
    pub drift: Vec<DriftFinding>,
    /// What differs and is meant to.
    pub ignored: Vec<Ignored>,
    /// What is worth saying beside.
    pub notes: Vec<String>,
    /// The run that has the install half done: nothing of it is to be recorded or put right before that is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub half_done: Option<OpenRun>,
}

impl DriftReport {
    /// 0 when nothing differs that is not meant to and no run has the install half done, else [`crate::error::Exit::Drift`].
    pub fn exit(&self) -> Exit {
        if self.drift.is_empty() && self.half_done.is_none() { Exit::Success } else { Exit::Drift }
    }
}

/// A difference that is meant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ignored {
    pub object: String,
    pub path: Path,
    /// Why it is meant.
    pub reason: String,
}
