//! `dr bundle create`: one restorable file of database and exact config, while the application runs.
//!
//! Whatever fails or dies, the writers get their replicas back: at once, or by the next `dr` that meets the open run.

mod asked_volumes;
mod config;
mod copy_volumes;
mod directory;
mod facts;
mod left_out;
mod lost_wal;
mod mark;
mod plan;
mod preserved;
mod quiet;
mod recognise;
mod request;
mod room;
mod steps;
mod stopping;
mod vault_config;
mod volumes;
mod wal_rate;
mod work;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

pub use left_out::{refuse_odd_volumes, refuse_tablespaces};
pub use plan::CreatePlan;
pub use request::CreateRequest;
pub(super) use vault_config::VaultConfig;

use self::work::CreateWork;
use super::quiesce::RecordedReplicas;
use super::runs::undo;
use super::runs::verb::{Aftermath, PutBackVerb, RunVerb};
use super::{Ctx, bundles, copy};
use crate::bundle::{BundleId, OutOfScope};
use crate::error::{CommandError, Result};
use crate::journal::{self, ClosingRun, Journal, Outcome, Outputs, Remains};
use crate::ops::forecast::{self, Forecast, ForecastOutcome};
use crate::ops::hooks;
use crate::opschain::maintenance::RecordedMode;
use crate::postgres::Lsn;
use crate::settings::{NotifyVerb, Quiesce};
use crate::store::DraftToken;

/// `bundle create` as a run.
pub(super) const RUN: RunVerb =
    RunVerb { name: "create", label: "bundle create", aftermath: Aftermath::PutBack(PUT_BACK) };

const PUT_BACK: PutBackVerb = PutBackVerb {
    recorded,
    stops: steps::STOP_WRITERS.text(),
    brings_back: steps::RESUME_WRITERS.text(),
    restarts: true,
    maintenance: mode_left,
    bundle: published_bundle,
    elsewhere: ("remove the draft from the store", discard_draft),
};

/// A bundle that was made.
#[derive(Debug, Serialize)]
pub struct CreateReport {
    pub bundle: String,
    pub address: String,
    /// The command that checks all of it.
    pub verify: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// The OpsChain version that made the data.
    pub opschain_version: String,
    /// The mirrors that it is in as well.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub copies: Vec<String>,
    /// Bytes of the data directory and the log before compression.
    pub raw_bytes: u64,
    /// The database's identity.
    pub system_identifier: String,
    /// Up to where the log reaches.
    pub lsn: Lsn,
    /// How long the writers were stopped: from the first that was to have no replicas to the last that was to have them
    /// again; absent when they were not.
    pub stopped_milliseconds: Option<u64>,
    /// How long it took, from the same moment, until all of them were seen to serve again.
    pub serving_milliseconds: Option<u64>,
    /// The writers that somebody has stopped before, and by whom.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stays_stopped: Vec<String>,
    /// How long all took.
    pub milliseconds: u64,
    /// How wrong the forecast was, where anything was known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forecast: Option<ForecastOutcome>,
    /// What it does not hold.
    pub scope: Vec<OutOfScope>,
}

/// Looks at everything, and touches nothing.
///
/// # Errors
/// The first thing that would make the bundle worthless or stop half way, with its own exit code.
pub async fn plan(ctx: &Ctx, request: &CreateRequest) -> Result<CreatePlan> {
    hooks::require(ctx, NotifyVerb::Create, &all_step_names())?;
    // On the heap: the plan of a restore holds this one, and a stack has an end.
    let plan = plan::decide(request, Box::pin(facts::gather(ctx, RUN.name, request)).await?)?;
    let cluster = ctx.cluster().await?.identity().await?;
    Ok(CreatePlan { forecast: Some(foretold(ctx, &plan, &cluster)), ..plan })
}

