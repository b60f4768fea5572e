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

/// How many replicas each writer had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// In the order in which they are stopped.
    pub writers: Vec<Replicas>,
}

/// One writer's replicas.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replicas {
    /// The Deployment.
    pub name: String,
    /// How many it is to have.
    pub replicas: i32,
}

impl Recorded {
    /// `opschain-api 1, opschain-api-worker 3`
    pub fn line(&self) -> String {
        if self.writers.is_empty() {
            return "none was running".to_owned();
        }
        let parts: Vec<String> = self.writers.iter().map(|w| format!("{} {}", w.name, w.replicas)).collect();
        parts.join(", ")
    }
}

/// Reads how many replicas each writer is to have. One that an earlier stop has left at 0 is to have what the
/// annotation says. Changes nothing.
///
/// # Errors
/// A writer is missing or may not be read.
pub async fn read(cluster: &Cluster) -> Result<Recorded> {
    let mut writers = Vec::new();
    for name in WRITERS {
        let workload = cluster.deployment(name).await?.ok_or_else(|| {
            CommandError::new(
                Exit::NotFound,
                format!("there is no Deployment {name} in namespace {}", cluster.namespace()),
            )
            .hint("Is this the namespace of the install? `dr doctor` shows what is there; name another with -n.")
        })?;
        writers.push(Replicas { name: name.into(), replicas: wanted(&workload) });
    }
    Ok(Recorded { writers })
}

fn wanted(workload: &Workload) -> i32 {
    let noted = workload.annotations.get(REPLICAS).and_then(|text| text.parse().ok());
    match noted {
        Some(noted) if workload.replicas == 0 => noted,
        _ => workload.replicas,
    }
}

/// The writers that run, with their counts: those that somebody has stopped before are not ours to start again.
///
/// # Errors
/// As [`read`].
pub async fn running(cluster: &Cluster) -> Result<Recorded> {
    let mut recorded = read(cluster).await?;
    let mut stopped = Vec::new();
    for writer in &recorded.writers {
        if cluster.deployment(&writer.name).await?.is_none_or(|workload| workload.replicas == 0) {
            stopped.push(writer.name.clone());
        }
    }
    recorded.writers.retain(|writer| !stopped.contains(&writer.name));
    Ok(recorded)
}

/// Writes the counts onto the Deployments. Safe to repeat.
///
/// # Errors
/// A Deployment may not be changed.
pub async fn annotate(cluster: &Cluster, recorded: &Recorded, by: &str) -> Result<()> {
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
pub async fn stop(ctx: &Ctx, cluster: &Cluster, recorded: &Recorded, limit: Duration) -> Result<()> {
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
pub async fn resume(cluster: &Cluster, recorded: &Recorded, by: &str) -> Result<()> {
    for writer in &recorded.writers {
        let Some(workload) = cluster.deployment(&writer.name).await? else { continue };
        if workload.annotations.get(STOPPED_BY).map(String::as_str) != Some(by) {
            continue;
        }
        cluster.scale(WorkloadKind::Deployment, &writer.name, writer.replicas).await?;
        cluster.annotate(WorkloadKind::Deployment, &writer.name, &[(REPLICAS, None), (STOPPED_BY, None)]).await?;
    }
    Ok(())
}

/// Waits until the writers have all their pods ready.
///
/// # Errors
/// They have not within `limit`; with the slowest pod's log.
pub async fn wait_serving(ctx: &Ctx, cluster: &Cluster, recorded: &Recorded, limit: Duration) -> Result<()> {
    let names: Vec<(WorkloadKind, &str)> =
        recorded.writers.iter().map(|w| (WorkloadKind::Deployment, w.name.as_str())).collect();
    cluster.wait_settled(&names, limit, &ctx.events).await?;
    Ok(())
}
