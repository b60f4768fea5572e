//! Stopping and starting. Each may be repeated after a kill at any point, and comes to the same end.

use crate::cluster::{REPLICAS, STOPPED_BY, WorkloadKind};
use crate::error::Result;
use crate::ops::Ctx;
use crate::ops::quiesce::{self, RecordedReplicas};

/// Writes the counts onto the writers that run, and stops them all. One that is off already keeps the notes of the run
/// that stopped it.
pub(super) async fn stop(ctx: &Ctx, run: &str) -> Result<()> {
    let cluster = ctx.cluster().await?;
    let writers = quiesce::read(cluster).await?;
    quiesce::annotate(cluster, &RecordedReplicas::of_running(&writers), run).await?;
    let all = RecordedReplicas::of(&writers);
    quiesce::stop(ctx, cluster, &all, ctx.settings()?.bundle.drain_timeout.0).await
}

/// Scales the writers to what they are to have, the workers first, so that the API finds them; waits until they are
/// ready; and only then takes the notes off, whoever wrote them. Taking one off is a change that the Deployment's
/// controller has yet to see, so readiness is read again after it.
pub(super) async fn start(ctx: &Ctx) -> Result<()> {
    let cluster = ctx.cluster().await?;
    let recorded = RecordedReplicas::of(&quiesce::read(cluster).await?);
    for writer in recorded.writers.iter().rev() {
        cluster.scale(WorkloadKind::Deployment, &writer.name, writer.replicas).await?;
    }
    let limit = ctx.settings()?.helm.timeout.0;
    quiesce::wait_serving(ctx, cluster, &recorded, limit).await?;
    for writer in &recorded.writers {
        cluster.annotate(WorkloadKind::Deployment, &writer.name, &[(REPLICAS, None), (STOPPED_BY, None)]).await?;
    }
    quiesce::wait_serving(ctx, cluster, &recorded, limit).await
}
