//! What a bundle looks at before anything is touched.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cluster::{
    BesideRelease, Cluster, ClusterError, Database, DatabaseFacts, OwnObjects, Permission, PodPlacement, PodRefusal,
    PodsReturn, WATCHDOG_NEEDS, WalWritten,
};
use crate::error::{OpenRun, Result};
use crate::helm::Revision;
use crate::ops::essentials::Essentials;
use crate::ops::history::{History, is_of};
use crate::ops::quiesce::{self, RunPutBackFirst, WRITERS, WriterFacts};
use crate::ops::{Ctx, helper, maintenance, published, rbac, recording, runs};
use crate::opschain::maintenance::WorkSight;
use crate::opschain::scope::ScopeFacts;
use crate::opschain::workloads::WORKING_PODS;
use crate::settings::{Allow, Quiesce};
use crate::vault::Deployment;

use super::asked_volumes::{self, AskedVolumes};
use super::request::CreateRequest;
use super::vault_config::VaultConfig;
use super::{directory, lost_wal, preserved, quiet, recognise};

/// A live install, and where its bundle is to go, as they were seen. Holds no secret.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct CreateFacts {
    /// The namespace of the install.
    pub namespace: String,
    pub release: String,
    /// How the settings quiesce.
    pub quiesce: Quiesce,
    /// The most that PostgreSQL may read a second, as the settings say.
    pub max_rate: Option<String>,
    /// The name of the database, as the settings have it.
    pub database_name: String,
    /// The database, where there is one of the name.
    pub database: Option<Database>,
    /// The names of databases beside it that follow another cluster.
    pub replica_databases: Vec<String>,
    /// What its primary says, where it serves.
    pub primary: Option<PrimaryFacts>,
    /// The operator's version.
    pub operator: Option<String>,
    /// helm's newest revision.
    pub newest: Option<Revision>,
    /// The deployment that the revision is, where the vault knows it.
    pub deployment: Option<Deployment>,
    /// What helm has stored of the revision.
    pub stored: Option<StoredFacts>,
    /// The writers, in the order in which they are stopped.
    pub writers: Vec<WriterFacts>,
    /// How far the writers are with their newest template.
    #[serde(default)]
    pub rollouts: Vec<Rollout>,
    /// What the data and the pods need that was found missing, changed or full.
    #[serde(default)]
    pub essentials: Essentials,
    /// What would keep pods of the writers out.
    #[serde(default)]
    pub returning: PodsReturn,
    /// Pods that wear the label of a writer's pods and are not its.
    #[serde(default)]
    pub strangers: Vec<String>,
    /// Why the API server would not make the helper pod.
    #[serde(default)]
    pub helper_refusal: Option<PodRefusal>,
    /// What the access rules do not allow of what making a bundle needs.
    #[serde(default)]
    pub denied: Vec<String>,
    /// What they do not allow of what stopping and starting the application needs.
    #[serde(default)]
    pub denied_switch: Vec<String>,
    /// What they do not allow of what a watchdog needs.
    #[serde(default)]
    pub no_watchdog: Vec<String>,
    /// Runs of this host that stand open, and are put back before another begins.
    #[serde(default)]
    pub open_runs: Vec<RunPutBackFirst>,
    /// The run that has the install half done.
    #[serde(default)]
    pub half_done: Option<OpenRun>,
    /// Whether the last bundle failed because the server had removed WAL.
    #[serde(default)]
    pub lost_wal: bool,
    /// Why the bundled LDAP server cannot be read, where it cannot.
    #[serde(default)]
    pub unread_directory: Option<String>,
    /// Autoscalers with the writers that they scale.
    pub autoscalers: Vec<(String, String)>,
    /// Pods of changes, steps and agents.
    pub working: Vec<String>,
    /// What is known of work without pods.
    #[serde(default)]
    pub sight: WorkSight,
    /// What may be there all the same, as the settings say.
    #[serde(default)]
    pub allow: Vec<Allow>,
    /// Sessions of others that may write.
    #[serde(default)]
    pub foreign: Vec<String>,
    /// Where the bundle goes.
    pub store: String,
    /// The room there in bytes, where it is known.
    pub store_free: Option<u64>,
    /// Whom it is to be sealed to.
    pub recipients: Vec<String>,
    /// Whether there is no vault here, and what was taken from one stands in for it.
    #[serde(default)]
    pub carried: bool,
    /// What stands in the namespace beside the release.
    #[serde(default)]
    pub beside: BesideRelease,
    /// The volumes that are to be taken along.
    #[serde(default)]
    pub volumes: AskedVolumes,
}

