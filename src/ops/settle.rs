//! A release that a killed helm has left pending, put right: what deploy and restore have in common.
//!
//! helm marks a revision pending before it applies anything, and deployed or failed after. Killed in between, it leaves
//! `pending-install` or `pending-upgrade` for ever, and every later helm refuses to begin. Taking that revision's record
//! away puts helm back to the revision before, which is still marked deployed, or to none at all; the objects that the
//! killed helm had made bear the release's marks, and the next helm takes them over.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Ctx, interrupted};
use crate::cluster::{Cluster, SecretVersion, Wait};
use crate::error::{CommandError, Exit, Result};
use crate::helm::Revision;
use crate::journal::StartedProgram;

/// How long nothing of a release may change before a helm that cannot be seen from here is taken for dead.
const ORPHAN_LIMIT: Duration = Duration::from_secs(60);

/// Waits while a helm of this host is at work on the release, for at most `limit`, and then removes the record of a
/// revision that a killed one has left pending. Returns that revision; `None` when nothing is pending, or helm has ended
/// after all.
///
/// Whoever calls holds the lease, so that no other `dr` is at work. `known` are the helms that a journal tells of.
/// `begun_here` says that nothing but this host can have begun the pending revision: then a helm that is not among its
/// processes is dead, unless it is `known` to be another host's. Else it is watched for a minute, and left alone when its
/// record or the pods of the namespace change. The record is removed only as it was read.
///
/// # Errors
/// [`Exit::Locked`] when helm is at work; the records are not in Secrets; helm or the cluster cannot be asked.
pub async fn settle_release(
    ctx: &Ctx,
    begun_here: bool,
    known: &[StartedProgram],
    limit: Duration,
) -> Result<Option<Revision>> {
    let (helm, release, events) = (ctx.helm().await?, &ctx.install().release, &ctx.events);
    // Before the record is looked for: a helm that has only just begun has none yet.
    wait_idle(ctx, known, limit).await?;
    let newest = helm.newest(release).await?;
    let Some(pending) = newest.filter(|revision| revision.status.is_pending()) else { return Ok(None) };
    require_secrets(std::env::var("HELM_DRIVER").ok().as_deref())?;
    let (cluster, name) = (ctx.cluster().await?, format!("sh.helm.release.v1.{release}.v{}", pending.revision));
    let traces = traces(cluster, &name).await?;
    let is_seen = begun_here && known.iter().all(|helm| helm.runs().is_some());
    if !is_seen && !stays(ctx, cluster, &name, &traces).await? {
        let newest = helm.newest(release).await?;
        if newest.is_some_and(|newest| newest.status.is_pending()) {
            let text = format!("a helm that is not seen from here is at work on release {release}: its pods change");
            return Err(CommandError::new(Exit::Locked, text).hint("Let it end; `helm history` shows how far it is."));
        }
        return Ok(None);
    }
    let Some(record) = traces.record else { return Ok(None) };
    cluster.delete_secret_version(&name, &record).await?;
    let (revision, word) = (pending.revision, pending.status.word());
    let text = format!(
        "revision {revision} of release {release} is stuck as {word} (helm was killed): its record was removed"
    );
    events.warn(text, None);
    Ok(Some(pending))
}

/// What a helm that works leaves: its record, and the pods that it makes or removes.
#[derive(PartialEq, Eq)]
struct Traces {
    record: Option<SecretVersion>,
    pods: BTreeSet<Option<String>>,
}

async fn traces(cluster: &Cluster, record: &str) -> Result<Traces> {
    let pods = cluster.pods(None).await?.into_iter().map(|pod| pod.metadata.uid).collect();
    Ok(Traces { record: cluster.secret_version(record).await?, pods })
}

/// Whether nothing changes for a minute.
async fn stays(ctx: &Ctx, cluster: &Cluster, record: &str, before: &Traces) -> Result<bool> {
    let mut wait = Wait::new("a helm elsewhere to show itself", ORPHAN_LIMIT, &ctx.events).within(cluster.namespace());
    loop {
        let seen = Some("nothing changes".to_owned());
        let waited = tokio::select! {
            waited = wait.not_yet(seen) => waited,
            () = ctx.cancel.cancelled() => return Err(interrupted()),
        };
        if waited.is_err() {
            return Ok(true);
        }
        if traces(cluster, record).await? != *before {
            return Ok(false);
        }
    }
}

/// helm keeps its records elsewhere where it is told so; what is removed here is a Secret.
fn require_secrets(driver: Option<&str>) -> Result<()> {
    match driver {
        None | Some("" | "secret" | "secrets") => Ok(()),
        Some(other) => {
            Err(CommandError::new(Exit::Helm, format!("HELM_DRIVER is {other}: helm's records are not in Secrets"))
                .hint("Remove the pending revision's record by hand there, once no helm is at work on it."))
        }
    }
}

/// Waits while a helm of this host is at work on the release: one of its processes that says so, or one that is `known`.
///
/// # Errors
/// [`Exit::Locked`] when it is for longer than `limit`.
pub async fn wait_idle(ctx: &Ctx, known: &[StartedProgram], limit: Duration) -> Result<()> {
    let (helm, release) = (ctx.helm().await?, &ctx.install().release);
    let mut wait = Wait::new("an earlier helm to end", limit, &ctx.events);
    let of_known = || known.iter().find(|helm| helm.runs() == Some(true)).map(|helm| helm.pid);
    while let Some(process) = of_known().or_else(|| helm.at_work(release).first().copied()) {
        let waited = tokio::select! {
            waited = wait.not_yet(Some(format!("process {process}"))) => waited,
            () = ctx.cancel.cancelled() => return Err(interrupted()),
        };
        if waited.is_err() {
            let text = format!("helm is at work on release {release}: process {process} of this host");
            return Err(CommandError::new(Exit::Locked, text)
                .hint(format!("Let it end. Or `kill {process}`: it then marks the revision as failed.")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_that_are_not_secrets_are_not_touched() {
        for driver in [None, Some(""), Some("secret"), Some("secrets")] {
            assert!(require_secrets(driver).is_ok(), "{driver:?}");
        }
        for driver in ["configmap", "memory", "sql"] {
            assert_eq!(require_secrets(Some(driver)).unwrap_err().exit(), Exit::Helm, "{driver}");
        }
    }
}
