//! Putting back what interrupted runs have left: the first thing that a verb with a cluster does.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::table::puts_back;
use super::target::{install_of, install_to_put_back, refuse_other_cluster};
use super::undo::{by_hand, put_back, returns};
use super::verb::PutBackVerb;
use super::ways::{closing_command, resume_command};
use crate::error::{CommandError, Exit, Result, chain};
use crate::journal::{self, JournalError, Outcome, Remains, Run, RunStore, StoredRun};
use crate::names::{NamespaceName, ReleaseName};
use crate::ops::Ctx;
use crate::ops::quiesce::{self, RecordedReplicas, RunPutBackFirst, WriterFate, WriterReturn};
use crate::settings::Install;

/// What is done about interrupted runs: those that neither ended nor are being executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InterruptedRuns {
    /// They are put back; a verb that is about to work on the install does not go on where they cannot be.
    PutBack,
    /// The same, but the verb goes on in any case: it is itself the way out.
    PutBackIfPossible,
    /// Nothing is changed: what would be put back is said.
    Show,
}

impl InterruptedRuns {
    /// Before a verb that is to change something, or only to show what it would.
    pub fn before(dry_run: bool) -> Self {
        if dry_run { Self::Show } else { Self::PutBack }
    }
}

/// What is left where nothing tells what a run has stopped.
const BY_HAND: &str = "`dr server status` shows how the application stands, and what is next";

/// Puts back every interrupted run of verbs that put back: writers get their replicas, pods and drafts go.
///
/// One that was begun on another cluster, or that cannot be read, is warned of. So is one of another install that cannot
/// be put back.
///
/// # Errors
/// Writers of this install could not be brought back, or nobody knows how many they were: the verb must not go on.
pub async fn put_back_interrupted(ctx: &Ctx, how: InterruptedRuns) -> Result<()> {
    let mut ids = ctx.runs.ids().unwrap_or_else(|error| {
        ctx.events.warn(format!("{}: whether a run stands open is not known", chain(&error)), None);
        Vec::new()
    });
    ids.sort();
    for id in ids {
        let stored = match ctx.runs.read(&id) {
            Ok(stored) if stored.held => continue,
            Ok(stored) => stored,
            Err(JournalError::NotFound(_)) => continue,
            Err(error) => {
                let way = format!("{BY_HAND}; then move the folder of run {id} out of the way.");
                ctx.events.warn(format!("run {id} cannot be read: {}", chain(&error)), Some(way));
                continue;
            }
        };
        let Some((verb, remains)) = interrupted(ctx, &id, &stored) else { continue };
        let is_ours = is_of(&remains, ctx.install());
        let mut unknown = None;
        let done = match how {
            InterruptedRuns::Show => show(ctx, verb, &remains).await,
            InterruptedRuns::PutBack | InterruptedRuns::PutBackIfPossible => {
                let ready = if is_ours { Ok(()) } else { refuse_missing(ctx, verb, &remains).await };
                match ready {
                    Ok(()) => {
                        ctx.events.note(format!("Run {id} was interrupted. Putting back what it had changed."));
                        let report = put_back(ctx, verb, remains, Outcome::PutBack).await;
                        report.map(|report| unknown = report.require_known().err())
                    }
                    missing => missing,
                }
            }
        };
        match done {
            // Another `dr` has taken it up meanwhile.
            Err(error) if error.exit() == Exit::Locked => {}
            // It waits for a `dr` that looks at its own cluster, or works on its own install.
            Err(error) if error.exit() == Exit::Resume || !is_ours || how != InterruptedRuns::PutBack => {
                let text = format!("run {id} is not put back: {error}");
                ctx.events.warn(text, error.hints().first().cloned());
            }
            done => done?,
        }
        if let Some(unknown) = unknown.filter(|_| is_ours && how == InterruptedRuns::PutBack) {
            return Err(unknown);
        }
    }
    Ok(())
}

