//! The position in the WAL that the bundle ends at, noted while it is watched who writes.

use std::time::Duration;

use super::left_out;
use super::quiet::{self, QuietFacts, WalMark};
use super::work::{BundleState, CreateWork, LiveHandles, handles_lost};
use crate::cluster::{PodAddress, SessionCounts, WatchedSwitch};
use crate::error::Result;
use crate::ops::quiesce::StoppedWriters;
use crate::opschain::workloads::WORKING_PODS;
use crate::settings::Allow;

/// For how long it is looked who is there, before the position is noted, where at first a session was counted that nobody
/// saw.
const LONGER_LOOK: Duration = Duration::from_secs(3);
/// How often that is done until nobody comes and goes around the position.
const LONGER_LOOKS: usize = 2;

/// The position is the one that the switch of the segment returns: whatever was committed before is before it, and what
/// comes after is in the next segment. The agent knows it before anybody writes again, and sends nothing past it.
///
/// Where the writers were `stopped`, it is watched whether anybody else writes; then with what was counted at that time.
pub(super) async fn mark_wal(work: &CreateWork, stopped: Option<(StoppedWriters, SessionCounts)>) -> Result<WalMark> {
    work.hold_lease().await?;
    let mut handles = work.handles.lock().await;
    let LiveHandles { bundle: BundleState::Copying(pump), preserved, .. } = &mut *handles else {
        return Err(handles_lost());
    };
    pump.hold_wal().await?;
    let mark = match stopped {
        None => {
            let lsn = work.ctx.cluster().await?.switch_wal(&work.plan.live.primary).await?;
            WalMark { lsn, seen: Vec::new() }
        }
        Some((stopped, counts)) => note_watched(work, &stopped, &counts).await?,
    };
    // One that was made since the plan would be in the WAL, and whatever replays that would look for its folder.
    let cluster = work.ctx.cluster().await?;
    let (tablespaces, same) =
        tokio::join!(cluster.tablespaces(&work.plan.live.primary), preserved.require_same(cluster));
    let tablespaces = tablespaces?;
    same?;
    left_out::refuse_tablespaces(&work.ctx.settings()?.database.cluster, &tablespaces)?;
    pump.stop_wal(mark.lsn).await?;
    Ok(mark)
}

/// Notes the position where the segment ends, and what there was before and after.
///
/// # Errors
/// Database or cluster cannot be asked; [`Exit::Busy`](crate::error::Exit::Busy) when somebody may have written.
async fn note_watched(work: &CreateWork, stopped: &StoppedWriters, at_stop: &SessionCounts) -> Result<WalMark> {
    let cluster = work.ctx.cluster().await?;
    let (mut watched, mut pods) = look(work, Duration::ZERO, at_stop).await?;
    // The operator's own sessions come and go, too, so that a count says little by itself: it is a reason to look longer.
    if !watched.counts.since(at_stop).is_empty() {
        for _ in 0..LONGER_LOOKS {
            if !quiet::foreign(&watched.sessions, &pods, false).is_empty() {
                break;
            }
            (watched, pods) = look(work, LONGER_LOOK, at_stop).await?;
            if watched.unseen.is_empty() {
                break;
            }
        }
    }
    let WatchedSwitch { lsn, sessions, unseen, .. } = watched;
    // Whoever has started them since the stop may have written before the position.
    stopped.require_still(cluster, &work.run).await?;
    let working = cluster.working_pods(WORKING_PODS).await?.into_iter().map(|pod| pod.name).collect();
    let mut allow = work.plan.allow.clone();
    if work.plan.drains() {
        // They were there when nothing was at work.
        allow.extend([Allow::Agents, Allow::Pool]);
    }
    let seen = quiet::judge(&QuietFacts { sessions, unseen, pods, working }, &allow)?;
    Ok(WalMark { lsn, seen })
}

/// Notes the position after `while_before`, and names the pods of those who were there.
async fn look(
    work: &CreateWork,
    while_before: Duration,
    at_stop: &SessionCounts,
) -> Result<(WatchedSwitch, Vec<PodAddress>)> {
    let cluster = work.ctx.cluster().await?;
    let watched = cluster.switch_wal_watched(&work.plan.live.primary, while_before, at_stop).await?;
    let pods = cluster.pods_of(&watched.sessions, quiet::ADDRESS_LIMIT, &work.ctx.events).await?;
    Ok((watched, pods))
}
