//! How a deployment is to be done.

use clap::Args;

use crate::ops::deploy::DeployOptions;
use crate::settings::TimeSpan;
use crate::ui::Ui;

/// How it is done, whatever is deployed.
#[derive(Debug, Args)]
pub struct DeployOptionArgs {
    /// Why, for the record
    #[arg(short, long)]
    message: Option<String>,
    /// How long it may take, such as 30m; the settings' if not given
    #[arg(long)]
    timeout: Option<TimeSpan>,
    /// Do not wait until everything serves; helm's own hooks are waited for all the same
    #[arg(long)]
    no_wait: bool,
    /// Let through what is refused, by its name (can be repeated)
    #[arg(long, value_name = "NAME")]
    allow: Vec<String>,
    /// The deleted namespace of an earlier install whose cluster roles and the like go to this release
    #[arg(long, value_name = "NAMESPACE")]
    take_over: Option<String>,
    /// The release, typed: it is stuck, and the record of its pending revision is to be removed
    #[arg(long, value_name = "RELEASE")]
    pub confirm: Option<String>,
    /// Show all that helm says with its own --debug, secrets masked; so does -v
    #[arg(long)]
    pub debug: bool,
    /// Have helm render it, say which objects would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

impl DeployOptionArgs {
    pub fn options(&self, ui: &Ui) -> DeployOptions {
        DeployOptions {
            message: self.message.clone(),
            timeout: self.timeout.map(|span| span.0),
            wait: !self.no_wait,
            allow: self.allow.clone(),
            take_over: self.take_over.clone(),
            debug: self.debug || ui.options().verbose > 0,
        }
    }
}