/// How long it will take, by what earlier bundles of the same way of quiescing and the same rate took.
fn foretold(ctx: &Ctx, plan: &CreatePlan, cluster: &str) -> Forecast {
    let size = |earlier: &Value| {
        let earlier: CreatePlan = serde_json::from_value(earlier.clone()).ok()?;
        let names = |plan: &CreatePlan| plan.volumes.iter().map(|volume| volume.name.clone()).collect::<Vec<_>>();
        let is_like =
            earlier.quiesce == plan.quiesce && earlier.max_rate == plan.max_rate && names(&earlier) == names(plan);
        is_like.then_some(earlier.live.databases_bytes)
    };
    let (steps, past) = (
        steps::steps(plan.quiesce, plan.drains(), !plan.volumes.is_empty()),
        forecast::past(ctx, RUN.name, cluster, size),
    );
    let names: Vec<&str> = steps.iter().map(journal::Step::name).collect();
    forecast::forecast(&names, &steps::BY_SIZE, plan.live.databases_bytes, &past)
}

/// A name for a bundle of the install of `ctx` that is to be made now.
///
/// # Errors
/// As the step that names one.
pub fn new_name(ctx: &Ctx) -> Result<BundleId> {
    steps::new_name(&ctx.install().release)
}

/// The names of a bundle's steps, in order: what the tests interrupt.
#[cfg(feature = "fault-points")]
pub fn step_names(quiesce: crate::settings::Quiesce, drains: bool) -> Vec<&'static str> {
    steps::steps(quiesce, drains, false).iter().map(journal::Step::name).collect()
}

/// The names of all steps that the making of a bundle can have.
pub fn all_step_names() -> BTreeSet<&'static str> {
    let ways = [Quiesce::Brief, Quiesce::Full, Quiesce::None].map(|quiesce| [(quiesce, false), (quiesce, true)]);
    let steps = ways.into_iter().flatten().flat_map(|(quiesce, drains)| steps::steps(quiesce, drains, true));
    steps.map(|step| step.name()).collect()
}

/// Makes the bundle.
///
/// # Errors
/// The step that failed; everything it had changed has then been put back, or the error says what could not be.
pub async fn create(ctx: &Ctx, plan: CreatePlan) -> Result<CreateReport> {
    hooks::around(ctx, NotifyVerb::Create, create_journalled(ctx, plan)).await
}

async fn create_journalled(ctx: &Ctx, plan: CreatePlan) -> Result<CreateReport> {
    let began = Instant::now();
    let steps = hooks::around_steps(
        ctx,
        NotifyVerb::Create,
        steps::steps(plan.quiesce, plan.drains(), !plan.volumes.is_empty()),
    );
    let begun = RUN.begun(ctx, &plan, &steps).await?;
    let work = CreateWork::new(ctx, plan, begun.run.clone())?;
    let mut journal = Journal::begin(&*ctx.runs, begun)?;
    match journal::execute(&RUN.context(ctx), &mut journal, &steps, &work).await {
        Ok(outputs) => {
            let copies = copy::after_create(ctx, outputs.get(steps::NAME_BUNDLE)?.as_str())?;
            Ok(CreateReport { copies, ..report(&work, &outputs, began.elapsed())? })
        }
        Err(failure) => Err(put_back(&work, journal, failure.error).await),
    }
}

/// Puts everything back, and says so where the bundle was complete before the step failed.
async fn put_back(work: &CreateWork, journal: Journal, error: CommandError) -> CommandError {
    work.let_go().await;
    let remains = Remains::from(journal.replay());
    let closing = Some(ClosingRun::of(journal));
    let undone = undo::undo(&work.ctx, &PUT_BACK, &remains, closing, Outcome::PutBack).await;
    let error = undo::after(error, &work.run, undone);
    match remains.outputs.get(steps::PUBLISH.text()).and(bundle_of(&remains)) {
        Some(bundle) => error
            .context(format!("bundle {bundle} is complete, but"))
            .hint(format!("It was read back and published: `dr bundle show {bundle}`.")),
        None => error,
    }
}

