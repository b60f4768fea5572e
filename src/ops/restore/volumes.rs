//! The bundle's other volumes come back before the application starts: the release has made their claims, stopped, and each is
//! filled in a pod of its own, read back, and every file held against the listing that is sealed with them.

use std::sync::Arc;
use std::time::Duration;

use super::facts::OpenBundle;
use super::plan::RestorePlan;
use super::restored_volume::{RestoredVolume, VolumeOutcome};
use super::send::{next_opened, open_ahead, piece};
use super::work::RestoreWork;
use crate::agent::protocol::VolumeFilled;
use crate::bundle::{BundledVolume, OutOfScope};
use crate::cluster::{PodPlacement, Wait, WorkloadKind};
use crate::error::{CommandError, Exit, Result};
use crate::filetree::TreeTotals;
use crate::helm::Object;
use crate::journal::{Done, StepName, fault};
use crate::ops::helper::{self, POD_LIMIT};
use crate::opschain::volumes;
use crate::text::{self, plural};

pub(super) const RESTORE_VOLUMES: StepName<Vec<VolumeOutcome>> = StepName::new("restore-volumes");

/// How long the claim may take to be there, and whoever has its volume to let go of it.
const CLAIM_LIMIT: Duration = Duration::from_secs(300);

/// The plan with what becomes of the bundle's volumes. `rendered` are the chart's objects, where they are known.
pub(super) fn planned(bundle: &OpenBundle, rendered: Option<&[Object]>, plan: RestorePlan) -> RestorePlan {
    let claims = rendered.map(|objects| super::storage::wishes(objects).into_iter().map(|wish| wish.name).collect());
    decided(bundle.reader.volumes(), claims, plan)
}

/// The same of the names of the claims that the chart makes.
fn decided(held: &[BundledVolume], claims: Option<Vec<String>>, mut plan: RestorePlan) -> RestorePlan {
    for held in held {
        let made = claims.as_ref().is_none_or(|claims| claims.contains(&held.claim));
        let why = match &plan.existing {
            Some(_) => {
                "the volumes of the install stay as they are, and the bundle's files stay in the bundle".to_owned()
            }
            None if !made => format!("the chart makes no claim {} for its files", held.claim),
            None => {
                let (volume, claim) = (held.volume.clone(), held.claim.clone());
                plan.volumes.push(RestoredVolume { volume, claim, totals: held.totals });
                continue;
            }
        };
        let name = &held.volume;
        let way =
            format!("`dr bundle extract {} volume-{name}.tar --out volume-{name}.tar` has them.", plan.arguments());
        plan.scope.insert(0, OutOfScope { what: format!("volume {name}"), why, whereabouts: way });
    }
    plan
}

/// Puts them back. May be done again: what an earlier time has left on a volume is replaced.
///
/// # Errors
/// A claim is not there, somebody uses it, or a file is not as listed once it is on the volume.
pub(super) async fn restore_volumes(work: &RestoreWork) -> Result<Done<Vec<VolumeOutcome>>> {
    work.hold_lease().await?;
    let mut outcomes = Vec::new();
    for volume in &work.plan.volumes {
        let seen = put_back(work, volume).await;
        outcomes.push(seen.map_err(|error| error.context(format!("volume {}", volume.volume)))?);
    }
    for seen in outcomes.iter().filter(|seen| seen.other_owners > 0) {
        let (count, name) = (seen.other_owners, &seen.volume);
        let text =
            format!("volume {name} does not let owner and mode be set: {count} of its files and folders have others");
        work.ctx.events.warn(text, None);
    }
    let line = |seen: &VolumeOutcome| format!("{}: {} read back", seen.volume, plural(seen.files, "file"));
    let lines: Vec<String> = outcomes.iter().map(line).collect();
    let summary = if lines.is_empty() { "the bundle holds none".to_owned() } else { lines.join("; ") };
    Ok(Done::with(outcomes, summary))
}

async fn put_back(work: &RestoreWork, volume: &RestoredVolume) -> Result<VolumeOutcome> {
    let (cluster, claim) = (work.ctx.cluster().await?, volume.claim.as_str());
    let pod_name = helper::volume_pod_name(&work.run, &volume.volume);
    let mut wait = Wait::new(format!("claim {claim} to be made"), CLAIM_LIMIT, &work.ctx.events);
    while cluster.claim(claim).await?.is_none() {
        wait.not_yet(None).await?;
    }
    // It runs although the application is stopped, and would write beside what is put back.
    let set = volumes::known(&volume.volume).and_then(|known| known.runs_on_it);
    if let Some(set) = set {
        cluster.adjust(WorkloadKind::StatefulSet, set, Some(0), &[]).await?;
    }
    let mut wait = Wait::new(format!("claim {claim} to be free"), CLAIM_LIMIT, &work.ctx.events);
    loop {
        let users: Vec<String> = cluster.mounters(claim).await?.into_iter().filter(|pod| *pod != pod_name).collect();
        if users.is_empty() {
            break;
        }
        wait.not_yet(Some(format!("used by {}", users.join(", ")))).await?;
    }
    let filled = fill(work, volume, &pod_name).await?;
    // The volume is free for whoever runs on it.
    cluster.delete_pod(&pod_name, Duration::ZERO, POD_LIMIT, &work.ctx.events).await?;
    if let Some(set) = set {
        cluster.adjust(WorkloadKind::StatefulSet, set, Some(1), &[]).await?;
    }
    let TreeTotals { files, bytes, .. } = filled.totals;
    Ok(VolumeOutcome { volume: volume.volume.clone(), files, bytes, other_owners: filled.differences.owners })
}

