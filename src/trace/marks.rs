//! What work says of itself.

use std::fmt::Display;
use std::path::Path;
use std::time::{Duration, Instant};

use tracing::{Instrument, Span};

use crate::event::{Event, Stamped};

/// The target of what is said of calls.
pub(super) const CALL: &str = "dr::call";
/// The target of what is said of steps.
pub(super) const STEP: &str = "dr::step";
/// The target of what is said of runs.
pub(super) const RUN: &str = "dr::run";
/// The target of what was said to the screen.
pub(super) const EVENT: &str = "dr::event";
/// The outcome of what went well.
pub(super) const OK: &str = "ok";
/// The outcome of a wait.
const OVER: &str = "over";

/// Whether that is the outcome of what failed or was given up.
pub(super) fn is_failure(outcome: &str) -> bool {
    ![OK, OVER].contains(&outcome)
}

/// What a call goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallKind {
    /// A request to the Kubernetes API.
    Cluster,
    /// A command in a pod.
    Exec,
    /// A request to the agent in a helper pod.
    Agent,
    /// A helm process.
    Helm,
    /// A statement in the database.
    Psql,
    /// A git process.
    Git,
    /// Opening a sealed file of the vault.
    Vault,
    /// Waiting for bytes of an agent, or for it to take some.
    Stream,
    /// Opening, checking or storing one chunk of a bundle.
    Chunk,
    /// A request to a store.
    Store,
    /// An image on its way to a registry.
    Registry,
    /// Waiting for a condition, the requests in between included.
    Wait,
}

impl CallKind {
    fn name(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Exec => "exec",
            Self::Agent => "agent",
            Self::Helm => "helm",
            Self::Psql => "psql",
            Self::Git => "git",
            Self::Vault => "vault",
            Self::Stream => "stream",
            Self::Chunk => "chunk",
            Self::Store => "store",
            Self::Registry => "registry",
            Self::Wait => "wait",
        }
    }

    /// Whether `-v` names each: there are few of them, and a person knows what they are.
    fn is_named(self) -> bool {
        matches!(self, Self::Cluster | Self::Exec | Self::Agent | Self::Helm | Self::Psql | Self::Git | Self::Registry)
    }
}

/// A call under way. Dropped before its end, it was given up.
struct Call {
    kind: CallKind,
    what: String,
    span: Span,
    begun: Instant,
    ended: bool,
}

impl Call {
    fn begin(kind: CallKind, what: String) -> Self {
        let span = tracing::debug_span!(target: "dr::call", "call", kind = kind.name(), %what);
        Self { kind, what, span, begun: Instant::now(), ended: false }
    }

    fn end(&mut self, outcome: &str) {
        self.ended = true;
        let (kind, what, ms) = (self.kind.name(), self.what.as_str(), milliseconds(self.begun.elapsed()));
        if self.kind.is_named() {
            tracing::info!(target: CALL, kind, what, ms, outcome);
        } else {
            tracing::debug!(target: CALL, kind, what, ms, outcome);
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.ended {
            self.end("given up");
        }
    }
}

/// Makes a call: whoever traces hears what it was, how long it took and how it ended.
///
/// # Errors
/// Those of `work`.
pub async fn call<T, E: Display>(
    kind: CallKind,
    what: impl Display,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    call_judged(kind, what, work, |_| None).await
}

/// [`call`] for what may end badly without an error, such as a command with an exit code: `judge` says so.
///
/// # Errors
/// Those of `work`.
pub async fn call_judged<T, E: Display>(
    kind: CallKind,
    what: impl Display,
    work: impl Future<Output = Result<T, E>>,
    judge: impl FnOnce(&T) -> Option<String>,
) -> Result<T, E> {
    let mut call = Call::begin(kind, what.to_string());
    let result = work.instrument(call.span.clone()).await;
    let judged = result.as_ref().ok().and_then(judge);
    call.end(&judged.map_or_else(|| outcome(&result), |text| first_line(&text)));
    result
}

/// [`call`] for work that blocks.
///
/// # Errors
/// Those of `work`.
pub fn call_blocking<T, E: Display>(
    kind: CallKind,
    what: impl Display,
    work: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    let mut call = Call::begin(kind, what.to_string());
    let result = call.span.in_scope(work);
    call.end(&outcome(&result));
    result
}

/// Says that something was waited for; how that ended is said by what waited.
pub fn waited(what: &str, since: Instant) {
    let (kind, ms) = (CallKind::Wait.name(), milliseconds(since.elapsed()));
    tracing::debug!(target: CALL, kind, what, ms, outcome = OVER);
}

/// Does one step of a run.
///
/// # Errors
/// Those of `work`.
pub async fn step<T, E: Display>(name: &str, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let span = tracing::info_span!(target: "dr::step", "step", name);
    async {
        tracing::info!(target: STEP, begun = name);
        let begun = Instant::now();
        let result = work.await;
        tracing::info!(target: STEP, ended = name, ms = milliseconds(begun.elapsed()), outcome = outcome(&result));
        result
    }
    .instrument(span)
    .await
}

/// Executes a run, whose folder gets `run.log` and `timing.jsonl`.
///
/// # Errors
/// Those of `work`.
pub async fn run<T, E: Display>(
    id: &str,
    folder: Option<&Path>,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let span = tracing::info_span!(target: "dr::run", "run", id);
    async {
        let folder = folder.map(|folder| folder.display().to_string()).unwrap_or_default();
        tracing::info!(target: RUN, begun = id, folder);
        let begun = Instant::now();
        let result = work.await;
        tracing::info!(target: RUN, ended = id, ms = milliseconds(begun.elapsed()), outcome = outcome(&result));
        result
    }
    .instrument(span)
    .await
}

/// Passes on what was said to the screen, so that a log has it too; counts, which come many times a second, apart.
pub fn event(stamped: &Stamped) {
    if !matches!(stamped.event, Event::Progress { .. }) {
        let json = serde_json::to_string(&stamped.event).unwrap_or_default();
        tracing::info!(target: EVENT, "{json}");
    }
}

fn outcome<T, E: Display>(result: &Result<T, E>) -> String {
    match result {
        Ok(_) => OK.to_owned(),
        Err(error) => first_line(&error.to_string()),
    }
}

/// What follows it may quote whole files.
fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}
