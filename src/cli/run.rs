//! `dr run list | show | resume`.

use clap::{Args, Subcommand};

use crate::error::{Exit, Result};
use crate::ops::{Ctx, runs};
use crate::ui::Ui;

/// Look at journalled runs and take them up again
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  dr run list\n  dr run resume restore-20260820")]
pub struct RunArgs {
    #[command(subcommand)]
    verb: RunVerb,
}

#[derive(Debug, Subcommand)]
enum RunVerb {
    /// List all runs, newest first
    List,
    /// Show one run, step by step
    Show {
        /// The run's id, or its beginning
        run: String,
    },
    /// Go on with a run that was stopped or whose process died
    ///
    /// A restore goes on at the step that it was in. A bundle cannot be gone on with: what its run had changed is put
    /// back, and a new one is to be made.
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
        RunVerb::Resume { run } => ui.report(&runs::resume(ctx, run.as_deref()).await?)?,
    }
    Ok(Exit::Success)
}
