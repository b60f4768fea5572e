//! `dr bundle create`: one restorable file of database and exact config, while the application runs.
//!
//! Whatever fails or dies, the writers get their replicas back: at once, or by the next `dr` that meets the open run.

mod config;
mod facts;
mod plan;
mod recognise;
mod steps;
mod vault_config;
mod work;

use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use serde::Serialize;
use serde_json::Value;

pub use plan::{CreatePlan, CreateRequest};

use self::work::CreateWork;
use super::Ctx;
use super::runs::verb::{AbortOutlook, PutBackReport, Resumed, RunVerb, plan_unreadable, taken_up};
use crate::bundle::OutOfScope;
use crate::error::Result;
use crate::journal::{self, Journal, Outcome, Outputs, Policy, Replay, Step};
use crate::postgres::Lsn;
use crate::settings::Quiesce;

/// `bundle create` as a run.
pub(super) const RUN: RunVerb = RunVerb {
    name: "create",
    label: "bundle create",
    policy: Policy::PutBack,
    steps: digest,
    refused: |_, _| Box::pin(async { Ok(None) }),
    resume,
    outlook: |_, replay| Box::pin(async { outlook(replay) }),
    abort,
};

/// A bundle that was made.
#[derive(Debug, Serialize)]
pub struct CreateReport {
    pub bundle: String,
    pub address: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// The OpsChain version that made the data.
    pub opschain_version: String,
    /// Bytes of the data directory and the log before compression.
    pub raw_bytes: u64,
    /// The database's identity.
    pub system_identifier: String,
    /// Up to where the log reaches.
    pub lsn: Lsn,
    /// How long the writers were stopped; absent when they were not.
    pub stopped_milliseconds: Option<u64>,
    /// How long all took.
    pub milliseconds: u64,
    /// What it does not hold.
    pub scope: Vec<OutOfScope>,
}

/// Looks at everything, and touches nothing.
///
/// # Errors
/// The first thing that would make the bundle worthless or stop half way, with its own exit code.
pub async fn plan(ctx: &Ctx, request: &CreateRequest) -> Result<CreatePlan> {
    plan::decide(request, facts::gather(ctx).await?)
}

/// The names of a bundle's steps, in order: what the tests interrupt.
#[cfg(feature = "fault-points")]
pub fn step_names(quiesce: Quiesce) -> Vec<&'static str> {
    steps::steps(quiesce).iter().map(Step::name).collect()
}

/// Makes the bundle.
///
/// # Errors
/// The step that failed; everything it had changed has then been put back, or the error says what could not be.
pub async fn create(ctx: &Ctx, plan: CreatePlan) -> Result<CreateReport> {
    let began = Instant::now();
    let steps = steps::steps(plan.quiesce);
    let begun = RUN.begun(ctx, &plan, &steps).await?;
    let work = CreateWork::new(ctx, plan, begun.run.clone())?;
    let mut journal = Journal::begin(&*ctx.runs, begun)?;
    let outputs = journal::execute(&RUN.context(ctx), &mut journal, &steps, &work, RUN.policy).await?;
    report(&work, &outputs, began.elapsed())
}

fn report(work: &CreateWork, outputs: &Outputs, took: Duration) -> Result<CreateReport> {
    let (id, done) = (outputs.get(steps::NAME_BUNDLE)?, outputs.get(steps::COPY_WAL)?);
    let stopped = match (outputs.maybe(steps::STOP_WRITERS), outputs.maybe(steps::RESUME_WRITERS)) {
        (Some(from), Some(to)) => u64::try_from(to.duration_since(from).as_millis()).ok(),
        _ => None,
    };
    Ok(CreateReport {
        bundle: id.to_string(),
        address: work.store.address(id.as_str()),
        bytes: outputs.get(steps::PUBLISH)?,
        opschain_version: work.plan.live.opschain_version.clone(),
        raw_bytes: done.base_totals.raw_bytes + done.wal_totals.raw_bytes,
        system_identifier: done.base.system_identifier.to_string(),
        lsn: done.wal_until,
        stopped_milliseconds: stopped,
        milliseconds: took.as_millis().try_into().unwrap_or(u64::MAX),
        scope: work.plan.scope.clone(),
    })
}

/// The plan of a journal, where it is understood.
fn read(plan: &Value) -> Option<CreatePlan> {
    serde_json::from_value(plan.clone()).ok()
}

fn digest(plan: &Value) -> Option<String> {
    read(plan).map(|plan| journal::digest(&steps::steps(plan.quiesce)))
}

/// The moment that the bundle was to hold is over: what the dead run had changed is put back.
fn resume(ctx: &Ctx, mut journal: Journal) -> BoxFuture<'_, Result<Resumed>> {
    Box::pin(async move {
        taken_up(ctx, &mut journal)?;
        put_back(ctx, &mut journal, Outcome::PutBack).await?;
        Ok(Resumed::PutBack(PutBackReport { run: journal.replay().begun.run.clone() }))
    })
}

fn abort<'a>(ctx: &'a Ctx, journal: &'a mut Journal) -> BoxFuture<'a, Result<()>> {
    Box::pin(put_back(ctx, journal, Outcome::Aborted))
}

/// Puts back what a run had changed.
///
/// # Errors
/// Something could not be put back; the run stays open and the next `dr` tries again.
async fn put_back(ctx: &Ctx, journal: &mut Journal, outcome: Outcome) -> Result<()> {
    let begun = &journal.replay().begun;
    let plan = read(&begun.plan).ok_or_else(|| plan_unreadable(begun))?;
    let work = CreateWork::new(ctx, plan, begun.run.clone())?;
    let steps = steps::steps(work.plan.quiesce);
    Ok(journal::put_back(&RUN.context(ctx), journal, &steps, &work, outcome).await?)
}

/// Aborting puts back what the next `dr` that meets the dead run would.
fn outlook(replay: &Replay) -> Result<AbortOutlook> {
    let plan = read(&replay.begun.plan).ok_or_else(|| plan_unreadable(&replay.begun))?;
    let puts_back = journal::to_undo(&steps::steps(plan.quiesce), replay);
    Ok(AbortOutlook {
        puts_back: puts_back.into_iter().map(str::to_owned).collect(),
        next: vec!["dr bundle create".into()],
        ..AbortOutlook::default()
    })
}
