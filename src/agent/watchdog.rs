//! The watchdog: what happens when nobody has been heard of for too long.
//!
//! The run that has stopped the application may be dead, with its host. What puts the application back knows the
//! cluster, which the agent does not: it is handed in from above.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, ReadBuf};

/// How long the link may be silent. Longer than a broken session takes to be noticed and taken up again.
pub const SILENCE: Duration = Duration::from_secs(45);
/// The pause before a try that failed is repeated.
const PAUSE: Duration = Duration::from_secs(3);

/// Puts back what its run has stopped; `true`: there is nothing left to do.
pub type PutBack = Arc<dyn Fn() -> BoxFuture<'static, bool> + Send + Sync>;

/// Watches the link of a run.
#[derive(Clone)]
pub struct Watchdog {
    silence: Duration,
    put_back: PutBack,
}

impl Watchdog {
    /// One that puts back once nothing was heard for `silence`.
    pub fn new(silence: Duration, put_back: PutBack) -> Self {
        Self { silence, put_back }
    }

    /// Acts once in each silence, and until that has succeeded.
    pub(super) async fn watch(self, heard: Heard) {
        let mut tick = tokio::time::interval((self.silence / 10).min(Duration::from_secs(1)));
        let mut acted = None;
        loop {
            tick.tick().await;
            let last = heard.last();
            if last.elapsed() < self.silence || acted == Some(last) {
                continue;
            }
            if (self.put_back)().await {
                acted = Some(last);
            } else {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// When something was last heard from the other end.
#[derive(Debug, Clone)]
pub(super) struct Heard(Arc<Mutex<Instant>>);

impl Heard {
    pub(super) fn now() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    fn last(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same stream; what comes through it is heard.
    pub(super) fn listen<R>(&self, inner: R) -> Listening<R> {
        Listening { inner, heard: self.clone() }
    }
}

/// A stream that is heard.
pub(super) struct Listening<R> {
    inner: R,
    heard: Heard,
}

impl<R: AsyncRead + Unpin> AsyncRead for Listening<R> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        if buf.filled().len() > before {
            *self.heard.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        }
        polled
    }
}
