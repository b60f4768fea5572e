//! The steps of a restore. Each may be run again after a crash in its middle, and comes to the same end.
//!
//! A restore that fails stays as it is. What a step is undone by is for [`super::abort`], which chooses among them.

use std::time::Duration;

use jiff::Timestamp;

use super::database::{self, DATABASE_LIMIT};
use super::evidence::{self, ProvedStandby, RestoreSeen, ServingFacts, StepSeen, WantedDatabase};
use super::plan::RestoreChart;
use super::proof::{self, RunningIdentity};
use super::strategy::{RestoreStrategy, VolumePlan};
use super::work::RestoreWork;
use super::{chart, directory, existing_steps as existing, gate, images, release, send, site, undo, volume, volumes};
use crate::agent::protocol::{StageReport, SwapReport, SwapRequest};
use crate::bundle::Depth;
use crate::cluster::{ObjectRef, RUN_LABEL, WorkloadKind, lease_name};
use crate::error::{CommandError, Exit, Result};
use crate::helm::Revision;
use crate::journal::{self, Done, Outputs, Step, StepName, step};
use crate::ops::helper::{self, POD_LIMIT, pod_name};
use crate::ops::release::secrets_from_bytes;
use crate::ops::{self, bundles, maintenance, neighbours, schedule};
use crate::text;

/// How long the application may take to serve: it decrypts and migrates when it starts.
const SERVING_LIMIT: Duration = Duration::from_secs(1800);

/// Its output is the namespace's UID: a resume takes no other of the same name.
pub(super) const CREATE_NAMESPACE: StepName<String> = StepName::new("create-namespace");
pub(super) const TAKE_LEASE: StepName<()> = StepName::new("take-lease");
pub(super) const RESTORE_SECRETS: StepName<()> = StepName::new("restore-secrets");
pub(super) const INSTALL_HIBERNATED: StepName<u32> = StepName::new("install-hibernated");
/// Its output is the claim's UID.
pub(super) const MAKE_VOLUME: StepName<String> = StepName::new("make-volume");
pub(super) const WAIT_HIBERNATED: StepName<()> = StepName::new("wait-hibernated");
const STOP_VAULT: StepName<()> = StepName::new("stop-vault");
pub(super) const START_POD: StepName<()> = StepName::new("start-pod");
pub(super) const STAGE: StepName<StageReport> = StepName::new("stage");
pub(super) const SWAP: StepName<SwapReport> = StepName::new("swap");
const PROVE_FILES: StepName<()> = StepName::new("prove-files");
/// The same of a volume that the run has made. Its output is the UID of the claim that was proved.
const PROVE_VOLUME: StepName<String> = StepName::new("prove-files");
const RELEASE_VOLUME: StepName<()> = StepName::new("release-volume");
pub(super) const WAKE: StepName<u32> = StepName::new("wake");
pub(super) const INSTALL: StepName<u32> = StepName::new("install");
const WAIT_HEALTHY: StepName<()> = StepName::new("wait-healthy");
pub(super) const PROVE_IDENTITY: StepName<RunningIdentity> = StepName::new("prove-identity");
/// Its output is the Helm revision that serves.
pub(super) const START: StepName<u32> = StepName::new("start");
pub(super) const WAIT_SERVING: StepName<ServingFacts> = StepName::new("wait-serving");
const PROVE_INSTANCES: StepName<Vec<ProvedStandby>> = StepName::new("prove-instances");
const ANALYZE: StepName<()> = StepName::new("analyze");
pub(super) const RECORD: StepName<Option<String>> = StepName::new("record");
pub(super) const KEEP_EVIDENCE: StepName<()> = StepName::new("keep-evidence");
pub(super) const CLEAN_UP: StepName<()> = StepName::new("clean-up");

type RestoreStep = Step<RestoreWork, CommandError>;

