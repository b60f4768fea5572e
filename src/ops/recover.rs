//! Putting back what dead runs have left: the first thing that a verb with a cluster does.

use super::{Ctx, create};
use crate::error::{CommandError, Exit, Result};
use crate::journal;

/// Puts back every bundle run whose process died: writers get their replicas, pods and drafts go. A verb that is about
/// to work on the install calls it first.
///
/// One that was begun on another cluster is warned of and left.
///
/// # Errors
/// Something could not be put back: the verb must not go on.
pub async fn dead_creates(ctx: &Ctx) -> Result<()> {
    let dead: Vec<String> = journal::list(&*ctx.runs)?
        .into_iter()
        .filter_map(|(id, run)| {
            run.ok().filter(|run| run.is_open() && run.replay.begun.verb == create::VERB).map(|_| id)
        })
        .collect();
    for id in dead {
        match put_back(ctx, &id).await {
            // It waits for a `dr` that looks at its own cluster.
            Err(error) if error.exit() == Exit::Resume => {
                ctx.events.warn(error.message().to_owned(), error.hints().first().cloned())
            }
            done => done?,
        }
    }
    Ok(())
}

/// Puts one dead bundle run back.
///
/// # Errors
/// [`Exit::Resume`] when it was begun on another cluster; else what could not be put back.
pub async fn put_back(ctx: &Ctx, id: &str) -> Result<()> {
    let (_, run) = journal::find(&*ctx.runs, id)?;
    let begun = run.replay.begun;
    let cluster = ctx.cluster().await?;
    if cluster.identity().await? != begun.cluster_uid {
        return Err(CommandError::new(
            Exit::Resume,
            format!("run {id} was begun on another cluster than context {}", cluster.context()),
        )
        .hint("Name the kubeconfig context of that cluster with --context."));
    }
    ctx.events.note(format!("Run {id} died on its way. Putting back what it had changed."));
    create::put_back(ctx, cluster, id).await
}
