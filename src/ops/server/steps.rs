//! Stopping and starting. Each may be repeated after a kill at any point, and comes to the same end.

use crate::cluster::{REPLICAS, STOPPED_BY, WorkloadKind};
use crate::error::Result;
use crate::ops::Ctx;
use crate::ops::quiesce::{self, Recorded, Replicas};

use super::facts;

/// Writes the counts onto the writers that run, and stops them all. One that is off already keeps the notes of the run
/// that stopped it.
pub(super) async fn stop(ctx: &Ctx, run: &str) -> Result<()> {
    let cluster = ctx.cluster().await?;
    let running = facts::gather(ctx).await?.writers.into_iter().filter(|writer| writer.now > 0);
    let running = running.map(|writer| Replicas { name: writer.name, replicas: writer.replicas });
    quiesce::annotate(cluster, &Recorded { writers: running.collect() }, run).await?;
    let all = quiesce::read(cluster).await?;
    quiesce::stop(ctx, cluster, &all, ctx.settings()?.bundle.drain_timeout.0).await
}

/// Scales the writers to what they are to have, the workers first, so that the API finds them; waits until they are
/// ready; and only then takes the notes off, whoever wrote them.
pub(super) async fn start(ctx: &Ctx) -> Result<()> {
    let cluster = ctx.cluster().await?;
    let recorded = quiesce::read(cluster).await?;
    for writer in recorded.writers.iter().rev() {
        cluster.scale(WorkloadKind::Deployment, &writer.name, writer.replicas).await?;
    }
    quiesce::wait_serving(ctx, cluster, &recorded, ctx.settings()?.helm.timeout.0).await?;
    for writer in &recorded.writers {
        cluster.annotate(WorkloadKind::Deployment, &writer.name, &[(REPLICAS, None), (STOPPED_BY, None)]).await?;
    }
    Ok(())
}