async fn fill(work: &RestoreWork, volume: &RestoredVolume, pod_name: &str) -> Result<VolumeFilled> {
    let (ctx, cluster, database) = (&work.ctx, work.ctx.cluster().await?, work.database().await?);
    let of_database = PodPlacement::of_database(&database.spec);
    // A volume that is made for the pod that fills it must be where those can run that use it later.
    let placement = cluster.placement_of_users(&volume.claim).await?.unwrap_or_else(|| of_database.clone());
    let (image, placement) = (database.image().unwrap_or_default(), placement.pulling_as(&of_database));
    let pod = helper::volume_pod(ctx, &work.run, &volume.volume, image, &placement, &volume.claim, true).await?;
    let mut agent = helper::start_named(ctx, &pod, pod_name, &work.run).await?;
    let bundle = Arc::clone(work.bundle()?);
    let chunks = bundle.reader.volume_chunks(&volume.volume);
    let total: u64 = chunks.iter().map(|chunk| chunk.raw_bytes).sum();
    let mut sink = agent.fill_volume().await?;
    let mut opened = open_ahead(chunks, move |chunk, stored, frame| {
        Ok(bundle.reader.open_chunk(chunk, &bundle.identities, stored, frame)?)
    });
    let mut sent = 0;
    loop {
        ctx.events.bytes("volume", sent, Some(total));
        let Some((chunk, frame)) = next_opened(&mut opened, &mut sink).await? else { break };
        sent += chunk.raw_bytes;
        sink.send(piece(&chunk, frame)?).await?;
        fault::point("filled-chunk")?;
    }
    let filled = sink.finish_volume().await?;
    // The pod is removed next in any case.
    drop(agent.finish().await);
    require_all(&filled.totals, &volume.totals)?;
    Ok(filled)
}

/// Whether as much is there as the signed manifest says.
fn require_all(found: &TreeTotals, said: &TreeTotals) -> Result<()> {
    let of_the_tar = TreeTotals { left_out: 0, moving: 0, ..*said };
    if *found == of_the_tar {
        return Ok(());
    }
    let count = |totals: &TreeTotals| format!("{} of {}", plural(totals.files, "file"), text::bytes(totals.bytes));
    let what = format!("{} are on it, and the bundle's manifest says {}", count(found), count(said));
    Err(CommandError::new(Exit::Damaged, what).hint("Take another copy of the bundle, and begin again."))
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    fn held(volume: &str, claim: &str) -> BundledVolume {
        BundledVolume {
            volume: volume.into(),
            claim: claim.into(),
            size: "5Gi".into(),
            storage_class: None,
            access_modes: Vec::new(),
            used_by: Vec::new(),
            totals: TreeTotals { files: 3, bytes: 4096, moving: 1, ..TreeTotals::default() },
            raw_bytes: 0,
            chunks: Vec::new(),
        }
    }

    #[test]
    fn what_the_chart_makes_no_claim_for_and_what_lives_stay_in_the_bundle() {
        let both = [held("git", "opschain-project-git-repos-claim"), held("future", "opschain-future-claim")];
        let claims = || Some(vec!["opschain-db-1".to_owned(), "opschain-project-git-repos-claim".to_owned()]);
        let plan = decided(&both, claims(), testing::plan());
        assert_eq!(plan.volumes.iter().map(RestoredVolume::line).collect::<Vec<_>>(), ["git: 3 files, 4.0 KiB"]);
        assert_eq!(plan.scope[0].what, "volume future");
        assert!(plan.scope[0].whereabouts.contains("volume-future.tar"), "{:?}", plan.scope[0]);
        assert_eq!(decided(&both, None, testing::plan()).volumes.len(), 2, "nothing is known of the chart");

        let over = decided(&both[..1], claims(), testing::over_existing());
        assert!(over.volumes.is_empty() && over.scope[0].why.contains("stay as they are"));
        let kept: RestorePlan = serde_json::from_value(serde_json::to_value(&plan).unwrap()).unwrap();
        assert_eq!(kept.volumes, plan.volumes);
    }

    #[test]
    fn another_amount_than_the_manifest_s_is_no_volume_that_is_back() {
        let said = held("git", "c").totals;
        assert!(
            require_all(&TreeTotals { moving: 0, ..said }, &said).is_ok(),
            "what moved when it was read does not count"
        );
        let error = require_all(&TreeTotals { files: 2, moving: 0, ..said }, &said).unwrap_err();
        assert_eq!(error.exit(), Exit::Damaged);
        assert_eq!(error.message(), "2 files of 4.0 KiB are on it, and the bundle's manifest says 3 files of 4.0 KiB");
    }
}
