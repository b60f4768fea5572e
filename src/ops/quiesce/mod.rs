//! Stopping the writers of a database and bringing them back.
//!
//! How many ran is written down before anything is scaled: in the run's journal by the caller, and on each Deployment as
//! an annotation, in the request that scales it. So any later `dr`, or a person with kubectl, can put them back; and
//! where one of the two is lost, the other does.

mod comeback;
mod returning;

pub use comeback::{NODES_UNSEEN, before_a_stop, no_node, not_admitted, strangers_line, strangers_way};
pub use returning::{
    RunPutBackFirst, WriterFate, WriterReturn, bring_back, plan_return, put_back, replicas_line, returned, start_each,
};

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Ctx, lease};
use crate::clock;
use crate::cluster::{BROUGHT_BACK_BY, Cluster, HELD, HeldOriginal, REPLICAS, STOPPED_BY, Workload, WorkloadKind};
use crate::error::{CommandError, Exit, Result};
use crate::event::Events;

/// What writes to the database. The last is stopped first.
pub const WRITERS: [&str; 2] = ["opschain-api", "opschain-api-worker"];

/// A Deployment that writes to the database, as it was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriterFacts {
    /// The Deployment.
    pub name: String,
    /// The replicas that it is to have when the application runs: those that it has, or, when it was stopped, those that
    /// were written onto it. 0: it has none and none are known.
    pub replicas: i32,
    /// The replicas that it has now.
    pub now: i32,
    /// The run that stopped it, where one did.
    pub stopped_by: Option<String>,
    /// The run or command that brought it back, where nobody with a mark has stopped it since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brought_back_by: Option<String>,
    /// The original that it is held for, where it is: that may live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_for: Option<HeldOriginal>,
    /// The tool that keeps it as a repository says, where one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gitops: Option<String>,
    /// What is written onto it as its replicas, where that is no count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unusable_note: Option<String>,
}

/// How often is looked whether somebody starts what is being stopped.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// The most replicas that a note is believed: what anybody can write there is sent to the API server.
const MOST_REPLICAS: i32 = 10_000;

impl WriterFacts {
    /// `opschain-api runs with 2 replicas`
    pub fn running(&self) -> String {
        format!("{} runs with {}", self.name, replicas_line(self.now))
    }

    /// Whether it is off and nothing tells by whom: a run whose record of it is lost may have stopped it.
    fn may_be_of_any_run(&self) -> bool {
        self.now == 0 && self.stopped_by.is_none() && self.brought_back_by.is_none()
    }
}

impl From<&Workload> for WriterFacts {
    fn from(workload: &Workload) -> Self {
        let note = workload.annotations.get(REPLICAS);
        let digits = note.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let noted = digits.and_then(|text| text.parse().ok()).filter(|count| (0..=MOST_REPLICAS).contains(count));
        Self {
            unusable_note: note.filter(|_| noted.is_none()).cloned(),
            name: workload.name.clone(),
            replicas: noted.filter(|_| workload.replicas == 0).unwrap_or(workload.replicas),
            now: workload.replicas,
            stopped_by: workload.annotations.get(STOPPED_BY).cloned(),
            brought_back_by: workload.annotations.get(BROUGHT_BACK_BY).cloned(),
            held_for: workload.annotations.get(HELD).and_then(|note| HeldOriginal::of_note(note)),
            gitops: workload.gitops(),
        }
    }
}

/// Those of the workloads that write to the database, in the order in which they are stopped.
pub fn writers_of(all: &[Workload]) -> Vec<WriterFacts> {
    let named = |name: &&str| all.iter().find(|workload| workload.name == **name);
    WRITERS.iter().filter_map(named).map(WriterFacts::from).collect()
}

/// Refuses an install that lacks one of the writers.
///
/// # Errors
/// [`Exit::NotFound`] naming it.
pub fn require_all(writers: &[WriterFacts], namespace: &str) -> Result<()> {
    let missing = WRITERS.iter().find(|name| !writers.iter().any(|writer| writer.name == **name));
    missing.map_or(Ok(()), |name| {
        Err(CommandError::new(Exit::NotFound, format!("there is no Deployment {name} in namespace {namespace}"))
            .hint("Is this the namespace of the install? `dr doctor` shows what is there; name another with -n."))
    })
}

