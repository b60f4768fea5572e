//! `dr bundle restore`: an empty namespace becomes the install that the bundle was made from, or an install that lives does.
//!
//! Into an empty namespace there are two strategies. `hibernate` is the manual guide's: install stopped and with the database hibernated, put the
//! data in place beside nothing that runs, wake the database. `adopt` makes the database's volume first, fills it, proves
//! it, and has the operator take it up when helm makes the database. Then both prove who the running database is, and
//! start the application. Over an install that lives, what is there is bundled and put to sleep first, and its data is kept
//! beside the new one until that has been proved. Nothing is needed but the bundle, a key that opens it, a cluster with the operator, and helm. A restore that stops is resumed by `dr run resume`: until
//! the last step nothing can take the target for a healthy install, because nothing of it serves.

mod abort;
mod afterwards;
mod chart;
mod config;
mod config_only;
mod database;
mod directory;
mod evidence;
mod existing;
mod existing_steps;
mod facts;
mod gate;
mod held;
mod images;
mod layers;
mod made;
mod overrides;
mod plan;
mod previous_release;
mod proof;
mod release;
mod report;
mod restored_volume;
mod send;
mod since;
mod site;
mod source;
mod steps;
mod storage;
mod strategy;
#[cfg(test)]
pub(super) mod testing;
mod then_upgrade;
mod undo;
mod volume;
mod volumes;
mod work;

use std::collections::BTreeSet;

use futures::future::BoxFuture;
use jiff::SignedDuration;
use serde_json::Value;

pub use afterwards::AfterRestore;
pub use config_only::plan_config;
pub use existing::ExistingInstall;
pub use plan::{RestoreChart, RestorePlan};
pub use report::RestoreReport;
pub use source::{ExistingRequest, RestoreRequest, Which};
pub use strategy::RestoreStrategy;
pub use then_upgrade::ThenUpgrade;

use self::evidence::ServingFacts;
use self::existing::ExistingWants;
use self::held::HoldFacts;
use self::work::RestoreWork;
use super::quiesce::{self, WriterFacts};
use super::runs::verb::{AbortOutlook, Aftermath, ResumeVerb, RunVerb, plan_unreadable, taken_up};
use super::{Ctx, bundles};
use crate::bundle::OutOfScope;
use crate::clock;
use crate::cluster::{Database, NamespaceState};
use crate::error::{CommandError, Exit, Result};
use crate::journal::{self, Journal, Outcome, Outputs, Replay, Step, StepState};
use crate::ops;
use crate::ops::forecast::{self, Forecast};
use crate::ops::hooks;
use crate::settings::{DatabaseSettings, NotifyVerb};

/// `bundle restore` as a run.
pub(super) const RUN: RunVerb = RunVerb {
    name: "restore",
    label: "bundle restore",
    aftermath: Aftermath::Resume(ResumeVerb {
        steps: |plan| read(plan).map(|plan| known_steps(plan.strategy)),
        refused: |ctx, replay| Box::pin(other_namespace(ctx, replay)),
        resume,
        outlook,
        abort: put_back,
    }),
};

