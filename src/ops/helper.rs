//! The helper pods of runs.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;

use super::Ctx;
use super::quiesce::WRITERS;
use crate::agent::protocol::WalRoom;
use crate::cluster::pod::{self as pods, BackupPod, HelperPod, HelperSite, RecoveryPod};
use crate::cluster::transport::{Agent, install};
use crate::cluster::{ClaimPod, ClusterError, ImagesPod, PodPlacement, PodRefusal, ReaderPod, WatchdogRights};
use crate::error::{CommandError, Exit, Result};
use crate::opschain::workloads::{BACKUP_PRIORITY, REPLICATION_ROLE};
use crate::postgres::argv::Connection;
use crate::quantity;
use crate::wire::Limits;

/// How long a helper pod may take to start, or to go.
pub const POD_LIMIT: Duration = Duration::from_secs(300);
/// Kubernetes ends a helper pod after this, whatever happens.
const POD_LIFE: Duration = Duration::from_secs(24 * 3600);
/// After this the pod that pulls images ends; the application's pods pull what is missing.
const PULL_LIFE: Duration = Duration::from_secs(3600);
/// How much WAL may wait in a backup's pod until it is sealed.
const SPOOL_MIB: u64 = 1024;
/// How much sealed WAL may wait on the node's disk until it is sent.
const BACKLOG_MIB: u64 = 4096;
/// Where sealed WAL may wait in a backup's pod.
pub const WAL_ROOM: WalRoom = WalRoom { memory_bytes: 64 << 20, disk_bytes: BACKLOG_MIB << 20 };
/// How much WAL may wait in a backup's pod in all, in bytes. Sealed it is smaller, by how much nobody knows before.
pub const WAL_WAITS_BYTES: u64 = (SPOOL_MIB << 20) + WAL_ROOM.memory_bytes + WAL_ROOM.disk_bytes;
/// The run of a pod that is never made.
pub const NO_RUN: &str = "admission-check";
/// The agent ends itself when nobody was attached for so long.
const POD_IDLE: Duration = Duration::from_secs(15 * 60);

/// The name of a run's helper pod.
pub fn pod_name(run: &str) -> String {
    format!("dr-{}", run.to_ascii_lowercase())
}

/// The pod that a backup of `run` is made in, with a watchdog where its account is given.
///
/// # Errors
/// The cluster cannot be asked what the namespace wants of it.
pub async fn backup_pod(
    ctx: &Ctx,
    run: &str,
    image: &str,
    placement: &PodPlacement,
    watchdog: Option<String>,
) -> Result<Pod> {
    let database = &ctx.settings_or_defaults()?.database;
    let pod = BackupPod {
        pod: pod(ctx, run, image, placement).await?,
        replication_secret: database.replication_secret(),
        ca_secret: database.ca_secret(),
        spool_mib: SPOOL_MIB,
        backlog_mib: BACKLOG_MIB,
        watchdog,
    };
    Ok(pod.manifest()?)
}

/// The replication role, by its certificate, over TLS with the server's name checked.
pub fn replication(service: &str) -> Connection {
    Connection {
        host: service.to_owned(),
        port: 5432,
        user: REPLICATION_ROLE.into(),
        dbname: "postgres".into(),
        sslmode: "verify-full".into(),
        sslcert: Some(pods::CLIENT_CERTIFICATE.into()),
        sslkey: Some(pods::CLIENT_KEY.into()),
        sslrootcert: Some(pods::SERVER_CA.into()),
    }
}

/// What a restore's pod is on, and what the database will claim of the same node.
#[derive(Debug, Clone, Copy)]
pub struct RecoveryVolume<'a> {
    pub claim: &'a str,
    pub cpu: Option<&'a str>,
    pub memory_bytes: u64,
}

/// The pod that a restore of `run` puts the data in place with.
///
/// # Errors
/// The cluster cannot be asked what the namespace wants of it.
pub async fn recovery_pod(
    ctx: &Ctx,
    run: &str,
    image: &str,
    placement: &PodPlacement,
    volume: RecoveryVolume<'_>,
) -> Result<Pod> {
    let pod = RecoveryPod {
        pod: pod(ctx, run, image, placement).await?,
        claim: volume.claim.to_owned(),
        cpu: volume.cpu.map(str::to_owned),
        memory_bytes: volume.memory_bytes,
    };
    Ok(pod.manifest()?)
}

