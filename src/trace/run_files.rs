//! The log and the timing beside a run's journal.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::file::LogFile;
use super::lines::{LineTo, Scrub, one_line};
use super::marks::{CALL, RUN, STEP, is_failure};
use super::timing::{self, StepClock};
use super::visit::Fields;

/// The name of the log in a run's folder.
const LOG: &str = "run.log";
/// The most bytes of a run's log, its older half included.
const LOG_BOUND: u64 = 32 << 20;
/// The most bytes of its timing: a step has less than 2 KiB.
const TIMING_BOUND: u64 = 4 << 20;
/// The most that is kept of what was said before a run began: its plan belongs to it.
const BEFORE_BOUND: usize = 256 << 10;

/// Keeps what is said in the folder of the run that is being executed. A log that cannot be written is no reason to stop a
/// run: what it would have held is lost.
pub(super) struct RunFiles {
    scrub: Scrub,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What was said before a run began.
    before: Vec<Vec<u8>>,
    folder: Option<PathBuf>,
    log: Option<LogFile>,
    step: Option<StepClock>,
}

impl RunFiles {
    pub(super) fn new(scrub: Scrub) -> Arc<Self> {
        Arc::new(Self { scrub, state: Mutex::default() })
    }

    /// Where the subscriber's lines go.
    pub(super) fn lines(self: &Arc<Self>) -> LineTo {
        let log = Arc::clone(self);
        LineTo(Arc::new(move |line| log.line(line)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn line(&self, line: &[u8]) {
        let mut state = self.state();
        if state.folder.is_none() {
            // Masked when it is written: more is known then of what must not be shown.
            let kept: usize = state.before.iter().map(Vec::len).sum();
            if kept + line.len() <= BEFORE_BOUND {
                state.before.push(line.to_vec());
            }
            return;
        }
        if let Some(log) = &mut state.log {
            let _ = log.write(&one_line(&self.scrub, line));
        }
    }

    fn run_begun(&self, folder: &Path) {
        let mut log = LogFile::open(&folder.join(LOG), Some(LOG_BOUND)).ok();
        let mut state = self.state();
        let before = std::mem::take(&mut state.before);
        if let Some(log) = &mut log {
            for line in before {
                let _ = log.write(&one_line(&self.scrub, &line));
            }
        }
        (state.folder, state.log) = (Some(folder.to_owned()), log);
    }

    fn step_ended(&self, name: &str, milliseconds: f64, outcome: &str) {
        let mut state = self.state();
        let Some(clock) = state.step.take_if(|clock| clock.step == name) else { return };
        let Some(folder) = &state.folder else { return };
        let Ok(mut line) = serde_json::to_vec(&clock.end(milliseconds, outcome)) else { return };
        line.push(b'\n');
        let written = LogFile::open(&folder.join(timing::FILE), Some(TIMING_BOUND));
        let _ = written.and_then(|mut file| file.write(&(self.scrub)(&line)));
    }
}

/// Hears of runs, steps and calls.
pub(super) struct RunClock(pub(super) Arc<RunFiles>);

impl<S: Subscriber> Layer<S> for RunClock {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let fields = Fields::of(event);
        match event.metadata().target() {
            RUN if !fields.begun.is_empty() && !fields.folder.is_empty() => {
                self.0.run_begun(Path::new(&fields.folder));
            }
            RUN if !fields.ended.is_empty() => {
                let mut state = self.0.state();
                (state.folder, state.log) = (None, None);
            }
            STEP if !fields.begun.is_empty() => self.0.state().step = Some(StepClock::begin(&fields.begun)),
            STEP => self.0.step_ended(&fields.ended, fields.ms, &fields.outcome),
            CALL => {
                if let Some(clock) = &mut self.0.state().step {
                    clock.add(&fields.kind, &fields.what, fields.ms, is_failure(&fields.outcome));
                }
            }
            _ => {}
        }
    }
}
