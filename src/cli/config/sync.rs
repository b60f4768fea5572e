//! `dr config sync`.

use std::path::PathBuf;

use clap::Args;

use crate::error::{Exit, Result};
use crate::ops::Ctx;
use crate::ops::config::sync::{SyncRequest, Synced, sync};
use crate::ops::schedule;
use crate::text::plural;
use crate::ui::{Mark, Page, Report, Ui};
use crate::vault::Joined;

/// Exchange records with a remote: fetch, verify, merge, push
///
/// Your own `git` and its credentials fetch and push. What comes in is verified before it is merged; histories that
/// only add files always merge. A push that is rejected because another host has pushed is done again.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  git -C VAULT remote add origin ssh://host/vault.git\n  dr config sync\n\nOn the second host:\n  git clone -b main ssh://host/vault.git FOLDER\n  dr init --vault FOLDER"
)]
pub struct SyncArgs {
    /// A remote of the vault, or an address; `origin`, or the only one, when it is not given
    remote: Option<String>,
    /// Whose signatures are believed, in the form of ssh-keygen's allowed signers; otherwise `keys.trusted_signers`
    #[arg(long, value_name = "FILE")]
    signers: Option<PathBuf>,
    /// Take in commits of keys that are not trusted, too; `dr config verify` will go on naming them
    #[arg(long)]
    allow_untrusted: bool,
    /// Fetch and verify, say what would be merged and pushed, and change nothing
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(ctx: &Ctx, ui: &Ui, args: SyncArgs) -> Result<Exit> {
    let request = SyncRequest {
        remote: args.remote,
        signers: args.signers,
        allow_untrusted: args.allow_untrusted,
        dry_run: args.dry_run,
        ask: ui.can_ask(),
    };
    let synced = sync(ctx, &request).await?;
    ui.report(&synced)?;
    if !synced.dry_run && synced.fetched > 0 {
        schedule::renew(ctx).await;
    }
    Ok(Exit::Success)
}

impl Report for Synced {
    fn human(&self, page: &mut Page) {
        let count = |number: usize, one: &str| plural(number as u64, one);
        let (would, push) = if self.dry_run { ("Would take in", "would push") } else { ("Took in", "pushed") };
        if self.fetched == 0 && self.pushed == 0 {
            page.line(format!("{} and this vault have the same records.", self.remote));
        } else {
            let merged = if self.joined == Joined::Merged { ", merged" } else { "" };
            page.line(format!(
                "{would} {} ({}){merged}; {push} {} to {}.",
                count(self.fetched, "commit"),
                count(self.deployments, "deployment"),
                count(self.pushed, "commit"),
                self.remote
            ));
        }
        if self.races > 0 {
            page.line(format!("The push was rejected {}: another host had pushed.", count(self.races, "time")));
        }
        if self.untrusted > 0 {
            let text = format!("{} of keys that are not trusted were let in", count(self.untrusted, "commit"));
            page.finding(Mark::Warn, &text, Some("dr config verify"));
        }
    }
}
