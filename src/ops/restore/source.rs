//! Which bundle is restored, and with what it is opened.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::bundle::catalog::PassedOver;
use crate::error::{CommandError, Exit, Result};
use crate::ops::bundles;
use crate::opschain::version::{BadVersion, Version};
use crate::settings::Keys;

/// What the user asked for.
#[derive(Debug, Clone, Default)]
pub struct RestoreRequest {
    /// A bundle's name or its beginning, or a file; the newest good one of `version` when absent.
    pub bundle: Option<String>,
    /// The OpsChain version that is to run; the bundle's own when absent.
    pub version: Option<String>,
    /// The age identity file, if not the settings'.
    pub identity: Option<PathBuf>,
    /// The trusted signers, if not the settings'.
    pub trusted_signers: Option<PathBuf>,
    /// Take anybody's bundle, signed or not.
    pub any_signer: bool,
    /// The chart to install a newer version from, if not the settings'.
    pub chart: Option<String>,
    /// Restore under an older version, or under one that cannot be compared, all the same.
    pub allow_version: bool,
}

impl RestoreRequest {
    /// The file that the bundle is named by, where it is not a name of the store.
    ///
    /// # Errors
    /// [`Exit::NotFound`] for a path with nothing there.
    pub(super) fn file(&self) -> Result<Option<PathBuf>> {
        Ok(self.bundle.as_deref().map(bundles::bundle_file).transpose()?.flatten())
    }
}

/// The files that open and check the bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyFiles {
    /// The age identity file.
    pub identity: PathBuf,
    /// The trusted signers; absent when anybody's bundle was to be taken.
    pub trusted_signers: Option<PathBuf>,
}

/// The files that open and check the bundle: those that were given, else those of the settings.
///
/// # Errors
/// [`Exit::Keys`] without an identity, [`Exit::Untrusted`] without signers.
pub(super) fn key_files(settings: &Keys, request: &RestoreRequest) -> Result<KeyFiles> {
    let identity = request.identity.clone().or_else(|| settings.identity.clone()).ok_or_else(|| {
        CommandError::new(Exit::Keys, "no age identity is known that could open the bundle")
            .hint("Name the identity file with --identity, or set `keys.identity`.")
    })?;
    let trusted_signers = match (&request.trusted_signers, request.any_signer) {
        (_, true) => None,
        (Some(path), false) => Some(path.clone()),
        (None, false) => Some(settings.trusted_signers.clone().ok_or_else(|| {
            CommandError::new(Exit::Untrusted, "no trusted signers are known to check the bundle against")
                .hint("Name a file of allowed signers with --trusted-signers, or take the risk with --any-signer.")
        })?),
    };
    Ok(KeyFiles { identity, trusted_signers })
}

/// The version whose newest good bundle is taken, where none is named.
///
/// # Errors
/// [`Exit::Usage`] when neither is named, or it is no version.
pub(super) fn version_to_look_for(request: &RestoreRequest) -> Result<String> {
    let version = request.version.as_deref().ok_or_else(|| {
        CommandError::new(Exit::Usage, "neither a bundle nor a version is named").hint(
            "`dr bundle list` shows what there is; `dr bundle restore --version V` takes the newest good one that V made.",
        )
    })?;
    Ok(parse_version(version)?.tag())
}

/// The error of a store without a good bundle of the version `tag`.
pub(super) fn none_good(store: &str, tag: &str, passed: &[PassedOver], versions: &[&str]) -> CommandError {
    let mut error =
        CommandError::new(Exit::NotFound, format!("store {store} has no good bundle made by OpsChain {tag}"));
    for other in passed {
        error = error.hint(format!("{} was passed over: {}.", other.name, other.reason));
    }
    match versions {
        [] => error.hint("The store has no bundle at all: name a file, or set `store.path`."),
        versions => error.hint(format!("It has bundles of {}: name one to restore it.", versions.join(", "))),
    }
}

pub(super) fn parse_version(text: &str) -> Result<Version> {
    text.parse().map_err(|e: BadVersion| {
        CommandError::new(Exit::Usage, e.to_string()).hint("OpsChain versions look like 2026-08-20 or 2026.8.20.")
    })
}
