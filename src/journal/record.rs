//! The records of a journal and the transitions that they may make.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Format;
use super::program::StartedProgram;
use crate::names::{NamespaceName, ReleaseName};

/// One line of a journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "kebab-case")]
pub enum Record {
    /// The first line.
    Begun(Begun),
    /// Another process took the run up again.
    Resumed {
        at: Timestamp,
        /// Who, as `user@host`.
        who: String,
    },
    /// A step is about to act. Written and synced before it does.
    Started {
        /// The step's name.
        step: String,
        at: Timestamp,
    },
    /// A step, or its undoing, has started a program that may outlive this process. Written as soon as it runs. Since 1.2.
    Program(StartedProgram),
    /// A step has acted, and its effect is durable.
    Succeeded {
        /// The step's name.
        step: String,
        /// What later steps need of it. Holds no secret.
        output: Value,
        /// What was seen, in a line.
        summary: String,
        at: Timestamp,
    },
    /// A step failed; what it did of its work is unknown.
    Failed {
        /// The step's name.
        step: String,
        /// The error, in a line, without secrets.
        error: String,
        at: Timestamp,
    },
    /// A step is about to be undone.
    UndoStarted {
        /// The step's name.
        step: String,
        at: Timestamp,
    },
    /// A step is undone.
    UndoFinished {
        /// The step's name.
        step: String,
        at: Timestamp,
    },
    /// Undoing failed: the system is in neither state. It is tried again by the next `dr`.
    UndoFailed {
        /// The step's name.
        step: String,
        /// The error, in a line, without secrets.
        error: String,
        at: Timestamp,
    },
    /// The last line: nothing is left to do for this run.
    Ended { outcome: Outcome, at: Timestamp },
}

/// What a run was asked to do, and with what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Begun {
    /// The journal's form.
    pub format: Format,
    /// The run's id, also the folder's name.
    pub run: String,
    /// The verb, as the table of verbs of runs names it.
    pub verb: String,
    /// The namespace of the install.
    pub namespace: NamespaceName,
    /// The Helm release of the install.
    pub release: ReleaseName,
    /// The cluster's identity: the UID of its `kube-system` namespace.
    pub cluster_uid: String,
    /// The verb's own arguments: all that is needed to continue after a crash. Holds no secret.
    pub plan: Value,
    /// Digest of the names of the run's steps, in order: a program with other steps cannot continue it. Since 1.1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps_sha256: Option<String>,
    /// The settings file in force.
    pub settings: String,
    /// The program's version, for people.
    pub dr_version: String,
    /// Who, as `user@host`.
    pub who: String,
    pub at: Timestamp,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// All steps succeeded.
    Done,
    /// It failed or was stopped, and all that it had changed was put back.
    PutBack,
    /// A person gave it up; what could be put back was. Since 1.1.
    Aborted,
}

impl Outcome {
    /// The word for people.
    pub fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::PutBack => "put back",
            Self::Aborted => "aborted",
        }
    }
}

/// What a journal says of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StepState {
    /// Not begun.
    #[default]
    Pending,
    /// Begun, and not known to have ended: it runs again on resume.
    Started,
    /// Ended well.
    Succeeded,
    /// Ended badly: it runs again on resume.
    Failed,
    /// Being undone: undone again on resume.
    Undoing,
    Undone,
    /// Undoing failed: undone again on resume.
    UndoFailed,
}

/// What a record does to a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepEvent {
    /// `Record::Started`
    Start,
    /// `Record::Succeeded`
    Succeed,
    /// `Record::Failed`
    Fail,
    /// `Record::UndoStarted`
    Undo,
    /// `Record::UndoFinished`
    Undone,
    /// `Record::UndoFailed`
    UndoFail,
}

/// The pure table of what may follow what; every pair that it does not name is an error.
pub fn next(state: StepState, event: StepEvent) -> Option<StepState> {
    use StepEvent as E;
    use StepState as S;
    match (state, event) {
        (S::Pending | S::Started | S::Failed, E::Start) => Some(S::Started),
        (S::Started, E::Succeed) => Some(S::Succeeded),
        (S::Started, E::Fail) => Some(S::Failed),
        // A step that began may have acted, so it is undone whether or not it is known to have ended.
        (S::Started | S::Succeeded | S::Failed | S::Undoing | S::UndoFailed, E::Undo) => Some(S::Undoing),
        (S::Undoing, E::Undone) => Some(S::Undone),
        (S::Undoing, E::UndoFail) => Some(S::UndoFailed),
        _ => None,
    }
}

/// Why a sequence of records is no journal.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum IllegalRecord {
    /// The first record is not `begun`, or a later one is.
    #[error("record {0} is out of place: a journal begins with `begun`, once")]
    Begin(usize),
    /// The record cannot follow what stands before it.
    #[error("record {number}: step {step} cannot {event:?} when it is {state:?}")]
    Step {
        /// The record's number, from 1.
        number: usize,
        step: String,
        state: StepState,
        /// What the record says.
        event: StepEvent,
    },
    /// A record after the end.
    #[error("record {0} follows the end of the run")]
    AfterEnd(usize),
}

