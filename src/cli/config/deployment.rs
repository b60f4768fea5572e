//! How a deployment is named on the command line.

use std::path::PathBuf;

use clap::Args;

use crate::ops::config::DeploymentSelector;

pub(super) const HOW_TO_NAME: &str = "\
A deployment is named by:
  live, latest       what is live; what was deployed last, whatever came of it
  1aab0b             its id, the beginning of it, or its last six characters
  rev:7              helm's revision
  2026-08-20         the OpsChain version: the newest deployment of it
  2026-08-20T10:00   what was live then (UTC)";

/// Which deployment a verb is about.
#[derive(Debug, Args)]
pub(super) struct DeploymentArgs {
    /// Which deployment
    deployment: Option<String>,
    /// What was live at this time (UTC), such as 2026-08-20T10:00, or 2026-08-20 for the end of that day
    #[arg(long, value_name = "TIME", conflicts_with = "deployment")]
    at: Option<String>,
}

/// Which keys open what is asked for, beside this host's own.
#[derive(Debug, Args)]
pub(super) struct IdentityArgs {
    /// One more identity file to open with, such as the escrow key's (can be repeated)
    #[arg(long, value_name = "FILE")]
    pub(super) identity: Vec<PathBuf>,
}

impl DeploymentArgs {
    /// What was given, else this one.
    pub(super) fn or(&self, usual: &str) -> DeploymentSelector {
        match (&self.at, &self.deployment) {
            (Some(time), _) => DeploymentSelector::LiveAt(time.clone()),
            (None, Some(selector)) => DeploymentSelector::Named(selector.clone()),
            (None, None) => DeploymentSelector::Named(usual.to_owned()),
        }
    }
}
