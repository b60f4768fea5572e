//! `dr run abort`: what a run has changed is put back as far as it can be, and the run is closed.

use jiff::Timestamp;
use serde::Serialize;

use super::half_done::leaves_unproved;
use super::named::pick;
use super::table::{ResumeRefusal, continued_by, label, puts_back, resumes};
use super::target::{install_of, install_to_put_back, refuse_other_cluster};
use super::undo::{IN_THE_CLUSTER, MODE, put_back};
use super::verb::{AbortOutlook, PutBackVerb, ResumeVerb, taken_up};
use crate::error::{CommandError, Exit, OpenRun, Result, chain};
use crate::journal::{self, ClosingRun, Journal, JournalError, Outcome, Remains, Replay, Run};
use crate::ops::Ctx;

/// What aborting a run would do.
#[derive(Debug, Serialize)]
pub struct AbortPlan {
    /// The run's id.
    pub run: String,
    /// Its verb, for people.
    pub verb: String,
    /// Which install: `namespace/release`.
    pub install: String,
    /// When it began, where its journal tells.
    pub begun: Option<Timestamp>,
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
    /// Its journal as it was looked at.
    seen: Vec<u8>,
}

/// How a run is ended.
enum Way {
    /// Its own steps are undone, on this install.
    Undo(&'static ResumeVerb, Box<Ctx>),
    /// What it has changed is put back, whether or not its steps are known.
    PutBack(&'static PutBackVerb, Box<Remains>),
    /// It is closed.
    Close,
}

/// What is put back of a run whose steps are not known: what bears its id in the cluster. Nothing is started on what it has
/// half done.
const BY_ITS_MARKS: PutBackVerb = PutBackVerb {
    recorded: |_| None,
    stops: "",
    brings_back: "",
    restarts: false,
    maintenance: |_| None,
    bundle: |_, _| None,
    elsewhere: ("look for nothing else", |_, _| Ok(())),
};

/// A run that was aborted.
#[derive(Debug, Serialize)]
pub struct AbortReport {
    pub run: String,
    /// Whether the run is over.
    pub closed: bool,
    /// What was put back, as it was seen.
    pub put_back: Vec<String>,
    pub stays: Vec<String>,
    /// The commands that come next.
    pub next: Vec<String>,
}

/// Looks at the named run, or at the newest that stands open, and changes nothing. With `close_only` nothing is to be put
/// back, and the cluster is not asked: it may be gone.
///
/// # Errors
/// There is none, it is over, a living process executes it, its journal does not tell whose it is, or its cluster cannot
/// be asked.
pub async fn plan_abort(ctx: &Ctx, id: Option<&str>, close_only: bool) -> Result<Abort> {
    let id = pick(ctx, id)?;
    let stored = ctx.runs.read(&id)?;
    let run = Run::parse(&stored);
    if let Some(how) = journal::ended(&stored) {
        return Err(CommandError::new(Exit::Resume, format!("run {id} cannot be aborted: it is {how}"))
            .hint("`dr run list` shows the open ones."));
    }
    if stored.held {
        return Err(CommandError::new(Exit::Locked, format!("run {id} is being executed by another process"))
            .hint("Stop that process with Ctrl-C first: it puts back, or keeps, what it must."));
    }
    let Some(remains) = Remains::of(&stored) else {
        let why = run.err().map_or_else(String::new, |error| chain(&error));
        return if close_only { Ok(close_unknown(id, why, stored.lines)) } else { Err(of_nobody(&id, &why)) };
    };
    let of = if puts_back(&remains.verb).is_some() { install_to_put_back } else { install_of };
    let ctx = of(ctx, &remains.namespace, &remains.release);
    let (way, only_closed, outlook) = if close_only {
        (Way::Close, Some("that is what was asked for".to_owned()), left_alone(&remains, run.is_ok()))
    } else {
        reachable(&ctx, &remains).await?;
        way_of(&ctx, &remains, run.as_ref()).await?
    };
    let plan = AbortPlan {
        verb: label(&remains.verb),
        install: format!("{}/{}", remains.namespace, remains.release),
        begun: Some(remains.at),
        stopped_in: run.ok().and_then(|run| run.replay.stopped_in().map(str::to_owned)),
        only_closed,
        outlook,
        run: id,
    };
    Ok(Abort { plan, way, seen: stored.lines })
}

/// The error of a run of which nobody can tell whose it is: nothing of it can be put back.
fn of_nobody(id: &str, why: &str) -> CommandError {
    CommandError::new(Exit::Damaged, format!("run {id} does not tell what it has changed, or where: {why}"))
        .hint("`dr server status` shows how the application stands, and what is next.")
        .hint(format!("`dr run abort {id} --close-only` closes the run, and puts nothing back."))
}

fn close_unknown(run: String, why: String, seen: Vec<u8>) -> Abort {
    let outlook = AbortOutlook {
        stays: vec!["what it has changed, if anything".to_owned()],
        next: vec!["dr server status".to_owned()],
        ..AbortOutlook::default()
    };
    let verb = label(run.split('-').next().unwrap_or_default());
    let (install, only_closed) = ("not known".to_owned(), Some(why));
    Abort {
        plan: AbortPlan { run, verb, install, begun: None, stopped_in: None, only_closed, outlook },
        way: Way::Close,
        seen,
    }
}

/// How the run is ended, why its own steps are not undone, and what that would do.
async fn way_of(
    ctx: &Ctx,
    remains: &Remains,
    run: Result<&Run, &JournalError>,
) -> Result<(Way, Option<String>, AbortOutlook)> {
    if let Some(verb) = puts_back(&remains.verb) {
        let [application, rest @ ..] = IN_THE_CLUSTER;
        let mode = (verb.maintenance)(remains).map(|_| MODE);
        let all = [application].into_iter().chain(mode).chain(rest).chain([verb.elsewhere.0]);
        let puts_back = all.map(str::to_owned);
        let next = vec![format!("dr {}", label(&remains.verb))];
        let outlook = AbortOutlook { puts_back: puts_back.collect(), next, ..AbortOutlook::default() };
        return Ok((Way::PutBack(verb, Box::new(remains.clone())), None, outlook));
    }
    let refusal = match run {
        Ok(run) => match undoable(ctx, &run.replay).await? {
            Ok(verb) => {
                let outlook = (verb.outlook)(ctx, &run.replay).await?;
                return Ok((Way::Undo(verb, Box::new(ctx.clone())), None, outlook));
            }
            Err(refusal) => refusal.to_string(),
        },
        Err(error) => chain(error),
    };
    let mut outlook = left_alone(remains, run.is_ok());
    let [_, rest @ ..] = IN_THE_CLUSTER;
    outlook.puts_back = rest.map(str::to_owned).into();
    if let Some(database) = leaves_unproved(ctx, remains).await?.first() {
        outlook.stays.push(format!("database {database}, with a mark that nothing proves what is in it"));
        outlook.next.insert(0, format!("kubectl delete namespace {}", remains.namespace));
    }
    Ok((Way::PutBack(&BY_ITS_MARKS, Box::new(remains.clone())), Some(refusal), outlook))
}

/// Aborts.
///
/// # Errors
/// The run has changed since it was looked at; or something could not be put back: then it stays open, and the next
/// abort continues there.
pub async fn abort(ctx: &Ctx, abort: Abort) -> Result<AbortReport> {
    let Abort { plan, way, seen } = abort;
    let unchanged = |now: &[u8]| match now == seen {
        true => Ok(()),
        false => Err(CommandError::new(Exit::Locked, format!("run {} has changed since it was looked at", plan.run))
            .hint("Another process has worked on it meanwhile: look again with `dr run show`.")),
    };
    let open = |error: CommandError| error.behind_it(OpenRun::new(plan.run.clone(), plan.stopped_in.clone()));
    let AbortOutlook { mut stays, mut next, .. } = plan.outlook;
    let mut closed = true;
    let put_back = match way {
        Way::Undo(verb, ctx) => {
            let mut journal = Journal::open(&*ctx.runs, &plan.run)?;
            unchanged(&ctx.runs.read(&plan.run)?.lines)?;
            // It may have been asked for a while ago.
            if let Err(refusal) = undoable(&ctx, journal.replay()).await.map_err(open)? {
                return Err(refusal.of(&plan.run));
            }
            if let Err(error) = taken_up(&ctx, &mut journal) {
                // Who takes the run up is good to know; what it has begun is put back all the same.
                ctx.events.warn(error.to_string(), None);
            }
            (verb.abort)(&ctx, &mut journal).await.map_err(open)?
        }
        Way::PutBack(verb, remains) => {
            unchanged(&ctx.runs.read(&plan.run)?.lines)?;
            let install = install_to_put_back(ctx, &remains.namespace, &remains.release);
            for database in leaves_unproved(&install, &remains).await.map_err(open)? {
                install.cluster().await?.mark_unproved(&database, &remains.run).await?;
            }
            let report = Box::pin(put_back(ctx, verb, *remains, Outcome::Aborted)).await.map_err(open)?;
            closed = report.closed;
            stays.extend(report.bundle.as_ref().map(|bundle| format!("bundle {bundle}, which is complete")));
            stays.extend(report.not_back());
            next = Some(report.next("abort")).filter(|next| !next.is_empty()).unwrap_or(next);
            report.is_back()
        }
        Way::Close => {
            let (closing, stored) = ClosingRun::open(&*ctx.runs, &plan.run)?;
            unchanged(&stored.lines)?;
            closing.end(Outcome::Aborted)?;
            Vec::new()
        }
    };
    Ok(AbortReport { run: plan.run, closed, put_back, stays, next })
}

/// The verb whose steps are undone, or why there is none: what another program has done, or what was done to a namespace
/// that is not there any more, is not this one's to undo. A run that somebody has begun to abort is aborted further.
pub(super) async fn undoable(ctx: &Ctx, replay: &Replay) -> Result<Result<&'static ResumeVerb, ResumeRefusal>> {
    let verb = match continued_by(replay) {
        Err(ResumeRefusal::Aborting) => {
            resumes(&replay.begun.verb).ok_or_else(|| ResumeRefusal::UnknownVerb(replay.begun.verb.clone()))
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

async fn reachable(ctx: &Ctx, remains: &Remains) -> Result<()> {
    let run = &remains.run;
    refuse_other_cluster(ctx, run, &remains.cluster_uid).await.map_err(|error| match error.exit() {
        Exit::Cluster => {
            error.hint(format!("If that cluster is gone for good: `dr run abort {run} --close-only` closes the run."))
        }
        _ => error,
    })
}

fn left_alone(remains: &Remains, readable: bool) -> AbortOutlook {
    let namespace = &remains.namespace;
    let show = readable.then(|| format!("dr run show {}", remains.run));
    AbortOutlook {
        stays: vec![format!("what its steps have made in namespace {namespace}, and in the store")],
        next: show.into_iter().chain([format!("dr server status -n {namespace}")]).collect(),
        ..AbortOutlook::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Record;
    use crate::journal::testing::{MemoryRuns, begun};
    use crate::ops::testing;

    const RUN: &str = "restore-1";

    /// A run that was interrupted in a step.
    fn interrupted(runs: &MemoryRuns) {
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
        interrupted(&runs);
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
        interrupted(&runs);
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
