//! Work on several threads whose results are taken in order, with only a few in memory.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle};

/// The most threads that checking uses: beyond that, disks and memory are the limit.
const THREAD_LIMIT: usize = 8;

/// How many threads work that only computes should use.
pub fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(THREAD_LIMIT)
}

/// The results of all jobs, in the order of the jobs. Ends early only when a worker has panicked.
pub struct Results<T>(Receiver<Receiver<T>>);

impl<T> Iterator for Results<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.0.recv().ok()?.recv().ok()
    }
}

/// The jobs that are left, and where the place of each one's result is announced, in order.
struct Queue<I, T> {
    jobs: I,
    places: Option<SyncSender<Receiver<T>>>,
}

impl<J, I: Iterator<Item = J>, T> Queue<I, T> {
    /// The next job with the place for its result; `None` when there is none, or nobody wants its result.
    fn next(&mut self) -> Option<(J, SyncSender<T>)> {
        let (sender, receiver) = sync_channel(1);
        let next = self.places.as_ref().and_then(|places| {
            let job = self.jobs.next()?;
            places.send(receiver).ok().map(|()| (job, sender))
        });
        if next.is_none() {
            self.places = None;
        }
        next
    }
}

/// Does `work` on every job, on `threads` threads, and lets `take` have the results in order. Beside the one that `take`
/// is at or waits for, at most `threads` jobs are finished or being worked on, and one more has been taken from `jobs`.
/// When `take` returns early, the threads stop after the job that they are at; one that waits for `jobs` stops when the
/// next job comes, or there are no more.
pub fn in_order<J, T: Send, R>(
    jobs: impl Iterator<Item = J> + Send,
    threads: usize,
    work: impl Fn(J) -> T + Sync,
    take: impl FnOnce(Results<T>) -> R,
) -> R {
    let threads = threads.max(1);
    let (places, results) = sync_channel(threads);
    let queue = Mutex::new(Queue { jobs, places: Some(places) });
    let span = tracing::Span::current();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let _inside = span.enter();
                while let Some((job, result)) = lock(&queue).next() {
                    // Refused when `take` has returned; the queue then refuses the next job.
                    drop(result.send(work(job)));
                }
            });
        }
        take(Results(results))
    })
}

/// Does `work` on the items, cut into a part for each thread, and puts the results together in order.
///
/// # Errors
/// The first that a part fails with.
pub fn in_parts<T: Sync, R: Send, E: Send>(
    items: &[T],
    threads: usize,
    work: impl Fn(&[T]) -> Result<Vec<R>, E> + Sync,
) -> Result<Vec<R>, E> {
    if threads < 2 || items.len() < 2 {
        return work(items);
    }
    let parts = items.chunks(items.len().div_ceil(threads));
    let done: Result<Vec<Vec<R>>, E> = in_order(parts, threads, work, Iterator::collect);
    Ok(done?.into_iter().flatten().collect())
}

/// The results of [`spawn_in_order`].
pub struct Ordered<T> {
    results: mpsc::Receiver<T>,
    work: JoinHandle<()>,
}

impl<T> Ordered<T> {
    /// The next result; `None` after the last. May be dropped while it waits without losing one.
    ///
    /// # Errors
    /// When a worker has panicked: results are missing then.
    pub async fn next(&mut self) -> Result<Option<T>, JoinError> {
        match self.results.recv().await {
            Some(result) => Ok(Some(result)),
            None => (&mut self.work).await.map(|()| None),
        }
    }
}

/// [`in_order`] for a taker that may not block. Dropping the results stops the work likewise.
pub fn spawn_in_order<J, T: Send + 'static>(
    jobs: impl Iterator<Item = J> + Send + 'static,
    threads: usize,
    work: impl Fn(J) -> T + Send + Sync + 'static,
) -> Ordered<T> {
    let (sender, receiver) = mpsc::channel(1);
    let work = tokio::task::spawn_blocking(move || {
        in_order(jobs, threads, work, |mut results| {
            // Refused when nobody takes the results any more.
            while results.next().is_some_and(|result| sender.blocking_send(result).is_ok()) {}
        });
    });
    Ordered { results: receiver, work }
}

/// Things that are used again: as many as are wanted at a time, or no more than a few.
pub struct Pool<T> {
    stock: Mutex<Stock<T>>,
    returned: Condvar,
}

struct Stock<T> {
    idle: Vec<T>,
    /// How many more may be made.
    unmade: usize,
}

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self::of(usize::MAX)
    }
}

impl<T> Pool<T> {
    /// One of `most` things.
    pub fn of(most: usize) -> Self {
        Self { stock: Mutex::new(Stock { idle: Vec::new(), unmade: most.max(1) }), returned: Condvar::new() }
    }

    /// Keeps one for the next time.
    pub fn put(&self, thing: T) {
        lock(&self.stock).idle.push(thing);
        self.returned.notify_one();
    }
}

