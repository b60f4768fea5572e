//! Putting a run back, whatever else is broken: the application first, with nothing but the cluster.
//!
//! What is needed is where the application is and how many replicas it had: the journal's word for it or, where that is
//! lost, the marks on the Deployments. What comes after the application (pods, lease, what lies in a store) may fail: it
//! is said, and the run stays open, so that the next `dr` tries again. All of it may be killed, and repeated.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::target::{install_to_put_back, refuse_other_cluster};
use super::verb::PutBackVerb;
use crate::error::{CommandError, Exit, Result, chain};
use crate::event::Event;
use crate::journal::{ClosingRun, JournalError, Outcome, Remains, fault};
use crate::names::NamespaceName;
use crate::ops::lease::LeaseHolder;
use crate::ops::quiesce::{self, MAKE_AGAIN, RecordedReplicas, WriterFate, WriterReturn};
use crate::ops::{Ctx, helper, maintenance};
use crate::trace;

/// What is put back in the cluster, in this order, for people.
pub(super) const IN_THE_CLUSTER: [&str; 3] =
    ["bring API and workers back", "remove the helper pod", "give up the lease"];
/// What comes right after the application, which has to serve for it, where a run has turned the mode on.
pub(super) const MODE: &str = "put maintenance mode back";

/// A run that was put back.
#[derive(Debug, Serialize)]
pub struct PutBackReport {
    pub run: String,
    /// Where it was at work.
    pub namespace: NamespaceName,
    /// What became of the writers that it had stopped.
    pub writers: Vec<WriterReturn>,
    /// What else was put back.
    pub done: Vec<String>,
    /// What could not be put back yet, and why. The run stays open for it.
    pub left: Vec<String>,
    /// The bundle that it had made, which stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bundle: Option<String>,
    /// Whether the run is over.
    pub closed: bool,
    /// A later `dr` has written its journal: what it says is gone by, and only that one, or who asks for it by name, closes it.
    #[serde(skip)]
    foreign: bool,
}

impl PutBackReport {
    /// Whether it is known of each writer how many replicas it is to have.
    pub fn knows_writers(&self) -> bool {
        self.writers.iter().all(|writer| writer.fate != WriterFate::CountUnknown)
    }

    /// Refuses to go on from an application of which nobody knows whether this run has stopped it.
    ///
    /// # Errors
    /// [`Exit::Resume`].
    pub fn require_known(&self) -> Result<()> {
        let unknown = self.writers.iter().find(|writer| writer.fate == WriterFate::CountUnknown);
        let Some(unknown) = unknown else { return Ok(()) };
        Err(CommandError::new(Exit::Resume, format!("run {} may have stopped the application: {unknown}", self.run))
            .hint(by_hand(&self.namespace, &unknown.name))
            .hint(format!(
                "Then `dr run resume {}` closes the run. Where it was deployed so: `dr run abort {0} --close-only`.",
                self.run
            )))
    }

    /// The commands that come next, those first that bring the application back; none where all is well. The run is taken
    /// up again by the verb `again`.
    pub fn next(&self, again: &str) -> Vec<String> {
        let way = |writer: &WriterReturn| match writer.fate {
            WriterFate::CountUnknown => quiesce::scale_by_hand(&self.namespace, &writer.name),
            _ => "dr server status".to_owned(),
        };
        let off = self.writers.iter().filter(|writer| !writer.is_back());
        let again = (!self.closed).then(|| match self.foreign && self.is_whole() {
            true => format!("dr run abort {} --close-only", self.run),
            false => format!("dr run {again} {}", self.run),
        });
        let mut next: Vec<String> = off.map(way).chain(again).collect();
        next.dedup();
        next
    }

    /// Whether nothing is left to put back, as far as anybody can tell.
    pub fn is_whole(&self) -> bool {
        self.left.is_empty() && self.knows_writers()
    }

    /// What is as it was before, as it was seen.
    pub fn is_back(&self) -> Vec<String> {
        let writers = self.writers.iter().filter(|writer| writer.is_back());
        writers.map(ToString::to_string).chain(self.done.iter().cloned()).collect()
    }

