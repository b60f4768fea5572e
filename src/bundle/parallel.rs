//! Work on several threads whose results are taken in order, with only a few in memory.

use std::sync::mpsc::{Receiver, sync_channel};

/// The most threads that a verification uses: beyond that, disks and memory are the limit.
const THREAD_LIMIT: usize = 8;

/// How many threads to use.
pub(super) fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(THREAD_LIMIT)
}

/// The results of all pieces, in order. It ends early only when a worker has panicked.
pub(super) struct Results<T> {
    lanes: Vec<Receiver<T>>,
    next: usize,
    count: usize,
}

impl<T> Iterator for Results<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        if self.next == self.count {
            return None;
        }
        let result = self.lanes[self.next % self.lanes.len()].recv().ok();
        self.next += 1;
        result
    }
}

/// Computes `work(0..count)` on up to `threads` threads and lets `take` have the results in order. Each thread is at
/// most two results ahead. When `take` returns early, the threads stop after the piece that they are at.
pub(super) fn in_order<T: Send, R>(
    count: usize,
    threads: usize,
    work: impl Fn(usize) -> T + Sync,
    take: impl FnOnce(Results<T>) -> R,
) -> R {
    let threads = threads.clamp(1, count.max(1));
    std::thread::scope(|scope| {
        let mut lanes = Vec::with_capacity(threads);
        for first in 0..threads {
            let (sender, receiver) = sync_channel(1);
            lanes.push(receiver);
            let work = &work;
            scope.spawn(move || {
                // A refused send means that nobody wants the rest.
                (first..count).step_by(threads).try_for_each(|piece| sender.send(work(piece)))
            });
        }
        take(Results { lanes, next: 0, count })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn results_come_in_order_whatever_the_threads() {
        for threads in [1, 2, 3, 8] {
            for count in [0, 1, 2, 17] {
                let squares: Vec<usize> = in_order(count, threads, |n| n * n, Iterator::collect);
                assert_eq!(squares, (0..count).map(|n| n * n).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn an_early_end_stops_the_threads_soon() {
        let done = AtomicUsize::new(0);
        let work = |n: usize| {
            done.fetch_add(1, Ordering::Relaxed);
            n
        };
        assert_eq!(in_order(100_000, 4, work, |mut results| results.nth(2)), Some(2));
        assert!(done.load(Ordering::Relaxed) < 100);
    }
}
