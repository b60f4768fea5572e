//! `dr config`: what was deployed, kept, compared, guarded.

mod check;
mod deployment;
mod diff;
mod drift;
mod edit;
mod extract;
mod lint;
mod log;
mod parity;
mod plain_git;
pub(super) mod recipients;
mod record;
mod rekey;
mod show;
mod sync;
mod upgrade;
mod verify;

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use deployment::{DeploymentArgs, HOW_TO_NAME, IdentityArgs};

use crate::error::{Exit, Result};
use crate::ops::Ctx;
use crate::ops::config::{self};
use crate::ops::drift as drift_op;
use crate::ui::Ui;

/// What was deployed: kept, found, compared, guarded and shared
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
    Record(record::RecordArgs),
    Log(log::LogArgs),
    /// Show a deployment: who, when, why, chart, images, outcome; the newest one unless another is named
    #[command(after_help = format!("Examples:\n  dr config show live\n  dr config show --at 2026-08-20T10:00\n\n{HOW_TO_NAME}"))]
    Show(DeploymentArgs),
    /// Print the values of a deployment, byte for byte; of the live one unless another is named
    ///
    /// Values that were given in several layers are printed as helm read them: merged. `dr config show` lists the layers.
    #[command(after_help = format!("Examples:\n  dr config cat live > values.yaml\n  dr config cat --at 2026-08-20T10:00\n  dr config cat live --layer 1\n\n{HOW_TO_NAME}"))]
    Cat {
        #[command(flatten)]
        which: DeploymentArgs,
        /// Only one of several layers, exactly as it was given: 0 is the first
        #[arg(long, value_name = "N")]
        layer: Option<usize>,
        #[command(flatten)]
        keys: IdentityArgs,
    },
    Extract(extract::ExtractArgs),
    Edit(edit::EditArgs),
    Diff(Box<diff::DiffArgs>),
    /// Compare vault, helm's stored release and the live objects; exit code 33 when they differ
    ///
    /// The values of the live deployment with those of helm's deployed revision, and the objects of that revision with
    /// those of the cluster (only the fields that the release sets). Each difference is told with its cause: deployed
    /// outside dr, rolled back, edited by hand, missing. Intended differences are listed in dr.toml under
    /// [[drift.ignore]], with its reason.
    #[command(after_help = "Examples:\n  dr config drift\n  dr config drift --output json | jq '.drift[].text'")]
    Drift,
    Parity(parity::ParityArgs),
    Lint(lint::LintArgs),
    Upgrade(upgrade::UpgradeArgs),
    Verify(verify::VerifyArgs),
    Recipients(recipients::RecipientsArgs),
    Rekey(rekey::RekeyArgs),
    Sync(sync::SyncArgs),
    Check(check::CheckArgs),
    GitSetup(plain_git::GitSetupArgs),
    Textconv(plain_git::TextconvArgs),
    MergeDriver(plain_git::MergeDriverArgs),
}

impl ConfigVerb {
    /// The identity files that were given beside this host's own.
    fn identities(&self) -> &[PathBuf] {
        match self {
            Self::Log(log::LogArgs { keys, .. })
            | Self::Cat { keys, .. }
            | Self::Extract(extract::ExtractArgs { keys, .. })
            | Self::Edit(edit::EditArgs { keys, .. })
            | Self::Parity(parity::ParityArgs { keys, .. })
            | Self::Upgrade(upgrade::UpgradeArgs { keys, .. })
            | Self::Rekey(rekey::RekeyArgs { keys, .. }) => &keys.identity,
            _ => &[],
        }
    }
}

pub async fn run(ctx: &Ctx, ui: &Ui, args: ConfigArgs) -> Result<Exit> {
    let ctx = &ctx.opening_with(args.verb.identities());
    match args.verb {
        ConfigVerb::Record(args) => return record::run(ctx, ui, args).await,
        ConfigVerb::Log(args) => {
            let log = config::log(ctx, &args.into())?;
            ui.report(&log)?;
            return Ok(log.exit());
        }
        ConfigVerb::Show(which) => ui.report(&config::show(ctx, &which.or("latest"))?)?,
        ConfigVerb::Cat { which, layer, .. } => {
            let values = config::cat(ctx, &which.or("live"), layer)?;
            if std::io::stdout().is_terminal() {
                ui.talk(
                    "These values hold secrets in the clear; `dr config cat ... > FILE` keeps them off the screen.",
                );
            }
            ui.data(&values)?;
        }
        ConfigVerb::Extract(args) => return extract::run(ctx, ui, &args),
        ConfigVerb::Lint(args) => return lint::run(ctx, ui, args).await,
        ConfigVerb::Upgrade(args) => upgrade::run(ctx, ui, args).await?,
        ConfigVerb::Edit(args) => return edit::run(ctx, ui, args).await,
        ConfigVerb::GitSetup(args) => return plain_git::git_setup(ctx, ui, &args),
        ConfigVerb::Textconv(args) => return plain_git::textconv(ctx, ui, &args),
        ConfigVerb::MergeDriver(args) => return plain_git::merge_driver(ctx, &args),
        ConfigVerb::Diff(args) => return diff::run(ctx, ui, *args).await,
        ConfigVerb::Drift => {
            let report = drift_op::drift(ctx).await?;
            ui.report(&report)?;
            return Ok(report.exit());
        }
        ConfigVerb::Parity(args) => return parity::run(ctx, ui, args),
        ConfigVerb::Verify(args) => return verify::run(ctx, ui, args),
        ConfigVerb::Recipients(args) => return recipients::run(ctx, ui, &args).await,
        ConfigVerb::Rekey(args) => return rekey::run(ctx, ui, &args).await,
        ConfigVerb::Sync(args) => return sync::run(ctx, ui, args).await,
        ConfigVerb::Check(args) => return check::run(ctx, ui, args),
    }
    Ok(Exit::Success)
}
