//! What a schedule is to be, whose it is, and what was done with it.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::Serialize;

use crate::error::{CommandError, Exit, Result};
use crate::ops::Ctx;

/// Whose units they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SystemdManager {
    System,
    /// Of the user, which run only while that user has a session or lingers.
    User,
}

/// What starts the bundles of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScheduleManager {
    System,
    User,
    /// Kubernetes, in the install's namespace.
    CronJob,
}

impl ScheduleManager {
    /// The command that does this to a schedule of its.
    pub fn command(self, verb: &str) -> String {
        let flag = match self {
            Self::System => "",
            Self::User => " --user",
            Self::CronJob => " --cronjob",
        };
        format!("dr schedule {verb}{flag}")
    }
}

impl From<SystemdManager> for ScheduleManager {
    fn from(manager: SystemdManager) -> Self {
        match manager {
            SystemdManager::System => Self::System,
            SystemdManager::User => Self::User,
        }
    }
}

/// What a schedule is to be.
#[derive(Debug, Clone)]
pub struct ScheduleRequest {
    /// When, as systemd.time(7) has it.
    pub at: String,
    /// By how much each start may be later, at random, as systemd.time(7) has it.
    pub delay: String,
    pub manager: SystemdManager,
    /// The `dr` that is run.
    pub program: PathBuf,
    /// What the service finds in its environment. It is written into the unit: nothing secret.
    pub environment: Vec<(String, String)>,
    /// The variables that lead to a bucket, and that it does not find.
    pub kept_back: Vec<String>,
}

/// What was done with a schedule.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScheduleReport {
    pub install: String,
    pub timer: String,
    /// `made`, `paused`, `resumed`, `removed`, `ran`.
    pub done: &'static str,
    pub next: Option<Timestamp>,
    /// When it comes, where that is a cron's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comes: Option<String>,
}

impl SystemdManager {
    /// What systemd's programs are told.
    pub(super) fn flags(self) -> &'static [&'static str] {
        match self {
            Self::System => &[],
            Self::User => &["--user"],
        }
    }

    /// What `dr schedule` is told.
    pub fn flag(self) -> &'static str {
        match self {
            Self::System => "",
            Self::User => " --user",
        }
    }

    /// The command that does this to a schedule of its.
    pub fn command(self, verb: &str) -> String {
        ["dr", "schedule", verb].join(" ") + self.flag()
    }

    /// Where an administrator's units are (systemd.unit(5), UNIT FILE LOAD PATH).
    pub(super) fn folder(self, ctx: &Ctx, environment: &[(String, String)]) -> Result<PathBuf> {
        match self {
            Self::System => Ok("/etc/systemd/system".into()),
            Self::User => {
                let home = ctx.home.as_deref().ok_or_else(|| {
                    CommandError::new(Exit::Usage, "there is no home folder for units of the user")
                        .hint("Set HOME, or leave out --user.")
                })?;
                let config = environment.iter().find(|(name, _)| name == "XDG_CONFIG_HOME");
                let config = config.map_or_else(|| home.join(".config"), |(_, value)| value.into());
                Ok(config.join("systemd/user"))
            }
        }
    }
}
