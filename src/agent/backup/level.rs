//! How hard chunks are compressed.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::read;

/// What is never left by itself: below it the bundle gets larger and nothing gets faster, and above it each level takes
/// more memory and little room less.
const LEAST: i32 = 1;
const MOST: i32 = 6;
/// So many chunks are looked at together.
const LOOK: u32 = 8;

/// A level of zstd: one that was asked for, or as much as there is time for. The threads that compress are busy all the time
/// where they are the slowest of the way from the database to the bundle. Where something else is and the machine has
/// cores to spare, the time in which they wait is spent on compressing more: what the database itself needs is not taken.
pub struct ZstdLevel {
    threads: u32,
    auto: Option<Mutex<Look>>,
    fixed: i32,
}

struct Look {
    level: i32,
    since: Instant,
    chunks: u32,
    worked: Duration,
    machine: CoreTime,
}

/// What the machine's cores have done since it was started, in ticks.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct CoreTime {
    all: u64,
    idle: u64,
}

impl ZstdLevel {
    pub fn fixed(level: i32) -> Self {
        Self { threads: 1, auto: None, fixed: level }
    }

    /// As much as `threads` have time for.
    pub fn auto(threads: usize) -> Self {
        let look = Look::at(LEAST);
        Self { threads: u32::try_from(threads).unwrap_or(1), auto: Some(Mutex::new(look)), fixed: LEAST }
    }

    /// The level for the next chunk.
    pub fn now(&self) -> i32 {
        self.auto.as_ref().map_or(self.fixed, |look| look.lock().unwrap_or_else(PoisonError::into_inner).level)
    }

    /// A chunk is done, and took a thread so long.
    pub fn worked(&self, time: Duration) {
        let Some(look) = &self.auto else { return };
        let mut look = look.lock().unwrap_or_else(PoisonError::into_inner);
        (look.chunks, look.worked) = (look.chunks + 1, look.worked + time);
        if look.chunks == LOOK {
            let busy = look.worked.as_secs_f64() / (look.since.elapsed() * self.threads).as_secs_f64();
            let idle = CoreTime::now().idle_since(look.machine);
            *look = Look::at(next(look.level, busy, idle));
        }
    }
}

impl Look {
    fn at(level: i32) -> Self {
        Self { level, since: Instant::now(), chunks: 0, worked: Duration::ZERO, machine: CoreTime::now() }
    }
}

impl CoreTime {
    /// Where it cannot be known, no core has ever been idle.
    fn now() -> Self {
        read::file(Path::new("/proc/stat"), read::SMALL)
            .ok()
            .and_then(|bytes| Self::parse(&String::from_utf8_lossy(&bytes)))
            .unwrap_or_default()
    }

    /// `cpu  user nice system idle iowait irq softirq steal ...`
    fn parse(stat: &str) -> Option<Self> {
        let words = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
        // After the first eight come the times of guests, which are in those of users.
        let ticks: Vec<u64> = words.take(8).map(str::parse).collect::<Result<_, _>>().ok()?;
        Some(Self { all: ticks.iter().sum(), idle: ticks.get(3)? + ticks.get(4)? })
    }

    /// The share of the time since `before` in which they had nothing to do.
    fn idle_since(self, before: Self) -> f64 {
        let (all, idle) = (self.all.saturating_sub(before.all), self.idle.saturating_sub(before.idle));
        if all == 0 { 0.0 } else { idle as f64 / all as f64 }
    }
}

/// The level after one at which the threads were busy, and the machine idle, for those shares of the time. A level more
/// takes up to half as much again, so there is a gap between the bounds: what goes up does not come down at once.
fn next(level: i32, busy: f64, idle: f64) -> i32 {
    let step = if busy > 0.85 || idle < 0.1 { -1 } else { i32::from(busy < 0.5 && idle > 0.3) };
    (level + step).clamp(LEAST, MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_compresses_more_and_who_is_waited_for_less() {
        let cases = [
            (1, 0.1, 0.9, 2),
            (1, 0.6, 0.9, 1),
            (1, 1.0, 0.0, 1),
            (4, 0.9, 0.5, 3),
            (4, 0.7, 0.5, 4),
            (6, 0.1, 0.9, 6),
            // Others need the cores.
            (1, 0.1, 0.2, 1),
            (4, 0.1, 0.0, 3),
        ];
        for (level, busy, idle, expected) in cases {
            assert_eq!(next(level, busy, idle), expected, "level {level}, busy {busy}, idle {idle}");
        }
    }

    #[test]
    fn the_level_is_looked_at_every_few_chunks_and_a_fixed_one_stays() {
        let (auto, fixed) = (ZstdLevel::auto(2), ZstdLevel::fixed(3));
        if let Some(look) = &auto.auto {
            look.lock().unwrap().level = MOST;
        }
        for chunk in 0..LOOK {
            assert_eq!(auto.now(), MOST, "chunk {chunk}");
            auto.worked(Duration::from_secs(100));
            fixed.worked(Duration::from_secs(100));
        }
        assert_eq!((auto.now(), fixed.now()), (MOST - 1, 3));
    }

    #[test]
    fn idle_time_is_what_the_kernel_says() {
        let stat = |idle: u64| format!("cpu  10 0 20 {idle} 5 0 0 1 0 0\ncpu0 1 2 3\n");
        let (before, after) = (CoreTime::parse(&stat(100)).unwrap(), CoreTime::parse(&stat(160)).unwrap());
        assert_eq!(before, CoreTime { all: 136, idle: 105 });
        assert_eq!(after.idle_since(before), 1.0);
        assert_eq!(before.idle_since(before), 0.0);
        assert_eq!(CoreTime::parse("cpu  1 2"), None);
        assert!(CoreTime::now().all > 0);
    }
}