impl<T: Default> Pool<T> {
    /// One that was used before, as it was left, or a new one. Waits while all are in use.
    pub fn take(&self) -> T {
        let mut stock = lock(&self.stock);
        loop {
            if let Some(thing) = stock.idle.pop() {
                return thing;
            }
            if stock.unmade > 0 {
                stock.unmade -= 1;
                return T::default();
            }
            stock = self.returned.wait(stock).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The same, as a loan that comes back by itself.
    pub fn borrow(self: &Arc<Self>) -> Lent<T> {
        Lent { thing: self.take(), home: Arc::clone(self) }
    }
}

/// Lends out what can be read as bytes: when nobody has them any more, it is back in its pool.
pub fn lend<T: AsRef<[u8]> + Default + Send + 'static>(thing: T, home: &Arc<Pool<T>>) -> Bytes {
    Lent { thing, home: Arc::clone(home) }.into_bytes()
}

/// What is back in its pool when it is dropped.
pub struct Lent<T: Default> {
    thing: T,
    home: Arc<Pool<T>>,
}

impl<T: AsRef<[u8]> + Default + Send + 'static> Lent<T> {
    /// To be read only, by as many as want to: it is back when none of them has it any more.
    pub fn into_bytes(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl<T: Default> std::ops::Deref for Lent<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.thing
    }
}

impl<T: Default> std::ops::DerefMut for Lent<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.thing
    }
}

impl<T: AsRef<[u8]> + Default> AsRef<[u8]> for Lent<T> {
    fn as_ref(&self) -> &[u8] {
        self.thing.as_ref()
    }
}

impl<T: Default> Drop for Lent<T> {
    fn drop(&mut self) {
        self.home.put(std::mem::take(&mut self.thing));
    }
}

fn lock<Q>(queue: &Mutex<Q>) -> MutexGuard<'_, Q> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn results_come_in_order_whatever_the_threads() {
        for threads in [1, 2, 3, 8] {
            for count in [0, 1, 2, 17] {
                let squares: Vec<usize> = in_order(0..count, threads, |n| n * n, Iterator::collect);
                assert_eq!(squares, (0..count).map(|n| n * n).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn parts_are_put_together_in_order_and_the_first_failure_ends_it() {
        for (threads, count) in [(1, 5), (2, 0), (2, 1), (3, 10), (8, 9)] {
            let items: Vec<usize> = (0..count).collect();
            let doubled = in_parts(&items, threads, |part| Ok::<_, ()>(part.iter().map(|n| n * 2).collect()));
            assert_eq!(doubled.unwrap(), (0..count).map(|n| n * 2).collect::<Vec<_>>());
        }
        let failed = in_parts(&[1, 2, 3, 4], 2, |part| if part[0] == 3 { Err(part[0]) } else { Ok(part.to_vec()) });
        assert_eq!(failed, Err(3));
    }

    #[tokio::test]
    async fn results_come_in_order_to_a_taker_that_may_not_block_and_a_panic_is_no_end() {
        let mut doubles = spawn_in_order(0..5, 2, |n| n * 2);
        for expected in [Some(0), Some(2), Some(4), Some(6), Some(8), None] {
            assert_eq!(doubles.next().await.unwrap(), expected);
        }
        let mut broken = spawn_in_order(0..5, 2, |n| if n == 3 { panic!("a worker") } else { n });
        for expected in 0..3 {
            assert_eq!(broken.next().await.unwrap(), Some(expected));
        }
        assert!(broken.next().await.is_err());
    }

    #[test]
    fn what_was_lent_comes_back_when_its_last_part_is_gone() {
        let pool = Arc::new(Pool::<Vec<u8>>::default());
        let mut lent = lend(vec![1, 2, 3], &pool);
        let part = lent.split_to(1);
        drop(lent);
        assert!(pool.take().is_empty());
        assert_eq!(part, [1][..]);
        drop(part);
        assert_eq!(pool.take(), [1, 2, 3]);
    }

    #[test]
    fn of_a_few_things_no_more_are_made_and_who_wants_another_waits() {
        let pool = Arc::new(Pool::<Vec<u8>>::of(2));
        let (mut first, second) = (pool.borrow(), pool.borrow());
        first.push(7);
        let other = Arc::clone(&pool);
        let waiting = std::thread::spawn(move || other.borrow().to_vec());
        drop(first.into_bytes());
        assert_eq!(waiting.join().unwrap(), [7], "the one that came back");
        drop(second);
        assert_eq!(lock(&pool.stock).idle.len(), 2);
    }

    #[test]
    fn an_early_end_stops_the_threads_soon() {
        let done = AtomicUsize::new(0);
        let work = |n: usize| {
            done.fetch_add(1, Ordering::Relaxed);
            n
        };
        assert_eq!(in_order(0..100_000, 4, work, |mut results| results.nth(2)), Some(2));
        assert!(done.load(Ordering::Relaxed) < 100);
    }

    #[test]
    fn no_more_is_done_ahead_than_there_are_threads() {
        let done = AtomicUsize::new(0);
        let (sender, seen) = std::sync::mpsc::channel();
        let work = |n: usize| {
            done.fetch_add(1, Ordering::Relaxed);
            sender.send(n).unwrap_or_default();
        };
        in_order(0..100, 2, work, |results| {
            assert_eq!(seen.iter().take(2).count(), 2);
            drop(results);
        });
        assert_eq!(done.load(Ordering::Relaxed), 2);
    }
}