/// The steps, in order.
pub(super) fn steps(strategy: RestoreStrategy) -> Vec<RestoreStep> {
    let mut steps = match strategy {
        RestoreStrategy::Adopt => chained(into_an_empty_namespace(), into_a_new_volume()),
        RestoreStrategy::Hibernate => chained(into_an_empty_namespace(), beneath_a_sleeping_database()),
        RestoreStrategy::IntoExisting => over_what_lives(),
    };
    steps.extend([
        step(WAIT_HEALTHY, |w, _| Box::pin(wait_healthy(w))),
        step(PROVE_IDENTITY, |w, o| Box::pin(prove_identity(w, o))),
    ]);
    // What lives keeps its own.
    if strategy != RestoreStrategy::IntoExisting {
        steps.push(step(directory::RESTORE_DIRECTORY, |w, _| Box::pin(directory::restore_directory(w))));
        steps.push(step(volumes::RESTORE_VOLUMES, |w, _| Box::pin(volumes::restore_volumes(w))));
    }
    steps.extend([
        step(START, |w, o| Box::pin(start(w, o)))
            .handles_cancel()
            .undo("stop API and workers", |w, _| Box::pin(undo::stop_application(w))),
        step(WAIT_SERVING, |w, _| Box::pin(wait_serving(w))),
        step(PROVE_INSTANCES, |w, o| Box::pin(prove_instances(w, o))),
        step(ANALYZE, |w, _| Box::pin(analyze(w))),
        step(RECORD, |w, o| Box::pin(record(w, o))),
        step(KEEP_EVIDENCE, |w, o| Box::pin(async { keep_evidence(w, o) })),
        step(CLEAN_UP, |w, _| Box::pin(clean_up(w))),
    ]);
    steps
}

fn chained(mut first: Vec<RestoreStep>, then: Vec<RestoreStep>) -> Vec<RestoreStep> {
    first.extend(then);
    first
}

fn into_an_empty_namespace() -> Vec<RestoreStep> {
    vec![
        step(CREATE_NAMESPACE, |w, _| Box::pin(create_namespace(w)))
            .undo("remove the namespace, if this run made it", |w, _| Box::pin(undo::remove_namespace(w))),
        take_lease_step(),
        restore_secrets_step(),
    ]
}

fn take_lease_step() -> RestoreStep {
    step(TAKE_LEASE, |w, _| Box::pin(take_lease(w))).undo("give up the lease", |w, _| Box::pin(w.release_lease()))
}

fn restore_secrets_step() -> RestoreStep {
    step(RESTORE_SECRETS, |w, _| Box::pin(restore_secrets(w)))
        .undo("put Secrets and ConfigMaps back as they were found", |w, _| Box::pin(undo::put_back_secrets(w)))
}

/// The volume comes first, and goes as a whole when the run is undone. Helm, and with it the operator, is let to it only
/// when what is on it has been proved.
fn into_a_new_volume() -> Vec<RestoreStep> {
    vec![
        step(MAKE_VOLUME, |w, _| Box::pin(make_volume(w)))
            .undo("remove the volume, with what is on it", |w, _| Box::pin(volume::remove(w))),
        start_pod_step(),
        step(STAGE, |w, _| Box::pin(stage(w))),
        step(SWAP, |w, _| Box::pin(swap(w))),
        step(PROVE_VOLUME, |w, o| Box::pin(prove_volume(w, o))),
        step(RELEASE_VOLUME, |w, _| Box::pin(release_volume(w))),
        uninstalled_again(step(INSTALL, |w, o| Box::pin(install(w, o)))),
    ]
}

