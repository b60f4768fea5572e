//! `dr config record`.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use jiff::Timestamp;

use super::recipients;
use crate::error::{Exit, Result};
use crate::ops::Ctx;
use crate::ops::config::{
    Origin, RecordAction, RecordItem, RecordPlan, RecordReport, RecordRequest, execute_records, plan_records,
};
use crate::ops::schedule;
use crate::text::plural;
use crate::ui::{Column, Mark, Page, Report, Ui, short_time};
use crate::values::lint::{LintFinding, Severity};
use crate::vault::DeploymentStatus;

/// Write down deployments of the past: old values files, or what helm remembers
///
/// Each is kept byte for byte under the date that it was deployed on. What is in the vault already, by date and content,
/// is not written again. Nothing is deployed.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dr config record values.yaml --at 2025-04-25 --message 'from the old host'
  dr config record old.yaml --at 2025-04-25T10:00 --chart opschain.tgz
  dr config record --dir ~/old-values --dry-run
  dr config record --from-helm --all-revisions
  dr config record --from-helm --chart oci://docker.io/limepoint/opschain

Times are UTC. A file's date is --at, or the one date in its name, such as
values-2025-04-25.yaml. What helm remembers is its own JSON: the comments and
the order of the file are lost.")]
pub struct RecordArgs {
    /// The values file; - reads stdin
    #[arg(required_unless_present_any = ["dir", "from_helm"])]
    file: Option<PathBuf>,
    /// Every .yaml and .yml file of a folder
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["file", "from_helm", "at", "chart", "revision"])]
    dir: Option<PathBuf>,
    /// The values that helm has stored of the release
    #[arg(long, conflicts_with_all = ["file", "at", "revision", "outcome"])]
    from_helm: bool,
    /// With --from-helm: every revision that helm remembers, not only the deployed one
    #[arg(long, requires = "from_helm", conflicts_with = "chart")]
    all_revisions: bool,
    /// When it was deployed, such as 2025-04-25 or 2025-04-25T10:00
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// Where a file's name holds no date, take the time of its last change
    #[arg(long, conflicts_with = "from_helm")]
    use_mtime: bool,
    /// The OpsChain version, where the values do not name it
    #[arg(long)]
    version: Option<String>,
    /// The chart's version, if not the one of the OpsChain version
    #[arg(long, value_name = "VERSION", conflicts_with = "chart")]
    chart_version: Option<String>,
    /// The chart, to be kept with the values, which a bundle needs: a .tgz, a folder or an oci:// reference
    #[arg(long, value_name = "REF")]
    chart: Option<String>,
    /// helm's revision
    #[arg(long, value_name = "N")]
    revision: Option<u32>,
    /// What came of it
    #[arg(long, value_enum, default_value_t)]
    outcome: OutcomeArg,
    /// Why, for the record
    #[arg(short, long)]
    message: Option<String>,
    /// Who deployed it, if it was somebody else
    #[arg(long, value_name = "WHO")]
    by: Option<String>,
    /// Let through what is refused: not-read, for values that helm has deployed and dr does not read; version, for a
    /// chart or a --version that is not the one that the values name
    #[arg(long, value_name = "NAME", value_parser = ["not-read", "version"])]
    allow: Vec<String>,
    /// Name no cluster in the record: it was not deployed in the one at hand
    #[arg(long, conflicts_with = "from_helm")]
    no_cluster: bool,
    /// Say what would be written, and write nothing
    #[arg(long)]
    dry_run: bool,
}

/// What came of a deployment of the past.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum OutcomeArg {
    /// It went live
    #[default]
    Deployed,
    /// It failed
    Failed,
    /// It was stopped
    Interrupted,
}

impl From<OutcomeArg> for DeploymentStatus {
    fn from(outcome: OutcomeArg) -> Self {
        match outcome {
            OutcomeArg::Deployed => Self::Deployed,
            OutcomeArg::Failed => Self::Failed,
            OutcomeArg::Interrupted => Self::Interrupted,
        }
    }
}

