//! `dr config check`.

use std::path::PathBuf;

use clap::Args;

use crate::error::{Exit, Result};
use crate::ops::Ctx;
use crate::ops::config::check::{CheckRequest, check};
use crate::text::plural;
use crate::ui::{Mark, Page, Report, Ui};
use crate::vault::exposure::Checked;

/// Find secrets in the clear, in the vault or in any repository: for commit hooks and pipelines
///
/// Private keys, age identities, values files, `.age` files that are not sealed, files that a vault does not have; and,
/// where this host can open them, the secrets of the live values in every form. Exit code 5 when something is found.
/// What sops or SealedSecrets have sealed, references (`ref+vault://`, `op://`, `vault:PATH#KEY`), templates and variables
/// are no secrets in the clear. What is meant is listed in `.drcheck` in the repository's root, tracked by git:
/// `[[accept]]` with `path` (`*`: any characters), `reason` and, if it ends, `expires = 2026-12-31`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  dr config check\n  dr config check ~/gitops\n  dr config check --install-hook ~/gitops"
)]
pub struct CheckArgs {
    /// Files, folders or repositories (their tracked files); the vault when none is given
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Only what is staged and differs from the newest commit
    #[arg(long)]
    staged: bool,
    /// Write a pre-commit hook that does it, into the repository of PATH or the vault; never over another one
    #[arg(long, conflicts_with = "staged")]
    install_hook: bool,
}

pub(super) fn run(ctx: &Ctx, ui: &Ui, args: CheckArgs) -> Result<Exit> {
    let request = CheckRequest {
        paths: args.paths,
        staged: args.staged,
        // Git commits from another index than the usual one when only some files are named.
        index: std::env::var_os("GIT_INDEX_FILE").filter(|file| !file.is_empty()).map(PathBuf::from),
        install_hook: args.install_hook,
        program: std::env::current_exe().unwrap_or_else(|_| "dr".into()),
    };
    let checked = check(ctx, &request)?;
    ui.report(&checked)?;
    Ok(checked.exit())
}

impl Report for Checked {
    fn human(&self, page: &mut Page) {
        if let Some(hook) = &self.hook {
            return page.line(format!("Wrote {}: each commit there is checked first.", hook.display()));
        }
        for found in &self.exposures {
            let line = found.line.map(|line| format!(":{line}")).unwrap_or_default();
            page.finding(Mark::Bad, &format!("{}{line} {}", found.file, found.says), None);
        }
        if !self.accepted.is_empty() {
            let count = plural(self.accepted.len() as u64, "finding");
            page.line(format!("{count} accepted by .drcheck; `-o json` lists them with their reasons."));
        }
        let files = plural(self.files as u64, "file");
        let files = match self.read_as_values {
            read if read == self.files => files,
            read => format!("{files}, {read} of them read as values or settings"),
        };
        let with = if self.live_secrets { "" } else { " (not searched for the live values' secrets: no identity)" };
        for path in &self.nothing_tracked {
            let text = format!("{}: git tracks nothing there, so nothing was looked at", path.display());
            page.finding(Mark::Warn, &text, Some("git add, then the same again; or name the files themselves"));
        }
        match self.exposures.len() {
            0 if self.files == 0 && !self.nothing_tracked.is_empty() => {}
            0 => page.finding(Mark::Ok, &format!("{files}: nothing in the clear that should not be{with}"), None),
            count => {
                page.line(format!("{files}: {}{with}.", plural(count as u64, "finding")));
                page.next("git rm --cached FILE takes one out of git; dr config record FILE keeps values sealed; .drcheck lists what is meant");
            }
        }
    }
}
