//! The steps of a restore. Each may be run again after a crash in its middle, and comes to the same end.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::deploy::deployed;
use super::{Work, send};
use crate::agent::protocol::{StageReport, SwapReport, SwapRequest};
use crate::cluster::WorkloadKind;
use crate::cluster::lease::lease_name;
use crate::cluster::transport::Agent;
use crate::error::{CommandError, Exit, Result};
use crate::journal::{Done, Outputs, Step, StepName, step};
use crate::ops::helper::{POD_LIMIT, pod_name};
use crate::ops::look;
use crate::ops::release::secrets_from_bytes;
use crate::opschain::workloads::Names;
use crate::postgres::Lsn;
use crate::text;

/// How long the operator may take to make a database and put it to sleep, or to wake it.
const DATABASE_LIMIT: Duration = Duration::from_secs(900);
/// What pg_controldata says of a database that was copied while it ran.
const IN_PRODUCTION: &str = "in production";
/// How long the application may take to serve: it decrypts and migrates when it starts.
const SERVING_LIMIT: Duration = Duration::from_secs(1800);

/// Its output is the namespace's UID: a resume takes no other of the same name.
pub(super) const CREATE_NAMESPACE: StepName<String> = StepName::new("create-namespace");
const TAKE_LEASE: StepName<()> = StepName::new("take-lease");
const RESTORE_SECRETS: StepName<()> = StepName::new("restore-secrets");
const INSTALL_HIBERNATED: StepName<u32> = StepName::new("install-hibernated");
const WAIT_HIBERNATED: StepName<()> = StepName::new("wait-hibernated");
const STOP_VAULT: StepName<()> = StepName::new("stop-vault");
const START_POD: StepName<()> = StepName::new("start-pod");
pub(super) const STAGE: StepName<StageReport> = StepName::new("stage");
const SWAP: StepName<SwapReport> = StepName::new("swap");
const PROVE_FILES: StepName<()> = StepName::new("prove-files");
const RELEASE_VOLUME: StepName<()> = StepName::new("release-volume");
const WAKE: StepName<u32> = StepName::new("wake");
const WAIT_HEALTHY: StepName<()> = StepName::new("wait-healthy");
pub(super) const PROVE_IDENTITY: StepName<Identity> = StepName::new("prove-identity");
/// Its output is the Helm revision that serves.
pub(super) const START: StepName<u32> = StepName::new("start");
const WAIT_SERVING: StepName<()> = StepName::new("wait-serving");
pub(super) const RECORD: StepName<Option<String>> = StepName::new("record");
const CLEAN_UP: StepName<()> = StepName::new("clean-up");

pub(super) fn steps() -> Vec<Step<Work, CommandError>> {
    vec![
        step(CREATE_NAMESPACE, "create the namespace", |w, o| Box::pin(create_namespace(w, o))),
        step(TAKE_LEASE, "keep other runs off the install", |w, o| Box::pin(take_lease(w, o))),
        step(RESTORE_SECRETS, "put back Secrets and ConfigMaps that the chart keeps", |w, o| {
            Box::pin(restore_secrets(w, o))
        }),
        step(INSTALL_HIBERNATED, "helm: install stopped, database hibernated", |w, o| {
            Box::pin(install_hibernated(w, o))
        })
        .handles_cancel(),
        step(WAIT_HIBERNATED, "wait until the operator has made the volume and hibernated the database", |w, o| {
            Box::pin(wait_hibernated(w, o))
        }),
        step(STOP_VAULT, "stop the secret vault, which needs the database", |w, o| Box::pin(stop_vault(w, o))),
        step(START_POD, "start the recovery pod on the volume", |w, o| Box::pin(start_pod(w, o))),
        step(STAGE, "bring the database beside the empty one, checking every file", |w, o| Box::pin(stage(w, o))),
        step(SWAP, "swap it in, pg_control last", |w, o| Box::pin(swap(w, o))),
        step(PROVE_FILES, "ask pg_controldata whose files they are", |w, o| Box::pin(prove_files(w, o))),
        step(RELEASE_VOLUME, "remove the recovery pod", |w, o| Box::pin(release_volume(w, o))),
        step(WAKE, "helm: still stopped, database awake", |w, o| Box::pin(wake(w, o))).handles_cancel(),
        step(WAIT_HEALTHY, "wait until the database has replayed its WAL and serves", |w, o| {
            Box::pin(wait_healthy(w, o))
        }),
        step(PROVE_IDENTITY, "ask the running database who it is", |w, o| Box::pin(prove_identity(w, o))),
        step(START, "helm: everything on", |w, o| Box::pin(start(w, o))).handles_cancel(),
        step(WAIT_SERVING, "wait until vault, LDAP, API and workers serve", |w, o| Box::pin(wait_serving(w, o))),
        step(RECORD, "record the deployment in the config vault", |w, o| Box::pin(record(w, o))),
        step(CLEAN_UP, "remove what the restore left beside the database", |w, o| Box::pin(clean_up(w, o))),
    ]
}

