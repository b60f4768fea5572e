//! `dr run abort`: what a run has changed is put back as far as it can be, and the run is closed.

use jiff::Timestamp;
use serde::Serialize;

use super::resume::{install_of, pick, refuse_other_cluster};
use super::table::{ResumeRefusal, label, resumable, verb_of};
use super::verb::{AbortOutlook, RunVerb, taken_up};
use crate::error::{CommandError, Exit, OpenRun, Result};
use crate::journal::{Journal, Outcome, Record, Replay};
use crate::ops::lease::LeaseHolder;
use crate::ops::quiesce::{self, RecordedReplicas};
use crate::ops::{Ctx, helper};

/// What aborting a run would do.
#[derive(Debug, Serialize)]
pub struct AbortPlan {
    /// The run's id.
    pub run: String,
    /// Its verb, for people.
    pub verb: String,
    /// Which install: `namespace/release`.
    pub install: String,
    /// When it began.
    pub begun: Timestamp,
    /// The step that it stopped in.
    pub stopped_in: Option<String>,
    /// Why its own steps are not undone, where they are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub only_closed: Option<String>,
    /// What is put back, what stays, what is lost, what comes next.
    pub outlook: AbortOutlook,
}

/// A plan with what is needed to carry it out.
pub struct Abort {
    /// What to show.
    pub plan: AbortPlan,
    way: Way,
    seen: Replay,
}

/// How a run is ended.
#[derive(Clone, Copy)]
enum Way {
    /// Its own steps are undone.
    Undo(&'static RunVerb),
    /// It is closed; with `sweep`, what its id is on in the cluster is put back first.
    Close { sweep: bool },
}

/// A run that was aborted.
#[derive(Debug, Serialize)]
pub struct AbortReport {
    pub run: String,
    pub put_back: Vec<String>,
    pub stays: Vec<String>,
    /// The commands that come next.
    pub next: Vec<String>,
}

/// Looks at the named run, or at the newest that stands open, and changes nothing. With `close_only` nothing is to be put
/// back, and the cluster is not asked: it may be gone.
///
/// # Errors
/// There is none, it is over, a living process executes it, or its cluster cannot be asked.
pub async fn plan_abort(ctx: &Ctx, id: Option<&str>, close_only: bool) -> Result<Abort> {
    let (id, run) = pick(ctx, id)?;
    let (replay, begun) = (&run.replay, &run.replay.begun);
    if let Some(outcome) = replay.outcome {
        return Err(CommandError::new(Exit::Resume, format!("run {id} cannot be aborted: it is {}", outcome.word()))
            .hint("`dr run list` shows the open ones."));
    }
    if run.held {
        return Err(CommandError::new(Exit::Locked, format!("run {id} is being executed by another process"))
            .hint("Stop that process with Ctrl-C first: it puts back, or keeps, what it must."));
    }
    let ctx = install_of(ctx, begun);
    let (way, only_closed, outlook) = if close_only {
        (Way::Close { sweep: false }, Some("that is what was asked for".to_owned()), left_alone(replay))
    } else {
        reachable(&ctx, replay).await?;
        match undoable(&ctx, replay).await? {
            Ok(verb) => (Way::Undo(verb), None, (verb.outlook)(&ctx, replay).await?),
            Err(refusal) => (Way::Close { sweep: true }, Some(refusal.to_string()), swept(replay)),
        }
    };
    let plan = AbortPlan {
        verb: label(begun),
        install: format!("{}/{}", begun.namespace, begun.release),
        begun: begun.at,
        stopped_in: replay.stopped_in().map(str::to_owned),
        only_closed,
        outlook,
        run: id,
    };
    Ok(Abort { plan, way, seen: run.replay })
}

/// Aborts.
///
/// # Errors
/// The run has changed since it was looked at; or something could not be put back: then it stays open, and the next
/// abort continues there.
pub async fn abort(ctx: &Ctx, abort: Abort) -> Result<AbortReport> {
    let Abort { plan, way, seen } = abort;
    let ctx = install_of(ctx, &seen.begun);
    let mut journal = Journal::open(&*ctx.runs, &plan.run)?;
    if *journal.replay() != seen {
        return Err(CommandError::new(Exit::Locked, format!("run {} has changed since it was looked at", plan.run))
            .hint("Another process has worked on it meanwhile: look again with `dr run show`."));
    }
    let aborted = match way {
        Way::Undo(verb) => {
            // It may have been asked for a while ago.
            if let Err(refusal) = undoable(&ctx, journal.replay()).await? {
                return Err(refusal.of(&plan.run));
            }
            taken_up(&ctx, &mut journal)?;
            (verb.abort)(&ctx, &mut journal).await
        }
        Way::Close { sweep } => end(&ctx, &mut journal, sweep).await,
    };
    aborted.map_err(|error| error.behind_it(OpenRun::new(plan.run.clone(), plan.stopped_in.clone())))?;
    let AbortOutlook { puts_back, stays, next, .. } = plan.outlook;
    Ok(AbortReport { run: plan.run, put_back: puts_back, stays, next })
}

/// Closes the run `id` without knowing its steps; with `sweep`, what its id is on in the cluster is put back first.
///
/// # Errors
/// It is being executed, belongs to another cluster, or cannot be put back.
pub(super) async fn close(ctx: &Ctx, id: &str, sweep: bool) -> Result<()> {
    let mut journal = Journal::open(&*ctx.runs, id)?;
    let ctx = install_of(ctx, &journal.replay().begun);
    if sweep {
        refuse_other_cluster(&ctx, &journal.replay().begun).await?;
    }
    end(&ctx, &mut journal, sweep).await
}

/// The verb whose steps are undone, or why there is none: what another program has done, or what was done to a namespace
/// that is not there any more, is not this one's to undo. A run that somebody has begun to abort is aborted further.
pub(super) async fn undoable(ctx: &Ctx, replay: &Replay) -> Result<Result<&'static RunVerb, ResumeRefusal>> {
    let verb = match resumable(replay) {
        Err(ResumeRefusal::Aborting) => {
            verb_of(&replay.begun).ok_or_else(|| ResumeRefusal::UnknownVerb(replay.begun.verb.clone()))
        }
        verb => verb,
    };
    match verb {
        Ok(verb) => {
            Ok((verb.refused)(ctx, replay).await?.map_or(Ok(verb), |reason| Err(ResumeRefusal::Cluster(reason))))
        }
        refused => Ok(refused),
    }
}

