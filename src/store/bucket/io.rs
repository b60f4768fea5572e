//! The threads on which requests are under way, whoever waits for them.

use std::future::Future;
use std::io;
use std::sync::mpsc;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime, RuntimeFlavor};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

/// How long an answer is waited for by who puts things back after the user has asked to stop.
const IN_HASTE: Duration = Duration::from_secs(10);

/// A runtime of a store's own: a store is used from threads that have none, and from those of another one, which must not
/// be kept from their work.
#[derive(Debug)]
pub(super) struct Io {
    runtime: Option<Runtime>,
    patience: Patience,
}

/// Until when an answer is waited for.
#[derive(Debug, Clone)]
enum Patience {
    /// Until the user asks to stop.
    UntilStopped(CancellationToken),
    /// The user had asked before the store was opened: it was opened to put something back, with a server that may be
    /// what was stopped for.
    InHaste,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoAnswer {
    /// The user has asked to stop.
    Stopped,
    /// It did not come in the time that is left to who puts things back.
    Late,
    /// What waited for it panicked.
    Lost,
}

impl Io {
    /// `stop` ends every wait, unless it is cancelled already.
    ///
    /// # Errors
    /// The system gives no threads.
    pub fn start(stop: &CancellationToken) -> io::Result<Self> {
        let patience = match stop.is_cancelled() {
            true => Patience::InHaste,
            false => Patience::UntilStopped(stop.clone()),
        };
        let mut builder = Builder::new_multi_thread();
        let runtime = builder.worker_threads(2).thread_name("store").enable_all().build()?;
        Ok(Self { runtime: Some(runtime), patience })
    }

    /// Begins `work`; it ends with the handle.
    pub fn spawn<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Task<T> {
        let (tell, told) = mpsc::sync_channel(1);
        let patience = self.patience.clone();
        let told_all = async move {
            // Nobody may be left to hear it.
            drop(tell.send(patience.wait(work).await));
        };
        let running = self.runtime.as_ref().map(|runtime| runtime.spawn(told_all.in_current_span()));
        Task { _running: running.map(AbortOnDropHandle::new), told }
    }

    /// Does `work`, and waits for its end.
    ///
    /// # Errors
    /// It had none.
    pub fn wait<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Result<T, NoAnswer> {
        self.spawn(work).wait()
    }
}

impl Drop for Io {
    fn drop(&mut self) {
        // Dropping it would wait, which a thread of another runtime may not.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Patience {
    async fn wait<T>(&self, work: impl Future<Output = T>) -> Result<T, NoAnswer> {
        match self {
            Self::UntilStopped(stop) => tokio::select! {
                biased;
                answer = work => Ok(answer),
                () = stop.cancelled() => Err(NoAnswer::Stopped),
            },
            Self::InHaste => tokio::time::timeout(IN_HASTE, work).await.map_err(|_| NoAnswer::Late),
        }
    }
}

/// Work that was begun. Dropped, it is stopped.
#[derive(Debug)]
pub(super) struct Task<T> {
    _running: Option<AbortOnDropHandle<()>>,
    told: mpsc::Receiver<Result<T, NoAnswer>>,
}

impl<T> Task<T> {
    /// Its outcome, if it is over.
    pub fn try_wait(&self) -> Option<Result<T, NoAnswer>> {
        match self.told.try_recv() {
            Ok(outcome) => Some(outcome),
            Err(mpsc::TryRecvError::Empty) => None,
            Err(mpsc::TryRecvError::Disconnected) => Some(Err(NoAnswer::Lost)),
        }
    }

    /// Waits for its outcome.
    ///
    /// # Errors
    /// It had none.
    pub fn wait(self) -> Result<T, NoAnswer> {
        let told = || self.told.recv().unwrap_or(Err(NoAnswer::Lost));
        match Handle::try_current().map(|handle| handle.runtime_flavor()) {
            Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(told),
            _ => told(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started() -> Io {
        Io::start(&CancellationToken::new()).unwrap()
    }

    #[test]
    fn it_is_waited_for_from_any_thread_and_dropped_on_any() {
        let io = started();
        assert_eq!(io.wait(async { 1 }), Ok(1));
        for runtime in [Builder::new_current_thread().build().unwrap(), Builder::new_multi_thread().build().unwrap()] {
            runtime.block_on(async {
                let io = started();
                assert_eq!(io.wait(async { 1 }), Ok(1));
            });
        }
    }

    #[test]
    fn work_that_panics_is_no_outcome() {
        let io = started();
        assert_eq!(io.wait(async { std::panic::resume_unwind(Box::new("x")) }), Err::<(), _>(NoAnswer::Lost));
    }

    #[test]
    fn who_is_asked_to_stop_waits_for_no_silent_server() {
        let stop = CancellationToken::new();
        let io = Io::start(&stop).unwrap();
        let silent = io.spawn(std::future::pending::<()>());
        assert_eq!(silent.try_wait(), None);
        stop.cancel();
        assert_eq!(silent.wait(), Err(NoAnswer::Stopped));
        assert_eq!(io.wait(std::future::pending::<()>()), Err(NoAnswer::Stopped), "nor begins another wait");
        let to_put_back = Io::start(&stop).unwrap();
        assert_eq!(to_put_back.wait(async { 1 }), Ok(1), "what was opened to put back is asked");
    }
}
