//! A volume beside the database's on its way back.

use serde::{Deserialize, Serialize};

use crate::filetree::TreeTotals;
use crate::text::{self, plural};

/// A volume that is put back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoredVolume {
    pub volume: String,
    pub claim: String,
    /// What the bundle has of it.
    pub totals: TreeTotals,
}

impl RestoredVolume {
    /// What people read of it.
    pub fn line(&self) -> String {
        format!("{}: {}, {}", self.volume, plural(self.totals.files, "file"), text::bytes(self.totals.bytes))
    }
}

/// What was seen of a volume that was filled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct VolumeOutcome {
    pub volume: String,
    pub files: u64,
    pub bytes: u64,
    /// How many have another owner or mode than in the bundle, because the volume does not let them be set.
    pub other_owners: u64,
}