/// The operator makes the volume and an empty database on it, which sleeps while the bundle's is put in its place.
fn beneath_a_sleeping_database() -> Vec<RestoreStep> {
    vec![
        uninstalled_again(step(INSTALL_HIBERNATED, |w, _| Box::pin(install_hibernated(w)))),
        step(WAIT_HIBERNATED, |w, _| Box::pin(wait_hibernated(w))),
        step(STOP_VAULT, |w, _| Box::pin(stop_vault(w))),
        start_pod_step(),
        step(STAGE, |w, _| Box::pin(stage(w))),
        swapped_back(step(SWAP, |w, _| Box::pin(swap(w)))),
        step(PROVE_FILES, |w, _| Box::pin(prove_files(w))),
        step(RELEASE_VOLUME, |w, _| Box::pin(release_volume(w))),
        hibernated_again(step(WAKE, |w, _| Box::pin(wake(w)))),
    ]
}

/// What lives is bundled and put to sleep first; every step of it is undone for as long as its data is kept.
fn over_what_lives() -> Vec<RestoreStep> {
    vec![
        take_lease_step(),
        step(existing::FIND_INSTALL, |w, _| Box::pin(existing::find_install(w))),
        step(existing::RECORD_REPLICAS, |w, _| Box::pin(existing::record_replicas(w))),
        step(existing::STOP_WRITERS, |w, o| Box::pin(existing::stop_writers(w, o)))
            .undo("bring API and workers back as they were", |w, o| Box::pin(existing::start_writers(w, o))),
        step(existing::NAME_SAFETY_BUNDLE, |w, _| Box::pin(async { existing::name_safety_bundle(w) })),
        step(existing::MAKE_SAFETY_BUNDLE, |w, o| Box::pin(existing::make_safety_bundle(w, o))).handles_cancel(),
        step(existing::HIBERNATE, |w, _| Box::pin(existing::hibernate(w)))
            .undo("put the previous release back, and wake its database", |w, o| {
                Box::pin(existing::wake_previous(w, o))
            }),
        step(WAIT_HIBERNATED, |w, _| Box::pin(wait_hibernated(w))),
        start_pod_step(),
        step(STAGE, |w, _| Box::pin(stage(w))),
        swapped_back(step(SWAP, |w, _| Box::pin(swap(w)))),
        step(PROVE_FILES, |w, _| Box::pin(prove_files(w))),
        step(RELEASE_VOLUME, |w, _| Box::pin(release_volume(w))),
        restore_secrets_step(),
        hibernated_again(step(WAKE, |w, _| Box::pin(existing::wake(w)))),
    ]
}

fn swapped_back(swap: RestoreStep) -> RestoreStep {
    swap.undo("put the previous data directory back, and remove the restored one", |w, _| Box::pin(undo::swap_back(w)))
}

fn hibernated_again(wake: RestoreStep) -> RestoreStep {
    wake.handles_cancel().undo("stop the secret vault and hibernate the database", |w, _| Box::pin(undo::hibernate(w)))
}

fn start_pod_step() -> RestoreStep {
    step(START_POD, |w, _| Box::pin(start_pod(w)))
        .undo("remove the recovery pod", |w, _| Box::pin(helper::remove(&w.ctx, &w.run)))
}

fn uninstalled_again(install: RestoreStep) -> RestoreStep {
    install
        .handles_cancel()
        .undo("uninstall the release, and remove what it made: its volumes too", |w, _| Box::pin(undo::uninstall(w)))
}

async fn create_namespace(work: &RestoreWork) -> Result<Done<String>> {
    let (cluster, name) = (work.ctx.cluster().await?, &work.plan.namespace);
    // Who may make none can still restore into one that an administrator has made.
    if cluster.namespace_uid().await?.is_none() {
        let security = work.plan.pod_security.iter().map(|(label, value)| (label.as_str(), value.as_str()));
        let labels: Vec<(&str, &str)> = security.chain([(RUN_LABEL, work.run.as_str())]).collect();
        cluster.create_namespace(&labels).await?;
    }
    let uid = cluster.namespace_uid().await?.ok_or_else(|| {
        CommandError::new(Exit::Cluster, format!("namespace {name} was deleted while it was being created"))
    })?;
    // What a new namespace is given by the site, its quota for one, is known only now.
    cluster.wait_default_account(POD_LIMIT, &work.ctx.events).await?;
    if let Some(doubt) = site::pod_admitted(&work.ctx, &work.plan, None).await? {
        work.ctx.events.warn(doubt, None);
    }
    Ok(Done::with(uid, name.clone()))
}

