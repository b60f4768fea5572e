//! What would be recorded.

use jiff::Timestamp;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::error::Exit;
use crate::helm::ChartFile;
use crate::values::lint::LintFinding;
use crate::vault::{DeploymentStatus, Intent};

/// What would become of one values file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
pub enum RecordAction {
    /// It is written down.
    Record,
    /// It is in the vault already.
    Present {
        /// The deployment's name, or that of the file beside it that holds the same.
        by: String,
    },
    /// It cannot be recorded.
    Refused {
        reason: String,
        /// The exit code, where it is the only one.
        #[serde(skip)]
        exit: Exit,
    },
}

/// One values file that was found.
#[derive(Debug, Clone, Serialize)]
pub struct RecordItem {
    /// The file, or helm's revision.
    pub from: String,
    /// When it was deployed.
    pub at: Option<Timestamp>,
    /// The OpsChain version.
    pub version: Option<String>,
    pub revision: Option<u32>,
    /// SHA-256 of its bytes.
    pub sha256: String,
    /// Why its cluster would not be in the record, where it would not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_cluster: Option<&'static str>,
    /// What was found in it.
    pub findings: Vec<LintFinding>,
    /// What would become of it.
    #[serde(flatten)]
    pub action: RecordAction,
}

/// What would be written down, oldest first.
#[derive(Debug, Serialize)]
pub struct RecordPlan {
    pub namespace: String,
    pub release: String,
    /// Each that was found.
    pub items: Vec<RecordItem>,
}

impl RecordPlan {
    /// How many would be written.
    pub fn to_write(&self) -> usize {
        self.items.iter().filter(|item| item.action == RecordAction::Record).count()
    }

    /// How many cannot be recorded.
    pub fn refused(&self) -> usize {
        self.items.iter().filter(|item| matches!(item.action, RecordAction::Refused { .. })).count()
    }
}

/// A plan with all that is needed to carry it out.
pub struct PreparedRecords {
    /// What to show.
    pub plan: RecordPlan,
    pub(super) drafts: Vec<RecordDraft>,
    pub(super) archive: Option<ChartFile>,
}

/// What becomes of an item: the same place in [`RecordPlan::items`].
pub(super) struct RecordDraft {
    pub(super) bytes: Zeroizing<Vec<u8>>,
    pub(super) intent: Option<Intent>,
    pub(super) status: DeploymentStatus,
}
