//! How much write-ahead log the site makes, against the room for what is made while the base is copied.

use serde::{Deserialize, Serialize};

use crate::cluster::WalWritten;
use crate::ops::helper;
use crate::text::{bytes, elapsed};

/// Rates seen over less than this say nothing: the counters have just been reset.
const LEAST_SECONDS: u64 = 600;
/// A room that is full sooner than this is worth a word: copies of large databases take as long.
const SHORT_SECONDS: u64 = 1800;

/// What the primary's counters say of its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WalRate {
    pub bytes_an_hour: u64,
    /// What waits in the helper pod, and what the server keeps behind that (`wal_keep_size`), in bytes.
    pub room_bytes: u64,
}

impl WalRate {
    /// `None` where the counters are too young to tell.
    pub fn of(written: &WalWritten) -> Option<Self> {
        let bytes_an_hour = u128::from(written.bytes) * 3600 / u128::from(written.seconds.max(1));
        let room_bytes = helper::WAL_WAITS_BYTES + written.keep_bytes;
        (written.seconds >= LEAST_SECONDS)
            .then(|| Self { bytes_an_hour: u64::try_from(bytes_an_hour).unwrap_or(u64::MAX), room_bytes })
    }

    /// For the plan: `about 1.2 GiB of WAL an hour`.
    pub fn line(&self) -> String {
        format!("about {} of WAL an hour", bytes(self.bytes_an_hour))
    }

    /// What a copy must not take longer than, where that is not long.
    pub fn warning(&self) -> Option<String> {
        let full_after = u128::from(self.room_bytes) * 3600 / u128::from(self.bytes_an_hour.max(1));
        let seconds = u64::try_from(full_after).unwrap_or(u64::MAX);
        (seconds < SHORT_SECONDS).then(|| {
            format!(
                "{}: the room for it ({}) is full after {}, and a copy that cannot send it away as fast fails then",
                self.line(),
                bytes(self.room_bytes),
                elapsed(std::time::Duration::from_secs(seconds)),
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(bytes: u64, seconds: u64) -> WalWritten {
        WalWritten { bytes, seconds, keep_bytes: 2 << 30 }
    }

    #[test]
    fn a_quiet_site_is_told_its_rate_and_a_busy_one_when_the_room_is_full() {
        let quiet = WalRate::of(&written(24 << 30, 24 * 3600)).unwrap();
        assert_eq!(quiet.line(), "about 1.0 GiB of WAL an hour");
        assert_eq!(quiet.warning(), None);
        let busy = WalRate::of(&written(18 << 30, 3600)).unwrap().warning().unwrap();
        assert!(busy.contains("18.0 GiB") && busy.contains("(7.1 GiB) is full after 23 min"), "{busy}");
    }

    #[test]
    fn counters_that_were_just_reset_and_odd_ones_are_no_ground_for_a_rate() {
        assert_eq!(WalRate::of(&written(1 << 30, 599)), None);
        assert_eq!(WalRate::of(&written(0, 3600)).unwrap().warning(), None);
        assert_eq!(WalRate::of(&written(u64::MAX, 600)).unwrap().bytes_an_hour, u64::MAX);
    }
}