/// How many replicas each writer is to have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedReplicas {
    /// In the order in which they are stopped.
    pub writers: Vec<WriterReplicas>,
}

/// What makes a Deployment again that somebody has deleted.
pub const MAKE_AGAIN: &str = "dr deploy -f values.yaml";

/// The command that starts a writer of which nobody knows how many replicas it had.
pub fn scale_by_hand(namespace: &str, writer: &str) -> String {
    format!("kubectl -n {namespace} scale deployment {writer} --replicas=N")
}

/// One writer's replicas.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriterReplicas {
    /// The Deployment.
    pub name: String,
    pub replicas: i32,
}

impl RecordedReplicas {
    /// What each of these is to have.
    pub fn of(writers: &[WriterFacts]) -> Self {
        Self::from_writers(writers.iter())
    }

    /// What a run that stops the application is to write down, and to put back: the writers that run. Those that
    /// somebody has stopped before keep the notes of who did, and are not this run's to start again.
    pub fn of_running(writers: &[WriterFacts]) -> Self {
        Self::from_writers(writers.iter().filter(|writer| writer.now > 0))
    }

    fn from_writers<'w>(writers: impl Iterator<Item = &'w WriterFacts>) -> Self {
        let counts = |writer: &WriterFacts| WriterReplicas { name: writer.name.clone(), replicas: writer.replicas };
        Self { writers: writers.map(counts).collect() }
    }

    /// Those of the writers that are not named.
    pub fn without(&self, names: &[String]) -> Self {
        let writers = self.writers.iter().filter(|writer| !names.contains(&writer.name));
        Self { writers: writers.cloned().collect() }
    }

    /// Whether these are counts of writers, whatever was read.
    pub fn is_possible(&self) -> bool {
        let is_one = |writer: &WriterReplicas| {
            WRITERS.contains(&writer.name.as_str()) && (0..=MOST_REPLICAS).contains(&writer.replicas)
        };
        self.writers.iter().all(is_one)
    }

    /// Whether some writer is to have any.
    pub fn has_any(&self) -> bool {
        self.writers.iter().any(|writer| writer.replicas > 0)
    }

    /// What the writer of this name is to have, where it is to have any.
    pub fn of_writer(&self, name: &str) -> Option<i32> {
        let writer = self.writers.iter().find(|writer| writer.name == name)?;
        Some(writer.replicas).filter(|replicas| *replicas > 0)
    }

    /// `opschain-api 1, opschain-api-worker 3`
    pub fn line(&self) -> String {
        if self.writers.is_empty() {
            return "none was running".to_owned();
        }
        let parts: Vec<String> = self.writers.iter().map(|w| format!("{} {}", w.name, w.replicas)).collect();
        parts.join(", ")
    }
}

/// The writers that are there, each read by its name: a watchdog may read no other.
///
/// # Errors
/// They may not be read.
pub async fn present(cluster: &Cluster) -> Result<Vec<WriterFacts>> {
    let found = futures::future::try_join_all(WRITERS.map(|name| cluster.deployment(name))).await?;
    Ok(found.iter().flatten().map(WriterFacts::from).collect())
}

/// Names what has pods that wear the label of a writer's pods and are not its, as kubectl does. They are not stopped with
/// it, and may write.
///
/// # Errors
/// The pods may not be listed.
pub async fn strangers(cluster: &Cluster) -> Result<Vec<String>> {
    let found = futures::future::try_join_all(WRITERS.map(|name| cluster.strangers_of(name))).await?;
    Ok(found.into_iter().flatten().collect::<BTreeSet<_>>().into_iter().collect())
}

/// Reads the writers.
///
/// # Errors
/// One is missing, or they may not be read.
pub async fn read(cluster: &Cluster) -> Result<Vec<WriterFacts>> {
    let writers = present(cluster).await?;
    require_all(&writers, cluster.namespace())?;
    Ok(writers)
}

