//! What of a restore can be put back, by how far it came. Nothing here asks anybody.

use super::existing_steps::{MAKE_SAFETY_BUNDLE, NAME_SAFETY_BUNDLE};
use super::plan::RestorePlan;
use super::steps::{
    CLEAN_UP, CREATE_NAMESPACE, INSTALL_HIBERNATED, RESTORE_SECRETS, START, START_POD, SWAP, TAKE_LEASE, steps,
};
use super::strategy::RestoreStrategy;
use super::work::RestoreWork;
use crate::cluster::NamespaceState;
use crate::error::CommandError;
use crate::journal::{self, Outputs, Replay, Step, StepState};
use crate::ops::quiesce::WriterFacts;
use crate::ops::runs::verb::AbortOutlook;

/// How much is put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AbortExtent {
    /// Nothing of the bundle's data has been in the place of other data, or all that was there before is kept: the target
    /// becomes what it was found as.
    AsFound,
    /// The bundle's data has been in place: the previous data directory comes back. The release stays, for it is not this
    /// program's to say that nobody has come to need it.
    PreviousData,
    /// The previous data directory is being removed, and the application serves: it stays as it is.
    Nothing,
}

/// How much can be put back of a run that came so far. Steps that are being undone count as begun, so that an abort that
/// was killed comes to the same answer.
///
/// With `adopt` there is no other data: what was restored goes with its volume, which nothing but this run has made.
pub(super) fn extent(strategy: RestoreStrategy, replay: &Replay) -> AbortExtent {
    if has_begun(replay, CLEAN_UP.text()) {
        AbortExtent::Nothing
    } else if strategy == RestoreStrategy::Hibernate && has_begun(replay, SWAP.text()) {
        AbortExtent::PreviousData
    } else {
        AbortExtent::AsFound
    }
}

fn has_begun(replay: &Replay, step: &str) -> bool {
    replay.state(step) != StepState::Pending
}

pub(super) fn undone_steps(strategy: RestoreStrategy, extent: AbortExtent) -> Vec<Step<RestoreWork, CommandError>> {
    let stays = |step: &Step<RestoreWork, CommandError>| match extent {
        AbortExtent::AsFound => false,
        AbortExtent::PreviousData => {
            [CREATE_NAMESPACE.text(), RESTORE_SECRETS.text(), INSTALL_HIBERNATED.text()].contains(&step.name())
        }
        AbortExtent::Nothing => ![TAKE_LEASE.text(), START_POD.text()].contains(&step.name()),
    };
    steps(strategy).into_iter().filter(|step| !stays(step)).collect()
}

/// What aborting would do, for people.
pub(super) fn outlook(plan: &RestorePlan, replay: &Replay, writers: &[WriterFacts]) -> AbortOutlook {
    let (extent, namespace) = (extent(plan.strategy, replay), &plan.namespace);
    let puts_back =
        journal::to_undo(&undone_steps(plan.strategy, extent), replay).into_iter().map(str::to_owned).collect();
    let remove = format!("kubectl delete namespace {namespace}");
    let again = format!("dr bundle restore {} -n {namespace}", plan.bundle);
    let serving: Vec<String> = writers.iter().filter(|writer| writer.now > 0).map(WriterFacts::running).collect();
    let serving = (!serving.is_empty()).then(|| serving.join(", "));
    let since_start = |serving: Option<String>| {
        let now = serving.map_or_else(|| "nothing of it serves now".to_owned(), |serving| format!("now {serving}"));
        format!(
            "what anybody has done in the application since it was started ({now}): it is in the restored data only"
        )
    };
    let was_started = has_begun(replay, START.text());
    let safety = safety_bundle(replay);
    match extent {
        AbortExtent::AsFound => AbortOutlook {
            puts_back,
            stays: match &plan.found {
                NamespaceState::Empty { kept } if !kept.is_empty() => {
                    let names: Vec<String> = kept.iter().map(ToString::to_string).collect();
                    vec![format!("what was in namespace {namespace} before: {}", names.join(", "))]
                }
                _ => safety.iter().map(|bundle| format!("bundle {bundle} of what was there")).collect(),
            },
            loses: match (was_started, &plan.existing) {
                (true, _) => Some(since_start(serving)),
                // What serves is what lives, until it is stopped.
                (false, Some(_)) if !has_begun(replay, SWAP.text()) => None,
                (false, _) => serving
                    .map(|serving| format!("what was done in the application that somebody has started: {serving}")),
            },
            next: vec![if plan.existing.is_some() { format!("dr server status -n {namespace}") } else { again }],
        },
        AbortExtent::PreviousData => AbortOutlook {
            puts_back,
            stays: vec![format!("release {} in namespace {namespace}, stopped, with its volumes", plan.release)],
            loses: (serving.is_some() || was_started).then(|| since_start(serving)),
            next: vec![remove, again],
        },
        AbortExtent::Nothing => AbortOutlook {
            puts_back,
            stays: vec![
                format!("release {} in namespace {namespace}, which serves from the restored data", plan.release),
                "the previous data directory, if it was not removed yet: beside the other on the volume".into(),
            ],
            loses: None,
            next: [format!("dr server status -n {namespace}")]
                .into_iter()
                .chain(safety.map(|bundle| back_to(&bundle, namespace)))
                .collect(),
        },
    }
}

