//! Making a schedule: what would be written, and then that.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;

use super::request::{ScheduleReport, ScheduleRequest, SystemdManager};
use super::{systemd, units};
use crate::error::{CommandError, Exit, Result};
use crate::ops::Ctx;
use crate::{read, write};

/// What installing a schedule does.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SchedulePlan {
    pub install: String,
    pub manager: SystemdManager,
    pub timer: PathBuf,
    pub timer_text: String,
    pub service: PathBuf,
    pub service_text: String,
    pub at: String,
    pub delay: String,
    /// When it comes first, before the delay.
    pub next: Option<Timestamp>,
    pub change: ScheduleChange,
    /// What of this environment a bucket is reached by, and the service does not have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_passed_on: Option<String>,
}

/// What the units are to those that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScheduleChange {
    New,
    Replaces,
    /// They are there as they would be written.
    Same,
}

/// Says what would be written, and has systemd's own verifier read it. Changes nothing.
///
/// # Errors
/// There are no settings, `at` is no time, the verifier refuses, or another's unit stands in the way.
pub async fn plan(ctx: &Ctx, request: &ScheduleRequest) -> Result<SchedulePlan> {
    let store = &ctx.settings()?.store;
    let has_bucket = store.url.is_some() || store.mirrors.iter().any(|mirror| mirror.url.is_some());
    refuse_odd_lines(ctx, request)?;
    let next = systemd::next_of(ctx, &request.at).await?;
    let (install, settings) = (ctx.install(), absolute(&ctx.settings_path)?);
    let folder = request.manager.folder(ctx, &request.environment)?;
    let name = units::name(install);
    let (timer, service) = (folder.join(format!("{name}.timer")), folder.join(format!("{name}.service")));
    let timer_text = units::timer(install, &settings, request);
    let service_text = units::service(install, &settings, request);
    refuse_another(ctx, request.manager, &timer, &settings)?;
    if next.is_none() {
        return Err(CommandError::new(Exit::Usage, format!("{:?} never comes again", request.at))
            .hint("`systemd-analyze calendar` shows when a time comes."));
    }
    let there = (read_unit(&timer)?, read_unit(&service)?);
    if there.1.as_ref().is_some_and(|text| !text.starts_with(units::BEGIN)) {
        return Err(not_ours(&service));
    }
    verify(ctx, &name, &timer_text, &service_text).await?;
    let change = match &there {
        (None, None) => ScheduleChange::New,
        (Some(timer), Some(service)) if *timer == timer_text && *service == service_text => ScheduleChange::Same,
        _ => ScheduleChange::Replaces,
    };
    Ok(SchedulePlan {
        install: format!("{}/{}", install.namespace, install.release),
        manager: request.manager,
        timer,
        timer_text,
        service,
        service_text,
        at: request.at.clone(),
        delay: request.delay.clone(),
        next,
        change,
        not_passed_on: (has_bucket && !request.kept_back.is_empty()).then(|| {
            let names = request.kept_back.join(", ");
            format!("the store is a bucket, and the service has nothing of {names}")
        }),
    })
}

/// Writes both units and has systemd wait for the timer. Where systemd refuses, what was there before is there again.
///
/// # Errors
/// A unit cannot be written, or systemd refuses.
pub async fn install(ctx: &Ctx, plan: &SchedulePlan) -> Result<ScheduleReport> {
    let before = [(&plan.service, read_unit(&plan.service)?), (&plan.timer, read_unit(&plan.timer)?)];
    match begin(ctx, plan).await {
        Ok(report) => Ok(report),
        Err(error) => {
            // It may be what refuses; the files are what counts.
            if plan.change == ScheduleChange::New {
                let timer = format!("{}.timer", units::name(ctx.install()));
                _ = systemd::systemctl(ctx, plan.manager, &["disable", "--now", "--", &timer]).await;
            }
            for (path, text) in before {
                match text {
                    Some(text) => write_unit(path, &text)?,
                    None => remove_unit(path)?,
                }
            }
            _ = systemd::systemctl(ctx, plan.manager, &["daemon-reload"]).await;
            Err(error.hint("The units are as they were before."))
        }
    }
}

