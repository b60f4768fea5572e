//! Looking at a live install, before anything is touched.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::Ctx;
use super::create::{Named, VaultedConfig, live_deployment, preserved, stored_digest};
use super::quiesce::{self, Recorded};
use super::release::{self, Release};
use crate::bundle::{OpsChain, OutOfScope, PostgreSql};
use crate::cluster::database::POSTGRES_CONTAINER;
use crate::cluster::{Cluster, Database};
use crate::crypt::Recipients;
use crate::error::{CommandError, Exit, Result};
use crate::helm::Helm;
use crate::opschain::scope as opschain_scope;
use crate::opschain::version::Version;
use crate::opschain::workloads::WORKING_PODS;
use crate::settings::{Install, Quiesce, Settings};
use crate::vault::Deployment;

/// How long removing a data folder may take.
const REMOVE_LIMIT: Duration = Duration::from_secs(300);

/// A live install as it was found. Holds no secret.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Live {
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
    pub replicas: Recorded,
    /// Pods of changes, steps and agents that are at work.
    pub working: Vec<String>,
    /// Whether the install runs its own LDAP server.
    pub own_ldap: bool,
    /// Things that may hurt later.
    pub warnings: Vec<String>,
}

impl Live {
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

/// Looks at database, release, vault and workloads.
///
/// # Errors
/// The first thing for which a bundle would be worthless: a replica cluster, a database that is not healthy, a release
/// that the vault does not know or that differs from it.
pub async fn look(ctx: &Ctx) -> Result<Live> {
    let cluster = ctx.cluster().await?;
    let database = primary_database(ctx.settings()?, cluster).await?;
    let operator = cluster.operator().await?;
    let primary = cluster.primary_pod(&database.name).await?.metadata.name.unwrap_or_default();
    let facts = cluster.database_facts(&primary).await?;
    if facts.in_recovery {
        return Err(replica(&database.name));
    }
    let (deployment, revision, values) = recognised(ctx).await?;
    let replicas = quiesce::read(cluster).await?;
    let working = cluster.working_pods(WORKING_PODS).await?;
    Ok(Live {
        database_image: database.image().unwrap_or_default().to_owned(),
        pull_secrets: database.spec.image_pull_secrets.iter().map(|secret| secret.name.clone()).collect(),
        database_uid: database.uid.clone(),
        databases_bytes: cluster.databases_size(&primary).await?,
        system_identifier: facts.system_identifier,
        server_version: facts.version_number,
        opschain_version: opschain_version(&deployment)?,
        chart: format!("{}-{}", deployment.record.chart.name, deployment.record.chart.version),
        chart_version: deployment.record.chart.version.clone(),
        revision,
        deployment: deployment.id().to_string(),
        operator: operator.and_then(|operator| operator.version),
        working: working.into_iter().map(|pod| pod.name).collect(),
        own_ldap: values.pointer("/ldap/enabled").and_then(serde_json::Value::as_bool).unwrap_or(true),
        warnings: keepers(cluster).await?,
        primary,
        replicas,
    })
}

/// The database of the settings: there, healthy, and the primary.
async fn primary_database(settings: &Settings, cluster: &Cluster) -> Result<Database> {
    let name = &settings.database.cluster;
    let database = cluster.database(name).await?.ok_or_else(|| {
        CommandError::new(Exit::NotFound, format!("there is no database {name} in namespace {}", cluster.namespace()))
            .hint("Is this the namespace of the install? Name another with -n, or set `database.cluster`.")
    })?;
    if database.is_replica_cluster() {
        return Err(replica(name));
    }
    if !database.is_healthy() {
        return Err(CommandError::new(Exit::Cluster, format!("database {name} is not healthy: {}", database.line()))
            .hint(format!("Mend it first: `kubectl describe cluster {name} -n {}`.", cluster.namespace())));
    }
    Ok(database)
}

fn replica(name: &str) -> CommandError {
    CommandError::new(
        Exit::Replica,
        format!("database {name} is a replica of another cluster: its backup could not be restored"),
    )
    .hint("Make the bundle on the primary cluster: name its kubeconfig context with --context.")
}

/// The deployment that is live, its revision, and what Helm has stored of its values. No key is needed.
async fn recognised(ctx: &Ctx) -> Result<(Deployment, u32, serde_json::Value)> {
    let Install { namespace, release, .. } = ctx.install();
    let helm = ctx.helm().await?;
    let known = ctx.vault()?.deployments(&ctx.vault_install())?;
    let newest = helm.newest(release).await?;
    let (live, revision) = live_deployment(&Named { release, namespace }, newest.as_ref(), &known)?;
    let stored = stored_values(helm, release, revision).await?;
    stored_digest(live, &stored)?;
    Ok((live.clone(), revision, stored))
}

async fn stored_values(helm: &Helm, release: &str, revision: u32) -> Result<serde_json::Value> {
    // A release that went meanwhile has none.
    Ok(helm.get_values(release, Some(revision)).await?.unwrap_or_default())
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
async fn keepers(cluster: &Cluster) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    for (scaler, target) in cluster.autoscalers(&quiesce::WRITERS).await? {
        warnings.push(format!(
            "autoscaler {scaler} keeps the replicas of {target}, and may start it again while it is stopped"
        ));
    }
    for name in quiesce::WRITERS {
        if let Some(tool) = cluster.deployment(name).await?.and_then(|workload| workload.gitops()) {
            warnings.push(format!("{tool} looks after {name}, and may start it again while it is stopped"));
        }
    }
    Ok(warnings)
}

/// Running work would be in the bundle half done.
///
/// # Errors
/// [`Exit::Busy`] naming the pods, unless the bundle is made without holding still: then it is a warning.
pub fn refuse_running_work(live: &Live, quiesce: Quiesce, warnings: &mut Vec<String>) -> Result<()> {
    if live.working.is_empty() {
        return Ok(());
    }
    let what = format!(
        "{} at work: {}",
        if live.working.len() == 1 { "a pod is" } else { "pods are" },
        live.working.join(", ")
    );
    if quiesce == Quiesce::None {
        warnings.push(format!("{what}; the bundle will hold that work half done"));
        return Ok(());
    }
    Err(CommandError::new(Exit::Busy, what)
        .hint("Wait until changes, steps and agents have ended; or take the state as it is with --quiesce none."))
}

/// What a bundle of this install does not hold.
pub fn scope(quiesce: Quiesce, live: &Live) -> Vec<OutOfScope> {
    let install = opschain_scope::Install {
        own_ldap: live.own_ldap,
        agents: live.working.iter().any(|name| name.starts_with("opschain-agent-")),
        work: live.working.iter().any(|name| !name.starts_with("opschain-agent-")),
        not_quiesced: quiesce == Quiesce::None,
        ..opschain_scope::Install::default()
    };
    opschain_scope::left_out(install)
        .into_iter()
        .map(|left| OutOfScope { what: left.what, why: left.why, whereabouts: left.after })
        .collect()
}

/// The config that goes into a bundle, in memory only.
pub struct Config {
    /// What the vault has sealed.
    pub(in crate::ops) vaulted: VaultedConfig,
    /// The release.
    pub release: Release,
    /// `config/secrets.yaml`.
    pub secrets: Zeroizing<Vec<u8>>,
    /// How many Secrets and ConfigMaps are in it.
    pub kept: usize,
}

/// Gathers the config of a live install. No key is needed.
///
/// # Errors
/// Something else is live by now; the vault has no chart, or has sealed it to others; Secrets may not be read.
pub async fn config(ctx: &Ctx, live: &Live, recipients: &Recipients) -> Result<Config> {
    let (vault, cluster) = (ctx.vault()?, ctx.cluster().await?);
    let deployment = vault.resolve(&ctx.vault_install(), &live.deployment)?;
    let helm = ctx.helm().await?;
    let stored = stored_values(helm, &ctx.install().release, live.revision).await?;
    let vaulted = VaultedConfig::gather(vault, &deployment, &stored, recipients)?;
    let kept = cluster.kept(&preserved(&stored)).await?;
    let release = Release {
        release: ctx.install().release.clone(),
        namespace: ctx.install().namespace.clone(),
        revision: live.revision,
        chart: live.chart.clone(),
        chart_sha256: deployment.record.chart_archive.as_ref().map(|sealed| sealed.sha256.clone()).unwrap_or_default(),
        deployment: live.deployment.clone(),
        images: cluster.running_images().await?,
        replicas: live.replicas.clone(),
        database_image: live.database_image.clone(),
        operator: live.operator.clone(),
        kubernetes: cluster.server_version().to_owned(),
        helm: helm.version().to_string(),
        sealed_layers: vaulted.layers(),
        layers: Vec::new(),
    };
    Ok(Config { secrets: release::secrets_to_bytes(&kept)?, kept: kept.len(), vaulted, release })
}

/// The operator's version, if the cluster has one that is ready.
///
/// # Errors
/// [`Exit::Operator`] when it is missing, not ready, or its webhook does not answer.
pub async fn operator(cluster: &Cluster) -> Result<String> {
    let missing = |what: String| {
        CommandError::new(Exit::Operator, what)
            .hint("OpsChain's database needs the CloudNativePG operator: `kubectl apply --server-side -f` its manifest of the version that OpsChain ships, and try again.")
    };
    if !cluster.knows_databases().await? {
        return Err(missing("the cluster has no CloudNativePG operator".into()));
    }
    let operator =
        cluster.operator().await?.ok_or_else(|| missing("the CloudNativePG operator is not running".into()))?;
    if !operator.is_ready() {
        return Err(missing(format!("operator {} in namespace {} is not ready", operator.name, operator.namespace)));
    }
    cluster.check_operator_webhook().await?;
    Ok(operator.version.unwrap_or(operator.image))
}

/// Data folders that the operator has moved aside on the database's volume: the sign of a second initdb.
///
/// # Errors
/// The pod cannot be asked.
pub async fn renamed_data_folders(cluster: &Cluster, primary: &str) -> Result<Vec<String>> {
    let statement = "SELECT d FROM pg_ls_dir(regexp_replace(current_setting('data_directory'), '/[^/]*$', '')) d WHERE d ~ '^pgdata_'";
    let rows = cluster.psql(primary, "postgres", "list what is beside its data folder", statement).await?;
    Ok(rows.into_iter().flatten().collect())
}

/// Removes what a restore kept beside the data folder until the running database was proved: from inside the
/// database's own pod, for nothing else may mount the volume any more. Returns what was there.
///
/// # Errors
/// The pod cannot be asked.
pub async fn remove_kept_folders(cluster: &Cluster, primary: &str, run: &str) -> Result<Vec<String>> {
    // The run's id is letters, digits and hyphens of our own making.
    let script = format!(
        "cd /var/lib/postgresql/data && for f in dr-*{run}*; do [ -e \"$f\" ] || continue; rm -rf -- \"$f\" && echo \"$f\"; done; echo removed"
    );
    let said =
        cluster.exec_ok(primary, Some(POSTGRES_CONTAINER), &["/bin/sh", "-c", &script], None, REMOVE_LIMIT).await?;
    let text = String::from_utf8_lossy(&said);
    Ok(text.lines().filter(|line| *line != "removed").map(str::to_owned).collect())
}