    /// What is not.
    pub fn not_back(&self) -> Vec<String> {
        let writers = self.writers.iter().filter(|writer| !writer.is_back());
        writers.map(ToString::to_string).chain(self.left.iter().cloned()).collect()
    }
}

/// Puts back what an interrupted run has left, and closes it.
///
/// # Errors
/// It is being executed, or of another cluster; or the writers cannot be brought back.
pub(super) async fn put_back(ctx: &Ctx, verb: &PutBackVerb, seen: Remains, outcome: Outcome) -> Result<PutBackReport> {
    let (closing, remains) = match ClosingRun::open(&*ctx.runs, &seen.run) {
        Ok((closing, stored)) => (Some(closing), Remains::of(&stored).unwrap_or(seen)),
        Err(held @ JournalError::Held(_)) => return Err(held.into()),
        Err(error) => {
            ctx.events.warn(format!("{}: what it says is gone by, and it stays open", chain(&error)), None);
            (None, seen)
        }
    };
    if let Some(error) = ctx.broken_settings() {
        let text = format!("{error}: run {} is put back without it", remains.run);
        ctx.events.warn(text, error.hints().first().cloned());
    }
    let ctx = install_to_put_back(ctx, &remains.namespace, &remains.release);
    refuse_other_cluster(&ctx, &remains.run, &remains.cluster_uid).await?;
    undo(&ctx, verb, &remains, closing, outcome).await
}

/// The same for a run that this process holds, or that is not to be closed.
///
/// # Errors
/// The writers cannot be brought back.
pub async fn undo(
    ctx: &Ctx,
    verb: &PutBackVerb,
    remains: &Remains,
    closing: Option<ClosingRun>,
    outcome: Outcome,
) -> Result<PutBackReport> {
    let run = &remains.run;
    let _events = ctx.events.begin_run(run);
    let folder = ctx.runs.folder(run);
    let mut report = trace::run(run, folder.as_deref(), Box::pin(undo_all(ctx, verb, remains))).await?;
    // A later major version may mean another thing by the same line.
    if let Some(closing) = closing.filter(|_| report.is_whole() && !remains.foreign) {
        match closing.end(outcome) {
            Ok(()) => report.closed = true,
            Err(error) => {
                ctx.events.warn(format!("{}: all was put back, and run {run} stays open", chain(&error)), None);
            }
        }
    }
    Ok(report)
}

/// How a writer is started of which nobody knows how many replicas it had.
pub(super) fn by_hand(namespace: &NamespaceName, writer: &str) -> String {
    format!("`{}`, with the N that it had, starts it.", quiesce::scale_by_hand(namespace, writer))
}

/// What becomes of the writers when the run is put back: those that it has stopped, and those that it may have.
///
/// # Errors
/// The Deployments may not be read.
pub(super) async fn returns(ctx: &Ctx, verb: &PutBackVerb, remains: &Remains) -> Result<Vec<WriterReturn>> {
    let (stopped, lost) = record_of(verb, remains);
    quiesce::plan_return(ctx.cluster().await?, stopped.as_ref(), &remains.run, lost).await
}

/// The writers that the run has stopped by its own word, and whether that word is lost.
fn record_of(verb: &PutBackVerb, remains: &Remains) -> (Option<RecordedReplicas>, bool) {
    // What cannot be closed is put back again by every `dr`: then only by its marks, which go with it.
    (verb.stopped(remains).filter(|_| !remains.foreign), verb.may_have_stopped(remains))
}

