//! `dr config upgrade`: arguments in, a proposal and its report out.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::deployment::IdentityArgs;
use crate::cli::shown;
use crate::error::{CommandError, Exit, Result};
use crate::ops::config::{self, ProposalRequest, Target, Upgraded};
use crate::ops::{Ctx, quoted};
use crate::opschain::values::VERSION;
use crate::ui::{Output, Page, Report, Ui};
use crate::values::upgrade::{KeyOutcome, KeyReport, ProposalStyle};

/// Carry your edits into a new release's values file, as a proposal to review
///
/// Three files are merged: the shipped values of the release that you come from, those of the release to go to, and
/// yours. What you changed stays, with your quotes; what you left alone becomes new; the text and its order are the new
/// file's, and your comments are at their keys. A file of overrides stays one: your text, with what is renamed, gone or
/// of a new default changed in it, and new keys told, not copied. The report says what is new, gone, renamed or in
/// conflict, and which comments lost their keys. The proposal names the new release where yours names the old one
/// (`env.OPSCHAIN_VERSION`). Nothing is deployed.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dr config upgrade 2026-08-20 2026-09-14 -f values.yaml --out new.yaml
  dr config upgrade old/values.yaml opschain-2026.10.8.tgz --out - | less
  dr config upgrade 2026-08-20 2026-09-14 -f site.yaml --style overrides")]
pub struct UpgradeArgs {
    /// The release that you come from: its values file, its chart (folder, archive, `oci://...`), or its version
    #[arg(value_name = "FROM")]
    from: String,
    /// The release to go to, likewise
    #[arg(value_name = "TO")]
    to: String,
    /// Your values: a file, a deployment, or `-` for stdin
    #[arg(short = 'f', long, value_name = "FILE|DEPLOYMENT", default_value = "live")]
    values: String,
    /// Where the proposal goes (mode 0600; a link is followed); `-` is stdout; without it, there is only the report
    #[arg(long = "out", value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write over the file if it is there
    #[arg(long)]
    force: bool,
    /// Whose text the proposal is; without it, `overrides` where your file has less than half of what FROM says
    #[arg(long, value_name = "STYLE")]
    style: Option<StyleArg>,
    #[command(flatten)]
    pub(super) keys: IdentityArgs,
}

/// Longer values are cut, or told by what differs; `--output json` has them whole.
const LONGEST: usize = 120;

#[derive(Debug, Clone, Copy, ValueEnum)]
enum StyleArg {
    /// Yours: what is new is told, not copied
    Overrides,
    /// The new file's, whole, with your edits
    Full,
}

impl From<StyleArg> for ProposalStyle {
    fn from(arg: StyleArg) -> Self {
        match arg {
            StyleArg::Overrides => Self::Overrides,
            StyleArg::Full => Self::Full,
        }
    }
}

pub async fn run(ctx: &Ctx, ui: &Ui, args: UpgradeArgs) -> Result<()> {
    let target = match args.out {
        None => Target::Nowhere,
        Some(path) if path.as_os_str() == "-" => Target::Stdout,
        Some(path) => Target::File(path),
    };
    let to_stdout = target == Target::Stdout;
    if to_stdout && ui.options().output == Output::Json {
        let message = "--out - writes the proposal to stdout, where --output json writes the report";
        return Err(CommandError::new(Exit::Usage, message).hint("Give a file with --out, or leave --output json out."));
    }
    let style = args.style.map(ProposalStyle::from);
    let request =
        ProposalRequest { from: args.from, to: args.to, values: args.values, style, target, force: args.force };
    let upgraded = config::upgrade(ctx, request).await?;
    if to_stdout {
        // stdout is the file; the report goes where people look.
        ui.plan(&upgraded);
        return ui.data(upgraded.text.as_bytes());
    }
    ui.report(&upgraded)
}

