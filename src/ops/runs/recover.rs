//! Putting back what dead runs have left: the first thing that a verb with a cluster does.

use super::table::puts_back;
use super::target::{install_of, refuse_other_cluster};
use super::undo::put_back;
use super::verb::PutBackVerb;
use crate::error::{Exit, Result, chain};
use crate::journal::{JournalError, Outcome, Remains, Run, StoredRun};
use crate::ops::Ctx;
use crate::ops::quiesce::{self, RecordedReplicas};

/// What is done about dead runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeadRuns {
    /// They are put back; a verb that is about to work on the install does not go on where they cannot be.
    PutBack,
    /// The same, but the verb goes on in any case: it is itself the way out.
    PutBackIfPossible,
    /// Nothing is changed: what would be put back is said.
    Show,
}

impl DeadRuns {
    /// Before a verb that is to change something, or only to show what it would.
    pub fn before(dry_run: bool) -> Self {
        if dry_run { Self::Show } else { Self::PutBack }
    }
}

/// Puts back every run whose process died, of verbs that put back: writers get their replicas, pods and drafts go.
///
/// One that was begun on another cluster, or that cannot be read, is warned of. So is one of another install that cannot
/// be put back.
///
/// # Errors
/// Writers of this install could not be brought back: the verb must not go on.
pub async fn put_back_dead(ctx: &Ctx, how: DeadRuns) -> Result<()> {
    let mut ids = ctx.runs.ids().unwrap_or_else(|error| {
        ctx.events.warn(format!("{}: whether a run stands open is not known", chain(&error)), None);
        Vec::new()
    });
    ids.sort();
    for id in ids {
        let stored = match ctx.runs.read(&id) {
            Ok(stored) if stored.held => continue,
            Ok(stored) => stored,
            Err(JournalError::NotFound(_)) => continue,
            Err(error) => {
                ctx.events.warn(chain(&error), None);
                continue;
            }
        };
        let Some((verb, remains)) = dead(ctx, &id, &stored) else { continue };
        let install = ctx.install();
        let is_ours = (&remains.namespace, &remains.release) == (&install.namespace, &install.release);
        let done = match how {
            DeadRuns::Show => show(ctx, verb, &remains).await,
            DeadRuns::PutBack | DeadRuns::PutBackIfPossible => {
                ctx.events.note(format!("Run {id} died on its way. Putting back what it had changed."));
                put_back(ctx, verb, remains, Outcome::PutBack).await.map(drop)
            }
        };
        match done {
            // Another `dr` has taken it up meanwhile.
            Err(error) if error.exit() == Exit::Locked => {}
            // It waits for a `dr` that looks at its own cluster, or works on its own install.
            Err(error) if error.exit() == Exit::Resume || !is_ours || how != DeadRuns::PutBack => {
                let text = format!("run {id} is not put back: {error}");
                ctx.events.warn(text, error.hints().first().cloned());
            }
            done => done?,
        }
    }
    Ok(())
}

/// What is to be put back of a stored run. One that is not understood is loudly warned of, whatever its verb: nobody
/// would resume it.
fn dead<'a>(ctx: &Ctx, id: &str, stored: &StoredRun) -> Option<(&'a PutBackVerb, Remains)> {
    let remains = Remains::of(stored);
    if remains.as_ref().is_some_and(|remains| remains.ended) {
        return None;
    }
    if let Err(error) = Run::parse(stored) {
        let way = match &remains {
            Some(_) => format!("`dr run abort {id}` puts back what can be told of it, and closes it."),
            None => "`dr server status` shows how the application stands, `dr server start` starts it.".to_owned(),
        };
        ctx.events.warn(format!("run {id} cannot be read: {}", chain(&error)), Some(way));
    }
    let remains = remains?;
    Some((puts_back(&remains.verb)?, remains))
}

async fn show(ctx: &Ctx, verb: &PutBackVerb, remains: &Remains) -> Result<()> {
    let run = &remains.run;
    let of = install_of(ctx, &remains.namespace, &remains.release);
    refuse_other_cluster(&of, run, &remains.cluster_uid).await?;
    let writers = quiesce::plan_return(of.cluster().await?, verb.stopped(remains).as_ref(), run).await?;
    let lines: Vec<String> = writers.iter().map(ToString::to_string).collect();
    let lines = if lines.is_empty() { "the application is as it was".to_owned() } else { lines.join(", ") };
    ctx.events.note(format!("Run {run} died on its way. It would be put back first: {lines}."));
    Ok(())
}

/// How many replicas the writers had when a run of this install last stopped them, and that run.
pub fn last_recorded(ctx: &Ctx) -> Option<(String, RecordedReplicas)> {
    let install = ctx.install();
    let recorded = |id: String| {
        let remains = Remains::of(&ctx.runs.read(&id).ok()?)?;
        let is_ours = (&remains.namespace, &remains.release) == (&install.namespace, &install.release);
        let recorded = (puts_back(&remains.verb).filter(|_| is_ours)?.recorded)(&remains)?;
        Some((remains.at, id, recorded))
    };
    let all = ctx.runs.ids().ok()?.into_iter().filter_map(recorded);
    all.max_by_key(|(at, ..)| *at).map(|(_, id, recorded)| (id, recorded))
}
