//! The install that lives where a bundle is restored over it: what it is, and whether it may be replaced.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::facts::{SourceFacts, TargetFacts};
use super::gate;
use super::source::{ExistingRequest, RestoreRequest};
use crate::cluster::{Cluster, ClusterError, Database, NamespaceState};
use crate::error::{CommandError, Exit, Result};
use crate::helm::Revision;
use crate::ops::create::{self, CreateRequest};
use crate::ops::{Ctx, recording};
use crate::settings::Quiesce;
use crate::text;

/// The install that a bundle is restored over, as it was found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ExistingInstall {
    /// Whether its values, chart and Secrets stay.
    #[serde(default)]
    pub data_only: bool,
    /// Helm's newest revision.
    pub revision: u32,
    /// Helm's word for its state.
    pub status: String,
    /// The chart with its version.
    pub chart: String,
    /// The OpsChain version that the chart names.
    pub version: String,
    /// The operator's line about its database.
    pub state: String,
    /// Whether the database was to sleep.
    pub sleeps: bool,
    /// Whether all of it served.
    pub is_healthy: bool,
    /// The database's identity, as far as it is known.
    pub system_identifier: Option<String>,
    /// Whether it is the database that the bundle was made from, or a copy of it.
    pub is_same_line: bool,
    /// How large its data is, where it could be asked.
    pub bytes: Option<u64>,
    /// The newest bundle of it in the store, and when that was made.
    pub newest_bundle: Option<(String, Timestamp)>,
    /// The store that a bundle of it goes to first; none is made when absent.
    pub safety_store: Option<String>,
}

/// What was seen of an install that a bundle is to be restored over.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct ExistingFacts {
    /// Helm's newest revision.
    pub newest: Option<Revision>,
    pub databases: Vec<Database>,
    /// The name of its database, as the settings have it.
    pub database_name: String,
    /// What its primary says, where one serves.
    pub primary: Option<ServingDatabase>,
    pub newest_bundle: Option<(String, Timestamp)>,
}

/// What the primary of a living database says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ServingDatabase {
    pub system_identifier: String,
    pub bytes: u64,
    /// The room on its volume in bytes.
    pub free_bytes: u64,
}

/// What the bundle asks of the install.
pub(super) struct ExistingWants<'a> {
    pub system_identifier: &'a str,
    pub postgres_major: u32,
    /// What its database takes, in bytes.
    pub bytes: u64,
}

impl<'a> ExistingWants<'a> {
    pub fn of(source: &'a SourceFacts, wal_bytes: u64) -> Self {
        Self {
            system_identifier: &source.system_identifier,
            postgres_major: source.postgres_major,
            bytes: source.database_bytes + wal_bytes,
        }
    }
}

/// Looks at the install of `ctx`, and says what is there and the name of its database.
///
/// # Errors
/// There is none, it is in the middle of something, or the bundle does not fit it; or cluster or helm cannot be asked.
pub(super) async fn inspect(
    ctx: &Ctx,
    asked: &ExistingRequest,
    target: &TargetFacts,
    wants: &ExistingWants<'_>,
) -> Result<(ExistingInstall, Database)> {
    let install = format!("{}/{}", target.namespace_name, target.release);
    if let Some(open) = &target.open_run {
        return Err(open.half_done(&install));
    }
    require_something(target)?;
    let facts = gather(ctx, wants.system_identifier).await?;
    if let Some(newest) = &facts.newest {
        ctx.helm().await?.refuse_pending(&target.release, newest)?;
    }
    let (mut existing, database) = judge(&facts, &install, wants)?;
    existing.data_only = asked.data_only;
    existing.safety_store = if asked.no_safety_bundle { None } else { Some(safety_store(ctx).await?) };
    Ok((existing, database))
}

/// Refuses a namespace in which nothing lives.
fn require_something(target: &TargetFacts) -> Result<()> {
    match &target.namespace {
        NamespaceState::Occupied { .. } => Ok(()),
        NamespaceState::Terminating => refuse_occupied(target),
        NamespaceState::Absent | NamespaceState::Empty { .. } => {
            let what = format!("nothing lives in namespace {} that could be replaced", target.namespace_name);
            Err(CommandError::new(Exit::NotFound, what)
                .hint("Restore into it without --into-existing; or name the namespace of the install with -n."))
        }
    }
}

