//! The steps of a restore over an install that lives, as far as no other restore has them.
//!
//! Nothing that was there is given up before the last step. What is in it is bundled while nobody writes any more, and the
//! data directory stays beside the new one. No revision of helm's is made before the new data is in place: until then,
//! giving up needs nothing but the operator.

use serde::{Deserialize, Serialize};

use super::chart::ALONE;
use super::database::{self, DATABASE_LIMIT};
use super::existing::{ExistingInstall, no_safety_bundle};
use super::work::RestoreWork;
use super::{previous_release, release, undo};
use crate::bundle::BundleId;
use crate::cluster::{REPLICAS, STOPPED_BY, WorkloadKind};
use crate::error::{CommandError, Exit, Result};
use crate::journal::{Done, Outputs, StepName};
use crate::ops::create::{self, CreateRequest};
use crate::ops::quiesce::{self, RecordedReplicas, WRITERS};
use crate::ops::runs;
use crate::opschain::Names;
use crate::settings::Quiesce;

pub(super) const FIND_INSTALL: StepName<FoundInstall> = StepName::new("find-install");
pub(super) const RECORD_REPLICAS: StepName<ExistingReplicas> = StepName::new("record-replicas");
pub(super) const STOP_WRITERS: StepName<()> = StepName::new("stop-writers");
pub(super) const NAME_SAFETY_BUNDLE: StepName<Option<BundleId>> = StepName::new("name-safety-bundle");
pub(super) const MAKE_SAFETY_BUNDLE: StepName<()> = StepName::new("make-safety-bundle");
pub(super) const HIBERNATE: StepName<()> = StepName::new("hibernate");

/// What tells the install from another of the same name, and what its volume held beside its data.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct FoundInstall {
    /// The namespace's UID: a resume takes no other of the same name.
    pub namespace: String,
    /// Data folders that the operator had moved aside before.
    pub aside: Vec<String>,
}

/// What ran.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ExistingReplicas {
    pub writers: RecordedReplicas,
    /// Writers that somebody had stopped before.
    pub off: Vec<String>,
    /// Replicas of the secret vault, where there is one.
    pub vault: Option<i32>,
}

fn existing(work: &RestoreWork) -> Result<&ExistingInstall> {
    let what = || CommandError::new(Exit::Resume, format!("the plan of run {} names no install", work.run));
    work.plan.existing.as_ref().ok_or_else(what)
}

pub(super) async fn find_install(work: &RestoreWork) -> Result<Done<FoundInstall>> {
    work.hold_lease().await?;
    let (cluster, name) = (work.ctx.cluster().await?, &work.plan.namespace);
    let namespace = cluster.namespace_uid().await?.ok_or_else(|| {
        CommandError::new(Exit::NotFound, format!("namespace {name} was deleted since it was looked at"))
    })?;
    let database = work.database().await?;
    let revision = require_same_revision(work).await?;
    // Of a database that cannot be asked nothing is known, and the proof is the stricter for it.
    let aside = match work.primary().await {
        Ok(primary) => database::renamed_data_folders(cluster, &primary).await.unwrap_or_default(),
        Err(_) => Vec::new(),
    };
    Ok(Done::with(FoundInstall { namespace, aside }, format!("revision {revision}, {}", database.line())))
}

/// What was deployed since the plan is not what was agreed to be replaced.
async fn require_same_revision(work: &RestoreWork) -> Result<u32> {
    let (release, planned) = (&work.plan.release, existing(work)?.revision);
    let newest = work.ctx.helm().await?.newest(release).await?.map_or(0, |newest| newest.revision);
    if newest == planned {
        return Ok(newest);
    }
    let what = format!("release {release} went from revision {planned} to {newest} since it was looked at");
    Err(CommandError::new(Exit::Drift, what).hint(format!(
        "Give the restore up (`dr run abort {}`), and begin again: the plan shows what is there now.",
        work.run
    )))
}

pub(super) async fn record_replicas(work: &RestoreWork) -> Result<Done<ExistingReplicas>> {
    let cluster = work.ctx.cluster().await?;
    let facts = quiesce::present(cluster).await?;
    let vault = cluster.stateful_set(&Names::default().vault()).await?.map(|vault| vault.replicas);
    let off = facts.iter().filter(|writer| writer.now == 0).map(|writer| writer.name.clone()).collect();
    let recorded = ExistingReplicas { writers: RecordedReplicas::of_running(&facts), off, vault };
    let summary = recorded.writers.line();
    Ok(Done::with(recorded, summary))
}

