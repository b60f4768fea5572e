//! The flags that say where bundles are looked for, and whose are believed.

use std::path::PathBuf;

use clap::Args;

use crate::ops::bundles;

/// Where a bundle is looked for.
#[derive(Debug, Args)]
pub struct StoreArgs {
    /// The folder or bucket (s3://BUCKET/PREFIX) to look in, such as a mirror, if not the settings' store
    #[arg(long, value_name = "STORE")]
    pub store: Option<String>,
}

/// Whose bundles are believed.
#[derive(Debug, Args)]
pub struct TrustArgs {
    /// The file of allowed signers (as ssh-keygen has it), if not the settings'
    #[arg(long, value_name = "FILE")]
    pub trusted_signers: Option<PathBuf>,
    /// Take the signature of this one key, too: of one that has ended, say, as `ssh-keygen -l` shows it
    #[arg(long, value_name = "SHA256:...", conflicts_with = "any_signer", value_parser = fingerprint)]
    pub trust_key: Option<String>,
    /// Take a bundle whoever made it, but for a revoked key's: restoring it runs whatever is in it
    #[arg(long, conflicts_with = "trusted_signers")]
    pub any_signer: bool,
}

impl TrustArgs {
    /// Whether any of it is said.
    pub fn is_given(&self) -> bool {
        self.trusted_signers.is_some() || self.trust_key.is_some() || self.any_signer
    }

    /// What names and opens the bundle.
    pub fn request(self, bundle: Option<String>, identity: Option<PathBuf>) -> bundles::BundleRequest {
        let Self { trusted_signers, trust_key, any_signer } = self;
        bundles::BundleRequest { bundle, store: None, identity, trusted_signers, trust_key, any_signer }
    }
}

fn fingerprint(text: &str) -> std::result::Result<String, String> {
    let digest = text.strip_prefix("SHA256:").unwrap_or_default();
    let fits = digest.len() == 43 && digest.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/'));
    if fits {
        Ok(text.to_owned())
    } else {
        Err("a fingerprint is `SHA256:` and 43 characters, as ssh-keygen -l shows it".into())
    }
}