/// Refuses a namespace that is not empty.
///
/// # Errors
/// [`Exit::NotEmpty`] naming what stands in it.
pub(super) fn refuse_occupied(target: &TargetFacts) -> Result<()> {
    let name = &target.namespace_name;
    match &target.namespace {
        NamespaceState::Absent | NamespaceState::Empty { .. } => Ok(()),
        NamespaceState::Terminating => {
            Err(CommandError::new(Exit::NotEmpty, format!("namespace {name} is still being deleted"))
                .hint("Wait until it is gone, and try again."))
        }
        NamespaceState::Occupied { objects, .. } => {
            let names: Vec<String> = objects.iter().take(5).map(ToString::to_string).collect();
            let more = objects.len().saturating_sub(names.len());
            let tail = if more > 0 { format!(" and {more} more") } else { String::new() };
            let what = format!("namespace {name} is not empty: it has {}{tail}", names.join(", "));
            let error = CommandError::new(Exit::NotEmpty, what);
            if let Some(open) = target.open_run.as_ref().filter(|open| !open.ways_on().is_empty()) {
                return Err(error.behind_it(open.clone()));
            }
            Err(error
                .hint("To put the bundle in the place of the install that lives there, after a bundle of that one: --into-existing.")
                .hint("Else restore to another namespace with -n."))
        }
    }
}

async fn gather(ctx: &Ctx, system_identifier: &str) -> Result<ExistingFacts> {
    let (helm, cluster) = (ctx.helm().await?, ctx.cluster().await?);
    ctx.events.waiting("helm's and the database's answers", None);
    let mut newest = helm.newest(&ctx.install().release).await?;
    // It may quote a secret, and nothing is decided by it.
    newest.iter_mut().for_each(|newest| newest.description.clear());
    let database_name = ctx.settings_or_defaults()?.database.cluster.to_string();
    let databases = cluster.databases().await?;
    let primary = match the_one(&databases, &database_name) {
        Some(database) => primary(cluster, &database.name).await?,
        None => None,
    };
    let of_primary = primary.as_ref().map(|primary| primary.system_identifier.clone());
    let identifier = of_primary.unwrap_or_else(|| system_identifier.to_owned());
    let newest_bundle = newest_bundle(ctx, &identifier);
    let facts = ExistingFacts { newest, databases, database_name, primary, newest_bundle };
    recording::record("restore-existing", &facts)?;
    Ok(facts)
}

/// The database of the settings' name, else the only one.
fn the_one<'d>(databases: &'d [Database], name: &str) -> Option<&'d Database> {
    let only = || databases.first().filter(|_| databases.len() == 1);
    databases.iter().find(|database| database.name == name).or_else(only)
}

/// What the primary says. One that cannot be asked is what is to be replaced.
async fn primary(cluster: &Cluster, database: &str) -> Result<Option<ServingDatabase>> {
    let pod = match cluster.primary_pod(database).await {
        Err(ClusterError::NoPrimary { .. }) => return Ok(None),
        pod => pod?.metadata.name.unwrap_or_default(),
    };
    let asked = async {
        let system_identifier = cluster.database_facts(&pod).await?.system_identifier;
        let bytes = cluster.databases_size(&pod).await?;
        Ok::<_, CommandError>(ServingDatabase {
            system_identifier,
            bytes,
            free_bytes: cluster.volume_free(&pod).await?,
        })
    };
    Ok(asked.await.ok())
}

/// The newest bundle of the database in the store that opens; of a store that cannot be read, none is known.
fn newest_bundle(ctx: &Ctx, system_identifier: &str) -> Option<(String, Timestamp)> {
    let store = ctx.store().ok()?;
    let catalog = ctx.catalog(&*store).ok()?;
    let trust = ctx.trust(None, None, false).ok()?;
    catalog.entries.iter().find_map(|entry| {
        let header = entry.header.as_ref().ok()?;
        let of_it = header.postgresql.system_identifier == system_identifier;
        (of_it && entry.open(&*store, &trust).is_ok()).then(|| (entry.name.clone(), header.created))
    })
}

