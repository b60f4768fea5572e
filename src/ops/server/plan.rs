//! What stopping and starting would do, and how the application stands. Nothing here asks anybody.

use serde::Serialize;

use super::facts::{InUse, KnownReplicas, ServerFacts, WorkloadFacts};
use crate::cluster::OriginalState;
use crate::error::{CommandError, Exit, OpenRun, Result, WayOut};
use crate::ops::quiesce::{self, MAKE_AGAIN, RunPutBackFirst, WriterFacts};
use crate::ops::runs::{self, WaysOn};
use crate::ops::{lease, rbac};

/// What wakes a database that the values have put to sleep.
pub const WAKE: &str = "dr deploy -f values.yaml, with stopDatabase: false";

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
    /// What a person is to answer for before the workers are started: the original of this copy may live.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<String>,
    /// Whether there is nothing to do.
    pub done: bool,
}

/// How the application stands.
#[derive(Debug, Serialize)]
pub struct ServerStatus {
    /// Which install: `namespace/release`.
    pub install: String,
    /// `running`, `stopped`, `partly stopped`, `partly missing`, `not ready`.
    pub state: &'static str,
    pub parts: Vec<Part>,
    /// Work that is under way.
    pub working: Vec<String>,
    /// The run that has the install half done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_run: Option<OpenRun>,
    /// Who is at work on it, or was until it died.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_use: Option<InUse>,
    /// The command that takes it further, where there is something to do.
    pub next: Option<String>,
    /// What can be done about the open run that it is about.
    #[serde(skip_serializing_if = "WaysOn::is_empty")]
    pub ways_on: WaysOn,
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

/// What stopping would do. What an interrupted run has left is put back before, and stopped again.
///
/// # Errors
/// [`Exit::Locked`] where the install is half done by a run of which only its lease tells; [`Exit::Cluster`] where the
/// access rules do not allow it.
pub(super) fn stop(facts: &ServerFacts) -> Result<ServerPlan> {
    if let Some(open) = &facts.open_run
        && matches!(open.way_out, WayOut::AtWork(_) | WayOut::Elsewhere(_) | WayOut::Lost | WayOut::OnlyClosed)
    {
        return Err(open.half_done(&facts.install));
    }
    rbac::require_rights("stopping", &facts.denied, facts.namespace())?;
    let mut workloads = facts.writers.clone();
    for writer in &mut workloads {
        if let Some((_, replicas)) = RunPutBackFirst::starting(&facts.put_back_first, &writer.name) {
            (writer.now, writer.replicas) = (replicas, replicas);
        }
    }
    let mut warnings: Vec<String> = facts.missing.iter().map(|name| missing(name)).collect();
    for (scaler, target) in &facts.autoscalers {
        warnings.push(format!("autoscaler {scaler} may scale {target} up again: suspend it first"));
    }
    for writer in &facts.writers {
        if let Some(tool) = &writer.gitops {
            warnings.push(format!("{tool} manages {} and may scale it up again: suspend it first", writer.name));
        }
    }
    // No refusal: whoever empties the nodes stops it on purpose.
    warnings.extend(quiesce::before_a_stop(&facts.returning, &facts.strangers));
    Ok(ServerPlan {
        install: facts.install.clone(),
        held: None,
        done: workloads.iter().all(|writer| writer.now == 0),
        workloads,
        working: facts.working.clone(),
        warnings,
    })
}

/// What starting would do: the workers first, so that the API finds them.
///
/// # Errors
/// [`Exit::Locked`] where the install is half done; [`Exit::Cluster`] where its database hibernates, or the access rules
/// do not allow it; [`Exit::Failure`] where a writer is off and nothing says how many replicas it had.
pub(super) fn start(facts: &ServerFacts) -> Result<ServerPlan> {
    if let Some(open) = &facts.open_run {
        return Err(open.half_done(&facts.install));
    }
    rbac::require_rights("starting", &facts.denied, facts.namespace())?;
    if let Some(database) = facts.asleep.first() {
        let what = format!("database {database} hibernates: the application would wait for it for ever");
        return Err(CommandError::new(Exit::Cluster, what).hint(WAKE));
    }
    let mut warnings: Vec<String> = facts.missing.iter().map(|name| missing(name)).collect();
    let mut workloads: Vec<WriterFacts> = facts.writers.iter().rev().cloned().collect();
    warnings.extend(workloads.iter().filter_map(|writer| doubted(facts, writer)));
    for writer in workloads.iter_mut().filter(|writer| writer.replicas == 0) {
        let name = &writer.name;
        let known = known(facts, writer).ok_or_else(|| {
            let by_hand = by_hand(facts, name);
            let what = match &writer.unusable_note {
                Some(note) => format!("{name} has no replicas, and its note of how many it had is no count: `{note}`"),
                None => format!("{name} has no replicas, and nothing says how many it had"),
            };
            CommandError::new(Exit::Failure, what)
                .hint(format!("`{by_hand}`, with the N that it had, starts it."))
                .hint("If it was deployed so: deploy with `stopped: false`, as `dr deploy -f values.yaml` does.")
        })?;
        let note = match &writer.unusable_note {
            Some(note) => format!("has the unusable annotation `{note}` as its replicas"),
            None => "has no annotation with its replicas".to_owned(),
        };
        warnings.push(format!("{name} {note}: {} has {}", known.source, known.replicas));
        writer.replicas = known.replicas;
    }
    Ok(ServerPlan {
        install: facts.install.clone(),
        workloads,
        working: facts.working.clone(),
        warnings,
        held: held(facts),
        done: facts.writers.iter().all(|writer| writer.now > 0) && facts.left_mode.is_none(),
    })
}

/// What is wrong with the note of a writer that is off, where a run of this host has counted something else.
fn doubted(facts: &ServerFacts, writer: &WriterFacts) -> Option<String> {
    let (name, noted) = (&writer.name, Some(writer.replicas).filter(|noted| writer.now == 0 && *noted > 0)?);
    let known =
        facts.known.iter().find(|known| known.writer == *name && known.is_counted() && known.replicas != noted)?;
    let KnownReplicas { source, replicas, .. } = known;
    let by_hand = by_hand(facts, name).replace("=N", &format!("={replicas}"));
    Some(format!("{name} has a note of {noted} replicas, and {source} has {replicas}: `{by_hand}` if that is right"))
}

/// Why somebody has to answer for the start of writers that are held; nothing where their original is gone.
fn held(facts: &ServerFacts) -> Option<String> {
    let original = facts.writers.iter().filter(|writer| writer.now == 0).find_map(|writer| writer.held_for.as_ref())?;
    let both = "then both will run what is scheduled, and push and notify";
    match facts.original? {
        OriginalState::Gone => None,
        OriginalState::Answers => Some(format!("this is a copy, and its original lives: {original} answers; {both}")),
        OriginalState::Unseen => {
            Some(format!("this is a copy, and its original, {original}, cannot be seen from here: if it lives, {both}"))
        }
    }
}

fn known<'a>(facts: &'a ServerFacts, writer: &WriterFacts) -> Option<&'a KnownReplicas> {
    facts.known.iter().find(|known| known.writer == writer.name)
}

