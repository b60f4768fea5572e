//! The verbs whose executions are runs, and which of their open runs this program can continue.

use super::verb::RunVerb;
use crate::error::{CommandError, Exit};
use crate::journal::{Begun, Outcome, Policy, Replay};
use crate::ops::{create, restore};

pub const VERBS: &[RunVerb] = &[create::RUN, restore::RUN];

/// The verb of a run.
pub fn verb_of(begun: &Begun) -> Option<&'static RunVerb> {
    VERBS.iter().find(|verb| verb.name == begun.verb)
}

/// The verb of a run, for people.
pub(super) fn label(begun: &Begun) -> String {
    verb_of(begun).map_or_else(|| begun.verb.clone(), |verb| verb.label.to_owned())
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

/// The verb that resumes the run, as far as its journal tells.
///
/// # Errors
/// Why it cannot be resumed.
pub fn resumable(replay: &Replay) -> Result<&'static RunVerb, ResumeRefusal> {
    let begun = &replay.begun;
    if let Some(outcome) = replay.outcome {
        return Err(ResumeRefusal::Ended(outcome));
    }
    let verb = verb_of(begun).ok_or_else(|| ResumeRefusal::UnknownVerb(begun.verb.clone()))?;
    match (verb.steps)(&begun.plan) {
        None => return Err(ResumeRefusal::OtherPlan(begun.dr_version.clone())),
        steps if steps != begun.steps_sha256 => return Err(ResumeRefusal::OtherSteps(begun.dr_version.clone())),
        _ => {}
    }
    if verb.policy == Policy::Stop && replay.undoing() {
        return Err(ResumeRefusal::Aborting);
    }
    Ok(verb)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{Record, testing};
    use jiff::Timestamp;

    /// A restore of this program, as its journal begins.
    fn begun() -> Begun {
        let plan = crate::ops::restore::testing::plan();
        let plan = serde_json::to_value(plan).unwrap();
        Begun { verb: "restore".into(), steps_sha256: (restore::RUN.steps)(&plan), plan, ..testing::begun("r") }
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
        assert_eq!(resumable(&Replay::begin(begun())).ok().map(|verb| verb.name), Some("restore"));
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
