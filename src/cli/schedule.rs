//! `dr schedule`.

use clap::{Args, Subcommand};

use crate::error::{CommandError, Exit, Result};
use crate::ops::Ctx;
use crate::ops::schedule::{self, ScheduleChange, ScheduleRequest, Scheduled, SystemdManager};
use crate::ui::{Column, Mark, Page, Report, Styled, Ui, short_time};

/// What the service finds as this shell does: where programs, files and the way out are. No key is among them.
const PASSED_ON: [&str; 10] = [
    "PATH",
    "HOME",
    "KUBECONFIG",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_STATE_HOME",
    "XDG_CACHE_HOME",
    "HTTPS_PROXY",
    "NO_PROXY",
    "DR_WHO",
];

/// Bundles that nobody has to remember: a timer of this host's
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dr schedule install --systemd --at 'Mon..Fri 02:00'
  dr schedule list")]
pub struct ScheduleArgs {
    #[command(subcommand)]
    verb: ScheduleVerb,
}

#[derive(Debug, Subcommand)]
enum ScheduleVerb {
    Install(InstallScheduleArgs),
    /// The schedules of this host: when each comes next, and how the last one ended
    #[command(after_help = "Example:\n  dr schedule list")]
    List,
    /// Make one bundle now, as the timer would
    #[command(after_help = "Example:\n  dr schedule run")]
    Run(ManagerArgs),
    /// Have the timer wait no longer; a bundle that is being made goes on
    #[command(after_help = "Example:\n  dr schedule pause")]
    Pause(ManagerArgs),
    /// Have the timer wait again
    #[command(after_help = "Example:\n  dr schedule resume")]
    Resume(ManagerArgs),
    /// Take the timer and its service away
    #[command(after_help = "Example:\n  dr schedule remove")]
    Remove(ManagerArgs),
}

/// Have systemd make a bundle of this install at its time
///
/// Writes dr-bundle.NAMESPACE.RELEASE.service and .timer, has systemd's verifier read them first, and starts the timer.
/// The service runs `dr bundle create` with these settings and asks nothing. Keys stay where they are: a bucket's key has
/// to be in a file (`credentials_file`), since the environment of this shell is not the service's.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dr schedule install --systemd --dry-run
  dr schedule install --systemd --at 'Mon..Fri 02:00' --delay 30min")]
struct InstallScheduleArgs {
    /// By a timer of systemd's
    #[arg(long, required = true)]
    systemd: bool,
    /// When, as systemd.time(7) has it
    #[arg(long, value_name = "CALENDAR", default_value = "daily")]
    at: String,
    /// By how much each start may be later, at random, as systemd.time(7) has it
    #[arg(long, value_name = "TIME", default_value = "15min")]
    delay: String,
    #[command(flatten)]
    manager: ManagerArgs,
    /// Show the units, and write nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
struct ManagerArgs {
    /// A unit of this user's own, not of the system
    #[arg(long)]
    user: bool,
}

impl ManagerArgs {
    fn manager(&self) -> SystemdManager {
        if self.user { SystemdManager::User } else { SystemdManager::System }
    }

