//! Reading the volumes that a bundle takes along.

use std::time::Duration;

use super::volumes::{PlannedVolume, VolumeSeen};
use super::work::{BundleState, CreateWork, handles_lost};
use crate::agent::protocol::VolumeRequest;
use crate::bundle::{BundledVolume, Writer};
use crate::cluster::Cluster;
use crate::cluster::transport::{Ticket, VolumeItem};
use crate::error::{CommandError, Exit, Result};
use crate::filetree::TreeTotals;
use crate::journal::{Done, StepName, fault};
use crate::ops::helper;
use crate::ops::pump::{SYNC_EVERY, Unsettled, held_back};
use crate::text::{self, plural};

pub(super) const COPY_VOLUMES: StepName<Vec<VolumeSeen>> = StepName::new("copy-volumes");

/// The step: each volume in a pod of its own, one after the other, and then the chart, which stands behind them.
///
/// # Errors
/// A pod does not start, or the volume, the stream or the store fails.
pub(super) async fn copy_volumes(work: &CreateWork) -> Result<Done<Vec<VolumeSeen>>> {
    work.hold_lease().await?;
    let mut handles = work.handles.lock().await;
    let (BundleState::Sealed { agent, mut draft }, Some(config)) = (handles.bundle.take(), handles.config.take())
    else {
        return Err(handles_lost());
    };
    let mut seen = Vec::new();
    for volume in &work.plan.volumes {
        seen.push(
            copy(work, volume, &mut draft).await.map_err(|error| error.context(format!("volume {}", volume.name)))?,
        );
    }
    config.add_chart(&mut draft)?;
    handles.bundle = BundleState::Sealed { agent, draft };
    let line = |volume: &VolumeSeen| {
        let TreeTotals { files, bytes, .. } = volume.totals;
        format!("{}: {}, {}", volume.name, plural(files, "file"), text::bytes(bytes))
    };
    let summary = seen.iter().map(line).collect::<Vec<_>>().join("; ");
    Ok(Done::with(seen, summary))
}

async fn copy(work: &CreateWork, volume: &PlannedVolume, draft: &mut Writer) -> Result<VolumeSeen> {
    let (ctx, settings, cluster) = (&work.ctx, work.ctx.settings()?, work.ctx.cluster().await?);
    let PlannedVolume { name, claim, placement, .. } = volume;
    let pod_name = helper::volume_pod_name(&work.run, name);
    let mut used_by = users(cluster, &claim.claim, &pod_name).await?;
    let image = &work.plan.live.database_image;
    let pod = helper::volume_pod(ctx, &work.run, name, image, placement, &claim.claim, false).await?;
    let mut agent = helper::start_named(ctx, &pod, &pod_name, &work.run).await?;
    let request = VolumeRequest {
        recipients: work.plan.recipients.clone(),
        chunk_bytes: u64::from(settings.bundle.chunk_mib) << 20,
        held_back_bytes: held_back(draft.backlog())?,
        zstd_level: settings.bundle.zstd_level.0,
    };
    let mut stream = agent.read_volume(request).await?;
    let (handle, mut unsettled, mut moved) = (stream.handle(), Unsettled::<Ticket>::default(), 0);
    let mut done = None;
    while let Some(item) = stream.next().await? {
        match item {
            VolumeItem::Chunk(chunk) => {
                let durable = tokio::task::block_in_place(|| {
                    draft.add_volume_chunk(name, &chunk.stored, chunk.raw_bytes, &chunk.raw_sha256)?;
                    let due = draft.written() - unsettled.durable >= SYNC_EVERY;
                    Ok::<_, CommandError>(if due { Some(draft.durable()?) } else { None })
                })?;
                fault::point("volume-chunk")?;
                unsettled.add(draft.written(), chunk.ticket);
                if let Some(ticket) = durable.and_then(|durable| unsettled.settle(durable)) {
                    handle.durable(ticket);
                }
                moved += chunk.raw_bytes;
                ctx.events.bytes("volume", moved, None);
            }
            VolumeItem::Done(all) => done = Some(all),
        }
    }
    // The agent waits for this before it ends.
    if let Some(ticket) = unsettled.settle(tokio::task::block_in_place(|| draft.durable())?) {
        handle.durable(ticket);
    }
    let done = done.ok_or_else(|| CommandError::new(Exit::Stream, "it ended without its totals"))?;
    for pod in users(cluster, &claim.claim, &pod_name).await? {
        if !used_by.contains(&pod) {
            used_by.push(pod);
        }
    }
    // The pod is removed next in any case.
    drop(agent.finish().await);
    cluster.delete_pod(&pod_name, Duration::ZERO, helper::POD_LIMIT, &ctx.events).await?;
    draft.end_volume(BundledVolume {
        volume: name.clone(),
        claim: claim.claim.clone(),
        size: claim.size.clone(),
        storage_class: claim.storage_class.clone(),
        access_modes: claim.access_modes.clone(),
        used_by: used_by.clone(),
        totals: done.totals,
        raw_bytes: done.sent.raw_bytes,
        chunks: Vec::new(),
    });
    Ok(VolumeSeen { name: name.clone(), used_by, totals: done.totals })
}

/// Who has the volume beside the pod that reads it.
async fn users(cluster: &Cluster, claim: &str, own: &str) -> Result<Vec<String>> {
    Ok(cluster.mounters(claim).await?.into_iter().filter(|pod| pod != own).collect())
}