async fn take_lease(work: &RestoreWork) -> Result<Done<()>> {
    work.hold_lease().await?;
    Ok(Done::said(format!("lease {}", lease_name(&work.plan.release))))
}

async fn restore_secrets(work: &RestoreWork) -> Result<Done<()>> {
    work.hold_lease().await?;
    if work.plan.chart == RestoreChart::Kept {
        return Ok(Done::said("those of the install stay"));
    }
    let cluster = work.ctx.cluster().await?;
    let taken_over = &work.plan.taken_over;
    neighbours::take_over(&work.ctx, taken_over).await?;
    let mut kept = secrets_from_bytes(&work.bundle()?.member("config/secrets.yaml.age")?)?;
    kept.extend(chart::pull_secrets(&work.ctx, work.bundle()?, &work.plan, &kept).await?);
    let objects: Vec<ObjectRef> = kept.iter().map(|object| object.object()).collect();
    // What an uninstall has left may hold something else: it is noted first, so that it can come back.
    cluster.note_found(&work.run, &objects).await?;
    for object in kept {
        cluster.put_back(&object.for_install(&work.plan.namespace, &work.plan.release), true).await?;
    }
    let left = taken_over.iter().map(|left| left.name.as_str());
    let names: Vec<&str> = objects.iter().map(|object| object.name.as_str()).chain(left).collect();
    Ok(Done::said(names.join(", ")))
}

async fn install_hibernated(work: &RestoreWork) -> Result<Done<u32>> {
    let sets: Vec<_> = chart::ALONE.into_iter().chain([("stopDatabase", "true")]).collect();
    Ok(deployed(&release::deploy(work, &sets, "installed hibernated", None).await?))
}

/// What a Helm step says when it is done.
fn deployed(revision: &Revision) -> Done<u32> {
    Done::with(revision.revision, format!("revision {} of {}", revision.revision, revision.chart))
}

async fn wait_hibernated(work: &RestoreWork) -> Result<Done<()>> {
    work.hold_lease().await?;
    let cluster = work.ctx.cluster().await?;
    let database = cluster.wait_hibernated(&work.plan.database, DATABASE_LIMIT, &work.ctx.events).await?;
    proof::one_volume(&database)?;
    Ok(Done::said(format!("volume {}", database.primary_claim())))
}

async fn stop_vault(work: &RestoreWork) -> Result<Done<()>> {
    Ok(Done::said(database::stop_vault(work).await?.unwrap_or_else(|| "this release has none".to_owned())))
}

async fn start_pod(work: &RestoreWork) -> Result<Done<()>> {
    let mut agent = work.start_agent().await?;
    let facts = agent.facts().await?;
    if let (Some(bundle), Some(found)) = (work.plan.postgres_major, facts.postgres_major) {
        gate::refuse_other_postgres(bundle, found, &format!("pod {}", pod_name(&work.run)))?;
    }
    let needed = work.plan.database_bytes + work.bundle()?.reader.manifest().wal.raw.bytes;
    let free = proof::room(facts.volume.as_ref(), needed)?;
    let way = agent.way();
    work.keep_agent(agent).await;
    images::begin_pull(&work.ctx, &work.plan.images, &work.run).await;
    work.fetch_chart()?;
    Ok(Done::said(format!("{}, {} free, {way}", pod_name(&work.run), text::bytes(free))))
}

async fn make_volume(work: &RestoreWork) -> Result<Done<String>> {
    let volume = work.volume()?;
    let VolumePlan { claim, size, storage_class, .. } = volume;
    let class = storage_class.as_ref().map_or("the default class".to_owned(), |class| format!("class {class}"));
    Ok(Done::with(volume::make(work, volume).await?, format!("{claim}, {size}, {class}")))
}

