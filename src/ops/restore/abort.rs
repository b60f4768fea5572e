//! What of a restore can be put back, by how far it came. Nothing here asks anybody.

use super::plan::RestorePlan;
use super::steps::{CLEAN_UP, CREATE_NAMESPACE, INSTALL_HIBERNATED, RESTORE_SECRETS, START, SWAP, steps};
use super::work::RestoreWork;
use crate::cluster::NamespaceState;
use crate::error::CommandError;
use crate::journal::{self, Replay, Step, StepState};
use crate::ops::runs::verb::AbortOutlook;

/// How much is put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AbortExtent {
    /// Nothing of the bundle's data has been in place: the target becomes what it was found as.
    AsFound,
    /// The bundle's data has been in place: the previous data directory comes back. The release stays, for it is not this
    /// program's to say that nobody has come to need it.
    PreviousData,
    /// The previous data directory is being removed, and the application serves: it stays as it is.
    Nothing,
}

/// How much can be put back of a run that came so far. Steps that are being undone count as begun, so that an abort that
/// was killed comes to the same answer.
pub(super) fn extent(replay: &Replay) -> AbortExtent {
    if has_begun(replay, CLEAN_UP.text()) {
        AbortExtent::Nothing
    } else if has_begun(replay, SWAP.text()) {
        AbortExtent::PreviousData
    } else {
        AbortExtent::AsFound
    }
}

fn has_begun(replay: &Replay, step: &str) -> bool {
    replay.state(step) != StepState::Pending
}

pub(super) fn undone_steps(extent: AbortExtent) -> Vec<Step<RestoreWork, CommandError>> {
    let stays = |step: &Step<RestoreWork, CommandError>| match extent {
        AbortExtent::AsFound => false,
        AbortExtent::PreviousData => {
            [CREATE_NAMESPACE.text(), RESTORE_SECRETS.text(), INSTALL_HIBERNATED.text()].contains(&step.name())
        }
        AbortExtent::Nothing => !["take-lease", "start-pod"].contains(&step.name()),
    };
    steps().into_iter().filter(|step| !stays(step)).collect()
}

/// What aborting would do, for people.
pub(super) fn outlook(plan: &RestorePlan, replay: &Replay) -> AbortOutlook {
    let (extent, namespace) = (extent(replay), &plan.namespace);
    let puts_back = journal::to_undo(&undone_steps(extent), replay).into_iter().map(str::to_owned).collect();
    let remove = format!("kubectl delete namespace {namespace}");
    let again = format!("dr bundle restore {} -n {namespace}", plan.bundle);
    match extent {
        AbortExtent::AsFound => AbortOutlook {
            puts_back,
            stays: match &plan.found {
                NamespaceState::Empty { kept } if !kept.is_empty() => {
                    let names: Vec<String> = kept.iter().map(ToString::to_string).collect();
                    vec![format!("what was in namespace {namespace} before: {}", names.join(", "))]
                }
                _ => Vec::new(),
            },
            loses: None,
            next: vec![again],
        },
        AbortExtent::PreviousData => AbortOutlook {
            puts_back,
            stays: vec![format!("release {} in namespace {namespace}, stopped, with its volumes", plan.release)],
            loses: has_begun(replay, START.text()).then(|| {
                "what anybody has done in the application since it was started: it is in the restored data only".into()
            }),
            next: vec![remove, again],
        },
        AbortExtent::Nothing => AbortOutlook {
            puts_back,
            stays: vec![
                format!("release {} in namespace {namespace}, which serves from the restored data", plan.release),
                "the previous data directory, if it was not removed yet: beside the other on the volume".into(),
            ],
            loses: None,
            next: vec![format!("dr server status -n {namespace}")],
        },
    }
}
