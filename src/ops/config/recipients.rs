//! `dr config recipients`: who can open what is recorded.

use serde::Serialize;

use crate::crypt::Recipients;
use crate::error::{CommandError, Exit, Result};
use crate::ops::Ctx;
use crate::vault::{Holder, Holders, Vault};

/// The list, and what follows from it.
#[derive(Debug, Serialize)]
pub struct RecipientsReport {
    /// Who can open what is recorded from now on, and who could once.
    #[serde(flatten)]
    pub holders: Holders,
    /// This host's own public keys, where its identity is at hand.
    pub own: Vec<String>,
    /// How many deployments are recorded.
    pub deployments: usize,
    /// How many sealed files are not sealed to just these recipients.
    pub due: usize,
    /// What should be known or done.
    pub warnings: Vec<String>,
}

/// A change of the list.
#[derive(Debug, Clone)]
pub struct RecipientsRequest<'w> {
    pub key: &'w str,
    /// Whose it is, or why it goes.
    pub why: Option<&'w str>,
    /// Leave a single recipient.
    pub allow_single: bool,
    /// Only say what would be.
    pub dry_run: bool,
}

/// Shows the list.
///
/// # Errors
/// The vault cannot be read.
pub fn list(ctx: &Ctx) -> Result<RecipientsReport> {
    let vault = ctx.vault_to_read()?;
    report(ctx, &vault, vault.holders()?, Vec::new())
}

/// Puts a key on the list.
///
/// # Errors
/// It is no public key, or on the list already.
pub fn add(ctx: &Ctx, request: &RecipientsRequest<'_>) -> Result<RecipientsReport> {
    let vault = ctx.vault()?;
    let mut news = Vec::new();
    let holders = if request.dry_run {
        let why = masked(ctx, request.why);
        vault.preview_recipients(&[request.key], &[], &ctx.who, why.as_deref())?
    } else {
        vault.add_recipient(request.key, &ctx.who, masked(ctx, request.why).as_deref())?
    };
    let before = vault.survey()?.deployments.len();
    if before > 0 {
        news.push(format!(
            "{} reads what is recorded from now on; the {before} deployments before open to it after `dr config rekey`",
            request.key
        ));
    }
    report(ctx, vault, holders, news)
}

/// What taking a key from the list means: said before it is asked for.
///
/// # Errors
/// It could not be taken from the list; the vault cannot be read.
pub fn removal(ctx: &Ctx, request: &RecipientsRequest<'_>) -> Result<String> {
    let vault = ctx.vault()?;
    require_removable(vault, request)?;
    vault.preview_recipients(&[], &[request.key], &ctx.who, None)?;
    lost_with(ctx, request.key)
}

fn lost_with(ctx: &Ctx, key: &str) -> Result<String> {
    let vault = ctx.vault_to_read()?;
    let readers = vault.readers()?;
    let readable = readers.values().filter(|keys| keys.contains(key)).count();
    Ok(format!(
        "{key} could open {readable} of {} deployments, and nothing takes back what its holder has read",
        readers.len()
    ))
}

/// Takes a key from the list.
///
/// # Errors
/// It is not on the list, it is the last one, or it leaves a single one and that was not allowed.
pub fn remove(ctx: &Ctx, request: &RecipientsRequest<'_>) -> Result<RecipientsReport> {
    let vault = ctx.vault()?;
    require_removable(vault, request)?;
    let holders = if request.dry_run {
        let why = masked(ctx, request.why);
        vault.preview_recipients(&[], &[request.key], &ctx.who, why.as_deref())?
    } else {
        vault.remove_recipient(request.key, &ctx.who, masked(ctx, request.why).as_deref())?
    };
    let news = vec![
        lost_with(ctx, request.key)?,
        "`dr config rekey` seals all versions to the others, and lists the live secrets that have to be changed, and those that must not be".into(),
    ];
    report(ctx, vault, holders, news)
}

fn require_removable(vault: &Vault, request: &RecipientsRequest<'_>) -> Result<()> {
    let before = vault.holders()?;
    if before.has(request.key) && before.now.len() == 2 && !request.allow_single {
        return Err(CommandError::new(Exit::Keys, format!("without {} a single recipient is left", request.key))
            .hint("Add another one first: `dr config recipients add age1...` (the escrow key of somebody else).")
            .hint("Or add --allow-single; then the loss of that one key is the loss of every values.yaml."));
    }
    Ok(())
}

/// The operator's words, without what this process knows to be secret: they stand in the clear.
fn masked(ctx: &Ctx, why: Option<&str>) -> Option<String> {
    why.map(|why| ctx.secrets().scrub_words(why))
}

/// The recipients that this host has to be told of before anything is sealed to them.
///
/// # Errors
/// The vault cannot be read, or is not believed.
pub fn unknown(ctx: &Ctx) -> Result<Vec<Holder>> {
    Ok(ctx.vault()?.new_recipients()?)
}

/// Refuses to go on while there are any.
///
/// # Errors
/// There is one; the vault cannot be read, or is not believed.
pub fn refuse_unknown(ctx: &Ctx) -> Result<()> {
    Ok(ctx.vault()?.recipients().map(drop)?)
}

/// Lets everything be sealed to keys of the list that this host did not know.
///
/// # Errors
/// One is not on the list: those before it are accepted.
pub fn accept(ctx: &Ctx, keys: &[String]) -> Result<RecipientsReport> {
    let vault = ctx.vault()?;
    keys.iter().try_for_each(|key| vault.accept_recipient(key))?;
    report(ctx, vault, vault.holders()?, Vec::new())
}

fn report(ctx: &Ctx, vault: &Vault, holders: Holders, mut warnings: Vec<String>) -> Result<RecipientsReport> {
    let settings = ctx.settings()?;
    let holders = vault.with_signers(holders)?;
    let own = ctx.identities_if_set().ok().flatten().map(|own| own.recipients()).unwrap_or_default();
    let keys = holders.keys();
    if keys.len() < 2 {
        warnings.push("only one key opens what is recorded: when it is lost, every values.yaml is lost with it".into());
    }
    let listed = &settings.keys.recipients;
    let only_here: Vec<&str> = keys.iter().filter(|key| !listed.contains(key)).map(String::as_str).collect();
    let only_there: Vec<&str> = listed.iter().filter(|key| !keys.contains(key)).map(String::as_str).collect();
    for new in vault.new_recipients()? {
        warnings.push(format!(
            "this host does not know {}, which {} has put on the list: ask whose it is, then `dr config recipients accept {}` or `rm` it",
            new.key,
            new.signer(),
            new.key
        ));
    }
    if !only_here.is_empty() {
        warnings.push(format!(
            "bundles of this host are not sealed to {}: where its holder is to open them, add it to `recipients` under [keys] in {}",
            only_here.join(", "),
            ctx.settings_path.display()
        ));
    }
    if !only_there.is_empty() {
        warnings.push(format!(
            "`recipients` under [keys] in {} also has {}, which the vault has not: `dr config recipients add` it, or take it out",
            ctx.settings_path.display(),
            only_there.join(", ")
        ));
    }
    // Of the list that is shown: in a dry run, that is the one that would be.
    let due = vault.rekey_plan_for(Recipients::parse(&keys)?)?.files();
    let deployments = vault.survey()?.deployments.len();
    Ok(RecipientsReport { holders, own, deployments, due, warnings })
}
