//! What is decided about a deployment. Nothing here asks anybody.

use sha2::{Digest, Sha256};

use super::facts::{DeployFacts, Subject};
use super::report::DeployPlan;
use super::{order, previous, stuck};
use crate::error::{CommandError, Exit, Result};
use crate::helm::Revision;
use crate::ops::guard::{self, Effective, Guarded};
use crate::opschain::Version;
use crate::settings::{Caution, Install};
use crate::values::Tree;
use crate::values::diff::diff;
use crate::vault::Deployment;

/// Decides.
///
/// # Errors
/// [`Exit::Version`] for a version that goes back, leaves releases out where that is refused, or comes together with new
/// credentials; what the chart's own values fail with, where guarded keys hang on them.
pub(super) fn decide(
    install: &Install,
    skipped_releases: Caution,
    allow: &[String],
    subject: &Subject,
    facts: &DeployFacts,
) -> Result<DeployPlan> {
    let live = facts.history.live();
    let newest = facts.history.newest();
    let before = previous::live_before_values(&facts.history, &facts.live);
    let trees: Vec<&Tree> = before.iter().map(|(_, tree)| *tree).collect();
    let running = order::live_version(live, &trees, newest);
    let tried = order::tried_since(&facts.history.deployments, live);
    let upgrade = order::check(running.as_ref(), tried, subject.version.as_ref(), skipped_releases, allow)?;
    let versions_differ = running.is_some() && subject.version.is_some() && running != subject.version;
    let guarded = guarded(&trees, subject, facts)?;
    for tree in &trees {
        order::credentials_first(tree, &subject.tree, versions_differ, allow)?;
    }
    let values_sha256 = hex::encode(Sha256::digest(&subject.values));
    Ok(DeployPlan {
        namespace: install.namespace.clone(),
        release: install.release.clone(),
        how: subject.how,
        chart: subject.chart.facts.clone(),
        chart_reference: subject.chart.reference.clone(),
        chart_digest: subject.chart.digest.clone(),
        version: subject.version.as_ref().map(Version::tag),
        upgrade,
        values: subject.name.clone(),
        same_values: live.and_then(Deployment::values_sha256).map(|sha256| sha256 == values_sha256),
        values_sha256,
        findings: subject.findings.clone(),
        live: live.map(|deployment| deployment.id().clone()),
        diff: trees.first().map(|tree| diff(tree, &subject.tree, &facts.scrubber)),
        compared_with: before.first().map(|(source, _)| *source),
        guarded: guard::unallowed(guarded, allow),
        revision: newest.map(|newest| newest.revision),
        stuck: facts.pending.as_ref().and_then(|pending| stuck::explain(pending, &facts.history, &facts.who)),
    })
}

/// The keys that stored data depends on and that would change, against each of the live values.
fn guarded(before: &[&Tree], subject: &Subject, facts: &DeployFacts) -> Result<Vec<Guarded>> {
    let mut found: Vec<Guarded> = Vec::new();
    if before.is_empty() {
        return Ok(found);
    }
    let new_defaults = subject.chart.defaults.as_ref().map_err(CommandError::copy)?;
    // A live chart that cannot be opened is taken to have the defaults of the new one.
    let old_defaults = facts.live_defaults.as_ref().unwrap_or(new_defaults);
    for tree in before {
        let old = Effective { values: tree, defaults: Some(old_defaults) };
        let new = Effective { values: &subject.tree, defaults: Some(new_defaults) };
        for key in guard::guarded(old, new) {
            if !found.contains(&key) {
                found.push(key);
            }
        }
    }
    Ok(found)
}

/// Says when there is nothing but a failed first installation.
pub(super) fn failed_install(newest: Option<&Revision>) -> Option<(&'static str, &'static str)> {
    newest.is_some_and(|newest| newest.revision == 1 && newest.status.is_failed()).then_some((
        "the first installation failed, and a failed first installation can often not be upgraded",
        "If this fails too, run `helm uninstall` for the release and deploy again.",
    ))
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