impl Report for Upgraded {
    fn human(&self, page: &mut Page) {
        page.heading(&format!("{}, from {} to {}", self.values, self.from, self.to));
        let new = match self.style {
            ProposalStyle::Full => "New:",
            ProposalStyle::Overrides => {
                page.line("Your file holds overrides, and stays so (--style full: the whole new file).");
                "New, and not copied:"
            }
        };
        let new_default = match self.style {
            ProposalStyle::Full => "Has a new default, which you get:",
            ProposalStyle::Overrides => "Has a new default, which you get (changed in your file where it has the key):",
        };
        let chapters = [
            (KeyOutcome::Conflict, "Changed by you and by the release; yours stands:"),
            (KeyOutcome::Removed, "Gone from the release, but you had changed it, and it stands:"),
            (KeyOutcome::Dropped, "Gone from the release, and with it the default that you had:"),
            (KeyOutcome::Merged, "Gone from the release, but a merge of yours (<<) brings it, and it stays:"),
            (KeyOutcome::Renamed, "Has another name now, and what you changed is there:"),
            (KeyOutcome::RenamedDefault, "Has another name now, and a new default, which you get:"),
            (KeyOutcome::NewDefault, new_default),
            (KeyOutcome::New, new),
            (KeyOutcome::Added, "New in a list of yours, and added there (Helm takes your list for the whole):"),
            (KeyOutcome::Kept, "Yours, as before:"),
            (KeyOutcome::Own, "Your own, which neither release has:"),
        ];
        for (outcome, title) in chapters {
            let items: Vec<&KeyReport> = self.items.iter().filter(|item| item.outcome == outcome).collect();
            if items.is_empty() {
                continue;
            }
            page.gap();
            page.line(title);
            for item in items {
                page.wrapped("  ", "      ", said(item));
            }
        }
        if self.items.is_empty() {
            page.line("Nothing changes but comments and layout.");
        }
        if !self.deprecated.is_empty() {
            page.gap();
            page.line("Yours, and deprecated:");
            self.deprecated.iter().for_each(|key| page.wrapped("  ", "      ", format!("{}: {}", key.path, key.says)));
        }
        if !self.comments_left.is_empty() {
            page.gap();
            page.line("Comments of yours that found no place:");
            self.comments_left.iter().for_each(|comment| page.wrapped("  ", "      ", comment));
        }
        if let Some(left) = &self.version_left {
            page.gap();
            let release = left.release.as_deref().unwrap_or("the release that you go to");
            let text = format!("{} still names {}: set it to {release}.", VERSION.join("."), left.names);
            page.wrapped("", "  ", &text);
        }
        if let Some(set) = &self.version_set {
            page.gap();
            let release = set.release.as_deref().unwrap_or_default();
            page.line(format!("{}: {} -> {release}, the release that you go to.", VERSION.join("."), set.names));
        }
        page.gap();
        match &self.proposal {
            Some(file) => {
                page.line(format!("Written to {file}."));
                let version = self.version_left.as_ref().map_or("", |_| " --version V");
                let proposal = quoted(file);
                // Written over, it would be compared with itself.
                let compared = match self.over_values {
                    true => proposal.clone(),
                    false => format!("{} {proposal}", quoted(&self.values)),
                };
                let deploy = format!("dr deploy -f {proposal}{version} --dry-run");
                // What came by stdin is gone.
                page.next(&match self.values.as_str() {
                    "-" => deploy,
                    _ => format!("dr config diff {compared}, then {deploy}"),
                });
            }
            None if self.to_stdout => {}
            None => page.line("With --out FILE, the proposal is written."),
        }
    }
}

/// What is said of a key: of long values that differ, the piece in which they do.
fn said(item: &KeyReport) -> String {
    let path = match &item.was {
        Some(was) => format!("{} (was {was})", item.path),
        None => item.path.to_string(),
    };
    let [old, new, yours] = sides_apart([&item.old, &item.new, &item.yours]);
    let yours = if item.yours.is_none() { "left out".into() } else { yours };
    match item.outcome {
        KeyOutcome::Conflict if item.old.is_none() => format!("{path}: {yours}; new default {new}"),
        KeyOutcome::Conflict => format!("{path}: {yours}; default was {old}, is {new}"),
        KeyOutcome::Dropped | KeyOutcome::Merged => format!("{path}: {old}"),
        KeyOutcome::Removed => format!("{path}: {yours}; default was {old}"),
        KeyOutcome::Renamed => format!("{path}: {yours}"),
        KeyOutcome::NewDefault | KeyOutcome::RenamedDefault => format!("{path}: {old} -> {new}"),
        KeyOutcome::New | KeyOutcome::Added => format!("{path}: {new}"),
        KeyOutcome::Kept => format!("{path}: {yours}; default {new}"),
        KeyOutcome::Own => format!("{path}: {yours}"),
    }
}

/// What an item shows of its values: each that stands alone is cut where it is long.
fn sides_apart(sides: [&Option<String>; 3]) -> [String; 3] {
    let there: Vec<String> = sides.into_iter().flatten().map(|text| shown::visible(text)).collect();
    let mut shown = match there.len() {
        0 | 1 => there.iter().map(|text| shown::cut(text, LONGEST)).collect(),
        _ => shown::told(there, LONGEST),
    }
    .into_iter();
    sides.map(|side| side.as_ref().and_then(|_| shown.next()).unwrap_or_default())
}
