//! How the application stands, as the cluster says.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cluster::{Cluster, ClusterError, OriginalState, PodState, PodsReturn, lease_name};
use crate::error::{OpenRun, Result};
use crate::ops::quiesce::{self, RunPutBackFirst, WRITERS, WriterFacts};
use crate::ops::{Ctx, lease, maintenance, rbac, runs};
use crate::opschain::Names;
use crate::opschain::maintenance::LeftMode;
use crate::opschain::workloads::WORKING_PODS;
use crate::values::Tree;

/// A Deployment or StatefulSet of the application.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct WorkloadFacts {
    pub name: String,
    pub replicas: i32,
    pub ready: i32,
    /// Whether all its pods are of the newest template and ready.
    pub settled: bool,
}

/// What was seen.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct ServerFacts {
    /// `namespace/release`.
    pub install: String,
    /// In the order in which they are stopped.
    pub writers: Vec<WriterFacts>,
    /// The writers of which there is no Deployment, while there is one of another.
    #[serde(default)]
    pub missing: Vec<String>,
    /// How many replicas those had that are off and wear no note of it, as far as anything else knows.
    pub known: Vec<KnownReplicas>,
    /// Writers, vault and LDAP, in the order in which they are shown.
    pub workloads: Vec<WorkloadFacts>,
    /// Name and state of each.
    pub databases: Vec<(String, String)>,
    /// The databases that hibernate.
    pub asleep: Vec<String>,
    /// Autoscalers with the writers that they scale.
    pub autoscalers: Vec<(String, String)>,
    /// Pods of changes, steps and agents.
    pub working: Vec<String>,
    /// Runs of this host that are put back before the application is stopped.
    pub put_back_first: Vec<RunPutBackFirst>,
    /// The run that has the install half done.
    pub open_run: Option<OpenRun>,
    /// What a run that has turned maintenance mode on has noted, and not taken away again.
    #[serde(default)]
    pub left_mode: Option<LeftMode>,
    /// Who holds the lease on the install.
    #[serde(default)]
    pub in_use: Option<InUse>,
    /// What is known of the original, where this is a copy that is held.
    #[serde(default)]
    pub original: Option<OriginalState>,
    /// What the access rules do not allow of what stopping and starting needs, where one is to be done.
    #[serde(default)]
    pub denied: Vec<String>,
    /// Pods that wear the label of a writer's pods and are not its, where it is to be stopped.
    #[serde(default)]
    pub strangers: Vec<String>,
    /// What would keep the writers' pods out, where they are to be stopped.
    #[serde(default)]
    pub returning: PodsReturn,
}

impl ServerFacts {
    pub fn namespace(&self) -> &str {
        self.install.split('/').next().unwrap_or_default()
    }
}

/// A run or command that holds the lease on the install.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InUse {
    /// Its id.
    pub run: String,
    /// The user and host that it is of.
    pub host: String,
    /// Whether a living process of this host holds it. Of another host one look does not tell.
    pub at_work: bool,
}

impl InUse {
    /// As a sentence for people.
    pub fn line(&self) -> String {
        let (run, host) = (lease::called(&self.run), &self.host);
        match self.at_work {
            true => format!("In use: {run} of this host is at work."),
            false => {
                format!("In use by {run} of {host}, if that is alive: a dead one's lease runs out after a minute.")
            }
        }
    }
}

/// How many replicas a writer had, and what says so.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct KnownReplicas {
    pub writer: String,
    pub replicas: i32,
    /// `run create-...`, `the newest recorded deployment`, `helm's values`.
    pub source: String,
}

/// How a source that is a run begins.
const RUN: &str = "run";

impl KnownReplicas {
    /// Whether a run has counted them before it stopped the writer.
    pub(super) fn is_counted(&self) -> bool {
        self.source.starts_with(RUN)
    }
}

/// Asks the cluster what starting is decided by.
///
/// # Errors
/// As [`gather`].
pub(super) async fn before_start(ctx: &Ctx) -> Result<ServerFacts> {
    let mut facts = gather(ctx, runs::half_done(ctx).await?).await?;
    let denied = ctx.cluster().await?.denied(&rbac::to_switch()).await?;
    facts.denied = denied.iter().map(ToString::to_string).collect();
    Ok(facts)
}

/// Asks the cluster what stopping is decided by.
///
/// # Errors
/// As [`gather`].
pub(super) async fn before_stop(ctx: &Ctx) -> Result<ServerFacts> {
    let mut facts = before_start(ctx).await?;
    let cluster = ctx.cluster().await?;
    facts.strangers = quiesce::strangers(cluster).await?;
    let running = facts.writers.iter().filter(|writer| writer.now > 0).map(|writer| writer.name.as_str());
    facts.returning = match cluster.pods_return(&running.collect::<Vec<_>>()).await {
        // It needs not make any itself.
        Err(error) if error.is_forbidden() => {
            ctx.events.warn(format!("whether its pods would come back is not known: {error}"), None);
            PodsReturn::default()
        }
        returning => returning?,
    };
    Ok(facts)
}

