//! What stopping the application meets: what is off already, what would keep its pods out, who would start it meanwhile.

use super::facts::{CreateFacts, Rollout};
use crate::cluster::{PodRefusal, PodsReturn};
use crate::error::{CommandError, Exit, Result};
use crate::ops::essentials::Essentials;
use crate::ops::quiesce::{
    MAKE_AGAIN, NODES_UNSEEN, RecordedReplicas, RunPutBackFirst, WriterFacts, no_node, not_admitted, strangers_line,
    strangers_way,
};
use crate::ops::{Ctx, lease, rbac};
use crate::settings::{Allow, Quiesce};

/// An application that is off already is what somebody wanted, or what another bundle run has left: that is no state to
/// be bundled, and whoever made it may be at work.
///
/// Returns the writers as they stand once what interrupted runs have left is put back, those that stay stopped, and what
/// is to be said of both.
pub(super) fn stopped_before(facts: &CreateFacts) -> Result<(Vec<WriterFacts>, Vec<String>, Vec<String>)> {
    let (mut writers, mut stays, mut noted) = (facts.writers.clone(), Vec::new(), Vec::new());
    for writer in writers.iter_mut().filter(|writer| writer.now == 0) {
        if let Some((run, replicas)) = RunPutBackFirst::starting(&facts.open_runs, &writer.name) {
            noted.push(format!("{} is stopped: run {run}, which has stopped it, is put back first", writer.name));
            (writer.now, writer.replicas) = (replicas, replicas);
            continue;
        }
        let run = writer.stopped_by.as_deref();
        let by = run.map_or_else(|| "somebody who left no note".to_owned(), lease::called);
        refuse_half_stopped(run)?;
        noted.push(format!("{} is stopped, by {by}: it stays stopped", writer.name));
        stays.push(format!("{}, by {by}", writer.name));
    }
    Ok((writers, stays, noted))
}

fn refuse_half_stopped(run: Option<&str>) -> Result<()> {
    if let Some(by) = run.filter(|run| run.starts_with("create-")) {
        let what =
            format!("the application is stopped, by run {by}, which was interrupted or is at work on another host");
        return Err(CommandError::new(Exit::Busy, what).hint(
            "`dr run resume` on the host that began it, or `dr server start` on any, brings the application back.",
        ));
    }
    Ok(())
}

/// What would be missing half way is asked for before.
pub(super) fn require_rights(facts: &CreateFacts, quiesce: Quiesce) -> Result<()> {
    let switch = facts.denied_switch.iter().filter(|_| quiesce != Quiesce::None);
    let denied: Vec<String> = facts.denied.iter().chain(switch).cloned().collect();
    rbac::require_rights("a bundle", &denied, &facts.namespace)
}

/// Writers that are stopped have to come back: what would keep their pods out is asked before.
pub(super) fn would_come_back(facts: &CreateFacts) -> Result<Vec<String>> {
    let running: Vec<&str> = facts.rollouts.iter().map(|rollout| rollout.name.as_str()).collect();
    let mut warnings = let_back(&facts.returning, &facts.essentials, &running, &facts.namespace)?;
    for rollout in &facts.rollouts {
        warnings.extend(of_the_newest(rollout)?);
    }
    warnings.extend(facts.returning.unadmitted.iter().map(not_admitted_line));
    warnings.extend(facts.returning.nodes_unseen.then(|| NODES_UNSEEN.to_owned()));
    Ok(warnings)
}

/// The same once more: hours may lie between the plan and the moment when these are stopped.
///
/// # Errors
/// One would not come back; the cluster cannot be asked.
pub(super) async fn would_still_come_back(ctx: &Ctx, stopping: &RecordedReplicas, revision: u32) -> Result<()> {
    let cluster = ctx.cluster().await?;
    let running: Vec<&str> = stopping.writers.iter().map(|writer| writer.name.as_str()).collect();
    let (returning, essentials) = (cluster.pods_return(&running).await?, Essentials::look(ctx, Some(revision)).await?);
    let_back(&returning, &essentials, &running, cluster.namespace()).map(drop)
}

fn not_admitted_line((writer, refusal): &(String, PodRefusal)) -> String {
    not_admitted(writer, refusal)
}

