//! `dr man`: the manual, a page a verb.

use std::path::PathBuf;

use clap::Args;

use crate::error::{CommandError, Exit, Result};

/// Write the manual: a page for each verb
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  dr man /usr/local/share/man/man1 && man dr-bundle-restore")]
pub struct ManArgs {
    /// The folder; it is made where it is not there, and pages in it are replaced
    folder: PathBuf,
}

/// # Errors
/// A page cannot be written.
pub fn run(command: clap::Command, args: &ManArgs) -> Result<Exit> {
    std::fs::create_dir_all(&args.folder).and_then(|()| clap_mangen::generate_to(command, &args.folder)).map_err(
        |e| CommandError::new(Exit::Failure, format!("write man pages to {}", args.folder.display())).because(e),
    )?;
    Ok(Exit::Success)
}