/// The pod that a volume of somebody else's is read in. It can write nothing.
///
/// # Errors
/// The cluster cannot be asked what the namespace wants of it.
pub async fn reader_pod(ctx: &Ctx, run: &str, image: &str, placement: &PodPlacement, claim: &str) -> Result<Pod> {
    let pod = ReaderPod { pod: pod(ctx, run, image, placement).await?, claim: claim.to_owned() };
    Ok(pod.manifest()?)
}

/// The name of the pod that reads or fills a volume for a run.
pub fn volume_pod_name(run: &str, volume: &str) -> String {
    format!("{}-{volume}", pod_name(run))
}

/// The pod that the volume of `claim` is read in, or filled.
///
/// # Errors
/// The cluster cannot be asked what the namespace wants of it.
pub async fn volume_pod(
    ctx: &Ctx,
    run: &str,
    volume: &str,
    image: &str,
    placement: &PodPlacement,
    claim: &str,
    fills: bool,
) -> Result<Pod> {
    let pod = HelperPod { name: volume_pod_name(run, volume), ..pod(ctx, run, image, placement).await? };
    Ok(ClaimPod { pod, claim: claim.to_owned(), fills }.manifest()?)
}

/// The name of the pod that pulls images for a run.
pub fn images_pod_name(run: &str) -> String {
    format!("{}-images", pod_name(run))
}

/// The pod that has its node pull `images` for `run`. It drives no other pod out.
///
/// # Errors
/// The cluster cannot be asked what the namespace wants of it.
pub async fn images_pod(ctx: &Ctx, run: &str, images: Vec<String>, placement: &PodPlacement) -> Result<Pod> {
    let pod = ImagesPod {
        name: images_pod_name(run),
        namespace: ctx.install().namespace.to_string(),
        run: run.to_owned(),
        images,
        site: HelperSite { priority_class: None, ..site(ctx, placement).await? },
        deadline: PULL_LIFE,
    };
    Ok(pod.manifest()?)
}

async fn pod(ctx: &Ctx, run: &str, image: &str, placement: &PodPlacement) -> Result<HelperPod> {
    Ok(HelperPod {
        name: pod_name(run),
        namespace: ctx.install().namespace.to_string(),
        run: run.to_owned(),
        image: image.to_owned(),
        site: site(ctx, placement).await?,
        deadline: POD_LIFE,
        idle: POD_IDLE,
    })
}

/// What settings, cluster and namespace want of a helper pod today.
async fn site(ctx: &Ctx, placement: &PodPlacement) -> Result<HelperSite> {
    let (cluster, settings) = (ctx.cluster().await?, &ctx.settings_or_defaults()?.pods);
    let amount = |text: &Option<String>| text.as_deref().and_then(quantity::parse_text);
    Ok(HelperSite {
        placement: placement.clone(),
        priority_class: cluster.has_priority_class(BACKUP_PRIORITY).await?.then(|| BACKUP_PRIORITY.to_owned()),
        rules: cluster.pod_rules().await?,
        cpu: amount(&settings.cpu),
        memory: amount(&settings.memory),
        labels: settings.labels.clone(),
        annotations: settings.annotations.clone(),
    })
}

/// Judges by what the API server says of a helper pod before anything is touched. Returns what is to be warned of.
///
/// # Errors
/// [`Exit::Cluster`] when it would not be made, with the words of what refuses it.
pub fn admitted(what: &str, refusal: Option<&PodRefusal>) -> Result<Option<String>> {
    match refusal {
        None => Ok(None),
        Some(PodRefusal { why, certain: false }) => {
            Ok(Some(format!("nobody can say whether {what} would be admitted: {why}")))
        }
        Some(PodRefusal { why, .. }) => {
            Err(CommandError::new(Exit::Cluster, format!("{what} would not be admitted: {why}")).hint(ADMISSION))
        }
    }
}