pub async fn run(ctx: &Ctx, ui: &Ui, args: RecordArgs) -> Result<Exit> {
    let several = args.dir.is_some() || args.all_revisions;
    let origin = match (&args.file, &args.dir) {
        (Some(file), _) => read(ctx, file)?,
        (None, Some(folder)) => Origin::Folder(folder.clone()),
        (None, None) => Origin::Release { all: args.all_revisions },
    };
    let request = RecordRequest {
        origin,
        at: args.at,
        use_mtime: args.use_mtime,
        version: args.version,
        chart_version: args.chart_version,
        chart: args.chart,
        revision: args.revision,
        why: args.message,
        by: args.by,
        keep_unread: args.allow.iter().any(|name| name == "not-read"),
        any_version: args.allow.iter().any(|name| name == "version"),
        no_cluster: args.no_cluster,
        status: args.outcome.into(),
    };
    let prepared = plan_records(ctx, request).await?;
    if args.dry_run {
        ui.dry_run(&prepared.plan)?;
        return Ok(if prepared.plan.refused() == 0 { Exit::Success } else { Exit::Failure });
    }
    let count = prepared.plan.to_write();
    if count > 0 {
        recipients::ask(ctx, ui)?;
    }
    if several && count > 0 {
        ui.plan(&prepared.plan);
        ui.confirm(&format!("Write {} into the vault?", plural(count as u64, "deployment")))?;
    }
    let report = execute_records(ctx, prepared)?;
    ui.report(&report)?;
    if !report.recorded.is_empty() {
        schedule::renew(ctx).await;
    }
    Ok(report.exit())
}

fn read(ctx: &Ctx, file: &Path) -> Result<Origin> {
    let changed = std::fs::metadata(file).and_then(|meta| meta.modified()).ok();
    let changed = changed.and_then(|time| Timestamp::try_from(time).ok());
    let (name, bytes) = ctx.named_values(file)?;
    Ok(Origin::File { name, bytes, changed })
}

impl Report for RecordPlan {
    fn human(&self, page: &mut Page) {
        let rows: Vec<Vec<String>> = self.items.iter().map(row).collect();
        let [at, version, rev] = ["at", "version", "rev"].map(Column::whole);
        page.table(&["from".into(), at, version, rev, "lint".into(), "will".into()], &rows);
        let (write, refused) = (self.to_write() as u64, self.refused() as u64);
        page.gap();
        page.line(format!(
            "{} to be written for release {} in namespace {}; {} there already, {refused} refused.",
            plural(write, "deployment"),
            self.release,
            self.namespace,
            self.items.len() as u64 - write - refused,
        ));
        if let [item] = self.items.as_slice() {
            item.findings.iter().for_each(|finding| finding_line(page, &item.from, finding));
        }
    }
}

fn row(item: &RecordItem) -> Vec<String> {
    let will = match &item.action {
        RecordAction::Record => "be recorded".to_owned(),
        RecordAction::Present { by } => format!("stay: it is there as {by}"),
        RecordAction::Refused { reason, .. } => format!("be refused: {reason}"),
    };
    vec![
        item.from.clone(),
        item.at.map(short_time).unwrap_or_default(),
        item.version.clone().unwrap_or_default(),
        item.revision.map(|number| number.to_string()).unwrap_or_default(),
        match item.findings.len() {
            0 => String::new(),
            count => plural(count as u64, "finding"),
        },
        will,
    ]
}

fn finding_line(page: &mut Page, name: &str, finding: &LintFinding) {
    let mark = match finding.severity {
        Severity::Error => Mark::Bad,
        Severity::Warning => Mark::Warn,
        Severity::Note => Mark::Ok,
    };
    let path = finding.path.as_ref().map(|path| format!("{path}: ")).unwrap_or_default();
    let text = format!("{name}:{}:{} {path}{}", finding.line, finding.column, finding.reason);
    page.finding(mark, &text, Some(&finding.fix));
}

impl Report for RecordReport {
    fn human(&self, page: &mut Page) {
        for one in &self.recorded {
            page.line(format!("{} is recorded as {}, deployed {}.", one.from, one.id, short_time(one.at)));
            one.findings.iter().for_each(|finding| finding_line(page, &one.from, finding));
        }
        self.without_cluster(page);
        for (from, by) in &self.present {
            page.line(format!("{from} is there already, as {by}: nothing was written."));
        }
        for (from, reason) in &self.refused {
            page.finding(Mark::Bad, &format!("{from}: {reason}"), None);
        }
        if self.recorded.len() > 1 {
            page.line(format!("{} recorded.", plural(self.recorded.len() as u64, "deployment")));
        }
        if !self.recorded.is_empty() {
            page.next("dr config log");
        }
    }
}

impl RecordReport {
    /// Of which records the cluster is not known, once for each reason.
    fn without_cluster(&self, page: &mut Page) {
        let mut reasons: Vec<&str> = self.recorded.iter().filter_map(|one| one.no_cluster).collect();
        reasons.dedup();
        for reason in reasons {
            let count = self.recorded.iter().filter(|one| one.no_cluster == Some(reason)).count();
            let which = if count == self.recorded.len() { String::new() } else { format!(" of {count} of them") };
            page.line(format!("The cluster{which} is not in the record: {reason}."));
        }
    }
}
