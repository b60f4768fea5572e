//! `dr config lint`: arguments in, a page of findings out.

use clap::Args;

use crate::error::{Exit, Result};
use crate::ops::Ctx;
use crate::ops::config::{self, LintRequest, Linted};
use crate::ui::{Mark, Page, Report, Ui};
use crate::values::lint::{LintFinding, Severity};

/// Look through a values file for traps; exit code 2 when something is found
///
/// Helm reads much in silence that nobody means: secrets of digits, keys that stand twice, keys that nothing reads. Each
/// finding has an id (docs/reference/lints.md lists them), a place, a reason and a fix; no secret is shown. Needs no
/// settings, no cluster, and helm only for --chart with a packed chart or a registry.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dr config lint values.yaml
  dr config lint values.yaml --chart ./opschain-2026.10.8.tgz
  dr config lint values.yaml --version 2026-10-08 --strict")]
pub struct LintArgs {
    /// The values file; `-` reads it from stdin
    #[arg(value_name = "FILE")]
    file: String,
    /// Whose own values tell which keys there are: a chart's folder or archive, `oci://...`, or a values file
    #[arg(long, value_name = "REF")]
    chart: Option<String>,
    /// The OpsChain version to judge by; else the one that the values name, else the newest known
    #[arg(long = "version", value_name = "V")]
    opschain_version: Option<String>,
    /// Count notes too
    #[arg(long)]
    strict: bool,
}

pub async fn run(ctx: &Ctx, ui: &Ui, args: LintArgs) -> Result<Exit> {
    let (name, values) = ctx.named_values(args.file.as_ref())?;
    let request = LintRequest { values, name, chart: args.chart, version: args.opschain_version, strict: args.strict };
    let linted = config::lint(ctx, request).await?;
    ui.report(&linted)?;
    Ok(linted.exit())
}

impl Report for Linted {
    fn human(&self, page: &mut Page) {
        for finding in &self.findings {
            finding_lines(page, &self.file, finding);
        }
        let count = |severity| self.findings.iter().filter(|finding| finding.severity == severity).count();
        let judged = match (&self.version, &self.chart) {
            (Some(version), Some(chart)) => format!(" by {chart} and release {version}"),
            (Some(version), None) => format!(" by release {version}"),
            (None, Some(chart)) => format!(" by {chart}"),
            (None, None) => String::new(),
        };
        if self.findings.is_empty() {
            return page.line(format!("{}: nothing found, judged{judged}.", self.file).replace(", judged.", "."));
        }
        page.gap();
        let counts = [(Severity::Error, "errors"), (Severity::Warning, "warnings"), (Severity::Note, "notes")];
        let counts: Vec<String> =
            counts.into_iter().map(|(severity, word)| format!("{} {word}", count(severity))).collect();
        page.line(format!("{}{judged}: {}.", self.file, counts.join(", ")));
    }
}

/// A finding with its place, its id, its reason and its fix.
fn finding_lines(page: &mut Page, file: &str, finding: &LintFinding) {
    let mark = match finding.severity {
        Severity::Error => Mark::Bad,
        Severity::Warning => Mark::Warn,
        Severity::Note => Mark::Ok,
    };
    let path = finding.path.as_ref().map(|path| format!("{path}: ")).unwrap_or_default();
    let text = format!("{file}:{}:{} {path}{} [{}]", finding.line, finding.column, finding.reason, finding.id);
    page.finding(mark, &text, Some(&finding.fix));
}