fn by_hand(facts: &ServerFacts, writer: &str) -> String {
    quiesce::scale_by_hand(facts.namespace(), writer)
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
    let gone =
        |name: &String| Part { name: name.clone(), pods: None, state: "missing: there is no such Deployment".into() };
    parts.extend(facts.missing.iter().map(gone));
    let database = |(name, state): &(String, String)| Part { name: name.clone(), pods: None, state: state.clone() };
    parts.extend(facts.databases.iter().map(database));
    parts.extend(facts.left_mode.as_ref().map(Part::left_mode));
    let (state, next) = (state(facts), next(facts));
    let (install, open_run, in_use) = (facts.install.clone(), facts.open_run.clone(), facts.in_use.clone());
    let ways_on = ways_on(facts, next.as_deref());
    ServerStatus { install, state, parts, working: facts.working.clone(), open_run, in_use, next, ways_on }
}

/// What can be done about the open run that the next command is about.
fn ways_on(facts: &ServerFacts, next: Option<&str>) -> WaysOn {
    if let Some(open) = &facts.open_run {
        return WaysOn::of(open);
    }
    let run = facts.put_back_first.iter().map(|first| &first.run).find(|run| next == Some(&runs::resume_command(run)));
    run.map(|run| WaysOn::of(&OpenRun::new(run.clone(), None))).unwrap_or_default()
}

