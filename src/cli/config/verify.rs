//! `dr config verify`.

use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;

use crate::error::{Exit, Result, trust_command};
use crate::ops::Ctx;
use crate::ops::config::verify::{Verified, VerifyRequest, verify};
use crate::ops::quoted;
use crate::text::{bytes, plural};
use crate::ui::{Mark, Page, Report, Ui, short_time};
use crate::vault::verify::{Flaw, VaultFinding};

/// Prove that the vault is what trusted hosts have written, whole and unaltered
///
/// Needs no age key: every commit's signature, only additions in every commit, every sealed file's digest, every
/// record's place in the chain. With --decrypt also that every version opens and is what was recorded.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  dr config verify\n  dr config verify --decrypt --identity escrow.txt\n  dr config verify --vault ./fresh-clone"
)]
pub struct VerifyArgs {
    /// Also prove that every version opens with the identities at hand, and equals its digest
    #[arg(long)]
    decrypt: bool,
    /// One more identity file to open with (can be repeated)
    #[arg(long, value_name = "FILE", requires = "decrypt")]
    identity: Vec<PathBuf>,
    /// Whose signatures are believed, in the form of ssh-keygen's allowed signers; otherwise `keys.trusted_signers`
    #[arg(long, value_name = "FILE")]
    signers: Option<PathBuf>,
    /// Use the vault from now on, on this host, though keys that are not trusted have signed what is in it now; it is
    /// asked for, and anything else that is wrong is still refused
    #[arg(long, conflicts_with = "signers")]
    allow_untrusted: bool,
    /// Another vault than the one of the settings: a clone, say
    #[arg(long, value_name = "FOLDER")]
    vault: Option<PathBuf>,
}

pub(super) fn run(ctx: &Ctx, ui: &Ui, args: VerifyArgs) -> Result<Exit> {
    let mut request = VerifyRequest {
        vault: args.vault,
        signers: args.signers,
        decrypt: args.decrypt,
        identities: args.identity,
        accept: false,
    };
    let mut verified = verify(ctx, &request)?;
    if args.allow_untrusted && !verified.well {
        ui.plan(&verified);
        ui.confirm("Use it all the same, from now on?")?;
        request.accept = true;
        verified = verify(ctx, &request)?;
        verified.was_shown = verified.accepted;
    }
    ui.report(&verified)?;
    Ok(verified.exit())
}

impl Report for Verified {
    fn human(&self, page: &mut Page) {
        /// More findings of one kind are counted.
        const MOST: usize = 50;
        let found = &self.found;
        if self.was_shown {
            return page.finding(Mark::Warn, USED, None);
        }
        let count = |number: usize, one: &str| plural(number as u64, one);
        let mut fields = vec![
            ("vault", self.vault.display().to_string()),
            ("newest commit", found.newest.clone().unwrap_or_else(|| "none".into())),
            (
                "holds",
                format!(
                    "{} of {}, {} with an outcome; {} in {}, {}",
                    count(found.deployments, "deployment"),
                    count(found.installs, "install"),
                    found.outcomes,
                    count(found.files, "file"),
                    count(found.commits, "commit"),
                    bytes(found.bytes)
                ),
            ),
        ];
        let signers: Vec<String> = found.signed_by.iter().map(|(who, number)| format!("{who}: {number}")).collect();
        fields.push(("signed by", if signers.is_empty() { "nobody trusted".into() } else { signers.join(", ") }));
        if found.rekeyed > 0 {
            fields.push(("sealed again", count(found.rekeyed, "file")));
        }
        if let Some(opened) = &found.opened {
            fields.push(("opened", format!("{} of {}", opened.proved, count(opened.files, "sealed file"))));
            fields.extend(opened.by.iter().map(|by| ("", format!("{} by {}", by.files, by.key))));
        }
        page.fields(&fields);
        page.gap();
        for fork in &found.forks {
            let after = fork.after.as_deref().unwrap_or("the beginning");
            let text = format!("two hosts recorded at once after {after}: {}", fork.records.join(", "));
            page.finding(Mark::Ok, &text, None);
        }
        for note in &found.notes {
            page.finding(Mark::Warn, note, None);
        }
        let (strangers, others) = by_reason(&found.findings);
        for stranger in &strangers {
            page.finding(Mark::Bad, stranger, None);
        }
        for finding in others.iter().take(MOST) {
            let name = serde_json::to_value(finding.flaw).unwrap_or_default();
            let commit = match &finding.commit {
                Some(id) if !finding.what.contains(id.as_str()) => format!(" (commit {})", &id[..12.min(id.len())]),
                _ => String::new(),
            };
            let name = name.as_str().unwrap_or_default();
            page.finding(Mark::Bad, &format!("{name}: {} {}{commit}", finding.what, finding.says), None);
        }
        if others.len() > MOST {
            page.line(format!("... and {} more: -o json lists them", others.len() - MOST));
        }
        if self.accepted {
            page.finding(Mark::Warn, USED, None);
        } else if self.well {
            page.finding(Mark::Ok, "nothing is forged, missing, reordered or altered", None);
        } else {
            if found.findings.iter().any(|finding| finding.flaw == Flaw::UntrustedSigner) {
                let trust = trust_command(&self.signers);
                page.line(format!("A key of one of your hosts, whose `dr doctor` shows the same SHA256: {trust}."));
            }
            page.next(&format!(
                "git -C {} log --show-signature --stat    (a clone elsewhere may have what is missing here)",
                quoted(&self.vault.display().to_string())
            ));
        }
    }
}

const USED: &str = "it is used from now on, whoever has signed this";

/// What is a matter of who signed it, one line a key and reason; and all the rest.
fn by_reason(findings: &[VaultFinding]) -> (Vec<String>, Vec<&VaultFinding>) {
    let mut groups: Vec<(&str, Vec<Timestamp>)> = Vec::new();
    let mut others = Vec::new();
    for finding in findings {
        let Some(at) = finding.at.filter(|_| finding.flaw == Flaw::UntrustedSigner) else {
            others.push(finding);
            continue;
        };
        match groups.iter_mut().find(|(says, _)| *says == finding.says) {
            Some((_, times)) => times.push(at),
            None => groups.push((&finding.says, vec![at])),
        }
    }
    // One alone is named by its commit, as anything else.
    let (alone, groups): (Vec<_>, Vec<_>) = groups.into_iter().partition(|(_, times)| times.len() == 1);
    let is_alone = |finding: &&VaultFinding| alone.iter().any(|(says, _)| *says == finding.says);
    others.splice(0..0, findings.iter().filter(is_alone));
    let line = |(says, mut times): (&str, Vec<Timestamp>)| {
        times.sort_unstable();
        let (first, last) = (short_time(times[0]), short_time(times[times.len() - 1]));
        format!("untrusted-signer: each of {} commits, {first} to {last}, {says}", times.len())
    };
    (groups.into_iter().map(line).collect(), others)
}