/// How long a restore may read its bundle before it is resumed.
const LEASE: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Looks at everything, and touches nothing. `which` is asked where several bundles may be meant.
///
/// # Errors
/// The first thing that would make the restore fail half way or bring back something else, with its own exit code.
pub async fn plan(ctx: &Ctx, request: &RestoreRequest, which: Which<'_>) -> Result<RestorePlan> {
    hooks::require(ctx, NotifyVerb::Restore, &all_step_names())?;
    let keys = bundles::key_files(ctx, &request.bundle, true)?;
    let (bundle, source) = facts::open(ctx, request, &keys, which)?;
    let has_vault = ctx.settings_or_defaults()?.vault.path.is_some();
    // A restore alone needs no settings.
    let has_identity = request.then_upgrade && has_vault && ctx.identities_if_set()?.is_some();
    let (request, then_upgrade) = then_upgrade::asked(request, &source.version, has_vault, has_identity)?;
    let request = &*request;
    let helm_values = bundle.reader.manifest().helm_values_sha256.as_deref();
    let paired = config::pair(ctx, &bundle, request.config.as_deref())?;
    let to_run = gate::version_gate(request, &source)?;
    let (created, from) = (bundle.reader.header().created, source::origin(&source.install));
    let origin = format!("{from}, made {}", source::age(created, clock::now()));
    let target = source::target(ctx.install(), ctx.settings_path.exists(), &ctx.given_install, &source.install);
    let ctx = &ctx.for_install(target);
    ctx.events.waiting("the cluster's answers", None);
    let target = Box::pin(facts::gather(ctx)).await?;
    let version = to_run.version.clone();
    let wants = ExistingWants::of(&source, bundle.reader.manifest().wal.raw.bytes);
    let existing = match &request.existing {
        Some(asked) => Some(Box::pin(existing::inspect(ctx, asked, &target, &wants)).await?),
        None => None,
    };
    if let Some((existing, _)) = existing.as_ref().filter(|_| request.bundle.bundle.is_none()) {
        source::refuse_another_line(bundle.reader.header(), existing.system_identifier.as_deref())?;
    }
    let (mut to_run, mut version) = (to_run, version);
    if let Some((existing, _)) = existing.as_ref().filter(|(existing, _)| existing.data_only) {
        let values = ctx.stored_values(existing.revision).await?.unwrap_or_default();
        config::require_live_fits(ctx, &bundle, &paired, &values).await?;
        // What runs stays: that is what the data has to fit.
        to_run = gate::version_gate(&existing::under_what_runs(request, existing, &values), &source)?;
        version = to_run.version.clone();
    }
    let plan = plan::decide(request, keys, to_run, source, target)?.over(existing)?;
    // Over an install that lives it keeps its name.
    let database = match plan.existing {
        Some(_) => plan.database.clone(),
        None => overrides::database(request.database.clone(), &paired.values, &plan.database)?,
    };
    let plan = RestorePlan { database, ..plan };
    let from = HoldFacts {
        source: &bundle.reader.header().install,
        source_cluster: paired.release.cluster_uid.as_deref(),
        target_cluster: &ctx.cluster().await?.identity().await?,
        target_namespace: &plan.namespace.clone(),
        workers: paired.workers(),
    };
    let plan = plan.with_values(&paired, &version, &from, request.held);
    let (replaced, keeps) = (plan.existing.as_ref().map(|one| one.revision), plan.chart == RestoreChart::Kept);
    let aftermath = Some(Box::pin(afterwards::look(ctx, &bundle, &paired, replaced, keeps, &from)).await?);
    let plan = RestorePlan { then_upgrade, aftermath, ..plan };
    let plan = directory::planned(ctx, &bundle, &paired.values, plan)?;
    then_upgrade::require_charts(ctx, plan.then_upgrade.as_ref()).await?;
    if let RestoreChart::Pulled { .. } = &plan.chart {
        let chart = ctx.helm().await?.chart_facts(&chart::chart(ctx, &bundle, &plan).await?.path()).await?;
        gate::refuse_other_chart(&chart.version, &version, request.allow_version)?;
    }
    facts::check_whole(ctx, &bundle)?;
    let rendered = match plan.chart {
        RestoreChart::Kept => Err("the install's chart stays".to_owned()),
        _ => chart::rendered(ctx, &bundle, &plan).await.map_err(|error| format!("the chart is not known: {error}")),
    };
    if let Ok(rendered) = &rendered {
        chart::require_served(ctx, &bundle, &plan, rendered).await?;
    }
    let rendered = rendered.map(|rendered| rendered.objects);
    let plan = volumes::planned(&bundle, rendered.as_deref().ok(), plan);
    let needed = plan.database_bytes + bundle.reader.manifest().wal.raw.bytes;
    let look = match &rendered {
        Ok(objects) => {
            ctx.events.waiting("the cluster's word on what would be made", None);
            Box::pin(site::look(ctx, &plan, objects, request.take_over.as_deref(), needed)).await?
        }
        Err(_) => site::SiteLook::default(),
    };
    let plan = plan.at_site(look);
    let spec = rendered.and_then(|objects| strategy::database_of(&objects, &plan.database).cloned());
    if let Ok(spec) = &spec {
        strategy::refuse_own_wal_volume(spec, &plan.database)?;
        gate::refuse_other_image(
            bundle.reader.header().postgresql.major,
            spec["imageName"].as_str().unwrap_or_default(),
        )?;
    }
    let asked = plan.existing.as_ref().map_or(request.strategy, |_| Some(RestoreStrategy::IntoExisting));
    let volume = match asked {
        Some(RestoreStrategy::Hibernate | RestoreStrategy::IntoExisting) => Err("it was not looked at".to_owned()),
        Some(RestoreStrategy::Adopt) | None => chart::volume(ctx, &spec, &plan).await?,
    };
    let choice = strategy::choose(asked, &plan.operator, volume)?;
    let mut plan = RestorePlan { origin, ..plan.by(choice) };
    plan.warnings.extend(since::deployed_since(ctx, request, bundle.reader.header(), helm_values));
    if plan.found != NamespaceState::Absent {
        plan.warnings.extend(site::pod_admitted(ctx, &plan, spec.as_ref().ok()).await?);
        site::volume_admitted(ctx, &plan).await?;
    }
    let cluster = ctx.cluster().await?.identity().await?;
    Ok(RestorePlan { forecast: Some(foretold(ctx, &plan, &cluster)), ..plan })
}

