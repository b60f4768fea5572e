//! `dr server stop | start | status`.

use clap::{Args, Subcommand};

use crate::error::{Exit, Result};
use crate::ops::runs::InterruptedRuns;
use crate::ops::{Ctx, server};
use crate::text::plural;
use crate::ui::{Page, Report, Ui};

/// Turn the application off and back on, with the replica counts that it had
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  dr server stop\n  dr server status\n  dr server start")]
pub struct ServerArgs {
    #[command(subcommand)]
    verb: ServerVerb,
}

#[derive(Debug, Subcommand)]
enum ServerVerb {
    /// Scale API and workers to 0 and wait until they have ended; the database goes on
    #[command(after_help = "Example:\n  dr server stop --dry-run")]
    Stop(Dry),
    /// Scale them back to what they had and wait until they are ready
    #[command(after_help = "Example:\n  dr server start")]
    Start(Dry),
    /// Show what runs and what was stopped
    #[command(after_help = "Example:\n  dr server status --output json")]
    Status,
}

impl ServerArgs {
    /// What is done about interrupted runs first. Starting the application must not wait for anything else to be in order.
    pub fn interrupted_runs(&self) -> InterruptedRuns {
        match &self.verb {
            ServerVerb::Stop(dry) => InterruptedRuns::before(dry.dry_run),
            ServerVerb::Start(Dry { dry_run: false }) => InterruptedRuns::PutBackIfPossible,
            ServerVerb::Start(_) | ServerVerb::Status => InterruptedRuns::Show,
        }
    }

    /// Whether it needs nothing but the cluster: to stop the application, the settings say how long its work may take.
    pub fn does_without_settings(&self) -> bool {
        !matches!(self.verb, ServerVerb::Stop(_))
    }
}

#[derive(Debug, Args)]
struct Dry {
    /// Show the plan, and do nothing
    #[arg(long)]
    dry_run: bool,
}

pub async fn run(ctx: &Ctx, ui: &Ui, args: ServerArgs) -> Result<Exit> {
    match args.verb {
        ServerVerb::Stop(dry) => {
            let plan = server::plan_stop(ctx).await?;
            let shown = Shown { title: "To be stopped", plan: &plan, to_zero: true };
            if dry.dry_run {
                ui.dry_run(&shown)?;
                return Ok(Exit::Success);
            }
            if !plan.done {
                ui.plan(&shown);
                ui.confirm(&format!("Stop OpsChain {}?", plan.install))?;
            }
            ui.report(&server::stop(ctx).await?)?;
        }
        ServerVerb::Start(dry) => {
            let plan = server::plan_start(ctx).await?;
            let shown = Shown { title: "To be started", plan: &plan, to_zero: false };
            if dry.dry_run {
                ui.dry_run(&shown)?;
                return Ok(Exit::Success);
            }
            if !plan.done {
                ui.plan(&shown);
            }
            if plan.held.is_some() {
                ui.confirm(&format!("Start the workers of OpsChain {}?", plan.install))?;
            }
            ui.report(&server::start(ctx).await?)?;
        }
        ServerVerb::Status => ui.report(&server::status(ctx).await?)?,
    }
    Ok(Exit::Success)
}

#[derive(serde::Serialize)]
struct Shown<'a> {
    #[serde(skip)]
    title: &'a str,
    plan: &'a server::ServerPlan,
    #[serde(skip)]
    to_zero: bool,
}

impl Report for Shown<'_> {
    fn human(&self, page: &mut Page) {
        if self.plan.done {
            return page.line(format!("Nothing to do for OpsChain {}.", self.plan.install));
        }
        page.heading(&format!("{}: OpsChain {}", self.title, self.plan.install));
        for count in &self.plan.workloads {
            let target = if self.to_zero { 0 } else { count.replicas };
            let target = plural(target.unsigned_abs().into(), "replica");
            page.line(format!("  {}  {} -> {target}", count.name, count.now));
        }
        if !self.plan.working.is_empty() {
            let count = plural(self.plan.working.len() as u64, "pod");
            page.wrapped("  ", "  ", format!("at work: {count}, which go on: {}", self.plan.working.join(", ")));
        }
        for warning in self.plan.warnings.iter().chain(&self.plan.held) {
            page.finding(crate::ui::Mark::Warn, warning, None);
        }
    }
}

impl Report for server::ServerStatus {
    fn human(&self, page: &mut Page) {
        page.heading(&format!("OpsChain {}: {}", self.install, self.state));
        let row = |part: &server::Part| {
            let pods = part.pods.map_or(String::new(), |(ready, wanted)| format!("{ready}/{wanted}"));
            vec![part.name.clone(), pods, part.state.clone()]
        };
        page.table(&["part", "pods", "state"], &self.parts.iter().map(row).collect::<Vec<_>>());
        if !self.working.is_empty() {
            page.wrapped("", "  ", format!("At work: {}.", self.working.join(", ")));
        }
        if let Some(in_use) = &self.in_use {
            page.wrapped("", "  ", in_use.line());
        }
        if let Some(open) = &self.open_run {
            page.finding(crate::ui::Mark::Bad, &format!("this install is not whole: {open}"), None);
        }
        match &self.next {
            Some(next) if self.ways_on.is_empty() => page.next(next),
            _ => page.ways_on(self.ways_on.commands()),
        }
    }
}