/// Writes the counts onto the writers that run, and scales them to 0; then waits until no writer has a pod left. Safe to
/// repeat: a writer that is off already keeps the notes of who stopped it.
///
/// # Errors
/// A Deployment may not be changed; the pods are not gone within `limit`: workers may drain for an hour. [`Exit::Busy`]
/// when somebody starts a writer again meanwhile: nothing would ever end that wait.
pub async fn stop(
    ctx: &Ctx,
    cluster: &Cluster,
    running: &RecordedReplicas,
    by: &str,
    limit: Duration,
) -> Result<StoppedWriters> {
    let mut generations = BTreeMap::new();
    // Workers may have long work to end: the API serves until they have.
    for (place, name) in WRITERS.iter().enumerate().rev() {
        if let Some(writer) = running.writers.iter().find(|writer| writer.name == *name) {
            let count = Some(writer.replicas.to_string());
            let notes = [(REPLICAS, count), (STOPPED_BY, Some(by.to_owned())), (BROUGHT_BACK_BY, None)];
            let stopped = cluster.adjust(WorkloadKind::Deployment, name, Some(0), &notes).await?;
            generations.insert(stopped.name, stopped.generation);
        }
        tokio::select! {
            gone = cluster.wait_deployment_gone(name, limit, &ctx.events) => gone?,
            started = started_again(cluster, &WRITERS[place..], by) => return Err(started),
        }
    }
    Ok(StoppedWriters(generations))
}

/// Returns once one of those that were stopped is to have replicas again. What cannot be asked is asked again.
async fn started_again(cluster: &Cluster, stopped: &[&str], by: &str) -> CommandError {
    loop {
        tokio::time::sleep(LOOK_AGAIN).await;
        let found = futures::future::join_all(stopped.iter().map(|name| cluster.deployment(name))).await;
        let mut found = found.into_iter().filter_map(|found| found.ok().flatten());
        if let Some(writer) = found.find(|writer| writer.replicas > 0) {
            if let Some(watchdog) = by_watchdog(&writer, by) {
                return watchdog;
            }
            let name = writer.name;
            let what = format!("{name} was started again by somebody while the application was being stopped");
            return CommandError::new(Exit::Busy, what)
                .hint("An autoscaler, a GitOps tool or a person has started it: suspend that first.")
                .hint("`dr server status` shows what runs.");
        }
    }
}

/// The error of a writer that the watchdog of this run has brought back.
fn by_watchdog(writer: &Workload, by: &str) -> Option<CommandError> {
    let traced = writer.annotations.get(BROUGHT_BACK_BY).is_some_and(|trace| trace == by);
    let what = format!("this host was silent for too long: the run's own watchdog has started {} again", writer.name);
    traced.then(|| CommandError::new(Exit::Busy, what).hint("Keep the host awake, and make the bundle again."))
}

/// The Deployments that a run has stopped, with the generation that the stop made of each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoppedWriters(BTreeMap<String, i64>);

impl StoppedWriters {
    /// Proves that they have been off ever since: asked after what had to find them so.
    ///
    /// # Errors
    /// [`Exit::Busy`] naming one that somebody has started meanwhile, if only for a moment; they may not be read.
    pub async fn require_still(&self, cluster: &Cluster, by: &str) -> Result<()> {
        let found = futures::future::try_join_all(WRITERS.map(|name| cluster.deployment(name))).await?;
        self.require(&found.into_iter().flatten().collect::<Vec<_>>(), by)
    }

    fn require(&self, found: &[Workload], by: &str) -> Result<()> {
        let untouched = |(name, generation): &(&String, &i64)| {
            found.iter().find(|workload| workload.name == **name).is_some_and(|workload| {
                let ours = workload.annotations.get(STOPPED_BY).is_some_and(|mark| mark == by);
                ours && workload.replicas == 0 && workload.generation == **generation
            })
        };
        let Some((name, _)) = self.0.iter().find(|writer| !untouched(writer)) else { return Ok(()) };
        let changed = found.iter().find(|workload| workload.name == *name);
        if let Some(watchdog) = changed.and_then(|writer| by_watchdog(writer, by)) {
            return Err(watchdog);
        }
        let what = format!("{name} was changed by somebody while it was stopped: it may have written");
        Err(CommandError::new(Exit::Busy, what)
            .hint("An autoscaler, a GitOps tool or a person has started it.")
            .hint("Make the bundle again; `dr server status` shows what runs."))
    }
}

