//! Taking an open run up: to continue it, or to put back what it had changed.

use super::table::{ResumeRefusal, resumable};
use super::verb::Resumed;
use crate::error::{CommandError, Exit, OpenRun, Result};
use crate::journal::{self, Begun, Journal, Run};
use crate::ops::Ctx;
use crate::settings::Install;

/// Takes an open run up: the named one, or the newest.
///
/// # Errors
/// There is none, it is being executed, or it cannot be resumed; or the step that failed.
pub async fn resume(ctx: &Ctx, id: Option<&str>) -> Result<Resumed> {
    let (id, run) = pick(ctx, id)?;
    let step = run.replay.stopped_in().map(str::to_owned);
    take_up(ctx, &id).await.map_err(|error| match run.replay.outcome {
        None => error.behind_it(OpenRun::new(id, step)),
        Some(_) => error,
    })
}

/// Resumes the run `id`.
///
/// # Errors
/// As [`resume`].
pub(super) async fn take_up(ctx: &Ctx, id: &str) -> Result<Resumed> {
    let journal = Journal::open(&*ctx.runs, id)?;
    let verb = resumable(journal.replay()).map_err(|refusal: ResumeRefusal| refusal.of(id))?;
    let ctx = install_of(ctx, &journal.replay().begun);
    refuse_other_cluster(&ctx, &journal.replay().begun).await?;
    if let Some(reason) = (verb.refused)(&ctx, journal.replay()).await? {
        return Err(ResumeRefusal::Cluster(reason).of(id));
    }
    (verb.resume)(&ctx, journal).await
}

/// The named run, or the newest that stands open.
///
/// # Errors
/// There is none, or it cannot be read.
pub(super) fn pick(ctx: &Ctx, id: Option<&str>) -> Result<(String, Run)> {
    if let Some(id) = id {
        return Ok(journal::find(&*ctx.runs, id)?);
    }
    let runs = journal::list(&*ctx.runs)?.into_iter().rev();
    let open = runs.filter_map(|(id, run)| Some((id, run.ok().filter(Run::is_open)?))).next();
    open.ok_or_else(|| CommandError::new(Exit::NotFound, "there is no open run").hint("`dr run list` shows all runs."))
}

/// The same context for the install of a run, whatever flags and settings say.
pub(super) fn install_of(ctx: &Ctx, begun: &Begun) -> Ctx {
    let (namespace, release) = (begun.namespace.clone(), begun.release.clone());
    ctx.for_install(Install { namespace, release, ..ctx.install().clone() })
}

/// Refuses to work on another cluster than the one that the run was begun on.
///
/// # Errors
/// [`Exit::Resume`]; or the cluster cannot be asked.
pub(super) async fn refuse_other_cluster(ctx: &Ctx, begun: &Begun) -> Result<()> {
    let cluster = ctx.cluster().await?;
    require_cluster_of(begun, &cluster.identity().await?, cluster.context())
}

fn require_cluster_of(begun: &Begun, identity: &str, context: &str) -> Result<()> {
    if identity == begun.cluster_uid {
        return Ok(());
    }
    let what = format!("run {} was begun on another cluster than context {context}", begun.run);
    Err(CommandError::new(Exit::Resume, what)
        .hint("Name the kubeconfig context of that cluster with --context.")
        .hint(format!("If that cluster is gone for good: `dr run abort {} --close-only` closes the run.", begun.run)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::testing::{MemoryRuns, begun};
    use crate::ops::testing;

    #[test]
    fn a_run_of_another_cluster_is_refused_with_both_ways_on() {
        let begun = begun("restore-1");
        assert!(require_cluster_of(&begun, "u", "here").is_ok());
        let error = require_cluster_of(&begun, "v", "here").unwrap_err();
        assert_eq!(error.exit(), Exit::Resume);
        assert_eq!(error.message(), "run restore-1 was begun on another cluster than context here");
        assert!(error.hints()[0].contains("--context"), "{:?}", error.hints());
        assert!(error.hints()[1].contains("`dr run abort restore-1 --close-only`"), "{:?}", error.hints());
    }

    #[tokio::test]
    async fn a_run_that_is_not_there_or_that_a_living_process_executes_is_not_taken_up() {
        let runs = MemoryRuns::default();
        let ctx = testing::ctx(&runs);
        let error = resume(&ctx, None).await.unwrap_err();
        assert_eq!((error.exit(), error.message()), (Exit::NotFound, "there is no open run"));
        let held = Journal::begin(&runs, begun("restore-1")).unwrap();
        assert_eq!(resume(&ctx, None).await.unwrap_err().exit(), Exit::NotFound, "it is not open");
        let error = resume(&ctx, Some("restore-1")).await.unwrap_err();
        assert_eq!(error.exit(), Exit::Locked);
        assert!(error.message().starts_with("run restore-1 is being executed"), "{error}");
        drop(held);
        let error = resume(&ctx, Some("restore-1")).await.unwrap_err();
        assert_eq!(error.exit(), Exit::Resume, "what is left is the refusal of its plan: {error}");
    }
}
