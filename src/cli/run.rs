//! `dr run list | show | resume | abort`.

use clap::{Args, Subcommand};

use crate::error::{Exit, Result};
use crate::ops::timing::{self, RunTiming};
use crate::ops::{Ctx, restore, runs};
use crate::text::elapsed_seconds;
use crate::trace::timing::CallTiming;
use crate::ui::{Column, Mark, Page, Report, Ui, short_time};

/// Look at journalled runs, resume and abort them
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  dr run list\n  dr run show restore-20260820\n  dr run resume")]
pub struct RunArgs {
    #[command(subcommand)]
    verb: RunCommand,
}

#[derive(Debug, Subcommand)]
enum RunCommand {
    /// List all runs, newest first
    #[command(after_help = "Example:\n  dr run list --output json")]
    List,
    /// Show one run, step by step
    #[command(
        after_help = "Examples:\n  dr run show\n  dr run show create\n  dr run show restore-20260820\n  dr run show restore-20260820 --timing"
    )]
    Show {
        /// The run's id, or its beginning, of which the newest is shown; the newest of all when absent
        run: Option<String>,
        /// Show where the time went: each step, and what it called
        #[arg(long)]
        timing: bool,
    },
    /// Continue a run that was stopped or interrupted
    ///
    /// A restore continues at the step that it was in. A bundle run does not go on: what it had changed is put back, and a
    /// new bundle is to be made.
    #[command(after_help = "Example:\n  dr run resume restore-20260820T101500Z-0a1b2c")]
    Resume {
        /// The run's id, or its beginning; the newest open one when absent
        run: Option<String>,
    },
    /// Put back what a run has changed, as far as that can be, and close it
    ///
    /// The plan is shown first. A restore that has not put the bundle's data in place yet leaves the target as it was
    /// found; after that the previous data directory comes back while it is kept. A run that cannot be resumed any more
    /// is closed by this, too.
    #[command(after_help = "\
Examples:
  dr run abort --dry-run
  dr run abort restore-20260820T101500Z-0a1b2c")]
    Abort(AbortArgs),
}

#[derive(Debug, Args)]
struct AbortArgs {
    /// The run's id, or its beginning; the newest open one when absent
    run: Option<String>,
    /// Put nothing back and ask no cluster: only close the run, because its cluster is gone
    #[arg(long)]
    close_only: bool,
    /// What is lost for good is lost knowingly: the install, as namespace/release
    #[arg(long, value_name = "NAMESPACE/RELEASE")]
    confirm: Option<String>,
    /// Show the plan, and do nothing
    #[arg(long)]
    dry_run: bool,
}

pub async fn run(ctx: &Ctx, ui: &Ui, args: RunArgs) -> Result<Exit> {
    match args.verb {
        RunCommand::List => ui.report(&runs::list(ctx)?)?,
        RunCommand::Show { run, timing: true } => {
            ui.report(&timing::timing(ctx, run.as_deref().unwrap_or_default())?)?
        }
        RunCommand::Show { run, timing: false } => ui.report(&runs::show(ctx, run.as_deref().unwrap_or_default())?)?,
        RunCommand::Resume { run } => match runs::resume(ctx, run.as_deref()).await? {
            runs::Resumed::Finished(run) => ui.report(&restore::report_of(ctx, &run)?)?,
            runs::Resumed::PutBack(report) => {
                ui.report(&report)?;
                return Ok(ended(report.closed));
            }
        },
        RunCommand::Abort(args) => return abort(ctx, ui, args).await,
    }
    Ok(Exit::Success)
}

async fn abort(ctx: &Ctx, ui: &Ui, args: AbortArgs) -> Result<Exit> {
    let planned = runs::plan_abort(ctx, args.run.as_deref(), args.close_only).await;
    let abort = planned.map_err(|error| match error.exit() {
        Exit::Cluster if args.dry_run => {
            error.hint("With --close-only no cluster is asked, and the plan shows what stays: `dr run abort --close-only --dry-run`.")
        }
        _ => error,
    })?;
    let plan = &abort.plan;
    if args.dry_run {
        return ui.dry_run(plan).map(|()| Exit::Success);
    }
    ui.plan(plan);
    match plan.outlook.loses {
        Some(_) => ui.confirm_name("the install", &plan.install, args.confirm.as_deref())?,
        None => ui.confirm(&format!("Abort run {}?", plan.run))?,
    }
    let report = runs::abort(ctx, abort).await?;
    ui.report(&report)?;
    Ok(ended(report.closed))
}

/// What was not put back keeps its run open, and nobody may take that for success.
fn ended(closed: bool) -> Exit {
    if closed { Exit::Success } else { Exit::Resume }
}

