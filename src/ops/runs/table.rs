//! The verbs whose executions are runs, and which of their open runs this program can continue.

use super::verb::{Aftermath, PutBackVerb, ResumeVerb, RunVerb};
use crate::error::{CommandError, Exit};
use crate::journal::{Outcome, Replay};
use crate::ops::{create, restore};

pub const VERBS: &[RunVerb] = &[create::RUN, restore::RUN];

/// The verb of this word.
fn verb_of(name: &str) -> Option<&'static RunVerb> {
    VERBS.iter().find(|verb| verb.name == name)
}

/// The verb of this word, if its runs are put back.
pub(super) fn puts_back(name: &str) -> Option<&'static PutBackVerb> {
    match &verb_of(name)?.aftermath {
        Aftermath::PutBack(verb) => Some(verb),
        Aftermath::Resume(_) => None,
    }
}

/// The verb of this word, if its runs are resumed.
pub(super) fn resumes(name: &str) -> Option<&'static ResumeVerb> {
    match &verb_of(name)?.aftermath {
        Aftermath::Resume(verb) => Some(verb),
        Aftermath::PutBack(_) => None,
    }
}

/// Whether an open run of the verb of this word has its install half done: one that is resumed, and one of which this
/// program does not know what it does.
pub(super) fn leaves_half_done(name: &str) -> bool {
    puts_back(name).is_none()
}

/// The verb of this word, for people.
pub(super) fn label(verb: &str) -> String {
    verb_of(verb).map_or_else(|| verb.to_owned(), |verb| verb.label.to_owned())
}

/// Why a run cannot be resumed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResumeRefusal {
    /// It is over.
    #[error("it is {}", .0.word())]
    Ended(Outcome),
    /// Its verb, named here, is none of this program.
    #[error("`{0}` is no verb of this dr")]
    UnknownVerb(String),
    /// The verb is known, but its plan is not of the form that this program reads; begun by the version named here.
    #[error("dr {0} began it, and this one does not understand its plan")]
    OtherPlan(String),
    /// The plan is understood, but its steps were others: what is done of them cannot be told. Begun by the version named
    /// here.
    #[error("dr {0} began it, and its steps are not those of this one")]
    OtherSteps(String),
    /// What it worked on is not there any more.
    #[error("{0}")]
    Cluster(String),
    /// Somebody has begun to abort it.
    #[error("it is being aborted")]
    Aborting,
}

impl ResumeRefusal {
    /// As an error of the run `id`.
    pub fn of(self, id: &str) -> CommandError {
        let error = CommandError::new(Exit::Resume, format!("run {id} cannot be resumed: {self}"));
        match self {
            Self::Ended(_) => error.hint("`dr run list` shows the open ones."),
            _ => error.hint(format!("`dr run abort {id}` puts back what can be put back, and closes it.")),
        }
    }
}

/// Whether the run can be taken up, as far as its journal tells: one that is put back can, whatever its steps were.
///
/// # Errors
/// Why it cannot be resumed.
pub fn resumable(replay: &Replay) -> Result<(), ResumeRefusal> {
    match puts_back(&replay.begun.verb) {
        Some(_) => not_ended(replay),
        None => continued_by(replay).map(drop),
    }
}

/// The verb that continues the run.
///
/// # Errors
/// Why it cannot be continued.
pub(super) fn continued_by(replay: &Replay) -> Result<&'static ResumeVerb, ResumeRefusal> {
    let begun = &replay.begun;
    not_ended(replay)?;
    let verb = resumes(&begun.verb).ok_or_else(|| ResumeRefusal::UnknownVerb(begun.verb.clone()))?;
    match (verb.steps)(&begun.plan) {
        None => return Err(ResumeRefusal::OtherPlan(begun.dr_version.clone())),
        Some(known) if begun.steps_sha256.as_ref().is_some_and(|steps| known.contains(steps)) => {}
        Some(_) => return Err(ResumeRefusal::OtherSteps(begun.dr_version.clone())),
    }
    if replay.undoing() { Err(ResumeRefusal::Aborting) } else { Ok(verb) }
}

fn not_ended(replay: &Replay) -> Result<(), ResumeRefusal> {
    replay.outcome.map_or(Ok(()), |outcome| Err(ResumeRefusal::Ended(outcome)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{Begun, Record, testing};
    use jiff::Timestamp;

    /// A restore of this program, as its journal begins.
    fn begun() -> Begun {
        let plan = crate::ops::restore::testing::plan();
        let plan = serde_json::to_value(plan).unwrap();
        let begun = Begun { verb: "restore".into(), plan, ..testing::begun("r") };
        Begun { steps_sha256: known_steps(&begun).into_iter().next(), ..begun }
    }

    fn known_steps(begun: &Begun) -> Vec<String> {
        (resumes(&begun.verb).unwrap().steps)(&begun.plan).unwrap()
    }

    fn refused(begun: Begun, records: &[Record]) -> String {
        let mut replay = Replay::begin(begun);
        records.iter().for_each(|record| replay.apply(record).unwrap());
        let refusal = resumable(&replay).err().unwrap();
        let error = refusal.of("r");
        assert_eq!(error.exit(), Exit::Resume);
        assert!(!error.hints().is_empty());
        error.message().strip_prefix("run r cannot be resumed: ").unwrap().to_owned()
    }

    #[test]
    fn a_run_of_this_program_is_resumed_and_every_other_is_refused_with_its_reason() {
        assert!(resumable(&Replay::begin(begun())).is_ok());
        // One that was begun before the last steps were made has what they need.
        for steps in known_steps(&begun()).into_iter().skip(1) {
            assert!(resumable(&Replay::begin(Begun { steps_sha256: Some(steps), ..begun() })).is_ok());
        }
        let create = Begun { verb: "create".into(), plan: "?".into(), steps_sha256: None, ..begun() };
        assert!(resumable(&Replay::begin(create)).is_ok(), "it is put back whatever its steps were");
        assert_eq!(refused(Begun { verb: "novel".into(), ..begun() }, &[]), "`novel` is no verb of this dr");
        let other = Begun { plan: "?".into(), ..begun() };
        assert_eq!(refused(other, &[]), "dr 0 began it, and this one does not understand its plan");
        for steps_sha256 in [None, Some("00".into())] {
            let other = Begun { steps_sha256, ..begun() };
            assert_eq!(refused(other, &[]), "dr 0 began it, and its steps are not those of this one");
        }
        let (step, at) = ("swap".to_owned(), Timestamp::UNIX_EPOCH);
        let ended = Record::Ended { outcome: Outcome::Aborted, at };
        assert_eq!(refused(begun(), &[ended]), "it is aborted");
        let aborting = [Record::Started { step: step.clone(), at }, Record::UndoStarted { step, at }];
        assert_eq!(refused(begun(), &aborting), "it is being aborted");
    }

    #[test]
    fn verbs_have_names_of_their_own() {
        let names: std::collections::BTreeSet<&str> = VERBS.iter().map(|verb| verb.name).collect();
        assert_eq!(names.len(), VERBS.len());
    }
}