fn report(work: &CreateWork, outputs: &Outputs, took: Duration) -> Result<CreateReport> {
    let (id, done) = (outputs.get(steps::NAME_BUNDLE)?, outputs.get(steps::COPY_WAL)?);
    let stopped_at = outputs.maybe(steps::STOP_WRITERS).filter(|_| work.plan.stops()).map(|(at, ..)| at);
    let since_stop = |to: Option<Timestamp>| u64::try_from(to?.duration_since(stopped_at?).as_millis()).ok();
    Ok(CreateReport {
        bundle: id.to_string(),
        verify: bundles::verify_command(&work.ctx, &format!("./{id}.tar"), None),
        address: work.store.address(id.as_str()),
        copies: Vec::new(),
        bytes: outputs.get(steps::PUBLISH)?,
        opschain_version: work.plan.live.opschain_version.clone(),
        raw_bytes: done.base_totals.raw_bytes + done.wal_totals.raw_bytes,
        system_identifier: done.base.system_identifier.to_string(),
        lsn: done.wal_until,
        stopped_milliseconds: since_stop(outputs.maybe(steps::RESUME_WRITERS)),
        serving_milliseconds: since_stop(outputs.maybe(steps::WAIT_SERVING)).filter(|_| work.plan.unready.is_empty()),
        stays_stopped: work.plan.stays_stopped.clone(),
        milliseconds: took.as_millis().try_into().unwrap_or(u64::MAX),
        forecast: forecast::outcome_of(&work.ctx, &work.run, work.plan.forecast.as_ref()),
        scope: steps::scope(work, outputs)?,
    })
}

/// How many replicas the writers had when the run stopped them. Taken by its form, so that it is found in whatever step's
/// output another version has left it, and in the plan where that line is lost or tells of no writer. That none ran is
/// believed only where the plan says the same.
fn recorded(remains: &Remains) -> Option<RecordedReplicas> {
    let counts = |value: &serde_json::Value| {
        serde_json::from_value::<RecordedReplicas>(value.clone()).ok().filter(RecordedReplicas::is_possible)
    };
    let planned = counts(&remains.plan["live"]["replicas"]);
    let none_ran = planned.clone().filter(|planned| !planned.has_any());
    let stopped = remains.outputs.contains_key(steps::STOP_WRITERS.text());
    let told = remains.outputs.values().filter_map(counts).find(RecordedReplicas::has_any);
    told.or_else(|| planned.filter(|_| stopped)).or(none_ran)
}

/// What maintenance mode was before the run has turned it on, where it has not turned it back itself. In the plan where
/// that line is lost.
fn mode_left(remains: &Remains) -> Option<RecordedMode> {
    let output = |step: &str| remains.outputs.get(step);
    let recorded = output(steps::RECORD_MODE.text());
    let left = output(steps::LEAVE_MAINTENANCE.text()) == Some(&true.into())
        || (output(steps::LEAVE_MAINTENANCE.text()).is_some() && output(steps::WAIT_SERVING.text()).is_some());
    let planned = remains.plan["sight"].get("mode").filter(|_| remains.damaged);
    let mode = recorded.or(planned).filter(|_| !left)?;
    serde_json::from_value(mode.clone()).ok()
}

/// The bundle, where it is in the store: its run may have died before it could write down that it had published it.
fn published_bundle(ctx: &Ctx, remains: &Remains) -> Option<String> {
    let (bundle, place) = (bundle_of(remains)?, remains.plan["store"].as_str()?);
    let listed = ctx.store_at(place).ok()?.list().ok()?;
    listed.iter().any(|object| object.name == bundle).then(|| bundle.to_owned())
}

fn bundle_of(remains: &Remains) -> Option<&str> {
    remains.outputs.get(steps::NAME_BUNDLE.text())?.as_str()
}