fn judge(facts: &ExistingFacts, install: &str, wants: &ExistingWants<'_>) -> Result<(ExistingInstall, Database)> {
    let newest = facts.newest.as_ref().ok_or_else(|| {
        CommandError::new(Exit::NotFound, format!("there is no Helm release of install {install} to be replaced"))
            .hint("Name another with --release or -n. What else stands in the namespace is not replaced.")
    })?;
    let database = the_one(&facts.databases, &facts.database_name).ok_or_else(|| no_database(facts, install))?;
    let name = &database.name;
    if database.is_replica_cluster() {
        let what = format!("database {name} is a replica of another cluster: what is restored into it is not kept");
        return Err(CommandError::new(Exit::Replica, what)
            .hint("Restore on the primary cluster: name its kubeconfig context with --context."));
    }
    if let Some(what) = database.own_wal_volume() {
        return Err(CommandError::new(Exit::Cluster, what)
            .hint(format!("Restore {name} by hand, as the bundle's README says, with values without walStorage.")));
    }
    gate::refuse_other_image(wants.postgres_major, database.image().unwrap_or_default())?;
    let primary = facts.primary.as_ref();
    if let Some(free) = primary.map(|primary| primary.free_bytes).filter(|free| *free < wants.bytes) {
        let (free, needed) = (text::bytes(free), text::bytes(wants.bytes));
        let what = format!(
            "the volume of database {name} has {free} free, and the bundle's database takes {needed} beside what is there"
        );
        return Err(CommandError::new(Exit::Space, what).hint(
            "Enlarge it: db.cnpg.storage.size in the values, `dr deploy`. The old data stays until the new is proved.",
        ));
    }
    let system_identifier =
        primary.map(|primary| primary.system_identifier.clone()).or_else(|| database.status.system_id.clone());
    let existing = ExistingInstall {
        data_only: false,
        revision: newest.revision,
        status: newest.status.word().to_owned(),
        chart: newest.chart.clone(),
        version: newest.app_version.clone(),
        state: database.line(),
        sleeps: database.is_hibernation_asked(),
        is_healthy: database.is_healthy(),
        is_same_line: system_identifier.as_deref() == Some(wants.system_identifier),
        system_identifier,
        bytes: primary.map(|primary| primary.bytes),
        newest_bundle: facts.newest_bundle.clone(),
        safety_store: None,
    };
    Ok((existing, database.clone()))
}

fn no_database(facts: &ExistingFacts, install: &str) -> CommandError {
    let names: Vec<&str> = facts.databases.iter().map(|database| database.name.as_str()).collect();
    let what = match names.as_slice() {
        [] => format!("install {install} has no database that could be replaced"),
        names => format!("install {install} has several databases: {}", names.join(", ")),
    };
    CommandError::new(Exit::NotFound, what).hint(
        "Set `database.cluster` to its name. Where it was deleted, make it anew first: `dr deploy -f values.yaml`.",
    )
}

/// The request with the version that the install runs, by its `values` or else its chart, as the one that is to run.
pub(super) fn under_what_runs(request: &RestoreRequest, existing: &ExistingInstall, values: &Value) -> RestoreRequest {
    let named = values["env"]["OPSCHAIN_VERSION"].as_str();
    let version = Some(named.unwrap_or(&existing.version).to_owned());
    RestoreRequest { version, ..request.clone() }
}

/// Where a bundle of what is there would go, once it is known that one can be made.
///
/// # Errors
/// Why none can be made.
async fn safety_store(ctx: &Ctx) -> Result<String> {
    let request = CreateRequest { quiesce: Some(Quiesce::Full), ..CreateRequest::default() };
    let plan = Box::pin(create::plan(ctx, &request)).await;
    plan.map(|plan| plan.store).map_err(no_safety_bundle)
}

