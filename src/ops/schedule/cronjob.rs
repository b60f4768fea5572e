//! The schedule of an install that is a CronJob: listed, run, paused, taken away.

use std::time::Duration;

use super::cronjob_parts;
use super::list::ScheduleLine;
use super::request::{ScheduleManager, ScheduleReport};
use crate::clock;
use crate::cluster::{CronJobFacts, leads_somewhere};
use crate::error::{CommandError, Exit, Result};
use crate::ops::Ctx;
use crate::settings::Install;

/// How long a bundle that was started by hand is waited for, where Kubernetes sets no limit.
const RUN_LIMIT: Duration = Duration::from_secs(24 * 3600);
/// How long after its limit Kubernetes may take to end one: its pod puts back what it has stopped.
const GRACE: Duration = Duration::from_secs(20 * 60);

/// The CronJobs of the namespace. Where no cluster is known, there are none; one that cannot be asked is warned of.
pub(super) async fn lines(ctx: &Ctx) -> Vec<ScheduleLine> {
    if !leads_somewhere() {
        return Vec::new();
    }
    let asked = async { Ok::<_, CommandError>(ctx.cluster().await?.bundle_cron_jobs().await?) };
    match asked.await {
        Ok(known) => known.iter().map(|facts| line(ctx, facts)).collect(),
        Err(error) => {
            let what = format!("whether a CronJob makes bundles is not known: {error}");
            match ctx.settings().is_ok_and(|settings| settings.store.url.is_some()) {
                true => vec![unknown(ctx, what)],
                // Into a folder of this host none does.
                false => {
                    ctx.events.warn(what, error.hints().first().cloned());
                    Vec::new()
                }
            }
        }
    }
}

/// The line of a schedule that there may be.
fn unknown(ctx: &Ctx, why: String) -> ScheduleLine {
    let Install { namespace, release, .. } = ctx.install();
    let (install, timer) = (format!("{namespace}/{release}"), cronjob_parts::name(ctx.install()));
    ScheduleLine::unread(install, ScheduleManager::CronJob, timer, why)
}

fn line(ctx: &Ctx, facts: &CronJobFacts) -> ScheduleLine {
    let zone = facts.time_zone.as_deref().unwrap_or("the controller's time");
    ScheduleLine {
        install: format!("{}/{}", ctx.install().namespace, facts.release),
        manager: ScheduleManager::CronJob,
        timer: facts.name.clone(),
        at: format!("{} ({zone})", facts.schedule),
        settings: format!("ConfigMap {}", facts.name),
        waiting: Some(!facts.suspended),
        next: None,
        last: facts.last.map(|(at, _)| at).or(facts.last_scheduled),
        result: facts.last.map(|(_, succeeded)| if succeeded { "success" } else { "failed" }.to_owned()),
        code: None,
        error: None,
        held_up: facts.held_up.clone(),
    }
}

/// Starts one bundle now, as the CronJob would, and waits for its end.
///
/// # Errors
/// There is no such CronJob, or the bundle was not made; what its pod said last is in the hints.
pub async fn run_cron_job(ctx: &Ctx) -> Result<ScheduleReport> {
    let facts = existing(ctx).await?;
    let cluster = ctx.cluster().await?;
    let job = format!("{}-{}", facts.name, clock::now().as_second() % 1_000_000_000);
    cluster.start_job(&facts.name, &job).await?;
    ctx.events.note(format!("Job {job} is started."));
    let limit = facts.deadline.map_or(RUN_LIMIT, |deadline| deadline + GRACE);
    let end = tokio::select! {
        end = cluster.wait_job(&job, limit, &ctx.events) => end.map_err(|error| {
            let error = CommandError::from(error);
            let delete = format!("kubectl -n {} delete job {job}", cluster.namespace());
            error.hint(format!("While that Job is there, the CronJob starts no other: `{delete}` takes it away."))
        })?,
        () = ctx.cancel.cancelled() => {
            let namespace = cluster.namespace();
            return Err(crate::ops::interrupted().hint(format!(
                "The bundle is still being made, in the cluster: `kubectl -n {namespace} logs -f job/{job}` follows it."
            )));
        }
    };
    if end.succeeded {
        return Ok(report(ctx, &facts, "ran"));
    }
    let code = end.code.map(|code| format!(", exit code {code}")).unwrap_or_default();
    let why = end.reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
    let error = CommandError::new(Exit::Failure, format!("the scheduled bundle (Job {job}) was not made{code}{why}"));
    let said = end.log.into_iter().map(|line| ctx.secrets().scrub(&line).into_owned());
    let error =
        said.filter(|line| !line.trim().is_empty()).fold(error, |error, line| error.hint(format!("it said: {line}")));
    Err(error.hint(format!("`kubectl -n {} logs job/{job} --all-containers` shows all of it.", cluster.namespace())))
}

/// Has the CronJob start nothing more. A bundle that is being made goes on.
///
/// # Errors
/// There is no such CronJob, or it may not be changed.
pub async fn pause_cron_job(ctx: &Ctx) -> Result<ScheduleReport> {
    let facts = existing(ctx).await?;
    ctx.cluster().await?.suspend(&facts.name, true).await?;
    Ok(report(ctx, &facts, "paused"))
}

/// Has the CronJob start bundles again.
///
/// # Errors
/// As [`pause_cron_job`].
pub async fn resume_cron_job(ctx: &Ctx) -> Result<ScheduleReport> {
    let facts = existing(ctx).await?;
    ctx.cluster().await?.suspend(&facts.name, false).await?;
    Ok(report(ctx, &facts, "resumed"))
}

/// Takes away all that was made of it, its key and its runs among them. The bundles stay.
///
/// # Errors
/// There is no such CronJob, a bundle is being made, or something may not be deleted.
pub async fn remove_cron_job(ctx: &Ctx) -> Result<ScheduleReport> {
    let facts = existing(ctx).await?;
    let cluster = ctx.cluster().await?;
    cluster.suspend(&facts.name, true).await?;
    if let Some(job) = existing(ctx).await?.active.first() {
        let what = format!("a bundle is being made, by Job {job}: the schedule is paused, and stays");
        return Err(
            CommandError::new(Exit::Locked, what).hint("Wait for its end (`dr schedule list`), and remove it then.")
        );
    }
    cluster.delete_ours(&cronjob_parts::all(ctx.install())?).await?;
    Ok(report(ctx, &facts, "removed"))
}

async fn existing(ctx: &Ctx) -> Result<CronJobFacts> {
    let (cluster, name) = (ctx.cluster().await?, cronjob_parts::name(ctx.install()));
    let found = cluster.bundle_cron_jobs().await?.into_iter().find(|facts| facts.name == name);
    found.ok_or_else(|| {
        let what = format!("there is no schedule of {} in the cluster: no CronJob {name}", install(ctx));
        CommandError::new(Exit::NotFound, what)
            .hint("`dr schedule list` shows all that is scheduled; `dr schedule install --cronjob` makes one.")
    })
}

fn install(ctx: &Ctx) -> String {
    format!("{}/{}", ctx.install().namespace, ctx.install().release)
}

fn report(ctx: &Ctx, facts: &CronJobFacts, done: &'static str) -> ScheduleReport {
    let waits = done == "resumed" || (done == "ran" && !facts.suspended);
    let zone = facts.time_zone.as_deref().map(|zone| format!(" ({zone})")).unwrap_or_default();
    ScheduleReport {
        install: install(ctx),
        timer: facts.name.clone(),
        done,
        next: None,
        comes: waits.then(|| format!("{}{zone}", facts.schedule)),
    }
}
