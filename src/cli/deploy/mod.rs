//! `dr deploy`.

pub(super) mod layers;

use clap::{Args, Subcommand};

use super::config::change_lines;
use super::config::recipients;
use crate::error::{Exit, Result};
use crate::event::Event;
use crate::ops::deploy::{
    self, DeployOptions, DeployPlan, DeployReport, DeployRequest, LayerFinding, LiveSource, Prepared, RollbackRequest,
};
use crate::ops::runs::InterruptedRuns;
use crate::ops::{Ctx, create, guard};
use crate::settings::{NotifyVerb, TimeSpan};
use crate::text::elapsed_seconds;
use crate::ui::{Mark, Output, Page, Report, Ui};
use crate::values::diff::Class;
use crate::values::lint::Severity;

use layers::LayerArgs;

/// Deploy values with helm, recorded in the config vault before and after
///
/// The values are checked and compared with the live ones first. They reach helm on stdin, and are kept in the vault
/// byte for byte, sealed: nothing of them is written to a disk in the clear.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "\
Examples:
  dr deploy -f values.yaml --version 2026-08-20 --message 'first install'
  dr deploy -f values.yaml --dry-run
  sops -d values.enc.yaml | dr deploy -f - --yes
  dr deploy -f base.yaml -f site.yaml --set api.replicas=2
  dr deploy rollback

What is refused, and let through by --allow NAME:
  a lint                its id, such as duplicate-key
  version               an older version than the live one, or another one than
                        values or chart name
  skipped-releases      releases left out, where the settings refuse that
  credentials           new registry credentials and a new version at once
  env.PGPASSWORD, ...   a key that stored data depends on, by its path; on a
                        terminal its name is asked for
  no-bundle             without the bundle that the settings want first"
)]
pub struct DeployArgs {
    #[command(subcommand)]
    verb: Option<DeployVerb>,
    #[command(flatten)]
    layers: LayerArgs,
    /// The OpsChain version, such as 2026-08-20; without it the one that the values name
    #[arg(long)]
    version: Option<String>,
    /// The chart, if not the settings': an oci:// reference, a .tgz or a folder
    #[arg(long, value_name = "REF")]
    chart: Option<String>,
    #[command(flatten)]
    options: DeployOptionArgs,
}

#[derive(Debug, Subcommand)]
enum DeployVerb {
    /// Deploy what the vault has of an earlier deployment: its values and its chart, never helm's memory of them
    ///
    /// Without a name: the one that was live before. OpsChain does not run an older version over the database of a newer
    /// one: that way back is `dr bundle restore`.
    #[command(after_help = "\
Examples:
  dr deploy rollback
  dr deploy rollback rev:7 --message 'the new limits were too small'
  dr deploy rollback 2026-08-20T10:00 --dry-run")]
    Rollback {
        /// Which, as `dr config` names deployments: an id or a part of it, rev:7, a time
        deployment: Option<String>,
        /// Where the chart is, for a deployment that was recorded without it
        #[arg(long, value_name = "REF")]
        chart: Option<String>,
        #[command(flatten)]
        options: DeployOptionArgs,
    },
}

/// How it is done, whatever is deployed.
#[derive(Debug, Args)]
pub(super) struct DeployOptionArgs {
    /// Why, for the record
    #[arg(short, long)]
    message: Option<String>,
    /// How long it may take, such as 30m; the settings' if not given
    #[arg(long)]
    timeout: Option<TimeSpan>,
    /// Do not wait until everything serves; helm's own hooks are waited for all the same
    #[arg(long)]
    no_wait: bool,
    /// Let through what is refused, by its name (can be repeated)
    #[arg(long, value_name = "NAME")]
    allow: Vec<String>,
    /// The deleted namespace of an earlier install whose cluster roles and the like go to this release
    #[arg(long, value_name = "NAMESPACE")]
    take_over: Option<String>,
    /// The release, typed: it is stuck, and the record of its pending revision is to be removed
    #[arg(long, value_name = "RELEASE")]
    pub(super) confirm: Option<String>,
    /// Show all that helm says with its own --debug, secrets masked; so does -v
    #[arg(long)]
    pub(super) debug: bool,
    /// Have helm render it, say which objects would change, and change nothing
    #[arg(long)]
    pub(super) dry_run: bool,
}

impl DeployOptionArgs {
    pub(super) fn options(&self, ui: &Ui) -> DeployOptions {
        DeployOptions {
            message: self.message.clone(),
            timeout: self.timeout.map(|span| span.0),
            wait: !self.no_wait,
            allow: self.allow.clone(),
            take_over: self.take_over.clone(),
            debug: self.debug || ui.options().verbose > 0,
        }
    }
}

