//! `dr deploy upgrade`.

use clap::Args;

use super::carry::{bundled, carry_out};
use super::options::DeployOptionArgs;
use crate::error::{CommandError, Exit, Result};
use crate::ops::deploy::{self, DeployOptions, DeployReport, UpgradePath, UpgradeRelease, UpgradeReport};
use crate::ops::{Ctx, quoted};
use crate::text::{elapsed_seconds, plural};
use crate::ui::{Mark, Page, Report, Ui};

/// Deploy the values that are live under a newer release, one release at a time
///
/// OpsChain leaves no release out. Each on the way is a deployment, recorded like any other, and waited for until it serves;
/// where one fails, the way ends there. The same command goes on from what is live.
#[derive(Debug, Args)]
#[command(
    // It is refused, and not shown.
    mut_arg("no_wait", |arg| arg.hide(true)),
    after_help = "\
Examples:
  dr deploy upgrade --version 2026-10-08 --dry-run
  dr deploy upgrade --version 2026-10-08 --message 'the autumn release'"
)]
pub struct DeployUpgradeArgs {
    /// The OpsChain version to arrive at, such as 2026-10-08
    #[arg(long, value_name = "V")]
    version: String,
    /// Where the charts are, if not the settings'
    #[arg(long, value_name = "REF")]
    chart: Option<String>,
    /// A release on the way that is not deployed (can be repeated)
    #[arg(long, value_name = "V")]
    leave_out: Vec<String>,
    #[command(flatten)]
    pub(super) options: DeployOptionArgs,
}

pub(super) async fn run(ctx: &Ctx, ui: &Ui, args: DeployUpgradeArgs, options: DeployOptions) -> Result<Exit> {
    if !options.wait {
        return Err(CommandError::new(Exit::Usage, "an upgrade of several releases waits until each one serves")
            .hint("Leave out --no-wait, or deploy one release by itself: `dr deploy -f FILE --version V --no-wait`."));
    }
    let chart = args.chart.as_deref();
    let path = deploy::upgrade_path(ctx, &args.version, chart, &args.leave_out, &options.allow).await?;
    if args.options.dry_run {
        if let [only] = &path.releases[..] {
            let prepared = deploy::plan_upgrade(ctx, &only.version, chart, options).await?;
            carry_out(ctx, ui, prepared, true, None).await?;
        } else {
            ui.dry_run(&path)?;
        }
        return Ok(Exit::Success);
    }
    ui.plan(&path);
    if !path.releases.is_empty() {
        let what = plural(path.releases.len() as u64, "release");
        ui.confirm(&format!("Upgrade release {} in namespace {} through {what}?", path.release, path.namespace))?;
    }
    let way =
        UpgradeWay { chart, left_out: &args.leave_out, confirm: args.options.confirm.as_deref(), options: &options };
    let report = through(ctx, ui, path, &way).await?;
    ui.report(&report)?;
    Ok(Exit::Success)
}

/// How each release of a path is deployed.
pub struct UpgradeWay<'a> {
    pub chart: Option<&'a str>,
    pub left_out: &'a [String],
    /// The release's name, typed before: it is stuck in the middle of something, and that is put right first.
    pub confirm: Option<&'a str>,
    pub options: &'a DeployOptions,
}

impl UpgradeWay<'_> {
    /// The command that goes on.
    fn command(&self, to: &str) -> String {
        let chart = self.chart.map(|chart| format!(" --chart {}", quoted(chart))).unwrap_or_default();
        let named =
            |flag: &str, names: &[String]| names.iter().map(|name| format!(" {flag} {name}")).collect::<String>();
        let (left_out, allow) = (named("--leave-out", self.left_out), named("--allow", &self.options.allow));
        format!("dr deploy upgrade --version {to}{chart}{left_out}{allow}")
    }
}

/// Deploys each release of the path.
///
/// # Errors
/// What the first that does not serve fails with; it says how far it came, and the command that goes on.
pub async fn through(ctx: &Ctx, ui: &Ui, path: UpgradePath, way: &UpgradeWay<'_>) -> Result<UpgradeReport> {
    let UpgradePath { from, to, releases, .. } = path;
    let mut deployments: Vec<DeployReport> = Vec::new();
    let mut live = from.clone();
    for release in releases {
        // What is stuck is so before the first.
        let confirm = way.confirm.filter(|_| deployments.is_empty());
        let deployed = one(ctx, ui, &release, way, confirm).await;
        let deployed = deployed.map_err(|error| {
            error
                .context(format!("the upgrade to {to} ended at {}; {live} was live before", release.version))
                .hint(format!("When that is put right, `{}` goes on from what is live.", way.command(&to)))
        })?;
        live = release.version;
        deployments.push(deployed);
    }
    Ok(UpgradeReport { from, to, deployments })
}

async fn one(
    ctx: &Ctx,
    ui: &Ui,
    release: &UpgradeRelease,
    way: &UpgradeWay<'_>,
    confirm: Option<&str>,
) -> Result<DeployReport> {
    let mut prepared = deploy::plan_upgrade(ctx, &release.version, way.chart, way.options.clone()).await?;
    ui.plan(&prepared.plan);
    prepared.refuse()?;
    if let Some(stuck) = &prepared.plan.stuck {
        let what = format!("the release whose revision {}, {}, is to be removed", stuck.revision, stuck.status);
        ui.confirm_name(&what, &prepared.plan.release, confirm)?;
        prepared.agree_to_repair();
    }
    deploy::execute(ctx, bundled(ctx, prepared).await?).await
}

impl Report for UpgradePath {
    fn human(&self, page: &mut Page) {
        let Self { namespace, release, from, to, releases } = self;
        page.fields(&[
            ("what", "an upgrade, one release at a time".to_owned()),
            ("release", format!("{release} in namespace {namespace}")),
            ("version", format!("{to}, from {from}")),
        ]);
        if releases.is_empty() {
            page.line(format!("{to} is live: there is nothing to do."));
            return;
        }
        way(page, releases);
    }
}

/// The releases, each with what it asks of a person.
pub fn way(page: &mut Page, releases: &[UpgradeRelease]) {
    for UpgradeRelease { version, note } in releases {
        match note {
            Some(note) => page.finding(Mark::Warn, &format!("{version}: {note}"), None),
            None => page.finding(Mark::Ok, version, None),
        }
    }
}

impl UpgradeReport {
    /// A line a release.
    pub fn deployed(&self, page: &mut Page) {
        for DeployReport { chart, revision, deployment, seconds, .. } in &self.deployments {
            let time = elapsed_seconds(*seconds);
            let line = format!("{chart} serves: revision {revision}, {time}; recorded as {deployment}");
            page.finding(Mark::Ok, &line, None);
        }
    }
}

impl Report for UpgradeReport {
    fn human(&self, page: &mut Page) {
        let Self { from, to, deployments } = self;
        for deployed in deployments {
            let DeployReport { chart, revision, deployment, seconds, .. } = deployed;
            let time = elapsed_seconds(*seconds);
            page.finding(
                Mark::Ok,
                &format!("{chart} serves: revision {revision}, {time}; recorded as {deployment}"),
                None,
            );
        }
        match deployments.is_empty() {
            true => page.line(format!("{to} is live: nothing was done.")),
            false => page.line(format!("From {from} to {to}: each release served before the next.")),
        }
        page.next("dr bundle create; what was deployed when: dr config log");
    }
}
