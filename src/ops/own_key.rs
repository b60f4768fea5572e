//! This host's own key, where `dr init` finds or makes one, and what is wrong with it.

use std::path::Path;

use crate::crypt::seal::SealError;
use crate::error::CommandError;

/// The identity that `init` has found or made.
pub(super) struct OwnKey<'k> {
    pub path: &'k Path,
    /// Its public half, where it is known.
    pub key: Option<&'k str>,
    /// It was there before.
    pub kept: bool,
}

impl OwnKey<'_> {
    /// What does not fit, for people: it is none of the `recipients` of the settings that are there; it was to be
    /// protected by a passphrase, and is kept as it was.
    pub fn unfit(&self, recipients: Option<&Vec<String>>, passphrase: bool, dry_run: bool) -> Vec<String> {
        let Self { key, kept, .. } = *self;
        let path = self.path.display();
        let mut unfit = Vec::new();
        // One that is kept and protected by a passphrase is not opened for this.
        let is_known = |known: &Vec<String>| key.map_or(kept, |own| known.iter().any(|known| known == own));
        if recipients.is_some_and(|recipients| !is_known(recipients)) {
            let own = key.map_or("the key that would be made".to_owned(), |own| format!("its key {own}"));
            let what = if dry_run && !kept { "a new identity" } else { "this host's identity" };
            unfit.push(format!(
                "the settings seal to other keys, so {what} opens nothing: bring the identity that was there before, or the \
                 escrow key, to {path}; or add {own} to `recipients` under [keys], and to the vault with `dr config recipients add`"
            ));
        }
        if kept && passphrase {
            unfit.push(format!(
                "the identity {path} is kept as it is: `age -p {path} > NEW` protects it, and NEW then takes its place"
            ));
        }
        unfit
    }
}

/// What was given with --recipient is none.
pub(super) fn refused(error: SealError) -> CommandError {
    CommandError::from(error).context("--recipient").hint(
        "`age-keygen -o escrow.txt`, on another machine, makes a key and prints its public half: age1 and 58 characters.",
    )
}
