//! What a bundle will be, or why there can be none. Nothing here asks anybody.

use serde::{Deserialize, Serialize};

use super::facts::{CreateFacts, PrimaryFacts, StoredFacts};
use super::recognise;
use crate::bundle::{OpsChain, OutOfScope, PostgreSql};
use crate::cluster::Database;
use crate::error::{CommandError, Exit, Result};
use crate::ops::quiesce::{self, RecordedReplicas};
use crate::opschain::Version;
use crate::opschain::scope::{ScopeFacts, left_out};
use crate::settings::Quiesce;
use crate::text::bytes;
use crate::vault::Deployment;

/// What the user asked for.
#[derive(Debug, Clone, Default)]
pub struct CreateRequest {
    /// How the application is quiesced, if not as the settings say.
    pub quiesce: Option<Quiesce>,
    /// The most that PostgreSQL may read a second, if not as the settings say.
    pub max_rate: Option<String>,
}

/// What will be done, and what was seen of the install. Holds no secret: it stands in the journal.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CreatePlan {
    /// How the application is quiesced.
    pub quiesce: Quiesce,
    /// The most that PostgreSQL may read a second.
    pub max_rate: Option<String>,
    /// The install as it was found.
    pub live: LiveInstall,
    /// Where the bundle goes.
    pub store: String,
    /// Room in the store in bytes, where it is known.
    pub store_free: Option<u64>,
    /// Whom it is sealed to.
    pub recipients: Vec<String>,
    /// What it will not hold.
    pub scope: Vec<OutOfScope>,
    /// Things that may hurt later.
    pub warnings: Vec<String>,
}

/// A live install as it was found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LiveInstall {
    /// The database's primary pod.
    pub primary: String,
    /// The image that the database runs, which the helper pod runs too.
    pub database_image: String,
    /// The Secrets to pull it with.
    pub pull_secrets: Vec<String>,
    /// The uid of the database's Cluster object.
    pub database_uid: String,
    /// Bytes of all its databases.
    pub databases_bytes: u64,
    /// PostgreSQL's system identifier.
    pub system_identifier: String,
    /// Such as 150020.
    pub server_version: u32,
    /// The OpsChain version, such as `2026-08-20`.
    pub opschain_version: String,
    /// The chart with its version, such as `opschain-2026.8.20`.
    pub chart: String,
    /// The chart's version.
    pub chart_version: String,
    /// The Helm release's revision.
    pub revision: u32,
    /// The deployment's id in the config vault.
    pub deployment: String,
    /// The operator's version.
    pub operator: Option<String>,
    /// The writers and their replicas.
    pub replicas: RecordedReplicas,
}

impl LiveInstall {
    /// As a bundle's header has it.
    pub fn opschain(&self) -> OpsChain {
        OpsChain { version: self.opschain_version.clone(), chart_version: self.chart_version.clone() }
    }

    /// As a bundle's header has it.
    pub fn postgresql(&self) -> PostgreSql {
        let (major, minor) = (self.server_version / 10_000, self.server_version % 10_000);
        PostgreSql { major, version: format!("{major}.{minor}"), system_identifier: self.system_identifier.clone() }
    }
}

/// Decides.
///
/// # Errors
/// The first thing that would make the bundle worthless or stop it half way, with its own exit code.
pub(super) fn decide(request: &CreateRequest, facts: CreateFacts) -> Result<CreatePlan> {
    let quiesce = request.quiesce.unwrap_or(facts.quiesce);
    let (database, primary) = serving_database(&facts)?;
    let (deployment, revision, stored) = live_deployment(&facts)?;
    quiesce::require_all(&facts.writers, &facts.namespace)?;
    let chart = &deployment.record.chart;
    let live = LiveInstall {
        primary: primary.pod.clone(),
        database_image: database.image().unwrap_or_default().to_owned(),
        pull_secrets: database.spec.image_pull_secrets.iter().map(|secret| secret.name.clone()).collect(),
        database_uid: database.uid.clone(),
        databases_bytes: primary.databases_bytes,
        system_identifier: primary.facts.system_identifier.clone(),
        server_version: primary.facts.version_number,
        opschain_version: opschain_version(deployment)?,
        chart: format!("{}-{}", chart.name, chart.version),
        chart_version: chart.version.clone(),
        revision,
        deployment: deployment.id().to_string(),
        operator: facts.operator.clone(),
        replicas: RecordedReplicas::of(&facts.writers),
    };
    let mut warnings = scaled_by_others(&facts);
    warnings.extend(running_work(&facts.working, quiesce)?);
    if facts.recipients.len() < 2 {
        warnings.push("sealed to one recipient only: if that key is lost, nobody can open the bundle".into());
    }
    enough_room(&facts, primary.databases_bytes)?;
    Ok(CreatePlan {
        quiesce,
        max_rate: request.max_rate.clone().or_else(|| facts.max_rate.clone()),
        scope: scope(&facts, stored, quiesce),
        live,
        store: facts.store,
        store_free: facts.store_free,
        recipients: facts.recipients,
        warnings,
    })
}

