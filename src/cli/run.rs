//! `dr run list | show | resume`.

use clap::{Args, Subcommand};

use crate::error::{Exit, Result};
use crate::ops::{Ctx, runs};
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
    #[command(after_help = "Example:\n  dr run show restore-20260820")]
    Show {
        /// The run's id, or its beginning
        run: String,
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
        RunVerb::Show { run } => ui.report(&runs::show(ctx, &run)?)?,
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