/// Waits until the writers have all their pods ready.
///
/// # Errors
/// One has no replicas though it is to have some; or they are not ready within `limit`: with the slowest pod's log.
pub async fn wait_serving(ctx: &Ctx, cluster: &Cluster, recorded: &RecordedReplicas, limit: Duration) -> Result<()> {
    let settled = match cluster.wait_settled(&deployments(recorded), limit, &ctx.events).await {
        Ok(settled) => {
            other_counts(&settled, recorded).for_each(|line| ctx.events.warn(line, None));
            settled
        }
        Err(error) => {
            let there = present(cluster).await?;
            let gone = recorded.writers.iter().find(|writer| there.iter().all(|one| one.name != writer.name));
            return Err(gone.map_or_else(|| error.into(), |gone| deleted(&gone.name)));
        }
    };
    require_running(&settled, recorded)
}

/// The error of a writer that somebody has deleted meanwhile.
fn deleted(writer: &str) -> CommandError {
    CommandError::new(Exit::NotFound, format!("there is no Deployment {writer} any more: somebody has deleted it"))
        .hint(format!("`{MAKE_AGAIN}`, with the values that are deployed, makes it again."))
}

/// Refuses writers that have been scaled to 0 again, whether they are ready or not.
///
/// # Errors
/// [`Exit::Cluster`] naming one; they may not be read.
pub async fn require_scaled(cluster: &Cluster, recorded: &RecordedReplicas) -> Result<()> {
    let names = recorded.writers.iter().map(|writer| cluster.deployment(&writer.name));
    let found = futures::future::try_join_all(names).await?;
    require_running(&found.into_iter().flatten().collect::<Vec<_>>(), recorded)
}

/// When the writers are seen to have all their pods ready again. `None` where that is not seen within `limit`.
pub async fn serving_since(cluster: &Cluster, recorded: &RecordedReplicas, limit: Duration) -> Option<Timestamp> {
    let settled = cluster.wait_settled(&deployments(recorded), limit, &Events::none()).await.ok()?;
    require_running(&settled, recorded).is_ok().then(clock::now)
}

fn deployments(recorded: &RecordedReplicas) -> Vec<(WorkloadKind, &str)> {
    recorded.writers.iter().map(|writer| (WorkloadKind::Deployment, writer.name.as_str())).collect()
}

/// The writers that have more or fewer replicas than were recorded: an autoscaler's or a person's choice, which is said.
fn other_counts(settled: &[Workload], recorded: &RecordedReplicas) -> impl Iterator<Item = String> {
    settled.iter().filter_map(|workload| {
        let (name, now, had) = (&workload.name, workload.replicas, recorded.of_writer(&workload.name)?);
        (now > 0 && had > 0 && now != had)
            .then(|| format!("{name} has {now} replicas, and had {had}: somebody has scaled it"))
    })
}

