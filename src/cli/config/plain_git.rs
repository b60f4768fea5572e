//! What plain `git` calls in the vault: `dr config textconv`, `merge-driver` and `git-setup`.

use std::path::PathBuf;

use clap::Args;

use crate::cli::reveal;
use crate::error::{CommandError, Exit, Result};
use crate::ops::Ctx;
use crate::ops::config::{self, GitSetup};
use crate::ui::{Mark, Page, Report, Ui};

/// Print a file of the vault as text that can be compared, secrets masked; git calls it
///
/// What no identity at hand opens is told in a line, so that `git log -p` goes on.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dr config git-setup      once: git in the vault calls this by itself
  git log -p               then, in the vault
  dr config textconv deployments/INSTALL/ID/values.yaml.age")]
pub struct TextconvArgs {
    /// The file
    file: PathBuf,
    /// Secrets in the clear; twice where stdout is not a terminal
    #[arg(long, action = clap::ArgAction::Count)]
    show_secrets: u8,
}

/// Runs `textconv`.
pub fn textconv(ctx: &Ctx, ui: &Ui, args: &TextconvArgs) -> Result<Exit> {
    let show = reveal::show_secrets(args.show_secrets)?;
    ui.data(&config::textconv(ctx, &args.file, show)?)?;
    Ok(Exit::Success)
}

/// Merge a file that both sides have brought; git calls it
///
/// The same content is taken, even if it was sealed twice. Anything else is a conflict: in the vault nothing is
/// rewritten.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  dr config git-setup      once: git in the vault calls this by itself")]
pub struct MergeDriverArgs {
    /// What both began with (%O)
    base: PathBuf,
    /// Our file, which takes the result (%A)
    ours: PathBuf,
    /// Their file (%B)
    theirs: PathBuf,
    /// The file's path in the vault (%P)
    path: String,
}

/// Runs `merge-driver`.
pub fn merge_driver(ctx: &Ctx, args: &MergeDriverArgs) -> Result<Exit> {
    config::merge_driver(ctx, &args.ours, &args.theirs, &args.path)?;
    Ok(Exit::Success)
}

/// Let plain git in the vault show values, secrets masked, and merge as dr does
///
/// Writes .git/config and .git/info/attributes of this clone of the vault, and nothing else of it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dr config git-setup
  dr config git-setup --dry-run")]
pub struct GitSetupArgs {
    /// Say what would be set, and set nothing
    #[arg(long)]
    dry_run: bool,
}

/// Runs `git-setup`.
pub fn git_setup(ctx: &Ctx, ui: &Ui, args: &GitSetupArgs) -> Result<Exit> {
    let program = std::env::current_exe()
        .map_err(|e| CommandError::new(Exit::Failure, "find out where this program is").because(e))?;
    ui.report(&config::git_setup(ctx, &program, args.dry_run)?)?;
    Ok(Exit::Success)
}

impl Report for GitSetup {
    fn human(&self, page: &mut Page) {
        for setting in &self.settings {
            let outcome = match (setting.kept, self.dry_run) {
                (true, _) => "is",
                (false, true) => "would be",
                (false, false) => "is now",
            };
            let value = setting.value.replace('\n', "; ");
            page.finding(Mark::Ok, &format!("{} {outcome} {value}", setting.key), None);
        }
        page.next(&format!("git -C {} log -p", self.vault));
    }
}
