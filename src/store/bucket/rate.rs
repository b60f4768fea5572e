//! How fast bytes may go up.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use tokio::time::Sleep;

/// How many bytes go at once, whatever the rate.
const LEAST_PIECE: u64 = 4 << 10;
const LARGEST_PIECE: u64 = 64 << 10;

/// Bytes a second, over all uploads of a store.
#[derive(Debug)]
pub(super) struct Rate {
    bytes_a_second: u64,
    /// When the next piece may go.
    next: Mutex<Instant>,
}

impl Rate {
    pub fn new(bytes_a_second: u64) -> Self {
        Self { bytes_a_second: bytes_a_second.max(1), next: Mutex::new(Instant::now()) }
    }

    /// The most bytes that go at once: an eighth of a second's.
    pub fn piece(&self) -> usize {
        (self.bytes_a_second / 8).clamp(LEAST_PIECE, LARGEST_PIECE) as usize
    }

    /// Takes the time that `bytes` need; they may go when the wait is over.
    pub fn turn(&self, bytes: u64) -> Sleep {
        tokio::time::sleep(self.claim(bytes, Instant::now()))
    }

    fn claim(&self, bytes: u64, now: Instant) -> Duration {
        let mut next = self.next.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let begins = (*next).max(now);
        let micros = bytes.saturating_mul(1_000_000) / self.bytes_a_second;
        *next = begins + Duration::from_micros(micros);
        begins - now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_begin_no_sooner_than_the_rate_lets_the_ones_before_end() {
        let now = Instant::now();
        let rate = Rate { bytes_a_second: 1000, next: Mutex::new(now) };
        assert_eq!(rate.claim(2000, now), Duration::ZERO);
        assert_eq!(rate.claim(500, now), Duration::from_secs(2));
        assert_eq!(rate.claim(500, now + Duration::from_secs(1)), Duration::from_millis(1500));
        assert_eq!(rate.claim(500, now + Duration::from_secs(60)), Duration::ZERO, "idle time is not saved up");
    }

    #[test]
    fn a_piece_is_small_whatever_the_rate() {
        let piece = |rate| Rate::new(rate).piece() as u64;
        assert_eq!([1, 1 << 18, 1 << 30].map(piece), [LEAST_PIECE, 1 << 15, LARGEST_PIECE]);
    }
}