async fn stage(work: &RestoreWork) -> Result<Done<StageReport>> {
    let mut agent = work.agent().await?;
    let report = send::send(work, &mut agent).await?;
    work.keep_agent(agent).await;
    let kept = match report.kept_bytes {
        0 => String::new(),
        bytes => format!(", {} of it were there already", text::bytes(bytes)),
    };
    let summary = format!("{} files, WAL to {}{kept}", report.files, report.last_segment);
    Ok(Done::with(report, summary))
}

async fn swap(work: &RestoreWork) -> Result<Done<SwapReport>> {
    let claim = work.claim().await?;
    let mut agent = work.agent().await?;
    let mounters = work.ctx.cluster().await?.mounters(&claim).await?;
    proof::alone_on_volume(&mounters, &pod_name(&work.run), &claim)?;
    let report: SwapReport = agent.swap(SwapRequest { nothing_else_mounts: true }).await?;
    work.keep_agent(agent).await;
    let summary = match &report.kept {
        Some(kept) => format!("previous data directory kept as {}", kept.rsplit('/').next().unwrap_or(kept)),
        None => "there was none before".to_owned(),
    };
    Ok(Done::with(report, summary))
}

async fn prove_files(work: &RestoreWork) -> Result<Done<()>> {
    Ok(Done::said(files_in_place(work).await?))
}

async fn files_in_place(work: &RestoreWork) -> Result<String> {
    let mut agent = work.agent().await?;
    let facts = agent.facts().await?;
    work.keep_agent(agent).await;
    proof::files(facts.volume.as_ref(), &work.plan.system_identifier)
}

async fn prove_volume(work: &RestoreWork, outputs: &Outputs) -> Result<Done<String>> {
    let uid = outputs.get(MAKE_VOLUME)?;
    volume::check(work, &uid).await?;
    let seen = files_in_place(work).await?;
    Ok(Done::with(uid, seen))
}

async fn release_volume(work: &RestoreWork) -> Result<Done<()>> {
    if let Some(agent) = work.kept_agent().await {
        // The pod is removed next in any case.
        drop(agent.finish().await);
    }
    let images = images::pulled(&work.ctx, &work.run).await.map_or(String::new(), |images| format!("; {images}"));
    helper::remove(&work.ctx, &work.run).await?;
    if work.plan.strategy == RestoreStrategy::Adopt {
        return Ok(Done::said(format!("nothing uses the volume{images}")));
    }
    let (cluster, database) = (work.ctx.cluster().await?, work.database().await?);
    // Those of the empty database that the operator made first: with its own volume a second instance would come back
    // as that one, and serve it after a failover.
    let claim = database.primary_claim();
    let others = cluster.delete_other_claims(&database.name, &claim, POD_LIMIT, &work.ctx.events).await?;
    Ok(Done::said(match others.as_slice() {
        [] => format!("nothing uses the volume{images}"),
        others => format!("{} will be copied anew{images}", others.join(", ")),
    }))
}

/// The operator takes up the volume that was proved, and no other.
async fn install(work: &RestoreWork, outputs: &Outputs) -> Result<Done<u32>> {
    let proved = outputs.get(PROVE_VOLUME)?;
    Ok(deployed(&release::deploy(work, &chart::ALONE, "installed on the restored volume", Some(&proved)).await?))
}

async fn wake(work: &RestoreWork) -> Result<Done<u32>> {
    Ok(deployed(&release::deploy(work, &chart::ALONE, "database awake", None).await?))
}

async fn wait_healthy(work: &RestoreWork) -> Result<Done<()>> {
    work.hold_lease().await?;
    directory::begin(work).await;
    let cluster = work.ctx.cluster().await?;
    let database = cluster.wait_database_healthy(&work.plan.database, DATABASE_LIMIT, &work.ctx.events).await?;
    Ok(Done::said(database.line()))
}

