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
    let mut journal = if known { Journal::open(runs, "r").unwrap() } else { Journal::begin(runs, begun("r")).unwrap() };
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
async fn what_was_begun_is_put_back_where_nothing_can_be_written_down_and_the_run_stays_open() {
    let runs = MemoryRuns::default();
    let world = World { fail_at: Some("three"), ..World::default() };
    run(&runs, &world).await.unwrap_err();
    runs.fill();
    let failure = undo(&runs, &world).await.unwrap_err();
    assert_eq!((failure.step, failure.title), (None, "close the run"));
    assert!(on(&world).is_empty(), "{:?}", on(&world));
    runs.empty();
    undo(&runs, &world).await.unwrap();
    assert_eq!(told(&runs).replay.outcome, Some(Outcome::Aborted));
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
