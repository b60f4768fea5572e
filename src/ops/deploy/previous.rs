//! What was live before.

use super::report::LiveSource;
use crate::error::{CommandError, Exit, Result};
use crate::ops::history::{History, LiveValues};
use crate::values::Tree;
use crate::vault::{Deployment, DeploymentId};

/// The deployment that a rollback without a name goes back to: the one that was live before.
///
/// # Errors
/// [`Exit::NotFound`] when the vault knows of none.
pub(super) fn live_before(history: &History) -> Result<&Deployment> {
    let live = history.live().map(Deployment::id);
    let mut went_live = history.deployments.iter().filter(|deployment| deployment.is_deployed());
    went_live.find(|deployment| Some(deployment.id()) != live).ok_or_else(|| {
        CommandError::new(Exit::NotFound, "nothing that the vault knows of was live before")
            .hint("`dr config log` shows the deployments; name one: `dr deploy rollback DEPLOYMENT`.")
    })
}

/// The bundle that was made of the `target` and its data, right before the next deployment. A later one would be of what that
/// had made of them.
pub(super) fn bundle_of(history: &History, target: &DeploymentId) -> Option<String> {
    let place = history.deployments.iter().position(|deployment| deployment.id() == target)?;
    history.deployments[..place].last()?.record.bundle_before.clone()
}

/// The live values that a deployment is compared with. The vault's first; what helm has stored where there are none, and,
/// as a second, where something else than `dr` has deployed since: a guarded key must not differ from either.
pub(super) fn live_before_values<'l>(history: &History, live: &'l LiveValues) -> Vec<(LiveSource, &'l Tree)> {
    let recorded = live.recorded.as_ref().map(|tree| (LiveSource::Vault, tree));
    let ours = history.deployed().is_some_and(|deployed| {
        history.own().is_some() || history.live().is_some_and(|live| live.revision() == Some(deployed.revision))
    });
    let stored = live.stored.as_ref().filter(|_| recorded.is_none() || !ours);
    recorded.into_iter().chain(stored.map(|stored| (LiveSource::Helm, &stored.tree))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::facts::DeployFacts;
    use super::*;

    #[test]
    fn a_rollback_goes_to_what_was_live_before_and_to_nothing_else() {
        let history = |text: &str| serde_json::from_str::<DeployFacts>(text).unwrap().history;
        // Four deployments, of which one was killed and one is live.
        let known = history(include_str!("../../../fixtures/facts/deploy-after-helm.json"));
        assert_eq!((known.deployments.len(), known.live().unwrap().id()), (4, known.deployments[0].id()));
        assert_eq!(live_before(&known).unwrap().id(), known.deployments[2].id());
        let mut bundled = known.clone();
        let [newest, _, before, ..] = &mut bundled.deployments[..] else { panic!("four deployments") };
        let (newest, before) = (newest.id().clone(), before.id().clone());
        assert_eq!(bundle_of(&bundled, &before), None);
        bundled.deployments[0].record.bundle_before = Some("later".into());
        assert_eq!(bundle_of(&bundled, &before), None, "one is between");
        bundled.deployments[1].record.bundle_before = Some("right-before".into());
        assert_eq!(bundle_of(&bundled, &before).as_deref(), Some("right-before"));
        assert_eq!(bundle_of(&bundled, &newest), None);
        let error = live_before(&history(include_str!("../../../fixtures/facts/deploy-upgrade.json"))).unwrap_err();
        assert_eq!(
            (error.exit(), error.message()),
            (Exit::NotFound, "nothing that the vault knows of was live before")
        );
        assert!(error.hints()[0].contains("`dr deploy rollback DEPLOYMENT`"), "{error:?}");
    }
}
