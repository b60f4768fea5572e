//! `dr run`: what runs there are, and how far each got.

use jiff::Timestamp;
use serde::Serialize;

use super::restore::{self, Restored};
use super::{Ctx, create, recover};
use crate::error::{CommandError, Exit, OpenRun, Result};
use crate::journal::{self, Begun, ListedRun, Record, Run};

/// A run in a line.
#[derive(Debug, Serialize)]
pub struct RunLine {
    /// Its id.
    pub run: String,
    /// `create` or `restore`; nothing when its journal cannot be read.
    pub verb: Option<String>,
    /// When it began.
    pub begun: Option<Timestamp>,
    /// `done`, `put back`, `abandoned`, `running`, `open` (to be resumed), or `unreadable`.
    pub state: String,
    /// Where it stands or why it cannot be read.
    pub detail: String,
}

/// All runs, newest first.
#[derive(Debug, Serialize)]
pub struct RunList {
    /// The runs.
    pub runs: Vec<RunLine>,
}

/// Lists all runs, newest first; an unreadable one is listed with the reason.
///
/// # Errors
/// When the runs' folder cannot be read.
pub fn list(ctx: &Ctx) -> Result<RunList> {
    let mut runs: Vec<RunLine> = journal::list(&*ctx.runs)?
        .into_iter()
        .map(|(id, run)| match run {
            Ok(run) => RunLine {
                run: id,
                verb: Some(run.replay.begun.verb.clone()),
                begun: Some(run.replay.begun.at),
                state: state(&run).into(),
                detail: detail(&run),
            },
            Err(error) => {
                let detail = crate::error::chain(&error);
                RunLine { run: id, verb: None, begun: None, state: "unreadable".into(), detail }
            }
        })
        .collect();
    runs.reverse();
    Ok(RunList { runs })
}

/// One run, step by step.
#[derive(Debug, Serialize)]
pub struct RunShown {
    /// Its id.
    pub run: String,
    /// `create` or `restore`.
    pub verb: String,
    /// As in [`RunLine`].
    pub state: String,
    /// Which install: `namespace/release`.
    pub install: String,
    /// Who began it.
    pub who: String,
    /// The version of the program that began it.
    pub dr_version: String,
    /// What it was asked to do.
    pub plan: serde_json::Value,
    /// Its records, in order.
    pub records: Vec<Line>,
}

/// A record in a line.
#[derive(Debug, Serialize)]
pub struct Line {
    /// When.
    pub at: Timestamp,
    /// The step, if it is about one.
    pub step: Option<String>,
    /// What happened.
    pub what: String,
}

/// Shows one run.
///
/// # Errors
/// When there is no such run or it cannot be read.
pub fn show(ctx: &Ctx, id: &str) -> Result<RunShown> {
    let (id, run) = journal::find(&*ctx.runs, id)?;
    let begun = &run.replay.begun;
    Ok(RunShown {
        state: state(&run).into(),
        verb: begun.verb.clone(),
        install: format!("{}/{}", begun.namespace, begun.release),
        who: begun.who.clone(),
        dr_version: begun.dr_version.clone(),
        plan: begun.plan.clone(),
        records: run.records.iter().map(line).collect(),
        run: id,
    })
}

/// What came of taking a run up again.
#[derive(Debug)]
pub enum Resumed {
    /// A restore came to its end.
    Restored(Box<Restored>),
    /// What a bundle's run had changed was put back.
    PutBack(PutBack),
}

/// A run that was put back.
#[derive(Debug, Serialize)]
pub struct PutBack {
    /// Its id.
    pub run: String,
}

/// Takes an open run up again: the named one, or the newest.
///
/// # Errors
/// There is none, it is being executed, or it cannot be resumed; or the step that failed.
pub async fn resume(ctx: &Ctx, id: Option<&str>) -> Result<Resumed> {
    let (id, run) = match id {
        Some(id) => journal::find(&*ctx.runs, id)?,
        None => newest_open(ctx)?,
    };
    if let Some(outcome) = run.replay.outcome {
        return Err(CommandError::new(Exit::Resume, format!("run {id} cannot be resumed: it is {}", outcome.word()))
            .hint("`dr run list` shows the open ones."));
    }
    if run.held {
        return Err(CommandError::new(Exit::Locked, format!("run {id} is being executed by another process"))
            .hint("Let it end, or stop that process with Ctrl-C."));
    }
    let step = run.replay.stopped_in().map(str::to_owned);
    let resumed = match run.replay.begun.verb.as_str() {
        restore::VERB => restore::resume(ctx, &id).await.map(|restored| Resumed::Restored(Box::new(restored))),
        create::VERB => recover::put_back(ctx, &id).await.map(|()| Resumed::PutBack(PutBack { run: id.clone() })),
        other => {
            Err(CommandError::new(Exit::Resume, format!("run {id} cannot be resumed: `{other}` is no verb of this dr")))
        }
    };
    resumed.map_err(|error| error.behind_it(OpenRun { run: id, step }))
}

