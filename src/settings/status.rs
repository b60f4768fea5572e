//! What `dr status` takes for old.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::retention::DaySpan;

/// Within which time things should have been done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StatusSettings {
    /// A bundle made: what is older must be fixed first.
    pub made_within: DaySpan,
    /// A bundle verified.
    pub verified_within: DaySpan,
    /// A bundle restored somewhere.
    pub restored_within: DaySpan,
}

impl Default for StatusSettings {
    fn default() -> Self {
        let hours = |hours: u64| DaySpan(Duration::from_secs(hours * 3600));
        Self { made_within: hours(26), verified_within: hours(8 * 24), restored_within: hours(90 * 24) }
    }
}
