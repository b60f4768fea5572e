//! A release that a killed helm has left pending, put right: what deploy and restore have in common.
//!
//! helm marks a revision pending before it applies anything, and deployed or failed after. Killed in between, it leaves
//! `pending-install` or `pending-upgrade` for ever, and every later helm refuses to begin. Taking that revision's record
//! away puts helm back to the revision before, which is still marked deployed, or to none at all; the objects that the
//! killed helm had made bear the release's marks, and the next helm takes them over.

use std::time::Duration;

use super::Ctx;
use crate::cluster::Wait;
use crate::error::{CommandError, Exit, Result};
use crate::helm::Revision;

/// How long a helm whose `dr` was killed may go on before its release is taken for dead.
const ORPHAN_LIMIT: Duration = Duration::from_secs(60);

/// Waits while a helm may be at work on the release, and then removes the record of a revision that it has left
/// pending. Returns that revision; `None` when nothing is pending, or helm has ended after all.
///
/// Whoever calls holds the lease, so that no other `dr` is at work. `begun_here` says that the pending revision was
/// begun on this host: then a helm that is not among its processes is dead, and not waited for.
///
/// # Errors
/// [`Exit::Locked`] when a helm of this host works on it for longer than a minute; helm or the cluster cannot be asked.
pub async fn settle_release(ctx: &Ctx, begun_here: bool) -> Result<Option<Revision>> {
    let (helm, release, events) = (ctx.helm().await?, &ctx.install().release, &ctx.events);
    let mut wait = Wait::new("an earlier helm to end", ORPHAN_LIMIT, events);
    loop {
        let newest = helm.newest(release).await?;
        let Some(pending) = newest.filter(|revision| revision.status.is_pending()) else { return Ok(None) };
        let at_work = helm.at_work(release);
        if !(begun_here && at_work.is_empty()) {
            let seen = match at_work.first() {
                Some(process) => format!("{}, process {process}", pending.status.word()),
                None => pending.status.word().to_owned(),
            };
            if wait.not_yet(Some(seen)).await.is_ok() {
                continue;
            }
        }
        if let Some(process) = at_work.first() {
            return Err(self::at_work(release, *process));
        }
        ctx.cluster().await?.delete_secret(&format!("sh.helm.release.v1.{release}.v{}", pending.revision)).await?;
        events.warn(
            format!(
                "revision {} of release {release} is stuck as {} (helm was killed): its record was removed",
                pending.revision,
                pending.status.word()
            ),
            None,
        );
        return Ok(Some(pending));
    }
}

/// Waits while a helm of this host is at work on the release.
///
/// # Errors
/// [`Exit::Locked`] when it is for longer than a minute.
pub async fn wait_idle(ctx: &Ctx) -> Result<()> {
    let (helm, release) = (ctx.helm().await?, &ctx.install().release);
    let mut wait = Wait::new("an earlier helm to end", ORPHAN_LIMIT, &ctx.events);
    while let Some(process) = helm.at_work(release).first() {
        if wait.not_yet(Some(format!("process {process}"))).await.is_err() {
            return Err(at_work(release, *process));
        }
    }
    Ok(())
}

fn at_work(release: &str, process: u32) -> CommandError {
    let text = format!("helm is at work on release {release}: process {process} of this host");
    CommandError::new(Exit::Locked, text)
        .hint(format!("Let it end. Or `kill {process}`: it then marks the revision as failed."))
}