/// How long it will take, by what earlier restores of the same strategy took.
fn foretold(ctx: &Ctx, plan: &RestorePlan, cluster: &str) -> Forecast {
    let size = |earlier: &Value| {
        let is_like = read(earlier).filter(|earlier| earlier.strategy == plan.strategy);
        is_like.map(|earlier| earlier.database_bytes)
    };
    let (steps, past) = (steps::steps(plan.strategy), forecast::past(ctx, RUN.name, cluster, size));
    let names: Vec<&str> = steps.iter().map(Step::name).collect();
    forecast::forecast(&names, &[steps::STAGE.text()], plan.database_bytes, &past)
}

/// The digests of the lists of steps that this program continues: its own, and those without a step that came to the end of
/// the list later. Nothing before such a step asks for it, and it does without what an earlier list has not noted.
fn known_steps(strategy: RestoreStrategy) -> Vec<String> {
    let without = |name: &str| {
        let mut earlier = steps::steps(strategy);
        earlier.retain(|step| step.name() != name);
        journal::digest(&earlier)
    };
    vec![
        journal::digest(&steps::steps(strategy)),
        without(steps::KEEP_EVIDENCE.text()),
        without(volumes::RESTORE_VOLUMES.text()),
    ]
}

/// The names of a restore's steps, in order: what the runbook explains and the tests interrupt.
#[cfg(feature = "fault-points")]
pub fn step_names(strategy: RestoreStrategy) -> Vec<&'static str> {
    steps::steps(strategy).iter().map(Step::name).collect()
}

/// The names of all steps that a restore can have.
pub fn all_step_names() -> BTreeSet<&'static str> {
    let ways = [RestoreStrategy::Adopt, RestoreStrategy::Hibernate, RestoreStrategy::IntoExisting];
    ways.into_iter().flat_map(steps::steps).map(|step| step.name()).collect()
}

/// Restores.
///
/// # Errors
/// The step that failed. The run stays open, to be resumed or aborted.
pub async fn restore(ctx: &Ctx, plan: RestorePlan) -> Result<RestoreReport> {
    let ctx = &restored_install(ctx, &plan);
    hooks::around(ctx, NotifyVerb::Restore, restored(ctx, plan)).await
}

