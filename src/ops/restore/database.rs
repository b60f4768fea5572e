//! The database that is being restored, and what needs it.

use std::time::Duration;

use super::work::RestoreWork;
use crate::cluster::database::POSTGRES_CONTAINER;
use crate::cluster::{Cluster, WorkloadKind};
use crate::error::Result;
use crate::ops::helper::POD_LIMIT;
use crate::opschain::workloads::Names;

/// How long the operator may take to make a database and put it to sleep, or to wake it.
pub(super) const DATABASE_LIMIT: Duration = Duration::from_secs(900);
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
    let said =
        cluster.exec_ok(primary, Some(POSTGRES_CONTAINER), &["/bin/sh", "-c", &script], None, REMOVE_LIMIT).await?;
    let text = String::from_utf8_lossy(&said);
    Ok(text.lines().filter(|line| *line != "removed").map(str::to_owned).collect())
}
