//! Executes steps under a journal: announce, act, report. What becomes of a run whose step fails is its verb's to say.

use std::path::{Path, PathBuf};
use std::time::Instant;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::error::{Interrupted, StepError};
use super::fault;
use super::record::{self, Outcome, Record, StepState};
use super::run::Journal;
use super::step::{self, Outputs, Step};
use crate::event::{Event, Events};
use crate::redact::Secrets;
use crate::trace;

/// What the runner needs of the program around it.
#[derive(Debug, Clone)]
pub struct RunContext {
    /// The verb, for people: `bundle create`.
    pub label: &'static str,
    /// Who listens.
    pub events: Events,
    /// Cancelled when the user asks to stop.
    pub cancel: CancellationToken,
    /// What no record may show.
    pub secrets: Secrets,
}

/// A run that did not come to its end, and stands open.
#[derive(Debug)]
pub struct RunFailure<E> {
    pub run: String,
    /// Why the step failed.
    pub error: E,
    /// The step that it stopped in.
    pub step: Option<String>,
}

/// A step that was not undone. The run stands open, and undoing continues with this step when it is tried again.
#[derive(Debug, thiserror::Error)]
#[error("{title}: {error}")]
pub struct UndoFailure<E> {
    /// The run's id.
    pub run: String,
    /// The step's name.
    pub step: Option<String>,
    /// What was to be put back, for people.
    pub title: &'static str,
    pub error: E,
}

/// Executes the steps that have not succeeded yet, in order, and ends the run.
///
/// # Errors
/// [`RunFailure`]: the run stands open.
pub async fn execute<W, E: StepError>(
    context: &RunContext,
    journal: &mut Journal,
    steps: &[Step<W, E>],
    work: &W,
) -> Result<Outputs, RunFailure<E>> {
    let (run, folder) = traced_as(journal);
    let _events = context.events.begin_run(&run);
    let executed = trace::run(&run, folder.as_deref(), forward(context, journal, steps, work)).await;
    executed.map_err(|error| RunFailure { error, step: journal.replay().stopped_in().map(str::to_owned), run })
}

async fn forward<W, E: StepError>(
    context: &RunContext,
    journal: &mut Journal,
    steps: &[Step<W, E>],
    work: &W,
) -> Result<Outputs, E> {
    let (replay, events) = (journal.replay(), &context.events);
    events.emit(Event::RunStarted {
        verb: context.label.to_owned(),
        steps: steps.iter().map(|step| step.name.to_owned()).collect(),
        resumed: !replay.states.is_empty(),
    });
    let mut outputs = Outputs::of(replay);
    for (index, step) in steps.iter().enumerate() {
        let (name, number, of) = (step.name.to_owned(), index + 1, steps.len());
        if journal.replay().state(step.name) == StepState::Succeeded {
            events.emit(Event::StepSkipped { step: name, number, of });
            continue;
        }
        events.emit(Event::StepStarted { step: name.clone(), number, of });
        let begun = Instant::now();
        match trace::step(step.name, act(context, journal, step, work, &mut outputs)).await {
            Ok(summary) => {
                events.emit(Event::StepDone { step: name, summary, milliseconds: since(begun) });
            }
            Err(error) => {
                let text = error.headline().to_owned();
                events.emit(Event::StepFailed { step: name, error: text, milliseconds: since(begun) });
                return Err(error);
            }
        }
    }
    journal.append(Record::Ended { outcome: Outcome::Done, at: Timestamp::now() })?;
    Ok(outputs)
}