/// A Deployment without replicas is settled, and serves nobody.
fn require_running(settled: &[Workload], recorded: &RecordedReplicas) -> Result<()> {
    let off = settled.iter().find(|workload| workload.replicas == 0 && recorded.of_writer(&workload.name).is_some());
    let Some(workload) = off else { return Ok(()) };
    let had = recorded.of_writer(&workload.name).unwrap_or_default();
    let by = workload.annotations.get(STOPPED_BY);
    let by = by.map_or_else(String::new, |who| format!(", by {}", lease::called(who)));
    let what = format!("{} was scaled to 0 again{by}: it is to have {had}", workload.name);
    Err(CommandError::new(Exit::Cluster, what).hint("`dr server start` starts the application."))
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn writer(name: &str, replicas: i32, now: i32, by: Option<&str>) -> WriterFacts {
        let (name, stopped_by) = (name.into(), by.map(str::to_owned));
        WriterFacts { name, replicas, now, stopped_by, ..WriterFacts::default() }
    }

    #[test]
    fn what_somebody_has_stopped_before_is_not_written_down_again() {
        let writers = [writer(WRITERS[0], 1, 1, None), writer(WRITERS[1], 3, 0, Some("stop-1"))];
        assert_eq!(RecordedReplicas::of_running(&writers).line(), "opschain-api 1");
        assert_eq!(RecordedReplicas::of(&writers).line(), "opschain-api 1, opschain-api-worker 3");
        assert_eq!(RecordedReplicas::of_running(&writers[1..]).line(), "none was running");
    }

    #[test]
    fn an_install_without_one_of_its_writers_is_refused_by_its_name() {
        let error = require_all(&[writer(WRITERS[0], 1, 1, None)], "ops").unwrap_err();
        assert_eq!(error.exit(), Exit::NotFound);
        assert_eq!(error.message(), "there is no Deployment opschain-api-worker in namespace ops");
        assert!(require_all(&[writer(WRITERS[1], 1, 1, None), writer(WRITERS[0], 1, 1, None)], "ops").is_ok());
    }

    #[test]
    fn a_note_that_is_no_count_is_none() {
        for (note, replicas) in [("3", 3), ("0", 0), ("-1", 0), ("2000000000", 0), ("99999999999", 0), ("two", 0)] {
            let mut object = serde_json::json!({
                "metadata": {"name": WRITERS[0], "annotations": {REPLICAS: note}},
                "spec": {"replicas": 0, "selector": {}, "template": {}},
            });
            let facts = |object: &serde_json::Value| {
                let parsed = serde_json::from_value::<k8s_openapi::api::apps::v1::Deployment>(object.clone());
                WriterFacts::from(&Workload::from(&parsed.unwrap()))
            };
            let stopped = facts(&object);
            let is_count = ["3", "0"].contains(&note);
            assert_eq!((stopped.replicas, stopped.unusable_note.is_none()), (replicas, is_count), "{note}");
            object["spec"]["replicas"] = 2.into();
            assert_eq!(facts(&object).replicas, 2, "{note}");
        }
    }

    #[test]
    fn a_writer_that_comes_back_with_another_count_than_it_had_is_said() {
        let parsed = serde_json::from_value::<k8s_openapi::api::apps::v1::Deployment>(serde_json::json!({
            "metadata": {"name": WRITERS[1]}, "spec": {"replicas": 1, "selector": {}, "template": {}},
        }));
        let found = [Workload::from(&parsed.unwrap())];
        let said = |had| {
            let recorded = RecordedReplicas::of(&[writer(WRITERS[1], had, had, None)]);
            other_counts(&found, &recorded).collect::<Vec<_>>()
        };
        assert!(said(1).is_empty());
        assert_eq!(said(3), ["opschain-api-worker has 1 replicas, and had 3: somebody has scaled it"]);
    }

    #[test]
    fn writers_that_were_touched_while_they_were_stopped_are_no_proof_of_silence() {
        let workload = |change: serde_json::Value| {
            let mut object = serde_json::json!({
                "metadata": {"name": WRITERS[0], "generation": 4, "annotations": {STOPPED_BY: "create-1"}},
                "spec": {"replicas": 0, "selector": {}, "template": {}},
            });
            for (at, value) in change.as_object().unwrap() {
                *object.pointer_mut(at).unwrap() = value.clone();
            }
            Workload::from(&serde_json::from_value::<k8s_openapi::api::apps::v1::Deployment>(object).unwrap())
        };
        let stopped = StoppedWriters(BTreeMap::from([(WRITERS[0].to_owned(), 4)]));
        assert!(stopped.require(&[workload(serde_json::json!({}))], "create-1").is_ok());
        for (at, value) in [
            ("/spec/replicas", serde_json::json!(2)),
            ("/metadata/generation", serde_json::json!(6)),
            ("/metadata/annotations", serde_json::json!({STOPPED_BY: "stop-1"})),
            ("/metadata/annotations", serde_json::json!({BROUGHT_BACK_BY: "create-1"})),
        ] {
            let error = stopped.require(&[workload(serde_json::json!({at: &value}))], "create-1").unwrap_err();
            assert_eq!(error.exit(), Exit::Busy, "{at}");
            assert_eq!(error.message().contains("own watchdog"), value.get(BROUGHT_BACK_BY).is_some(), "{error}");
        }
        assert!(stopped.require(&[], "create-1").is_err(), "it is gone");
    }
}
