//! `dr run list | show | resume`.

use std::time::Duration;

use clap::{Args, Subcommand};

use crate::error::{Exit, Result};
use crate::ops::timing::{self, RunTiming};
use crate::ops::{Ctx, runs};
use crate::text::elapsed;
use crate::trace::timing::CallTiming;
use crate::ui::{Mark, Page, Report, Ui, short_time};

/// Look at journalled runs and take them up again
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  dr run list\n  dr run show restore-20260820\n  dr run resume")]
pub struct RunArgs {
    #[command(subcommand)]
    verb: RunVerb,
}

#[derive(Debug, Subcommand)]
enum RunVerb {
    /// List all runs, newest first
    #[command(after_help = "Example:\n  dr run list --output json")]
    List,
    /// Show one run, step by step
    #[command(after_help = "Example:\n  dr run show restore-20260820\n  dr run show restore-20260820 --timing")]
    Show {
        /// The run's id, or its beginning
        run: String,
        /// Show where the time went: each step, and what it called
        #[arg(long)]
        timing: bool,
    },
    /// Go on with a run that was stopped or whose process died
    ///
    /// A restore goes on at the step that it was in. A bundle cannot be gone on with: what its run had changed is put
    /// back, and a new one is to be made.
    #[command(after_help = "Example:\n  dr run resume restore-20260820T101500Z-0a1b2c")]
    Resume {
        /// The run's id, or its beginning; the newest open one when absent
        run: Option<String>,
    },
}

/// Runs the verb.
pub async fn run(ctx: &Ctx, ui: &Ui, args: RunArgs) -> Result<Exit> {
    match args.verb {
        RunVerb::List => ui.report(&runs::list(ctx)?)?,
        RunVerb::Show { run, timing: true } => ui.report(&timing::timing(ctx, &run)?)?,
        RunVerb::Show { run, timing: false } => ui.report(&runs::show(ctx, &run)?)?,
        RunVerb::Resume { run } => match runs::resume(ctx, run.as_deref()).await? {
            runs::Resumed::Restored(restored) => ui.report(&*restored)?,
            runs::Resumed::PutBack(report) => ui.report(&report)?,
        },
    }
    Ok(Exit::Success)
}

impl Report for runs::RunList {
    fn human(&self, page: &mut Page) {
        if self.runs.is_empty() {
            page.line("There are no runs yet.");
            return page.next("dr bundle create");
        }
        let rows: Vec<Vec<String>> = self
            .runs
            .iter()
            .map(|run| {
                vec![
                    run.run.clone(),
                    run.begun.map_or(String::new(), short_time),
                    run.state.clone(),
                    run.detail.clone(),
                ]
            })
            .collect();
        page.table(&["run", "begun", "state", "where it stands"], &rows);
    }
}

impl Report for RunTiming {
    fn human(&self, page: &mut Page) {
        page.fields(&[("run", self.run.clone()), ("steps took", took(self.milliseconds))]);
        if self.steps.is_empty() {
            return page.line("No step of it has ended, or it was executed by a dr that did not record this.");
        }
        let row = |step: &str, call: &CallTiming| {
            let failed = if call.failed > 0 { format!(" ({} failed)", call.failed) } else { String::new() };
            let slowest = format!("{} ({})", call.slowest, took(call.slowest_milliseconds));
            vec![step.into(), call.kind.clone(), format!("{}{failed}", call.count), took(call.milliseconds), slowest]
        };
        let mut rows = Vec::new();
        for timing in &self.steps {
            let outcome = if timing.outcome == "ok" { String::new() } else { timing.outcome.clone() };
            rows.push(vec![timing.step.clone(), "step".into(), String::new(), took(timing.milliseconds), outcome]);
            rows.extend(timing.calls.iter().map(|call| row(&timing.step, call)));
        }
        rows.extend(self.calls.iter().map(|call| row("all", call)));
        page.gap();
        page.table(&["step", "what", "calls", "time", "slowest"], &rows);
    }
}

/// Milliseconds for people.
fn took(milliseconds: f64) -> String {
    if milliseconds < 1000.0 {
        format!("{milliseconds:.0} ms")
    } else {
        elapsed(Duration::from_secs_f64(milliseconds / 1e3))
    }
}

impl Report for runs::PutBack {
    fn human(&self, page: &mut Page) {
        page.finding(Mark::Ok, &format!("what run {} had changed is put back", self.run), None);
        page.next("dr bundle create");
    }
}

impl Report for runs::RunShown {
    fn human(&self, page: &mut Page) {
        page.fields(&[
            ("run", self.run.clone()),
            ("verb", self.verb.clone()),
            ("install", self.install.clone()),
            ("begun by", format!("{} with dr {}", self.who, self.dr_version)),
            ("state", self.state.clone()),
        ]);
        page.gap();
        let rows: Vec<Vec<String>> = self
            .records
            .iter()
            .map(|line| vec![short_time(line.at), line.step.clone().unwrap_or_default(), line.what.clone()])
            .collect();
        page.table(&["at", "step", "what"], &rows);
    }
}
