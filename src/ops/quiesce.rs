//! Stopping the writers of a database and bringing them back.
//!
//! How many ran is written down before anything is scaled: in the run's journal by the caller, and on each Deployment as
//! an annotation, so that any later `dr`, or a person with kubectl, can put them back.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Ctx;
use crate::cluster::{Cluster, REPLICAS, STOPPED_BY, Workload, WorkloadKind};
use crate::error::{CommandError, Exit, Result};

/// What writes to the database, in the order in which it is stopped.
pub const WRITERS: [&str; 2] = ["opschain-api", "opschain-api-worker"];

/// A Deployment that writes to the database, as it was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    /// The tool that keeps it as a repository says, where one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gitops: Option<String>,
}

impl From<&Workload> for WriterFacts {
    fn from(workload: &Workload) -> Self {
        let noted = workload.annotations.get(REPLICAS).and_then(|text| text.parse().ok());
        Self {
            name: workload.name.clone(),
            replicas: noted.filter(|_| workload.replicas == 0).unwrap_or(workload.replicas),
            now: workload.replicas,
            stopped_by: workload.annotations.get(STOPPED_BY).cloned(),
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

    /// `opschain-api 1, opschain-api-worker 3`
    pub fn line(&self) -> String {
        if self.writers.is_empty() {
            return "none was running".to_owned();
        }
        let parts: Vec<String> = self.writers.iter().map(|w| format!("{} {}", w.name, w.replicas)).collect();
        parts.join(", ")
    }
}

/// Reads the writers.
///
/// # Errors
/// One is missing, or they may not be read.
pub async fn read(cluster: &Cluster) -> Result<Vec<WriterFacts>> {
    let writers = writers_of(&cluster.workloads().await?);
    require_all(&writers, cluster.namespace())?;
    Ok(writers)
}

/// Writes the counts onto the Deployments. Safe to repeat.
///
/// # Errors
/// A Deployment may not be changed.
pub async fn annotate(cluster: &Cluster, recorded: &RecordedReplicas, by: &str) -> Result<()> {
    for writer in &recorded.writers {
        let notes = [(REPLICAS, Some(writer.replicas.to_string())), (STOPPED_BY, Some(by.to_owned()))];
        cluster.annotate(WorkloadKind::Deployment, &writer.name, &notes).await?;
    }
    Ok(())
}

/// Scales the writers to 0 and waits until their pods are gone. [`annotate`] must have come before. Safe to repeat.
///
/// # Errors
/// The pods are not gone within `limit`: workers may drain for an hour.
pub async fn stop(ctx: &Ctx, cluster: &Cluster, recorded: &RecordedReplicas, limit: Duration) -> Result<()> {
    for writer in &recorded.writers {
        cluster.scale(WorkloadKind::Deployment, &writer.name, 0).await?;
    }
    for writer in &recorded.writers {
        cluster.wait_pods_gone(&format!("app={}", writer.name), limit, &ctx.events).await?;
    }
    Ok(())
}

/// Scales the writers back and takes the annotations away. Returns before the pods are ready. Safe to repeat.
///
/// Writers that this run did not stop (the annotation names another, or none) are left alone: a person or a later run
/// has taken care of them since.
///
/// # Errors
/// A Deployment may not be scaled.
pub async fn resume(cluster: &Cluster, recorded: &RecordedReplicas, by: &str) -> Result<()> {
    let stopped = writers_of(&cluster.workloads().await?).into_iter();
    let stopped = stopped.filter(|writer| writer.stopped_by.as_deref() == Some(by));
    for writer in stopped {
        let Some(recorded) = recorded.writers.iter().find(|recorded| recorded.name == writer.name) else { continue };
        cluster.scale(WorkloadKind::Deployment, &writer.name, recorded.replicas).await?;
        cluster.annotate(WorkloadKind::Deployment, &writer.name, &[(REPLICAS, None), (STOPPED_BY, None)]).await?;
    }
    Ok(())
}

/// Waits until the writers have all their pods ready.
///
/// # Errors
/// They have not within `limit`; with the slowest pod's log.
pub async fn wait_serving(ctx: &Ctx, cluster: &Cluster, recorded: &RecordedReplicas, limit: Duration) -> Result<()> {
    let names: Vec<(WorkloadKind, &str)> =
        recorded.writers.iter().map(|w| (WorkloadKind::Deployment, w.name.as_str())).collect();
    cluster.wait_settled(&names, limit, &ctx.events).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writer(name: &str, replicas: i32, now: i32, by: Option<&str>) -> WriterFacts {
        let (name, stopped_by) = (name.into(), by.map(str::to_owned));
        WriterFacts { name, replicas, now, stopped_by, gitops: None }
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
}
