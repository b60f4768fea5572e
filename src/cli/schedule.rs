//! `dr schedule`.

use std::time::Duration;

use clap::{Args, Subcommand};

use crate::error::{CommandError, Exit, Result};
use crate::names::ObjectName;
use crate::ops::schedule::{
    self, CronJobPlan, CronJobReport, CronJobRequest, ScheduleChange, ScheduleManager, ScheduleRequest, Scheduled,
    SystemdManager,
};
use crate::ops::{Ctx, quoted};
use crate::ui::{Column, Mark, Output, Page, Report, Styled, Ui, short_time};

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

/// Bundles that nobody has to remember: by a timer of this host's or by a CronJob
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dr schedule install --systemd --at 'Mon..Fri 02:00'
  dr schedule install --cronjob --image registry.example.org/tools/dr:0.1.0
  dr schedule list")]
pub struct ScheduleArgs {
    #[command(subcommand)]
    verb: ScheduleVerb,
}

#[derive(Debug, Subcommand)]
enum ScheduleVerb {
    Install(InstallScheduleArgs),
    /// The schedules of this host and of the install's namespace: when each comes, and how the last one ended
    #[command(after_help = "Example:\n  dr schedule list")]
    List,
    /// Make one bundle now, as the timer or the CronJob would
    #[command(after_help = "Examples:\n  dr schedule run\n  dr schedule run --cronjob")]
    Run(ManagerArgs),
    /// Have none made by itself any more; a bundle that is being made goes on
    #[command(after_help = "Examples:\n  dr schedule pause\n  dr schedule pause --cronjob")]
    Pause(ManagerArgs),
    /// Have them made again
    #[command(after_help = "Examples:\n  dr schedule resume\n  dr schedule resume --cronjob")]
    Resume(ManagerArgs),
    /// Take away all that was made of the schedule; the bundles stay
    ///
    /// Of a CronJob that is its signing key, too: bundles that it has signed are believed for as long as the line of trusted
    /// signers stands.
    #[command(after_help = "Examples:\n  dr schedule remove\n  dr schedule remove --cronjob")]
    Remove(ManagerArgs),
}

/// Have systemd or Kubernetes make a bundle of this install at its time
///
/// --systemd writes dr-bundle.NAMESPACE.RELEASE.service and .timer, has systemd's verifier read them first, and starts the
/// timer. The service runs `dr bundle create` with these settings and asks nothing. Keys stay where they are: a bucket's key
/// has to be in a file (`credentials_file`), since the environment of this shell is not the service's.
///
/// --cronjob makes a CronJob in the install's namespace, with an account that has the rights of a create and no others, a
/// volume for its runs, a signing key of its own, and the deployment that is live, as the vault has sealed it: nothing in
/// the cluster opens a bundle. The store has to be a bucket. Verbs that change the live deployment or the vault's recipients
/// take that there. Where there is a CronJob, what is not given stays as it is: without flags, it is brought up to date.
#[derive(Debug, Args)]
#[command(
    group(clap::ArgGroup::new("by").required(true)),
    after_help = "\
Examples:
  dr schedule install --systemd --dry-run
  dr schedule install --systemd --at 'Mon..Fri 02:00' --delay 30min
  dr schedule install --cronjob --image registry.example.org/tools/dr:0.1.0 \\
    --at '0 2 * * 1-5' --time-zone Europe/Berlin --credentials bucket-key
  dr schedule install --cronjob"
)]
struct InstallScheduleArgs {
    /// By a timer of systemd's
    #[arg(long, group = "by")]
    systemd: bool,
    /// By a CronJob in the install's namespace
    #[arg(long, group = "by")]
    cronjob: bool,
    /// When: as systemd.time(7) has it (default: daily), or as cron has it (default: 0 2 * * *)
    #[arg(long, value_name = "CALENDAR")]
    at: Option<String>,
    /// By how much each start may be later, at random, as systemd.time(7) has it
    #[arg(long, value_name = "TIME", default_value = "15min", conflicts_with = "cronjob")]
    delay: String,
    /// A unit of this user's own, not of the system
    #[arg(long, conflicts_with = "cronjob")]
    user: bool,
    /// dr's own image, as the nodes pull it: `dr image push` and `dr image save` say its name
    #[arg(long, value_name = "NAME", conflicts_with = "systemd")]
    image: Option<String>,
    /// The time zone of --at; that of this host when absent
    #[arg(long, value_name = "ZONE", conflicts_with = "systemd")]
    time_zone: Option<String>,
    /// The Secret with the bucket's key under `credentials`, as Amazon's tools write it
    #[arg(long, value_name = "SECRET", conflicts_with = "systemd")]
    credentials: Option<ObjectName>,
    /// How many hours one bundle may take (default: 6)
    #[arg(long, value_name = "HOURS", conflicts_with = "systemd",
        value_parser = clap::value_parser!(u64).range(1..=168))]
    deadline: Option<u64>,
    /// A Secret to pull the image with (can be repeated)
    #[arg(long = "pull-secret", value_name = "SECRET", conflicts_with = "systemd")]
    pull_secrets: Vec<ObjectName>,
    /// Show what would be made, and make nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
