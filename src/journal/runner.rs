//! Executes steps under a journal: announce, act, report; on failure undo or stop to be resumed.

use std::collections::BTreeMap;
use std::time::Instant;

use futures::future::BoxFuture;
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::file::Journal;
use super::record::{Outcome, Record, StepState};
use super::{fault, record};
use crate::error::{CommandError, Exit, OpenRun, Result};
use crate::event::{Event, Events};
use crate::ops::{Ctx, interrupted};

/// What a step gives back: its output for later steps and for a resume, and a line for people.
#[derive(Debug)]
pub struct Done {
    output: Value,
    summary: String,
}

impl Done {
    /// With nothing for later steps.
    pub fn said(summary: impl Into<String>) -> Self {
        Self { output: Value::Null, summary: summary.into() }
    }

    /// With an output. It goes into the journal in clear, so it must hold no secret.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn with(output: &impl Serialize, summary: impl Into<String>) -> Result<Self> {
        let output = serde_json::to_value(output)
            .map_err(|e| CommandError::new(Exit::Failure, "write a step's output").because(e))?;
        Ok(Self { output, summary: summary.into() })
    }
}

/// The outputs of the steps that succeeded, by name.
#[derive(Debug, Default, Clone)]
pub struct Outputs(BTreeMap<String, Value>);

impl Outputs {
    /// The output of `step`.
    ///
    /// # Errors
    /// When the step left none, or of another shape: a fault in the list of steps, or a journal by another version.
    pub fn get<T: DeserializeOwned>(&self, step: &str) -> Result<T> {
        let value = self.0.get(step).cloned().unwrap_or_default();
        serde_json::from_value(value).map_err(|e| {
            CommandError::new(Exit::Resume, format!("the output of step {step} is not as expected")).because(e)
        })
    }

    /// The output of `step`, if it left one: for undoing, when the step may have died before.
    pub fn maybe<T: DeserializeOwned>(&self, step: &str) -> Option<T> {
        self.0.get(step).and_then(|value| serde_json::from_value(value.clone()).ok())
    }
}

type Act<W> = Box<dyn for<'a> Fn(&'a W, &'a Outputs) -> BoxFuture<'a, Result<Done>> + Send + Sync>;
type Undo<W> = Box<dyn for<'a> Fn(&'a W, &'a Outputs) -> BoxFuture<'a, Result<()>> + Send + Sync>;

/// One unit of doing, resuming and undoing. Acting and undoing may each be called again after a crash in the middle,
/// so both must come to the same end however often they run.
pub struct Step<W> {
    name: &'static str,
    title: String,
    act: Act<W>,
    undo: Option<Undo<W>>,
    minds_cancel: bool,
}

/// A step that cannot or need not be undone.
pub fn step<W>(
    name: &'static str,
    title: impl Into<String>,
    act: impl for<'a> Fn(&'a W, &'a Outputs) -> BoxFuture<'a, Result<Done>> + Send + Sync + 'static,
) -> Step<W> {
    Step { name, title: title.into(), act: Box::new(act), undo: None, minds_cancel: false }
}

impl<W> Step<W> {
    /// Gives the step its undoing. It is called also when the step failed or died half way.
    pub fn undo(
        mut self,
        undo: impl for<'a> Fn(&'a W, &'a Outputs) -> BoxFuture<'a, Result<()>> + Send + Sync + 'static,
    ) -> Self {
        self.undo = Some(Box::new(undo));
        self
    }

    /// The step watches [`Ctx::cancel`] itself and ends soon after it: it is not dropped in its middle. For steps that
    /// drive another program, which must be told to stop and be waited for.
    #[must_use]
    pub fn minds_cancel(mut self) -> Self {
        self.minds_cancel = true;
        self
    }

    /// The name in the journal.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What it does, for people.
    pub fn title(&self) -> &str {
        &self.title
    }
}

/// What becomes of a run whose step fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Everything done is undone, newest first.
    PutBack,
    /// It stays as it is, to be resumed.
    Stop,
}

