//! A run: read as its journal tells it, or held to be continued.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use jiff::Timestamp;
use serde::de::IgnoredAny;

use super::error::JournalError;
use super::program::StartedProgram;
use super::record::{Begun, IllegalRecord, Record, Replay};
use super::store::{RunLog, RunStore, StoredRun};
use super::{FORMAT, Format};

/// A run as its journal tells it.
#[derive(Debug)]
pub struct Run {
    /// The state that the records add up to.
    pub replay: Replay,
    /// All records, in order.
    pub records: Vec<Record>,
    /// Whether a living process executes it.
    pub held: bool,
}

impl Run {
    /// Whether it neither ended nor is being executed: it was interrupted, or it stopped to be resumed.
    pub fn is_open(&self) -> bool {
        self.replay.outcome.is_none() && !self.held
    }

    /// When the step was done, where it was; the last time, where it was done again.
    pub fn succeeded_at(&self, name: &str) -> Option<Timestamp> {
        self.records.iter().rev().find_map(|record| match record {
            Record::Succeeded { step, at, .. } if step == name => Some(*at),
            _ => None,
        })
    }

    /// Reads a run.
    ///
    /// # Errors
    /// A line is damaged, or the format is a newer one.
    pub fn parse(stored: &StoredRun) -> Result<Self, JournalError> {
        let newer = newer_format(&stored.lines);
        let as_newer = |Format { major, minor }| JournalError::Newer { place: stored.place.clone(), major, minor };
        if let Some(format) = newer.filter(|format| format.major > FORMAT.major) {
            return Err(as_newer(format));
        }
        let illegal = |source| newer.map_or(JournalError::Illegal { place: stored.place.clone(), source }, as_newer);
        let mut records = Vec::new();
        for (index, line) in stored.lines.split_inclusive(|b| *b == b'\n').enumerate() {
            // What a newer minor format has added is whole JSON; what is not is damaged in every format.
            let added = || newer.filter(|_| serde_json::from_slice::<IgnoredAny>(line).is_ok());
            let damaged = || JournalError::Damaged { place: stored.place.clone(), line: index + 1 };
            records.push(serde_json::from_slice::<Record>(line).map_err(|_| added().map_or_else(damaged, as_newer))?);
        }
        let Some(Record::Begun(begun)) = records.first() else { return Err(illegal(IllegalRecord::Begin(1))) };
        // Its id becomes a part of commands and of marks in the cluster: one that another run has is none of its own.
        if begun.run != stored.id {
            return Err(JournalError::Damaged { place: stored.place.clone(), line: 1 });
        }
        let mut replay = Replay::begin(begun.clone());
        for record in &records[1..] {
            replay.apply(record).map_err(illegal)?;
        }
        Ok(Self { replay, records, held: stored.held })
    }
}

/// The format of a journal that is newer than this program's. It may have other records, so its version is looked for
/// before anything else is understood.
fn newer_format(lines: &[u8]) -> Option<Format> {
    #[derive(serde::Deserialize)]
    struct OnlyFormat {
        format: Format,
    }
    let first = lines.split(|b| *b == b'\n').next()?;
    let OnlyFormat { format } = serde_json::from_slice(first).ok()?;
    ((format.major, format.minor) > (FORMAT.major, FORMAT.minor)).then_some(format)
}

/// A run's id, and the run if it could be read.
pub type ListedRun = (String, Result<Run, JournalError>);

/// All runs, oldest first by their first record. A run that cannot be read is given with its error.
///
/// # Errors
/// The place of the runs cannot be read.
pub fn list(runs: &dyn RunStore) -> Result<Vec<ListedRun>, JournalError> {
    let mut found: Vec<ListedRun> = Vec::new();
    for id in runs.ids()? {
        match runs.read(&id).and_then(|stored| Run::parse(&stored)) {
            Err(JournalError::NotFound(_)) => {}
            run => found.push((id, run)),
        }
    }
    found.sort_by_key(|(id, run)| (run.as_ref().ok().map(|run| run.replay.begun.at), id.clone()));
    Ok(found)
}

/// The whole id of the run whose id is `id` or begins with it, whether or not it can be read.
///
/// # Errors
/// `NotFound`, `Ambiguous`, or the place of the runs cannot be read.
pub fn named(runs: &dyn RunStore, id: &str) -> Result<String, JournalError> {
    let mut fitting: Vec<String> = runs.ids()?.into_iter().filter(|name| name.starts_with(id)).collect();
    if let Some(exact) = fitting.iter().position(|name| name == id) {
        return Ok(fitting.swap_remove(exact));
    }
    // One that did nothing before it died is none.
    fitting.retain(|name| !matches!(runs.read(name), Err(JournalError::NotFound(_))));
    fitting.sort();
    match fitting.len() {
        0 => Err(JournalError::NotFound(id.to_owned())),
        1 => Ok(fitting.swap_remove(0)),
        _ => Err(JournalError::Ambiguous { prefix: id.to_owned(), runs: fitting }),
    }
}