async fn reachable(ctx: &Ctx, replay: &Replay) -> Result<()> {
    refuse_other_cluster(ctx, &replay.begun).await.map_err(|error| match error.exit() {
        Exit::Cluster => error.hint(format!(
            "If that cluster is gone for good: `dr run abort {} --close-only` closes the run.",
            replay.begun.run
        )),
        _ => error,
    })
}

async fn end(ctx: &Ctx, journal: &mut Journal, sweep: bool) -> Result<()> {
    taken_up(ctx, journal)?;
    if sweep {
        put_back_by_id(ctx, &journal.replay().begun.run).await?;
    }
    Ok(journal.append(Record::Ended { outcome: Outcome::Aborted, at: Timestamp::now() })?)
}

/// Puts back what bears the run's id, whatever its steps are: writers that it has stopped, its helper pods, its lease.
async fn put_back_by_id(ctx: &Ctx, run: &str) -> Result<()> {
    let cluster = ctx.cluster().await?;
    let writers = quiesce::writers_of(&cluster.workloads().await?);
    quiesce::resume(cluster, &RecordedReplicas::of(&writers), run).await?;
    helper::remove(ctx, run).await?;
    LeaseHolder::default().release(ctx, run).await
}

fn swept(replay: &Replay) -> AbortOutlook {
    let puts_back =
        ["bring back API and workers, where it stopped them", "remove its helper pods", "give up its lease"];
    AbortOutlook { puts_back: puts_back.map(str::to_owned).into(), ..left_alone(replay) }
}

fn left_alone(replay: &Replay) -> AbortOutlook {
    let namespace = &replay.begun.namespace;
    AbortOutlook {
        stays: vec![format!("what its steps have made in namespace {namespace}, and in the store")],
        next: vec![format!("dr run show {}", replay.begun.run), format!("dr server status -n {namespace}")],
        ..AbortOutlook::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::testing::{MemoryRuns, begun};
    use crate::journal::{self, Run};
    use crate::ops::testing;

    const RUN: &str = "restore-1";

    /// A run whose process died in a step.
    fn dead(runs: &MemoryRuns) {
        append(runs, Record::Started { step: "stage".into(), at: Timestamp::UNIX_EPOCH });
    }

    fn append(runs: &MemoryRuns, record: Record) {
        let begin = || Journal::begin(runs, begun(RUN)).unwrap();
        Journal::open(runs, RUN).unwrap_or_else(|_| begin()).append(record).unwrap();
    }

    fn found(runs: &MemoryRuns) -> Run {
        journal::find(runs, RUN).unwrap().1
    }

    async fn refused(runs: &MemoryRuns) -> (Exit, String) {
        let error = plan_abort(&testing::ctx(runs), Some(RUN), true).await.err().unwrap();
        assert!(!error.hints().is_empty(), "{error}");
        (error.exit(), error.message().to_owned())
    }

    #[tokio::test]
    async fn a_run_that_is_over_or_that_a_living_process_executes_is_not_aborted() {
        let runs = MemoryRuns::default();
        dead(&runs);
        let held = Journal::open(&runs, RUN).unwrap();
        let executed = "run restore-1 is being executed by another process".to_owned();
        assert_eq!(refused(&runs).await, (Exit::Locked, executed));
        drop(held);
        append(&runs, Record::Ended { outcome: Outcome::Done, at: Timestamp::UNIX_EPOCH });
        assert_eq!(refused(&runs).await, (Exit::Resume, "run restore-1 cannot be aborted: it is done".to_owned()));
    }

    #[tokio::test]
    async fn a_run_that_has_changed_since_it_was_looked_at_is_left_as_it_is() {
        let runs = MemoryRuns::default();
        dead(&runs);
        let ctx = testing::ctx(&runs);
        let looked_at = plan_abort(&ctx, Some(RUN), true).await.ok().unwrap();
        append(&runs, Record::Resumed { at: Timestamp::UNIX_EPOCH, who: "op@there".into() });
        let error = abort(&ctx, looked_at).await.unwrap_err();
        assert_eq!(error.exit(), Exit::Locked);
        assert_eq!(error.message(), "run restore-1 has changed since it was looked at");
        assert!(found(&runs).is_open());
        let looked_at = plan_abort(&ctx, Some(RUN), true).await.ok().unwrap();
        let held = Journal::open(&runs, RUN).unwrap();
        assert_eq!(abort(&ctx, looked_at).await.unwrap_err().exit(), Exit::Locked, "taken up meanwhile");
        drop(held);
        let looked_at = plan_abort(&ctx, Some(RUN), true).await.ok().unwrap();
        abort(&ctx, looked_at).await.unwrap();
        assert_eq!(found(&runs).replay.outcome, Some(Outcome::Aborted));
    }
}
