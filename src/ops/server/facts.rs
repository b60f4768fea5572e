//! How the application stands, as the cluster says.

use serde::{Deserialize, Serialize};

use crate::cluster::PodState;
use crate::error::Result;
use crate::ops::Ctx;
use crate::ops::quiesce::{self, WRITERS, WriterFacts};
use crate::opschain::Names;
use crate::opschain::workloads::WORKING_PODS;

/// A Deployment or StatefulSet of the application.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct WorkloadFacts {
    pub name: String,
    pub replicas: i32,
    pub ready: i32,
    /// Whether all its pods are of the newest template and ready.
    pub settled: bool,
}

/// What was seen.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ServerFacts {
    /// `namespace/release`.
    pub install: String,
    /// In the order in which they are stopped.
    pub writers: Vec<WriterFacts>,
    /// Writers, vault and LDAP, in the order in which they are shown.
    pub workloads: Vec<WorkloadFacts>,
    /// Name and state of each.
    pub databases: Vec<(String, String)>,
    /// Autoscalers with the writers that they scale.
    pub autoscalers: Vec<(String, String)>,
    /// Pods of changes, steps and agents.
    pub working: Vec<String>,
}

/// Asks the cluster.
///
/// # Errors
/// It cannot be reached, or a writer is missing.
pub(super) async fn gather(ctx: &Ctx) -> Result<ServerFacts> {
    let (install, cluster) = (&ctx.settings()?.install, ctx.cluster().await?);
    let all = cluster.workloads().await?;
    let writers = quiesce::writers_of(&all);
    quiesce::require_all(&writers, &install.namespace)?;
    let names = Names::default();
    let shown = [names.api(), names.worker(), names.vault(), names.ldap()];
    let workloads = shown.iter().filter_map(|name| all.iter().find(|workload| workload.name == *name));
    let workloads = workloads.map(|workload| WorkloadFacts {
        name: workload.name.clone(),
        replicas: workload.replicas,
        ready: workload.ready,
        settled: workload.is_settled(),
    });
    let databases =
        cluster.databases().await?.iter().map(|database| (database.name.clone(), database.line())).collect();
    Ok(ServerFacts {
        install: format!("{}/{}", install.namespace, install.release),
        writers,
        workloads: workloads.collect(),
        databases,
        autoscalers: cluster.autoscalers(&WRITERS).await?,
        working: cluster.working_pods(WORKING_PODS).await?.iter().map(PodState::line).collect(),
    })
}
