//! The list of recipients: kept as its changes, so that two hosts that change it at once lose nothing.

use super::Vault;
use super::error::VaultError;
use super::files::parse;
use super::git::Git;
use super::record::RecipientsChange;
use crate::crypt::Recipients;

impl Vault {
    /// The public keys that new files are sealed to.
    ///
    /// # Errors
    /// When the list cannot be read, or is empty.
    pub fn recipients(&self) -> Result<Recipients, VaultError> {
        let git = Git::open(&self.path)?;
        let mut keys: Vec<String> = Vec::new();
        // The names begin with the time, so they are in order.
        for name in git.names("recipients")? {
            let path = format!("recipients/{name}");
            let bytes = git.read(&path)?.unwrap_or_default();
            let change: RecipientsChange = parse(&path, &bytes)?;
            keys.retain(|key| !change.remove.contains(key));
            keys.extend(change.add);
        }
        Recipients::parse(keys).map_err(VaultError::seal("read the vault's recipients"))
    }
}
