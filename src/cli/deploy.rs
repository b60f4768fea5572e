//! `dr deploy`.

use std::io::Read;
use std::path::PathBuf;

use clap::Args;
use zeroize::Zeroizing;

use super::config::change_lines;
use crate::error::{CommandError, Exit, Result};
use crate::ops::Ctx;
use crate::ops::deploy::{self, DeployAsk, DeployPlan, DeployReport};
use crate::settings::Span;
use crate::text::elapsed;
use crate::ui::{Mark, Page, Report, Ui};
use crate::values::diff::Class;
use crate::values::lint::Severity;

/// Deploy values with helm, recorded in the config vault before and after
///
/// The values are checked and compared with the live ones first. They reach helm on stdin, and are kept in the vault
/// byte for byte, sealed: nothing of them is written to a disk in the clear.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dr deploy -f values.yaml --version 2026-08-20 --message 'first install'
  dr deploy -f values.yaml --dry-run
  sops -d values.enc.yaml | dr deploy -f - --yes")]
pub struct DeployArgs {
    /// The values file; - reads stdin
    #[arg(short = 'f', long = "values", value_name = "FILE")]
    values: PathBuf,
    /// The OpsChain version, such as 2026-08-20; without it the one that the values name
    #[arg(long)]
    version: Option<String>,
    /// The chart, if not the settings': an oci:// reference, a .tgz or a folder
    #[arg(long, value_name = "REF")]
    chart: Option<String>,
    /// Why, for the record
    #[arg(short, long)]
    message: Option<String>,
    /// How long it may take, such as 30m; the settings' if not given
    #[arg(long)]
    timeout: Option<Span>,
    /// Do not wait until everything serves; helm's own hooks are waited for all the same
    #[arg(long)]
    no_wait: bool,
    /// Let a finding, a version or a guarded key through, by its name (can be repeated)
    #[arg(long, value_name = "NAME")]
    allow: Vec<String>,
    /// Have helm render it, say which objects would change, and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// Runs the verb.
pub async fn run(ctx: &Ctx, ui: &Ui, args: DeployArgs) -> Result<Exit> {
    let (name, values) = read(&args.values)?;
    let ask = DeployAsk {
        values,
        name,
        version: args.version,
        chart: args.chart,
        message: args.message,
        timeout: args.timeout.map(|span| span.0),
        wait: !args.no_wait,
        allow: args.allow,
    };
    let prepared = deploy::plan(ctx, ask).await?;
    if args.dry_run {
        let objects = deploy::preview(ctx, &prepared).await?;
        ui.report(&super::objects::DryRun { plan: &prepared.plan, objects })?;
        return Ok(Exit::Success);
    }
    ui.plan(&prepared.plan);
    ui.confirm(&format!("Deploy to release {} in namespace {}?", prepared.plan.release, prepared.plan.namespace))?;
    ui.report(&deploy::execute(ctx, prepared).await?)?;
    Ok(Exit::Success)
}

fn read(path: &PathBuf) -> Result<(String, Zeroizing<Vec<u8>>)> {
    let name = if path.as_os_str() == "-" { "stdin".to_owned() } else { path.display().to_string() };
    let failed = |e| CommandError::new(Exit::NotFound, format!("read the values from {name}")).because(e);
    let mut bytes = Zeroizing::new(Vec::new());
    if path.as_os_str() == "-" {
        std::io::stdin().lock().read_to_end(&mut bytes).map_err(failed)?;
    } else {
        *bytes = std::fs::read(path).map_err(failed)?;
    }
    Ok((name, bytes))
}

impl Report for DeployPlan {
    fn human(&self, page: &mut Page) {
        let chart = format!("{} {} from {}", self.chart.name, self.chart.version, self.chart_reference);
        let mut fields = vec![
            ("release", format!("{} in namespace {}", self.release, self.namespace)),
            ("chart", chart),
            ("version", self.version.clone().unwrap_or_else(|| "not named in the values".into())),
            ("values", format!("{} (sha256 {})", self.values, &self.values_sha256[..12])),
        ];
        match (&self.live, self.revision) {
            (Some(live), Some(revision)) => fields.push(("live", format!("{live}; helm is at revision {revision}"))),
            (None, Some(revision)) => {
                fields.push(("live", format!("nothing that the vault knows; helm is at revision {revision}")))
            }
            (_, None) => fields.push(("live", "nothing: this is the first deployment".into())),
        }
        page.fields(&fields);
        for finding in &self.findings {
            let mark = match finding.severity {
                Severity::Error => Mark::Bad,
                Severity::Warning => Mark::Warn,
                Severity::Note => Mark::Ok,
            };
            let path = finding.path.as_ref().map(|path| format!("{path}: ")).unwrap_or_default();
            let text = format!("{}:{}:{} {path}{}", self.values, finding.line, finding.column, finding.reason);
            page.finding(mark, &text, Some(&finding.fix));
        }
        match (&self.diff, self.same_values) {
            (Some(diff), _) => {
                page.gap();
                page.heading(&format!("Values: {}", diff.summary()));
                if diff.class == Class::Changed {
                    change_lines(page, diff);
                }
            }
            (None, Some(true)) => page.line("Values: same as live"),
            (None, Some(false)) => page.line("Values: not the live ones; no identity on this host to compare them"),
            (None, None) => {}
        }
    }
}

impl Report for DeployReport {
    fn human(&self, page: &mut Page) {
        let time = elapsed(std::time::Duration::from_secs_f64(self.seconds));
        let state = if self.waited { "deployed and serving" } else { "deployed, not waited for" };
        page.line(format!("{} is {state}: revision {}, {time}.", self.chart, self.revision));
        page.line(format!("Recorded as {}.", self.deployment));
        page.next("dr bundle create");
        page.line("      dr config log");
    }
}