/// The command that comes next, where there is something to do. What would be refused is not recommended.
pub(super) fn next(facts: &ServerFacts) -> Option<String> {
    if let Some(open) = &facts.open_run {
        return Some(open.next(facts.namespace()));
    }
    if facts.in_use.as_ref().is_some_and(|in_use| in_use.at_work) {
        return None; // It starts what it has stopped, and every verb would be refused until then.
    }
    let is_off = facts.writers.iter().any(|writer| writer.now == 0);
    match state(facts) {
        _ if !is_off && !facts.missing.is_empty() => return Some(MAKE_AGAIN.to_owned()),
        "running" if facts.left_mode.is_none() => return None,
        "not ready" => return Some("dr doctor".to_owned()),
        _ if !facts.asleep.is_empty() => return Some(WAKE.to_owned()),
        _ => {}
    }
    let off = || facts.writers.iter().filter(|writer| writer.now == 0);
    // What a run has stopped, that run brings back, with all else that it has left.
    let first = facts.put_back_first.iter().find(|first| off().all(|writer| first.starts(&writer.name).is_some()));
    if let Some(first) = first {
        return Some(runs::resume_command(&first.run));
    }
    if let Some(writer) = off().find(|writer| writer.replicas == 0 && known(facts, writer).is_none()) {
        return Some(by_hand(facts, &writer.name));
    }
    Some("dr server start".to_owned())
}

/// Who has stopped it, where it says so.
fn by(writer: &WriterFacts) -> String {
    writer.stopped_by.as_ref().map_or_else(String::new, |run| format!(" by {}", lease::called(run)))
}

fn missing(writer: &str) -> String {
    format!("there is no Deployment {writer}: `{MAKE_AGAIN}`, with the values that are deployed, makes it again")
}

