//! What is decided about a deployment. Nothing here asks anybody.

use super::facts::DeployFacts;
use super::order::VersionChange;
use super::report::{DeployPlan, TriedDeployment};
use super::{order, stuck};
use crate::error::{CommandError, Exit, Result};
use crate::helm::Revision;
use crate::ops::guard::{self, Guarded};
use crate::ops::{drift, neighbours};
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
    /// The first thing that is refused, beside guarded keys: what would happen is shown all the same. [`Exit::Drift`]
    /// where the settings refuse it; [`Exit::Version`] for a version that goes back, leaves releases out where that is
    /// refused, or comes together with new credentials; [`Exit::NotEmpty`] for another OpsChain in the cluster.
    pub refused: Option<CommandError>,
}

/// Decides. `allow` is what the operator lets through, `take_over` the deleted namespace whose leftovers go to the release.
pub(super) fn decide(facts: &DeployFacts, allow: &[String], take_over: Option<&str>) -> Decision {
    let (live, newest) = (facts.history.live(), facts.history.newest());
    let drift_allowed = allow.iter().any(|id| id == "drift");
    let mut warnings: Vec<Warning> = failed_install(newest).into_iter().collect();
    let mut refused = Vec::new();
    let (namespace, release) = (&facts.namespace, &facts.release);
    let mut taken_over = Vec::new();
    match neighbours::judge(facts.neighbours.clone(), namespace, release, take_over) {
        Ok(verdict) => {
            let taken = neighbours::taken_words(&verdict.taken, namespace, release);
            warnings.extend(verdict.warning.into_iter().chain(taken).map(|text| (text, None)));
            taken_over = verdict.taken;
        }
        Err(error) => refused.push(error),
    }
    if let Some(report) = &facts.drift {
        match drift::before_deploy(report, facts.on_drift, facts.applied_by_server, drift_allowed) {
            Ok(said) => warnings.extend(said),
            Err(error) => refused.push(error),
        }
    }
    let named: Vec<Option<&str>> = facts.live.iter().map(|live| live.version.as_deref()).collect();
    let running = order::live_version(live, &named, newest);
    let tried = order::tried_since(&facts.history.deployments, live);
    let checked = order::check(running.as_ref(), tried, facts.version.as_ref(), facts.skipped_releases, allow);
    let upgrade = checked.unwrap_or_else(|error| {
        refused.push(error);
        VersionChange { from: running.as_ref().map(Version::tag), ..VersionChange::default() }
    });
    let versions_differ = running.is_some() && facts.version.is_some() && running != facts.version;
    for live in &facts.live {
        refused.extend(order::credentials_first(live.credentials.as_deref(), versions_differ, allow).err());
    }
    let mut guarded: Vec<Guarded> = Vec::new();
    for key in facts.live.iter().flat_map(|live| &live.guarded) {
        if !guarded.contains(key) {
            guarded.push(key.clone());
        }
    }
    // What helm runs may have failed: what went live last is live all the same, wherever it is named.
    let tried = facts.history.own().filter(|own| !own.is_deployed());
    let went_live = match tried {
        Some(_) => facts.history.deployments.iter().find(|deployment| deployment.is_deployed()),
        None => live,
    };
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
        live: went_live.map(|deployment| deployment.id().clone()),
        live_version: went_live.and_then(|deployment| deployment.record.opschain_version.clone()),
        tried: tried.map(|own| TriedDeployment { id: own.id().clone(), state: own.state().to_owned() }),
        is_first: facts.history.is_first(),
        diff: None,
        compared_with: facts.live.first().map(|live| live.source),
        guarded: guard::unallowed(guarded, allow),
        taken_over,
        bundle_before: false,
        data_bundle: facts.data_bundle.clone(),
        revision: newest.map(|newest| newest.revision),
        stuck: facts.pending.as_ref().and_then(|pending| stuck::explain(pending, &facts.history, &facts.who)),
    };
    let refused = refused.into_iter().next();
    Decision { plan, warnings, over_others: facts.applied_by_server && drift_allowed, refused }
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
    use crate::ops::deploy::report::LiveSource;
    use crate::ops::deploy::stuck::Process;
    use crate::ops::history::tests as history;
    use crate::settings::{Caution, OnDrift};

    const FIRST: &str = include_str!("../../../fixtures/facts/deploy-first.json");
    const UPGRADE: &str = include_str!("../../../fixtures/facts/deploy-upgrade.json");
    const OVER_DRIFT: &str = include_str!("../../../fixtures/facts/deploy-over-drift.json");
    const AFTER_HELM: &str = include_str!("../../../fixtures/facts/deploy-after-helm.json");
    const PENDING: &str = include_str!("../../../fixtures/facts/deploy-pending.json");

    fn recorded(text: &str, change: impl FnOnce(&mut DeployFacts)) -> DeployFacts {
        let mut facts = serde_json::from_str(text).unwrap();
        change(&mut facts);
        facts
    }

    fn decided(facts: &DeployFacts, allow: &[&str]) -> Result<Decision> {
        let mut decision = decide(facts, &allow.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>(), None);
        decision.refused.take().map_or(Ok(decision), Err)
    }

    /// The message of a refusal, which the name lets through.
    fn refused(exit: Exit, facts: &DeployFacts, name: &str) -> String {
        let error = decided(facts, &["another"]).unwrap_err();
        assert_eq!(error.exit(), exit, "{error}");
        assert!(error.hints().iter().any(|hint| hint.contains(&format!("--allow {name}"))), "{error:?}");
        decided(facts, &[name]).unwrap();
        error.message().to_owned()
    }

    #[test]
    fn the_first_deployment_is_compared_with_nothing() {
        let Decision { plan, warnings, over_others, .. } = decided(&recorded(FIRST, |_| {}), &[]).unwrap();
        assert_eq!((plan.live, plan.revision, plan.compared_with, plan.same_values), (None, None, None, None));
        assert_eq!((plan.version.as_deref(), plan.upgrade), (Some("2026-08-20"), order::VersionChange::default()));
        assert!(plan.guarded.is_empty() && plan.stuck.is_none() && warnings.is_empty() && !over_others, "{warnings:?}");
    }

    #[test]
    fn beside_another_opschain_is_refused_and_what_a_deleted_one_has_left_goes_to_the_release_on_its_name() {
        let beside = |namespaces: serde_json::Value| {
            recorded(FIRST, |facts| {
                let role = serde_json::json!({"api_version": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
                    "name": "opschain-api-cluster-role", "owner": ["other", "prod"]});
                let seen = serde_json::json!({"standing": [role], "namespaces": namespaces, "unread": null});
                facts.neighbours = serde_json::from_value(seen).unwrap();
            })
        };
        let other = decide(&beside(serde_json::json!(["other"])), &[], Some("other")).refused.unwrap();
        assert_eq!(other.exit(), Exit::NotEmpty);
        assert!(other.message().starts_with("a cluster holds one OpsChain: release prod in namespace other has "));
        let gone = beside(serde_json::json!([]));
        let left = decided(&gone, &[]).unwrap_err();
        assert!(left.exit() == Exit::NotEmpty && left.hints()[0].contains("`--take-over other`"), "{left:?}");
        let Decision { plan, warnings, refused, .. } = decide(&gone, &[], Some("other"));
        assert!(refused.is_none() && warnings[0].0.starts_with("--take-over: ClusterRole opschain-api-cluster-role "));
        assert_eq!(plan.taken_over, gone.neighbours.standing);
    }

    #[test]
    fn a_release_left_out_is_told_and_refused_where_the_settings_say_so() {
        let plan = decided(&recorded(UPGRADE, |_| {}), &[]).unwrap().plan;
        assert_eq!((plan.upgrade.from.as_deref(), plan.revision), (Some("2026-08-20"), Some(1)));
        assert_eq!((plan.upgrade.skipped, plan.same_values), (vec!["2026-09-10".to_owned()], Some(false)));
        assert_eq!(plan.compared_with, Some(LiveSource::Vault));
        let strict = recorded(UPGRADE, |facts| facts.skipped_releases = Caution::Refuse);
        let text = refused(Exit::Version, &strict, "skipped-releases");
        assert!(text.starts_with("from 2026-08-20 to 2026-09-14 leaves out 2026-09-10, and "), "{text}");
    }

    #[test]
    fn an_older_version_is_refused_also_where_a_newer_one_was_only_tried() {
        let back = recorded(UPGRADE, |facts| facts.version = "2026-07-28".parse().ok());
        let text = refused(Exit::Version, &back, "version");
        assert!(text.starts_with("version 2026-08-20 is live, and 2026-07-28 is older: "), "{text}");
        let tried = recorded(UPGRADE, |facts| {
            let mut newer = facts.history.deployments[0].clone();
            newer.record.id = serde_json::from_value("20991231T000000Z-0a1b2c".into()).unwrap();
            newer.record.opschain_version = Some("2026-09-10".into());
            let outcome = newer.outcome.as_mut().unwrap();
            outcome.images[0].reference = "limepoint/opschain-api:2026-09-10".into();
            facts.history.deployments.insert(0, newer);
            facts.version = "2026-08-20".parse().ok();
        });
        let text = refused(Exit::Version, &tried, "version");
        assert!(text.starts_with("version 2026-09-10 was tried by deployment 20991231T000000Z-0a1b2c"), "{text}");
    }

    #[test]
    fn new_credentials_come_before_a_new_version() {
        let key = "env.OPSCHAIN_DOCKER_PASSWORD";
        let both = recorded(UPGRADE, |facts| facts.live[0].credentials = Some(key.into()));
        let text = refused(Exit::Version, &both, "credentials");
        assert_eq!(text, format!("{key} and env.OPSCHAIN_VERSION change in one deployment"));
        // What is refused is shown all the same.
        let Decision { plan, refused, .. } = decide(&both, &[], None);
        assert!(refused.is_some() && plan.upgrade.from.as_deref() == Some("2026-08-20"), "{plan:?}");
        let alone = recorded(AFTER_HELM, |facts| facts.live[0].credentials = Some(key.into()));
        decided(&alone, &[]).unwrap();
    }

    #[test]
    fn drift_is_warned_of_or_refused_and_gone_over_only_where_that_is_allowed() {
        let warned = decided(&recorded(OVER_DRIFT, |_| {}), &[]).unwrap();
        assert_eq!((warned.warnings.len(), warned.over_others), (4, false), "{:?}", warned.warnings);
        let hint = warned.warnings[3].1.as_deref().unwrap();
        assert!(
            hint.ends_with("helm refuses to overwrite what others have set: --allow drift makes it do so."),
            "{hint}"
        );
        assert!(decided(&recorded(OVER_DRIFT, |_| {}), &["drift"]).unwrap().over_others);
        let strict = recorded(OVER_DRIFT, |facts| facts.on_drift = OnDrift::Refuse);
        let text = refused(Exit::Drift, &strict, "drift");
        assert!(
            text.starts_with("the install is not what the vault says: ConfigMap opschain-config: edited"),
            "{text}"
        );
        let unasked = recorded(OVER_DRIFT, |facts| (facts.on_drift, facts.drift) = (OnDrift::Ignore, None));
        assert!(decided(&unasked, &[]).unwrap().warnings.is_empty());
    }

    #[test]
    fn after_helm_alone_both_its_values_and_the_vault_s_are_guarded() {
        let facts = recorded(AFTER_HELM, |_| {});
        assert_eq!(
            facts.live.iter().map(|live| live.source).collect::<Vec<_>>(),
            [LiveSource::Vault, LiveSource::Helm]
        );
        let Decision { plan, warnings, .. } = decided(&facts, &[]).unwrap();
        assert!(warnings[0].0.starts_with("values: deployed outside dr with Helm: revision 4, "), "{warnings:?}");
        let error = guard::refuse_data_loss(&plan.guarded).unwrap_err();
        assert_eq!(error.exit(), Exit::Guard);
        assert!(error.message().starts_with("env.PGPASSWORD differs from the live value, and must"), "{error}");
        let allowed = decided(&facts, &["env.PGPASSWORD"]).unwrap().plan.guarded;
        assert!(guard::refuse_data_loss(&allowed).is_ok());
        let twice = recorded(AFTER_HELM, |facts| facts.live[0].guarded = facts.live[1].guarded.clone());
        assert_eq!(decided(&twice, &[]).unwrap().plan.guarded, plan.guarded, "told once");
    }

    #[test]
    fn a_pending_release_is_explained_by_what_is_seen_of_it() {
        let stuck = |change: fn(&mut DeployFacts)| {
            decided(&recorded(PENDING, change), &["version"]).unwrap().plan.stuck.unwrap()
        };
        let dead = stuck(|_| {});
        assert_eq!((dead.revision, dead.status.as_str(), dead.live), (3, "pending-upgrade", Some(2)));
        assert_eq!((dead.process, dead.by.as_deref()), (Process::Dead, Some("operator@host")));
        assert_eq!(stuck(|facts| facts.who = "operator@other".into()).process, Process::Unknown);
        let pending = |facts: &mut DeployFacts| facts.pending.as_mut().map(|seen| seen.helm_processes.push(77));
        let mut facts = recorded(PENDING, |_| {});
        pending(&mut facts).unwrap();
        assert_eq!(decided(&facts, &["version"]).unwrap().plan.stuck.unwrap().process, Process::Alive);
    }

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
    fn what_failed_is_never_called_live_and_nobody_is_sent_back_to_it() {
        use crate::vault::DeploymentStatus;
        // What helm runs has failed: nothing went live yet.
        let failed = recorded(UPGRADE, |facts| {
            facts.history.deployments.truncate(1);
            facts.history.deployments[0].outcome.as_mut().unwrap().status = DeploymentStatus::Failed;
            facts.version = "2026-08-20".parse().ok();
        });
        let own = failed.history.own().unwrap().clone();
        let ways = |facts: &DeployFacts| {
            let plan = decide(facts, &[], None).plan;
            let outcome = crate::vault::DeploymentOutcome { helm_revision: Some(2), ..own.outcome.clone().unwrap() };
            let ways = super::super::steps::ways_on(&plan, &outcome, None).join(" ");
            (plan, ways)
        };
        let (plan, said) = ways(&failed);
        let tried = plan.tried.unwrap();
        assert_eq!((plan.live, &tried.id, tried.state.as_str()), (None, own.id(), "failed"));
        assert!(!said.contains("rollback") && said.contains("`kubectl get pvc -n "), "{said}");
        // helm may know of more than the vault: then there may be data, and nothing is to be deleted.
        let mut others = failed.clone();
        others.history.revisions.insert(0, history::revision(1, "2026-08-01T10:00:00Z", "superseded", "by hand"));
        assert!(!ways(&others).1.contains("delete namespace"));
        // What went live before it is live all the same, and the way back while the version is the same.
        let mut older = own.clone();
        older.record.id = serde_json::from_value("20260101T000000Z-0a1b2c".into()).unwrap();
        older.outcome.as_mut().unwrap().status = DeploymentStatus::Deployed;
        let mut again = failed.clone();
        again.history.deployments.push(older.clone());
        let (plan, said) = ways(&again);
        assert_eq!(plan.live.as_ref(), Some(older.id()));
        assert!(said.contains(&format!("`dr deploy rollback {}`", older.id())), "{said}");
        again.history.deployments[1].record.opschain_version = Some("2026-07-28".into());
        let (_, said) = ways(&again);
        assert!(!said.contains("dr deploy rollback") && said.contains("--version 2026-07-28"), "{said}");
    }

    #[test]
    fn only_a_failed_first_installation_is_warned_of() {
        let revision = |number: u32, status: &str| history::revision(number, "2026-08-20T10:00:00Z", status, "");
        let failed = recorded(FIRST, |facts| facts.history.revisions = vec![revision(1, "failed")]);
        let warning = &decided(&failed, &[]).unwrap().warnings[0];
        assert!(warning.0.starts_with("the first installation failed") && warning.1.is_some(), "{warning:?}");
        for other in [Some(revision(1, "deployed")), Some(revision(2, "failed")), None] {
            assert!(failed_install(other.as_ref()).is_none(), "{other:?}");
        }
    }
}
