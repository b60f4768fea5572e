//! `dr config`: what was deployed, read from the vault, and what is added to it by hand.

mod chance;
pub mod check;
mod compare;
pub mod edit;
mod extract;
mod lint;
mod log;
pub mod parity;
mod plain_git;
pub mod recipients;
mod record;
pub mod rekey;
mod release_path;
pub mod shipped;
pub mod sync;
mod upgrade;
pub mod verify;
pub(super) mod when;

use serde::Serialize;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

pub use compare::{Access, CompareRequest, Compared, compare, compare_opened};
pub use extract::{Form, extract};
pub use lint::{LintRequest, Linted, lint};
pub use log::{Log, LogLine, LogRequest, Unread, log};
pub use plain_git::{GitSetup, git_setup, merge_driver, textconv};
pub use record::{
    Origin, RecordAction, RecordItem, RecordPlan, RecordReport, RecordRequest, execute_records, plan_records,
};
pub use upgrade::{ProposalRequest, Target, Upgraded, upgrade};

use super::Ctx;
use crate::crypt::SignedBy;
use crate::error::{CommandError, Exit, Result};
use crate::vault::Deployment;

/// Which deployment is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeploymentSelector {
    /// By a selector, as [`Vault::resolve`] takes it.
    Named(String),
    /// What was live at a time, as [`Vault::live_at`] takes it: never taken for the version of the same day.
    LiveAt(String),
}

impl DeploymentSelector {
    fn find(&self, ctx: &Ctx) -> Result<Deployment> {
        let (vault, install) = (ctx.vault()?, ctx.vault_install());
        Ok(match self {
            Self::Named(selector) => {
                let found = vault.resolve(&install, selector)?;
                tried_since(ctx, selector, &found);
                found
            }
            Self::LiveAt(time) => vault.live_at(&install, time)?,
        })
    }
}

/// Says what was tried since: `live` is what went live last, and helm may run what failed after it.
fn tried_since(ctx: &Ctx, selector: &str, live: &Deployment) {
    let newest = || ctx.vault().ok()?.resolve(&ctx.vault_install(), "latest").ok();
    let Some(newest) = Some(selector).filter(|word| *word == "live").and_then(|_| newest()) else { return };
    if newest.id() != live.id() && newest.revision().is_some() {
        let (id, state) = (newest.id().short(), newest.state());
        ctx.events.note(format!(
            "live is {}, which went live last; {id} was tried since and is {state}: helm may run its values, and `latest` \
             names it",
            live.id().short()
        ));
    }
}

#[derive(Debug, Serialize)]
pub struct ShownDeployment {
    /// `deployed`, `failed`, `interrupted` or `unknown`.
    pub state: String,
    /// Who signed the record.
    pub signed_by: Option<SignedBy>,
    /// The record and the outcome, as the vault has them.
    #[serde(flatten)]
    pub deployment: Deployment,
}

/// Shows one deployment: record and outcome.
///
/// # Errors
/// The selector fits none or several.
pub fn show(ctx: &Ctx, which: &DeploymentSelector) -> Result<ShownDeployment> {
    let deployment = which.find(ctx)?;
    let signed_by = ctx.vault()?.signers_of(&[&deployment])?.remove(deployment.id());
    Ok(ShownDeployment { state: deployment.state().into(), signed_by, deployment })
}

/// The exact bytes of a deployment's values, proved by their digest; of values in several layers, what helm read, or
/// the exact bytes of the one `layer` (from 0, as the names of the vault's files count).
///
/// # Errors
/// The selector fits none or several, there is no such layer, no identity opens them, or they are damaged.
pub fn cat(ctx: &Ctx, which: &DeploymentSelector, layer: Option<usize>) -> Result<Zeroizing<Vec<u8>>> {
    let Some(place) = layer else { return open_values(ctx, which).map(|(_, bytes)| bytes) };
    let deployment = which.find(ctx)?;
    let count = deployment.record.layers.len();
    let mut layers = ctx.vault()?.layers(&deployment, &ctx.identities()?)?;
    if place >= count {
        let text = format!("deployment {} has no layer {place}: it has {count}", deployment.id());
        return Err(CommandError::new(Exit::NotFound, text)
            .hint("The first is layer 0; `dr config show` lists what each deployment was given."));
    }
    Ok(layers.swap_remove(place).bytes)
}

/// The name of a deployment, and its values.
fn open_values(ctx: &Ctx, which: &DeploymentSelector) -> Result<(String, Zeroizing<Vec<u8>>)> {
    let deployment = which.find(ctx)?;
    let bytes = ctx.vault()?.values(&deployment, &ctx.identities()?)?;
    Ok((deployment.id().to_string(), bytes))
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}