/// Asks the cluster.
///
/// # Errors
/// It cannot be reached, or no writer is there.
pub(super) async fn gather(ctx: &Ctx, open_run: Option<OpenRun>) -> Result<ServerFacts> {
    let (install, cluster) = (ctx.install(), ctx.cluster().await?);
    let all = cluster.workloads().await?;
    let writers = quiesce::writers_of(&all);
    let name = format!("{}/{}", install.namespace, install.release);
    if writers.is_empty()
        && let Err(missing) = quiesce::require_all(&writers, &install.namespace)
    {
        return Err(open_run.map_or(missing, |open| open.half_done(&name)));
    }
    let is_there = |name: &&str| writers.iter().any(|writer| writer.name == *name);
    let missing = WRITERS.into_iter().filter(|name| !is_there(name)).map(str::to_owned).collect();
    let original = match writers.iter().find_map(|writer| writer.held_for.as_ref()) {
        Some(original) => Some(cluster.original_state(original).await?),
        None => None,
    };
    let names = Names::default();
    let shown = [names.api(), names.worker(), names.vault(), names.ldap()];
    let workloads = shown.iter().filter_map(|name| all.iter().find(|workload| workload.name == *name));
    let workloads = workloads.map(|workload| WorkloadFacts {
        name: workload.name.clone(),
        replicas: workload.replicas,
        ready: workload.ready,
        settled: workload.is_settled(),
    });
    let databases = cluster.databases().await?;
    Ok(ServerFacts {
        install: name,
        known: known(ctx, &writers).await,
        writers,
        missing,
        workloads: workloads.collect(),
        asleep: databases.iter().filter(|it| it.is_hibernated()).map(|it| it.name.clone()).collect(),
        databases: databases.iter().map(|database| (database.name.clone(), database.line())).collect(),
        autoscalers: cluster.autoscalers(&WRITERS).await?,
        working: cluster.working_pods(WORKING_PODS).await?.iter().map(PodState::line).collect(),
        put_back_first: runs::to_put_back(ctx).await?,
        open_run,
        left_mode: maintenance::left_on(cluster).await?,
        in_use: in_use(ctx, cluster).await,
        original,
        denied: Vec::new(),
        strangers: Vec::new(),
        returning: PodsReturn::default(),
    })
}

/// Who holds the lease on the install.
async fn in_use(ctx: &Ctx, cluster: &Cluster) -> Option<InUse> {
    let holder = cluster.lease_holder(&lease_name(&ctx.install().release)).await;
    let held = holder.unwrap_or_else(|error| {
        ctx.events.warn(format!("who is at work on the install is not known: {error}"), None);
        None
    })?;
    let ClusterError::Held { holder: run, host, .. } = held else { return None };
    let at_work = *host == *ctx.who && ctx.runs.read(&run).is_ok_and(|stored| stored.held);
    Some(InUse { run, host: host.into(), at_work })
}

/// Looks for the counts of the writers that are off, in runs, and of those that wear no note from the nearest source to the
/// farthest. Nothing of it is needed: what cannot be asked is passed over.
async fn known(ctx: &Ctx, writers: &[WriterFacts]) -> Vec<KnownReplicas> {
    let names = |is: fn(&&WriterFacts) -> bool| writers.iter().filter(is).map(|w| w.name.as_str()).collect::<Vec<_>>();
    let (off, unknown) = (names(|writer| writer.now == 0), names(|writer| writer.replicas == 0));
    if off.is_empty() {
        return Vec::new();
    }
    if let Ok(Some((run, recorded))) = runs::last_recorded(ctx).await {
        // Of a writer with a note, too: anybody may have written that.
        let known = found(&off, &format!("{RUN} {run}"), |writer| recorded.of_writer(writer));
        if unknown.is_empty() || known.iter().any(|one| unknown.contains(&one.writer.as_str())) {
            return known;
        }
    }
    if unknown.is_empty() {
        return Vec::new();
    }
    if let Some(values) = ctx.newest_values_at_hand()
        && let Ok(values) = Tree::parse(&values)
    {
        return of_values(&unknown, "the newest recorded deployment", &values.to_json());
    }
    match ctx.helm().await {
        Ok(helm) => match helm.get_values(&ctx.install().release, None).await {
            Ok(Some(values)) => of_values(&unknown, "helm's values", &values),
            _ => Vec::new(),
        },
        Err(_) => Vec::new(),
    }
}

/// What the values ask for; nothing where they ask for an application that is off.
fn of_values(unknown: &[&str], source: &str, values: &Value) -> Vec<KnownReplicas> {
    let stopped = values["stopped"].as_bool().unwrap_or_default();
    let names = Names::default();
    let key = |writer: &str| if writer == names.api() { "api" } else { "apiWorker" };
    let count = |writer: &str| values[key(writer)]["replicas"].as_i64().and_then(|count| i32::try_from(count).ok());
    if stopped { Vec::new() } else { found(unknown, source, count) }
}

fn found(unknown: &[&str], source: &str, count: impl Fn(&str) -> Option<i32>) -> Vec<KnownReplicas> {
    let one = |writer: &&str| {
        let replicas = count(writer).filter(|replicas| *replicas > 0)?;
        Some(KnownReplicas { writer: (*writer).to_owned(), replicas, source: source.to_owned() })
    };
    unknown.iter().filter_map(one).collect()
}
