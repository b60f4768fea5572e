//! `dr schedule`: bundles that nobody has to remember, by a timer of systemd's or by a CronJob.
//!
//! Units and objects are the only state: what is listed is what lies in systemd's folder and in the namespace, and what
//! systemd and Kubernetes say about it.

mod cronjob;
mod cronjob_install;
mod cronjob_parts;
mod install;
mod list;
mod renewal;
mod request;
mod systemd;
mod units;

use std::path::PathBuf;

pub use cronjob::{pause_cron_job, remove_cron_job, resume_cron_job, run_cron_job};
pub use cronjob_install::{
    CronJobPlan, CronJobReport, CronJobRequest, install as install_cron_job, plan as plan_cron_job,
};
pub use install::{ScheduleChange, SchedulePlan, install, plan};
pub use list::{ScheduleLine, ScheduleList};
pub use renewal::{renew, renew_all};
pub use request::{ScheduleManager, ScheduleReport, ScheduleRequest, SystemdManager};

use super::Ctx;
use crate::error::{CommandError, Exit, Result};

/// Lists the timers of this host and the CronJobs of the install's namespace.
///
/// # Errors
/// A folder of units cannot be read.
pub async fn list(ctx: &Ctx, environment: &[(String, String)]) -> Result<ScheduleList> {
    let mut schedules = list::of_systemd(ctx, environment).await?;
    schedules.extend(cronjob::lines(ctx).await);
    Ok(ScheduleList { schedules, has_settings: ctx.settings().is_ok() })
}

/// Starts one bundle now, as the timer would, and waits for its end.
///
/// # Errors
/// There is no schedule, or the bundle was not made.
pub async fn run(ctx: &Ctx, at: &Scheduled) -> Result<ScheduleReport> {
    let name = at.existing(ctx)?;
    let service = format!("{name}.service");
    let args: Vec<&str> = at.manager.flags().iter().copied().chain(["start", "--", &service]).collect();
    let answer = systemd::call(ctx, "systemctl", &args, None).await.map_err(|error| match error.exit() {
        Exit::Interrupted => goes_on(at.manager, &service, error),
        _ => error,
    })?;
    if !answer.success {
        let log = format!("`journalctl{} -u {service} -n 50` shows what it said.", at.manager.flag());
        return Err(systemd::refused(&format!("the scheduled bundle ({service})"), &answer).hint(log));
    }
    at.report(ctx, name, "ran").await
}

/// The service is systemd's: who stops waiting for it does not stop it.
fn goes_on(manager: SystemdManager, service: &str, error: CommandError) -> CommandError {
    let flag = manager.flag();
    error.hint(format!(
        "The bundle is still being made, by systemd: `journalctl{flag} -u {service} -f` follows it, `systemctl{flag} stop {service}` ends it."
    ))
}

/// Has the timer wait no longer, now and after a boot. A bundle that is being made goes on.
///
/// # Errors
/// There is no schedule, or systemd refuses.
pub async fn pause(ctx: &Ctx, at: &Scheduled) -> Result<ScheduleReport> {
    let name = at.existing(ctx)?;
    systemd::systemctl(ctx, at.manager, &["disable", "--now", "--", &format!("{name}.timer")]).await?;
    at.report(ctx, name, "paused").await
}

/// Has the timer wait again.
///
/// # Errors
/// There is no schedule, or systemd refuses.
pub async fn resume(ctx: &Ctx, at: &Scheduled) -> Result<ScheduleReport> {
    let name = at.existing(ctx)?;
    systemd::systemctl(ctx, at.manager, &["enable", "--now", "--", &format!("{name}.timer")]).await?;
    at.report(ctx, name, "resumed").await
}

/// Pauses the timer and takes both units away.
///
/// # Errors
/// There is no schedule, systemd refuses, or a file cannot be removed.
pub async fn remove(ctx: &Ctx, at: &Scheduled) -> Result<ScheduleReport> {
    let name = at.existing(ctx)?;
    systemd::systemctl(ctx, at.manager, &["disable", "--now", "--", &format!("{name}.timer")]).await?;
    // The timer last: while it is there, the schedule is listed and can be removed again.
    for kind in ["service", "timer"] {
        install::remove_unit(&at.folder(ctx)?.join(format!("{name}.{kind}")))?;
    }
    systemd::systemctl(ctx, at.manager, &["daemon-reload"]).await?;
    Ok(ScheduleReport {
        install: at.install(ctx),
        timer: format!("{name}.timer"),
        done: "removed",
        next: None,
        comes: None,
    })
}

/// Where the schedule of this install is.
#[derive(Debug, Clone)]
pub struct Scheduled {
    pub manager: SystemdManager,
    pub environment: Vec<(String, String)>,
}

impl Scheduled {
    fn folder(&self, ctx: &Ctx) -> Result<PathBuf> {
        self.manager.folder(ctx, &self.environment)
    }

    fn install(&self, ctx: &Ctx) -> String {
        format!("{}/{}", ctx.install().namespace, ctx.install().release)
    }

    /// What its units are called, if they are there and ours.
    fn existing(&self, ctx: &Ctx) -> Result<String> {
        let name = units::name(ctx.install());
        let path = self.folder(ctx)?.join(format!("{name}.timer"));
        match install::read_unit(&path)?.is_some_and(|text| units::read_timer(&text).is_some()) {
            true => Ok(name),
            false => Err(CommandError::new(
                Exit::NotFound,
                format!("there is no schedule of {}: no timer {}", self.install(ctx), path.display()),
            )
            .hint("`dr schedule list` shows what there is: one `by` user takes --user here, one by cronjob --cronjob; `dr schedule install --systemd` makes one.")),
        }
    }

    async fn report(&self, ctx: &Ctx, name: String, done: &'static str) -> Result<ScheduleReport> {
        let state = systemd::state(ctx, self.manager, &name).await?;
        let next = state.next.filter(|_| state.active);
        Ok(ScheduleReport { install: self.install(ctx), timer: format!("{name}.timer"), done, next, comes: None })
    }
}