/// What is to be put back of a stored run. One that is not understood is loudly warned of, whatever its verb: nobody
/// would resume it.
fn interrupted<'a>(ctx: &Ctx, id: &str, stored: &StoredRun) -> Option<(&'a PutBackVerb, Remains)> {
    let remains = Remains::of(stored);
    if journal::ended(stored).is_some() {
        return None;
    }
    if let Err(error) = Run::parse(stored) {
        let close = closing_command(&*ctx.runs, id).unwrap_or_default();
        let way = match &remains {
            Some(remains) if remains.foreign => {
                format!(
                    "`{}` puts back what can be told of it, and `{close} --close-only` closes it.",
                    resume_command(id)
                )
            }
            Some(_) => format!("`{close}` puts back what can be told of it, and closes it."),
            None => format!("{BY_HAND}; `{close}` closes the run."),
        };
        ctx.events.warn(format!("run {id} cannot be read: {}", chain(&error)), Some(way));
    }
    let remains = remains?;
    Some((puts_back(&remains.verb)?, remains))
}

/// A run of another install whose Deployments are gone is not this one's to close: they may be on their way back.
async fn refuse_missing(ctx: &Ctx, verb: &PutBackVerb, remains: &Remains) -> Result<()> {
    let run = &remains.run;
    let writers = looked_at(ctx, verb, remains).await?;
    let Some(missing) = writers.iter().find(|writer| writer.fate == WriterFate::Missing) else { return Ok(()) };
    Err(CommandError::new(Exit::NotFound, format!("{missing} in namespace {}", remains.namespace))
        .hint(format!("`dr run abort {run}` closes it.")))
}

async fn show(ctx: &Ctx, verb: &PutBackVerb, remains: &Remains) -> Result<()> {
    let run = &remains.run;
    let writers = looked_at(ctx, verb, remains).await?;
    let mode = (verb.maintenance)(remains).map(|mode| format!(", maintenance mode as before, {}", mode.word()));
    let said = quiesce::returned(&writers) + &mode.unwrap_or_default();
    match writers.iter().find(|writer| writer.fate == WriterFate::CountUnknown) {
        Some(unknown) => {
            let way = by_hand(&remains.namespace, &unknown.name);
            ctx.events
                .warn(format!("run {run} was interrupted, and may have stopped the application: {said}"), Some(way));
        }
        None => ctx.events.note(format!("Run {run} was interrupted. It would be put back first: {said}.")),
    }
    Ok(())
}

/// What would become of the writers of a run, on its own install.
async fn looked_at(ctx: &Ctx, verb: &PutBackVerb, remains: &Remains) -> Result<Vec<WriterReturn>> {
    let of = install_to_put_back(ctx, &remains.namespace, &remains.release);
    refuse_other_cluster(&of, &remains.run, &remains.cluster_uid).await?;
    returns(&of, verb, remains).await
}

/// How many replicas the writers had when a run of this install, in this cluster, last stopped them, and that run.
///
/// # Errors
/// The cluster does not say which it is.
pub async fn last_recorded(ctx: &Ctx) -> Result<Option<(String, RecordedReplicas)>> {
    let cluster = ctx.cluster().await?;
    let cluster_uid = cluster.identity().await?;
    // Who may not read it is told by the runs alone.
    let since = cluster.namespace_created().await.ok().flatten().unwrap_or_default();
    Ok(newest_recorded(&*ctx.runs, ctx.install(), &cluster_uid, since))
}

/// Of a namespace that was deleted `since` and made anew, no run before tells anything.
fn newest_recorded(
    runs: &dyn RunStore,
    install: &Install,
    cluster_uid: &str,
    since: Timestamp,
) -> Option<(String, RecordedReplicas)> {
    let recorded = |id: String| {
        let remains = Remains::of(&runs.read(&id).ok()?)?;
        let is_ours = is_of(&remains, install) && remains.cluster_uid == cluster_uid && remains.at >= since;
        let recorded = (puts_back(&remains.verb).filter(|_| is_ours)?.recorded)(&remains)?;
        let recorded = Some(recorded).filter(RecordedReplicas::has_any)?;
        Some((remains.at, id, recorded))
    };
    let all = runs.ids().ok()?.into_iter().filter_map(recorded);
    all.max_by_key(|(at, ..)| *at).map(|(_, id, recorded)| (id, recorded))
}

/// The interrupted runs of this install that are put back before another begins, and what then becomes of the writers: as
/// putting them back decides it. One that cannot be put back (it is of another cluster) is left out: that was said before.
///
/// # Errors
/// The runs cannot be read.
pub async fn to_put_back(ctx: &Ctx) -> Result<Vec<RunPutBackFirst>> {
    let mut first = Vec::new();
    for (verb, remains) in interrupted_here(ctx)? {
        if let Ok(writers) = looked_at(ctx, verb, &remains).await {
            first.push(RunPutBackFirst { run: remains.run, writers });
        }
    }
    Ok(first)
}