async fn prove_identity(work: &RestoreWork, outputs: &Outputs) -> Result<Done<RunningIdentity>> {
    let (cluster, primary) = (work.ctx.cluster().await?, work.primary().await?);
    let facts = cluster.database_facts(&primary).await?;
    let mut aside = database::renamed_data_folders(cluster, &primary).await?;
    let before = outputs.maybe(existing::FIND_INSTALL).map(|found| found.aside).unwrap_or_default();
    aside.retain(|folder| !before.contains(folder));
    let identity = proof::identity(&work.bundle()?.reader.manifest().database, &facts, &aside)?;
    let summary = format!("{} on timeline {}, at {}", identity.system_identifier, identity.timeline, identity.lsn);
    Ok(Done::with(identity, summary))
}

/// The database was alone until the application was started; the operator copies the others from it.
async fn prove_instances(work: &RestoreWork, outputs: &Outputs) -> Result<Done<Vec<ProvedStandby>>> {
    work.hold_lease().await?;
    let cluster = work.ctx.cluster().await?;
    let database = cluster.wait_database_healthy(&work.plan.database, DATABASE_LIMIT, &work.ctx.events).await?;
    let standbys = database::standbys(work, &work.primary().await?).await?;
    let identity = outputs.get(PROVE_IDENTITY)?;
    proof::standbys(&identity.system_identifier, cluster.namespace(), database.spec.instances, &standbys)?;
    let summary = match standbys.len() {
        0 => "the database has no other".to_owned(),
        count => format!("{} follow", text::plural(count as u64, "standby")),
    };
    let proved = standbys
        .into_iter()
        .map(|standby| ProvedStandby { pod: standby.pod, system_identifier: standby.facts.system_identifier });
    Ok(Done::with(proved.collect(), summary))
}

async fn start(work: &RestoreWork, outputs: &Outputs) -> Result<Done<u32>> {
    if work.plan.chart == RestoreChart::Kept {
        return existing::start_as_before(work, outputs).await;
    }
    let revision = release::deploy(work, &[], "done", None).await?;
    if work.plan.existing.is_some() {
        existing::take_on(work).await?;
    }
    if let Some(hold) = &work.plan.hold {
        release::hold_workers(work, hold, hold.workers).await?;
    }
    Ok(deployed(&revision))
}

async fn wait_serving(work: &RestoreWork) -> Result<Done<ServingFacts>> {
    work.hold_lease().await?;
    let cluster = work.ctx.cluster().await?;
    let all = cluster.workloads().await?;
    let names: Vec<(WorkloadKind, &str)> = all.iter().map(|workload| (workload.kind, workload.name.as_str())).collect();
    cluster.wait_settled(&names, SERVING_LIMIT, &work.ctx.events).await?;
    let (api, unheard) = match maintenance::ask_info(cluster, &work.ctx.events).await {
        Ok(answer) => (Some(answer), None),
        // Its pods are ready, which they say only while it serves: that nobody may ask it is no failure.
        Err(error) => (None, Some(error.to_string())),
    };
    let said = api.as_ref().map_or("the API was not asked".to_owned(), |api| format!("API: {}", api.line()));
    // What is to have no pods has none, and serves nothing.
    let workloads: Vec<String> =
        all.iter().filter(|workload| workload.replicas > 0).map(|workload| workload.name.clone()).collect();
    let summary = format!("{} workloads ready; {said}", workloads.len());
    Ok(Done::with(ServingFacts { workloads, api, unheard }, summary))
}

async fn analyze(work: &RestoreWork) -> Result<Done<()>> {
    let (cluster, primary) = (work.ctx.cluster().await?, work.primary().await?);
    match database::analyze(cluster, &primary).await {
        Ok(databases) => Ok(Done::said(databases.join(", "))),
        // The application serves, only slower: no reason to call the restore a failure.
        Err(error) => {
            let way = format!(
                "`kubectl exec -n {} {primary} -c postgres -- psql -d opschain -c ANALYZE` does it.",
                work.plan.namespace
            );
            work.ctx.events.warn(format!("the database's statistics are not made anew: {error}"), Some(way));
            Ok(Done::said("not done"))
        }
    }
}

