//! `dr report`: arguments in, one page for browsers out.

mod bundle;
mod store;

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::own_file::OwnFile;
use super::status;
use super::trust::{StoreArgs, TrustArgs};
use crate::error::{CommandError, Exit, Result};
use crate::ops::{Ctx, bundles, report};
use crate::text::bytes;
use crate::ui::{HTML_BEGIN, Mark, Output, Page, Report, Ui};

const PAGE: OwnFile = OwnFile { what: "report", begins: HTML_BEGIN };

/// Write a page for browsers: this install and the bundles of its store, or one bundle
///
/// One HTML file that needs no script and no network: to look at on any device, to print, to keep, to send. It says what
/// `dr status`, `dr bundle list` and `dr bundle show` say at that moment, and no secret. It ends with exit code 0 whatever
/// the page says: `dr status` has a code for monitoring.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dr report --out /var/www/html/dr.html
  dr report opschain-20260820T101500Z-0a1b2c --out bundle.html
  dr report ./BUNDLE.tar --trusted-signers allowed_signers --out - > page.html")]
pub struct ReportArgs {
    /// A bundle's name or its beginning, or a file; the store when absent
    bundle: Option<String>,
    /// The file (mode 0644), in place of what an earlier call has written there; - is stdout
    #[arg(long, value_name = "FILE|-")]
    out: PathBuf,
    #[command(flatten)]
    place: StoreArgs,
    #[command(flatten)]
    trust: TrustArgs,
}

/// What was written where.
#[derive(Serialize)]
struct WrittenPage {
    /// What the page is about: a store's place, or a bundle's name.
    of: String,
    file: PathBuf,
    bytes: usize,
}

pub async fn run(ctx: &Ctx, ui: &Ui, args: ReportArgs) -> Result<Exit> {
    let ReportArgs { bundle, out, place: StoreArgs { store }, trust } = args;
    let to_stdout = out == Path::new("-");
    if to_stdout && ui.options().output == Output::Json {
        let message = "--out - writes the page to stdout, where --output json writes what was done";
        return Err(CommandError::new(Exit::Usage, message).hint("Give a file with --out, or leave --output json out."));
    }
    if bundle.is_none() && trust.is_given() {
        let message = "whose signatures are believed can be said of one bundle only";
        return Err(CommandError::new(Exit::Usage, message).hint("Name the bundle: `dr report BUNDLE --out FILE`."));
    }
    let ctx = &ctx.without_waits();
    let (of, text) = match bundle {
        Some(bundle) => {
            let shown = bundles::show(ctx, &trust.request(Some(bundle), None).in_store(store))?;
            (shown.name.clone(), bundle::page(ctx, ui, &shown))
        }
        None => {
            let schedules = if store.is_none() { status::schedules(ctx).await? } else { Vec::new() };
            let seen = report::store_overview(ctx, store, schedules)?;
            (store::place(&seen), store::page(ctx, ui, &seen))
        }
    };
    if to_stdout {
        ui.data(text.as_bytes())?;
    } else {
        PAGE.replace(&out, &text)?;
        ui.report(&WrittenPage { of, bytes: text.len(), file: out })?;
    }
    Ok(Exit::Success)
}

impl Report for WrittenPage {
    fn human(&self, page: &mut Page) {
        let text = format!("{}: written to {} ({})", self.of, self.file.display(), bytes(self.bytes as u64));
        page.finding(Mark::Ok, &text, None);
    }
}
