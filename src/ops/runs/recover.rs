//! Putting back what dead runs have left: the first thing that a verb with a cluster does.

use super::abort::close;
use super::resume::take_up;
use super::table::{resumable, verb_of};
use crate::error::{Exit, Result};
use crate::journal::{self, Policy};
use crate::ops::Ctx;

/// Puts back every run whose process died, of verbs that put back: writers get their replicas, pods and drafts go. A verb
/// that is about to work on the install calls it first.
///
/// One that was begun on another cluster is warned of and left.
///
/// # Errors
/// Something could not be put back: the verb must not go on.
pub async fn put_back_dead(ctx: &Ctx) -> Result<()> {
    for (id, run) in journal::list(&*ctx.runs)? {
        let Ok(run) = run else { continue };
        let puts_back = verb_of(&run.replay.begun).is_some_and(|verb| verb.policy == Policy::PutBack);
        if !(run.is_open() && puts_back) {
            continue;
        }
        ctx.events.note(format!("Run {id} died on its way. Putting back what it had changed."));
        let done = match resumable(&run.replay) {
            Ok(_) => take_up(ctx, &id).await.map(drop),
            // By another program: what its id is on is put back all the same.
            Err(_) => close(ctx, &id, true).await,
        };
        match done {
            // It waits for a `dr` that looks at its own cluster.
            Err(error) if error.exit() == Exit::Resume => {
                ctx.events.warn(error.message().to_owned(), error.hints().first().cloned())
            }
            done => done?,
        }
    }
    Ok(())
}
