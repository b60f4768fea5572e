//! `dr config parity`, for people.

use std::path::PathBuf;

use clap::Args;

use super::deployment::IdentityArgs;
use crate::error::{CommandError, Exit, Result};
use crate::ops::Ctx;
use crate::ops::config::parity::{self, Exported, Parity, Verdict};
use crate::ui::{Mark, Page, Report, Styled, Ui};

/// Prove that two sites have the same keys, without moving one; exit code 2 when they have not
///
/// For a highly available OpsChain on several clusters: encryption keys, passwords and the unseal key must be the same
/// everywhere, the database clusters' names must differ. No value is shown. Where the other site's vault is on another
/// host, make a parity file there (--export) for a public key of this host (--to), and compare with that file here.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dr config parity live site-b.opschain
  dr config parity live site-b.opschain:2026-08-20
  dr config parity live --export site-a.json --to age1...
  dr config parity site-a.json live

A and B are: a deployment (as for `dr config diff`), one of another install in
the vault (NAMESPACE.RELEASE or NAMESPACE.RELEASE:DEPLOYMENT), a values file, or
a parity file.")]
pub struct ParityArgs {
    /// The first
    #[arg(value_name = "A", required_unless_present = "export")]
    a: Option<String>,
    /// The second
    #[arg(value_name = "B", required_unless_present = "export", conflicts_with = "export")]
    b: Option<String>,
    /// Write a parity file of A (`live` if not given) for another host, instead of comparing; never over a file
    #[arg(long, value_name = "FILE")]
    export: Option<PathBuf>,
    /// Who may compare with it, as an age public key (can be repeated); the vault's recipients if not given
    #[arg(long, value_name = "RECIPIENT", requires = "export")]
    to: Vec<String>,
    #[command(flatten)]
    pub(super) keys: IdentityArgs,
}

pub fn run(ctx: &Ctx, ui: &Ui, args: ParityArgs) -> Result<Exit> {
    if let Some(path) = &args.export {
        let what = args.a.as_deref().unwrap_or("live");
        ui.report(&parity::export(ctx, what, &args.to, path)?)?;
        return Ok(Exit::Success);
    }
    let (Some(a), Some(b)) = (&args.a, &args.b) else {
        return Err(CommandError::new(Exit::Usage, "two sites are compared: give A and B"));
    };
    let report = parity::parity(ctx, a, b)?;
    ui.report(&report)?;
    Ok(report.exit())
}

impl Report for Parity {
    fn human(&self, page: &mut Page) {
        page.fields(&[("A", self.a.clone()), ("B", self.b.clone())]);
        page.gap();
        let rows: Vec<Vec<Styled>> = self
            .keys
            .iter()
            .map(|line| {
                let mark = if line.ok { Mark::Ok } else { Mark::Bad };
                let is = match (line.is, line.must) {
                    (Verdict::Equal, "differ") => "equal, and must differ",
                    (Verdict::Equal, _) => "equal",
                    (Verdict::Differs, "differ") => "differs, as it must",
                    (Verdict::Differs, _) => "differs",
                    (Verdict::MissingInA, _) => "missing in A",
                    (Verdict::MissingInB, _) => "missing in B",
                    (Verdict::MissingInBoth, _) => "set in neither",
                };
                vec![Styled::from(line.key.to_string()), mark.into(), is.into()]
            })
            .collect();
        page.table(&["key", "state", "is"], &rows);
        page.gap();
        if self.ok {
            return page.line("Both sites have the keys that they must have in common.");
        }
        for line in self.keys.iter().filter(|line| !line.ok) {
            page.finding(Mark::Bad, &format!("{}: {}", line.key, line.why), None);
        }
    }
}

impl Report for Exported {
    fn human(&self, page: &mut Page) {
        page.line(format!("{} has the fingerprints of {} keys of {}.", self.path.display(), self.keys, self.of));
        page.wrapped("", "", format!("Only {} can compare with it.", self.recipients.join(", ")));
        page.next(&format!("on the other host: dr config parity {} live", self.path.display()));
    }
}