fn part_state(facts: &ServerFacts, workload: &WorkloadFacts, writer: Option<&WriterFacts>) -> String {
    match writer {
        Some(writer) if workload.replicas == 0 && writer.replicas > 0 => {
            format!("stopped{}, had {}", by(writer), writer.replicas)
        }
        Some(writer) if workload.replicas == 0 => match known(facts, writer) {
            Some(known) => format!("stopped{}, had {} ({})", by(writer), known.replicas, known.source),
            None => format!("stopped{}, nothing says how many it had", by(writer)),
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
        0 if !facts.missing.is_empty() => "partly missing",
        0 if facts.writers.iter().all(settled) => "running",
        0 => "not ready",
        stopped if stopped == facts.writers.len() => "stopped",
        _ => "partly stopped",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cluster::HeldOriginal;
    use crate::opschain::maintenance::LeftMode;

    #[test]
    fn the_start_of_a_copy_is_answered_for_while_its_original_lives_or_is_unseen() {
        let start_of = |original, now| {
            let mut facts = facts((1, 1, 1), (now, now, 3), Some("restore-1"));
            facts.writers[1].held_for =
                Some(HeldOriginal { database: "opschain-db".into(), namespace: "prod".into(), ..Default::default() });
            facts.original = Some(original);
            start(&facts).unwrap().held
        };
        let text = start_of(OriginalState::Answers, 0).unwrap();
        assert!(text.contains("database opschain-db in namespace prod answers"), "{text}");
        assert!(start_of(OriginalState::Unseen, 0).unwrap().contains("cannot be seen"));
        assert_eq!(start_of(OriginalState::Gone, 0), None);
        assert_eq!(start_of(OriginalState::Answers, 3), None, "it runs already");
    }

    /// API and workers with the replicas that they have, are ready, and had before they were stopped.
    fn facts(api: (i32, i32, i32), worker: (i32, i32, i32), stopped_by: Option<&str>) -> ServerFacts {
        let both = [("opschain-api", api), ("opschain-api-worker", worker)];
        let writer = |(name, (now, _, had)): (&str, (i32, i32, i32))| WriterFacts {
            name: name.into(),
            replicas: if now == 0 { had } else { now },
            now,
            stopped_by: stopped_by.map(str::to_owned),
            ..WriterFacts::default()
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
            ..ServerFacts::default()
        }
    }

    #[test]
    fn maintenance_mode_that_a_dead_run_has_left_on_is_shown_and_put_back_by_a_start() {
        let mut facts = facts((1, 1, 1), (3, 3, 3), None);
        facts.left_mode = LeftMode::from_note("disabled create-1");
        let shown = status(&facts);
        let state = &shown.parts.iter().find(|part| part.name == "maintenance mode").unwrap().state;
        assert!(state.contains("create-1") && state.ends_with("it was disabled"), "{state}");
        assert_eq!((shown.state, shown.next.as_deref()), ("running", Some("dr server start")));
        assert!(!start(&facts).unwrap().done);
    }

    #[test]
    fn a_half_done_install_is_not_started_and_only_the_ways_of_its_run_are_recommended() {
        let mut facts = facts((0, 0, 1), (0, 0, 3), Some("stop-1"));
        facts.open_run = Some(OpenRun::new("restore-1".into(), Some("swap".into())));
        let error = start(&facts).unwrap_err();
        assert_eq!((error.exit(), error.open_run()), (Exit::Locked, facts.open_run.as_ref()));
        let shown = status(&facts);
        assert_eq!(shown.next.as_deref(), Some("dr run resume restore-1"));
        let both = serde_json::json!({"resume": "dr run resume restore-1", "abort": "dr run abort restore-1"});
        assert_eq!(serde_json::to_value(&shown).unwrap()["ways_on"], both);
        assert!(stop(&facts).is_ok(), "what serves must be stopped before the run can be resumed");
        facts.open_run.as_mut().unwrap().way_out = WayOut::Elsewhere("op@there".into());
        assert_eq!(stop(&facts).unwrap_err().exit(), Exit::Locked, "its lease is all that tells of it");
        let ways = status(&facts).ways_on;
        assert!(ways.commands().all(|way| way.starts_with("on the host of op@there: dr run ")), "{ways:?}");
        facts.open_run.as_mut().unwrap().way_out = WayOut::Lost;
        let shown = status(&facts);
        assert!(shown.ways_on.is_empty() && shown.next.unwrap().ends_with("kubectl delete namespace opschain"));
    }

    #[test]
    fn an_application_whose_database_hibernates_is_not_started_before_that_wakes() {
        let mut facts = facts((0, 0, 1), (0, 0, 3), None);
        facts.asleep.push("opschain-db".into());
        assert_eq!(start(&facts).unwrap_err().exit(), Exit::Cluster);
        assert_eq!(status(&facts).next.as_deref(), Some(WAKE));
    }

    #[test]
    fn what_an_interrupted_run_has_stopped_is_put_back_and_stopped_again() {
        let mut facts = facts((0, 0, 2), (0, 0, 3), Some("create-1"));
        assert!(stop(&facts).unwrap().done);
        assert_eq!(next(&facts).unwrap(), "dr server start");
        let start = |(name, count): (&str, i32)| json!({"name": name, "fate": {"started": count}});
        let writers = [("opschain-api", 2), ("opschain-api-worker", 3)].map(start);
        facts.put_back_first.push(serde_json::from_value(json!({"run": "create-1", "writers": writers})).unwrap());
        assert_eq!(status(&facts).next.as_deref(), Some("dr run resume create-1"));
        let ways: Vec<_> = status(&facts).ways_on.commands().map(str::to_owned).collect();
        assert_eq!(ways, ["dr run resume create-1", "dr run abort create-1"]);
        let plan = stop(&facts).unwrap();
        assert_eq!((plan.done, plan.workloads[0].now, plan.workloads[1].now), (false, 2, 3));
        // The same where the marks are lost and the run alone knows the counts.
        for writer in &mut facts.writers {
            (writer.stopped_by, writer.replicas) = (None, 0);
        }
        assert_eq!(status(&facts).next.as_deref(), Some("dr run resume create-1"));
        let plan = stop(&facts).unwrap();
        assert_eq!((plan.done, plan.workloads[0].now, plan.workloads[1].now), (false, 2, 3));
        // What would not be put back stays as it is.
        let left = json!({"name": "opschain-api", "fate": {"stopped-since": "create-1"}});
        let first = json!({"run": "create-1", "writers": [left]});
        facts.put_back_first = vec![serde_json::from_value(first).unwrap()];
        assert!(stop(&facts).unwrap().done);
    }

    #[test]
    fn what_a_living_run_has_stopped_is_left_to_it() {
        let mut facts = facts((0, 0, 1), (0, 0, 3), Some("create-1"));
        let (run, host) = ("create-1".to_owned(), "op@here".to_owned());
        facts.in_use = Some(InUse { run, host, at_work: true });
        assert_eq!(status(&facts).next, None);
        facts.in_use.as_mut().unwrap().at_work = false;
        assert_eq!(status(&facts).next.as_deref(), Some("dr server start"), "it takes over from a dead one");
        let line = facts.in_use.unwrap().line();
        assert_eq!(
            line,
            "In use by create-1 of op@here, if that is alive: a dead one's lease runs out after a minute."
        );
    }

    #[test]
    fn what_is_left_of_an_application_is_started_and_a_deleted_part_is_named() {
        let mut facts = facts((0, 0, 2), (0, 0, 3), Some("stop-1"));
        facts.writers.pop();
        facts.workloads.pop();
        facts.missing.push("opschain-api-worker".into());
        assert_eq!(status(&facts).next.as_deref(), Some("dr server start"));
        let plan = start(&facts).unwrap();
        assert_eq!((plan.workloads.len(), plan.done), (1, false));
        assert!(plan.warnings[0].starts_with("there is no Deployment opschain-api-worker"), "{:?}", plan.warnings);
        facts.writers[0].now = 2;
        let shown = status(&facts);
        assert_eq!((shown.state, shown.next.as_deref()), ("partly missing", Some(MAKE_AGAIN)));
        assert!(shown.parts.iter().any(|part| part.state.starts_with("missing")), "{:?}", shown.parts);
        assert_eq!(stop(&facts).unwrap().warnings.len(), 1);
    }

    #[test]
    fn a_note_that_is_no_count_is_named() {
        let mut facts = facts((0, 0, 0), (1, 1, 0), None);
        facts.writers[0].unusable_note = Some("-1".into());
        let error = start(&facts).unwrap_err();
        let what = "opschain-api has no replicas, and its note of how many it had is no count: `-1`";
        assert_eq!(error.message(), what);
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
        assert_eq!(parts(3, Some("stop-1"))[0].state, "stopped by dr server stop (stop-1), had 3");
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
    fn a_note_that_a_run_of_this_host_contradicts_is_said_with_both() {
        let mut facts = facts((0, 0, 10_000), (0, 0, 3), Some("stop-1"));
        for (writer, replicas) in [("opschain-api", 1), ("opschain-api-worker", 3)] {
            facts.known.push(KnownReplicas { writer: writer.into(), replicas, source: "run create-1".into() });
        }
        let by_hand = "`kubectl -n opschain scale deployment opschain-api --replicas=1` if that is right";
        let warning = format!("opschain-api has a note of 10000 replicas, and run create-1 has 1: {by_hand}");
        assert_eq!(start(&facts).unwrap().warnings, [warning]);
    }

    #[test]
    fn whoever_would_scale_a_writer_up_again_is_warned_of() {
        let mut facts = facts((1, 1, 0), (3, 3, 0), None);
        facts.autoscalers.push(("hpa".into(), "opschain-api".into()));
        facts.writers[1].gitops = Some("Argo CD".into());
        let plan = stop(&facts).unwrap();
        assert_eq!(plan.warnings.len(), 2);
        assert!(plan.warnings[1].starts_with("Argo CD manages opschain-api-worker"), "{:?}", plan.warnings);
        assert!(!plan.done);
    }
}
