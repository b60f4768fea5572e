//! How the application stands, as the cluster says.

use serde::{Deserialize, Serialize};

use crate::cluster::{PodState, REPLICAS, STOPPED_BY, Workload};
use crate::error::{CommandError, Exit, Result};
use crate::ops::Ctx;
use crate::ops::quiesce::WRITERS;
use crate::opschain::Names;
use crate::opschain::workloads::WORKING_PODS;

/// A Deployment that writes to the database, and the replicas that it is to have when the application runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Writer {
    /// The Deployment.
    pub name: String,
    /// The replicas that it has, or that were written onto it when it was stopped. 0: it has none and none are known.
    pub replicas: i32,
    /// The replicas that it has now.
    pub now: i32,
    /// The run that stopped it, where one did.
    pub stopped_by: Option<String>,
}

impl Writer {
    fn of(workload: &Workload) -> Self {
        let noted = workload.annotations.get(REPLICAS).and_then(|text| text.parse().ok());
        Self {
            name: workload.name.clone(),
            replicas: noted.filter(|_| workload.replicas == 0).unwrap_or(workload.replicas),
            now: workload.replicas,
            stopped_by: workload.annotations.get(STOPPED_BY).cloned(),
        }
    }
}

/// A Deployment or StatefulSet of the application.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct WorkloadFacts {
    pub name: String,
    pub replicas: i32,
    pub ready: i32,
    /// Whether all its pods are of the newest template and ready.
    pub settled: bool,
    /// The tool that keeps it as a repository says, where one does.
    pub gitops: Option<String>,
}

/// What was seen.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ServerFacts {
    /// `namespace/release`.
    pub install: String,
    /// In the order in which they are stopped.
    pub writers: Vec<Writer>,
    /// Writers, vault and LDAP, in the order in which they are shown.
    pub workloads: Vec<WorkloadFacts>,
    /// Name and state of each.
    pub databases: Vec<(String, String)>,
    /// Autoscalers with the writers that they scale.
    pub autoscalers: Vec<(String, String)>,
    /// Pods of changes, steps and agents.
    pub working: Vec<String>,
}

/// What writes to the database, of these workloads, in the order in which it is stopped.
///
/// # Errors
/// [`Exit::NotFound`] when one is missing.
pub(in crate::ops) fn writers_of(all: &[Workload], namespace: &str) -> Result<Vec<Writer>> {
    let find = |name: &str| {
        all.iter().find(|workload| workload.name == name).map(Writer::of).ok_or_else(|| {
            CommandError::new(Exit::NotFound, format!("there is no Deployment {name} in namespace {namespace}"))
                .hint("Is this the namespace of the install? `dr doctor` shows what is there; name another with -n.")
        })
    };
    WRITERS.into_iter().map(find).collect()
}

/// Asks the cluster.
///
/// # Errors
/// It cannot be reached, or a writer is missing.
pub(super) async fn gather(ctx: &Ctx) -> Result<ServerFacts> {
    let (install, cluster) = (&ctx.settings()?.install, ctx.cluster().await?);
    let all = cluster.workloads().await?;
    let writers = writers_of(&all, &install.namespace)?;
    let names = Names::default();
    let shown = [names.api(), names.worker(), names.vault(), names.ldap()];
    let workloads = shown.iter().filter_map(|name| all.iter().find(|workload| workload.name == *name));
    let workloads = workloads.map(|workload| WorkloadFacts {
        name: workload.name.clone(),
        replicas: workload.replicas,
        ready: workload.ready,
        settled: workload.is_settled(),
        gitops: workload.gitops(),
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