/// Reads the run whose id is `id` or begins with it.
///
/// # Errors
/// As [`named`], or why it cannot be read.
pub fn find(runs: &dyn RunStore, id: &str) -> Result<(String, Run), JournalError> {
    let id = named(runs, id)?;
    let run = Run::parse(&runs.read(&id)?)?;
    Ok((id, run))
}

/// What a run is written to: by who executes it, and meanwhile by its steps.
pub(super) type SharedLog = Arc<Mutex<Box<dyn RunLog>>>;

/// What a step may add to the journal of its run while it acts. It holds the run no longer than its [`Journal`] does.
#[derive(Debug, Clone)]
pub struct JournalNotes {
    log: Weak<Mutex<Box<dyn RunLog>>>,
    place: String,
}

impl JournalNotes {
    /// Writes down that a program was started. When this returns, it is durable.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn program(&self, program: StartedProgram) -> Result<(), JournalError> {
        match self.log.upgrade() {
            Some(log) => append(&log, &Record::Program(program), &self.place),
            // The run is over for this process.
            None => Ok(()),
        }
    }
}

/// A run held by this process, to be appended to. Dropping it, or dying, gives up the hold.
#[derive(Debug)]
pub struct Journal {
    log: SharedLog,
    folder: Option<PathBuf>,
    place: String,
    replay: Replay,
}

impl Journal {
    /// Begins a run. When this returns, its first record is durable.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn begin(runs: &dyn RunStore, begun: Begun) -> Result<Self, JournalError> {
        let id = begun.run.clone();
        let log = runs.begin(&id, &line(&Record::Begun(begun.clone()), &id)?)?;
        Ok(Self {
            log: shared(log),
            folder: runs.folder(&id),
            place: format!("the journal of run {id}"),
            replay: Replay::begin(begun),
        })
    }

    /// Takes up the run `id`, which no other process may hold.
    ///
    /// # Errors
    /// [`JournalError`]; a journal of a newer minor format can be read but not continued.
    pub fn open(runs: &dyn RunStore, id: &str) -> Result<Self, JournalError> {
        let log = runs.open(id)?;
        let stored = runs.read(id)?;
        let Run { replay, .. } = Run::parse(&stored)?;
        let Format { major, minor } = replay.begun.format;
        if (major, minor) > (FORMAT.major, FORMAT.minor) {
            return Err(JournalError::Newer { place: stored.place, major, minor });
        }
        Ok(Self { log: shared(log), folder: runs.folder(id), place: stored.place, replay })
    }

    /// What the records add up to.
    pub fn replay(&self) -> &Replay {
        &self.replay
    }

    /// The folder of the run, for what else is kept of it, where there is one.
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// For what its steps write down themselves. Of a journal that an older program has begun, nothing: that one would take
    /// what it does not know for damage.
    pub fn notes(&self) -> JournalNotes {
        let Format { major, minor } = self.replay.begun.format;
        let knows = (major, minor) >= (1, 2);
        JournalNotes { log: if knows { Arc::downgrade(&self.log) } else { Weak::new() }, place: self.place.clone() }
    }

    pub(super) fn into_log(self) -> (SharedLog, String) {
        (self.log, self.place)
    }

    /// Appends a record. When this returns it is durable; when it fails, the run must stop.
    ///
    /// # Errors
    /// `Illegal` when the record cannot follow, `Io` when it could not be made durable.
    pub fn append(&mut self, record: Record) -> Result<(), JournalError> {
        let mut after = self.replay.clone();
        after.apply(&record).map_err(|source| JournalError::Illegal { place: self.place.clone(), source })?;
        append(&self.log, &record, &self.place)?;
        self.replay = after;
        Ok(())
    }
}

pub(super) fn shared(log: Box<dyn RunLog>) -> SharedLog {
    Arc::new(Mutex::new(log))
}

pub(super) fn append(log: &SharedLog, record: &Record, place: &str) -> Result<(), JournalError> {
    log.lock().unwrap_or_else(PoisonError::into_inner).append(&line(record, place)?)
}

