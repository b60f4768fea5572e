//! `dr bundle extract`.

use std::path::{Path, PathBuf};

use clap::Args;

use super::pages::signature_finding;
use crate::bundle::{HeldAgainst, ListedItem};
use crate::cli::trust::{StoreArgs, TrustArgs};
use crate::error::Result;
use crate::ops::Ctx;
use crate::ops::bundles::{self, ExtractReport, ItemList};
use crate::text::bytes;
use crate::ui::{Mark, Page, Report, Ui};

/// Take one thing out of a bundle: the values, the chart, a file of the database, a whole tar
///
/// A new file of mode 0600, under its name only once all of it is there and checked.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dr bundle extract values --out values.yaml
  dr bundle extract opschain-20260820T101500Z-0a1b2c chart --out opschain.tgz
  dr bundle extract ./BUNDLE.tar base/16384/2619 --out 2619 --identity KEYFILE
  dr bundle extract ./BUNDLE.tar base.tar --out - | tar -tf -
  dr bundle extract ./BUNDLE.tar --list

What can be taken out:
  values, chart       the values.yaml, byte for byte; the packaged chart
  release, secrets    what ran; the Secrets and ConfigMaps
  ldap-data.ldif      users and groups of the bundled LDAP server
  config/NAME         another member, opened
  NAME.age            a sealed member as it is stored
  base.tar            the data directory; pg_wal.tar is the write-ahead log
  volume-git.tar      another volume, of a bundle that holds it
  base/16384/2619     a file of the database, by its path there: pg_wal/NAME is
                      one of the log")]
pub(super) struct BundleExtractArgs {
    /// A bundle's name or its beginning, or a file; the newest when only WHAT is given
    #[arg(value_name = "BUNDLE", required_unless_present = "list")]
    first: Option<String>,
    /// What to take out; with --list the beginning of paths in the data directory
    #[arg(value_name = "WHAT")]
    second: Option<String>,
    /// The new file, or the folder for it; - is stdout
    #[arg(long, value_name = "FILE|FOLDER|-", required_unless_present = "list")]
    out: Option<PathBuf>,
    /// Only list what can be taken out
    #[arg(long, conflicts_with = "out")]
    list: bool,
    /// The age identity file, if not the settings'
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    #[command(flatten)]
    place: StoreArgs,
    #[command(flatten)]
    trust: TrustArgs,
}

pub(super) fn run(ctx: &Ctx, ui: &Ui, args: BundleExtractArgs) -> Result<()> {
    let BundleExtractArgs { first, second, out, list, identity, place: StoreArgs { store }, trust } = args;
    let Some(out) = out.filter(|_| !list) else {
        return ui.report(&bundles::items(ctx, &trust.request(first, identity).in_store(store), second.as_deref())?);
    };
    let (bundle, what) = match second {
        Some(what) => (first, what),
        None => (None, first.unwrap_or_default()),
    };
    let request = trust.request(bundle, identity).in_store(store);
    if out == Path::new("-") {
        let mut stream = ui.stream()?;
        return bundles::item(ctx, &request, &what)?.write_to(&mut stream);
    }
    ui.report(&bundles::item(ctx, &request, &what)?.write_file(&out)?)
}

impl Report for ExtractReport {
    fn human(&self, page: &mut Page) {
        let checked = match self.held_against {
            HeldAgainst::Manifest => "as signed",
            HeldAgainst::BackupManifest => "as PostgreSQL's own manifest lists it",
        };
        let Self { bundle, item, file, .. } = self;
        page.finding(Mark::Ok, &format!("{item} of {bundle}: {file} ({}), {checked}", bytes(self.bytes)), None);
        if self.signature.signer().is_none() {
            signature_finding(page, &self.signature);
        }
    }
}

impl Report for ItemList {
    fn human(&self, page: &mut Page) {
        if self.below.is_some() {
            let rows: Vec<Vec<String>> =
                self.items.iter().map(|item| vec![item.name.clone(), bytes(item.bytes)]).collect();
            return page.table(&["file", "size"], &rows);
        }
        let row = |item: &ListedItem| {
            let opened = if item.sealed { "with an identity" } else { "by anybody" };
            vec![item.name.clone(), item.content.to_owned(), bytes(item.bytes), opened.to_owned()]
        };
        page.table(&["what", "content", "size", "read"], &self.items.iter().map(row).collect::<Vec<_>>());
        page.next(&format!("dr bundle extract {} values --out values.yaml", self.arguments));
        page.next(&format!("to list files of the database: dr bundle extract {} base/ --list", self.arguments));
    }
}