fn let_back(returning: &PodsReturn, essentials: &Essentials, running: &[&str], namespace: &str) -> Result<Vec<String>> {
    if let Some((writer, why)) = returning.unplaceable.first() {
        return Err(CommandError::new(Exit::Cluster, no_node(writer, why))
            .hint("Fix that first: what is stopped could not be started again. `kubectl get nodes --show-labels` and `kubectl describe nodes` show what they allow.")
            .hint("Or take the state as it is, without stopping anything, with --quiesce none."));
    }
    if let Some(refused) = returning.unadmitted.iter().find(|(_, refusal)| refusal.certain) {
        return Err(CommandError::new(Exit::Cluster, not_admitted_line(refused))
            .hint(format!("Fix that first: what is stopped could not be started again. `kubectl get namespace {namespace} --show-labels` shows its Pod Security; `kubectl get validatingadmissionpolicies,validatingwebhookconfigurations` the rules of others."))
            .hint("Or take the state as it is, without stopping anything, with --quiesce none."));
    }
    essentials.require_return(running, &returning.unadmitted)
}

/// Pods that are taken for the application's and are not stopped with it may write on.
///
/// # Errors
/// [`Exit::Busy`] naming them, unless others may write.
pub(super) fn strangers(facts: &CreateFacts, quiesce: Quiesce, allow: &[Allow]) -> Result<Option<String>> {
    if facts.strangers.is_empty() || quiesce == Quiesce::None {
        return Ok(None);
    }
    let what = strangers_line(&facts.strangers);
    if allow.contains(&Allow::ForeignWriters) {
        return Ok(Some(format!("{what}; they are not stopped")));
    }
    Err(CommandError::new(Exit::Busy, what)
        .hint(format!("They are not stopped, and may write: `{}`.", strangers_way(&facts.namespace, &facts.strangers)))
        .hint("Or take what they write as it is: --allow foreign-writers."))
}

/// The writers that have not all their pods ready now: when they would be is not to be waited for.
pub(super) fn unready(facts: &CreateFacts) -> Vec<String> {
    let unready = facts.rollouts.iter().filter(|rollout| rollout.ready < rollout.wanted);
    unready.map(|rollout| rollout.name.clone()).collect()
}

/// Only pods of the newest template come back, whatever runs now.
fn of_the_newest(rollout: &Rollout) -> Result<Option<String>> {
    let Rollout { name, wanted, ready, newest, deleted, paused } = rollout;
    if *deleted {
        let what = format!(
            "Deployment {name} is deleted, and a finalizer keeps it: nothing stops or starts its pods any more"
        );
        return Err(CommandError::new(Exit::Cluster, what)
            .hint(format!("`kubectl get deployment {name} -o yaml` shows the finalizer; once it is gone, `{MAKE_AGAIN}` makes the Deployment again."))
            .hint("Or take the state as it is, without stopping anything, with --quiesce none."));
    }
    if newest < ready {
        let what = format!(
            "{name} is being rolled out: {ready} of its pods are ready, and {newest} of these are of its newest template; those that are stopped would not come back as they are"
        );
        let way = match paused {
            true => format!("Its rollout is paused: `kubectl rollout resume deployment/{name}` lets it go on."),
            false => format!(
                "Wait for `kubectl rollout status deployment/{name}`; one that is stuck goes back with `kubectl rollout undo deployment/{name}`, or with `dr deploy`."
            ),
        };
        return Err(CommandError::new(Exit::Cluster, what)
            .hint(way)
            .hint("Or take the state as it is, without stopping anything, with --quiesce none."));
    }
    Ok((ready < wanted).then(|| format!("{name} is not ready before it is stopped: {ready} of {wanted} pods")))
}

