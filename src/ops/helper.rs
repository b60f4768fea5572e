//! The helper pods of runs.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;

use super::Ctx;
use super::quiesce::WRITERS;
use crate::cluster::pod::HelperPod;
use crate::cluster::transport::{Agent, install};
use crate::cluster::{ClusterError, WatchdogRights};
use crate::error::Result;
use crate::wire::Limits;

/// How long a helper pod may take to start, or to go.
pub const POD_LIMIT: Duration = Duration::from_secs(300);
/// Kubernetes ends a helper pod after this, whatever happens.
const POD_LIFE: Duration = Duration::from_secs(24 * 3600);
/// The agent ends itself when nobody was attached for so long.
const POD_IDLE: Duration = Duration::from_secs(15 * 60);

/// The name of a run's helper pod.
pub fn pod_name(run: &str) -> String {
    format!("dr-{}", run.to_ascii_lowercase())
}

/// What every helper pod of `run` has.
pub fn pod(ctx: &Ctx, run: &str, image: &str, pull_secrets: &[String]) -> HelperPod {
    HelperPod {
        name: pod_name(run),
        namespace: ctx.install().namespace.to_string(),
        run: run.to_owned(),
        image: image.to_owned(),
        pull_secrets: pull_secrets.to_vec(),
        deadline: POD_LIFE,
        idle: POD_IDLE,
    }
}

/// Starts a helper pod, or takes up the one that an earlier process of the run has left, and attaches to its agent.
///
/// # Errors
/// The pod does not start, or this program cannot be copied into it.
pub async fn start(ctx: &Ctx, manifest: &Pod, run: &str) -> Result<Agent> {
    let (cluster, name) = (ctx.cluster().await?, pod_name(run));
    match cluster.create_pod(manifest).await {
        Ok(_) => {}
        Err(ClusterError::Conflict { .. }) => {
            let pods = cluster.pod_states(None).await?;
            if pods.iter().any(|pod| pod.name == name && (pod.ended() || pod.deleting)) {
                cluster.delete_pod(&name, Duration::ZERO, POD_LIMIT, &ctx.events).await?;
                cluster.create_pod(manifest).await?;
            }
        }
        Err(error) => return Err(error.into()),
    }
    cluster.wait_pod_ready(&name, POD_LIMIT, &ctx.events).await?;
    let pods = Api::namespaced(cluster.client().clone(), cluster.namespace());
    let binary = install::own_binary()?;
    let mut agent = Agent::install(pods, &name, &binary, run, Limits::default(), ctx.events.clone()).await?;
    if ctx.settings_or_defaults()?.pods.straight
        && let Some(address) = cluster.pod_address(&name).await?
    {
        agent.go_straight(address).await?;
    }
    Ok(agent)
}

/// Gives the run's helper pod the rights of a watchdog, and returns the name of its account.
///
/// # Errors
/// They may not be given.
pub async fn grant_watchdog(ctx: &Ctx, run: &str) -> Result<String> {
    let name = pod_name(run);
    let rights = WatchdogRights::new(&name, &ctx.install().namespace, run, &WRITERS)?;
    ctx.cluster().await?.grant_watchdog(&rights).await?;
    Ok(name)
}

/// Removes the run's helper pods, and the rights of its watchdog.
///
/// # Errors
/// They are not gone in time.
pub async fn remove(ctx: &Ctx, run: &str) -> Result<()> {
    let cluster = ctx.cluster().await?;
    cluster.sweep_pods(Some(run), POD_LIMIT, &ctx.events).await?;
    Ok(cluster.revoke_watchdog(&pod_name(run)).await?)
}