/// The bundle of what was there, once it is made.
pub(super) fn safety_bundle(replay: &Replay) -> Option<String> {
    let is_made = replay.state(MAKE_SAFETY_BUNDLE.text()) == StepState::Succeeded;
    let id = Outputs::of(replay).maybe(NAME_SAFETY_BUNDLE).flatten()?;
    is_made.then(|| id.to_string())
}

/// The command that brings back what was there before a restore, once nothing else does.
pub(super) fn back_to(safety_bundle: &str, namespace: &str) -> String {
    format!("dr bundle restore {safety_bundle} --into-existing -n {namespace}")
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::Value;

    use super::super::steps::{INSTALL, MAKE_VOLUME, RECORD, STAGE, WAKE};
    use super::super::testing;
    use super::*;
    use crate::cluster::ObjectRef;
    use crate::journal::Record;
    use crate::journal::testing::begun;

    const AT: Timestamp = Timestamp::UNIX_EPOCH;
    const LEASE: &str = "give up the lease";
    const POD: &str = "remove the recovery pod";
    const DATA: &str = "put the previous data directory back, and remove the restored one";
    const DATABASE: &str = "stop the secret vault and hibernate the database";
    const APPLICATION: &str = "stop API and workers";
    const ALL_AS_FOUND: [&str; 5] = [
        POD,
        "uninstall the release, and remove what it made: its volumes too",
        "put Secrets and ConfigMaps back as they were found",
        LEASE,
        "remove the namespace, if this run made it",
    ];

    /// A restore by `hibernate` whose process died in the step `last`.
    fn died_in(last: &str) -> Replay {
        died(RestoreStrategy::Hibernate, last)
    }

    fn died(strategy: RestoreStrategy, last: &str) -> Replay {
        let mut replay = Replay::begin(begun("restore-1"));
        for step in steps(strategy) {
            let step = step.name().to_owned();
            replay.apply(&Record::Started { step: step.clone(), at: AT }).unwrap();
            if step == last {
                return replay;
            }
            let (output, summary) = (Value::Null, String::new());
            replay.apply(&Record::Succeeded { step, output, summary, at: AT }).unwrap();
        }
        panic!("a restore has no step {last}");
    }

    /// The same, and its abort has undone the steps `undone`.
    fn aborted_after(last: &str, undone: &[&str]) -> Replay {
        let mut replay = died_in(last);
        for step in undone {
            replay.apply(&Record::UndoStarted { step: (*step).into(), at: AT }).unwrap();
            replay.apply(&Record::UndoFinished { step: (*step).into(), at: AT }).unwrap();
        }
        replay
    }

    #[test]
    fn what_an_abort_puts_back_and_loses_follows_from_the_step_that_the_restore_came_to() {
        use AbortExtent::{AsFound, Nothing, PreviousData};
        let cases: [(&str, AbortExtent, &[&str], bool); 7] = [
            (CREATE_NAMESPACE.text(), AsFound, &ALL_AS_FOUND[4..], false),
            (STAGE.text(), AsFound, &ALL_AS_FOUND, false),
            (SWAP.text(), PreviousData, &[DATA, POD, LEASE], false),
            (WAKE.text(), PreviousData, &[DATABASE, DATA, POD, LEASE], false),
            (START.text(), PreviousData, &[APPLICATION, DATABASE, DATA, POD, LEASE], true),
            (RECORD.text(), PreviousData, &[APPLICATION, DATABASE, DATA, POD, LEASE], true),
            (CLEAN_UP.text(), Nothing, &[POD, LEASE], false),
        ];
        for (last, extends, puts_back, loses) in cases {
            let replay = died_in(last);
            assert_eq!(extent(RestoreStrategy::Hibernate, &replay), extends, "{last}");
            let outlook = outlook(&testing::plan(), &replay, &[]);
            assert_eq!(outlook.puts_back, puts_back, "{last}");
            assert_eq!(outlook.loses.is_some(), loses, "{last}");
            let first = |lines: &[String]| lines.first().map(|line| line.split(',').next().unwrap().to_owned());
            let (stays, next) = match extends {
                AsFound => (None, "dr bundle restore"),
                PreviousData => (Some("release opschain in namespace opschain"), "kubectl delete namespace opschain"),
                Nothing => (Some("release opschain in namespace opschain"), "dr server status -n opschain"),
            };
            assert_eq!(first(&outlook.stays).as_deref(), stays, "{last}");
            assert!(outlook.next[0].starts_with(next), "{last}: {:?}", outlook.next);
        }
    }

    #[test]
    fn an_abort_of_an_adopted_volume_leaves_nothing_of_it_until_the_run_cleans_up() {
        use AbortExtent::{AsFound, Nothing};
        const VOLUME: &str = "remove the volume, with what is on it";
        let plan = RestorePlan { strategy: RestoreStrategy::Adopt, ..testing::plan() };
        let [_, release, secrets, lease, namespace] = ALL_AS_FOUND;
        let cases: [(&str, AbortExtent, &[&str], bool); 8] = [
            (RESTORE_SECRETS.text(), AsFound, &[secrets, lease, namespace], false),
            (MAKE_VOLUME.text(), AsFound, &[VOLUME, secrets, lease, namespace], false),
            (STAGE.text(), AsFound, &[POD, VOLUME, secrets, lease, namespace], false),
            (SWAP.text(), AsFound, &[POD, VOLUME, secrets, lease, namespace], false),
            (INSTALL.text(), AsFound, &[release, POD, VOLUME, secrets, lease, namespace], false),
            (START.text(), AsFound, &[APPLICATION, release, POD, VOLUME, secrets, lease, namespace], true),
            (RECORD.text(), AsFound, &[APPLICATION, release, POD, VOLUME, secrets, lease, namespace], true),
            (CLEAN_UP.text(), Nothing, &[POD, lease], false),
        ];
        for (last, extends, puts_back, loses) in cases {
            let replay = died(RestoreStrategy::Adopt, last);
            assert_eq!(extent(RestoreStrategy::Adopt, &replay), extends, "{last}");
            let outlook = outlook(&plan, &replay, &[]);
            assert_eq!(
                (outlook.puts_back.as_slice(), outlook.loses.is_some()),
                (&strings(puts_back)[..], loses),
                "{last}"
            );
        }
        let loses = outlook(&plan, &died(RestoreStrategy::Adopt, START.text()), &[]).loses.unwrap();
        assert!(loses.starts_with("what anybody has done in the application since it was started"), "{loses}");
    }

    #[test]
    fn an_abort_over_what_lived_brings_all_of_it_back_and_names_the_bundle_of_it() {
        use AbortExtent::{AsFound, Nothing};
        const LIVED: [&str; 3] = ["put the previous release back, and wake its database", WRITERS, LEASE];
        const WRITERS: &str = "bring API and workers back as they were";
        let secrets = ALL_AS_FOUND[2];
        let with = |first: &[&str]| strings(&[first, &LIVED].concat());
        let cases = [
            (MAKE_SAFETY_BUNDLE.text(), AsFound, strings(&LIVED[1..]), false),
            (STAGE.text(), AsFound, with(&[POD]), false),
            (SWAP.text(), AsFound, with(&[DATA, POD]), false),
            (WAKE.text(), AsFound, with(&[DATABASE, secrets, DATA, POD]), false),
            (START.text(), AsFound, with(&[APPLICATION, DATABASE, secrets, DATA, POD]), true),
            (CLEAN_UP.text(), Nothing, strings(&[POD, LEASE]), false),
        ];
        for (last, extends, puts_back, loses) in cases {
            let mut replay = died(RestoreStrategy::IntoExisting, last);
            assert_eq!(extent(RestoreStrategy::IntoExisting, &replay), extends, "{last}");
            let running = WriterFacts { name: "opschain-api".into(), now: 1, ..WriterFacts::default() };
            let running = if last == MAKE_SAFETY_BUNDLE.text() { vec![running] } else { Vec::new() };
            let seen = outlook(&testing::over_existing(), &replay, &running);
            assert_eq!((seen.puts_back, seen.loses.is_some()), (puts_back, loses), "{last}");
            assert_eq!(seen.next, ["dr server status -n opschain"], "{last}");
            let id = "opschain-20260820T101500Z-0a1b2c";
            replay.outputs.insert(NAME_SAFETY_BUNDLE.text().into(), id.into());
            let seen = outlook(&testing::over_existing(), &replay, &[]);
            let back = format!("dr bundle restore {id} --into-existing -n opschain");
            match extends {
                Nothing => assert_eq!(seen.next[1], back),
                _ if last == MAKE_SAFETY_BUNDLE.text() => assert!(seen.stays.is_empty(), "it is not made yet"),
                _ => assert_eq!(seen.stays, [format!("bundle {id} of what was there")], "{last}"),
            }
        }
    }

    #[test]
    fn what_somebody_did_since_the_start_is_named_as_lost() {
        let loses = outlook(&testing::plan(), &died_in(START.text()), &[]).loses.unwrap();
        assert!(loses.starts_with("what anybody has done in the application since it was started"), "{loses}");
    }

    #[test]
    fn what_somebody_has_started_in_the_middle_is_named_as_lost() {
        let mut writer = WriterFacts { name: "opschain-api".into(), replicas: 2, now: 2, ..WriterFacts::default() };
        for last in [STAGE.text(), SWAP.text()] {
            let loses = outlook(&testing::plan(), &died_in(last), &[writer.clone()]).loses.unwrap();
            assert!(loses.contains("opschain-api runs with 2 replicas"), "{last}: {loses}");
        }
        writer.now = 0;
        assert_eq!(outlook(&testing::plan(), &died_in(STAGE.text()), &[writer]).loses, None);
    }

    #[test]
    fn an_abort_that_was_killed_goes_on_to_the_same_end() {
        let cases: [(&str, &[&str], &[&str], bool); 3] = [
            (SWAP.text(), &[SWAP.text()], &[POD, LEASE], false),
            (START.text(), &[START.text()], &[DATABASE, DATA, POD, LEASE], true),
            (START.text(), &[START.text(), WAKE.text(), SWAP.text()], &[POD, LEASE], true),
        ];
        for (last, undone, puts_back, loses) in cases {
            let replay = aborted_after(last, undone);
            assert_eq!(extent(RestoreStrategy::Hibernate, &replay), AbortExtent::PreviousData, "{last} {undone:?}");
            let outlook = outlook(&testing::plan(), &replay, &[]);
            assert_eq!((outlook.puts_back.as_slice(), outlook.loses.is_some()), (&strings(puts_back)[..], loses));
        }
    }

    fn strings(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn steps_that_stay_are_never_among_those_that_are_undone() {
        let names =
            |extent| undone_steps(RestoreStrategy::Hibernate, extent).iter().map(Step::name).collect::<Vec<_>>();
        assert_eq!(names(AbortExtent::AsFound).len(), steps(RestoreStrategy::Hibernate).len());
        for stays in [CREATE_NAMESPACE.text(), RESTORE_SECRETS.text(), INSTALL_HIBERNATED.text()] {
            assert!(!names(AbortExtent::PreviousData).contains(&stays), "{stays}");
        }
        assert_eq!(names(AbortExtent::Nothing), [TAKE_LEASE.text(), START_POD.text()]);
    }

    #[test]
    fn what_stood_in_the_namespace_before_is_named_as_staying() {
        let kept = vec![ObjectRef::new("Secret", "opschain-database")];
        let plan = RestorePlan { found: NamespaceState::Empty { kept }, ..testing::plan() };
        let stays = outlook(&plan, &died_in(STAGE.text()), &[]).stays;
        assert_eq!(stays, ["what was in namespace opschain before: Secret opschain-database"]);
        let plan = RestorePlan { found: NamespaceState::Empty { kept: Vec::new() }, ..testing::plan() };
        assert!(outlook(&plan, &died_in(STAGE.text()), &[]).stays.is_empty());
    }
}