/// The install that the plan restores, its database as it is called from then on.
pub fn restored_install(ctx: &Ctx, plan: &RestorePlan) -> Ctx {
    ctx.with_settings(|settings| {
        settings.install = plan.target(&settings.install);
        if settings.database.cluster != plan.database {
            // What else is said of it is said of one of another name.
            settings.database = DatabaseSettings { cluster: plan.database.clone(), ..DatabaseSettings::default() };
        }
    })
}

async fn restored(ctx: &Ctx, plan: RestorePlan) -> Result<RestoreReport> {
    let begun = RUN.begun(ctx, &plan, &steps::steps(plan.strategy)).await?;
    let work = RestoreWork::new(ctx, plan, begun.run.clone());
    work.bundle()?;
    let mut journal = Journal::begin(&*ctx.runs, begun)?;
    run(&work.with(&journal), &mut journal).await
}

fn resume(ctx: &Ctx, mut journal: Journal) -> BoxFuture<'_, Result<()>> {
    Box::pin(async move {
        let work = work_of(ctx, &journal)?;
        let cluster = ctx.cluster().await?;
        let writers = quiesce::writers_of(&cluster.workloads().await?);
        let database = cluster.database(&work.plan.database).await?;
        refuse_started(&work.plan, journal.replay(), &writers, database.as_ref())?;
        work.bundle()?;
        taken_up(ctx, &mut journal)?;
        hooks::around(ctx, NotifyVerb::Restore, run(&work, &mut journal)).await.map(drop)
    })
}

/// Refuses to go on beneath what somebody has started since: it has other data than the run is to bring.
///
/// # Errors
/// [`Exit::Resume`] naming what serves, with the command that stops it.
fn refuse_started(
    plan: &RestorePlan,
    replay: &Replay,
    writers: &[WriterFacts],
    database: Option<&Database>,
) -> Result<()> {
    let (run, namespace) = (&replay.begun.run, &replay.begun.namespace);
    let refused = |what: String, way: String| {
        let what = format!("run {run} cannot be resumed: {what}, which somebody has started since");
        Err(CommandError::new(Exit::Resume, what).hint(format!(
            "What is in it now is not the bundle's. When nothing of it is needed: {way}, then `dr run resume {run}`."
        )))
    };
    let begun = |step: &str| replay.state(step) != StepState::Pending;
    // What lives goes on until it is stopped.
    let were_stopped = plan.existing.is_none() || begun(existing_steps::NAME_SAFETY_BUNDLE.text());
    let serving = writers.iter().find(|writer| writer.now > 0);
    if let Some(writer) = serving.filter(|_| were_stopped && !begun(steps::START.text())) {
        return refused(writer.running(), format!("`dr server stop -n {namespace}`"));
    }
    if let Some(Database { name, .. }) = database
        && plan.strategy == RestoreStrategy::Adopt
        && !begun(steps::INSTALL.text())
    {
        let delete = format!("`kubectl -n {namespace} delete clusters.postgresql.cnpg.io {name}`");
        return refused(format!("there is a database {name}"), delete);
    }
    let sleeps = replay.state(steps::WAIT_HIBERNATED.text()) == StepState::Succeeded && !begun(steps::WAKE.text());
    match database.filter(|database| sleeps && !database.is_hibernated()) {
        Some(Database { name, .. }) => refused(
            format!("database {name} is awake"),
            format!(
                "`kubectl -n {namespace} annotate --overwrite cluster.postgresql.cnpg.io/{name} cnpg.io/hibernation=on`"
            ),
        ),
        None => Ok(()),
    }
}

async fn run(work: &RestoreWork, journal: &mut Journal) -> Result<RestoreReport> {
    bundles::hold(&work.ctx, &work.plan.source, &journal.replay().begun.run, LEASE);
    let steps = hooks::around_steps(&work.ctx, NotifyVerb::Restore, steps::steps(work.plan.strategy));
    journal::execute(&RUN.context(&work.ctx), journal, &steps, work).await?;
    report(&work.ctx, &work.plan, journal.replay())
}

