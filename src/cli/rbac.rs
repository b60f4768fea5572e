//! `dr rbac`: least rights, as YAML.

use clap::Args;

use crate::error::{Exit, Result};
use crate::ops::Ctx;
use crate::ops::rbac::{RightsFor, RightsRequest, RightsSubject, rbac};
use crate::ui::Ui;

/// Print the least rights that dr needs, as roles and their bindings
///
/// A Role in the install's namespace, and a ClusterRole of what lives outside of it; each with its binding. The namespace of a
/// restore has to be there first, since the Role is in it: an administrator makes both.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dr rbac --for create --subject serviceaccount:ops/backup | kubectl apply -f -
  dr rbac --for restore --subject group:dba > rights.yaml")]
pub struct RbacArgs {
    /// For what; all when absent (can be repeated)
    #[arg(long = "for", value_name = "WHAT")]
    verbs: Vec<RightsFor>,
    /// Who is to have them: user:NAME, group:NAME, serviceaccount:NAMESPACE/NAME
    #[arg(long)]
    subject: RightsSubject,
}

pub async fn run(ctx: &Ctx, ui: &Ui, args: RbacArgs) -> Result<Exit> {
    let request = RightsRequest { verbs: args.verbs, subject: args.subject };
    ui.data(rbac(ctx, &request).await?.as_bytes())?;
    Ok(Exit::Success)
}
