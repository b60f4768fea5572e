//! How fast bytes may go up.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Bytes a second, over all uploads of a store.
#[derive(Debug)]
pub(super) struct Rate {
    bytes_a_second: u64,
    /// When the next part may begin.
    next: Mutex<Instant>,
}

impl Rate {
    pub fn new(bytes_a_second: u64) -> Self {
        Self { bytes_a_second: bytes_a_second.max(1), next: Mutex::new(Instant::now()) }
    }

    /// Takes the time that `bytes` need, and waits until it begins.
    pub async fn admit(&self, bytes: u64) {
        tokio::time::sleep(self.claim(bytes, Instant::now())).await;
    }

    fn claim(&self, bytes: u64, now: Instant) -> Duration {
        let mut next = self.next.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let begins = (*next).max(now);
        let millis = bytes.saturating_mul(1000) / self.bytes_a_second;
        *next = begins + Duration::from_millis(millis);
        begins - now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_begin_no_sooner_than_the_rate_lets_the_ones_before_end() {
        let now = Instant::now();
        let rate = Rate { bytes_a_second: 1000, next: Mutex::new(now) };
        assert_eq!(rate.claim(2000, now), Duration::ZERO);
        assert_eq!(rate.claim(500, now), Duration::from_secs(2));
        assert_eq!(rate.claim(500, now + Duration::from_secs(1)), Duration::from_millis(1500));
        assert_eq!(rate.claim(500, now + Duration::from_secs(60)), Duration::ZERO, "idle time is not saved up");
    }
}
