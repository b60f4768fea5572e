//! Runs, shown.

use jiff::Timestamp;
use serde::Serialize;

use super::named::newest_named;
use super::table::resumable;
use super::ways::WaysOn;
use crate::error::Result;
use crate::journal::{self, JournalError, Record, Remains, Run, StartedProgram};
use crate::ops::Ctx;
use crate::ops::evidence::{self, KeptEvidence};

/// A run in a line.
#[derive(Debug, Serialize)]
pub struct RunLine {
    pub run: String,
    /// Its verb's word, such as `create`; nothing when its journal cannot be read.
    pub verb: Option<String>,
    /// Which install, `namespace/release`; nothing where its journal does not tell.
    pub install: Option<String>,
    /// When it began.
    pub begun: Option<Timestamp>,
    /// `done`, `put back`, `aborted`, `running`, `open` (to be resumed or aborted), or `unreadable`.
    pub state: String,
    /// Where it stands or why it cannot be read.
    pub detail: String,
    /// What can be done about an open one.
    #[serde(skip_serializing_if = "WaysOn::is_empty")]
    pub ways_on: WaysOn,
}

/// All runs, newest first.
#[derive(Debug, Serialize)]
pub struct RunList {
    pub runs: Vec<RunLine>,
}

/// Lists all runs, newest first; an unreadable one is listed with the reason.
///
/// # Errors
/// The place of the runs cannot be read.
pub fn list(ctx: &Ctx) -> Result<RunList> {
    let line = |(id, run): journal::ListedRun| match run {
        Ok(run) => RunLine {
            verb: Some(run.replay.begun.verb.clone()),
            install: Some(format!("{}/{}", run.replay.begun.namespace, run.replay.begun.release)),
            begun: Some(run.replay.begun.at),
            state: state(&run).into(),
            detail: detail(&run),
            ways_on: ways_on(&id, &run),
            run: id,
        },
        Err(error) => {
            let over = ended(ctx, &id);
            let ways_on = match over {
                Some(_) => WaysOn::default(),
                None => WaysOn::of_unreadable(&*ctx.runs, &id),
            };
            let (state, detail) = (over.unwrap_or_else(|| "unreadable".into()), crate::error::chain(&error));
            let remains = ctx.runs.read(&id).ok().as_ref().and_then(Remains::of);
            let install = remains.map(|remains| format!("{}/{}", remains.namespace, remains.release));
            RunLine { run: id, verb: None, install, begun: None, state, detail, ways_on }
        }
    };
    Ok(RunList { runs: journal::list(&*ctx.runs)?.into_iter().rev().map(line).collect() })
}

fn ended(ctx: &Ctx, id: &str) -> Option<String> {
    ctx.runs.read(id).ok().as_ref().and_then(journal::ended)
}

/// Whether the run is over, though its journal may not be readable.
pub fn is_over(ctx: &Ctx, id: &str) -> bool {
    ended(ctx, id).is_some()
}

/// Whether this host has a run that is not over, or that cannot be asked.
pub fn is_open(ctx: &Ctx, id: &str) -> bool {
    match ctx.runs.read(id) {
        Ok(stored) => journal::ended(&stored).is_none(),
        Err(error) => !matches!(error, JournalError::NotFound(_)),
    }
}

/// One run, step by step.
#[derive(Debug, Serialize)]
pub struct RunShown {
    pub run: String,
    /// Its verb's word, such as `create`.
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
    pub records: Vec<RecordLine>,
    /// What it has proved, where it is a run that proves anything and came so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<KeptEvidence>,
    /// Why an open one cannot be resumed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// What can be done about an open one.
    #[serde(skip_serializing_if = "WaysOn::is_empty")]
    pub ways_on: WaysOn,
}

/// A record in a line.
#[derive(Debug, Serialize)]
pub struct RecordLine {
    pub at: Timestamp,
    pub step: Option<String>,
    pub what: String,
}

/// Shows one run.
///
/// # Errors
/// There is no such run, or it cannot be read.
pub fn show(ctx: &Ctx, id: &str) -> Result<RunShown> {
    let (id, run) = journal::find(&*ctx.runs, &newest_named(ctx, id)?)?;
    let begun = &run.replay.begun;
    let refusal = resumable(&run.replay).err().filter(|_| run.is_open());
    Ok(RunShown {
        state: state(&run).into(),
        verb: begun.verb.clone(),
        install: format!("{}/{}", begun.namespace, begun.release),
        who: begun.who.clone(),
        dr_version: begun.dr_version.clone(),
        plan: begun.plan.clone(),
        records: run.records.iter().map(line).collect(),
        evidence: evidence::of_run(ctx, &id),
        refusal: refusal.map(|refusal| refusal.to_string()),
        ways_on: ways_on(&id, &run),
        run: id,
    })
}

fn ways_on(id: &str, run: &Run) -> WaysOn {
    if run.is_open() { WaysOn::of_run(id, run) } else { WaysOn::default() }
}

fn state(run: &Run) -> &'static str {
    match run.replay.outcome {
        Some(outcome) => outcome.word(),
        None if run.held => "running",
        None => "open",
    }
}

fn detail(run: &Run) -> String {
    // Where it is says more than what runs there.
    let mut records = run.records.iter().rev();
    match (&run.replay.failure, records.find(|record| !matches!(record, Record::Program(_)))) {
        (Some((step, error)), _) => format!("{step}: {error}"),
        (None, Some(last)) => {
            let line = line(last);
            line.step.map_or(line.what.clone(), |step| format!("{step}: {}", line.what))
        }
        (None, None) => String::new(),
    }
}

fn line(record: &Record) -> RecordLine {
    let about = |step: &str, at: &Timestamp, what: String| RecordLine { at: *at, step: Some(step.to_owned()), what };
    let of_run = |at: &Timestamp, what: String| RecordLine { at: *at, step: None, what };
    match record {
        Record::Begun(begun) => of_run(&begun.at, format!("begun by {}", begun.who)),
        Record::Resumed { at, who } => of_run(at, format!("resumed by {who}")),
        Record::Started { step, at } => about(step, at, "begun".into()),
        Record::Program(program) => {
            let StartedProgram { program, pid, host, at, .. } = program;
            of_run(at, format!("{program} runs as process {pid} of {host}"))
        }
        Record::Succeeded { step, summary, at, .. } => about(step, at, summary.clone()),
        Record::Failed { step, error, at } => about(step, at, format!("failed: {error}")),
        Record::UndoStarted { step, at } => about(step, at, "putting back".into()),
        Record::UndoFinished { step, at } => about(step, at, "put back".into()),
        Record::UndoFailed { step, error, at } => about(step, at, format!("putting back failed: {error}")),
        Record::Ended { outcome, at } => of_run(at, outcome.word().into()),
    }
}