async fn undo_all(ctx: &Ctx, verb: &PutBackVerb, remains: &Remains) -> Result<PutBackReport> {
    let run = &remains.run;
    let (elsewhere, remove) = verb.elsewhere;
    let [application, pods, lease] = IN_THE_CLUSTER;
    let mode = (verb.maintenance)(remains);
    let mut number = 0;
    let mut next = || {
        number += 1;
        (number, IN_THE_CLUSTER.len() + usize::from(verb.restarts) + usize::from(mode.is_some()))
    };
    let mut writers = Vec::new();
    if verb.restarts {
        let bring_back = async {
            let (stopped, lost) = record_of(verb, remains);
            writers = quiesce::put_back(ctx, stopped.as_ref(), run, lost).await?;
            Ok(quiesce::returned(&writers))
        };
        one(ctx, next(), "writers", application, bring_back).await?;
    }
    for writer in writers.iter().filter(|writer| !writer.is_back()) {
        let way = match writer.fate {
            WriterFate::CountUnknown => by_hand(&remains.namespace, &writer.name),
            WriterFate::Missing => format!("`{MAKE_AGAIN}`, with the values that are deployed, makes it again."),
            _ => "`dr server start` starts the application.".into(),
        };
        ctx.events.warn(writer.to_string(), Some(way));
    }
    let (mut done, mut left) = (Vec::new(), Vec::new());
    let mut note = |title: &str, undone: Result<()>| match undone {
        Ok(()) => done.push(title.to_owned()),
        Err(error) => left.push(format!("{title}: {error}")),
    };
    if let Some(mode) = mode {
        // Nobody waits for an API that stays off.
        let serves = writers.iter().all(WriterReturn::is_back);
        let limit = if serves { maintenance::RETURN_LIMIT } else { Duration::ZERO };
        let undone = one(ctx, next(), "maintenance-mode", MODE, maintenance::put_back(ctx, run, mode, limit)).await;
        note(&format!("{MODE}, {}", mode.word()), undone);
    }
    note(pods, one(ctx, next(), "helper-pod", pods, said(helper::remove(ctx, run))).await);
    note(lease, one(ctx, next(), "lease", lease, said(LeaseHolder::default().release(ctx, run))).await);
    note(elsewhere, one(ctx, next(), "elsewhere", elsewhere, said(async { remove(ctx, remains) })).await);
    for what in &left {
        let way = format!("The next `dr` tries again; `dr run abort {run} --close-only` closes the run without it.");
        ctx.events.warn(format!("not put back yet: {what}"), Some(way));
    }
    let (run, namespace, bundle) = (run.clone(), remains.namespace.clone(), (verb.bundle)(ctx, remains));
    Ok(PutBackReport { run, namespace, writers, done, left, bundle, closed: false, foreign: remains.foreign })
}

/// The same, of which nothing more was seen.
async fn said(undoing: impl Future<Output = Result<()>>) -> Result<String> {
    undoing.await.map(|()| "done".to_owned())
}

/// Puts one thing back, told as the undoing of a step is, with what was seen.
async fn one(
    ctx: &Ctx,
    (number, of): (usize, usize),
    name: &str,
    title: &str,
    undoing: impl Future<Output = Result<String>>,
) -> Result<()> {
    let (events, begun) = (&ctx.events, Instant::now());
    let (step, title) = (name.to_owned(), title.to_owned());
    events.emit(Event::Undoing { step: step.clone(), title, number, of });
    let undone = async {
        fault::point(&format!("{name}:undo"))?;
        undoing.await
    };
    let undone = trace::step(&format!("undo {name}"), undone).await;
    let milliseconds = begun.elapsed().as_millis().try_into().unwrap_or(u64::MAX);
    events.emit(match &undone {
        Ok(summary) => Event::StepUndone { step, summary: summary.clone(), milliseconds },
        Err(error) => Event::StepFailed { step, error: format!("not put back: {}", error.message()), milliseconds },
    });
    undone.map(drop)
}

/// The error of a run whose step failed, once it was put back, or could not be.
pub fn after(error: CommandError, run: &str, undone: Result<PutBackReport>) -> CommandError {
    let open = || crate::error::OpenRun::new(run.to_owned(), None);
    match undone {
        Ok(report) if report.is_whole() => error,
        Ok(_) => error.behind_it(open()),
        Err(undo) if undo.exit() == Exit::Interrupted => error.behind_it(open()),
        Err(undo) => {
            error.behind_it(open()).hint(format!("Putting things back failed too ({undo}); the next `dr` tries again."))
        }
    }
}
