//! What a bundle is asked to be.

use crate::bundle::BundleId;
use crate::settings::{Allow, Quiesce};

/// What the user asked for.
#[derive(Debug, Clone, Default)]
pub struct CreateRequest {
    /// How the application is quiesced, if not as the settings say.
    pub quiesce: Option<Quiesce>,
    /// What may be there all the same, beside what the settings allow.
    pub allow: Vec<Allow>,
    /// The most that PostgreSQL may read a second, if not as the settings say.
    pub max_rate: Option<String>,
    /// The volumes to take along beside the database's, if not as the settings say.
    pub with: Option<Vec<String>>,
    /// The bundle's name, where whoever wants it has written one down before.
    pub named: Option<BundleId>,
    /// The restore that replaces what is bundled.
    pub replaced_by: Option<String>,
}
