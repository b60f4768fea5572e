//! `dr config`: what was deployed, kept, compared, guarded.

mod check;
mod diff;
mod log;
mod recipients;
mod rekey;
mod show;
mod sync;
mod verify;

use std::io::IsTerminal;

use clap::{Args, Subcommand};

pub(super) use diff::change_lines;

use crate::error::{Exit, Result};
use crate::ops::Ctx;
use crate::ops::config;
use crate::ui::Ui;

const HOW_TO_NAME: &str = "\
A deployment is named by:
  live, latest       what is live; what was deployed last, whatever came of it
  1aab0b             its id, the beginning of it, or its last six characters
  rev:7              helm's revision
  2026-08-20         the OpsChain version: the newest deployment of it
  2026-08-20T10:00   what was live then (UTC)";

/// What was deployed: list, show, print and compare recorded values
#[derive(Debug, Args)]
#[command(arg_required_else_help = true, after_help = format!("\
Examples:
  dr config log
  dr config cat live > values.yaml
  dr config diff live values.yaml
  dr config diff 2026-08-20T10:00 latest

{HOW_TO_NAME}"))]
pub struct ConfigArgs {
    #[command(subcommand)]
    verb: ConfigVerb,
}

#[derive(Debug, Subcommand)]
enum ConfigVerb {
    /// List the deployments, newest first
    #[command(after_help = "Example:\n  dr config log --limit 100")]
    Log {
        /// How many to list
        #[arg(short = 'l', long, default_value_t = 20)]
        limit: usize,
    },
    /// Show a deployment: who, when, why, chart, images, outcome
    #[command(after_help = format!("Example:\n  dr config show live\n\n{HOW_TO_NAME}"))]
    Show {
        /// Which
        #[arg(default_value = "latest")]
        deployment: String,
    },
    /// Print the values of a deployment, byte for byte
    #[command(after_help = format!("Example:\n  dr config cat live > values.yaml\n\n{HOW_TO_NAME}"))]
    Cat {
        /// Which
        #[arg(default_value = "live")]
        deployment: String,
    },
    /// Compare two of: a deployment, a file, `release` (what helm has stored); exit code 2 when they differ
    ///
    /// By path, as Helm reads the values; the order of keys does not count. Secrets are masked: the fingerprint after
    /// the mask tells same from changed.
    #[command(after_help = format!("Examples:\n  dr config diff values.yaml\n  dr config diff rev:3 rev:4 --raw\n\n{HOW_TO_NAME}"))]
    Diff {
        /// The first; the live deployment when only one is given
        #[arg(value_name = "FROM")]
        first: String,
        /// The second
        #[arg(value_name = "TO")]
        second: Option<String>,
        /// Line by line, as text, comments and layout too
        #[arg(long)]
        raw: bool,
    },
    Verify(verify::VerifyArgs),
    Recipients(recipients::RecipientsArgs),
    Rekey(rekey::RekeyArgs),
    Sync(sync::SyncArgs),
    Check(check::CheckArgs),
}

/// Runs the verb.
pub async fn run(ctx: &Ctx, ui: &Ui, args: ConfigArgs) -> Result<Exit> {
    match args.verb {
        ConfigVerb::Log { limit } => ui.report(&config::log(ctx, limit)?)?,
        ConfigVerb::Show { deployment } => ui.report(&config::show(ctx, &deployment)?)?,
        ConfigVerb::Cat { deployment } => {
            let values = config::cat(ctx, &deployment)?;
            if std::io::stdout().is_terminal() {
                ui.talk(
                    "These values hold secrets in the clear; `dr config cat ... > FILE` keeps them off the screen.",
                );
            }
            ui.data(&values)?;
        }
        ConfigVerb::Diff { first, second, raw } => {
            let (from, to) = match &second {
                Some(second) => (first.as_str(), second.as_str()),
                None => ("live", first.as_str()),
            };
            let compared = config::compare(ctx, from, to, raw).await?;
            ui.report(&compared)?;
            return Ok(compared.exit());
        }
        ConfigVerb::Verify(args) => return verify::run(ctx, ui, args),
        ConfigVerb::Recipients(args) => return recipients::run(ctx, ui, &args),
        ConfigVerb::Rekey(args) => return rekey::run(ctx, ui, &args),
        ConfigVerb::Sync(args) => return sync::run(ctx, ui, args).await,
        ConfigVerb::Check(args) => return check::run(ctx, ui, args),
    }
    Ok(Exit::Success)
}
