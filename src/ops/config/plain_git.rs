//! What plain `git` asks `dr` for in the vault: a readable text of a sealed file, the union of two histories, and the
//! settings that make it ask.

use std::path::Path;

use serde::Serialize;
use zeroize::Zeroizing;

use super::sha256;
use crate::error::{CommandError, Exit, Result};
use crate::ops::Ctx;
use crate::ops::given::quoted;
use crate::read;
use crate::text;
use crate::values::{Scrubber, Tree};
use crate::vault::{GitSetting, VaultError};

/// How an age file begins.
const AGE: &[u8] = b"age-encryption.org/v1\n";
/// How a gzip file begins.
const GZIP: &[u8] = &[0x1f, 0x8b];

/// A file of the vault as text that can be compared line by line: values with their secrets masked, unless `show` is
/// on; a line about what is no text, or what no identity at hand opens. A clear file is given as it is.
///
/// git stops showing a history where this fails, so it fails only when the file cannot be read.
///
/// # Errors
/// The file cannot be read.
pub fn textconv(ctx: &Ctx, file: &Path, show: bool) -> Result<Zeroizing<Vec<u8>>> {
    let stored = read::file(file, read::PROGRAM)
        .map_err(|e| CommandError::new(Exit::NotFound, format!("read {}", file.display())).because(e))?;
    if !stored.starts_with(AGE) {
        return Ok(Zeroizing::new(stored));
    }
    let text = opened(ctx, &stored, show).unwrap_or_else(|error| {
        let size = text::bytes(stored.len() as u64);
        Zeroizing::new(format!("sealed, {size}, sha256 {}: {}\n", sha256(&stored), error.message()))
    });
    Ok(Zeroizing::new(text.as_bytes().to_vec()))
}

fn opened(ctx: &Ctx, stored: &[u8], show: bool) -> Result<Zeroizing<String>> {
    let identities = ctx.identities()?;
    let plain = identities.open(stored)?;
    let about = |what: &str| {
        let size = text::bytes(plain.len() as u64);
        Zeroizing::new(format!("{what}, {size}, sha256 {} of the plaintext\n", sha256(&plain)))
    };
    if plain.starts_with(GZIP) {
        return Ok(about("an archive"));
    }
    match (Tree::parse(&plain), std::str::from_utf8(&plain)) {
        (_, Ok(text)) if show => Ok(Zeroizing::new(text.to_owned())),
        (Ok(tree), _) => {
            // The vault may be what is being looked into: nothing of it is believed.
            let key = ctx.vault_unverified(None)?.fingerprint_key(&identities)?;
            Ok(Zeroizing::new(Scrubber::new(Some(key)).scrub_source(&tree)))
        }
        // Which of it is secret cannot be told.
        _ => Ok(about("sealed, not a values file")),
    }
}

/// What git asks when both sides of a merge have brought the same path: `ours` is kept when both hold the same.
///
/// Two hosts never write the same path, since each deployment has a folder of its own. So the same path is the same
/// bytes, or the same plaintext sealed twice; anything else was altered, and is left to a person as a conflict.
///
/// # Errors
/// [`Exit::Vault`] when they differ, which git takes for a conflict; what opening them fails with.
pub fn merge_driver(ctx: &Ctx, ours: &Path, theirs: &Path, path: &str) -> Result<()> {
    let read = |file: &Path| {
        read::file(file, read::PROGRAM)
            .map_err(|e| CommandError::new(Exit::NotFound, format!("read {}", file.display())).because(e))
    };
    let (own, other) = (read(ours)?, read(theirs)?);
    if own == other {
        return Ok(());
    }
    let conflict = || {
        CommandError::new(Exit::Vault, format!("{path} holds something else on the two sides of the merge"))
            .hint("Nothing in the vault is ever rewritten, so one side was altered: `dr config verify` finds which.")
    };
    if !(own.starts_with(AGE) && other.starts_with(AGE)) {
        return Err(conflict());
    }
    let identities = ctx.identities()?;
    let both = (identities.open(&own), identities.open(&other));
    match both {
        (Ok(own), Ok(other)) if own == other => Ok(()),
        (Ok(_), Ok(_)) => Err(conflict()),
        (Err(error), _) | (_, Err(error)) => Err(CommandError::from(error).context(path)),
    }
}

/// What was set for plain git.
#[derive(Debug, Serialize)]
pub struct GitSetup {
    pub vault: String,
    /// Each setting.
    pub settings: Vec<GitSetting>,
    /// Whether it was only looked at.
    pub dry_run: bool,
}

/// Makes plain `git` in the vault show values (masked) in `diff` and `log -p`, merge as `dr` does, sign what it commits
/// and know whose signatures to believe. `program` is this program.
///
/// # Errors
/// The vault cannot be opened, or its settings not written.
pub fn git_setup(ctx: &Ctx, program: &Path, dry_run: bool) -> Result<GitSetup> {
    let settings = ctx.settings()?;
    let vault = ctx.vault_unverified(None)?;
    let absolute = |path: &Path| {
        std::path::absolute(path)
            .map_err(|source| VaultError::Io { act: format!("find {}", path.display()), source })
            .map(|path| path.display().to_string())
    };
    let call = format!("{} --settings {} config", quoted(&absolute(program)?), quoted(&absolute(&ctx.settings_path)?));
    let mut wanted = vec![
        ("diff.dr.textconv", format!("{call} textconv")),
        // The cache would keep the texts in the repository.
        ("diff.dr.cachetextconv", "false".into()),
        ("merge.dr.name", "nothing is rewritten: the same on both sides, or a conflict".into()),
        ("merge.dr.driver", format!("{call} merge-driver %O %A %B %P")),
        ("gpg.format", "ssh".into()),
    ];
    if let Some(key) = &settings.keys.signing_key {
        wanted.push(("user.signingkey", absolute(key)?));
        wanted.push(("commit.gpgsign", "true".into()));
    }
    if let Some(signers) = &settings.keys.trusted_signers {
        wanted.push(("gpg.ssh.allowedSignersFile", absolute(signers)?));
    }
    let wanted: Vec<(String, String)> = wanted.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    let done = vault.set_up_git(&wanted, "* merge=dr\n*.age diff=dr\n", !dry_run)?;
    Ok(GitSetup { vault: vault.path().display().to_string(), settings: done, dry_run })
}