fn line(record: &Record, place: &str) -> Result<Vec<u8>, JournalError> {
    let mut line = serde_json::to_vec(record).map_err(|error| JournalError::Io {
        act: "write",
        place: place.to_owned(),
        source: error.into(),
    })?;
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::testing::{MemoryRuns, begun};
    use crate::journal::{FolderRuns, Outcome, StepState};
    use serde_json::json;

    fn started(step: &str) -> Record {
        Record::Started { step: step.into(), at: Timestamp::UNIX_EPOCH }
    }

    /// Every place that keeps runs, and a folder that lives as long.
    fn places() -> (tempfile::TempDir, Vec<Box<dyn RunStore>>) {
        let folder = tempfile::tempdir().unwrap();
        let runs = FolderRuns::new(folder.path().join("state/runs"));
        (folder, vec![Box::new(runs), Box::new(MemoryRuns::default())])
    }

    #[test]
    fn a_run_read_back_is_the_run_written() {
        let (_folder, places) = places();
        for runs in &places {
            let runs = runs.as_ref();
            assert!(list(runs).unwrap().is_empty());
            let mut journal = Journal::begin(runs, begun("r1")).unwrap();
            journal.append(started("a")).unwrap();
            let output = json!({"replicas": 3});
            let (step, summary, at) = ("a".into(), "ok".into(), Timestamp::UNIX_EPOCH);
            journal.append(Record::Succeeded { step, output: output.clone(), summary, at }).unwrap();
            let (_, run) = find(runs, "r").unwrap();
            assert!(run.held && !run.is_open());
            assert_eq!((&run.replay, &run.replay.outputs["a"]), (journal.replay(), &output));
            drop(journal);
            assert!(find(runs, "r1").unwrap().1.is_open());
            let mut journal = Journal::open(runs, "r1").unwrap();
            journal.append(started("b")).unwrap();
            assert_eq!(find(runs, "r1").unwrap().1.replay.state("b"), StepState::Started);
        }
    }

    #[test]
    fn a_program_that_a_step_starts_stands_in_the_journal_at_once_and_its_notes_hold_no_run() {
        let (_folder, places) = places();
        for runs in &places {
            let runs = runs.as_ref();
            let mut journal = Journal::begin(runs, begun("r1")).unwrap();
            journal.append(started("a")).unwrap();
            let notes = journal.notes();
            let program = StartedProgram::of("dr", std::process::id()).unwrap();
            notes.program(program.clone()).unwrap();
            journal.append(started("a")).unwrap();
            let (_, run) = find(runs, "r1").unwrap();
            assert_eq!((&run.replay.programs, run.records.len()), (&vec![program.clone()], 4));
            drop(journal);
            let journal = Journal::open(runs, "r1").unwrap();
            assert_eq!(journal.replay().programs, std::slice::from_ref(&program));
            notes.program(program).unwrap();
            assert_eq!(find(runs, "r1").unwrap().1.replay.programs.len(), 1, "of a journal that is gone");
        }
    }

    #[test]
    fn a_held_run_is_not_taken_and_an_ended_one_not_continued() {
        let (_folder, places) = places();
        for runs in &places {
            let runs = runs.as_ref();
            let mut journal = Journal::begin(runs, begun("r1")).unwrap();
            assert!(matches!(Journal::open(runs, "r1"), Err(JournalError::Held(_))));
            journal.append(Record::Ended { outcome: Outcome::Done, at: Timestamp::UNIX_EPOCH }).unwrap();
            let before = journal.replay().clone();
            assert!(matches!(journal.append(started("a")), Err(JournalError::Illegal { .. })));
            assert_eq!(journal.replay(), &before);
        }
    }

    #[test]
    fn a_damaged_line_a_newer_format_an_unknown_run_and_a_beginning_of_two_are_named() {
        let runs = MemoryRuns::default();
        drop(Journal::begin(&runs, begun("r1")).unwrap());
        let good = runs.text("r1");
        runs.set("r1", &format!("{good}rubbish\n"));
        assert!(matches!(find(&runs, "r1"), Err(JournalError::Damaged { line: 2, .. })));
        assert_eq!(list(&runs).unwrap().len(), 1, "it is listed with its error");
        runs.set("r1", &good.replace("\"major\":1", "\"major\":2").replace("begun", "novel"));
        assert!(matches!(find(&runs, "r1"), Err(JournalError::Newer { major: 2, .. })));
        let minor = good.replace(&format!("\"minor\":{}", FORMAT.minor), "\"minor\":99");
        runs.set("r1", &minor);
        assert!(find(&runs, "r1").is_ok());
        assert!(matches!(Journal::open(&runs, "r1"), Err(JournalError::Newer { minor: 99, .. })));
        runs.set("r1", &format!("{minor}{{\"record\":\"novel\"}}\n"));
        assert!(matches!(find(&runs, "r1"), Err(JournalError::Newer { minor: 99, .. })), "a record that was added");
        runs.set("r1", &format!("{minor}rubbish\n"));
        assert!(matches!(find(&runs, "r1"), Err(JournalError::Damaged { line: 2, .. })), "no version writes rubbish");
        assert!(matches!(find(&runs, "zzz"), Err(JournalError::NotFound(_))));
        runs.set("r1", &good.replace("\"run\":\"r1\"", "\"run\":\"../../x\""));
        assert!(matches!(find(&runs, "r1"), Err(JournalError::Damaged { line: 1, .. })));
        runs.set("r1", &good);
        drop(Journal::begin(&runs, begun("r12")).unwrap());
        assert!(matches!(find(&runs, "r"), Err(JournalError::Ambiguous { runs, .. }) if runs == ["r1", "r12"]));
        assert_eq!(find(&runs, "r1").unwrap().0, "r1", "the whole id is no beginning of another");
    }
}
