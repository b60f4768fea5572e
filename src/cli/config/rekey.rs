//! `dr config rekey`.

use clap::Args;

use super::deployment::IdentityArgs;
use super::recipients;
use crate::error::{Exit, Result};
use crate::ops::Ctx;
use crate::ops::config::recipients::refuse_unknown;
use crate::ops::config::rekey::{RekeyReport, ToRotate, plan, rekey};
use crate::ops::schedule;
use crate::text::plural;
use crate::ui::{Mark, Page, Report, Ui};

/// Seal all versions again to the recipients of today, each proved equal to what was recorded
///
/// Nothing is rewritten: the new files stand beside the old ones, in `rekeyed/`. It can be stopped and run again. It
/// lists the live secrets that a removed recipient could have read: those have to be changed where they are used, but for
/// those that stored data depends on, which stand apart. What cannot be opened stays as it is and is named; the exit code
/// says so (15: other keys would, 17: it is damaged).
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  dr config rekey --dry-run\n  dr config rekey --identity escrow.txt  # where no other key opens it"
)]
pub struct RekeyArgs {
    /// Say what would be sealed again, and what has to be changed, and write nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    pub(super) keys: IdentityArgs,
}

pub(super) async fn run(ctx: &Ctx, ui: &Ui, args: &RekeyArgs) -> Result<Exit> {
    if !args.dry_run {
        let planned = plan(ctx)?;
        if planned.files > 0 {
            recipients::ask(ctx, ui)?;
            let files = plural(planned.files as u64, "file");
            ui.confirm(&format!("Seal {files} again to {} recipients?", planned.recipients.len()))?;
        }
    }
    let report = rekey(ctx, args.dry_run)?;
    ui.report(&report)?;
    if !args.dry_run {
        schedule::renew_all(ctx).await;
    }
    // What the same without --dry-run would be refused for, or ask.
    match refuse_unknown(ctx) {
        Err(error) if args.dry_run && report.files > 0 && !ui.can_ask() => Err(error),
        Err(error) if args.dry_run && report.files > 0 => {
            ctx.events.warn(format!("a question comes first: {error}"), error.hints().first().cloned());
            Ok(report.exit())
        }
        _ => Ok(report.exit()),
    }
}

impl Report for RekeyReport {
    fn human(&self, page: &mut Page) {
        let files = plural(self.files as u64, "file");
        match (self.files, self.dry_run) {
            (0, _) if !self.unsealed.is_empty() => page.line(format!(
                "Nothing was sealed again; {} files are sealed to the recipients of today.",
                self.current
            )),
            (0, _) => {
                page.line(format!("Nothing to do: all {} files are sealed to the recipients of today.", self.current))
            }
            (_, true) => page.line(format!(
                "Would seal {files} again ({} different contents) to {} recipients; {} are already.",
                self.contents,
                self.recipients.len(),
                self.current
            )),
            (_, false) => {
                page.line(format!(
                    "Sealed {files} again to {} recipients; each was what had been recorded.",
                    self.recipients.len()
                ));
                let unproved = self.contents - self.reopened;
                if unproved > 0 {
                    let text = format!(
                        "{unproved} new contents could not be opened again here: this host is no recipient any more"
                    );
                    page.finding(
                        Mark::Warn,
                        &text,
                        Some("dr config verify --decrypt, where a recipient's identity is"),
                    );
                }
            }
        }
        for unsealed in &self.unsealed {
            let hint = match unsealed.closed {
                true => "dr config rekey, on a host whose key opens it",
                false => "dr config verify; a clone of the vault elsewhere may have the good file",
            };
            page.finding(Mark::Bad, &format!("{} stays as it is: {}", unsealed.path, unsealed.why), Some(hint));
        }
        let (fixed, free): (Vec<&ToRotate>, Vec<&ToRotate>) =
            self.rotate.iter().partition(|secret| secret.guarded.is_some());
        if !free.is_empty() {
            page.gap();
            page.heading(
                "Still live, and known to somebody who is no recipient any more: change these where they are used.",
            );
            page.table(&["install", "path", "fingerprint", "readable by", "since"], &rows(&free));
        }
        if !fixed.is_empty() {
            page.gap();
            page.heading(
                "Known to them, too, and never to be changed while their data lives: with another value it could not be read any more.",
            );
            page.table(&["install", "path", "fingerprint", "readable by", "since"], &rows(&fixed));
            page.line("Keep the database, its volumes and old bundles from whoever has these; `dr deploy` refuses a change of them (26).");
        }
    }
}

fn rows(secrets: &[&ToRotate]) -> Vec<Vec<String>> {
    let row = |secret: &&ToRotate| {
        let keys = secret.readable_by.iter().map(|key| short(key)).collect::<Vec<_>>().join(" ");
        let fingerprint = format!("#{}", secret.fingerprint);
        vec![secret.install.clone(), secret.path.clone(), fingerprint, keys, secret.since.clone()]
    };
    secrets.iter().map(row).collect()
}

/// Enough of a public key to tell it from the others.
fn short(key: &str) -> String {
    match key.char_indices().nth(16) {
        Some((end, _)) => format!("{}…", &key[..end]),
        None => key.to_owned(),
    }
}
