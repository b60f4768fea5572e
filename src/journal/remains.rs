//! What is needed of a run to put it back, read line by line.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::Value;

use super::FORMAT;
use super::error::JournalError;
use super::record::{Outcome, Record, Replay};
use super::run::{self, Journal, Run, SharedLog};
use super::store::{RunStore, StoredRun};
use crate::clock;
use crate::names::{NamespaceName, ReleaseName};

/// What a run has left behind, as far as its journal tells. A line that is damaged, or that another version of this
/// program has written, is passed over: what the others say still holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Remains {
    pub run: String,
    /// The verb's word.
    pub verb: String,
    pub namespace: NamespaceName,
    pub release: ReleaseName,
    /// The cluster's identity.
    pub cluster_uid: String,
    /// When it began.
    pub at: Timestamp,
    /// What the verb was asked to do, in the words of whatever version has begun it.
    pub plan: Value,
    /// The steps that had begun, whether or not they have ended.
    pub begun: BTreeSet<String>,
    /// What each step has left, by its name.
    pub outputs: BTreeMap<String, Value>,
    /// Whether a line was not understood: what it said is not known.
    pub damaged: bool,
    /// How it ended, in a word, if it did.
    pub ended: Option<String>,
    /// Whether the journal is of a major version that this program does not know, and must not add to.
    pub foreign: bool,
}

impl Remains {
    /// Reads them; `None` where the first line does not tell whose they are, or tells of another run.
    pub fn of(stored: &StoredRun) -> Option<Self> {
        let lines = stored.lines.split(|b| *b == b'\n').filter(|line| !line.is_empty());
        let mut lines = lines.map(serde_json::from_slice::<Value>);
        let first = lines.next()?.ok()?;
        let text = |key: &str| first[key].as_str().map(str::to_owned);
        let mut remains = Self {
            run: text("run").filter(|run| *run == stored.id)?,
            verb: text("verb")?,
            namespace: text("namespace")?.parse().ok()?,
            release: text("release")?.parse().ok()?,
            cluster_uid: text("cluster_uid")?,
            at: text("at")?.parse().ok()?,
            plan: first["plan"].clone(),
            begun: BTreeSet::new(),
            outputs: BTreeMap::new(),
            damaged: match Run::parse(stored) {
                Err(JournalError::Newer { major, .. }) => major == FORMAT.major,
                parsed => matches!(parsed, Err(JournalError::Damaged { .. } | JournalError::Illegal { .. })),
            },
            ended: ended(stored),
            foreign: first["format"]["major"].as_u64().is_none_or(|major| major > FORMAT.major.into()),
        };
        for line in lines.filter_map(Result::ok) {
            let (Some(record @ ("started" | "succeeded")), Some(step)) =
                (line["record"].as_str(), line["step"].as_str())
            else {
                continue;
            };
            remains.begun.insert(step.to_owned());
            if record == "succeeded" {
                remains.outputs.insert(step.to_owned(), line["output"].clone());
            }
        }
        Some(remains)
    }
}

impl From<&Replay> for Remains {
    fn from(replay: &Replay) -> Self {
        let begun = replay.begun.clone();
        Self {
            run: begun.run,
            verb: begun.verb,
            namespace: begun.namespace,
            release: begun.release,
            cluster_uid: begun.cluster_uid,
            at: begun.at,
            plan: begun.plan,
            begun: replay.states.keys().cloned().collect(),
            outputs: replay.outputs.clone(),
            damaged: false,
            ended: replay.outcome.map(|outcome| outcome.word().to_owned()),
            foreign: false,
        }
    }
}

/// How a run ended, in a word, whatever else of its journal is understood. `None` where it is not over: what more was done
/// after an end is no end.
pub fn ended(stored: &StoredRun) -> Option<String> {
    let mut lines = stored.lines.rsplit(|b| *b == b'\n').filter_map(|line| serde_json::from_slice::<Value>(line).ok());
    let line = lines.next().filter(|line| line["record"] == "ended")?;
    let outcome = serde_json::from_value::<Outcome>(line["outcome"].clone());
    Some(outcome.map_or("over", Outcome::word).to_owned())
}