/// The error of a bundle of what is there that could not be made.
pub(super) fn no_safety_bundle(error: CommandError) -> CommandError {
    error.context("no safety bundle can be made of what is there").hint(
        "What is there is lost for good without one. If it can be: --no-safety-bundle restores over it all the same.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> ExistingFacts {
        let revision = serde_json::json!({
            "revision": 4, "updated": "2026-08-20T10:15:00Z", "status": "deployed", "chart": "opschain-2026.8.20",
            "app_version": "2026-08-20",
        });
        let mut database = Database { name: "opschain-db".into(), ..Database::default() };
        database.status.image = Some("limepoint/opschain-db:17.5".into());
        ExistingFacts {
            newest: serde_json::from_value(revision).unwrap(),
            databases: vec![database],
            database_name: "opschain-db".into(),
            primary: Some(ServingDatabase { system_identifier: "7".into(), bytes: 9, free_bytes: 100 }),
            newest_bundle: None,
        }
    }

    fn judged(change: impl FnOnce(&mut ExistingFacts)) -> Result<ExistingInstall> {
        let mut facts = facts();
        change(&mut facts);
        let wants = ExistingWants { system_identifier: "7", postgres_major: 17, bytes: 100 };
        judge(&facts, "here/opschain", &wants).map(|(existing, _)| existing)
    }

    fn refused(exit: Exit, change: impl FnOnce(&mut ExistingFacts)) -> String {
        let error = judged(change).unwrap_err();
        assert_eq!(error.exit(), exit, "{error}");
        assert!(!error.hints().is_empty(), "{error}");
        error.message().to_owned()
    }

    #[test]
    fn what_is_there_is_told_with_whether_it_is_the_database_of_the_bundle() {
        let found = judged(|_| {}).unwrap();
        assert_eq!((found.revision, found.version.as_str(), found.bytes), (4, "2026-08-20", Some(9)));
        assert!(found.is_same_line);
        let other = judged(|facts| facts.primary.as_mut().unwrap().system_identifier = "8".into()).unwrap();
        assert_eq!((other.is_same_line, other.system_identifier.as_deref()), (false, Some("8")));
        let down = |facts: &mut ExistingFacts| {
            facts.primary = None;
            facts.databases[0].status.system_id = Some("7".into());
        };
        let down = judged(down).unwrap();
        assert_eq!((down.is_same_line, down.bytes), (true, None), "the operator still knows which it was");
    }

    #[test]
    fn an_install_that_cannot_be_replaced_is_refused_before_anything_is_touched() {
        let what = refused(Exit::NotFound, |facts| facts.newest = None);
        assert_eq!(what, "there is no Helm release of install here/opschain to be replaced");
        let what = refused(Exit::NotFound, |facts| facts.databases.clear());
        assert_eq!(what, "install here/opschain has no database that could be replaced");
        let two = |facts: &mut ExistingFacts| {
            facts.database_name = "other".into();
            facts.databases.push(Database { name: "second".into(), ..Database::default() });
        };
        assert_eq!(refused(Exit::NotFound, two), "install here/opschain has several databases: opschain-db, second");
        let follows = |facts: &mut ExistingFacts| {
            let replica = serde_json::json!({"enabled": true});
            facts.databases[0].spec.replica = serde_json::from_value(replica).unwrap();
        };
        assert!(refused(Exit::Replica, follows).contains("is a replica of another cluster"));
        let wal = |facts: &mut ExistingFacts| facts.databases[0].spec.wal_storage = Some(Default::default());
        assert!(refused(Exit::Cluster, wal).contains("walStorage"));
        let old = |facts: &mut ExistingFacts| facts.databases[0].status.image = Some("db:15.4".into());
        assert!(refused(Exit::Version, old).contains("is of PostgreSQL 15"));
    }

    #[test]
    fn both_databases_must_have_room_on_the_volume() {
        let full = |facts: &mut ExistingFacts| facts.primary.as_mut().unwrap().free_bytes = 99;
        let what = refused(Exit::Space, full);
        assert!(what.ends_with("takes 100 B beside what is there"), "{what}");
        assert!(judged(|facts| facts.primary = None).is_ok(), "what cannot be asked is looked at by the pod");
    }

    #[test]
    fn a_safety_bundle_that_cannot_be_made_says_why_and_how_to_go_on_without_it() {
        let error = no_safety_bundle(CommandError::new(Exit::Cluster, "database d is not healthy").hint("Fix it."));
        assert_eq!(error.message(), "no safety bundle can be made of what is there: database d is not healthy");
        assert!(error.hints().last().unwrap().contains("--no-safety-bundle"), "{:?}", error.hints());
    }
}
