//! What stopping the application meets: what is off already, what would keep its pods out, who would start it meanwhile.

use super::facts::{CreateFacts, Rollout};
use crate::cluster::PodRefusal;
use crate::error::{CommandError, Exit, Result};
use crate::ops::lease;
use crate::ops::quiesce::{RunPutBackFirst, WriterFacts};

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

/// Writers that are stopped have to come back: what would keep their pods out is asked before.
pub(super) fn would_come_back(facts: &CreateFacts) -> Result<Vec<String>> {
    let what = |(writer, refusal): &(String, PodRefusal)| {
        format!("the pods of {writer} would not be admitted again: {}", refusal.why)
    };
    if let Some(refused) = facts.unadmitted.iter().find(|(_, refusal)| refusal.certain) {
        let namespace = &facts.namespace;
        return Err(CommandError::new(Exit::Cluster, what(refused))
            .hint(format!("Fix that first: what is stopped could not be started again. `kubectl get namespace {namespace} --show-labels` shows its policy."))
            .hint("Or take the state as it is, without stopping anything, with --quiesce none."));
    }
    let running: Vec<&str> = facts.rollouts.iter().map(|rollout| rollout.name.as_str()).collect();
    let mut warnings = facts.essentials.require_return(&running, &facts.unadmitted)?;
    for rollout in &facts.rollouts {
        warnings.extend(of_the_newest(rollout)?);
    }
    warnings.extend(facts.unadmitted.iter().map(what));
    Ok(warnings)
}

/// Only pods of the newest template come back, whatever runs now.
fn of_the_newest(rollout: &Rollout) -> Result<Option<String>> {
    let Rollout { name, wanted, ready, newest } = rollout;
    if newest < ready {
        let what = format!(
            "{name} is being rolled out: {ready} of its pods are ready, and {newest} of these are of its newest template; those that are stopped would not come back as they are"
        );
        return Err(CommandError::new(Exit::Cluster, what)
            .hint(format!("Wait for `kubectl rollout status deployment/{name}`; one that is stuck goes back with `kubectl rollout undo deployment/{name}`, or with `dr deploy`."))
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
        facts.unadmitted = vec![("opschain-api".to_owned(), PodRefusal { why, certain: true })];
        let error = would_come_back(&facts).unwrap_err();
        let what = "the pods of opschain-api would not be admitted again: violates PodSecurity \"restricted:latest\"";
        assert_eq!((error.exit(), error.message()), (Exit::Cluster, what));
        facts.unadmitted[0].1.certain = false;
        assert_eq!(would_come_back(&facts).unwrap(), [what]);
    }

    #[test]
    fn pods_that_serve_and_are_not_of_the_newest_template_are_not_stopped() {
        let rollout = |ready, newest| Rollout { name: "opschain-api-worker".into(), wanted: 2, ready, newest };
        let error = of_the_newest(&rollout(2, 0)).unwrap_err();
        assert_eq!(error.exit(), Exit::Cluster);
        assert!(
            error.message().starts_with("opschain-api-worker is being rolled out: 2 of its pods are ready"),
            "{error}"
        );
        let down = of_the_newest(&rollout(0, 0)).unwrap().unwrap();
        assert_eq!(down, "opschain-api-worker is not ready before it is stopped: 0 of 2 pods");
        assert!(of_the_newest(&rollout(2, 2)).unwrap().is_none());
    }
}