pub(super) async fn stop_writers(work: &RestoreWork, outputs: &Outputs) -> Result<Done<()>> {
    work.hold_lease().await?;
    let (cluster, recorded) = (work.ctx.cluster().await?, outputs.get(RECORD_REPLICAS)?);
    let limit = work.ctx.settings_or_defaults()?.bundle.drain_timeout.0;
    quiesce::stop(&work.ctx, cluster, &recorded.writers, &work.run, limit).await?;
    Ok(Done::said("no writer left"))
}

/// API and workers as they were, whatever helm has made of them meanwhile.
pub(super) async fn start_writers(work: &RestoreWork, outputs: &Outputs) -> Result<()> {
    work.hold_lease().await?;
    let Some(recorded) = outputs.maybe(RECORD_REPLICAS) else { return Ok(()) };
    start_recorded(work, &recorded.writers, |_| true).await?;
    for name in &recorded.off {
        work.ctx.cluster().await?.adjust(WorkloadKind::Deployment, name, Some(0), &[]).await?;
    }
    Ok(())
}

async fn start_recorded(
    work: &RestoreWork,
    recorded: &RecordedReplicas,
    is_wanted: impl Fn(&str) -> bool,
) -> Result<()> {
    let wanted = recorded.writers.iter().filter(|writer| is_wanted(&writer.name));
    let wanted: Vec<_> = wanted.map(|writer| (writer.name.clone(), Some(writer.replicas))).collect();
    Ok(quiesce::start_each(work.ctx.cluster().await?, &wanted, &work.run).await?)
}

async fn start_vault(work: &RestoreWork, recorded: &ExistingReplicas) -> Result<()> {
    let Some(replicas) = recorded.vault else { return Ok(()) };
    let vault = Names::default().vault();
    work.ctx.cluster().await?.adjust(WorkloadKind::StatefulSet, &vault, Some(replicas), &[]).await?;
    Ok(())
}

/// What ran before runs on the restored data, by the config that was there. Workers that are held stay off.
pub(super) async fn start_as_before(work: &RestoreWork, outputs: &Outputs) -> Result<Done<u32>> {
    work.hold_lease().await?;
    let (recorded, existing) = (outputs.get(RECORD_REPLICAS)?, existing(work)?);
    database::renew_clients(work).await;
    start_vault(work, &recorded).await?;
    let hold = work.plan.hold.as_ref();
    start_recorded(work, &recorded.writers, |name| hold.is_none() || name != WRITERS[1]).await?;
    if let Some(hold) = hold {
        let workers = recorded.writers.of_writer(WRITERS[1]).unwrap_or(hold.workers);
        release::hold_workers(work, hold, workers).await?;
    }
    Ok(Done::with(existing.revision, format!("{}, revision {} as before", recorded.writers.line(), existing.revision)))
}

/// The id is in the journal before anything bears it, so that a repeated step knows its bundle again.
pub(super) fn name_safety_bundle(work: &RestoreWork) -> Result<Done<Option<BundleId>>> {
    if existing(work)?.safety_store.is_none() {
        return Ok(Done::with(None, "none is made: --no-safety-bundle"));
    }
    let id = create::new_name(&work.ctx)?;
    let summary = id.to_string();
    Ok(Done::with(Some(id), summary))
}

/// The bundle is a run of its own, with the lease of its own while it is made. What keeps others off meanwhile is looked
/// at afterwards.
pub(super) async fn make_safety_bundle(work: &RestoreWork, outputs: &Outputs) -> Result<Done<()>> {
    let Some(id) = outputs.get(NAME_SAFETY_BUNDLE)? else { return Ok(Done::said("none")) };
    // One of an earlier process of this run may be whole, or half.
    runs::put_back_interrupted(&work.ctx, runs::InterruptedRuns::PutBack).await?;
    let address = work.ctx.store()?.address(id.as_str());
    if !is_published(work, &id)? {
        work.release_lease().await?;
        let made = bundle_what_is_there(work, id).await.map_err(no_safety_bundle);
        // Whether or not it was made, the install is half done.
        let held = work.hold_lease().await;
        made.and(held)?;
    }
    work.hold_lease().await?;
    require_stopped(work).await?;
    Ok(Done::said(address))
}