/// What can be done about a pod that is not admitted.
pub const ADMISSION: &str = "What such a pod claims and bears is set by cpu, memory, labels and annotations under [pods] in dr.toml; else have whoever set the rule make room.";

/// Starts a helper pod, or takes up the one that an earlier process of the run has left, and attaches to its agent.
///
/// # Errors
/// The pod does not start, or this program cannot be copied into it.
pub async fn start(ctx: &Ctx, manifest: &Pod, run: &str) -> Result<Agent> {
    start_named(ctx, manifest, &pod_name(run), run).await
}

/// The same of a pod with another name than the run's first.
///
/// # Errors
/// The same.
pub async fn start_named(ctx: &Ctx, manifest: &Pod, name: &str, run: &str) -> Result<Agent> {
    let mut agent = attach(ctx, manifest, name, run).await?;
    go_straight(ctx, &mut agent, name).await?;
    Ok(agent)
}

/// The same, where its stream goes by exec.
///
/// # Errors
/// The same.
pub async fn attach(ctx: &Ctx, manifest: &Pod, name: &str, run: &str) -> Result<Agent> {
    let cluster = ctx.cluster().await?;
    match cluster.create_pod(manifest).await {
        Ok(_) => {}
        Err(ClusterError::Conflict { .. }) => {
            let pods = cluster.pod_states(None).await?;
            if pods.iter().any(|pod| pod.name == name && (pod.ended() || pod.deleting)) {
                cluster.delete_pod(name, Duration::ZERO, POD_LIMIT, &ctx.events).await?;
                cluster.create_pod(manifest).await?;
            }
        }
        Err(error) => return Err(error.into()),
    }
    cluster.wait_pod_ready(name, POD_LIMIT, &ctx.events).await?;
    let pods = Api::namespaced(cluster.client().clone(), cluster.namespace());
    let binary = install::own_binary()?;
    Ok(Agent::install(pods, name, &binary, run, Limits::default(), ctx.events.clone()).await?)
}

/// Lets the stream of the agent in pod `name` go straight to it where that can be had, by a forwarded port where only that
/// can, and else as it came. Unless the settings want exec.
///
/// # Errors
/// The link's, or the cluster cannot be asked.
pub async fn go_straight(ctx: &Ctx, agent: &mut Agent, name: &str) -> Result<()> {
    if !ctx.settings_or_defaults()?.pods.straight {
        return Ok(());
    }
    let cluster = ctx.cluster().await?;
    if let Some(address) = cluster.pod_address(name).await? {
        agent.go_straight(address).await?;
    }
    Ok(agent.go_forwarded(Api::namespaced(cluster.client().clone(), cluster.namespace()), name).await?)
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

/// Takes the rights away that the watchdogs of other runs had, where their pods are gone: `run`, which holds the lease, is
/// the only one at work on the install.
///
/// # Errors
/// The cluster cannot be asked, or does not let them be removed.
pub async fn revoke_dead_watchdogs(ctx: &Ctx, run: &str) -> Result<()> {
    let cluster = ctx.cluster().await?;
    for (dead, left) in cluster.left_by_runs().await? {
        let has_pod = left.iter().any(|object| object.starts_with("Pod "));
        if dead != run && !has_pod {
            cluster.revoke_watchdog(&pod_name(&dead)).await?;
        }
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_that_is_not_admitted_is_said_with_the_words_of_what_refuses_it() {
        let refusal =
            |certain| PodRefusal { why: "exceeded quota: compute, requested: limits.memory=1Gi".into(), certain };
        assert_eq!(admitted("the backup pod", None).unwrap(), None);
        let error = admitted("the backup pod", Some(&refusal(true))).unwrap_err();
        assert_eq!(error.exit(), Exit::Cluster);
        let said = "the backup pod would not be admitted: exceeded quota: compute, requested: limits.memory=1Gi";
        assert_eq!(error.message(), said);
        assert!(error.hints()[0].contains("[pods]"), "{:?}", error.hints());
        assert!(admitted("the backup pod", Some(&refusal(false))).unwrap().unwrap().starts_with("nobody can say"));
    }
}