impl DeployArgs {
    fn shown(&self) -> &DeployOptionArgs {
        match &self.verb {
            Some(DeployVerb::Rollback { options, .. }) => options,
            None => &self.options,
        }
    }

    /// What others are told of, where they are.
    pub fn notified(&self) -> Option<NotifyVerb> {
        (!self.shown().dry_run).then_some(NotifyVerb::Deploy)
    }

    /// What is done about interrupted runs first.
    pub fn interrupted_runs(&self) -> InterruptedRuns {
        InterruptedRuns::before(self.shown().dry_run)
    }
}

pub async fn run(ctx: &Ctx, ui: &Ui, args: DeployArgs) -> Result<Exit> {
    let shown = args.shown();
    let confirm = shown.confirm.clone();
    let (ctx, dry_run, options) = (&listening(ctx, ui, shown.debug), shown.dry_run, shown.options(ui));
    if !dry_run {
        recipients::ask(ctx, ui)?;
    }
    let prepared = match args.verb {
        Some(DeployVerb::Rollback { deployment, chart, .. }) => {
            deploy::plan_rollback(ctx, RollbackRequest { deployment, chart, options }).await?
        }
        None => {
            let layers = args.layers.read(ctx)?;
            deploy::plan(ctx, DeployRequest { layers, version: args.version, chart: args.chart, options }).await?
        }
    };
    carry_out(ctx, ui, prepared, dry_run, confirm.as_deref()).await?;
    Ok(Exit::Success)
}

/// Shows what would be done; asks, and does it, unless it is a dry run. `release` is the name that was typed before.
pub(super) async fn carry_out(
    ctx: &Ctx,
    ui: &Ui,
    prepared: Prepared,
    dry_run: bool,
    release: Option<&str>,
) -> Result<()> {
    if dry_run {
        if prepared.plan.stuck.is_some() {
            // helm renders nothing for a release that is pending.
            ui.dry_run(&prepared.plan)?;
        } else {
            let objects = deploy::preview(ctx, &prepared).await?;
            ui.dry_run(&super::objects::Preview { plan: &prepared.plan, objects })?;
        }
        return prepared.refuse();
    }
    ui.plan(&prepared.plan);
    let prepared = bundled(ctx, agreed(ui, prepared, release)?).await?;
    ui.report(&deploy::execute(ctx, prepared).await?)
}

/// Makes the bundle of what is live, where the settings want one first.
pub(super) async fn bundled(ctx: &Ctx, mut prepared: Prepared) -> Result<Prepared> {
    if prepared.plan.bundle_before {
        deploy::require_rights(ctx, &prepared).await?;
        prepared.bundled_as(bundle_first(ctx).await.map_err(|error| {
            error
                .context("nothing was deployed: the bundle that the settings want first was not made")
                .hint(format!("If it is to be deployed without one, add --allow {}.", deploy::NO_BUNDLE))
        })?);
    }
    Ok(prepared)
}

async fn bundle_first(ctx: &Ctx) -> Result<String> {
    let plan = create::plan(ctx, &create::CreateRequest::default()).await?;
    let made = create::create(ctx, plan).await?;
    ctx.events.note(format!("bundle {} holds what was live until now", made.bundle));
    Ok(made.bundle)
}

/// Asks for all that must be agreed to: the name of each guarded key, the repair of a pending release, the deployment.
pub(super) fn agreed(ui: &Ui, mut prepared: Prepared, release: Option<&str>) -> Result<Prepared> {
    prepared.refuse_always()?;
    let plan = &prepared.plan;
    if !plan.guarded.is_empty() {
        for key in &plan.guarded {
            let typed =
                ui.can_ask() && ui.confirm_name("the key whose data is lost", &key.path.to_string(), None).is_ok();
            if !typed {
                guard::refuse_data_loss(&plan.guarded)?;
            }
        }
        prepared.agree_to_loss();
    }
    if let Some(stuck) = &prepared.plan.stuck {
        let what = format!("the release whose revision {}, {}, is to be removed", stuck.revision, stuck.status);
        ui.confirm_name(&what, &prepared.plan.release, release)?;
        prepared.agree_to_repair();
    }
    let plan = &prepared.plan;
    ui.confirm(&format!("Deploy to release {} in namespace {}?", plan.release, plan.namespace))?;
    Ok(prepared)
}