/// Tells of a restore that came to its end.
///
/// # Errors
/// There is none of this id, or its journal is not understood.
pub fn report_of(ctx: &Ctx, run: &str) -> Result<RestoreReport> {
    let (_, run) = journal::find(&*ctx.runs, run)?;
    let begun = &run.replay.begun;
    report(ctx, &read(&begun.plan).ok_or_else(|| plan_unreadable(begun))?, &run.replay)
}

fn report(ctx: &Ctx, plan: &RestorePlan, replay: &Replay) -> Result<RestoreReport> {
    let outputs = Outputs::of(replay);
    let (identity, staged) = (outputs.get(steps::PROVE_IDENTITY)?, outputs.get(steps::STAGE)?);
    let deployment = outputs.get(steps::RECORD)?;
    let install = format!("{}/{}", plan.namespace, plan.release);
    let (serves, seen) = ServingFacts::said(outputs.maybe(steps::WAIT_SERVING).as_ref(), &install, &plan.version);
    let has_vault = ctx.settings_or_defaults()?.vault.path.is_some();
    let safety_bundle = abort::safety_bundle(replay);
    let next = next(
        plan.hold.is_some(),
        deployment.is_some() || plan.chart == RestoreChart::Kept,
        has_vault,
        &ctx.install().chart,
        plan::init(&plan.opened_by, &plan.namespace, &plan.release),
    );
    let upgrade = plan.then_upgrade.as_ref().map(|then| then.command(ctx.install()));
    let unread = outputs.maybe(directory::RESTORE_DIRECTORY).and_then(|outcome| outcome.left_out());
    let scope: Vec<OutOfScope> = unread.into_iter().chain(plan.scope.clone()).collect();
    Ok(RestoreReport {
        way_back: safety_bundle.as_ref().map(|bundle| abort::back_to(bundle, &plan.namespace)),
        safety_bundle,
        bundle: plan.bundle.clone(),
        arguments: plan.arguments(),
        held: plan.hold.as_ref().map(|hold| hold.because.clone()),
        upgraded: None,
        next: upgrade.into_iter().chain(next).collect(),
        install,
        serves,
        seen,
        version: plan.version.clone(),
        system_identifier: identity.system_identifier,
        lsn: identity.lsn,
        files: staged.files,
        deployment,
        milliseconds: replay.last.duration_since(replay.begun.at).as_millis().try_into().unwrap_or(0),
        afterwards: AfterRestore::of(plan.aftermath.as_ref(), &plan.bundle, &scope),
        scope,
        evidence: ops::evidence::of_run(ctx, &replay.begun.run),
        forecast: forecast::outcome_of(ctx, &replay.begun.run, plan.forecast.as_ref()),
    })
}

/// What leads from a restored install, its workers first where they are held, to its next bundle, which needs the deployment in a vault, its chart with it.
fn next(held: bool, recorded: bool, has_vault: bool, chart: &str, init: String) -> Vec<String> {
    let record = || format!("dr config record --from-helm --chart {chart}");
    let mut commands = match (recorded, has_vault) {
        (true, _) => Vec::new(),
        (false, true) => vec!["dr config verify".into(), record()],
        (false, false) => vec![init, record()],
    };
    commands.push("dr bundle create".into());
    if held {
        commands.insert(0, "dr server start".into());
    }
    commands
}

/// The plan of a journal, where it is understood.
fn read(plan: &Value) -> Option<RestorePlan> {
    serde_json::from_value(plan.clone()).ok()
}

fn work_of(ctx: &Ctx, journal: &Journal) -> Result<RestoreWork> {
    let begun = &journal.replay().begun;
    let plan = read(&begun.plan).ok_or_else(|| plan_unreadable(begun))?;
    Ok(RestoreWork::new(ctx, plan, begun.run.clone()).with(journal))
}