struct ManagerArgs {
    /// A unit of this user's own, not of the system
    #[arg(long)]
    user: bool,
    /// The CronJob in the install's namespace
    #[arg(long, conflicts_with = "user")]
    cronjob: bool,
}

impl ManagerArgs {
    fn scheduled(&self) -> Scheduled {
        Scheduled { manager: systemd_manager(self.user), environment: environment() }
    }
}

fn systemd_manager(user: bool) -> SystemdManager {
    if user { SystemdManager::User } else { SystemdManager::System }
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
        ScheduleVerb::Run(ManagerArgs { cronjob: true, .. }) => schedule::run_cron_job(ctx).await?,
        ScheduleVerb::Pause(ManagerArgs { cronjob: true, .. }) => schedule::pause_cron_job(ctx).await?,
        ScheduleVerb::Resume(ManagerArgs { cronjob: true, .. }) => schedule::resume_cron_job(ctx).await?,
        ScheduleVerb::Remove(ManagerArgs { cronjob: true, .. }) => {
            ui.confirm("Take the CronJob, its key and its runs away?")?;
            schedule::remove_cron_job(ctx).await?
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
    match args.cronjob {
        true => install_cron_job(ctx, ui, args).await,
        false => install_units(ctx, ui, args).await,
    }
}

async fn install_cron_job(ctx: &Ctx, ui: &Ui, args: InstallScheduleArgs) -> Result<Exit> {
    let request = CronJobRequest {
        at: args.at,
        time_zone: args.time_zone,
        own_time_zone: jiff::tz::TimeZone::system().iana_name().unwrap_or("Etc/UTC").to_owned(),
        image: args.image,
        deadline: args.deadline.map(|hours| Duration::from_secs(hours * 3600)),
        credentials: args.credentials.map(|name| name.to_string()),
        pull_secrets: args.pull_secrets.iter().map(ToString::to_string).collect(),
    };
    let plan = schedule::plan_cron_job(ctx, &request).await?;
    if args.dry_run && ui.options().output == Output::Json {
        return ui.dry_run(&plan).map(|()| Exit::Success);
    }
    ui.plan(&plan);
    if args.dry_run {
        // All but the Secrets, which are nobody's to see.
        return ui.data(plan.yaml()?.as_bytes()).map(|()| Exit::Success);
    }
    ui.confirm("Make the CronJob and what it needs?")?;
    ui.report(&schedule::install_cron_job(ctx, &plan).await?)?;
    Ok(Exit::Success)
}

async fn install_units(ctx: &Ctx, ui: &Ui, args: InstallScheduleArgs) -> Result<Exit> {
    let environment = environment();
    if let Some((name, _)) = environment.iter().find(|(name, value)| name.ends_with("_PROXY") && value.contains('@')) {
        return Err(CommandError::new(Exit::Usage, format!("{name} has a password, and a unit is no place for one"))
            .hint(format!("Set {name} without it for this command, or `proxy-url` in the kubeconfig.")));
    }
    let program = std::env::current_exe()
        .map_err(|error| CommandError::new(Exit::Failure, "find the file of this program").because(error))?;
    let request = ScheduleRequest {
        at: args.at.unwrap_or_else(|| "daily".into()),
        delay: args.delay,
        manager: systemd_manager(args.user),
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

impl Report for CronJobPlan {
    fn human(&self, page: &mut Page) {
        page.heading(&format!("Plan: schedule bundles of {} in the cluster", self.install));
        page.fields(&[
            ("when", format!("{} ({})", self.at, self.time_zone)),
            ("image", self.image.clone()),
            ("store", self.store.clone()),
            ("deployment", format!("{}, sealed as the vault has it", self.deployment)),
            ("sealed to", self.recipients.join(", ")),
            (
                "change",
                match (self.changes, self.paused) {
                    (true, true) => "the schedule that is there becomes this, and stays paused",
                    (true, false) => "the schedule that is there becomes this",
                    (false, _) => "a new one",
                }
                .to_owned(),
            ),
        ]);
        for warning in &self.warnings {
            page.finding(Mark::Warn, warning, None);
        }
        for left in &self.not_passed_on {
            page.finding(Mark::Warn, &format!("the pods go without {left}"), None);
        }
        page.gap();
        page.heading("Made");
        self.made().iter().for_each(|object| page.line(object.as_str()));
        self.secrets.iter().for_each(|secret| page.line(format!("Secret {secret}")));
    }
}

impl Report for CronJobReport {
    fn human(&self, page: &mut Page) {
        page.line(format!("Schedule of {} made: bundles come at {} ({}).", self.install, self.at, self.time_zone));
        if !self.trusted_here {
            page.finding(Mark::Warn, "its bundles are signed by a key of its own, which is not trusted here yet", None);
        }
        page.line("The line for the trusted signers of whoever is to believe its bundles:");
        page.line(self.trust_line.as_str());
        if let Some(file) = self.trusted_signers.as_ref().filter(|_| !self.trusted_here) {
            page.next(&format!("echo {} >> {}", quoted(&self.trust_line), quoted(file)));
        }
        page.next("dr schedule run --cronjob");
    }
}

impl Report for schedule::ScheduleReport {
    fn human(&self, page: &mut Page) {
        let next = match (self.done, self.next, &self.comes) {
            ("removed", ..) => String::new(),
            (_, Some(next), _) => format!("; the next bundle comes {}", short_time(next)),
            (_, None, Some(at)) => format!("; bundles come at {at}"),
            (_, None, None) => "; no bundle comes by itself".to_owned(),
        };
        page.line(format!("Schedule of {} {}{next}.", self.install, self.done));
    }
}

impl Report for schedule::ScheduleList {
    fn human(&self, page: &mut Page) {
        if self.schedules.is_empty() && !self.has_settings {
            page.line("No schedule on this host; without settings, no cluster is asked.");
            return page.next("dr init");
        }
        if self.schedules.is_empty() {
            page.line("No schedule on this host, nor in the namespace as far as it is known.");
            return page.next("dr schedule install --systemd");
        }
        let row = |one: &schedule::ScheduleLine| -> Vec<Styled> {
            let state = match (one.waiting, one.next) {
                (Some(true), Some(next)) => short_time(next),
                (Some(true), None) if one.manager == ScheduleManager::CronJob => "as it says".to_owned(),
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
            let of = match one.manager {
                ScheduleManager::System => "system",
                ScheduleManager::User => "user",
                ScheduleManager::CronJob => "cronjob",
            };
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
            "by".into(),
            "when".into(),
            Column::whole("next"),
            Column::whole("last"),
            Column::spare("timer"),
        ];
        page.table(&heads, &self.schedules.iter().map(row).collect::<Vec<_>>());
        for one in self.schedules.iter().filter(|one| one.error.is_some()) {
            page.warning(one.error.as_deref().unwrap_or_default(), None);
        }
        for (one, why) in self.schedules.iter().filter_map(|one| Some((one, one.held_up.as_ref()?))) {
            page.warning(&format!("{}: the bundle that is due does not begin: {why}", one.timer), None);
        }
    }
}