/// Names the newest open run of the install behind an error; `is_of` tells whether a run is of it.
///
/// An error that itself left a run open, or that is about what was asked, stays as it is. Runs that cannot be read are
/// no reason for another error.
pub fn open_behind(ctx: &Ctx, error: CommandError, is_of: impl Fn(&Begun) -> bool) -> CommandError {
    if matches!(error.exit(), Exit::Usage | Exit::Unconfirmed | Exit::Settings) {
        return error;
    }
    match newest_open_of(&journal::list(&*ctx.runs).unwrap_or_default(), is_of) {
        Some(run) => error.behind_it(run),
        None => error,
    }
}

fn newest_open_of(runs: &[ListedRun], is_of: impl Fn(&Begun) -> bool) -> Option<OpenRun> {
    let open = |(id, run): &ListedRun| {
        let run = run.as_ref().ok().filter(|run| run.is_open() && is_of(&run.replay.begun))?;
        Some(OpenRun { run: id.clone(), step: run.replay.stopped_in().map(str::to_owned) })
    };
    runs.iter().rev().find_map(open)
}

fn newest_open(ctx: &Ctx) -> Result<(String, Run)> {
    let open =
        journal::list(&*ctx.runs)?.into_iter().rev().find_map(|(id, run)| Some((id, run.ok().filter(Run::is_open)?)));
    open.ok_or_else(|| CommandError::new(Exit::NotFound, "there is no open run").hint("`dr run list` shows all runs."))
}

fn state(run: &Run) -> &'static str {
    match run.replay.outcome {
        Some(outcome) => outcome.word(),
        None if run.held => "running",
        None => "open",
    }
}

fn detail(run: &Run) -> String {
    match (&run.replay.failure, run.records.last()) {
        (Some((step, error)), _) => format!("{step}: {error}"),
        (None, Some(last)) => {
            let line = line(last);
            line.step.map_or(line.what.clone(), |step| format!("{step}: {}", line.what))
        }
        (None, None) => String::new(),
    }
}

fn line(record: &Record) -> Line {
    let about = |step: &str, at: &Timestamp, what: String| Line { at: *at, step: Some(step.to_owned()), what };
    match record {
        Record::Begun(begun) => Line { at: begun.at, step: None, what: format!("begun by {}", begun.who) },
        Record::Resumed { at, who } => Line { at: *at, step: None, what: format!("taken up again by {who}") },
        Record::Started { step, at } => about(step, at, "begun".into()),
        Record::Succeeded { step, summary, at, .. } => about(step, at, summary.clone()),
        Record::Failed { step, error, at } => about(step, at, format!("failed: {error}")),
        Record::UndoStarted { step, at } => about(step, at, "putting back".into()),
        Record::UndoFinished { step, at } => about(step, at, "put back".into()),
        Record::UndoFailed { step, error, at } => about(step, at, format!("putting back failed: {error}")),
        Record::Ended { outcome, at } => Line { at: *at, step: None, what: outcome.word().into() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{Journal, Outcome, Step};
    use std::path::PathBuf;

    fn run(ctx: &Ctx, id: &str, namespace: &str, records: &[Record]) {
        let begun =
            ctx.begun("restore", (namespace, "opschain"), "uid".into(), &"the plan", &[] as &[Step<(), _>]).unwrap();
        let mut journal = Journal::begin(&*ctx.runs, Begun { run: id.into(), ..begun }).unwrap();
        records.iter().for_each(|record| journal.append(record.clone()).unwrap());
    }

    #[test]
    fn the_newest_open_run_of_the_install_stands_behind_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let ctx =
            |state: PathBuf| Ctx::new("dr.toml".into(), Ok(Default::default()), |_| {}, state, None, "op@host".into());
        let (ctx, other) = (ctx(folder.path().into()), ctx(folder.path().join("other")));
        let at = Timestamp::now();
        let started = |step: &str| Record::Started { step: step.into(), at };
        run(&ctx, "restore-1", "here", &[started("stage")]);
        run(&ctx, "restore-2", "here", &[Record::Ended { outcome: Outcome::Done, at }]);
        run(&ctx, "restore-3", "elsewhere", &[started("swap")]);
        let of = |ctx: &Ctx, exit, namespace: &str| {
            let error = CommandError::new(exit, "namespace here is not empty");
            open_behind(ctx, error, |begun| begun.namespace == namespace)
        };
        let error = of(&ctx, Exit::NotEmpty, "here");
        assert_eq!(error.open_run(), Some(&OpenRun { run: "restore-1".into(), step: Some("stage".into()) }));
        let ways: Vec<String> = error.ways_on().into_iter().map(|(_, command)| command).collect();
        assert_eq!(ways, ["dr run resume restore-1", "dr run abort restore-1"]);
        assert_eq!(of(&ctx, Exit::NotEmpty, "third").open_run(), None);
        // Nobody who mistyped a flag, or said no, wants to read of it.
        assert_eq!(of(&ctx, Exit::Usage, "here").open_run(), None);
        assert_eq!(of(&ctx, Exit::Unconfirmed, "here").open_run(), None);
        // What refused to resume a run does so again.
        assert_eq!(of(&ctx, Exit::Resume, "here").ways_on(), [("abort", "dr run abort restore-1".to_owned())]);
        assert_eq!(of(&other, Exit::NotEmpty, "here").open_run(), None);
    }
}
