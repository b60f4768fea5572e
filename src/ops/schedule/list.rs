//! The schedules of this host, and those of its cluster.

use jiff::Timestamp;
use serde::Serialize;

use super::request::{ScheduleManager, SystemdManager};
use super::{install, systemd, units};
use crate::error::{CommandError, Exit, Result};
use crate::ops::Ctx;

/// All schedules that are known here.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScheduleList {
    pub schedules: Vec<ScheduleLine>,
    /// Whether there are settings that say which install is meant.
    #[serde(skip)]
    pub has_settings: bool,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScheduleLine {
    pub install: String,
    pub manager: ScheduleManager,
    /// The timer, or the CronJob.
    pub timer: String,
    pub at: String,
    pub settings: String,
    /// Whether its timer waits now; unknown where systemd does not answer.
    pub waiting: Option<bool>,
    pub next: Option<Timestamp>,
    pub last: Option<Timestamp>,
    /// How the last one ended, in systemd's word: `success`, `exit-code`, `signal`, ...
    pub result: Option<String>,
    /// The exit code of the last `dr`.
    pub code: Option<i32>,
    /// Why nothing more is known: the timer cannot be read, or systemd does not answer.
    pub error: Option<String>,
    /// What keeps the bundle that is due now from being begun, in Kubernetes' words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_up: Option<String>,
}

impl ScheduleLine {
    /// One of which no more is known than its name, and why.
    pub(super) fn unread(install: String, manager: ScheduleManager, timer: String, why: String) -> Self {
        Self {
            install,
            manager,
            timer,
            at: String::new(),
            settings: String::new(),
            waiting: None,
            next: None,
            last: None,
            result: None,
            code: None,
            error: Some(why),
            held_up: None,
        }
    }
}

/// Lists what lies in the folders of both managers.
///
/// # Errors
/// A folder cannot be read. A unit that cannot be read, or a systemd that does not answer, is a line with the reason.
pub(super) async fn of_systemd(ctx: &Ctx, environment: &[(String, String)]) -> Result<Vec<ScheduleLine>> {
    let mut schedules = Vec::new();
    for manager in [SystemdManager::System, SystemdManager::User] {
        // Without a home there are no units of the user.
        let Ok(folder) = manager.folder(ctx, environment) else { continue };
        for name in names(&folder)? {
            let facts = match install::read_unit(&folder.join(format!("{name}.timer"))) {
                Ok(text) => match text.as_deref().and_then(units::read_timer) {
                    Some(facts) => facts,
                    None => continue,
                },
                Err(error) => {
                    schedules.extend(unreadable(manager, &name, &error));
                    continue;
                }
            };
            let (state, error) = match systemd::state(ctx, manager, &name).await {
                Ok(state) => (Some(state), None),
                Err(error) if error.exit() == Exit::Interrupted => return Err(error),
                Err(error) => (None, Some(error.to_string())),
            };
            let waiting = state.as_ref().map(|state| state.active);
            let state = state.unwrap_or_default();
            schedules.push(ScheduleLine {
                install: facts.install,
                manager: manager.into(),
                timer: format!("{name}.timer"),
                at: facts.at,
                settings: facts.settings,
                waiting,
                next: state.next.filter(|_| state.active),
                last: state.last,
                result: state.result,
                code: state.code,
                error,
                held_up: None,
            });
        }
    }
    Ok(schedules)
}

/// The line of a timer that cannot be read: its name still tells whose it is.
fn unreadable(manager: SystemdManager, name: &str, error: &CommandError) -> Option<ScheduleLine> {
    let (namespace, release) = units::install_of(name)?;
    let (install, timer) = (format!("{namespace}/{release}"), format!("{name}.timer"));
    Some(ScheduleLine::unread(install, manager.into(), timer, error.to_string()))
}

/// What the timers of a folder are called, in order.
fn names(folder: &std::path::Path) -> Result<Vec<String>> {
    let failed =
        |error| CommandError::new(Exit::Failure, format!("read the folder {}", folder.display())).because(error);
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let file = entry.map_err(failed)?.file_name();
        let name = file.to_str().and_then(|file| file.strip_suffix(".timer"));
        names.extend(name.filter(|name| units::install_of(name).is_some()).map(str::to_owned));
    }
    names.sort_unstable();
    Ok(names)
}
