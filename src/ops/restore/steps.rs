//! The steps of a restore. Each may be run again after a crash in its middle, and comes to the same end.

use std::time::Duration;

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::deploy::deployed;
use super::{Work, stage};
use crate::agent::protocol::{SwapReport, SwapRequest};
use crate::cluster::WorkloadKind;
use crate::cluster::lease::lease_name;
use crate::cluster::transport::Agent;
use crate::error::{CommandError, Exit, Result};
use crate::journal::{Done, Outputs, Step, step};
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

pub(super) fn steps() -> Vec<Step<Work>> {
    vec![
        step("namespace", "make the namespace", |w, o| boxed(namespace(w, o))),
        step("lock", "keep other runs off the install", |w, o| boxed(lock(w, o))),
        step("secrets", "put back Secrets and ConfigMaps that the chart keeps", |w, o| boxed(secrets(w, o))),
        step("asleep", "helm: install stopped, database asleep", |w, o| boxed(asleep(w, o))).minds_cancel(),
        step("hibernated", "let the operator make the volume and put the database to sleep", |w, o| {
            boxed(hibernated(w, o))
        }),
        step("vault-off", "hold the secret vault, which needs the database", |w, o| boxed(vault_off(w, o))),
        step("pod", "start the recovery pod on the volume", |w, o| boxed(recovery_pod(w, o))),
        step("stage", "bring the database beside the empty one, checking every file", |w, o| boxed(staged(w, o))),
        step("swap", "swap it in, pg_control last", |w, o| boxed(swap(w, o))),
        step("prove-files", "ask pg_controldata whose files they are", |w, o| boxed(prove_files(w, o))),
        step("release-volume", "remove the recovery pod", |w, o| boxed(release_volume(w, o))),
        step("awake", "helm: still stopped, database awake", |w, o| boxed(awake(w, o))).minds_cancel(),
        step("healthy", "let the database replay its WAL and serve", |w, o| boxed(healthy(w, o))),
        step("identity", "ask the running database who it is", |w, o| boxed(identity(w, o))),
        step("start", "helm: everything on", |w, o| boxed(start(w, o))).minds_cancel(),
        step("serving", "see vault, LDAP, API and workers serve", |w, o| boxed(serving(w, o))),
        step("record", "record the deployment in the config vault", |w, o| boxed(record(w, o))),
        step("tidy", "remove what the restore left beside the database", |w, o| boxed(tidy(w, o))),
    ]
}

fn boxed<'a>(future: impl Future<Output = Result<Done>> + Send + 'a) -> BoxFuture<'a, Result<Done>> {
    Box::pin(future)
}

/// Who the running database is.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Identity {
    pub(super) system_identifier: String,
    pub(super) timeline: u32,
    pub(super) lsn: Lsn,
}

async fn namespace(work: &Work, _: &Outputs) -> Result<Done> {
    work.cluster.create_namespace(&[]).await?;
    let uid = work.cluster.namespace_uid().await?.ok_or_else(|| {
        CommandError::new(Exit::Cluster, format!("namespace {} went away as it was made", work.plan.namespace))
    })?;
    Done::with(&uid, work.plan.namespace.clone())
}

async fn lock(work: &Work, _: &Outputs) -> Result<Done> {
    work.hold_lease().await?;
    Ok(Done::said(format!("lease {}", lease_name(&work.plan.release))))
}

async fn secrets(work: &Work, _: &Outputs) -> Result<Done> {
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

async fn asleep(work: &Work, _: &Outputs) -> Result<Done> {
    deployed(&work.deploy(&[("stopped", "true"), ("stopDatabase", "true")], "restore: installed asleep").await?)
}

async fn hibernated(work: &Work, _: &Outputs) -> Result<Done> {
    work.hold_lease().await?;
    let database = work.cluster.wait_hibernated(&work.plan.database, DATABASE_LIMIT, &work.ctx.events).await?;
    Ok(Done::said(format!("volume {}", database.primary_claim())))
}

async fn vault_off(work: &Work, _: &Outputs) -> Result<Done> {
    let name = Names::default().vault();
    let Some(vault) = work.cluster.stateful_set(&name).await? else { return Ok(Done::said("this release has none")) };
    work.cluster.scale(WorkloadKind::StatefulSet, &name, 0).await?;
    work.cluster.wait_pods_gone(&vault.selector, POD_LIMIT, &work.ctx.events).await?;
    Ok(Done::said(name))
}

async fn recovery_pod(work: &Work, _: &Outputs) -> Result<Done> {
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

async fn staged(work: &Work, _: &Outputs) -> Result<Done> {
    let mut agent = agent(work).await?;
    let report = stage::send(work, &mut agent).await?;
    work.hands.lock().await.agent = Some(agent);
    let summary = format!("{} files, WAL to {}", report.files, report.last_segment);
    Done::with(&report, summary)
}

async fn swap(work: &Work, _: &Outputs) -> Result<Done> {
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
        Some(kept) => format!("the empty one is kept as {} until the end", kept.rsplit('/').next().unwrap_or(kept)),
        None => "there was none before".to_owned(),
    };
    Done::with(&report, summary)
}

async fn prove_files(work: &Work, _: &Outputs) -> Result<Done> {
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

async fn release_volume(work: &Work, _: &Outputs) -> Result<Done> {
    if let Some(agent) = work.hands.lock().await.agent.take() {
        // The pod is removed next in any case.
        drop(agent.finish().await);
    }
    work.cluster.sweep_pods(Some(&work.run), POD_LIMIT, &work.ctx.events).await?;
    Ok(Done::said("nothing uses the volume"))
}

async fn awake(work: &Work, _: &Outputs) -> Result<Done> {
    deployed(&work.deploy(&[("stopped", "true")], "restore: database awake").await?)
}

async fn healthy(work: &Work, _: &Outputs) -> Result<Done> {
    work.hold_lease().await?;
    let database = work.cluster.wait_database_healthy(&work.plan.database, DATABASE_LIMIT, &work.ctx.events).await?;
    Ok(Done::said(database.line()))
}

/// The proof that the database that serves is the bundle's: its identity, its timeline, a position past the quiesce
/// point, and no data folder that somebody moved aside to make an empty one.
async fn identity(work: &Work, _: &Outputs) -> Result<Done> {
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
    Done::with(&identity, summary)
}

async fn start(work: &Work, _: &Outputs) -> Result<Done> {
    deployed(&work.deploy(&[], "restored").await?)
}

async fn serving(work: &Work, _: &Outputs) -> Result<Done> {
    work.hold_lease().await?;
    let all = work.cluster.workloads().await?;
    let names: Vec<(WorkloadKind, &str)> = all.iter().map(|workload| (workload.kind, workload.name.as_str())).collect();
    work.cluster.wait_settled(&names, SERVING_LIMIT, &work.ctx.events).await?;
    Ok(Done::said(format!("{} workloads ready", names.len())))
}

async fn record(work: &Work, outputs: &Outputs) -> Result<Done> {
    let id = work.record(outputs).await?;
    let summary = id.clone().unwrap_or_else(|| "this host has no config vault: `dr init` makes one".to_owned());
    Done::with(&id, summary)
}

async fn tidy(work: &Work, _: &Outputs) -> Result<Done> {
    let primary = work.primary().await?;
    let removed = look::remove_kept_folders(&work.cluster, &primary, &work.run).await?;
    work.cluster.sweep_pods(Some(&work.run), POD_LIMIT, &work.ctx.events).await?;
    work.release_lease().await?;
    Ok(Done::said(if removed.is_empty() { "nothing was left".to_owned() } else { removed.join(", ") }))
}
