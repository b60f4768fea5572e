//! What a server was seen to keep, of what a store relies on.

use jiff::SignedDuration;
use serde::Serialize;

/// What came of asking a store's server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StoreConditions {
    /// How many wrote one name at the same moment, each only where nothing is.
    pub writers: usize,
    /// How many of them were told that they succeeded.
    pub winners: usize,
    /// Whether a write was refused that was to replace what is not there any more; absent where the server knows no such
    /// write.
    pub refuses_stale: Option<bool>,
    /// What could not be removed afterwards, and why.
    pub left: Option<String>,
    /// What keeps versions and locks, or why that cannot be seen.
    pub protection: Result<BucketProtection, String>,
}

/// What keeps bundles from whoever has the key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct BucketProtection {
    /// Whether the bucket keeps what is overwritten or removed.
    pub versions: bool,
    /// Object Lock, where it is on: mode and time of the default retention, or nothing without one.
    pub lock: Option<Option<String>>,
    /// The days of the default retention.
    pub retention_days: Option<u32>,
}

impl BucketProtection {
    /// How long after it was written nobody may remove a file; zero without a default retention.
    pub(super) fn usual_retention(&self) -> SignedDuration {
        SignedDuration::from_hours(24 * i64::from(self.retention_days.unwrap_or_default()))
    }
}

impl StoreConditions {
    /// Whether several writers at once can trust the store.
    pub fn hold(&self) -> bool {
        self.winners <= 1 && self.refuses_stale != Some(false)
    }
}