/// The state that a journal's records add up to.
#[derive(Debug, Clone, PartialEq)]
pub struct Replay {
    /// The first record.
    pub begun: Begun,
    /// Each step's state.
    pub states: BTreeMap<String, StepState>,
    /// What succeeded steps left for later ones.
    pub outputs: BTreeMap<String, Value>,
    /// The programs that were started, oldest first. Of those that this process has started itself, none.
    pub programs: Vec<StartedProgram>,
    /// The newest failure: step and text.
    pub failure: Option<(String, String)>,
    /// How it ended, if it did.
    pub outcome: Option<Outcome>,
    /// When the newest record was written.
    pub last: Timestamp,
    records: usize,
}

impl Replay {
    /// The step that the run stopped in: the one that failed, or that had begun when its process died.
    pub fn stopped_in(&self) -> Option<&str> {
        let begun = self.states.iter().find(|(_, state)| **state == StepState::Started);
        let failed = || self.failure.as_ref().map(|(step, _)| step.as_str());
        begun.map(|(step, _)| step.as_str()).or_else(failed)
    }

    /// Starts from the first record.
    pub fn begin(begun: Begun) -> Self {
        Self {
            last: begun.at,
            begun,
            states: BTreeMap::new(),
            outputs: BTreeMap::new(),
            programs: Vec::new(),
            failure: None,
            outcome: None,
            records: 1,
        }
    }

    /// The state of a step.
    pub fn state(&self, step: &str) -> StepState {
        self.states.get(step).copied().unwrap_or_default()
    }

    /// Whether some step was being undone when the newest record was written: then the run can only be undone.
    pub fn undoing(&self) -> bool {
        self.states.values().any(|s| matches!(s, StepState::Undoing | StepState::Undone | StepState::UndoFailed))
    }

    /// Adds a record.
    ///
    /// # Errors
    /// [`IllegalRecord`] when it cannot follow; the replay is then unchanged.
    pub fn apply(&mut self, record: &Record) -> Result<(), IllegalRecord> {
        let number = self.records + 1;
        if self.outcome.is_some() {
            return Err(IllegalRecord::AfterEnd(number));
        }
        match record {
            Record::Begun(_) => return Err(IllegalRecord::Begin(number)),
            Record::Resumed { at, .. } => self.last = *at,
            Record::Program(program) => {
                self.last = program.at;
                self.programs.push(program.clone());
            }
            Record::Started { step, at } => self.advance(number, step, StepEvent::Start, *at)?,
            Record::Succeeded { step, output, at, .. } => {
                self.advance(number, step, StepEvent::Succeed, *at)?;
                self.outputs.insert(step.clone(), output.clone());
                if self.failure.as_ref().is_some_and(|(failed, _)| failed == step) {
                    self.failure = None;
                }
            }
            Record::Failed { step, error, at } => {
                self.advance(number, step, StepEvent::Fail, *at)?;
                self.failure = Some((step.clone(), error.clone()));
            }
            Record::UndoStarted { step, at } => self.advance(number, step, StepEvent::Undo, *at)?,
            Record::UndoFinished { step, at } => self.advance(number, step, StepEvent::Undone, *at)?,
            Record::UndoFailed { step, error, at } => {
                self.advance(number, step, StepEvent::UndoFail, *at)?;
                self.failure = Some((step.clone(), error.clone()));
            }
            Record::Ended { outcome, at } => {
                self.outcome = Some(*outcome);
                self.last = *at;
            }
        }
        self.records = number;
        Ok(())
    }

    fn advance(&mut self, number: usize, step: &str, event: StepEvent, at: Timestamp) -> Result<(), IllegalRecord> {
        let state = self.state(step);
        let Some(after) = next(state, event) else {
            return Err(IllegalRecord::Step { number, step: step.to_owned(), state, event });
        };
        self.states.insert(step.to_owned(), after);
        self.last = at;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cell_of_the_table_is_as_meant() {
        use StepEvent as E;
        use StepState as S;
        let states = [S::Pending, S::Started, S::Succeeded, S::Failed, S::Undoing, S::Undone, S::UndoFailed];
        let events = [E::Start, E::Succeed, E::Fail, E::Undo, E::Undone, E::UndoFail];
        let legal: Vec<(S, E, S)> = vec![
            (S::Pending, E::Start, S::Started),
            (S::Started, E::Start, S::Started),
            (S::Failed, E::Start, S::Started),
            (S::Started, E::Succeed, S::Succeeded),
            (S::Started, E::Fail, S::Failed),
            (S::Started, E::Undo, S::Undoing),
            (S::Succeeded, E::Undo, S::Undoing),
            (S::Failed, E::Undo, S::Undoing),
            (S::Undoing, E::Undo, S::Undoing),
            (S::UndoFailed, E::Undo, S::Undoing),
            (S::Undoing, E::Undone, S::Undone),
            (S::Undoing, E::UndoFail, S::UndoFailed),
        ];
        for state in states {
            for event in events {
                let expected = legal.iter().find(|(s, e, _)| (*s, *e) == (state, event)).map(|(.., after)| *after);
                assert_eq!(next(state, event), expected, "{state:?} {event:?}");
            }
        }
    }

    #[test]
    fn nothing_follows_the_end_and_nothing_begins_twice() {
        let at = Timestamp::UNIX_EPOCH;
        let begun = crate::journal::testing::begun("r");
        let mut replay = Replay::begin(begun.clone());
        assert_eq!(replay.apply(&Record::Begun(begun)), Err(IllegalRecord::Begin(2)));
        replay.apply(&Record::Ended { outcome: Outcome::Done, at }).unwrap();
        assert_eq!(replay.apply(&Record::Started { step: "a".into(), at }), Err(IllegalRecord::AfterEnd(3)));
    }
}