/// How many pods a writer that runs has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Rollout {
    pub name: String,
    /// How many it is to have.
    pub wanted: i32,
    /// How many are ready.
    pub ready: i32,
    /// How many of these are of its newest template.
    pub newest: i32,
    /// Whether somebody has deleted it, and something keeps it.
    #[serde(default)]
    pub deleted: bool,
    /// Whether somebody has paused its rollout.
    #[serde(default)]
    pub paused: bool,
}

/// Whether what is at work is waited for in maintenance mode before the application is stopped.
pub(super) fn drains(quiesce: Quiesce, sight: WorkSight) -> bool {
    quiesce != Quiesce::None && matches!(sight, WorkSight::Mode(_))
}

/// What the primary's PostgreSQL says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct PrimaryFacts {
    pub pod: String,
    pub facts: DatabaseFacts,
    pub databases_bytes: u64,
    /// Where the pod runs, for the helper pod to go there, too.
    #[serde(default)]
    pub placement: PodPlacement,
    /// How much log it writes.
    #[serde(default)]
    pub wal: Option<WalWritten>,
    /// Subscriptions of logical replication.
    #[serde(default)]
    pub subscriptions: Vec<String>,
    /// Tablespaces beside the server's own.
    #[serde(default)]
    pub tablespaces: Vec<String>,
    /// Unlogged tables.
    #[serde(default)]
    pub unlogged: Vec<String>,
}

/// What helm has stored of the values, as far as it is no secret.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct StoredFacts {
    /// The digest by which a deployment recognises them.
    pub sha256: String,
    /// The install runs its own LDAP server.
    pub own_ldap: bool,
    /// The install keeps its secrets in a vault outside of it.
    pub external_vault: bool,
    /// Other sites replicate from its database.
    pub replica_sites: bool,
    /// It makes backups of its own.
    #[serde(default)]
    pub own_backups: bool,
}

impl StoredFacts {
    fn of(values: &Value) -> Self {
        let ScopeFacts { own_ldap, external_vault, replicas, own_backups, .. } = ScopeFacts::of_values(values);
        Self { sha256: recognise::digest(values), own_ldap, external_vault, replica_sites: replicas, own_backups }
    }
}