    fn scheduled(&self) -> Scheduled {
        Scheduled { manager: self.manager(), environment: environment() }
    }
}

/// The variables of this environment that lead to a bucket, and that no unit gets: a key may be in them.
fn kept_back() -> Vec<String> {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    names.filter(|name| name.starts_with("AWS_")).collect()
}

/// A service begins in the root folder: what a variable says of this one's is made whole.
fn absolute(name: &str, value: &str) -> String {
    let whole = |path: &str| match path.is_empty() {
        true => String::new(),
        false => std::path::absolute(path).map_or_else(|_| path.to_owned(), |path| path.display().to_string()),
    };
    match name {
        "PATH" | "KUBECONFIG" => value.split(':').map(whole).collect::<Vec<_>>().join(":"),
        _ if name == "HOME" || name.starts_with("XDG_") => whole(value),
        _ => value.to_owned(),
    }
}

/// What of this environment a service is given.
pub(super) fn environment() -> Vec<(String, String)> {
    PASSED_ON.iter().filter_map(|name| Some(((*name).to_owned(), absolute(name, &std::env::var(name).ok()?)))).collect()
}

pub async fn run(ctx: &Ctx, ui: &Ui, args: ScheduleArgs) -> Result<Exit> {
    let done = match args.verb {
        ScheduleVerb::Install(args) => return install(ctx, ui, args).await,
        ScheduleVerb::List => {
            return ui.report(&schedule::list(ctx, &environment()).await?).map(|()| Exit::Success);
        }
        ScheduleVerb::Run(args) => schedule::run(ctx, &args.scheduled()).await?,
        ScheduleVerb::Pause(args) => schedule::pause(ctx, &args.scheduled()).await?,
        ScheduleVerb::Resume(args) => schedule::resume(ctx, &args.scheduled()).await?,
        ScheduleVerb::Remove(args) => schedule::remove(ctx, &args.scheduled()).await?,
    };
    ui.report(&done)?;
    Ok(Exit::Success)
}

async fn install(ctx: &Ctx, ui: &Ui, args: InstallScheduleArgs) -> Result<Exit> {
    let environment = environment();
    if let Some((name, _)) = environment.iter().find(|(name, value)| name.ends_with("_PROXY") && value.contains('@')) {
        return Err(CommandError::new(Exit::Usage, format!("{name} has a password, and a unit is no place for one"))
            .hint(format!("Set {name} without it for this command, or `proxy-url` in the kubeconfig.")));
    }
    let program = std::env::current_exe()
        .map_err(|error| CommandError::new(Exit::Failure, "find the file of this program").because(error))?;
    let request = ScheduleRequest {
        at: args.at,
        delay: args.delay,
        manager: args.manager.manager(),
        program,
        environment,
        kept_back: kept_back(),
    };
    let plan = schedule::plan(ctx, &request).await?;
    if args.dry_run {
        return ui.dry_run(&plan).map(|()| Exit::Success);
    }
    ui.plan(&plan);
    ui.confirm("Write the units and start the timer?")?;
    ui.report(&schedule::install(ctx, &plan).await?)?;
    Ok(Exit::Success)
}

impl Report for schedule::SchedulePlan {
    fn human(&self, page: &mut Page) {
        page.heading(&format!("Plan: schedule bundles of {}", self.install));
        let change = match self.change {
            ScheduleChange::New => "new units",
            ScheduleChange::Replaces => "in place of the units that are there",
            ScheduleChange::Same => "the units are there as they would be written",
        };
        let first = self.next.map_or_else(|| "never".to_owned(), short_time);
        if let Some(missing) = &self.not_passed_on {
            let fix = "name a file with the key, `credentials_file` under [store], and `endpoint` beside it";
            page.finding(Mark::Warn, missing, Some(fix));
        }
        page.fields(&[
            ("when", format!("{}, up to {} later; first {first}", self.at, self.delay)),
            ("units", change.to_owned()),
        ]);
        for (path, text) in [(&self.service, &self.service_text), (&self.timer, &self.timer_text)] {
            page.gap();
            page.heading(&path.display().to_string());
            text.lines().for_each(|line| page.line(line));
        }
    }
}

impl Report for schedule::ScheduleReport {
    fn human(&self, page: &mut Page) {
        let next = match (self.done, self.next) {
            ("removed", _) => String::new(),
            (_, Some(next)) => format!("; the next bundle comes {}", short_time(next)),
            (_, None) => "; no bundle comes by itself".to_owned(),
        };
        page.line(format!("Schedule of {} {}{next}.", self.install, self.done));
    }
}

impl Report for schedule::ScheduleList {
    fn human(&self, page: &mut Page) {
        if self.schedules.is_empty() {
            page.line("No schedule on this host.");
            return page.next("dr schedule install --systemd");
        }
        let row = |one: &schedule::ScheduleLine| -> Vec<Styled> {
            let state = match (one.waiting, one.next) {
                (Some(true), Some(next)) => short_time(next),
                (Some(true), None) => "never".to_owned(),
                (Some(false), _) => "paused".to_owned(),
                (None, _) => "unknown".to_owned(),
            };
            let last = match (&one.result, one.last) {
                (Some(result), last) => {
                    let code = one.code.filter(|code| *code != 0).map(|code| format!(" {code}")).unwrap_or_default();
                    format!("{}{result}{code}", last.map(|at| format!("{}: ", short_time(at))).unwrap_or_default())
                }
                (None, _) => "none yet".to_owned(),
            };
            let of = if one.manager == SystemdManager::User { "user" } else { "system" };
            vec![
                one.install.as_str().into(),
                of.into(),
                one.at.as_str().into(),
                state.into(),
                last.into(),
                one.timer.as_str().into(),
            ]
        };
        let heads = [
            "install".into(),
            "units of".into(),
            "when".into(),
            Column::whole("next"),
            Column::whole("last"),
            Column::spare("timer"),
        ];
        page.table(&heads, &self.schedules.iter().map(row).collect::<Vec<_>>());
        for one in self.schedules.iter().filter(|one| one.error.is_some()) {
            page.warning(one.error.as_deref().unwrap_or_default(), None);
        }
    }
}
