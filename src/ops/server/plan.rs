//! What stopping and starting would do, and how the application stands. Nothing here asks anybody.

use serde::Serialize;

use super::facts::{KnownReplicas, ServerFacts, WorkloadFacts};
use crate::error::{CommandError, Exit, Result};
use crate::ops::quiesce::WriterFacts;

/// What stopping or starting would do.
#[derive(Debug, Serialize)]
pub struct ServerPlan {
    /// Which install: `namespace/release`.
    pub install: String,
    /// The Deployments in the order in which they are scaled.
    pub workloads: Vec<WriterFacts>,
    /// Work that is under way.
    pub working: Vec<String>,
    /// What would work against it.
    pub warnings: Vec<String>,
    /// Whether there is nothing to do.
    pub done: bool,
}

/// How the application stands.
#[derive(Debug, Serialize)]
pub struct ServerStatus {
    /// Which install: `namespace/release`.
    pub install: String,
    /// `running`, `stopped`, `partly stopped`, `not ready`.
    pub state: &'static str,
    pub parts: Vec<Part>,
    /// Work that is under way.
    pub working: Vec<String>,
    /// The command that takes it further, where there is something to do.
    pub next: Option<String>,
}

/// One part of the application.
#[derive(Debug, Serialize)]
pub struct Part {
    pub name: String,
    /// Pods that are ready, and that it is to have; nothing for the database.
    pub pods: Option<(i32, i32)>,
    /// What is to be known of it.
    pub state: String,
}

/// What stopping would do.
pub(super) fn stop(facts: &ServerFacts) -> ServerPlan {
    let mut warnings = Vec::new();
    for (scaler, target) in &facts.autoscalers {
        warnings.push(format!("autoscaler {scaler} may scale {target} up again: suspend it first"));
    }
    for writer in &facts.writers {
        if let Some(tool) = &writer.gitops {
            warnings.push(format!("{tool} manages {} and may scale it up again: suspend it first", writer.name));
        }
    }
    let done = facts.writers.iter().all(|writer| writer.now == 0);
    ServerPlan {
        install: facts.install.clone(),
        workloads: facts.writers.clone(),
        working: facts.working.clone(),
        warnings,
        done,
    }
}

/// What starting would do: the workers first, so that the API finds them.
///
/// # Errors
/// [`Exit::Failure`] where a writer is off and nothing says how many replicas it had.
pub(super) fn start(facts: &ServerFacts) -> Result<ServerPlan> {
    let mut warnings = Vec::new();
    let mut workloads: Vec<WriterFacts> = facts.writers.iter().rev().cloned().collect();
    for writer in workloads.iter_mut().filter(|writer| writer.replicas == 0) {
        let name = &writer.name;
        let known = known(facts, writer).ok_or_else(|| {
            let by_hand = by_hand(facts, name);
            CommandError::new(Exit::Failure, format!("{name} has no replicas, and nothing says how many it had"))
                .hint("If it was deployed so: deploy with `stopped: false`, as `dr deploy -f values.yaml` does.")
                .hint(format!("Or scale it by hand: `{by_hand}`."))
        })?;
        warnings.push(format!("{name} has no annotation with its replicas: {} has {}", known.source, known.replicas));
        writer.replicas = known.replicas;
    }
    Ok(ServerPlan {
        install: facts.install.clone(),
        workloads,
        working: facts.working.clone(),
        warnings,
        done: facts.writers.iter().all(|writer| writer.now > 0),
    })
}

fn known<'a>(facts: &'a ServerFacts, writer: &WriterFacts) -> Option<&'a KnownReplicas> {
    facts.known.iter().find(|known| known.writer == writer.name)
}

fn by_hand(facts: &ServerFacts, writer: &str) -> String {
    let namespace = facts.install.split('/').next().unwrap_or_default();
    format!("kubectl -n {namespace} scale deployment {writer} --replicas=N")
}

/// How it stands.
pub(super) fn status(facts: &ServerFacts) -> ServerStatus {
    let mut parts: Vec<Part> = facts
        .workloads
        .iter()
        .map(|workload| {
            let writer = facts.writers.iter().find(|writer| writer.name == workload.name);
            let (name, pods) = (workload.name.clone(), Some((workload.ready, workload.replicas)));
            Part { name, pods, state: part_state(facts, workload, writer) }
        })
        .collect();
    let database = |(name, state): &(String, String)| Part { name: name.clone(), pods: None, state: state.clone() };
    parts.extend(facts.databases.iter().map(database));
    let state = state(facts);
    let next = match (state, start(facts), facts.writers.iter().find(|writer| writer.replicas == 0)) {
        ("stopped" | "partly stopped", Ok(_), _) => Some("dr server start".to_owned()),
        // What would be refused is not recommended.
        ("stopped" | "partly stopped", Err(_), Some(writer)) => Some(by_hand(facts, &writer.name)),
        ("not ready", ..) => Some("dr doctor".to_owned()),
        _ => None,
    };
    ServerStatus { install: facts.install.clone(), state, parts, working: facts.working.clone(), next }
}

