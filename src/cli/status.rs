//! `dr status`.

use std::path::{Path, PathBuf};

use clap::Args;

use super::schedule::environment;
use crate::error::{CommandError, Exit, Result};
use crate::ops::{Ctx, doctor::Level, schedule, status};
use crate::text::{bytes, plural};
use crate::ui::{Column, Mark, Page, Report, Styled, Ui, short_time};
use crate::{read, write};

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
    let report = status::status(ctx, schedules(ctx).await?)?;
    if let Some(path) = &args.metrics {
        replace(path, &status::metrics_text(&report))?;
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

/// The exporter reads it as another user. Anything else that is there stays: a device, a link, another's file.
fn replace(path: &Path, text: &str) -> Result<()> {
    if !is_ours(path) {
        return Err(CommandError::new(Exit::Usage, format!("{} is there and is no file of metrics", path.display()))
            .hint("Name another file, or remove that one."));
    }
    write::replace_file(path, 0o644, text.as_bytes()).map_err(|error| {
        CommandError::new(Exit::Failure, format!("write the metrics to {}", path.display()))
            .because(error)
            .hint("What was there before is still there.")
    })
}

/// Whether nothing is there, or a file that begins as the metrics do.
fn is_ours(path: &Path) -> bool {
    let Ok(facts) = path.symlink_metadata() else { return true };
    facts.is_file()
        && read::file(path, read::SMALL).is_ok_and(|text| text.starts_with(status::METRICS_BEGIN.as_bytes()))
}

fn mark(level: Level) -> Mark {
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
        let worst = self.findings.iter().filter(|finding| finding.level == Level::Bad);
        if let Some(fix) = worst.filter_map(|finding| finding.fix.as_deref()).next() {
            page.next(fix);
        }
    }
}

impl Report for status::AllStatus {
    fn human(&self, page: &mut Page) {
        if self.installs.is_empty() {
            page.line(format!("Store {} has no bundle that can be read.", self.store));
        } else {
            let when = |moment: &Option<status::BundleMoment>| -> Styled {
                moment.as_ref().map_or("never".to_owned(), |moment| short_time(moment.at)).into()
            };
            let row = |one: &status::InstallStatus| -> Vec<Styled> {
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
            };
            let heads = [
                "install".into(),
                Column::whole("state"),
                Column::whole("made"),
                "verified".into(),
                "restored".into(),
                Column::spare("bundles"),
            ];
            page.table(&heads, &self.installs.iter().map(row).collect::<Vec<_>>());
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
