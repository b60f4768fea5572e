//! The journal on disk: append and sync, replay, lock.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::record::{Illegal, Record, Replay};
use super::{Begun, FORMAT};

const JOURNAL: &str = "journal.jsonl";
const LOCK: &str = "lock";

/// Why a run cannot be begun, read or gone on with.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Reading or writing failed. A journal that cannot be written stops its run.
    #[error("{act} {path}")]
    Io {
        /// What was tried.
        act: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A line is not a record. The last line may be cut off by a crash, and is then left out; any other may not.
    #[error("{path}: line {line} is damaged")]
    Damaged {
        /// The journal.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// The records do not add up.
    #[error("{path}")]
    Illegal {
        /// The journal.
        path: PathBuf,
        /// Why.
        #[source]
        source: Illegal,
    },
    /// The journal is of a newer form than this program knows.
    #[error("{path}: format {major}.{minor} is newer than {}.{}", FORMAT.major, FORMAT.minor)]
    Newer {
        /// The journal.
        path: PathBuf,
        /// Its major version.
        major: u32,
        /// Its minor version.
        minor: u32,
    },
    /// There is no such run.
    #[error("there is no run `{0}`")]
    NotFound(String),
    /// The beginning of an id fits several runs.
    #[error("`{prefix}` fits {} runs: {}", runs.len(), runs.join(", "))]
    Ambiguous {
        /// What was given.
        prefix: String,
        /// What it fits.
        runs: Vec<String>,
    },
    /// Another process executes it.
    #[error("run {0} is being executed by another process")]
    Held(String),
}

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
    /// Whether it neither ended nor is being executed: its process died, or it stopped to be resumed.
    pub fn is_open(&self) -> bool {
        self.replay.outcome.is_none() && !self.held
    }
}

/// A journal held for appending. Dropping it, or dying, gives up the hold.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    replay: Replay,
    _lock: File,
}

impl Journal {
    /// Begins a run in a folder of its own below `runs`.
    ///
    /// When this returns, the first record and the folder are on disk. A crash before leaves at most a folder without
    /// a journal, which [`list`] passes over.
    ///
    /// # Errors
    /// `Io` naming the path.
    pub fn begin(runs: &Path, begun: Begun) -> Result<Self, JournalError> {
        let folder = runs.join(&begun.run);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(io_error("create", &folder))?;
        let lock = hold(&folder, &begun.run)?;
        let path = folder.join(JOURNAL);
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(io_error("create", &path))?;
        let record = Record::Begun(begun);
        let replay =
            Replay::begin(record.clone()).map_err(|source| JournalError::Illegal { path: path.clone(), source })?;
        let mut journal = Self { path, file, replay, _lock: lock };
        journal.write(&record)?;
        for folder in [&folder, runs] {
            File::open(folder).and_then(|f| f.sync_all()).map_err(io_error("sync", folder))?;
        }
        Ok(journal)
    }

    /// Takes up the run `id`, which no other process may hold.
    ///
    /// A last line cut off by a crash is removed first: its act was either not begun (the line was to announce it) or
    /// is done again (the line was to report it).
    ///
    /// # Errors
    /// [`JournalError`]; a journal of a newer minor form can be read but not continued.
    pub fn resume(runs: &Path, id: &str) -> Result<Self, JournalError> {
        let folder = runs.join(id);
        let lock = hold(&folder, id)?;
        let path = folder.join(JOURNAL);
        let (run, whole) = read(&folder, id)?;
        let format = run.replay.begun.format;
        if format != FORMAT {
            return Err(JournalError::Newer { path, major: format.major, minor: format.minor });
        }
        let file = OpenOptions::new().append(true).open(&path).map_err(io_error("open", &path))?;
        file.set_len(whole).map_err(io_error("cut", &path))?;
        Ok(Self { path, file, replay: run.replay, _lock: lock })
    }

    /// What the records add up to.
    pub fn replay(&self) -> &Replay {
        &self.replay
    }

    /// Appends a record. When this returns it is on disk; when it fails, the run must stop.
    ///
    /// # Errors
    /// `Illegal` when the record cannot follow, `Io` when it could not be made durable.
    pub fn append(&mut self, record: Record) -> Result<(), JournalError> {
        self.replay.apply(&record).map_err(|source| JournalError::Illegal { path: self.path.clone(), source })?;
        self.write(&record)
    }