/// A run that is held only to be closed, whether or not its lines are understood.
#[derive(Debug)]
pub struct ClosingRun {
    log: SharedLog,
    place: String,
}

impl ClosingRun {
    /// Takes the run `id`, which no other process may hold, with what it has left by now.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn open(runs: &dyn RunStore, id: &str) -> Result<(Self, StoredRun), JournalError> {
        let log = runs.open(id)?;
        let stored = runs.read(id)?;
        Ok((Self { log: run::shared(log), place: stored.place.clone() }, stored))
    }

    /// Lets go of a run that this process has executed, but for closing it.
    pub fn of(journal: Journal) -> Self {
        let (log, place) = journal.into_log();
        Self { log, place }
    }

    /// Writes down that the run is over.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn end(self, outcome: Outcome) -> Result<(), JournalError> {
        run::append(&self.log, &Record::Ended { outcome, at: clock::now() }, &self.place)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::journal::testing::{MemoryRuns, begun};
    use crate::journal::{Journal, find};

    fn run() -> MemoryRuns {
        let runs = MemoryRuns::default();
        let at = Timestamp::UNIX_EPOCH;
        let mut journal = Journal::begin(&runs, begun("create-1")).unwrap();
        for step in ["record-replicas", "stop-writers"] {
            journal.append(Record::Started { step: step.into(), at }).unwrap();
            let (step, output) = (step.to_owned(), json!(step));
            journal.append(Record::Succeeded { step, output, summary: String::new(), at }).unwrap();
        }
        runs
    }

    fn remains(runs: &MemoryRuns) -> Option<Remains> {
        Remains::of(&runs.read("create-1").unwrap())
    }

    #[test]
    fn what_a_good_journal_leaves_is_what_its_replay_says() {
        let runs = run();
        assert_eq!(remains(&runs).unwrap(), Remains::from(&find(&runs, "create-1").unwrap().1.replay));
    }

    #[test]
    fn a_damaged_line_hides_no_other_and_a_run_is_closed_all_the_same() {
        let good = run().text("create-1");
        for damaged in 0..good.lines().count() {
            let runs = run();
            let line = |(at, line): (usize, &str)| if at == damaged { "{\"rec".into() } else { line.to_owned() };
            runs.set("create-1", &(good.lines().enumerate().map(line).collect::<Vec<_>>().join("\n") + "\n"));
            assert!(find(&runs, "create-1").is_err());
            let ended = || ended(&runs.read("create-1").unwrap());
            assert_eq!(ended(), None);
            match remains(&runs) {
                None => assert_eq!(damaged, 0, "without its first line nobody knows whose run it is"),
                Some(left) => {
                    assert!(left.damaged);
                    assert_eq!(left.outputs.contains_key("record-replicas"), damaged != 2);
                    assert_eq!((&*left.namespace, left.ended), ("opschain", None));
                }
            }
            ClosingRun::open(&runs, "create-1").unwrap().0.end(Outcome::PutBack).unwrap();
            assert_eq!(ended().as_deref(), Some("put back"));
        }
    }

    #[test]
    fn an_end_with_more_after_it_ends_nothing_and_is_damage() {
        let good = run().text("create-1");
        let end = serde_json::to_string(&Record::Ended { outcome: Outcome::Done, at: Timestamp::UNIX_EPOCH }).unwrap();
        let mut lines: Vec<&str> = good.lines().collect();
        for place in 1..lines.len() {
            lines.insert(place, &end);
            let runs = run();
            runs.set("create-1", &(lines.join("\n") + "\n"));
            let left = remains(&runs).unwrap();
            assert!(left.damaged && left.ended.is_none(), "at {place}");
            lines.remove(place);
        }
    }

    #[test]
    fn a_later_format_is_read_as_far_as_it_is_understood() {
        let good = run().text("create-1");
        let runs = run();
        runs.set(
            "create-1",
            &(good.replace(&format!("\"minor\":{}", FORMAT.minor), "\"minor\":9") + "{\"record\":\"novel\"}\n"),
        );
        let left = remains(&runs).unwrap();
        assert!(!left.foreign && left.damaged, "what the novel line says is not known");
        runs.set("create-1", &good.replace("\"major\":1", "\"major\":2"));
        assert!(remains(&runs).unwrap().foreign);
    }
}
