//! `dr deploy`.

mod carry;
pub(super) mod layers;
pub(super) mod options;
pub(super) mod upgrade;

use clap::{Args, Subcommand};

use super::changes::change_lines;
use super::config::recipients;
use crate::error::{Exit, Result};
use crate::ops::Ctx;
use crate::ops::deploy::{self, DeployPlan, DeployReport, DeployRequest, LayerFinding, LiveSource, RollbackRequest};
use crate::ops::runs::InterruptedRuns;
use crate::settings::NotifyVerb;
use crate::text::elapsed_seconds;
use crate::ui::{Mark, Page, Report, Ui};
use crate::values::diff::Class;
use crate::values::lint::Severity;

pub(super) use carry::{agreed, bundled, carry_out, listening};
use layers::LayerArgs;
pub(super) use options::DeployOptionArgs;

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
  dr deploy upgrade --version 2026-10-08
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
    Upgrade(upgrade::DeployUpgradeArgs),
}

impl DeployArgs {
    fn shown(&self) -> &DeployOptionArgs {
        match &self.verb {
            Some(DeployVerb::Rollback { options, .. }) => options,
            Some(DeployVerb::Upgrade(args)) => &args.options,
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
        Some(DeployVerb::Upgrade(args)) => return upgrade::run(ctx, ui, args, options).await,
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
        fields.push(("live", self.live_line()));
        if self.bundle_before {
            fields.push(("first", "a bundle of what is live: API and workers stop for its last moment".into()));
        }
        if let Some(bundle) = &self.data_bundle {
            let way = format!("dr bundle restore {bundle} --into-existing");
            fields.push(("data", format!("stays as it is now; as it was then, bundle {bundle} has it: `{way}`")));
        }
        page.fields(&fields);
        self.cautions(page);
    }

    fn live_line(&self) -> String {
        let Some(revision) = self.revision else { return "nothing: this is the first deployment".into() };
        let live = self.live.as_ref().map_or_else(
            || if self.is_first { "nothing yet".to_owned() } else { "nothing that the vault knows".into() },
            ToString::to_string,
        );
        let of = self.tried.as_ref().map(|tried| match tried.state.as_str() {
            "unknown" => format!(", of {}, of which the end is not known", tried.id),
            state => {
                format!(", of {}, which {}", tried.id, if state == "failed" { "failed" } else { "was interrupted" })
            }
        });
        format!("{live}; helm is at revision {revision}{}", of.unwrap_or_default())
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
