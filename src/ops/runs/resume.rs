//! Taking an open run up: to continue it, or to put back what it had changed.

use super::named::pick;
use super::table::{ResumeRefusal, continued_by, puts_back};
use super::target::{install_of, refuse_other_cluster};
use super::undo::{PutBackReport, put_back};
use crate::error::{OpenRun, Result};
use crate::journal::{self, Journal, Outcome, Remains};
use crate::ops::Ctx;

/// What came of an open run that was taken up.
#[derive(Debug)]
pub enum Resumed {
    /// The run of this id came to its end, which its verb tells of.
    Finished(String),
    /// What the run had changed was put back.
    PutBack(PutBackReport),
}

/// Takes an open run up: the named one, or the newest.
///
/// # Errors
/// There is none, it is being executed, or it cannot be resumed; or the step that failed.
pub async fn resume(ctx: &Ctx, id: Option<&str>) -> Result<Resumed> {
    let id = pick(ctx, id)?;
    // What is to be put back is, whether or not every line of the journal is understood.
    if let Some(remains) = Remains::of(&ctx.runs.read(&id)?)
        && let (None, Some(verb)) = (&remains.ended, puts_back(&remains.verb))
    {
        let done = put_back(ctx, verb, remains, Outcome::PutBack).await;
        return done.map(Resumed::PutBack).map_err(|error| error.behind_it(OpenRun::new(id, None)));
    }
    let (id, run) = journal::find(&*ctx.runs, &id)?;
    let step = run.replay.stopped_in().map(str::to_owned);
    take_up(ctx, &id).await.map_err(|error| match run.replay.outcome {
        None => error.behind_it(OpenRun::new(id, step)),
        Some(_) => error,
    })
}

async fn take_up(ctx: &Ctx, id: &str) -> Result<Resumed> {
    let journal = Journal::open(&*ctx.runs, id)?;
    let replay = journal.replay();
    let verb = continued_by(replay).map_err(|refusal| refusal.of(id))?;
    let ctx = install_of(ctx, &replay.begun.namespace, &replay.begun.release);
    refuse_other_cluster(&ctx, id, &replay.begun.cluster_uid).await?;
    if let Some(reason) = (verb.refused)(&ctx, replay).await? {
        return Err(ResumeRefusal::Cluster(reason).of(id));
    }
    (verb.resume)(&ctx, journal).await?;
    Ok(Resumed::Finished(id.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Exit;
    use crate::journal::testing::{MemoryRuns, begun};
    use crate::ops::testing;

    #[tokio::test]
    async fn a_run_that_is_not_there_or_that_a_living_process_executes_is_not_taken_up() {
        let runs = MemoryRuns::default();
        let ctx = testing::ctx(&runs);
        let error = resume(&ctx, None).await.unwrap_err();
        assert_eq!((error.exit(), error.message()), (Exit::NotFound, "there is no open run"));
        let restore = journal::Begun { verb: "restore".into(), ..begun("restore-1") };
        let held = Journal::begin(&runs, restore).unwrap();
        assert_eq!(resume(&ctx, None).await.unwrap_err().exit(), Exit::NotFound, "it is not open");
        let error = resume(&ctx, Some("restore-1")).await.unwrap_err();
        assert_eq!(error.exit(), Exit::Locked);
        assert!(error.message().starts_with("run restore-1 is being executed"), "{error}");
        drop(held);
        let error = resume(&ctx, Some("restore-1")).await.unwrap_err();
        assert_eq!(error.exit(), Exit::Resume, "what is left is the refusal of its plan: {error}");
    }
}