    fn write(&mut self, record: &Record) -> Result<(), JournalError> {
        let mut line = serde_json::to_vec(record).map_err(|e| io_error("write", &self.path)(e.into()))?;
        line.push(b'\n');
        self.file.write_all(&line).map_err(io_error("write", &self.path))?;
        self.file.sync_data().map_err(io_error("sync", &self.path))
    }
}

/// A run's id, and the run if it could be read.
pub type Listed = (String, Result<Run, JournalError>);

/// All runs below `runs`, oldest first by their first record. A run that cannot be read is given with its error.
pub fn list(runs: &Path) -> Result<Vec<Listed>, JournalError> {
    let entries = match fs::read_dir(runs) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(io_error("list", runs)(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(io_error("list", runs))?;
        if entry.path().join(JOURNAL).exists()
            && let Ok(id) = entry.file_name().into_string()
        {
            let run = read(&entry.path(), &id).map(|(run, _)| run);
            found.push((id, run));
        }
    }
    found.sort_by_key(|(id, run)| (run.as_ref().ok().map(|run| run.replay.begun.at), id.clone()));
    Ok(found)
}

/// Reads the run whose id is `id` or begins with it.
///
/// # Errors
/// `NotFound`, `Ambiguous`, or why it cannot be read.
pub fn open_run(runs: &Path, id: &str) -> Result<(String, Run), JournalError> {
    let mut fitting: Vec<_> = list(runs)?.into_iter().filter(|(name, _)| name.starts_with(id)).collect();
    if let Some(exact) = fitting.iter().position(|(name, _)| name == id) {
        fitting = vec![fitting.swap_remove(exact)];
    }
    match fitting.len() {
        0 => Err(JournalError::NotFound(id.to_owned())),
        1 => {
            let (name, run) = fitting.swap_remove(0);
            run.map(|run| (name, run))
        }
        _ => Err(JournalError::Ambiguous {
            prefix: id.to_owned(),
            runs: fitting.into_iter().map(|(name, _)| name).collect(),
        }),
    }
}

/// Reads a journal, and says up to which byte it is whole.
fn read(folder: &Path, id: &str) -> Result<(Run, u64), JournalError> {
    let path = folder.join(JOURNAL);
    let bytes = fs::read(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => JournalError::NotFound(id.to_owned()),
        _ => io_error("read", &path)(error),
    })?;
    // Only a line that ends is a record: a crash in the middle of an append leaves one that does not.
    let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    let mut records = Vec::new();
    for (index, line) in bytes[..whole].split(|b| *b == b'\n').enumerate() {
        if line.is_empty() && index + 1 == bytes[..whole].split(|b| *b == b'\n').count() {
            break;
        }
        if index == 0 {
            refuse_newer(line, &path)?;
        }
        let damaged = |_| JournalError::Damaged { path: path.clone(), line: index + 1 };
        records.push(serde_json::from_slice::<Record>(line).map_err(damaged)?);
    }
    let illegal = |source| JournalError::Illegal { path: path.clone(), source };
    let first = records.first().cloned().ok_or(JournalError::Damaged { path: path.clone(), line: 1 })?;
    let mut replay = Replay::begin(first).map_err(illegal)?;
    for record in &records[1..] {
        replay.apply(record).map_err(illegal)?;
    }
    let held = held(folder)?;
    Ok((Run { replay, records, held }, whole as u64))
}

/// A newer major form may have other records, so its version is looked for before anything else is understood.
fn refuse_newer(line: &[u8], path: &Path) -> Result<(), JournalError> {
    #[derive(serde::Deserialize)]
    struct Only {
        format: super::Format,
    }
    match serde_json::from_slice::<Only>(line) {
        Ok(Only { format }) if format.major > FORMAT.major => {
            Err(JournalError::Newer { path: path.to_owned(), major: format.major, minor: format.minor })
        }
        _ => Ok(()),
    }
}

fn hold(folder: &Path, id: &str) -> Result<File, JournalError> {
    let path = folder.join(LOCK);
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(
        |error| match error.kind() {
            io::ErrorKind::NotFound => JournalError::NotFound(id.to_owned()),
            _ => io_error("open", &path)(error),
        },
    )?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(JournalError::Held(id.to_owned())),
        Err(error) => Err(io_error("lock", &path)(error.into())),
    }
}