/// Looks at database, release, vault, workloads, store and earlier runs of `verb`. Of what is not there, nothing more is asked.
///
/// # Errors
/// The settings do not do; cluster, helm, vault or store cannot be asked; there is no key to sign with.
pub(super) async fn gather(ctx: &Ctx, verb: &str, request: &CreateRequest) -> Result<CreateFacts> {
    let (settings, recipients, store) = (ctx.settings()?, ctx.recipients()?, ctx.store()?);
    published::warn_if_emptied(ctx, &*store)?;
    ctx.bundle_signer()?;
    let cluster = ctx.cluster().await?;
    // Ten seconds and more pass until the plan stands.
    let look = |what: &str| ctx.events.waiting(what, None);
    look("the database's answers");
    let database = cluster.database(&settings.database.cluster).await?;
    let primary = match &database {
        Some(database) if !database.is_replica_cluster() && !database.is_hibernation_asked() => {
            primary(cluster, &database.name).await?
        }
        _ => None,
    };
    look("helm's and the vault's answers");
    let (newest, deployment) = newest(ctx).await?;
    if let Some(deployment) = &deployment {
        VaultConfig::refuse_other_recipients(&ctx.config_source()?, deployment, &recipients)?;
    }
    let values = match &newest {
        // A release that went meanwhile has none.
        Some(newest) => Some(ctx.stored_values(newest.revision).await?.unwrap_or_default()),
        None => None,
    };
    let stored = values.as_deref().map(StoredFacts::of);
    let carried = preserved::preserved(&values.unwrap_or_default());
    look("the cluster's answers: what is at work, and what may be");
    let others = cluster.databases().await?;
    let workloads = cluster.workloads().await?;
    let writers = quiesce::writers_of(&workloads);
    let rollouts = workloads.iter().filter(|one| WRITERS.contains(&one.name.as_str()) && one.replicas > 0);
    let rollouts = rollouts
        .map(|one| Rollout {
            name: one.name.clone(),
            wanted: one.replicas,
            ready: one.ready,
            newest: one.updated,
            deleted: one.deleted,
            paused: one.paused,
        })
        .collect();
    let deployed = newest.as_ref().filter(|newest| newest.status.is_deployed()).map(|newest| newest.revision);
    let essentials = Essentials::look(ctx, deployed).await?;
    let running: Vec<&str> = writers.iter().filter(|writer| writer.now > 0).map(|one| one.name.as_str()).collect();
    let returning = cluster.pods_return(&running).await?;
    let helper_refusal = match (&database, &primary) {
        (Some(database), Some(primary)) => helper_refusal(ctx, database, primary).await?,
        _ => None,
    };
    let foreign = match &primary {
        Some(primary) => {
            look("the database's sessions");
            let sessions = cluster.writing_sessions(&primary.pod).await?;
            quiet::foreign(&sessions, &cluster.pods_of(&sessions, quiet::ADDRESS_LIMIT, &ctx.events).await?, true)
        }
        None => Vec::new(),
    };
    let of_database = database.as_ref().zip(primary.as_ref());
    let of_database = of_database.map(|(database, primary)| (database.image().unwrap_or_default(), &primary.placement));
    let volumes = asked_volumes::look(ctx, asked_volumes::wanted(request, &settings.bundle.with), of_database).await?;
    let (create, switch) = (rbac::to_create(), rbac::to_switch());
    let denied = tokio::try_join!(cluster.denied(&create), cluster.denied(&switch), cluster.denied(WATCHDOG_NEEDS))?;
    let words = |denied: Vec<Permission>| denied.iter().map(ToString::to_string).collect();
    // Of the names that its work has, those that nobody else would give.
    let work: Vec<&str> = WORKING_PODS.iter().copied().filter(|name| name.starts_with("opschain-")).collect();
    let own = OwnObjects { release: settings.install.release.as_ref(), carried: &carried, work: &work };
    let beside = cluster.beside_release(own).await?;
    let facts = CreateFacts {
        namespace: settings.install.namespace.to_string(),
        release: settings.install.release.to_string(),
        quiesce: settings.bundle.quiesce,
        max_rate: settings.bundle.max_rate.clone(),
        database_name: settings.database.cluster.to_string(),
        replica_databases: others.into_iter().filter(Database::is_replica_cluster).map(|other| other.name).collect(),
        database,
        primary,
        operator: cluster.operator().await?.and_then(|operator| operator.version),
        newest,
        deployment,
        stored,
        writers,
        rollouts,
        essentials,
        returning,
        strangers: quiesce::strangers(cluster).await?,
        helper_refusal,
        denied: words(denied.0),
        denied_switch: words(denied.1),
        no_watchdog: words(denied.2),
        open_runs: runs::to_put_back(ctx).await?,
        half_done: runs::half_done(ctx).await?,
        lost_wal: lost_wal::last_time(ctx, verb)?,
        unread_directory: directory::unreadable(&workloads),
        autoscalers: cluster.autoscalers(&WRITERS).await?,
        working: cluster.working_pods(WORKING_PODS).await?.into_iter().map(|pod| pod.name).collect(),
        sight: maintenance::look(ctx).await?,
        allow: settings.bundle.allow.clone(),
        foreign,
        store: store.place(),
        store_free: store.free_bytes()?,
        recipients: recipients.to_strings(),
        carried: settings.vault.carried.is_some(),
        beside,
        volumes,
    };
    recording::record("create", &facts)?;
    Ok(facts)
}

/// The primary, where it serves; a standby may be down.
async fn primary(cluster: &Cluster, database: &str) -> Result<Option<PrimaryFacts>> {
    let live = match cluster.primary_pod(database).await {
        Err(ClusterError::NoPrimary { .. }) => return Ok(None),
        live => live?,
    };
    let (placement, pod) = (PodPlacement::of_pod(&live), live.metadata.name.unwrap_or_default());
    let (facts, databases_bytes) = (cluster.database_facts(&pod).await?, cluster.databases_size(&pod).await?);
    let (subscriptions, tablespaces, unlogged) =
        futures::try_join!(cluster.subscriptions(&pod), cluster.tablespaces(&pod), cluster.unlogged_tables(&pod))?;
    let wal = Some(cluster.wal_written(&pod).await?);
    Ok(Some(PrimaryFacts { pod, facts, databases_bytes, subscriptions, tablespaces, unlogged, placement, wal }))
}

/// Why the helper pod would not be made.
async fn helper_refusal(ctx: &Ctx, database: &Database, primary: &PrimaryFacts) -> Result<Option<PodRefusal>> {
    let image = database.image().unwrap_or_default();
    let pod = helper::backup_pod(ctx, helper::NO_RUN, image, &primary.placement, None).await?;
    Ok(ctx.cluster().await?.admission(&pod).await?)
}

/// helm's newest revision, and the deployment that it is.
async fn newest(ctx: &Ctx) -> Result<(Option<Revision>, Option<Deployment>)> {
    let History { mut revisions, deployments } = History::read(ctx).await?;
    let Some(mut newest) = revisions.pop() else { return Ok((None, None)) };
    let deployment = deployments.into_iter().find(|deployment| is_of(&newest, deployment));
    // It may quote a secret, and nothing is decided by it any more.
    newest.description.clear();
    Ok((Some(newest), deployment))
}