/// The database of the settings: there, healthy, and the primary of its own cluster.
fn serving_database(facts: &CreateFacts) -> Result<(&Database, &PrimaryFacts)> {
    let (name, namespace) = (&facts.database_name, &facts.namespace);
    let database = facts.database.as_ref().ok_or_else(|| {
        CommandError::new(Exit::NotFound, format!("there is no database {name} in namespace {namespace}"))
            .hint("Is this the namespace of the install? Name another with -n, or set `database.cluster`.")
    })?;
    let replica = || {
        let what = format!("database {name} is a replica of another cluster: its backup could not be restored");
        CommandError::new(Exit::Replica, what)
            .hint("Make the bundle on the primary cluster: name its kubeconfig context with --context.")
    };
    if database.is_replica_cluster() {
        return Err(replica());
    }
    let Some(primary) = facts.primary.as_ref().filter(|_| database.is_healthy()) else {
        return Err(CommandError::new(Exit::Cluster, format!("database {name} is not healthy: {}", database.line()))
            .hint(format!("Fix it first: `kubectl describe cluster {name} -n {namespace}`.")));
    };
    if primary.facts.in_recovery { Err(replica()) } else { Ok((database, primary)) }
}

/// The deployment that is live, and its revision. Anything else than a deployed revision would not start again, and
/// anything else than what was deployed would not open the data.
fn live_deployment(facts: &CreateFacts) -> Result<(&Deployment, u32, &StoredFacts)> {
    let CreateFacts { release, namespace, .. } = facts;
    let (Some(newest), Some(stored)) = (&facts.newest, &facts.stored) else {
        let what = format!("there is no Helm release {release} in namespace {namespace}");
        return Err(CommandError::new(Exit::NotFound, what)
            .hint("Name another with --release or -n, or deploy first: `dr deploy -f values.yaml --version V`."));
    };
    if !newest.status.is_deployed() {
        let what = format!("Helm release {release} is {}, not deployed", newest.status.word());
        return Err(
            CommandError::new(Exit::Helm, what).hint("Bring the release into order first: `dr deploy -f values.yaml`.")
        );
    }
    let deployment = facts.deployment.as_ref().ok_or_else(|| {
        recognise::drift(format!(
            "revision {} of release {release} is not in the config vault: it was not deployed by dr",
            newest.revision
        ))
    })?;
    recognise::refuse_other_values(deployment, &stored.sha256)?;
    Ok((deployment, newest.revision, stored))
}

fn opschain_version(deployment: &Deployment) -> Result<String> {
    let recorded = deployment.record.opschain_version.as_ref().or(deployment.record.chart.app_version.as_ref());
    let text = recorded.unwrap_or(&deployment.record.chart.version);
    let version: Version = text.parse().map_err(|e| {
        CommandError::new(Exit::Version, format!("deployment {} has no OpsChain version", deployment.id())).because(e)
    })?;
    Ok(version.tag())
}

/// Whoever would scale the writers back while they are stopped.
fn scaled_by_others(facts: &CreateFacts) -> Vec<String> {
    let scalers = facts.autoscalers.iter().map(|(scaler, target)| {
        format!("autoscaler {scaler} keeps the replicas of {target}, and may start it again while it is stopped")
    });
    let tools = facts.writers.iter().filter_map(|writer| {
        let tool = writer.gitops.as_ref()?;
        Some(format!("{tool} looks after {}, and may start it again while it is stopped", writer.name))
    });
    scalers.chain(tools).collect()
}

/// Running work would be in the bundle half done: refused, unless the bundle is made without quiescing.
fn running_work(working: &[String], quiesce: Quiesce) -> Result<Option<String>> {
    if working.is_empty() {
        return Ok(None);
    }
    let what = format!("{} at work: {}", if working.len() == 1 { "a pod is" } else { "pods are" }, working.join(", "));
    if quiesce == Quiesce::None {
        return Ok(Some(format!("{what}; the bundle will hold that work half done")));
    }
    Err(CommandError::new(Exit::Busy, what)
        .hint("Wait until changes, steps and agents have ended; or take the state as it is with --quiesce none."))
}

/// Noise does not compress: a database may take as much room sealed as it takes now, and a little more.
fn enough_room(facts: &CreateFacts, database: u64) -> Result<()> {
    match facts.store_free {
        Some(free) if free < database + database / 10 => Err(CommandError::new(
            Exit::Space,
            format!("store {} has {} free, and the database alone has {}", facts.store, bytes(free), bytes(database)),
        )
        .hint("Free room there, or set `store.path` to another disk.")),
        _ => Ok(()),
    }
}

/// What a bundle of this install does not hold.
fn scope(facts: &CreateFacts, stored: &StoredFacts, quiesce: Quiesce) -> Vec<OutOfScope> {
    let is_agent = |name: &&String| name.starts_with("opschain-agent-");
    let seen = ScopeFacts {
        own_ldap: stored.own_ldap,
        external_vault: stored.external_vault,
        agents: facts.working.iter().any(|name| is_agent(&name)),
        work: !facts.working.iter().all(|name| is_agent(&name)),
        replicas: stored.replica_sites || !facts.replica_databases.is_empty(),
        not_quiesced: quiesce == Quiesce::None,
    };
    let item =
        |left: crate::opschain::scope::LeftOut| OutOfScope { what: left.what, why: left.why, whereabouts: left.after };
    left_out(seen).into_iter().map(item).collect()
}
