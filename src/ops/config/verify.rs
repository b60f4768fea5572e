//! `dr config verify`: whether the vault is what trusted hosts have written.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use crate::crypt::{Identities, TrustedSigners};
use crate::error::{Exit, Result};
use crate::ops::{Ctx, open};
use crate::settings::Settings;
use crate::vault::Vault;
use crate::vault::verify::{Grave, Verification};

/// What is to be verified, and by whose word.
#[derive(Debug, Clone, Default)]
pub struct VerifyWish {
    /// Another vault than the one of the settings: a fresh clone, say.
    pub vault: Option<PathBuf>,
    /// Whose signatures are believed; otherwise those of the settings.
    pub signers: Option<PathBuf>,
    /// Also prove that every version opens.
    pub decrypt: bool,
    /// More identity files than the one of the settings.
    pub identities: Vec<PathBuf>,
}

/// What was found.
#[derive(Debug, Serialize)]
pub struct Verified {
    /// The vault.
    pub vault: PathBuf,
    /// Whether nothing is wrong.
    pub well: bool,
    /// What was counted and found.
    #[serde(flatten)]
    pub found: Verification,
}

impl Verified {
    /// 0 when all is well; otherwise what the gravest finding says.
    pub fn exit(&self) -> Exit {
        match self.found.grave() {
            None => Exit::Success,
            Some(Grave::Untrusted) => Exit::Untrusted,
            Some(Grave::Damaged) => Exit::Damaged,
            Some(Grave::Closed) => Exit::Keys,
        }
    }
}

/// Verifies the whole vault.
///
/// # Errors
/// There is no vault, no file of trusted signers, or (with `decrypt`) no identity.
pub fn verify(ctx: &Ctx, wish: &VerifyWish) -> Result<Verified> {
    let settings = open::settings_or_defaults(ctx)?;
    let vault = read_only(&settings, wish.vault.as_deref())?;
    let trusted = trusted(&settings, wish.signers.as_deref())?;
    let identities = wish.decrypt.then(|| identities(&settings, &wish.identities)).transpose()?;
    let found = vault.verify(&trusted, identities.as_ref())?;
    Ok(Verified { vault: vault.path().to_owned(), well: found.findings.is_empty(), found })
}

/// The vault, for who only reads: no signing key has to be there.
pub(super) fn read_only(settings: &Settings, given: Option<&Path>) -> Result<Vault> {
    let path = match given {
        Some(path) => path,
        None => settings.required(&settings.vault.path, "vault.path")?,
    };
    Ok(Vault::open(path, Arc::new(|_| Err("it was opened to be read only".into())))?)
}

/// Whose commits are believed.
pub(super) fn trusted(settings: &Settings, given: Option<&Path>) -> Result<TrustedSigners> {
    let path = match given {
        Some(path) => path,
        None => settings.required(&settings.keys.trusted_signers, "keys.trusted_signers")?,
    };
    Ok(TrustedSigners::load(path)?)
}

/// Every identity at hand: those of the settings, where there are, and of the files given.
fn identities(settings: &Settings, given: &[PathBuf]) -> Result<Identities> {
    let own = match &settings.keys.identity {
        None if !given.is_empty() => None,
        _ => Some(open::identities(settings, None)?),
    };
    let mut all = own;
    for path in given {
        let more = open::identities(settings, Some(path))?;
        all = Some(match all {
            Some(known) => known.and(more),
            None => more,
        });
    }
    // Every version is opened, and nothing of what is in them is shown.
    match all {
        Some(all) => Ok(all.unwitnessed()),
        None => Ok(open::identities(settings, None)?.unwitnessed()),
    }
}
