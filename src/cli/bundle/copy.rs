//! `dr bundle copy`.

use clap::{ArgGroup, Args};

use crate::cli::trust::TrustArgs;
use crate::error::{Exit, Result};
use crate::ops::copy::{self, CopyPlan, CopyReport, CopyRequest, CopySelection, MirrorsReport};
use crate::ops::{Ctx, quoted};
use crate::settings::{bytes_of_rate, max_rate_of};
use crate::text::{bytes, plural};
use crate::ui::{Mark, Page, Report, Ui};

/// Copy bundles into another store, a folder or a bucket
///
/// Each member is checked against the signed manifest as it is read, and the copy is read back before it is listed. One
/// that is there already stays as it is. After a kill or Ctrl-C the same command goes on where it was.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("which").required(true).args(["bundle", "version", "all", "mirrors"])))]
#[command(after_help = "\
Examples:
  dr bundle copy opschain-20260820T101500Z-0a1b2c --to s3://backups/opschain
  dr bundle copy --version 2026-08-20 --to /mnt/usb/bundles
  dr bundle copy --mirrors
  dr bundle copy --all --from s3://backups/opschain --to /mnt/usb --dry-run")]
pub struct CopyArgs {
    /// A bundle's name or its beginning, or a file
    pub bundle: Option<String>,
    /// All that this OpsChain version has made, such as 2026-08-20
    #[arg(long = "version", value_name = "V")]
    pub version: Option<String>,
    /// All that are not marked as gone
    #[arg(long)]
    pub all: bool,
    /// The folder, which must be there, or the bucket (s3://BUCKET/PREFIX) that they go to
    #[arg(long, value_name = "STORE", required_unless_present = "mirrors")]
    pub to: Option<String>,
    /// Into each [[store.mirrors]] of the settings what it has not
    #[arg(long, conflicts_with_all = ["to", "from", "dry_run"])]
    pub mirrors: bool,
    /// Where they come from, if not from the settings' store
    #[arg(long, value_name = "STORE")]
    pub from: Option<String>,
    /// The most that may go a second, such as 10M
    #[arg(long, value_name = "RATE", value_parser = max_rate_of)]
    pub max_rate: Option<String>,
    #[command(flatten)]
    pub trust: TrustArgs,
    /// Say what would be copied, and copy nothing
    #[arg(long)]
    pub dry_run: bool,
}

pub fn run(ctx: &Ctx, ui: &Ui, args: CopyArgs) -> Result<Exit> {
    let bytes_a_second = args.max_rate.as_deref().and_then(bytes_of_rate);
    let Some(to) = args.to else {
        let report = copy::make_up(ctx, &args.trust.request(None, None), bytes_a_second)?;
        ui.report(&report)?;
        return Ok(report.failure.unwrap_or(Exit::Success));
    };
    let selection = match (args.bundle.clone(), args.version) {
        (Some(bundle), _) => CopySelection::One(bundle),
        (None, Some(version)) => CopySelection::Version(version),
        (None, None) => CopySelection::All,
    };
    let request =
        CopyRequest { selection, from: args.from, to, bytes_a_second, trust: args.trust.request(args.bundle, None) };
    let plan = copy::plan(ctx, &request)?;
    if args.dry_run {
        return ui.dry_run(&plan).map(|()| Exit::Success);
    }
    let report = copy::copy(ctx, &request, &plan)?;
    ui.report(&report)?;
    Ok(report.failure.unwrap_or(Exit::Success))
}

/// Those that the other store has, and not for long.
fn marked(page: &mut Page, bundles: &[String], to: &str) {
    for bundle in bundles {
        let text = format!("{bundle} is there and marked as gone: the next prune of that store removes it");
        page.finding(Mark::Warn, &text, Some(&format!("dr bundle unprune {bundle} --store {}", quoted(to))));
    }
}

impl Report for CopyPlan {
    fn human(&self, page: &mut Page) {
        page.heading("Plan: copy bundles");
        page.fields(&[("from", self.from.clone()), ("to", self.to.clone()), ("copies", bytes(self.bytes))]);
        for line in &self.copies {
            page.finding(Mark::Ok, &format!("copy {}, {}", line.bundle, bytes(line.bytes)), None);
        }
        for bundle in &self.there {
            page.finding(Mark::Ok, &format!("{bundle} is there"), None);
        }
        marked(page, &self.marked, &self.to);
        for (bundle, reason) in &self.unreadable {
            page.finding(Mark::Bad, &format!("{bundle} cannot be read: {reason}"), None);
        }
        for (bundle, reason) in &self.refused {
            page.finding(Mark::Bad, &format!("{bundle} is not copied: {reason}"), None);
        }
    }
}

impl Report for CopyReport {
    fn human(&self, page: &mut Page) {
        for copied in &self.copied {
            let resumed = match copied.resumed_bytes {
                0 => String::new(),
                resumed => format!(", {} of them before", bytes(resumed)),
            };
            let text = format!("{}: {}{resumed}, read back: {}", copied.bundle, bytes(copied.bytes), copied.address);
            page.finding(Mark::Ok, &text, None);
        }
        if !self.there.is_empty() {
            let count = plural(self.there.len() as u64, "bundle");
            page.finding(Mark::Ok, &format!("{count} there before: {}", self.there.join(", ")), None);
        }
        marked(page, &self.marked, &self.to);
        for (bundle, reason) in &self.failed {
            page.finding(Mark::Bad, &format!("{bundle} was not copied: {reason}"), None);
        }
        if self.copied.is_empty() && self.there.is_empty() && self.failed.is_empty() {
            page.line(format!("Store {} has no bundle to copy.", self.from));
        }
    }
}

impl Report for MirrorsReport {
    fn human(&self, page: &mut Page) {
        for mirror in &self.mirrors {
            page.heading(&format!("Mirror {}", mirror.store));
            if let Some(report) = &mirror.report {
                report.human(page);
            }
            if let Some(error) = &mirror.error {
                page.finding(Mark::Bad, error, mirror.hints.first().map(String::as_str));
            }
        }
    }
}
