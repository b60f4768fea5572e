//! Helper pods and the lease of a run: what create and restore have in common in the cluster.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;

use super::Ctx;
use crate::cluster::lease::{self, lease_name};
use crate::cluster::pod::HelperPod;
use crate::cluster::transport::{Agent, install};
use crate::cluster::{Cluster, ClusterError, LeaseGuard};
use crate::error::{CommandError, Exit, Result};
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
pub fn pod(cluster: &Cluster, run: &str, image: &str, pull_secrets: &[String]) -> HelperPod {
    HelperPod {
        name: pod_name(run),
        namespace: cluster.namespace().to_owned(),
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
pub async fn start(ctx: &Ctx, cluster: &Cluster, manifest: &Pod, run: &str) -> Result<Agent> {
    let name = pod_name(run);
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
    Ok(Agent::install(pods, &name, &binary, run, Limits::default(), ctx.events.clone()).await?)
}

/// The lease of a run, as long as a process holds it.
#[derive(Debug, Default)]
pub struct Hold(Option<LeaseGuard>);

impl Hold {
    /// Takes the lease, or makes sure that it is still held.
    ///
    /// # Errors
    /// [`Exit::Locked`] when another run has it, or it was lost.
    pub async fn take(&mut self, ctx: &Ctx, cluster: &Cluster, release: &str, run: &str) -> Result<()> {
        if let Some(lease) = &self.0 {
            return match lease.lost() {
                None => Ok(()),
                Some(why) => {
                    Err(CommandError::new(Exit::Locked, format!("the lease on release {release} was lost: {why}"))
                        .hint("Another run may be at work on the install: `kubectl get lease` names it."))
                }
            };
        }
        self.0 = Some(cluster.await_lease(&lease_name(release), run, &ctx.who, lease::TTL, &ctx.events).await?);
        Ok(())
    }

    /// Gives the lease back; also one that a dead process of the same run has left. One that another run holds by now
    /// is left alone.
    ///
    /// # Errors
    /// It cannot be written.
    pub async fn release(&mut self, ctx: &Ctx, cluster: &Cluster, release: &str, run: &str) -> Result<()> {
        if self.0.is_none() {
            match cluster.acquire_lease(&lease_name(release), run, &ctx.who, lease::TTL).await {
                Ok(lease) => self.0 = Some(lease),
                Err(ClusterError::Held { .. }) => return Ok(()),
                // The namespace is gone, and the lease with it.
                Err(error) if error.is_not_found() => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        match self.0.take() {
            Some(lease) => Ok(lease.release().await?),
            None => Ok(()),
        }
    }
}
