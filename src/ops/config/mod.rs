//! `dr config`: what was deployed, read from the vault.

pub mod check;
mod compare;
mod log;
pub mod recipients;
pub mod rekey;
pub mod sync;
pub mod verify;

use serde::Serialize;
use zeroize::Zeroizing;

pub use compare::{Compared, compare};
pub use log::{Log, LogLine, log};

use super::{Ctx, open};
use crate::crypt::Identities;
use crate::error::Result;
use crate::settings::Settings;
use crate::vault::Deployment;

/// One deployment.
#[derive(Debug, Serialize)]
pub struct Shown {
    /// `deployed`, `failed`, `interrupted` or `unknown`.
    pub state: String,
    /// The record and the outcome, as the vault has them.
    #[serde(flatten)]
    pub deployment: Deployment,
}

/// Shows one deployment: record and outcome.
///
/// # Errors
/// The selector fits none or several.
pub fn show(ctx: &Ctx, selector: &str) -> Result<Shown> {
    let settings = ctx.settings()?;
    let deployment = open::vault(settings)?.resolve(&open::vault_install(settings), selector)?;
    Ok(Shown { state: deployment.state().into(), deployment })
}

/// The exact bytes of a deployment's values, proved by their digest.
///
/// # Errors
/// The selector fits none or several, no identity opens them, or they are damaged.
pub fn cat(ctx: &Ctx, selector: &str) -> Result<Zeroizing<Vec<u8>>> {
    let settings = ctx.settings()?;
    let vault = open::vault(settings)?;
    let deployment = vault.resolve(&open::vault_install(settings), selector)?;
    Ok(vault.values(&deployment, &open::identities(settings, None)?)?)
}

fn open_identities(settings: &Settings) -> Result<Option<Identities>> {
    settings.keys.identity.as_ref().map(|_| open::identities(settings, None)).transpose()
}