/// Executes the steps that have not succeeded yet, in order.
///
/// # Errors
/// The failing step's error. With [`Policy::PutBack`] all has then been undone, unless the error says that it could
/// not be; with [`Policy::Stop`] the journal stays open.
pub async fn execute<W>(
    ctx: &Ctx,
    journal: &mut Journal,
    steps: &[Step<W>],
    work: &W,
    policy: Policy,
) -> Result<Outputs> {
    let replay = journal.replay();
    let events = ctx.events.of_run(&replay.begun.run);
    events.emit(Event::RunStarted {
        verb: format!("bundle {}", replay.begun.verb),
        steps: steps.iter().map(|step| step.title.clone()).collect(),
        resumed: !replay.states.is_empty(),
    });
    let mut outputs = Outputs(replay.outputs.clone());
    for (index, step) in steps.iter().enumerate() {
        if journal.replay().state(step.name) == StepState::Succeeded {
            events.emit(Event::StepSkipped {
                step: step.name.into(),
                title: step.title.clone(),
                number: index + 1,
                of: steps.len(),
            });
            continue;
        }
        events.emit(Event::StepStarted {
            step: step.name.into(),
            title: step.title.clone(),
            number: index + 1,
            of: steps.len(),
        });
        let begun = Instant::now();
        if let Err(error) = one(ctx, &events, journal, step, work, &mut outputs).await {
            let text = error.message().to_owned();
            events.emit(Event::StepFailed { step: step.name.into(), error: text, milliseconds: since(begun) });
            if policy == Policy::PutBack {
                return Err(match put_back(ctx, journal, steps, work).await {
                    Ok(()) => error,
                    Err(undoing) => {
                        let said = format!("Putting things back failed too ({undoing}); the next `dr` tries again.");
                        error.behind_it(open_run(journal)).hint(said)
                    }
                });
            }
            return Err(error.behind_it(open_run(journal)));
        }
    }
    journal.append(Record::Ended { outcome: Outcome::Done, at: Timestamp::now() })?;
    Ok(outputs)
}

async fn one<W>(
    ctx: &Ctx,
    events: &Events,
    journal: &mut Journal,
    step: &Step<W>,
    work: &W,
    outputs: &mut Outputs,
) -> Result<()> {
    let begun = Instant::now();
    journal.append(Record::Started { step: step.name.into(), at: Timestamp::now() })?;
    let acted = async {
        ctx.check_cancelled()?;
        fault::point(&format!("{}:before", step.name))?;
        let done = tokio::select! {
            done = (step.act)(work, outputs) => done?,
            () = ctx.cancel.cancelled(), if !step.minds_cancel => return Err(interrupted()),
        };
        fault::point(&format!("{}:after", step.name))?;
        Ok(done)
    };
    let done = match acted.await {
        Ok(done) => done,
        Err(error) => {
            journal.append(Record::Failed {
                step: step.name.into(),
                error: ctx.secrets().scrub(&error.to_string()).into_owned(),
                at: Timestamp::now(),
            })?;
            return Err(error);
        }
    };
    journal.append(Record::Succeeded {
        step: step.name.into(),
        output: done.output.clone(),
        summary: ctx.secrets().scrub(&done.summary).into_owned(),
        at: Timestamp::now(),
    })?;
    outputs.0.insert(step.name.into(), done.output);
    events.emit(Event::StepDone { step: step.name.into(), summary: done.summary, milliseconds: since(begun) });
    Ok(())
}

fn open_run(journal: &Journal) -> OpenRun {
    let replay = journal.replay();
    OpenRun { run: replay.begun.run.clone(), step: replay.stopped_in().map(str::to_owned) }
}

fn since(begun: Instant) -> u64 {
    begun.elapsed().as_millis().try_into().unwrap_or(u64::MAX)
}