fn part_state(facts: &ServerFacts, workload: &WorkloadFacts, writer: Option<&WriterFacts>) -> String {
    match writer {
        Some(writer) if workload.replicas == 0 && writer.replicas > 0 => match &writer.stopped_by {
            Some(run) => format!("stopped by {run}, had {}", writer.replicas),
            None => format!("stopped, had {}", writer.replicas),
        },
        Some(writer) if workload.replicas == 0 => match known(facts, writer) {
            Some(known) => format!("stopped, had {} ({})", known.replicas, known.source),
            None => "stopped, nothing says how many it had".into(),
        },
        _ if workload.replicas == 0 => "stopped".into(),
        _ if workload.settled => "ready".into(),
        _ => "not ready".into(),
    }
}

fn state(facts: &ServerFacts) -> &'static str {
    let settled =
        |writer: &WriterFacts| facts.workloads.iter().any(|workload| workload.name == writer.name && workload.settled);
    match facts.writers.iter().filter(|writer| writer.now == 0).count() {
        0 if facts.writers.iter().all(settled) => "running",
        0 => "not ready",
        stopped if stopped == facts.writers.len() => "stopped",
        _ => "partly stopped",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// API and workers with the replicas that they have, are ready, and had before they were stopped.
    fn facts(api: (i32, i32, i32), worker: (i32, i32, i32), stopped_by: Option<&str>) -> ServerFacts {
        let both = [("opschain-api", api), ("opschain-api-worker", worker)];
        let writer = |(name, (now, _, had)): (&str, (i32, i32, i32))| WriterFacts {
            name: name.into(),
            replicas: if now == 0 { had } else { now },
            now,
            stopped_by: stopped_by.map(str::to_owned),
            gitops: None,
        };
        let workload = |(name, (replicas, ready, _)): (&str, (i32, i32, i32))| WorkloadFacts {
            name: name.into(),
            replicas,
            ready,
            settled: ready == replicas,
        };
        ServerFacts {
            install: "opschain/opschain".into(),
            writers: both.map(writer).into(),
            workloads: both.map(workload).into(),
            databases: vec![("opschain-db".into(), "healthy".into())],
            autoscalers: Vec::new(),
            working: Vec::new(),
            known: Vec::new(),
        }
    }

    #[test]
    fn the_application_is_running_only_when_all_of_it_is() {
        let state = |api, worker| state(&facts(api, worker, None));
        assert_eq!(state((2, 2, 0), (2, 2, 0)), "running");
        assert_eq!(state((2, 2, 0), (2, 1, 0)), "not ready");
        assert_eq!(state((2, 2, 0), (0, 0, 3)), "partly stopped");
        assert_eq!(state((0, 0, 1), (0, 0, 3)), "stopped");
    }

    #[test]
    fn a_stopped_part_says_who_stopped_it_and_what_it_had() {
        let parts = |had, by| status(&facts((0, 0, had), (1, 1, 0), by)).parts;
        assert_eq!(parts(3, Some("stop-1"))[0].state, "stopped by stop-1, had 3");
        assert_eq!(parts(3, None)[0].state, "stopped, had 3");
        assert_eq!(parts(0, None)[0].state, "stopped, nothing says how many it had");
        let last = parts(0, None).pop().unwrap();
        assert_eq!((last.name.as_str(), last.pods), ("opschain-db", None));
    }

    #[test]
    fn it_is_started_in_the_other_order_and_refused_where_nobody_knows_the_count() {
        let plan = start(&facts((0, 0, 1), (0, 0, 3), Some("stop-1"))).unwrap();
        let order: Vec<_> = plan.workloads.iter().map(|writer| (writer.name.as_str(), writer.replicas)).collect();
        assert_eq!((order, plan.done), (vec![("opschain-api-worker", 3), ("opschain-api", 1)], false));
        let error = start(&facts((0, 0, 1), (0, 0, 0), None)).unwrap_err();
        assert_eq!(error.exit(), Exit::Failure);
        assert!(error.message().starts_with("opschain-api-worker has no replicas"), "{error}");
        assert!(start(&facts((1, 1, 0), (3, 3, 0), None)).unwrap().done);
    }

    #[test]
    fn a_count_that_is_not_on_the_deployment_is_taken_from_whoever_knows_it_and_no_refused_verb_is_recommended() {
        let mut facts = facts((0, 0, 0), (0, 0, 3), None);
        let next = status(&facts).next.unwrap();
        assert_eq!(next, "kubectl -n opschain scale deployment opschain-api --replicas=N");
        let (writer, source) = ("opschain-api".to_owned(), "run create-1".to_owned());
        facts.known.push(KnownReplicas { writer, replicas: 2, source });
        let shown = status(&facts);
        assert_eq!(shown.next.as_deref(), Some("dr server start"));
        assert_eq!(shown.parts[0].state, "stopped, had 2 (run create-1)");
        let plan = start(&facts).unwrap();
        assert_eq!(plan.workloads[1].replicas, 2);
        assert_eq!(plan.warnings, ["opschain-api has no annotation with its replicas: run create-1 has 2"]);
    }

    #[test]
    fn whoever_would_scale_a_writer_up_again_is_warned_of() {
        let mut facts = facts((1, 1, 0), (3, 3, 0), None);
        facts.autoscalers.push(("hpa".into(), "opschain-api".into()));
        facts.writers[1].gitops = Some("Argo CD".into());
        let plan = stop(&facts);
        assert_eq!(plan.warnings.len(), 2);
        assert!(plan.warnings[1].starts_with("Argo CD manages opschain-api-worker"), "{:?}", plan.warnings);
        assert!(!plan.done);
    }
}