/// Announces, acts and reports. Returns what was seen.
async fn act<W, E: StepError>(
    context: &RunContext,
    journal: &mut Journal,
    step: &Step<W, E>,
    work: &W,
    outputs: &mut Outputs,
) -> Result<String, E> {
    journal.append(Record::Started { step: step.name.into(), at: Timestamp::now() })?;
    let acted = async {
        if context.cancel.is_cancelled() {
            return Err(Interrupted.into());
        }
        fault::point(&format!("{}:before", step.name))?;
        let acted = tokio::select! {
            acted = (step.act)(work, outputs) => acted?,
            () = context.cancel.cancelled(), if !step.handles_cancel => return Err(Interrupted.into()),
        };
        fault::point(&format!("{}:after", step.name))?;
        Ok::<_, E>(acted)
    };
    let acted = match acted.await {
        Ok(acted) => acted,
        Err(error) => {
            let text = context.secrets.scrub(&error.to_string()).into_owned();
            let failed = journal.append(Record::Failed { step: step.name.into(), error: text, at: Timestamp::now() });
            if let Err(unwritten) = failed {
                // The step's own error is the one to be told; without its record the step counts as begun.
                context.events.warn(crate::text::chain(&unwritten), None);
            }
            return Err(error);
        }
    };
    journal.append(Record::Succeeded {
        step: step.name.into(),
        output: acted.output.clone(),
        summary: context.secrets.scrub(&acted.summary).into_owned(),
        at: Timestamp::now(),
    })?;
    outputs.insert(step.name, acted.output);
    Ok(acted.summary)
}

/// The run's id, and its folder where it has one: its log and its timing go there.
fn traced_as(journal: &Journal) -> (String, Option<PathBuf>) {
    (journal.replay().begun.run.clone(), journal.folder().map(Path::to_owned))
}

fn since(begun: Instant) -> u64 {
    begun.elapsed().as_millis().try_into().unwrap_or(u64::MAX)
}

/// Undoes every step that began, newest first, and ends the run with `outcome`. Not stopped by Ctrl-C: it is what
/// Ctrl-C asks for.
///
/// # Errors
/// The first undoing that failed; the run then stands open, and the next call continues there.
pub async fn put_back<W, E: StepError>(
    context: &RunContext,
    journal: &mut Journal,
    steps: &[Step<W, E>],
    work: &W,
    outcome: Outcome,
) -> Result<(), UndoFailure<E>> {
    let (run, folder) = traced_as(journal);
    let _events = context.events.begin_run(&run);
    trace::run(&run, folder.as_deref(), undo_all(context, journal, steps, work, outcome)).await
}

async fn undo_all<W, E: StepError>(
    context: &RunContext,
    journal: &mut Journal,
    steps: &[Step<W, E>],
    work: &W,
    outcome: Outcome,
) -> Result<(), UndoFailure<E>> {
    let outputs = Outputs::of(journal.replay());
    let run = journal.replay().begun.run.clone();
    let events = &context.events;
    let undoings = step::undoings(steps, journal.replay());
    let of = undoings.len();
    for (number, (name, undo)) in (1..).zip(undoings) {
        debug_assert!(record::next(journal.replay().state(name), record::StepEvent::Undo).is_some());
        let (begun, title, step) = (Instant::now(), undo.title, name.to_owned());
        events.emit(Event::Undoing { step: step.clone(), title: title.to_owned(), number, of });
        let undone = async {
            journal.append(Record::UndoStarted { step: step.clone(), at: Timestamp::now() })?;
            fault::point(&format!("{name}:undo"))?;
            (undo.act)(work, &outputs).await?;
            journal.append(Record::UndoFinished { step: step.clone(), at: Timestamp::now() })?;
            Ok::<_, E>(())
        };
        if let Err(error) = trace::step(&format!("undo {name}"), undone).await {
            let said = format!("not put back: {}", error.headline());
            events.emit(Event::StepFailed { step: step.clone(), error: said, milliseconds: since(begun) });
            let text = context.secrets.scrub(&error.to_string()).into_owned();
            // Where the journal itself fails, its own error is the cause already.
            drop(journal.append(Record::UndoFailed { step: step.clone(), error: text, at: Timestamp::now() }));
            return Err(UndoFailure { run, step: Some(step), title, error });
        }
        events.emit(Event::StepUndone { step, summary: "put back".into(), milliseconds: since(begun) });
    }
    let ended = journal.append(Record::Ended { outcome, at: Timestamp::now() });
    ended.map_err(|error| UndoFailure { run, step: None, title: "close the run", error: error.into() })
}