async fn record(work: &RestoreWork, outputs: &Outputs) -> Result<Done<Option<String>>> {
    if work.plan.chart == RestoreChart::Kept {
        return Ok(Done::with(None, "nothing was deployed"));
    }
    let id = match release::record(work, outputs.get(START)?).await {
        // The application runs: whom the vault believes is no reason to call that a failure.
        Err(error) if error.exit() == Exit::Untrusted => {
            let hint = error.hints().first().cloned();
            work.ctx.events.warn(format!("the restore is not recorded: {error}"), hint);
            return Ok(Done::with(None, "not recorded: the config vault is not believed"));
        }
        recorded => recorded?,
    };
    // Over an install that lived, its schedule goes by what was live before.
    schedule::renew(&work.ctx).await;
    let summary = id.clone().unwrap_or_else(|| "this host has no config vault: `dr init` makes one".to_owned());
    Ok(Done::with(id, summary))
}

/// What the steps before have seen, as they left it: nothing is asked again.
fn keep_evidence(work: &RestoreWork, outputs: &Outputs) -> Result<Done<()>> {
    let (_, run) = journal::find(&*work.ctx.runs, &work.run)?;
    let at = |step: &str| run.succeeded_at(step);
    fn seen<T, R>(step: StepName<T>, at: impl Fn(&str) -> Option<Timestamp>, output: R) -> StepSeen<R> {
        StepSeen { step: step.text(), at: at(step.text()), output }
    }
    let steps = RestoreSeen {
        staged: seen(STAGE, at, outputs.get(STAGE)?),
        swapped: seen(SWAP, at, outputs.get(SWAP)?),
        identity: seen(PROVE_IDENTITY, at, outputs.get(PROVE_IDENTITY)?),
        directory: seen(directory::RESTORE_DIRECTORY, at, outputs.maybe(directory::RESTORE_DIRECTORY)),
        volumes: seen(volumes::RESTORE_VOLUMES, at, outputs.maybe(volumes::RESTORE_VOLUMES)),
        serving: seen(WAIT_SERVING, at, outputs.maybe(WAIT_SERVING)),
        standbys: seen(PROVE_INSTANCES, at, outputs.maybe(PROVE_INSTANCES)),
    };
    let bundle = work.bundle()?;
    let manifest = bundle.reader.manifest();
    let wanted = WantedDatabase { identity: &manifest.database, files: manifest.counts.get("database_files").copied() };
    let evidence = evidence::of_restore(&run.replay.begun, &work.plan, &wanted, &steps);
    ops::evidence::keep(&work.ctx, &work.plan.source, &evidence)?;
    bundles::keep_proof(&work.ctx, &work.plan.source, &bundle.reader, Depth::Restored);
    Ok(Done::said(text::plural(evidence.proofs.len() as u64, "proof")))
}

async fn clean_up(work: &RestoreWork) -> Result<Done<()>> {
    let (cluster, primary) = (work.ctx.cluster().await?, work.primary().await?);
    let removed = database::remove_kept_folders(cluster, &primary, &work.run).await?;
    cluster.forget_found(&work.run).await?;
    helper::remove(&work.ctx, &work.run).await?;
    work.release_lease().await?;
    Ok(Done::said(if removed.is_empty() { "nothing was left".to_owned() } else { removed.join(", ") }))
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_leave_most_of_a_narrow_line_for_what_is_seen() {
        use super::RestoreStrategy::{Adopt, Hibernate, IntoExisting};
        for strategy in [Adopt, Hibernate, IntoExisting] {
            assert!(super::steps(strategy).iter().all(|step| step.name().len() <= 26));
        }
    }
}