/// Who the running database is.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Identity {
    pub(super) system_identifier: String,
    pub(super) timeline: u32,
    pub(super) lsn: Lsn,
}

async fn create_namespace(work: &Work, _: &Outputs) -> Result<Done<String>> {
    work.cluster.create_namespace(&[]).await?;
    let uid = work.cluster.namespace_uid().await?.ok_or_else(|| {
        CommandError::new(
            Exit::Cluster,
            format!("namespace {} was deleted while it was being created", work.plan.namespace),
        )
    })?;
    Ok(Done::with(uid, work.plan.namespace.clone()))
}

async fn take_lease(work: &Work, _: &Outputs) -> Result<Done<()>> {
    work.hold_lease().await?;
    Ok(Done::said(format!("lease {}", lease_name(&work.plan.release))))
}

async fn restore_secrets(work: &Work, _: &Outputs) -> Result<Done<()>> {
    work.hold_lease().await?;
    let bytes = work.reader.open_member("config/secrets.yaml.age", &work.identities)?;
    let kept = secrets_from_bytes(&bytes)?;
    for object in &kept {
        let object = object.clone().for_install(&work.plan.namespace, &work.plan.release);
        work.cluster.put_back(&object, true).await?;
    }
    let names: Vec<String> = kept.iter().map(|object| object.object().name).collect();
    Ok(Done::said(names.join(", ")))
}

async fn install_hibernated(work: &Work, _: &Outputs) -> Result<Done<u32>> {
    Ok(deployed(&work.deploy(&[("stopped", "true"), ("stopDatabase", "true")], "restore: installed hibernated").await?))
}

async fn wait_hibernated(work: &Work, _: &Outputs) -> Result<Done<()>> {
    work.hold_lease().await?;
    let database = work.cluster.wait_hibernated(&work.plan.database, DATABASE_LIMIT, &work.ctx.events).await?;
    Ok(Done::said(format!("volume {}", database.primary_claim())))
}

async fn stop_vault(work: &Work, _: &Outputs) -> Result<Done<()>> {
    let name = Names::default().vault();
    let Some(vault) = work.cluster.stateful_set(&name).await? else { return Ok(Done::said("this release has none")) };
    work.cluster.scale(WorkloadKind::StatefulSet, &name, 0).await?;
    work.cluster.wait_pods_gone(&vault.selector, POD_LIMIT, &work.ctx.events).await?;
    Ok(Done::said(name))
}

async fn start_pod(work: &Work, _: &Outputs) -> Result<Done<()>> {
    let mut agent = work.recovery_agent().await?;
    let facts = agent.facts().await?;
    let volume =
        facts.volume.ok_or_else(|| CommandError::new(Exit::Cluster, "the recovery pod sees no data volume"))?;
    let needed = work.plan.database_bytes + work.reader.manifest().wal.raw.bytes;
    if volume.free_bytes < needed {
        return Err(CommandError::new(
            Exit::Space,
            format!(
                "the database's volume has {} free, and the bundle's database takes {}",
                text::bytes(volume.free_bytes),
                text::bytes(needed)
            ),
        )
        .hint("Give db.cnpg.storage.size more room in the values, or enlarge the volume, and begin again."));
    }
    work.hands.lock().await.agent = Some(agent);
    Ok(Done::said(format!("{}, {} free", pod_name(&work.run), text::bytes(volume.free_bytes))))
}

/// The agent of the recovery pod; attached to anew where this process has not met it yet.
async fn agent(work: &Work) -> Result<Agent> {
    if let Some(agent) = work.hands.lock().await.agent.take() {
        return Ok(agent);
    }
    work.recovery_agent().await
}

async fn stage(work: &Work, _: &Outputs) -> Result<Done<StageReport>> {
    let mut agent = agent(work).await?;
    let report = send::send(work, &mut agent).await?;
    work.hands.lock().await.agent = Some(agent);
    let summary = format!("{} files, WAL to {}", report.files, report.last_segment);
    Ok(Done::with(report, summary))
}

async fn swap(work: &Work, _: &Outputs) -> Result<Done<SwapReport>> {
    let claim = work.claim().await?;
    let mut agent = agent(work).await?;
    let mounters = work.cluster.mounters(&claim).await?;
    if let Some(other) = mounters.iter().find(|name| **name != pod_name(&work.run)) {
        return Err(CommandError::new(Exit::NotEmpty, format!("pod {other} uses volume {claim}"))
            .hint("Nothing else may run on the volume while the database is swapped in: remove that pod."));
    }
    let report: SwapReport = agent.swap(SwapRequest { nothing_else_mounts: true }).await?;
    work.hands.lock().await.agent = Some(agent);
    let summary = match &report.kept {
        Some(kept) => format!("previous data directory kept as {}", kept.rsplit('/').next().unwrap_or(kept)),
        None => "there was none before".to_owned(),
    };
    Ok(Done::with(report, summary))
}

