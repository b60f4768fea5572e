//! The threads on which requests are under way, whoever waits for them.

use std::future::Future;
use std::io;
use std::sync::mpsc;

use tokio::runtime::{Builder, Handle, Runtime, RuntimeFlavor};
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

/// A runtime of a store's own: a store is used from threads that have none, and from those of another one, which must not
/// be kept from their work.
#[derive(Debug)]
pub(super) struct Io(Option<Runtime>);

impl Io {
    pub fn start() -> io::Result<Self> {
        let mut builder = Builder::new_multi_thread();
        Ok(Self(Some(builder.worker_threads(2).thread_name("store").enable_all().build()?)))
    }

    /// Begins `work`; it ends with the handle.
    pub fn spawn<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Option<Task<T>> {
        let (tell, told) = mpsc::sync_channel(1);
        let told_all = async move {
            // Nobody may be left to hear it.
            drop(tell.send(work.await));
        };
        let running = self.0.as_ref()?.spawn(told_all.in_current_span());
        Some(Task { _running: AbortOnDropHandle::new(running), told })
    }

    /// Does `work`, and waits for its end. `None` when it ended without one: it panicked.
    pub fn wait<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Option<T> {
        self.spawn(work)?.wait()
    }
}

impl Drop for Io {
    fn drop(&mut self) {
        // Dropping it would wait, which a thread of another runtime may not.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Work that was begun. Dropped, it is stopped.
#[derive(Debug)]
pub(super) struct Task<T> {
    _running: AbortOnDropHandle<()>,
    told: mpsc::Receiver<T>,
}

impl<T> Task<T> {
    /// Its outcome, if it is over; `Err` when it ended without one.
    pub fn try_wait(&self) -> Result<Option<T>, ()> {
        match self.told.try_recv() {
            Ok(outcome) => Ok(Some(outcome)),
            Err(mpsc::TryRecvError::Empty) => Ok(None),
            Err(mpsc::TryRecvError::Disconnected) => Err(()),
        }
    }

    /// Waits for its outcome; `None` when it ended without one.
    pub fn wait(self) -> Option<T> {
        let told = || self.told.recv().ok();
        match Handle::try_current().map(|handle| handle.runtime_flavor()) {
            Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(told),
            _ => told(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_waited_for_from_any_thread_and_dropped_on_any() {
        let io = Io::start().unwrap();
        assert_eq!(io.wait(async { 1 }), Some(1));
        for runtime in [Builder::new_current_thread().build().unwrap(), Builder::new_multi_thread().build().unwrap()] {
            runtime.block_on(async {
                let io = Io::start().unwrap();
                assert_eq!(io.wait(async { 1 }), Some(1));
            });
        }
    }

    #[test]
    fn work_that_panics_is_no_outcome() {
        let io = Io::start().unwrap();
        assert_eq!(io.wait(async { std::panic::resume_unwind(Box::new("x")) }), None::<()>);
    }
}