/// Whoever would scale the writers back while they are stopped.
pub(super) fn scaled_by_others(facts: &CreateFacts) -> Vec<String> {
    let scalers = facts.autoscalers.iter().map(|(scaler, target)| {
        format!("autoscaler {scaler} keeps the replicas of {target}, and may start it again while it is stopped")
    });
    let tools = facts.writers.iter().filter_map(|writer| {
        let tool = writer.gitops.as_ref()?;
        Some(format!("{tool} manages {}, and may start it again while it is stopped", writer.name))
    });
    scalers.chain(tools).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_that_would_not_be_admitted_again_are_not_stopped() {
        let why = "violates PodSecurity \"restricted:latest\"".to_owned();
        let mut facts: CreateFacts =
            serde_json::from_str(include_str!("../../../fixtures/facts/create-good.json")).unwrap();
        facts.returning.unadmitted = vec![("opschain-api".to_owned(), PodRefusal { why, certain: true })];
        let error = would_come_back(&facts).unwrap_err();
        let what = "opschain-api would not be admitted again: violates PodSecurity \"restricted:latest\"";
        assert_eq!((error.exit(), error.message()), (Exit::Cluster, what));
        facts.returning.unadmitted[0].1.certain = false;
        assert_eq!(would_come_back(&facts).unwrap(), [what]);
    }

    fn good() -> CreateFacts {
        serde_json::from_str(include_str!("../../../fixtures/facts/create-good.json")).unwrap()
    }

    #[test]
    fn pods_that_no_node_would_take_again_are_not_stopped_and_unseen_nodes_are_said() {
        let mut facts = good();
        facts.returning.nodes_unseen = true;
        assert_eq!(would_come_back(&facts).unwrap(), [NODES_UNSEEN]);
        facts.returning.unplaceable = vec![("opschain-api".into(), "n1: cordoned".into())];
        let error = would_come_back(&facts).unwrap_err();
        assert_eq!(error.exit(), Exit::Cluster);
        assert_eq!(error.message(), "no node would take the pods of opschain-api again: n1: cordoned");
    }

    #[test]
    fn a_pod_that_only_looks_like_the_applications_is_named_before_anything_is_stopped() {
        let mut facts = good();
        assert_eq!(strangers(&facts, Quiesce::Brief, &[]).unwrap(), None);
        facts.strangers = vec!["pod/opschain-api-debug".into()];
        let error = strangers(&facts, Quiesce::Brief, &[]).unwrap_err();
        assert_eq!(error.exit(), Exit::Busy);
        assert!(error.message().ends_with("not of its Deployments: pod/opschain-api-debug"), "{error}");
        assert!(error.hints()[0].contains("delete pod/opschain-api-debug`"), "{:?}", error.hints());
        facts.strangers.insert(0, "deployment/opschain-api-blue".into());
        let error = strangers(&facts, Quiesce::Brief, &[]).unwrap_err();
        assert!(error.hints()[0].contains("scale deployment/opschain-api-blue --replicas=0; kubectl"), "made anew");
        let said = strangers(&facts, Quiesce::Brief, &[Allow::ForeignWriters]).unwrap().unwrap();
        assert!(said.ends_with("opschain-api-debug; they are not stopped"), "{said}");
    }

    #[test]
    fn a_right_that_would_be_missing_half_way_is_named_before() {
        let mut facts = good();
        facts.denied_switch = vec!["patch deployments.apps opschain-api".into()];
        assert!(require_rights(&facts, Quiesce::None).is_ok(), "nothing is stopped");
        let error = require_rights(&facts, Quiesce::Brief).unwrap_err();
        assert_eq!(error.exit(), Exit::Cluster);
        assert!(error.message().ends_with("do not allow: patch deployments.apps opschain-api"), "{error}");
        facts.denied = vec!["delete pods".into()];
        assert!(require_rights(&facts, Quiesce::None).unwrap_err().message().ends_with("do not allow: delete pods"));
    }

    #[test]
    fn a_writer_that_was_not_ready_is_not_waited_for() {
        let mut facts = good();
        assert!(unready(&facts).is_empty());
        facts.rollouts = vec![Rollout {
            name: "opschain-api".into(),
            wanted: 2,
            ready: 1,
            newest: 1,
            deleted: false,
            paused: false,
        }];
        assert_eq!(unready(&facts), ["opschain-api"]);
    }

    #[test]
    fn pods_that_serve_and_are_not_of_the_newest_template_are_not_stopped() {
        let rollout = |ready, newest| Rollout {
            name: "opschain-api-worker".into(),
            wanted: 2,
            ready,
            newest,
            deleted: false,
            paused: false,
        };
        let error = of_the_newest(&rollout(2, 0)).unwrap_err();
        assert_eq!(error.exit(), Exit::Cluster);
        assert!(
            error.message().starts_with("opschain-api-worker is being rolled out: 2 of its pods are ready"),
            "{error}"
        );
        let paused = of_the_newest(&Rollout { paused: true, ..rollout(2, 0) }).unwrap_err();
        assert!(paused.hints()[0].contains("`kubectl rollout resume deployment/opschain-api-worker`"), "{paused}");
        let down = of_the_newest(&rollout(0, 0)).unwrap().unwrap();
        assert_eq!(down, "opschain-api-worker is not ready before it is stopped: 0 of 2 pods");
        assert!(of_the_newest(&rollout(2, 2)).unwrap().is_none());
        let deleted = of_the_newest(&Rollout { deleted: true, ..rollout(2, 2) }).unwrap_err();
        assert!(deleted.message().contains("a finalizer keeps it"), "{deleted}");
    }
}
