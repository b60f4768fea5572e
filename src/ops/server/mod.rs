//! `dr server`: the application off and back on, with the replica counts that it had.
//!
//! The counts are written onto the Deployments before anything is scaled, so that any later `dr`, or a person who reads
//! the annotation, can put them back.

mod facts;
mod mode;
mod plan;
mod steps;

pub use plan::{Part, ServerPlan, ServerStatus, WAKE};

use super::lease::LeaseHolder;
use super::{Ctx, runs};
use crate::clock;
use crate::error::{Exit, Result};
use crate::journal::new_run_id;

/// What stopping the application would do.
///
/// # Errors
/// When the cluster cannot be reached or does not allow it, there is no install, or a run of another host has it half done.
pub async fn plan_stop(ctx: &Ctx) -> Result<ServerPlan> {
    plan::stop(&facts::before_stop(ctx).await?)
}

/// What starting the application would do.
///
/// # Errors
/// When the cluster cannot be reached or does not allow it, there is no install, a run has it half done, its database
/// hibernates, or it is not known how many replicas there were.
pub async fn plan_start(ctx: &Ctx) -> Result<ServerPlan> {
    plan::start(&facts::before_start(ctx).await?)
}

/// Stops the application: writes the replica counts onto the Deployments, scales them to 0, and waits until their pods
/// have ended. The database and the secret vault go on. Safe to repeat, and after a kill at any point.
///
/// # Errors
/// When another run holds the install, the pods do not end in the time that the settings allow, or the cluster fails.
pub async fn stop(ctx: &Ctx) -> Result<ServerStatus> {
    let run = new_run_id("stop", clock::now());
    let stopped = under_lease(ctx, &run, steps::stop(ctx, &run)).await;
    stopped.map_err(|error| error.hint("`dr server start` puts the application back as it was."))?;
    status(ctx).await
}

/// Starts the application with the counts that were written onto it, and waits until it is ready.
///
/// # Errors
/// When another run holds the install, the pods do not come up in the time that the settings allow, or the cluster
/// fails.
pub async fn start(ctx: &Ctx) -> Result<ServerStatus> {
    let run = new_run_id("start", clock::now());
    // Looked at under the lease: another run may have changed it until then.
    let started = under_lease(ctx, &run, async { steps::start(ctx, &plan_start(ctx).await?, &run).await }).await;
    started.map_err(|error| match error.exit() {
        Exit::Interrupted => {
            error.hint("What was scaled up stays so: `dr server status` shows it, `dr server start` goes on.")
        }
        _ => error,
    })?;
    status(ctx).await
}

/// Says how the application stands.
///
/// # Errors
/// When the cluster cannot be reached or there is no install.
pub async fn status(ctx: &Ctx) -> Result<ServerStatus> {
    let open_run = runs::half_done(ctx).await.unwrap_or_else(|error| {
        ctx.events.warn(format!("whether the install is whole is not known: {error}"), error.hints().first().cloned());
        None
    });
    Ok(plan::status(&facts::gather(ctx, open_run).await?))
}

/// The command that brings an application back of which no run has the install half done; none where it runs.
///
/// # Errors
/// As [`status`].
pub async fn way_back(ctx: &Ctx) -> Result<Option<String>> {
    Ok(plan::next(&facts::gather(ctx, None).await?))
}

/// Does `work` while no other run may work on the install; ends early when the user asks for it.
async fn under_lease(ctx: &Ctx, run: &str, work: impl Future<Output = Result<()>>) -> Result<()> {
    let mut lease = LeaseHolder::default();
    lease.take(ctx, run).await?;
    let ended = tokio::select! {
        biased;
        ended = work => ended,
        () = ctx.cancel.cancelled() => Err(super::interrupted()),
    };
    let released = lease.release(ctx, run).await;
    ended?;
    released
}