/// Why the target is not the one that the run has worked on, where it is not.
async fn other_namespace(ctx: &Ctx, replay: &Replay) -> Result<Option<String>> {
    let outputs = Outputs::of(replay);
    let found = || outputs.maybe(existing_steps::FIND_INSTALL).map(|found| found.namespace);
    let Some(created) = outputs.maybe(steps::CREATE_NAMESPACE).or_else(found) else { return Ok(None) };
    let found = ctx.cluster().await?.namespace_uid().await?;
    Ok(deleted_since(&replay.begun.namespace, &created, found.as_deref()))
}

/// Judges by the UIDs of the namespace that the run has created or found, and of the one that is there.
fn deleted_since(namespace: &str, created: &str, found: Option<&str>) -> Option<String> {
    let is_other = found != Some(created);
    is_other.then(|| format!("namespace {namespace} is not the one that it worked in: that was deleted since"))
}

fn outlook<'a>(ctx: &'a Ctx, replay: &'a Replay) -> BoxFuture<'a, Result<AbortOutlook>> {
    Box::pin(async move {
        let plan = read(&replay.begun.plan).ok_or_else(|| plan_unreadable(&replay.begun))?;
        let writers = quiesce::writers_of(&ctx.cluster().await?.workloads().await?);
        Ok(abort::outlook(&plan, replay, &writers))
    })
}

fn put_back<'a>(ctx: &'a Ctx, journal: &'a mut Journal) -> BoxFuture<'a, Result<Vec<String>>> {
    Box::pin(async move {
        let work = work_of(ctx, journal)?;
        let strategy = work.plan.strategy;
        let steps = abort::undone_steps(strategy, abort::extent(strategy, journal.replay()));
        let before = journal::to_undo(&steps, journal.replay());
        journal::put_back(&RUN.context(ctx), journal, &steps, &work, Outcome::Aborted).await?;
        let left = journal::to_undo(&steps, journal.replay());
        Ok(before.into_iter().filter(|title| !left.contains(title)).map(str::to_owned).collect())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::testing::{MemoryRuns, begun};

    #[test]
    fn a_namespace_that_is_gone_or_was_made_anew_is_not_the_one_of_the_run() {
        let refused = Some("namespace here is not the one that it worked in: that was deleted since".to_owned());
        for (found, reason) in [(Some("u1"), None), (Some("u2"), refused.clone()), (None, refused)] {
            assert_eq!(deleted_since("here", "u1", found), reason, "{found:?}");
        }
    }

    #[test]
    fn what_follows_a_restore_looks_at_the_database_by_its_new_name() {
        let ctx = crate::ops::testing::ctx(&MemoryRuns::default());
        let plan = RestorePlan { database: "renamed-db".parse().unwrap(), ..testing::plan() };
        let restored = restored_install(&ctx, &plan);
        let database = &restored.settings_or_defaults().unwrap().database;
        assert_eq!((database.cluster.to_string(), database.service()), ("renamed-db".into(), "renamed-db-rw".into()));
        assert_eq!(restored.install().namespace, plan.namespace);
    }

    #[test]
    fn a_restore_leads_to_the_next_bundle_on_any_host() {
        let record = "dr config record --from-helm --chart oci://r/c";
        let init = || plan::init(&["age1escrow".to_owned()], &"ops".into(), &"opschain".into());
        let next = |recorded, has_vault| next(false, recorded, has_vault, "oci://r/c", init());
        assert_eq!(next(true, true), ["dr bundle create"]);
        assert_eq!(
            next(false, false),
            ["dr init -n ops --release opschain --recipient age1escrow", record, "dr bundle create"]
        );
        assert_eq!(next(false, true), ["dr config verify", record, "dr bundle create"]);
        assert_eq!(super::next(true, true, true, "oci://r/c", init()), ["dr server start", "dr bundle create"]);
    }

    #[tokio::test]
    async fn a_run_that_has_created_no_namespace_is_not_asked_for_it() {
        let ctx = crate::ops::testing::ctx(&MemoryRuns::default());
        assert_eq!(other_namespace(&ctx, &Replay::begin(begun("restore-1"))).await.unwrap(), None);
    }
}