impl Report for runs::RunList {
    fn human(&self, page: &mut Page) {
        if self.runs.is_empty() {
            page.line("There are no runs yet.");
            return page.next("dr doctor");
        }
        let rows: Vec<Vec<String>> = self
            .runs
            .iter()
            .map(|run| {
                // Of a run that is over the last record says the same as its state.
                let detail = if run.detail == run.state { String::new() } else { run.detail.clone() };
                let install = run.install.clone().unwrap_or_default();
                vec![run.run.clone(), run.state.clone(), detail, install, run.begun.map(short_time).unwrap_or_default()]
            })
            .collect();
        let heads = [
            "run".into(),
            Column::whole("state"),
            "where it stands".into(),
            Column::spare("install"),
            Column::whole("begun"),
        ];
        page.table(&heads, &rows);
        // In a pipe every line is a row.
        let open = self.runs.iter().find(|run| !run.ways_on.is_empty());
        if let Some(open) = open.filter(|_| page.is_for_a_terminal()) {
            page.ways_on(open.ways_on.commands());
        }
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
    if (0.0..1000.0).contains(&milliseconds) {
        format!("{milliseconds:.0} ms")
    } else {
        elapsed_seconds(milliseconds / 1e3)
    }
}

impl Report for runs::PutBackReport {
    fn human(&self, page: &mut Page) {
        let left = self.not_back();
        let (mark, text) = match (self.closed, left.is_empty()) {
            (true, true) => (Mark::Ok, format!("what run {} had changed is put back", self.run)),
            (true, false) => (Mark::Ok, format!("run {} is closed: what it could put back is", self.run)),
            (false, true) if self.knows_writers() => (
                Mark::Warn,
                format!("run {} stays open: all is put back, and its journal could not be told so", self.run),
            ),
            (false, _) if self.knows_writers() => {
                (Mark::Warn, format!("run {} stays open: not all is put back", self.run))
            }
            (false, _) => (Mark::Bad, format!("run {} stays open: it may have stopped what is off", self.run)),
        };
        page.finding(mark, &text, None);
        for writer in self.writers.iter().filter(|writer| writer.is_back()) {
            page.wrapped("  - ", "    ", writer.to_string());
        }
        if let Some(bundle) = &self.bundle {
            page.finding(Mark::Ok, &format!("bundle {bundle} is complete: it was read back and published"), None);
        }
        left.iter().for_each(|what| page.finding(Mark::Warn, what, None));
        let next = self.next("resume");
        next.iter().for_each(|next| page.next(next));
        match &self.bundle {
            _ if !next.is_empty() => {}
            Some(bundle) => page.next(&format!("dr bundle show {bundle}")),
            None => page.next("dr bundle create"),
        }
    }
}

impl Report for runs::AbortPlan {
    fn human(&self, page: &mut Page) {
        page.heading("Plan: abort a run");
        page.fields(&[
            ("run", self.run.clone()),
            ("verb", self.verb.clone()),
            ("install", self.install.clone()),
            ("begun", self.begun.map_or_else(|| "not known".to_owned(), short_time)),
            ("stopped in", self.stopped_in.clone().unwrap_or_else(|| "no step".to_owned())),
        ]);
        if let Some(why) = &self.only_closed {
            page.wrapped("", "  ", format!("Its own steps are not undone: {why}."));
        }
        let outlook = &self.outlook;
        items(page, "Is put back, in this order", &outlook.puts_back);
        items(page, "Stays", &outlook.stays);
        if let Some(loses) = &outlook.loses {
            page.finding(Mark::Warn, &format!("is lost for good: {loses}"), None);
        }
    }
}

impl Report for runs::AbortReport {
    fn human(&self, page: &mut Page) {
        match self.closed {
            true => page.finding(Mark::Ok, &format!("run {} is aborted", self.run), None),
            false if self.stays.is_empty() => {
                let text =
                    format!("run {} stays open: all is put back, and its journal could not be told so", self.run);
                page.finding(Mark::Warn, &text, None);
            }
            false => page.finding(Mark::Warn, &format!("run {} stays open: see what stays", self.run), None),
        }
        items(page, "Put back", &self.put_back);
        items(page, "Stays", &self.stays);
        for next in &self.next {
            page.next(next);
        }
    }
}

fn items(page: &mut Page, heading: &str, items: &[String]) {
    if !items.is_empty() {
        page.line(format!("{heading}:"));
        items.iter().for_each(|item| page.wrapped("  - ", "    ", item.as_str()));
    }
}

impl Report for runs::RunShown {
    fn human(&self, page: &mut Page) {
        // How it stands comes last: many records scroll away above it.
        let rows: Vec<Vec<String>> = self
            .records
            .iter()
            .map(|line| vec![short_time(line.at), line.step.clone().unwrap_or_default(), line.what.clone()])
            .collect();
        page.table(&["at", "step", "what"], &rows);
        page.gap();
        page.fields(&[
            ("run", self.run.clone()),
            ("verb", self.verb.clone()),
            ("install", self.install.clone()),
            ("begun by", format!("{} with dr {}", self.who, self.dr_version)),
            ("state", self.state.clone()),
        ]);
        if let Some(evidence) = &self.evidence {
            page.gap();
            evidence.human(page);
        }
        if let Some(refusal) = &self.refusal {
            page.finding(Mark::Warn, &format!("cannot be resumed: {refusal}"), None);
        }
        page.ways_on(self.ways_on.commands());
    }
}
