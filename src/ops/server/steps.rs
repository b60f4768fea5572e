//! Stopping and starting. Each may be repeated after a kill at any point, and comes to the same end.

use super::plan::ServerPlan;
use crate::error::Result;
use crate::ops::quiesce::{self, RecordedReplicas};
use crate::ops::{Ctx, maintenance};

/// Stops the writers that run. One that is off already keeps the notes of the run that stopped it.
pub(super) async fn stop(ctx: &Ctx, run: &str) -> Result<()> {
    let cluster = ctx.cluster().await?;
    let running = RecordedReplicas::of_running(&quiesce::present(cluster).await?);
    quiesce::stop(ctx, cluster, &running, run, ctx.settings_or_defaults()?.bundle.drain_timeout.0).await.map(drop)
}

/// Scales the writers to what they are to have and takes the notes off, whoever wrote them: the workers first, so that
/// the API finds them. Then waits until they are ready.
pub(super) async fn start(ctx: &Ctx, plan: &ServerPlan, run: &str) -> Result<()> {
    let cluster = ctx.cluster().await?;
    let writers = plan.workloads.iter().map(|writer| (writer.name.clone(), Some(writer.replicas)));
    quiesce::start_each(cluster, &writers.collect::<Vec<_>>(), run).await?;
    let started = RecordedReplicas::of(&plan.workloads);
    quiesce::wait_serving(ctx, cluster, &started, ctx.settings_or_defaults()?.helm.timeout.0).await?;
    maintenance::put_back_left(ctx).await
}
