//! `dr config verify`: whether the vault is what trusted hosts have written.

use std::path::PathBuf;

use serde::Serialize;

use crate::error::{Exit, Result};
use crate::ops::Ctx;
use crate::vault::verify::{FlawSeverity, Verification};

/// What is to be verified, and by whose word.
#[derive(Debug, Clone, Default)]
pub struct VerifyRequest {
    /// Another vault than the one of the settings: a fresh clone, say.
    pub vault: Option<PathBuf>,
    /// Whose signatures are believed; otherwise those of the settings.
    pub signers: Option<PathBuf>,
    /// Also prove that every version opens.
    pub decrypt: bool,
    /// More identity files than the one of the settings.
    pub identities: Vec<PathBuf>,
    /// From now on, use the vault though untrusted keys have signed what is in it.
    pub accept: bool,
}

/// What was found.
#[derive(Debug, Serialize)]
pub struct Verified {
    pub vault: PathBuf,
    /// Whether nothing is wrong.
    pub well: bool,
    /// Whether what untrusted keys have signed is used from now on, because it was asked for.
    pub accepted: bool,
    /// The file of those who are trusted.
    #[serde(skip)]
    pub signers: String,
    /// Whether all of it was shown already: then only what came of it is said.
    #[serde(skip)]
    pub was_shown: bool,
    /// What was counted and found.
    #[serde(flatten)]
    pub found: Verification,
}

impl Verified {
    /// 0 when all is well; otherwise what the gravest finding says.
    pub fn exit(&self) -> Exit {
        match self.found.severity() {
            None => Exit::Success,
            Some(FlawSeverity::Untrusted) if self.accepted => Exit::Success,
            Some(FlawSeverity::Untrusted) => Exit::Untrusted,
            Some(FlawSeverity::Damaged) => Exit::Damaged,
            Some(FlawSeverity::Unread) => Exit::Vault,
            Some(FlawSeverity::Closed) => Exit::Keys,
        }
    }
}

/// Verifies the whole vault.
///
/// # Errors
/// There is no vault, no file of trusted signers, or (with `decrypt`) no identity.
pub fn verify(ctx: &Ctx, request: &VerifyRequest) -> Result<Verified> {
    let vault = ctx.vault_unverified(request.vault.as_deref())?;
    let trusted = ctx.trusted_signers(request.signers.as_deref())?;
    let identities = request.decrypt.then(|| ctx.opening_with(&request.identities).identities()).transpose()?;
    // Nothing of what is opened is shown.
    let identities = identities.map(|identities| identities.unwitnessed());
    let found = vault.verify(&trusted, identities.as_ref())?;
    let well = found.findings.is_empty();
    let path = vault.path().to_owned();
    // What is verified against another file than that of the settings says nothing of what the settings believe.
    let settled = match request.signers {
        None => vault.trusting(ctx.vault_trust(&path)?).settle(&found, request.accept)?,
        Some(_) => false,
    };
    let signers = trusted.file().to_owned();
    Ok(Verified { vault: path, well, accepted: settled && !well, signers, was_shown: false, found })
}