async fn begin(ctx: &Ctx, plan: &SchedulePlan) -> Result<ScheduleReport> {
    write_unit(&plan.service, &plan.service_text)?;
    write_unit(&plan.timer, &plan.timer_text)?;
    let name = units::name(ctx.install());
    let timer = format!("{name}.timer");
    systemd::systemctl(ctx, plan.manager, &["daemon-reload"]).await?;
    systemd::systemctl(ctx, plan.manager, &["enable", "--", &timer]).await?;
    // One that waits already has to take the new moment.
    systemd::systemctl(ctx, plan.manager, &["restart", "--", &timer]).await?;
    let state = systemd::state(ctx, plan.manager, &name).await?;
    if !state.active {
        return Err(CommandError::new(Exit::Failure, format!("{timer} does not wait although systemd took it"))
            .hint(format!("`systemctl{} status {timer}` says why.", plan.manager.flag())));
    }
    Ok(ScheduleReport { install: plan.install.clone(), timer, done: "made", next: state.next, comes: None })
}

/// The text of a unit, where there is one.
pub(super) fn read_unit(path: &Path) -> Result<Option<String>> {
    match read::text_file(path, read::SMALL) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(CommandError::new(Exit::Failure, format!("read the unit {}", path.display()))
            .because(error)
            .hint("Look at the file; only a unit that `dr` made is replaced.")),
    }
}

pub(super) fn remove_unit(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(CommandError::new(Exit::Failure, format!("remove the unit {}", path.display())).because(error))
        }
        _ => Ok(()),
    }
}

fn write_unit(path: &Path, text: &str) -> Result<()> {
    let folder = path.parent().unwrap_or(path);
    std::fs::create_dir_all(folder).and_then(|()| write::replace_file(path, 0o644, text.as_bytes())).map_err(|error| {
        CommandError::new(Exit::Failure, format!("write the unit {}", path.display()))
            .because(error)
            .hint("Run it as root, or with --user for units of your own.")
    })
}

/// A unit that makes bundles of another cluster or by other settings is not replaced in passing.
fn refuse_another(ctx: &Ctx, manager: SystemdManager, timer: &Path, settings: &Path) -> Result<()> {
    let Some(text) = read_unit(timer)? else { return Ok(()) };
    let Some(there) = units::read_timer(&text) else { return Err(not_ours(timer)) };
    let context = ctx.install().context.clone().unwrap_or_default();
    if there.settings == settings.display().to_string() && there.context == context {
        return Ok(());
    }
    let of = match there.context.is_empty() {
        true => String::new(),
        false => format!(" and context {}", there.context),
    };
    let text = format!("{} is there already, with settings {}{of}", timer.display(), there.settings);
    Err(CommandError::new(Exit::Usage, text).hint(format!("`{}` takes it away first.", manager.command("remove"))))
}

fn not_ours(path: &Path) -> CommandError {
    CommandError::new(Exit::Usage, format!("{} is there, and `dr` did not make it", path.display()))
        .hint("Move it away, or make the schedule by hand beside it.")
}

/// A line end in any of it would begin another line of the unit.
fn refuse_odd_lines(ctx: &Ctx, request: &ScheduleRequest) -> Result<()> {
    let (settings, program) = (ctx.settings_path.display().to_string(), request.program.display().to_string());
    let context = ctx.install().context.clone().unwrap_or_default();
    let environment = request.environment.iter().map(|(_, value)| value);
    let all = [&request.at, &request.delay, &settings, &program, &context];
    match all.into_iter().chain(environment).find(|text| text.chars().any(char::is_control)) {
        Some(text) => {
            Err(CommandError::new(Exit::Usage, format!("{text:?} cannot stand in a unit: it has a control character"))
                .hint("Leave it out."))
        }
        None => Ok(()),
    }
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|error| {
        CommandError::new(Exit::Failure, format!("find the folder of {}", path.display())).because(error)
    })
}

/// In a folder of its own, under the names that they will have.
async fn verify(ctx: &Ctx, name: &str, timer: &str, service: &str) -> Result<()> {
    let failed = |error| CommandError::new(Exit::Failure, "write the units to have them verified").because(error);
    let folder = tempfile::tempdir().map_err(failed)?;
    let files = [("service", service), ("timer", timer)]
        .map(|(kind, text)| (folder.path().join(format!("{name}.{kind}")), text));
    for (path, text) in &files {
        std::fs::write(path, text).map_err(failed)?;
    }
    let paths: Vec<String> = files.iter().map(|(path, _)| path.display().to_string()).collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    systemd::verify(ctx, &paths).await
}