async fn prove_files(work: &Work, _: &Outputs) -> Result<Done<()>> {
    let mut agent = agent(work).await?;
    let facts = agent.facts().await?;
    work.hands.lock().await.agent = Some(agent);
    let control = facts.volume.and_then(|volume| volume.control).ok_or_else(|| {
        CommandError::new(Exit::Identity, "pg_controldata cannot read the database that was swapped in")
    })?;
    let wanted = &work.plan.system_identifier;
    if control.system_identifier.to_string() != *wanted {
        return Err(CommandError::new(
            Exit::Identity,
            format!("the database in place is {}, and the bundle's is {wanted}", control.system_identifier),
        ));
    }
    if control.state != IN_PRODUCTION {
        return Err(CommandError::new(
            Exit::Identity,
            format!("the database's state is `{}`, not `in production`", control.state),
        )
        .hint("The bundle was not made from a primary: take another one."));
    }
    Ok(Done::said(format!("{} ({})", control.system_identifier, control.state)))
}

async fn release_volume(work: &Work, _: &Outputs) -> Result<Done<()>> {
    if let Some(agent) = work.hands.lock().await.agent.take() {
        // The pod is removed next in any case.
        drop(agent.finish().await);
    }
    work.cluster.sweep_pods(Some(&work.run), POD_LIMIT, &work.ctx.events).await?;
    Ok(Done::said("nothing uses the volume"))
}

async fn wake(work: &Work, _: &Outputs) -> Result<Done<u32>> {
    Ok(deployed(&work.deploy(&[("stopped", "true")], "restore: database awake").await?))
}

async fn wait_healthy(work: &Work, _: &Outputs) -> Result<Done<()>> {
    work.hold_lease().await?;
    let database = work.cluster.wait_database_healthy(&work.plan.database, DATABASE_LIMIT, &work.ctx.events).await?;
    Ok(Done::said(database.line()))
}

/// The proof that the database that serves is the bundle's: its identity, its timeline, a position past the quiesce
/// point, and no data folder that somebody moved aside to make an empty one.
async fn prove_identity(work: &Work, _: &Outputs) -> Result<Done<Identity>> {
    let primary = work.primary().await?;
    let facts = work.cluster.database_facts(&primary).await?;
    let manifest = &work.reader.manifest().database;
    let wrong = |what: String| {
        CommandError::new(Exit::Identity, what)
            .hint("Do not start the application on it. `dr run show` has what was done; the bundle is unharmed.")
    };
    if facts.system_identifier != manifest.system_identifier {
        return Err(wrong(format!(
            "the running database is {}, and the bundle's is {}",
            facts.system_identifier, manifest.system_identifier
        )));
    }
    if facts.timeline < manifest.timeline {
        return Err(wrong(format!(
            "the running database is on timeline {}, and the bundle's on {}",
            facts.timeline, manifest.timeline
        )));
    }
    if facts.in_recovery || facts.lsn < manifest.last_lsn() {
        return Err(wrong(format!(
            "the running database is at {}, and must have passed {}",
            facts.lsn,
            manifest.last_lsn()
        )));
    }
    let aside = look::renamed_data_folders(&work.cluster, &primary).await?;
    if let Some(folder) = aside.first() {
        return Err(wrong(format!("the operator has moved a data folder aside as {folder}: it made a database anew")));
    }
    let identity = Identity { system_identifier: facts.system_identifier, timeline: facts.timeline, lsn: facts.lsn };
    let summary = format!("{} on timeline {}, at {}", identity.system_identifier, identity.timeline, identity.lsn);
    Ok(Done::with(identity, summary))
}

async fn start(work: &Work, _: &Outputs) -> Result<Done<u32>> {
    Ok(deployed(&work.deploy(&[], "restored").await?))
}

async fn wait_serving(work: &Work, _: &Outputs) -> Result<Done<()>> {
    work.hold_lease().await?;
    let all = work.cluster.workloads().await?;
    let names: Vec<(WorkloadKind, &str)> = all.iter().map(|workload| (workload.kind, workload.name.as_str())).collect();
    work.cluster.wait_settled(&names, SERVING_LIMIT, &work.ctx.events).await?;
    Ok(Done::said(format!("{} workloads ready", names.len())))
}

async fn record(work: &Work, outputs: &Outputs) -> Result<Done<Option<String>>> {
    let id = work.record(outputs).await?;
    let summary = id.clone().unwrap_or_else(|| "this host has no config vault: `dr init` makes one".to_owned());
    Ok(Done::with(id, summary))
}

async fn clean_up(work: &Work, _: &Outputs) -> Result<Done<()>> {
    let primary = work.primary().await?;
    let removed = look::remove_kept_folders(&work.cluster, &primary, &work.run).await?;
    work.cluster.sweep_pods(Some(&work.run), POD_LIMIT, &work.ctx.events).await?;
    work.release_lease().await?;
    Ok(Done::said(if removed.is_empty() { "nothing was left".to_owned() } else { removed.join(", ") }))
}
