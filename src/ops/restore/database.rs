//! The database that is being restored, and what needs it.

use std::time::Duration;

use super::proof::StandbyFacts;
use super::work::RestoreWork;
use crate::cluster::database::{CLUSTER_LABEL, POSTGRES_CONTAINER};
use crate::cluster::{Cluster, Wait, WorkloadKind};
use crate::error::{CommandError, Result};
use crate::ops::helper::POD_LIMIT;
use crate::opschain::workloads::{Names, STAY_CONNECTED};

/// How long the operator may take to make a database and put it to sleep, or to wake it.
pub(super) const DATABASE_LIMIT: Duration = Duration::from_secs(900);
/// How long a standby that is ready may take to follow.
const FOLLOW_LIMIT: Duration = Duration::from_secs(60);
/// How long looking at every table of a database may take: a sample is read of each.
const ANALYZE_LIMIT: Duration = Duration::from_secs(1800);
/// How long removing a data folder may take.
const REMOVE_LIMIT: Duration = Duration::from_secs(300);

/// Stops the secret vault, which cannot live without the database. Returns its name, where the release has one.
///
/// # Errors
/// It may not be scaled, or its pods are not gone in time.
pub(super) async fn stop_vault(work: &RestoreWork) -> Result<Option<String>> {
    let (cluster, name) = (work.ctx.cluster().await?, Names::default().vault());
    let Some(vault) = cluster.stateful_set(&name).await? else { return Ok(None) };
    cluster.scale(WorkloadKind::StatefulSet, &name, 0).await?;
    cluster.wait_pods_gone(&vault.selector, POD_LIMIT, &work.ctx.events).await?;
    Ok(Some(name))
}

/// Has the pods of what stays connected to the database made anew where they are older than its primary: a connection of
/// theirs may still be to the one that was there before, and nobody else ends it. What cannot be is warned of, with the way.
pub(super) async fn renew_clients(work: &RestoreWork) {
    let events = &work.ctx.events;
    let renewed = async {
        let cluster = work.ctx.cluster().await?;
        let primary = cluster.primary_pod(&work.plan.database).await?;
        let Some(since) = primary.metadata.creation_timestamp else { return Ok(Vec::new()) };
        Ok::<_, CommandError>(cluster.renew_pods(STAY_CONNECTED, &since, POD_LIMIT, events).await?)
    };
    match renewed.await {
        Ok(pods) if pods.is_empty() => {}
        Ok(pods) => events.note(format!("made anew, to connect to this database: {}", pods.join(", "))),
        Err(error) => {
            let names = STAY_CONNECTED.join(" and ");
            let text = format!("{names} may still be connected to the database that was there before: {error}");
            let way = format!("Delete their pods, others are made: `kubectl -n {} get pods`.", work.plan.namespace);
            events.warn(text, Some(way));
        }
    }
}

/// The instances beside the primary, once all are there and follow it: the operator calls one ready before it does.
///
/// # Errors
/// The database cannot be asked. Not that some are missing: [`super::proof::standbys`] says so.
pub(super) async fn standbys(work: &RestoreWork, primary: &str) -> Result<Vec<StandbyFacts>> {
    let (cluster, database) = (work.ctx.cluster().await?, work.database().await?);
    let labels = format!("{CLUSTER_LABEL}={},cnpg.io/podRole=instance", work.plan.database);
    let mut wait = Wait::new("the other instances to follow the primary", FOLLOW_LIMIT, &work.ctx.events)
        .within(cluster.namespace());
    loop {
        let streaming = cluster.streaming_standbys(primary).await?;
        let pods = cluster.pod_states(Some(&labels)).await?;
        let others = pods.into_iter().filter(|pod| pod.name != primary && pod.ready).map(|pod| pod.name);
        let mut seen = Vec::new();
        for pod in others {
            let facts = cluster.database_facts(&pod).await?;
            seen.push(StandbyFacts { streaming: streaming.contains(&pod), pod, facts });
        }
        let all = seen.len() + 1 == usize::try_from(database.spec.instances).unwrap_or_default();
        let foreign = seen.iter().any(|one| one.facts.system_identifier != work.plan.system_identifier);
        if foreign || (all && seen.iter().all(|one| one.streaming)) || wait.not_yet(None).await.is_err() {
            return Ok(seen);
        }
    }
}

/// Has PostgreSQL look at every table anew: what autovacuum and the planner count by is not in a copy of the files.
/// Returns the databases.
///
/// # Errors
/// The pod cannot be asked, or PostgreSQL's own words.
pub(super) async fn analyze(cluster: &Cluster, primary: &str) -> Result<Vec<String>> {
    let statement = "SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate ORDER BY 1";
    let rows = cluster.psql(primary, "postgres", "name its databases", statement).await?;
    let databases: Vec<String> = rows.into_iter().flatten().collect();
    for database in &databases {
        let name = format!("--dbname={database}");
        let command = ["psql", "-Xq", "-U", "postgres", name.as_str(), "-c", "ANALYZE"];
        cluster.exec_ok(primary, POSTGRES_CONTAINER, &command, None, ANALYZE_LIMIT).await?;
    }
    Ok(databases)
}

/// Data folders that the operator has moved aside on the database's volume: the sign of a second initdb.
///
/// # Errors
/// The pod cannot be asked.
pub(super) async fn renamed_data_folders(cluster: &Cluster, primary: &str) -> Result<Vec<String>> {
    let statement = "SELECT d FROM pg_ls_dir(regexp_replace(current_setting('data_directory'), '/[^/]*$', '')) d WHERE d ~ '^pgdata_'";
    let rows = cluster.psql(primary, "postgres", "list what is beside its data folder", statement).await?;
    Ok(rows.into_iter().flatten().collect())
}

/// Removes what a restore kept beside the data folder until the running database was proved: from inside its own pod, for
/// nothing else may mount the volume any more. Returns what was there.
///
/// # Errors
/// The pod cannot be asked.
pub(super) async fn remove_kept_folders(cluster: &Cluster, primary: &str, run: &str) -> Result<Vec<String>> {
    // The run's id is letters, digits and hyphens of our own making.
    let script = format!(
        "cd /var/lib/postgresql/data && for f in dr-*{run}*; do [ -e \"$f\" ] || continue; rm -rf -- \"$f\" && echo \"$f\"; done; echo removed"
    );
    let said = cluster.exec_ok(primary, POSTGRES_CONTAINER, &["/bin/sh", "-c", &script], None, REMOVE_LIMIT).await?;
    let text = String::from_utf8_lossy(&said);
    Ok(text.lines().filter(|line| *line != "removed").map(str::to_owned).collect())
}