/// A draft is no bundle: nothing lists it, and this removes it. What is published by now is no draft any more.
fn discard_draft(ctx: &Ctx, remains: &Remains) -> Result<()> {
    let (Some(bundle), Some(place)) = (bundle_of(remains), remains.plan["store"].as_str()) else { return Ok(()) };
    let sealed = remains.outputs.get(steps::SEAL_CONFIG.text());
    let token = sealed.and_then(|token| serde_json::from_value(token.clone()).ok());
    ctx.store_at(place)?.abort(&token.unwrap_or_else(|| DraftToken::named(bundle)))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::journal::Replay;
    use crate::journal::testing::begun;

    fn remains(outputs: serde_json::Value) -> Remains {
        let plan = json!({"live": {"replicas": {"writers": [{"name": "opschain-api", "replicas": 2}]}}});
        let mut replay = Replay::begin(journal::Begun { plan, ..begun("create-1") });
        replay.outputs = serde_json::from_value(outputs).unwrap();
        Remains::from(&replay)
    }

    #[test]
    fn a_run_that_began_to_stop_writers_has_maybe_done_so_unless_their_counts_are_known() {
        let begun = |steps: &[&str], outputs| {
            let begun = steps.iter().map(|step| (*step).to_owned()).collect();
            PUT_BACK.may_have_stopped(&Remains { begun, ..remains(outputs) })
        };
        let recorded = json!({"writers": [{"name": "opschain-api", "replicas": 3}]});
        let both = &["record-replicas", "stop-writers"];
        assert!(begun(both, json!({})) && begun(both, json!({"record-replicas": {"writers": []}})));
        assert!(
            !begun(both, json!({"record-replicas": recorded})) && !begun(&both[..1], json!({"record-replicas": null}))
        );
        assert!(!begun(both, json!({"resume-writers": "t"})), "it has put them back");
        assert!(PUT_BACK.may_have_stopped(&Remains { damaged: true, ..remains(json!({})) }), "a line may have said so");
        let none_ran = json!({"live": {"replicas": {"writers": []}}});
        let begun = ["stop-writers".to_owned()].into();
        let empty = remains(json!({"record-replicas": {"writers": []}}));
        assert!(!PUT_BACK.may_have_stopped(&Remains { plan: none_ran, begun, ..empty }), "there was none to stop");
    }

    #[test]
    fn the_mode_is_known_until_the_run_has_put_it_back() {
        let left = |outputs| (PUT_BACK.maintenance)(&remains(outputs)).map(RecordedMode::word);
        let was = json!({"was": "superuser_override"});
        assert_eq!(left(json!({"record-mode": was})), Some("superuser_override"));
        assert_eq!(left(json!({"record-mode": {"was": null}, "leave-maintenance": false})), Some("disabled"));
        assert_eq!(left(json!({"record-mode": was, "leave-maintenance": true})), None);
        assert_eq!(left(json!({"record-mode": was, "leave-maintenance": false, "wait-serving": null})), None);
        assert_eq!(left(json!({})), None, "it was not turned on");
    }

    #[test]
    fn the_counts_are_found_wherever_the_journal_has_them_until_the_run_has_brought_the_writers_back() {
        let counts = |outputs| PUT_BACK.stopped(&remains(outputs)).map(|recorded| recorded.line());
        let recorded = json!({"writers": [{"name": "opschain-api", "replicas": 3}]});
        assert_eq!(counts(json!({"record-replicas": recorded})).unwrap(), "opschain-api 3");
        assert_eq!(counts(json!({"of-another-version": recorded})).unwrap(), "opschain-api 3");
        assert_eq!(counts(json!({"stop-writers": "t"})).unwrap(), "opschain-api 2", "its own line is lost");
        assert_eq!(counts(json!({})), None, "nothing was stopped");
        for none in [json!(null), json!({"writers": []}), json!({"writers": [{"name": "opschain-api", "replicas": 0}]})]
        {
            assert_eq!(counts(json!({"record-replicas": none})), None, "the plan says that one ran");
            assert_eq!(counts(json!({"record-replicas": none, "stop-writers": "t"})).unwrap(), "opschain-api 2");
        }
        assert_eq!(counts(json!({"record-replicas": recorded, "resume-writers": "t"})), None, "it has put them back");
    }
}