fn held(folder: &Path) -> Result<bool, JournalError> {
    let path = folder.join(LOCK);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(io_error("open", &path)(error)),
    };
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(false),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(true),
        Err(error) => Err(io_error("lock", &path)(error.into())),
    }
}

fn io_error(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> JournalError + use<> {
    let path = path.to_owned();
    move |source| JournalError::Io { act, path, source }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::journal::{Outcome, StepState};
    use jiff::Timestamp;
    use serde_json::json;

    pub(in crate::journal) fn begun(run: &str) -> Begun {
        Begun {
            format: FORMAT,
            run: run.into(),
            verb: "create".into(),
            namespace: "opschain".into(),
            release: "opschain".into(),
            cluster_uid: "u".into(),
            plan: json!({}),
            settings: "dr.toml".into(),
            dr_version: "0".into(),
            who: "op@host".into(),
            at: Timestamp::UNIX_EPOCH,
        }
    }

    fn started(step: &str) -> Record {
        Record::Started { step: step.into(), at: Timestamp::UNIX_EPOCH }
    }

    #[test]
    fn a_run_read_back_is_the_run_written() {
        let runs = tempfile::tempdir().unwrap();
        let mut journal = Journal::begin(runs.path(), begun("r1")).unwrap();
        journal.append(started("a")).unwrap();
        let output = json!({"replicas": 3});
        journal
            .append(Record::Succeeded {
                step: "a".into(),
                output: output.clone(),
                summary: "ok".into(),
                at: Timestamp::UNIX_EPOCH,
            })
            .unwrap();
        let (_, run) = open_run(runs.path(), "r").unwrap();
        assert!(run.held && !run.is_open());
        assert_eq!(run.replay.outputs["a"], output);
        drop(journal);
        assert!(open_run(runs.path(), "r1").unwrap().1.is_open());
    }

    #[test]
    fn a_line_cut_off_by_a_crash_is_left_out_at_every_length() {
        let runs = tempfile::tempdir().unwrap();
        let mut journal = Journal::begin(runs.path(), begun("r1")).unwrap();
        let path = runs.path().join("r1").join(JOURNAL);
        let whole = fs::metadata(&path).unwrap().len();
        journal.append(started("a")).unwrap();
        drop(journal);
        let bytes = fs::read(&path).unwrap();
        for length in whole as usize..bytes.len() {
            fs::write(&path, &bytes[..length]).unwrap();
            let mut journal = Journal::resume(runs.path(), "r1").unwrap();
            assert_eq!(journal.replay().state("a"), StepState::Pending);
            journal.append(started("b")).unwrap();
            drop(journal);
            assert_eq!(open_run(runs.path(), "r1").unwrap().1.replay.state("b"), StepState::Started);
        }
    }

    #[test]
    fn a_held_run_is_not_taken_and_an_ended_one_not_continued() {
        let runs = tempfile::tempdir().unwrap();
        let mut journal = Journal::begin(runs.path(), begun("r1")).unwrap();
        assert!(matches!(Journal::resume(runs.path(), "r1"), Err(JournalError::Held(_))));
        journal.append(Record::Ended { outcome: Outcome::Done, at: Timestamp::UNIX_EPOCH }).unwrap();
        assert!(matches!(journal.append(started("a")), Err(JournalError::Illegal { .. })));
    }

    #[test]
    fn a_damaged_line_a_newer_form_and_an_unknown_run_are_named() {
        let runs = tempfile::tempdir().unwrap();
        drop(Journal::begin(runs.path(), begun("r1")).unwrap());
        let path = runs.path().join("r1").join(JOURNAL);
        let good = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{good}rubbish\n")).unwrap();
        assert!(matches!(open_run(runs.path(), "r1"), Err(JournalError::Damaged { line: 2, .. })));
        fs::write(&path, good.replace("\"major\":1", "\"major\":2").replace("begun", "novel")).unwrap();
        assert!(matches!(open_run(runs.path(), "r1"), Err(JournalError::Newer { major: 2, .. })));
        assert!(matches!(open_run(runs.path(), "zzz"), Err(JournalError::NotFound(_))));
        assert_eq!(list(runs.path()).unwrap().len(), 1);
    }
}