async fn bundle_what_is_there(work: &RestoreWork, id: BundleId) -> Result<()> {
    let request = CreateRequest {
        quiesce: Some(Quiesce::Full),
        named: Some(id),
        replaced_by: Some(work.run.clone()),
        ..CreateRequest::default()
    };
    let plan = Box::pin(create::plan(&work.ctx, &request)).await?;
    Box::pin(create::create(&work.ctx, plan)).await.map(drop)
}

fn is_published(work: &RestoreWork, id: &BundleId) -> Result<bool> {
    let store = work.ctx.store()?;
    Ok(tokio::task::block_in_place(|| store.list())?.iter().any(|object| object.name == id.as_str()))
}

/// Nobody has written since the writers were stopped: the safety bundle has all that there is.
async fn require_stopped(work: &RestoreWork) -> Result<()> {
    let writers = quiesce::present(work.ctx.cluster().await?).await?;
    let Some(writer) = writers.iter().find(|writer| writer.now > 0) else { return Ok(()) };
    let what = format!("{}, which somebody has started since it was stopped", writer.running());
    Err(CommandError::new(Exit::Busy, what).hint(format!(
        "What it has written since is in no bundle. Give the restore up, and begin again: `dr run abort {}`.",
        work.run
    )))
}

pub(super) async fn hibernate(work: &RestoreWork) -> Result<Done<()>> {
    work.hold_lease().await?;
    require_stopped(work).await?;
    require_same_revision(work).await?;
    database::stop_vault(work).await?;
    work.ctx.cluster().await?.hibernate(&work.plan.database, true).await?;
    Ok(Done::said("the database is to sleep"))
}

/// The previous release over the previous data, awake. The database comes first: a hook of helm's may need it.
pub(super) async fn wake_previous(work: &RestoreWork, outputs: &Outputs) -> Result<()> {
    undo::alone(work).await?;
    let existing = existing(work)?;
    work.ctx.cluster().await?.hibernate(&work.plan.database, existing.sleeps).await?;
    wait_as_before(work, existing).await?;
    if !existing.sleeps {
        database::renew_clients(work).await;
    }
    if let Some(recorded) = outputs.maybe(RECORD_REPLICAS) {
        start_vault(work, &recorded).await?;
    }
    previous_release::put_back(work, existing).await?;
    wait_as_before(work, existing).await
}

/// A database that did not serve before is not waited for.
async fn wait_as_before(work: &RestoreWork, existing: &ExistingInstall) -> Result<()> {
    if existing.is_healthy {
        let cluster = work.ctx.cluster().await?;
        cluster.wait_database_healthy(&work.plan.database, DATABASE_LIMIT, &work.ctx.events).await?;
    }
    Ok(())
}

/// By the bundle's chart and values; where those of the install stay, helm is not needed.
pub(super) async fn wake(work: &RestoreWork) -> Result<Done<u32>> {
    let existing = existing(work)?;
    if existing.data_only {
        work.hold_lease().await?;
        work.ctx.cluster().await?.hibernate(&work.plan.database, false).await?;
        return Ok(Done::with(existing.revision, format!("revision {} as before", existing.revision)));
    }
    let revision = release::deploy(work, &ALONE, "database awake", None).await?;
    // Where the chart leaves that open.
    work.ctx.cluster().await?.hibernate(&work.plan.database, false).await?;
    Ok(Done::with(revision.revision, format!("revision {} of {}", revision.revision, revision.chart)))
}

/// What ran before the restore is of the restored install: the writers run by the bundle's values, and nobody is to take
/// them for stopped.
pub(super) async fn take_on(work: &RestoreWork) -> Result<()> {
    database::renew_clients(work).await;
    let cluster = work.ctx.cluster().await?;
    for name in WRITERS {
        cluster.adjust(WorkloadKind::Deployment, name, None, &[(REPLICAS, None), (STOPPED_BY, None)]).await?;
    }
    Ok(())
}
