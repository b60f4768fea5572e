//! The only thing that work says to output.
//!
//! Operations emit [`Event`]s; `ui` draws them for people or writes them as NDJSON. Nothing below `cli` prints.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::clock;

/// An event with its time and its run: a line of NDJSON, and what a recording is made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stamped {
    /// When it was emitted.
    pub at: Timestamp,
    /// The journalled run that it belongs to, as `dr run show` takes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    #[serde(flatten)]
    pub event: Event,
}

/// One thing that happened while work was done. Texts are for people and hold no secret.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A journalled run began (or goes on, when `resumed`). Its id is in [`Stamped::run`].
    RunStarted {
        /// The verb, such as `bundle create`.
        verb: String,
        /// The names of all steps, in order.
        steps: Vec<String>,
        /// Whether an earlier process began this run.
        resumed: bool,
    },
    /// A step began. `number` counts from 1.
    StepStarted {
        /// The step's name in the journal.
        step: String,
        /// Its place in the list.
        number: usize,
        /// How many steps there are.
        of: usize,
    },
    /// What the current step waits for. Sent again when the answer changes.
    Waiting {
        /// What is waited for, such as `pod opschain-db-1 to be ready`.
        what: String,
        /// The newest thing seen of it, such as `ContainerCreating`.
        seen: Option<String>,
    },
    /// Bytes moved or things done so far by the current step.
    Progress {
        /// What is counted, such as `database` or `verified`.
        what: String,
        /// Done so far.
        done: u64,
        /// All there is, where it is known.
        total: Option<u64>,
        /// `bytes` or the plural name of the things.
        unit: String,
    },
    /// A step ended well. `summary` is one line of what was seen.
    StepDone {
        /// The step's name in the journal.
        step: String,
        /// What was seen, in a line.
        summary: String,
        /// How long it took.
        milliseconds: u64,
    },
    /// A step was found done by an earlier process, and is not done again.
    StepSkipped {
        /// The step's name in the journal.
        step: String,
        /// Its place in the list.
        number: usize,
        /// How many steps there are.
        of: usize,
    },
    /// A step, or its undoing, failed; the run's error follows from the verb itself.
    StepFailed {
        /// The step's name in the journal.
        step: String,
        /// The error's first line.
        error: String,
        /// After how long.
        milliseconds: u64,
    },
    /// A step is being undone.
    Undoing {
        /// The step's name in the journal.
        step: String,
        /// What is put back.
        title: String,
        /// Its place among what is undone, from 1.
        number: usize,
        /// How much is undone.
        of: usize,
    },
    StepUndone {
        /// The step's name in the journal.
        step: String,
        /// What was seen.
        summary: String,
        /// How long it took.
        milliseconds: u64,
    },
    /// A line of another program (helm, a pod's log), scrubbed.
    Log { source: String, line: String },
    /// Something worth knowing, in passing.
    Note { message: String },
    /// Something that may hurt later.
    Warning {
        /// The text: lower-case cause.
        message: String,
        hint: Option<String>,
    },
}

impl Event {
    /// The same event with every free text passed through `scrub`. Names and numbers, which programs go by, stay.
    #[must_use]
    pub fn scrubbed(mut self, scrub: &dyn Fn(&str) -> String) -> Self {
        let texts: Vec<&mut String> = match &mut self {
            Self::RunStarted { .. } | Self::StepStarted { .. } | Self::StepSkipped { .. } => Vec::new(),
            Self::Undoing { title, .. } => vec![title],
            Self::Waiting { what, seen } => std::iter::once(what).chain(seen).collect(),
            Self::Progress { what, .. } => vec![what],
            Self::StepDone { summary, .. } | Self::StepUndone { summary, .. } => vec![summary],
            Self::StepFailed { error, .. } => vec![error],
            Self::Log { line, .. } => vec![line],
            Self::Note { message } => vec![message],
            Self::Warning { message, hint } => std::iter::once(message).chain(hint).collect(),
        };
        for text in texts {
            *text = scrub(text);
        }
        self
    }
}

/// A cheap, cloneable handle to whoever listens.
#[derive(Clone)]
pub struct Events {
    listener: Arc<dyn Fn(Stamped) + Send + Sync>,
    run: RunUnderWay,
}

/// The run that is under way, known to all who emit meanwhile; and how much there is that must come to its own end.
#[derive(Clone, Default)]
struct RunUnderWay(Arc<Mutex<Option<Arc<str>>>>, TaskTracker);

impl RunUnderWay {
    fn get(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_deref().map(str::to_owned)
    }

    fn set(&self, run: Option<Arc<str>>) -> Option<Arc<str>> {
        std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), run)
    }
}

/// While it lives, what is emitted belongs to a run.
pub struct RunEvents {
    run: RunUnderWay,
    before: Option<Arc<str>>,
    _unfinished: TaskTrackerToken,
}

impl Drop for RunEvents {
    fn drop(&mut self) {
        self.run.set(self.before.take());
    }
}

impl Events {
    /// Sends every event to `listener`, which must not block for long.
    pub fn to(listener: impl Fn(Event) + Send + Sync + 'static) -> Self {
        Self::stamped(move |stamped| listener(stamped.event))
    }

    /// The same for a listener that goes by times and runs.
    pub fn stamped(listener: impl Fn(Stamped) + Send + Sync + 'static) -> Self {
        Self { listener: Arc::new(listener), run: RunUnderWay::default() }
    }

    /// Another listener, for what belongs to the same run.
    #[must_use]
    pub fn heard_by(&self, listener: impl Fn(Stamped) + Send + Sync + 'static) -> Self {
        Self { listener: Arc::new(listener), run: self.run.clone() }
    }

    /// Nobody listens.
    pub fn none() -> Self {
        Self::to(|_| {})
    }

    /// Until the guard is dropped, what is emitted belongs to the run, through whichever handle.
    #[must_use]
    pub fn begin_run(&self, run: &str) -> RunEvents {
        RunEvents { before: self.run.set(Some(run.into())), run: self.run.clone(), _unfinished: self.unfinished() }
    }

    /// While the token lives, there is something that has to be put back or ended: who is asked to stop waits for it.
    pub fn unfinished(&self) -> TaskTrackerToken {
        self.run.1.token()
    }

    /// Whether nothing is unfinished.
    pub fn is_finished(&self) -> bool {
        self.run.1.is_empty()
    }

    /// Waits until nothing is unfinished.
    pub async fn all_finished(&self) {
        self.run.1.close();
        self.run.1.wait().await;
    }

    /// Emits one event.
    pub fn emit(&self, event: Event) {
        (self.listener)(Stamped { at: clock::now(), run: self.run.get(), event });
    }

    /// Says what the current step waits for.
    pub fn waiting(&self, what: impl Into<String>, seen: Option<String>) {
        self.emit(Event::Waiting { what: what.into(), seen });
    }

    /// Says how many bytes have moved.
    pub fn bytes(&self, what: impl Into<String>, done: u64, total: Option<u64>) {
        self.emit(Event::Progress { what: what.into(), done, total, unit: "bytes".into() });
    }

    /// Says something in passing.
    pub fn note(&self, message: impl Into<String>) {
        self.emit(Event::Note { message: message.into() });
    }

    /// Warns, with the way out where there is one.
    pub fn warn(&self, message: impl Into<String>, hint: Option<String>) {
        self.emit(Event::Warning { message: message.into(), hint });
    }

    /// The same for what knows nothing of events.
    pub fn warner(&self) -> Arc<dyn Fn(String) + Send + Sync> {
        let events = self.clone();
        Arc::new(move |message| events.warn(message, None))
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Events")
    }
}
