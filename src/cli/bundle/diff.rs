//! `dr bundle diff`.

use std::path::PathBuf;

use clap::Args;

use crate::cli::changes::change_lines;
use crate::cli::trust::TrustArgs;
use crate::error::{Exit, Result};
use crate::ops::Ctx;
use crate::ops::bundles::{self, BundleDiffReport, BundleSide};
use crate::postgres::backup_diff::{BackupDiff, FileChange, FilesTotal};
use crate::text::{bytes, plural};
use crate::ui::{Column, Mark, Page, Report, Role, Styled, Ui, short_time};
use crate::values::diff::Class;

/// Compare two bundles: values by path, database by files and sizes, versions; exit code 2 when they differ
///
/// Secrets are masked. Nothing of the database is opened but PostgreSQL's lists of its files. When and by which dr the
/// bundles were made, and how far the log had gone, counts as no difference.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dr bundle diff opschain-20260820T101500Z-0a1b2c
  dr bundle diff ./OLD.tar ./NEW.tar --identity KEYFILE --top 30")]
pub(super) struct BundleDiffArgs {
    /// The first: a bundle's name or its beginning, or a file
    #[arg(value_name = "FROM")]
    from: String,
    /// The second; the newest of this install when absent
    #[arg(value_name = "TO")]
    to: Option<String>,
    /// How many of the relations that differ are shown; JSON has all
    #[arg(long, value_name = "N", default_value_t = 10)]
    top: usize,
    /// The age identity file, if not the settings'
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    #[command(flatten)]
    trust: TrustArgs,
}

pub(super) fn run(ctx: &Ctx, ui: &Ui, args: BundleDiffArgs) -> Result<Exit> {
    let BundleDiffArgs { from, to, top, identity, trust } = args;
    let report = bundles::diff(ctx, &trust.request(Some(from), identity), to)?;
    let exit = report.exit();
    ui.report(&Shown { report, top })?;
    Ok(exit)
}

/// The differences, and how many of them people see.
#[derive(serde::Serialize)]
#[serde(transparent)]
struct Shown {
    report: BundleDiffReport,
    #[serde(skip)]
    top: usize,
}

impl Report for Shown {
    fn human(&self, page: &mut Page) {
        let BundleDiffReport { from, to, values, members, same_database, wal_bytes_between, database, .. } =
            &self.report;
        page.heading(&format!("{} -> {}", from.name, to.name));
        page.table(&["what", "from", "to"], &sides(from, to));
        if !same_database {
            page.finding(
                Mark::Warn,
                "these are not bundles of one database: files of one number may be other relations",
                None,
            );
        }
        page.gap();
        match values.diff.class {
            Class::Same => page.line("Values: the same, byte for byte"),
            Class::Layout => page.line("Values: Helm reads the same; comments or layout differ"),
            Class::Ignored => page.line("Values: nothing differs but what .drignore names"),
            Class::Changed => {
                page.heading(&format!("Values: {}", values.diff.summary()));
                change_lines(page, &values.diff);
            }
        }
        for member in members {
            let (sign, role, words) = told(member.what);
            let first = Styled::new(role, sign).then(Role::Plain, " ");
            page.wrapped(first, "    ", format!("{}  {words}", member.name));
        }
        page.gap();
        files(page, database, *wal_bytes_between, self.top);
    }
}

/// What each says of itself, a row each.
fn sides(from: &BundleSide, to: &BundleSide) -> Vec<Vec<Styled>> {
    let absent = |version: &Option<String>| version.clone().unwrap_or_else(|| "-".into());
    let facts = |side: &BundleSide| {
        let versions = &side.versions;
        [
            ("created", short_time(side.created)),
            ("size", bytes(side.bytes)),
            ("quiesced", side.quiesce.clone()),
            ("OpsChain", versions.opschain.clone()),
            ("chart", versions.chart.clone()),
            ("PostgreSQL", versions.postgresql.clone()),
            ("operator", absent(&versions.operator)),
            ("Kubernetes", absent(&versions.kubernetes)),
            ("helm", absent(&versions.helm)),
            ("dr", versions.dr.clone()),
            ("system identifier", side.system_identifier.clone()),
            ("timeline", side.timeline.to_string()),
            ("WAL from", side.start_lsn.to_string()),
            ("WAL to", side.last_lsn.to_string()),
        ]
    };
    let row = |((what, old), (_, new)): ((&str, String), (&str, String))| {
        let role = if old == new { Role::Plain } else { Role::Caution };
        vec![what.into(), old.into(), Styled::new(role, new)]
    };
    facts(from).into_iter().zip(facts(to)).map(row).collect()
}

fn files(page: &mut Page, diff: &BackupDiff, wal: Option<u64>, top: usize) {
    let total = |total: FilesTotal| format!("{}, {}", plural(total.files, "file"), bytes(total.bytes));
    page.heading(&format!("Database: {} -> {} ({})", total(diff.old), total(diff.new), growth(diff.old, diff.new)));
    if let Some(wal) = wal {
        page.line(format!("{} of WAL between them", bytes(wal)));
    }
    if diff.is_same() {
        return page.line("Every file is the same, but for those that say where a backup begins.");
    }
    let changes =
        [("added", diff.added), ("removed", diff.removed), ("changed", diff.changed), ("the same", diff.same)];
    let changes = changes.map(|(word, files)| format!("{} {word} ({})", files.files, bytes(files.bytes)));
    page.wrapped("", "", format!("Files: {}", changes.join(", ")));
    page.gap();
    let folders =
        diff.folders.iter().map(|folder| row(&folder.path, folder.differing_files.to_string(), folder.old, folder.new));
    let heads = |first: &'static str, second: &'static str| {
        [first.into(), Column::whole(second), Column::spare("from"), "to".into(), Column::whole("growth")]
    };
    page.table(&heads("folder", "files differ"), &folders.collect::<Vec<_>>());
    if top == 0 {
        return;
    }
    page.gap();
    let relations = diff
        .relations
        .iter()
        .take(top)
        .map(|found| row(&found.path, told(found.what).2.to_owned(), found.old, found.new));
    page.table(&heads("relation", "is"), &relations.collect::<Vec<_>>());
    if let Some(more @ 1..) = diff.relations.len().checked_sub(top) {
        page.line(Styled::new(Role::Faint, format!("{more} more (--top {}, --output json)", diff.relations.len())));
    }
}

fn row(path: &str, word: String, old: FilesTotal, new: FilesTotal) -> Vec<String> {
    vec![path.to_owned(), word, bytes(old.bytes), bytes(new.bytes), growth(old, new)]
}

fn growth(old: FilesTotal, new: FilesTotal) -> String {
    let size = bytes(old.bytes.abs_diff(new.bytes));
    match old.bytes.cmp(&new.bytes) {
        std::cmp::Ordering::Less => format!("+{size}"),
        std::cmp::Ordering::Equal => "same size".into(),
        std::cmp::Ordering::Greater => format!("-{size}"),
    }
}

fn told(what: FileChange) -> (&'static str, Role, &'static str) {
    match what {
        FileChange::Added => ("+", Role::Good, "added"),
        FileChange::Removed => ("-", Role::Bad, "removed"),
        FileChange::Changed => ("~", Role::Caution, "changed"),
    }
}
