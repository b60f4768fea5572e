//! Test doubles: runs in memory, and a first record.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;

use super::error::JournalError;
use super::store::{RunLog, RunStore, StoredRun};
use super::{Begun, FORMAT};

/// Runs in memory.
#[derive(Debug, Clone, Default)]
pub struct MemoryRuns(Arc<Mutex<BTreeMap<String, MemoryRun>>>);

#[derive(Debug, Default)]
struct MemoryRun {
    lines: Vec<u8>,
    held: bool,
    /// There is no room for another line.
    full: bool,
}

impl MemoryRuns {
    pub fn text(&self, id: &str) -> String {
        String::from_utf8(self.0.lock().unwrap()[id].lines.clone()).unwrap()
    }

    pub fn set(&self, id: &str, lines: &str) {
        self.0.lock().unwrap().get_mut(id).unwrap().lines = lines.into();
    }

    /// Leaves no room for another line.
    pub fn fill(&self) {
        self.0.lock().unwrap().values_mut().for_each(|run| run.full = true);
    }

    /// Makes room again.
    pub fn empty(&self) {
        self.0.lock().unwrap().values_mut().for_each(|run| run.full = false);
    }

    fn hold(&self, id: &str) -> Box<dyn RunLog> {
        Box::new(MemoryLog { runs: self.clone(), id: id.to_owned() })
    }
}

impl RunStore for MemoryRuns {
    fn begin(&self, id: &str, first: &[u8]) -> Result<Box<dyn RunLog>, JournalError> {
        self.0.lock().unwrap().insert(id.to_owned(), MemoryRun { lines: first.to_owned(), held: true, full: false });
        Ok(self.hold(id))
    }

    fn open(&self, id: &str) -> Result<Box<dyn RunLog>, JournalError> {
        let mut runs = self.0.lock().unwrap();
        let run = runs.get_mut(id).ok_or_else(|| JournalError::NotFound(id.to_owned()))?;
        if std::mem::replace(&mut run.held, true) {
            return Err(JournalError::Held(id.to_owned()));
        }
        Ok(self.hold(id))
    }

    fn ids(&self) -> Result<Vec<String>, JournalError> {
        Ok(self.0.lock().unwrap().keys().cloned().collect())
    }

    fn read(&self, id: &str) -> Result<StoredRun, JournalError> {
        let runs = self.0.lock().unwrap();
        let run = runs.get(id).ok_or_else(|| JournalError::NotFound(id.to_owned()))?;
        let (id, place) = (id.to_owned(), format!("run {id}"));
        Ok(StoredRun { id, lines: run.lines.clone(), place, held: run.held })
    }

    fn folder(&self, _: &str) -> Option<PathBuf> {
        None
    }
}

#[derive(Debug)]
struct MemoryLog {
    runs: MemoryRuns,
    id: String,
}

impl RunLog for MemoryLog {
    fn append(&mut self, line: &[u8]) -> Result<(), JournalError> {
        let mut runs = self.runs.0.lock().unwrap();
        let run = runs.get_mut(&self.id).unwrap();
        if run.full {
            let source = std::io::Error::from(std::io::ErrorKind::StorageFull).into();
            return Err(JournalError::Io { act: "write", place: self.id.clone(), source });
        }
        run.lines.extend_from_slice(line);
        Ok(())
    }
}

impl Drop for MemoryLog {
    fn drop(&mut self) {
        self.runs.0.lock().unwrap().get_mut(&self.id).unwrap().held = false;
    }
}

pub fn begun(run: &str) -> Begun {
    Begun {
        format: FORMAT,
        run: run.into(),
        verb: "create".into(),
        namespace: "opschain".into(),
        release: "opschain".into(),
        cluster_uid: "u".into(),
        plan: serde_json::json!({}),
        steps_sha256: None,
        settings: "dr.toml".into(),
        dr_version: "0".into(),
        who: "op@host".into(),
        at: Timestamp::UNIX_EPOCH,
    }
}
