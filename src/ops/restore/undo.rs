//! How the steps of a restore are undone. Each may be killed and repeated, and comes to the same end. None of it needs the
//! bundle: that may be gone by now.

use std::time::Duration;

use super::chart::HELM_LIMIT;
use super::database::{DATABASE_LIMIT, stop_vault};
use super::made::is_made_by;
use super::proof;
use super::work::RestoreWork;
use crate::cluster::{NamespaceState, StandingObject, Wait};
use crate::error::Result;
use crate::ops::helper::{self, pod_name};
use crate::ops::quiesce::{self, RecordedReplicas};
use crate::ops::settle;

/// How long Kubernetes may take to remove what was deleted.
const REMOVE_LIMIT: Duration = Duration::from_secs(600);

/// Takes the lease, and waits for a helm of this host that has outlived its `dr`: it would set anew what is put back.
pub(super) async fn alone(work: &RestoreWork) -> Result<()> {
    work.hold_lease().await?;
    settle::wait_idle(&work.ctx, &work.helms, HELM_LIMIT).await
}

/// Nobody works with what is taken away next.
pub(super) async fn stop_application(work: &RestoreWork) -> Result<()> {
    alone(work).await?;
    let cluster = work.ctx.cluster().await?;
    let writers = RecordedReplicas::of_running(&quiesce::writers_of(&cluster.workloads().await?));
    let limit = work.ctx.settings_or_defaults()?.bundle.drain_timeout.0;
    quiesce::stop(&work.ctx, cluster, &writers, &work.run, limit).await.map(drop)
}

/// The database sleeps again, whatever helm's values say.
pub(super) async fn hibernate(work: &RestoreWork) -> Result<()> {
    alone(work).await?;
    stop_vault(work).await?;
    let cluster = work.ctx.cluster().await?;
    cluster.hibernate(&work.plan.database, true).await?;
    cluster.wait_hibernated(&work.plan.database, DATABASE_LIMIT, &work.ctx.events).await?;
    Ok(())
}

/// The data directory that was there before the swap comes back, if it is still kept. Where nothing lived before, that is
/// the empty one that the operator has made, which nobody may take for the install: said on the database first, where
/// every host sees it.
pub(super) async fn swap_back(work: &RestoreWork) -> Result<()> {
    if work.plan.existing.is_none() {
        work.ctx.cluster().await?.mark_unproved(&work.plan.database, &work.run).await?;
    }
    let claim = work.database().await?.primary_claim();
    let mut agent = work.agent().await?;
    wait_alone(work, &claim).await?;
    agent.put_back().await?;
    drop(agent.finish().await);
    helper::remove(&work.ctx, &work.run).await
}

/// Waits while a pod of the database itself has the volume: an operator that was about to wake the database when it was told
/// to let it sleep makes one all the same, and removes it again.
async fn wait_alone(work: &RestoreWork, claim: &str) -> Result<()> {
    let (cluster, own) = (work.ctx.cluster().await?, pod_name(&work.run));
    let mut wait =
        Wait::new(format!("volume {claim} to be free"), DATABASE_LIMIT, &work.ctx.events).within(cluster.namespace());
    let of_database = format!("{}-", work.plan.database);
    loop {
        let mounters = cluster.mounters(claim).await?;
        let Err(used) = proof::alone_on_volume(&mounters, &own, claim) else { return Ok(()) };
        if !mounters.iter().filter(|name| **name != own).all(|name| name.starts_with(&of_database)) {
            return Err(used);
        }
        wait.not_yet(Some(used.to_string())).await?;
    }
}

/// The release goes, and then whatever of it helm and the operator leave: volumes, hooks, certificates. The database
/// object goes first, so that the operator makes nothing anew.
pub(super) async fn uninstall(work: &RestoreWork) -> Result<()> {
    alone(work).await?;
    // A volume goes only when no pod of the run has it any more.
    helper::remove(&work.ctx, &work.run).await?;
    work.ctx.helm().await?.uninstall(&work.plan.release, HELM_LIMIT).await?;
    let cluster = work.ctx.cluster().await?;
    let mut wait =
        Wait::new("what the release has made to be gone", REMOVE_LIMIT, &work.ctx.events).within(cluster.namespace());
    cluster.delete_database(&work.plan.database).await?;
    while cluster.database(&work.plan.database).await?.is_some() {
        wait.not_yet(Some(format!("database {}", work.plan.database))).await?;
    }
    loop {
        let standing = cluster.standing_objects().await?;
        let made: Vec<&StandingObject> = standing.iter().filter(|o| is_made_by(o, &work.plan, &work.run)).collect();
        let Some(first) = made.first() else { return Ok(()) };
        for object in &made {
            cluster.delete_standing(&object.object).await?;
        }
        wait.not_yet(Some(format!("{} and {} more", first.object, made.len() - 1))).await?;
    }
}

/// Secrets and ConfigMaps become what they were; those that were not there go.
pub(super) async fn put_back_secrets(work: &RestoreWork) -> Result<()> {
    alone(work).await?;
    Ok(work.ctx.cluster().await?.put_back_found(&work.run).await?)
}

/// The namespace goes, if this run has made it and nothing stands in it that somebody else has made.
pub(super) async fn remove_namespace(work: &RestoreWork) -> Result<()> {
    let cluster = work.ctx.cluster().await?;
    if cluster.maker_of_namespace().await?.as_deref() != Some(&work.run) {
        return Ok(());
    }
    match cluster.namespace_state(&[]).await? {
        NamespaceState::Absent => Ok(()),
        NamespaceState::Empty { .. } | NamespaceState::Terminating => {
            Ok(cluster.delete_namespace(REMOVE_LIMIT, &work.ctx.events).await?)
        }
        NamespaceState::Occupied { objects, .. } => {
            let names: Vec<String> = objects.iter().map(ToString::to_string).collect();
            let text = format!("namespace {} stays: others have put {} into it", cluster.namespace(), names.join(", "));
            work.ctx.events.warn(text, None);
            Ok(())
        }
    }
}