/// With --debug, helm's lines are shown to people without -v, too.
pub(super) fn listening(ctx: &Ctx, ui: &Ui, debug: bool) -> Ctx {
    let mut listening = ctx.clone();
    if debug && ui.options().verbose == 0 && ui.options().output == Output::Human {
        let events = ctx.events.clone();
        listening.events = ctx.events.heard_by(move |stamped| {
            events.emit(match stamped.event {
                Event::Log { source, line } => Event::Note { message: format!("{source} | {line}") },
                other => other,
            });
        });
    }
    listening
}

impl Report for DeployPlan {
    fn human(&self, page: &mut Page) {
        // What decides stands last, beside the question: a long list of changes may scroll away above it.
        self.values(page);
        self.decision(page);
    }
}

impl DeployPlan {
    /// What changes in the values, and what was found in them.
    pub(super) fn values(&self, page: &mut Page) {
        if let Some(diff) = &self.diff {
            let against = match self.compared_with {
                Some(LiveSource::Helm) => ", compared with what helm has stored",
                _ => "",
            };
            page.heading(&format!("Values: {}{against}", diff.summary()));
            if diff.class == Class::Changed {
                change_lines(page, diff);
            }
            page.gap();
        }
        for found in &self.findings {
            let mark = match found.finding.severity {
                Severity::Error => Mark::Bad,
                Severity::Warning => Mark::Warn,
                Severity::Note => Mark::Ok,
            };
            let LayerFinding { file, finding } = found;
            let path = finding.path.as_ref().map(|path| format!("{path}: ")).unwrap_or_default();
            let text = format!("{file}:{}:{} {path}{}", finding.line, finding.column, finding.reason);
            page.finding(mark, &text, Some(&finding.fix));
        }
    }

    /// What is deployed where, and what stands in its way.
    pub(super) fn decision(&self, page: &mut Page) {
        let chart = format!("{} {} from {}", self.chart.name, self.chart.version, self.chart_reference);
        let mut fields = vec![
            ("what", self.how.word().to_owned()),
            ("release", format!("{} in namespace {}", self.release, self.namespace)),
            ("chart", chart),
            ("version", self.version_line()),
            ("values", format!("{} (sha256 {})", self.values, &self.values_sha256[..12])),
        ];
        match (&self.live, self.revision) {
            (Some(live), Some(revision)) => fields.push(("live", format!("{live}; helm is at revision {revision}"))),
            (None, Some(revision)) => {
                fields.push(("live", format!("nothing that the vault knows; helm is at revision {revision}")))
            }
            (_, None) => fields.push(("live", "nothing: this is the first deployment".into())),
        }
        if self.bundle_before {
            fields.push(("first", "a bundle of what is live: API and workers stop for its last moment".into()));
        }
        page.fields(&fields);
        self.cautions(page);
    }

    fn version_line(&self) -> String {
        let version = self.version.clone().unwrap_or_else(|| "not named in the values".into());
        match &self.upgrade.from {
            Some(from) if self.version.as_ref() != Some(from) => format!("{version}, from {from}"),
            _ => version,
        }
    }

    /// What stands in the way, or must be known before.
    fn cautions(&self, page: &mut Page) {
        if let Some(stuck) = &self.stuck {
            let [first, rest @ ..] = &stuck.lines()[..] else { return };
            page.finding(Mark::Bad, first, None);
            rest.iter().for_each(|line| page.line(format!("  {line}")));
        }
        if !self.upgrade.skipped.is_empty() {
            let text = format!(
                "this leaves out {}: OpsChain is upgraded one release at a time",
                self.upgrade.skipped.join(", ")
            );
            page.finding(Mark::Warn, &text, Some(&format!("deploy {} first", self.upgrade.skipped[0])));
        }
        for note in &self.upgrade.notes {
            page.finding(Mark::Warn, note, None);
        }
        for key in &self.guarded {
            let text = format!("{} {}, and must never change: {}", key.path, key.act, key.why);
            page.finding(Mark::Bad, &text, Some("give the old value back: `dr config cat live` has it"));
        }
    }
}

impl Report for DeployReport {
    fn human(&self, page: &mut Page) {
        let time = elapsed_seconds(self.seconds);
        let state = if self.waited { "deployed and serving" } else { "deployed, not waited for" };
        page.line(format!("{} is {state}: revision {}, {time}.", self.chart, self.revision));
        page.line(format!("Recorded as {}.", self.deployment));
        if let Some(bundle) = &self.bundle_before {
            page.line(format!("Bundle {bundle} holds what was live before."));
        }
        page.next("dr bundle create; what was deployed when: dr config log");
    }
}
