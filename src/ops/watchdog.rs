//! What the watchdog in a helper pod does: it puts the application back when nobody has been heard of.
//!
//! It goes by the marks on the two Deployments, which are all that it may read, and takes nothing from anybody: who has
//! marked them since is left alone, and so is an application that runs.

use std::time::Duration;

use super::quiesce;
use crate::cluster::Cluster;
use crate::error::{CommandError, Exit, Result};

/// How long the API server may take to answer before the pod counts as cut off from it.
const ANSWER: Duration = Duration::from_secs(8);

/// Whether a watchdog in this pod could act: the API server answers, and lets it read.
///
/// # Errors
/// Why not.
pub async fn check(namespace: &str) -> Result<()> {
    let looked = async {
        let cluster = Cluster::connect(None, namespace).await?;
        quiesce::read(&cluster).await.map(drop)
    };
    let silent = || CommandError::new(Exit::Timeout, format!("the API server was silent for {} s", ANSWER.as_secs()));
    tokio::time::timeout(ANSWER, looked).await.unwrap_or_else(|_| Err(silent()))
}

/// Puts back what the run has stopped, and says what was done.
///
/// # Errors
/// The API server cannot be reached, or does not allow it: it is to be tried again.
pub async fn put_back(namespace: &str, run: &str) -> Result<String> {
    let cluster = Cluster::connect(None, namespace).await?;
    let writers = quiesce::plan_return(&cluster, None, run, false).await?;
    quiesce::bring_back(&cluster, &writers, run).await?;
    let stays =
        if writers.is_empty() { "" } else { "; maintenance mode, where it was turned on, stays until `dr run resume`" };
    Ok(format!("run {run} is silent: {}{stays}", quiesce::returned(&writers)))
}