/// Undoes every step that began, newest first, and ends the run. Not stopped by Ctrl-C: it is what Ctrl-C asks for.
///
/// # Errors
/// The first undoing that failed; the journal then stays open, and the next call goes on from there.
pub async fn put_back<W>(ctx: &Ctx, journal: &mut Journal, steps: &[Step<W>], work: &W) -> Result<()> {
    let outputs = Outputs(journal.replay().outputs.clone());
    let events = ctx.events.of_run(&journal.replay().begun.run);
    for (index, step) in steps.iter().enumerate().rev() {
        let state = journal.replay().state(step.name);
        if matches!(state, StepState::Pending | StepState::Undone) {
            continue;
        }
        debug_assert!(record::next(state, record::StepEvent::Undo).is_some());
        let Some(undo) = &step.undo else { continue };
        let begun = Instant::now();
        events.emit(Event::Undoing {
            step: step.name.into(),
            title: step.title.clone(),
            number: index + 1,
            of: steps.len(),
        });
        journal.append(Record::UndoStarted { step: step.name.into(), at: Timestamp::now() })?;
        let undone = async {
            fault::point(&format!("{}:undo", step.name))?;
            undo(work, &outputs).await
        };
        match undone.await {
            Ok(()) => {
                journal.append(Record::UndoFinished { step: step.name.into(), at: Timestamp::now() })?;
                events.emit(Event::StepUndone { step: step.name.into(), milliseconds: since(begun) });
            }
            Err(error) => {
                let said = format!("not put back: {}", error.message());
                events.emit(Event::StepFailed { step: step.name.into(), error: said, milliseconds: since(begun) });
                let text = ctx.secrets().scrub(&error.to_string()).into_owned();
                let failed = Record::UndoFailed { step: step.name.into(), error: text, at: Timestamp::now() };
                journal.append(failed)?;
                return Err(error.context(format!("undo `{}`", step.title)).behind_it(open_run(journal)));
            }
        }
    }
    journal.append(Record::Ended { outcome: Outcome::PutBack, at: Timestamp::now() })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::file::{open_run, tests::begun};
    use std::path::Path;
    use std::sync::Mutex;

    /// A world of switches: step `n` turns switch `n` on, its undoing turns it off.
    #[derive(Default)]
    struct World {
        on: Mutex<Vec<&'static str>>,
        fail_at: Option<&'static str>,
        fail_undo_at: Mutex<Option<&'static str>>,
        acts: Mutex<Vec<String>>,
    }

    const NAMES: [&str; 4] = ["one", "two", "three", "four"];

    fn steps() -> Vec<Step<World>> {
        NAMES
            .into_iter()
            .map(|name| {
                step(name, format!("turn {name} on"), move |world: &World, _| {
                    Box::pin(async move {
                        world.acts.lock().unwrap().push(name.into());
                        let mut on = world.on.lock().unwrap();
                        if !on.contains(&name) {
                            on.push(name);
                        }
                        if world.fail_at == Some(name) {
                            return Err(CommandError::new(Exit::Failure, format!("{name} broke")));
                        }
                        Done::with(&name, "on")
                    })
                })
                .undo(move |world: &World, _| {
                    Box::pin(async move {
                        if world.fail_undo_at.lock().unwrap().take_if(|at| *at == name).is_some() {
                            return Err(CommandError::new(Exit::Failure, format!("{name} sticks")));
                        }
                        world.on.lock().unwrap().retain(|other| *other != name);
                        Ok(())
                    })
                })
            })
            .collect()
    }

    fn ctx(runs: &Path) -> Ctx {
        Ctx::new("dr.toml".into(), Ok(Default::default()), |_| {}, runs.into(), None, "op@host".into())
    }

    #[tokio::test]
    async fn a_failure_at_any_step_puts_everything_back() {
        for fail_at in NAMES {
            let runs = tempfile::tempdir().unwrap();
            let mut journal = Journal::begin(runs.path(), begun("r")).unwrap();
            let world = World { fail_at: Some(fail_at), ..World::default() };
            let error = execute(&ctx(runs.path()), &mut journal, &steps(), &world, Policy::PutBack).await.unwrap_err();
            assert_eq!(error.message(), format!("{fail_at} broke"));
            assert!(world.on.lock().unwrap().is_empty(), "failed at {fail_at}");
            drop(journal);
            assert_eq!(open_run(runs.path(), "r").unwrap().1.replay.outcome, Some(Outcome::PutBack));
        }
    }

    #[tokio::test]
    async fn a_stopped_run_resumes_at_the_step_that_failed() {
        for fail_at in NAMES {
            let runs = tempfile::tempdir().unwrap();
            let mut journal = Journal::begin(runs.path(), begun("r")).unwrap();
            let world = World { fail_at: Some(fail_at), ..World::default() };
            execute(&ctx(runs.path()), &mut journal, &steps(), &world, Policy::Stop).await.unwrap_err();
            drop(journal);
            let mut journal = Journal::resume(runs.path(), "r").unwrap();
            let again = World::default();
            let outputs = execute(&ctx(runs.path()), &mut journal, &steps(), &again, Policy::Stop).await.unwrap();
            assert_eq!(again.acts.lock().unwrap().first().map(String::as_str), Some(fail_at));
            assert_eq!(outputs.get::<String>("one").unwrap(), "one");
        }
    }

    #[tokio::test]
    async fn a_crash_after_any_record_leaves_a_journal_that_goes_on() {
        let runs = tempfile::tempdir().unwrap();
        let mut journal = Journal::begin(runs.path(), begun("r")).unwrap();
        execute(&ctx(runs.path()), &mut journal, &steps(), &World::default(), Policy::Stop).await.unwrap();
        drop(journal);
        let path = runs.path().join("r/journal.jsonl");
        let lines: Vec<String> = std::fs::read_to_string(&path).unwrap().lines().map(str::to_owned).collect();
        for kept in 1..lines.len() {
            std::fs::write(&path, lines[..kept].join("\n") + "\n").unwrap();
            let mut journal = Journal::resume(runs.path(), "r").unwrap();
            let world = World::default();
            execute(&ctx(runs.path()), &mut journal, &steps(), &world, Policy::Stop).await.unwrap();
            let expected: Vec<String> = NAMES[(kept - 1) / 2..].iter().map(|s| s.to_string()).collect();
            assert_eq!(*world.acts.lock().unwrap(), expected, "cut after record {kept}");
        }
    }

    #[tokio::test]
    async fn an_undoing_that_fails_is_tried_again_and_only_it() {
        for sticks in NAMES {
            let runs = tempfile::tempdir().unwrap();
            let mut journal = Journal::begin(runs.path(), begun("r")).unwrap();
            let world = World { fail_at: Some("four"), fail_undo_at: Mutex::new(Some(sticks)), ..World::default() };
            let error = execute(&ctx(runs.path()), &mut journal, &steps(), &world, Policy::PutBack).await.unwrap_err();
            assert!(error.hints().iter().any(|hint| hint.contains("sticks")), "{error:?}");
            assert!(world.on.lock().unwrap().contains(&sticks));
            drop(journal);
            let mut journal = Journal::resume(runs.path(), "r").unwrap();
            put_back(&ctx(runs.path()), &mut journal, &steps(), &world).await.unwrap();
            assert!(world.on.lock().unwrap().is_empty());
        }
    }

    #[tokio::test]
    async fn a_cancelled_run_is_put_back_and_says_interrupted() {
        let runs = tempfile::tempdir().unwrap();
        let ctx = ctx(runs.path());
        ctx.cancel.cancel();
        let mut journal = Journal::begin(runs.path(), begun("r")).unwrap();
        let world = World::default();
        let error = execute(&ctx, &mut journal, &steps(), &world, Policy::PutBack).await.unwrap_err();
        assert_eq!(error.exit(), Exit::Interrupted);
        assert!(world.on.lock().unwrap().is_empty());
    }
}