fn interrupted_here(ctx: &Ctx) -> Result<Vec<(&'static PutBackVerb, Remains)>> {
    let one = |id: String| {
        let stored = ctx.runs.read(&id).ok().filter(|stored| !stored.held)?;
        let remains =
            Remains::of(&stored).filter(|remains| remains.ended.is_none() && is_of(remains, ctx.install()))?;
        Some((puts_back(&remains.verb)?, remains))
    };
    Ok(ctx.runs.ids()?.into_iter().filter_map(one).collect())
}

/// The context in which the application is looked at and started where the settings file is broken: that of the install
/// which was named with `-n`, else of the one whose interrupted run this host has.
///
/// # Errors
/// What is wrong with the file, where neither tells which install is meant.
pub fn without_settings(ctx: &Ctx, named: bool) -> Result<Ctx> {
    let Some(error) = ctx.broken_settings() else { return Ok(ctx.clone()) };
    let by_defaults = ctx.by_defaults();
    let (install, whose) = match (named, only_interrupted(ctx)?) {
        (true, _) => (by_defaults, "named with -n"),
        (false, Some((namespace, release))) => (install_of(&by_defaults, &namespace, &release), "of the open run"),
        (false, None) => {
            return Err(error
                .copy()
                .hint("`dr server start`, with -n and its namespace, starts the application without the file."));
        }
    };
    let Install { namespace, release, context, .. } = install.install();
    let context = context.as_deref().map_or("the current context".to_owned(), |context| format!("context {context}"));
    let text = format!("{error}: what is worked on is {namespace}/{release} ({whose}) in {context} of the kubeconfig");
    ctx.events.warn(text, error.hints().first().cloned());
    Ok(install)
}

/// The install of all interrupted runs of this host that are put back, where it is one.
fn only_interrupted(ctx: &Ctx) -> Result<Option<(NamespaceName, ReleaseName)>> {
    let one = |id: String| {
        let stored = ctx.runs.read(&id).ok().filter(|stored| !stored.held)?;
        let remains = Remains::of(&stored).filter(|remains| remains.ended.is_none())?;
        puts_back(&remains.verb).map(|_| (remains.namespace, remains.release))
    };
    let installs: BTreeSet<_> = ctx.runs.ids()?.into_iter().filter_map(one).collect();
    Ok(installs.first().filter(|_| installs.len() == 1).cloned())
}

fn is_of(remains: &Remains, install: &Install) -> bool {
    (&remains.namespace, &remains.release) == (&install.namespace, &install.release)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::journal::testing::{MemoryRuns, begun};
    use crate::journal::{Begun, Journal, Record};
    use crate::ops::testing;

    #[test]
    fn counts_of_a_run_of_another_cluster_or_install_are_none_of_this_one() {
        let runs = MemoryRuns::default();
        let ctx = testing::ctx(&runs);
        let (step, at) = ("record-replicas".to_owned(), Timestamp::UNIX_EPOCH);
        for (id, namespace, cluster_uid) in [("create-1", "opschain", "other"), ("create-2", "elsewhere", "u")] {
            let begun = Begun { namespace: namespace.into(), cluster_uid: cluster_uid.into(), ..begun(id) };
            let mut journal = Journal::begin(&runs, begun).unwrap();
            journal.append(Record::Started { step: step.clone(), at }).unwrap();
            let output = json!({"writers": [{"name": "opschain-api", "replicas": 2}]});
            journal.append(Record::Succeeded { step: step.clone(), output, summary: String::new(), at }).unwrap();
        }
        assert_eq!(newest_recorded(&runs, ctx.install(), "u", Timestamp::UNIX_EPOCH), None);
        let since = |at| newest_recorded(&runs, ctx.install(), "other", at).map(|(run, _)| run);
        assert_eq!(since(Timestamp::UNIX_EPOCH).as_deref(), Some("create-1"));
        assert_eq!(since(Timestamp::from_second(1).unwrap()), None, "the namespace was made after it");
        let here: Vec<String> = interrupted_here(&ctx).unwrap().into_iter().map(|(_, remains)| remains.run).collect();
        assert_eq!(here, ["create-1"]);
    }
}
