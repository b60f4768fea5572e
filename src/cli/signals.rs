//! The signals that ask `dr` to stop, and the exit codes that name them.

use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use crate::error::{CommandError, Exit, Result};
use crate::ops::Ctx;
use crate::read;
use crate::ui::Ui;

/// What each of them ends the program with. Those behind TERM would end it at once if nobody listened, with the application
/// stopped: whoever sends one of them wants it to end.
const ASKING: [(SignalKind, Exit); 11] = [
    (SignalKind::hangup(), Exit::HungUp),
    (SignalKind::interrupt(), Exit::Interrupted),
    (SignalKind::quit(), Exit::Interrupted),
    (SignalKind::terminate(), Exit::Terminated),
    (SignalKind::alarm(), Exit::Terminated),
    (SignalKind::user_defined1(), Exit::Terminated),
    (SignalKind::user_defined2(), Exit::Terminated),
    (SignalKind::from_raw(Signal::XCPU.as_raw()), Exit::Terminated),
    (SignalKind::from_raw(Signal::VTALARM.as_raw()), Exit::Terminated),
    (SignalKind::from_raw(Signal::PROF.as_raw()), Exit::Terminated),
    (SignalKind::from_raw(Signal::POWER.as_raw()), Exit::Terminated),
];
/// Where somebody listens, a file at its limit is an error of the write, which says which, and is put right as any other.
const FILE_AT_ITS_LIMIT: SignalKind = SignalKind::from_raw(Signal::XFSZ.as_raw());

/// Signals that come together are one request: `timeout` asks its command, and then the command's whole group.
const ONE_REQUEST: Duration = Duration::from_millis(300);

/// Listens until it is dropped.
pub(super) struct Signals {
    first: Arc<OnceLock<(Exit, Instant)>>,
    _listeners: JoinSet<()>,
}

impl Signals {
    /// The first signal cancels the work; what a second one does is said then.
    ///
    /// A signal that is ignored when the program starts stays so: that is how `nohup` and a shell's `&` ask to go on.
    ///
    /// # Errors
    /// The system does not let the program listen.
    pub(super) fn listen(ui: Ui) -> Result<Self> {
        let failed = |e: io::Error| CommandError::new(Exit::Failure, "listen for signals").because(e);
        let ignored = ignored_signals();
        let first = Arc::new(OnceLock::new());
        let mut listeners = JoinSet::new();
        let mut at_limit = signal(FILE_AT_ITS_LIMIT).map_err(failed)?;
        listeners.spawn(async move { while at_limit.recv().await.is_some() {} });
        for (kind, exit) in ASKING {
            if ignored & (1 << (kind.as_raw_value() - 1)) != 0 {
                continue;
            }
            let mut signal = signal(kind).map_err(failed)?;
            let (first, ui) = (Arc::clone(&first), ui.clone());
            listeners.spawn(async move {
                while signal.recv().await.is_some() {
                    if first.set((exit, Instant::now())).is_ok() {
                        ui.cancel().cancel();
                        ui.talk(
                            "Stopping: what must be put back is put back first, and an abort goes on. Press Ctrl-C again to end at once; `dr run list` then shows what is left, and a copy goes on with its own command.",
                        );
                    } else if exit != Exit::HungUp
                        && first.get().is_some_and(|(_, since)| since.elapsed() > ONE_REQUEST)
                    {
                        // A terminal that goes away may say so more than once, and nobody asked for haste.
                        let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::KILL);
                    }
                }
            });
        }
        Ok(Self { first, _listeners: listeners })
    }

    /// The result of the work: where it was stopped, the exit code names the signal.
    pub(super) fn named_in<T>(self, result: Result<T>) -> Result<T> {
        result.map_err(|error| match self.first.get() {
            Some((exit, _)) if error.exit() == Exit::Interrupted => error.with_exit(*exit),
            _ => error,
        })
    }
}

/// Returns when the work was asked to stop, had a moment to do so by itself, and has nothing to put back: then the answer
/// that it waits for, of the cluster, helm or git, is no longer of interest.
pub(super) async fn stopped(ctx: &Ctx) {
    /// What looks at the signal itself has a better word for it.
    const MOMENT: Duration = Duration::from_secs(1);
    ctx.cancel.cancelled().await;
    loop {
        ctx.events.all_finished().await;
        tokio::time::sleep(MOMENT).await;
        // What has begun meanwhile is waited for as well.
        if ctx.events.is_finished() {
            return;
        }
    }
}

/// The signals that this process ignores, a bit each. Where the system does not say, none.
fn ignored_signals() -> u64 {
    let status = read::text_file(Path::new("/proc/self/status"), read::SMALL).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
