//! `dr status`.

use std::path::PathBuf;

use clap::Args;

use super::own_file::OwnFile;
use super::schedule::environment;
use crate::error::{Exit, Result};
use crate::ops::{Ctx, doctor::Level, schedule, status};
use crate::text::{bytes, plural};
use crate::ui::{Column, Mark, Page, Report, Styled, Ui, short_time};

const METRICS: OwnFile = OwnFile { what: "metrics", begins: status::METRICS_BEGIN };

/// Say whether this install could be restored now: to when, from what, in how long
///
/// Computed from the store, the vault, and this host's runs and timers; the cluster is asked for CronJobs alone. Limits:
/// [status] in dr.toml.
#[derive(Debug, Args)]
#[command(after_help = "\
Ends with exit code 4 when something must be fixed first.

Examples:
  dr status
  dr status --all
  dr status --quiet --metrics /var/lib/prometheus/node-exporter/dr.prom")]
pub struct StatusArgs {
    /// One line for each install of the store, by its bundles alone; the worst off first
    #[arg(long)]
    all: bool,
    /// Also write it as text for Prometheus, in place of what an earlier call has written there
    #[arg(long, value_name = "FILE", conflicts_with = "all")]
    metrics: Option<PathBuf>,
}

pub async fn run(ctx: &Ctx, ui: &Ui, args: StatusArgs) -> Result<Exit> {
    let ctx = &ctx.without_waits();
    let exit = |safe| if safe { Exit::Success } else { Exit::Unsafe };
    if args.all {
        let report = status::all(ctx)?;
        ui.report(&report)?;
        return Ok(exit(report.safe));
    }
    // Said once, and not by the schedules first.
    ctx.settings()?;
    let report = status::status(ctx, schedules(ctx).await?)?;
    if let Some(path) = &args.metrics {
        METRICS.replace(path, &status::metrics_text(&report))?;
    }
    ui.report(&report)?;
    Ok(exit(report.safe))
}

/// What cannot be asked is said, and no schedule.
pub(super) async fn schedules(ctx: &Ctx) -> Result<Vec<schedule::ScheduleLine>> {
    match schedule::list(ctx, &environment()).await {
        Ok(list) => Ok(list.schedules),
        Err(error) if error.exit() == Exit::Interrupted => Err(error),
        Err(error) => {
            ctx.events.warn(format!("what is scheduled is not known: {error}"), error.hints().first().cloned());
            Ok(Vec::new())
        }
    }
}

pub(super) fn mark(level: Level) -> Mark {
    match level {
        Level::Ok => Mark::Ok,
        Level::Warn => Mark::Warn,
        Level::Bad => Mark::Bad,
    }
}

impl Report for status::StatusReport {
    fn human(&self, page: &mut Page) {
        page.heading(&format!("Install {}, {}", self.install, short_time(self.at)));
        for finding in &self.findings {
            page.finding_of(finding.area, mark(finding.level), &finding.text, finding.fix.as_deref());
        }
        if let Some(next) = &self.next {
            page.next(next);
        }
    }
}

impl Report for status::AllStatus {
    fn human(&self, page: &mut Page) {
        if self.installs.is_empty() {
            page.line(format!("Store {} has no bundle that can be read.", self.store));
        } else {
            let heads = [
                "install".into(),
                Column::whole("state"),
                Column::whole("made"),
                "verified".into(),
                "restored".into(),
                Column::spare("bundles"),
            ];
            page.table(&heads, &self.installs.iter().map(install_row).collect::<Vec<_>>());
        }
        for (count, what) in [
            (self.unreadable, "cannot be opened"),
            (self.strangers, "count for nothing: nobody trusted here has signed them"),
        ] {
            if count > 0 {
                let of = plural(count as u64, "bundle");
                page.finding(Mark::Warn, &format!("{of} of the store {what}; `dr status` names the newest"), None);
            }
        }
    }
}

/// The cells of one install of many.
pub(super) fn install_row(one: &status::InstallStatus) -> Vec<Styled> {
    let when = |moment: &Option<status::BundleMoment>| -> Styled {
        moment.as_ref().map_or("never".to_owned(), |moment| short_time(moment.at)).into()
    };
    let of = &one.bundles;
    let size = format!("{} of {}", plural(of.count as u64, "bundle"), bytes(of.bytes));
    vec![
        one.install.as_str().into(),
        Styled::from(mark(one.level)),
        when(&of.made),
        when(&of.verified),
        when(&of.restored),
        size.into(),
    ]
}