#[cfg(test)]
mod tests {
    use super::super::error::JournalError;
    use super::super::fault::InjectedFault;
    use super::*;
    use crate::journal::testing::{MemoryRuns, begun};
    use crate::journal::{Done, FolderRuns, Run, RunStore, StepName, find, step};
    use std::sync::{Arc, Mutex};

    #[derive(Debug, thiserror::Error)]
    enum Broken {
        #[error("{0}")]
        Step(String),
        #[error(transparent)]
        Interrupted(#[from] Interrupted),
        #[error(transparent)]
        Journal(#[from] JournalError),
        #[error(transparent)]
        Fault(#[from] InjectedFault),
    }

    impl StepError for Broken {
        fn headline(&self) -> &str {
            match self {
                Self::Step(text) => text,
                _ => "not by a step",
            }
        }
    }

    /// A world of switches: step `n` turns switch `n` on, its undoing turns it off.
    #[derive(Default)]
    struct World {
        on: Mutex<Vec<&'static str>>,
        fail_at: Option<&'static str>,
        fail_undo_at: Mutex<Option<&'static str>>,
        acts: Mutex<Vec<String>>,
        /// The step in which the user asks to stop; it would go on for ever.
        stopped_in: Option<(&'static str, CancellationToken)>,
        /// What the steps themselves talk through.
        events: Option<Events>,
        /// The place of the runs, which is full when a step breaks.
        full: Option<MemoryRuns>,
    }

    impl World {
        fn say(&self, name: &str) {
            self.events.iter().for_each(|events| events.note(name));
        }
    }

    const NAMES: [&str; 4] = ["one", "two", "three", "four"];

    async fn turn_on(world: &World, name: &'static str) -> Result<Done<&'static str>, Broken> {
        world.acts.lock().unwrap().push(name.into());
        world.say(name);
        if !world.on.lock().unwrap().contains(&name) {
            world.on.lock().unwrap().push(name);
        }
        if world.fail_at == Some(name) {
            world.full.iter().for_each(MemoryRuns::fill);
            return Err(Broken::Step(format!("{name} broke")));
        }
        if let Some((at, cancel)) = &world.stopped_in
            && *at == name
        {
            cancel.cancel();
            // The one that watches tells its program to stop, and waits for that.
            if name == "three" {
                tokio::task::yield_now().await;
                world.acts.lock().unwrap().push("three was told to stop".into());
                return Err(Interrupted.into());
            }
            std::future::pending::<()>().await;
        }
        Ok(Done::with(name, "on"))
    }

    async fn turn_off(world: &World, name: &'static str) -> Result<(), Broken> {
        if world.fail_undo_at.lock().unwrap().take_if(|at| *at == name).is_some() {
            return Err(Broken::Step(format!("{name} sticks")));
        }
        world.say(name);
        world.on.lock().unwrap().retain(|other| *other != name);
        Ok(())
    }

    fn steps() -> Vec<Step<World, Broken>> {
        let one = |name: &'static str| {
            let switch = step(StepName::new(name), move |world, _| Box::pin(turn_on(world, name)))
                .undo("turn it off", move |world, _| Box::pin(turn_off(world, name)));
            if name == "three" { switch.handles_cancel() } else { switch }
        };
        NAMES.into_iter().map(one).collect()
    }

    fn context() -> RunContext {
        RunContext {
            label: "turn on",
            events: Events::none(),
            cancel: CancellationToken::new(),
            secrets: Secrets::default(),
        }
    }

    /// Runs it as a fresh process would; the journal is let go of at the end.
    async fn run(runs: &MemoryRuns, world: &World) -> Result<Outputs, RunFailure<Broken>> {
        let mut context = context();
        if let Some((_, cancel)) = &world.stopped_in {
            context.cancel = cancel.clone();
        }
        let known = find(runs, "r").is_ok();
        let mut journal =
            if known { Journal::open(runs, "r").unwrap() } else { Journal::begin(runs, begun("r")).unwrap() };
        execute(&context, &mut journal, &steps(), world).await
    }

    fn on(world: &World) -> Vec<&'static str> {
        world.on.lock().unwrap().clone()
    }

    fn told(runs: &MemoryRuns) -> Run {
        find(runs, "r").unwrap().1
    }

    /// Undoes what the run has done, as another process would.
    async fn undo(runs: &MemoryRuns, world: &World) -> Result<(), UndoFailure<Broken>> {
        let mut journal = Journal::open(runs, "r").unwrap();
        put_back(&context(), &mut journal, &steps(), world, Outcome::Aborted).await
    }

    #[tokio::test]
    async fn a_failure_at_any_step_leaves_a_run_that_is_put_back_whole() {
        for fail_at in NAMES {
            let runs = MemoryRuns::default();
            let world = World { fail_at: Some(fail_at), ..World::default() };
            let failure = run(&runs, &world).await.unwrap_err();
            assert_eq!(failure.error.headline(), format!("{fail_at} broke"));
            undo(&runs, &world).await.unwrap();
            assert!(on(&world).is_empty(), "failed at {fail_at}");
            assert_eq!(told(&runs).replay.outcome, Some(Outcome::Aborted));
        }
    }

    #[tokio::test]
    async fn the_first_error_stays_the_first_where_the_journal_fails_too() {
        let runs = MemoryRuns::default();
        let mut journal = Journal::begin(&runs, begun("r")).unwrap();
        // The disk fills while the second step works.
        let world = World { fail_at: Some("two"), full: Some(runs.clone()), ..World::default() };
        let failure = execute(&context(), &mut journal, &steps(), &world).await.unwrap_err();
        assert_eq!(failure.error.headline(), "two broke");
        assert_eq!(failure.step.as_deref(), Some("two"));
    }

    #[tokio::test]
    async fn the_runs_folder_keeps_a_log_and_how_long_each_step_and_each_undoing_took() {
        let _traced = crate::trace::tests::trace_this_thread();
        let folder = tempfile::tempdir().unwrap();
        let runs = FolderRuns::new(folder.path());
        let world = World { fail_at: Some("two"), ..World::default() };
        let mut journal = Journal::begin(&runs, begun("r")).unwrap();
        execute(&context(), &mut journal, &steps(), &world).await.unwrap_err();
        put_back(&context(), &mut journal, &steps(), &world, Outcome::Aborted).await.unwrap();
        let folder = runs.folder("r").unwrap();
        let timed = trace::timing::read(&folder).unwrap();
        let ends: Vec<_> = timed.iter().map(|step| format!("{}: {}", step.step, step.outcome)).collect();
        assert_eq!(ends, ["one: ok", "two: two broke", "undo two: ok", "undo one: ok"]);
        let log = std::fs::read_to_string(folder.join("run.log")).unwrap();
        assert!(log.contains("run{id=\"r\"}:step{name=\"one\"}"), "{log}");
    }

    #[tokio::test]
    async fn what_is_said_while_a_run_is_executed_or_undone_belongs_to_it_and_what_is_said_after_does_not() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let ears = Arc::clone(&heard);
        let events = Events::stamped(move |stamped| ears.lock().unwrap().push(stamped));
        let world = World { fail_at: Some("two"), events: Some(events.clone()), ..World::default() };
        let mut journal = Journal::begin(&MemoryRuns::default(), begun("r")).unwrap();
        let context = RunContext { events: events.clone(), ..context() };
        events.note("before");
        execute(&context, &mut journal, &steps(), &world).await.unwrap_err();
        put_back(&context, &mut journal, &steps(), &world, Outcome::Aborted).await.unwrap();
        events.note("after");
        let heard = heard.lock().unwrap();
        let of_none: Vec<&Event> = heard.iter().filter(|said| said.run.is_none()).map(|said| &said.event).collect();
        assert_eq!(of_none, ["before", "after"].map(|text| Event::Note { message: text.into() }).each_ref());
        assert!(heard.iter().all(|said| said.run.as_deref().is_none_or(|run| run == "r")));
        let undoings = heard.iter().filter_map(|said| match &said.event {
            Event::Undoing { step, number, of, .. } => Some((step.as_str(), *number, *of)),
            _ => None,
        });
        assert_eq!(undoings.collect::<Vec<_>>(), [("two", 1, 2), ("one", 2, 2)], "of what is undone, not of all steps");
        let notes = heard.iter().filter(|said| matches!(said.event, Event::Note { .. }));
        assert_eq!(notes.count(), 6, "two steps, two undoings: {heard:?}");
    }

    #[tokio::test]
    async fn a_stopped_run_resumes_at_the_step_that_failed() {
        for fail_at in NAMES {
            let runs = MemoryRuns::default();
            let world = World { fail_at: Some(fail_at), ..World::default() };
            let failure = run(&runs, &world).await.unwrap_err();
            assert_eq!(failure.step.as_deref(), Some(fail_at));
            let again = World::default();
            let outputs = run(&runs, &again).await.unwrap();
            assert_eq!(again.acts.lock().unwrap().first().map(String::as_str), Some(fail_at));
            assert_eq!(outputs.get(StepName::<String>::new("one")).unwrap(), "one");
            assert!(outputs.get(StepName::<u32>::new("one")).is_err());
        }
    }

    #[tokio::test]
    async fn a_crash_after_any_record_leaves_a_journal_that_continues() {
        let runs = MemoryRuns::default();
        run(&runs, &World::default()).await.unwrap();
        let lines: Vec<String> = runs.text("r").lines().map(str::to_owned).collect();
        for kept in 1..lines.len() {
            runs.set("r", &(lines[..kept].join("\n") + "\n"));
            let world = World::default();
            run(&runs, &world).await.unwrap();
            let expected: Vec<String> = NAMES[(kept - 1) / 2..].iter().map(|s| s.to_string()).collect();
            assert_eq!(*world.acts.lock().unwrap(), expected, "cut after record {kept}");
        }
    }

    #[tokio::test]
    async fn an_undoing_that_fails_is_tried_again_and_only_it() {
        for sticks in NAMES {
            let runs = MemoryRuns::default();
            let world = World { fail_at: Some("four"), fail_undo_at: Mutex::new(Some(sticks)), ..World::default() };
            run(&runs, &world).await.unwrap_err();
            assert_eq!(undo(&runs, &world).await.unwrap_err().error.headline(), format!("{sticks} sticks"));
            assert!(on(&world).contains(&sticks));
            assert!(told(&runs).replay.undoing());
            undo(&runs, &world).await.unwrap();
            assert!(on(&world).is_empty());
            assert_eq!(told(&runs).replay.outcome, Some(Outcome::Aborted));
        }
    }

    #[tokio::test]
    async fn a_run_cancelled_in_the_middle_of_a_step_says_interrupted_and_is_put_back() {
        for (at, acts) in [
            ("two", &["one", "two"][..]),
            // It watches for itself: it is not dropped, and has told its program to stop before anything is undone.
            ("three", &["one", "two", "three", "three was told to stop"]),
        ] {
            let runs = MemoryRuns::default();
            let world = World { stopped_in: Some((at, CancellationToken::new())), ..World::default() };
            let failure = run(&runs, &world).await.unwrap_err();
            assert!(matches!(failure.error, Broken::Interrupted(_)), "{failure:?}");
            assert_eq!(*world.acts.lock().unwrap(), acts);
            assert_eq!(told(&runs).replay.failure, Some((at.to_owned(), "interrupted".to_owned())));
            undo(&runs, &world).await.unwrap();
            assert!(on(&world).is_empty());
        }
    }

    #[tokio::test]
    async fn nothing_begins_once_the_user_has_asked_to_stop() {
        let runs = MemoryRuns::default();
        let context = context();
        context.cancel.cancel();
        let world = World::default();
        let mut journal = Journal::begin(&runs, begun("r")).unwrap();
        let failure = execute(&context, &mut journal, &steps(), &world).await.unwrap_err();
        assert!(matches!(failure.error, Broken::Interrupted(_)), "{failure:?}");
        assert!(world.acts.lock().unwrap().is_empty());
    }
}
