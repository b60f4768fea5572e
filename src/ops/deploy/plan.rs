//! What is decided about a deployment. Nothing here asks anybody.

use super::facts::DeployFacts;
use super::report::DeployPlan;
use super::{order, stuck};
use crate::error::{CommandError, Exit, Result};
use crate::helm::Revision;
use crate::ops::drift;
use crate::ops::guard::{self, Guarded};
use crate::opschain::Version;
use crate::vault::Deployment;

/// A warning, and what to do about it.
type Warning = (String, Option<String>);

/// What was decided.
#[derive(Debug)]
pub(super) struct Decision {
    /// Without what it only shows: differences and findings in the values.
    pub plan: DeployPlan,
    pub warnings: Vec<Warning>,
    /// Whether helm is told to go over what others have set.
    pub over_others: bool,
}

/// Decides. `allow` is what the operator lets through.
///
/// # Errors
/// [`Exit::Drift`] where the settings refuse it; [`Exit::Version`] for a version that goes back, leaves releases out
/// where that is refused, or comes together with new credentials.
pub(super) fn decide(facts: &DeployFacts, allow: &[String]) -> Result<Decision> {
    let (live, newest) = (facts.history.live(), facts.history.newest());
    let drift_allowed = allow.iter().any(|id| id == "drift");
    let mut warnings: Vec<Warning> = failed_install(newest).into_iter().collect();
    if let Some(report) = &facts.drift {
        warnings.extend(drift::before_deploy(report, facts.on_drift, facts.applied_by_server, drift_allowed)?);
    }
    let named: Vec<Option<&str>> = facts.live.iter().map(|live| live.version.as_deref()).collect();
    let running = order::live_version(live, &named, newest);
    let tried = order::tried_since(&facts.history.deployments, live);
    let upgrade = order::check(running.as_ref(), tried, facts.version.as_ref(), facts.skipped_releases, allow)?;
    let versions_differ = running.is_some() && facts.version.is_some() && running != facts.version;
    for live in &facts.live {
        order::credentials_first(live.credentials.as_deref(), versions_differ, allow)?;
    }
    let mut guarded: Vec<Guarded> = Vec::new();
    for key in facts.live.iter().flat_map(|live| &live.guarded) {
        if !guarded.contains(key) {
            guarded.push(key.clone());
        }
    }
    let plan = DeployPlan {
        namespace: facts.namespace.clone(),
        release: facts.release.clone(),
        how: facts.how,
        chart: facts.chart.clone(),
        chart_reference: facts.chart_reference.clone(),
        chart_digest: facts.chart_digest.clone(),
        version: facts.version.as_ref().map(Version::tag),
        upgrade,
        values: facts.values.clone(),
        same_values: live.and_then(Deployment::values_sha256).map(|sha256| sha256 == facts.values_sha256),
        values_sha256: facts.values_sha256.clone(),
        findings: Vec::new(),
        live: live.map(|deployment| deployment.id().clone()),
        diff: None,
        compared_with: facts.live.first().map(|live| live.source),
        guarded: guard::unallowed(guarded, allow),
        revision: newest.map(|newest| newest.revision),
        stuck: facts.pending.as_ref().and_then(|pending| stuck::explain(pending, &facts.history, &facts.who)),
    };
    Ok(Decision { plan, warnings, over_others: facts.applied_by_server && drift_allowed })
}

/// Says when there is nothing but a failed first installation.
fn failed_install(newest: Option<&Revision>) -> Option<Warning> {
    newest.filter(|newest| newest.revision == 1 && newest.status.is_failed()).map(|_| {
        let hint = "If this fails too, run `helm uninstall` for the release and deploy again.";
        let text = "the first installation failed, and a failed first installation can often not be upgraded";
        (text.to_owned(), Some(hint.to_owned()))
    })
}

/// While this waited for the operator or the lease, somebody else may have deployed: then what was shown and guarded
/// is not what would happen. Both are helm's newest revision.
///
/// # Errors
/// [`Exit::Locked`].
pub(super) fn refuse_stale(release: &str, planned: Option<u32>, now: Option<u32>) -> Result<()> {
    if now == planned {
        return Ok(());
    }
    let name =
        |revision: Option<u32>| revision.map_or("not installed".to_owned(), |number| format!("at revision {number}"));
    Err(stale(format!("release {release} is {} by now, and was {} when this was planned", name(now), name(planned))))
}

pub(super) fn stale(text: String) -> CommandError {
    CommandError::new(Exit::Locked, text).hint("Run the same command again: it compares with what is live now.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::history::tests as history;

    #[test]
    fn a_release_that_has_changed_since_the_plan_is_refused() {
        for (planned, now, said) in [
            (Some(3), Some(4), "release r is at revision 4 by now, and was at revision 3 when"),
            (Some(3), Some(2), "release r is at revision 2 by now, and was at revision 3 when"),
            (None, Some(1), "release r is at revision 1 by now, and was not installed when"),
            (Some(3), None, "release r is not installed by now, and was at revision 3 when"),
        ] {
            let error = refuse_stale("r", planned, now).unwrap_err();
            assert!(error.exit() == Exit::Locked && error.message().starts_with(said), "{error}");
        }
        assert!(refuse_stale("r", Some(3), Some(3)).is_ok() && refuse_stale("r", None, None).is_ok());
    }

    #[test]
    fn only_a_failed_first_installation_is_warned_of() {
        let revision = |number: u32, status: &str| history::revision(number, "2026-08-20T10:00:00Z", status, "");
        assert!(failed_install(Some(&revision(1, "failed"))).is_some());
        for other in [Some(revision(1, "deployed")), Some(revision(2, "failed")), None] {
            assert!(failed_install(other.as_ref()).is_none(), "{other:?}");
        }
    }
}
