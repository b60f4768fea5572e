//! `dr config extract`.

use std::io::IsTerminal;

use clap::Args;

use super::deployment::{DeploymentArgs, HOW_TO_NAME, IdentityArgs};
use crate::error::{Exit, Result};
use crate::ops::Ctx;
use crate::ops::config::{self, Form};
use crate::ui::{Output, Ui};

/// Print one value of a deployment's values, in the clear
///
/// As it stands in the file, with its quotes and comments; as Helm reads it with --raw or --output json.
#[derive(Debug, Args)]
#[command(after_help = format!("\
Examples:
  dr config extract env.TZ
  dr config extract env.PGPASSWORD --raw > password
  dr config extract 'db.cnpg.externalClusters[name=site-b].host' rev:3
  dr config extract /env/TZ --at 2026-08-20T10:00 --output json

A path is written as differences show it, or as a JSON pointer.

{}", HOW_TO_NAME))]
pub struct ExtractArgs {
    /// Which value
    path: String,
    #[command(flatten)]
    which: DeploymentArgs,
    /// A single value as Helm reads it, byte for byte: no quotes, no line end behind it
    #[arg(long)]
    raw: bool,
    #[command(flatten)]
    pub(super) keys: IdentityArgs,
}

pub fn run(ctx: &Ctx, ui: &Ui, args: &ExtractArgs) -> Result<Exit> {
    let form = match (args.raw, ui.options().output) {
        (true, _) => Form::Raw,
        (false, Output::Json) => Form::Json,
        (false, Output::Human) => Form::Written,
    };
    let value = config::extract(ctx, &args.path, &args.which.or("live"), form)?;
    if std::io::stdout().is_terminal() {
        ui.talk("Values may be secrets, and this prints them in the clear; `dr config extract ... > FILE` keeps them off the screen.");
    }
    ui.data(&value)?;
    Ok(Exit::Success)
}
