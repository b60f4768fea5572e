//! What a verb whose executions are runs tells of itself: an entry of the table of verbs.

use futures::future::BoxFuture;
use serde::Serialize;
use serde_json::Value;

use crate::clock;
use crate::error::{CommandError, Exit, Result};
use crate::journal::{self, Begun, Journal, Record, Remains, Replay, RunContext, Step};
use crate::ops::Ctx;
use crate::ops::quiesce::RecordedReplicas;
use crate::opschain::maintenance::RecordedMode;

/// A verb whose executions are runs.
pub struct RunVerb {
    /// Its word in journals and in the ids of runs.
    pub name: &'static str,
    /// The verb, for people.
    pub label: &'static str,
    pub aftermath: Aftermath,
}

/// What becomes of a run that did not come to its end.
pub enum Aftermath {
    /// What it has changed is put back: at once, or, when it was interrupted, by the next `dr`.
    PutBack(PutBackVerb),
    /// It stands open, to be resumed or aborted.
    Resume(ResumeVerb),
}

/// Removes what a run has left outside the cluster.
pub type RemoveLeft = fn(&Ctx, &Remains) -> Result<()>;

/// What putting a run back asks of its verb. It is given what a journal tells of which this program may not understand a
/// line.
pub struct PutBackVerb {
    /// How many replicas the writers had when the run stopped them, as far as that is told.
    pub recorded: fn(&Remains) -> Option<RecordedReplicas>,
    /// The step that stops them. Empty where no step is known.
    pub stops: &'static str,
    /// The step that brings them back: once it is done, whoever stops them again is another. Empty where no step is known.
    pub brings_back: &'static str,
    /// Whether the application is started at all: not on a database that nothing proves.
    pub restarts: bool,
    /// What OpsChain's maintenance mode was before the run has turned it on, if it has and has not turned it back itself.
    pub maintenance: fn(&Remains) -> Option<RecordedMode>,
    /// The bundle that it had made and that stays, as is seen now.
    pub bundle: fn(&Ctx, &Remains) -> Option<String>,
    /// What it may have left outside of the cluster, for people, and how that is removed. It comes last.
    pub elsewhere: (&'static str, RemoveLeft),
}

impl PutBackVerb {
    /// How many replicas each writer had that the run has stopped and has not brought back itself.
    pub fn stopped(&self, remains: &Remains) -> Option<RecordedReplicas> {
        (self.recorded)(remains).filter(|_| !remains.outputs.contains_key(self.brings_back))
    }

    /// Whether it may have stopped writers though nothing tells how many replicas they had: it began to, or a line that is
    /// not understood may say so.
    pub fn may_have_stopped(&self, remains: &Remains) -> bool {
        let brought_back = self.stops.is_empty() || remains.outputs.contains_key(self.brings_back);
        let began = remains.damaged || remains.begun.contains(self.stops);
        !brought_back && began && (self.recorded)(remains).is_none()
    }
}

/// A verb whose runs can be resumed.
pub struct ResumeVerb {
    /// The digests of the lists of steps that this program continues for a plan, its own first; nothing where it does not
    /// understand the plan.
    pub steps: fn(&Value) -> Option<Vec<String>>,
    /// Why the cluster lets an open run not be resumed, where it does not.
    pub refused: for<'a> fn(&'a Ctx, &'a Replay) -> BoxFuture<'a, Result<Option<String>>>,
    /// Continues an open run to its end.
    pub resume: for<'a> fn(&'a Ctx, Journal) -> BoxFuture<'a, Result<()>>,
    /// What aborting an open run would do, as it and the cluster stand.
    pub outlook: for<'a> fn(&'a Ctx, &'a Replay) -> BoxFuture<'a, Result<AbortOutlook>>,
    /// Aborts it: what can be put back is, and the run is closed. Returns what was. May be killed, and repeated.
    pub abort: for<'a> fn(&'a Ctx, &'a mut Journal) -> BoxFuture<'a, Result<Vec<String>>>,
}

/// What aborting a run would do, for people.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct AbortOutlook {
    /// What is put back, in order.
    pub puts_back: Vec<String>,
    pub stays: Vec<String>,
    /// What is lost for good: then the name of the install has to be typed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loses: Option<String>,
    /// The commands that come next.
    pub next: Vec<String>,
}

impl RunVerb {
    /// The first record of a run of this verb on the install of `ctx`.
    ///
    /// # Errors
    /// The cluster cannot be asked who it is, or the plan cannot be written.
    pub async fn begun<W>(&self, ctx: &Ctx, plan: &impl Serialize, steps: &[Step<W, CommandError>]) -> Result<Begun> {
        let (at, install) = (clock::now(), ctx.install());
        Ok(Begun {
            format: journal::FORMAT,
            run: journal::new_run_id(self.name, at),
            verb: self.name.to_owned(),
            namespace: install.namespace.clone(),
            release: install.release.clone(),
            cluster_uid: ctx.cluster().await?.identity().await?,
            plan: serde_json::to_value(plan)
                .map_err(|e| CommandError::new(Exit::Failure, "write the plan").because(e))?,
            steps_sha256: Some(journal::digest(steps)),
            settings: ctx.settings_path.display().to_string(),
            dr_version: env!("CARGO_PKG_VERSION").to_owned(),
            who: ctx.who.clone(),
            at,
        })
    }

    /// What the runner needs.
    pub fn context(&self, ctx: &Ctx) -> RunContext {
        RunContext {
            label: self.label,
            events: ctx.events.clone(),
            cancel: ctx.cancel.clone(),
            secrets: ctx.secrets().clone(),
        }
    }
}

/// Writes down that this process has taken the run up.
///
/// # Errors
/// The journal cannot be written.
pub fn taken_up(ctx: &Ctx, journal: &mut Journal) -> Result<()> {
    Ok(journal.append(Record::Resumed { at: clock::now(), who: ctx.who.clone() })?)
}

/// The error of a plan that this program does not understand, which the table refuses before a verb meets it.
pub fn plan_unreadable(begun: &Begun) -> CommandError {
    CommandError::new(Exit::Resume, format!("the plan of run {} is not understood", begun.run))
}
