//! The page of a store.

use crate::bundle::report::ListRow;
use crate::ops::Ctx;
use crate::ops::bundles::BundleList;
use crate::ops::doctor::Level;
use crate::ops::report::StoreOverview;
use crate::ops::status::{AllStatus, StatusReport};
use crate::text::plural;
use crate::ui::{HtmlPage, Mark, Styled, Ui, short_time};

use super::super::bundle::list_row;
use super::super::status::{install_row, mark};

/// The store's place.
pub(super) fn place(seen: &StoreOverview) -> String {
    let listed = seen.bundles.as_ref().ok().map(|list| list.found.store.clone());
    listed.or_else(|| Some(seen.status.as_ref()?.store.place.clone())).unwrap_or_default()
}

pub(super) fn page(ctx: &Ctx, ui: &Ui, seen: &StoreOverview) -> String {
    let title = match &seen.status {
        Some(status) => format!("Install {}", status.install),
        None => format!("Store {}", place(seen)),
    };
    let mut page = ui.html(&title);
    if let Some(status) = &seen.status {
        verdict(&mut page, status);
        page.section("Could it be restored now?");
        let findings = status.findings.iter();
        page.findings(findings.map(|f| (f.area, mark(f.level), f.text.as_str(), f.fix.as_deref())));
    }
    if let Some(all) = &seen.installs {
        installs(&mut page, all);
    }
    page.section(&format!("Bundles of store {}", place(seen)));
    match &seen.bundles {
        Ok(list) => bundles(&mut page, list),
        Err(error) => page.lead(Mark::Bad, &format!("not known: {error}")),
    }
    let (at, version) = (short_time(seen.at), env!("CARGO_PKG_VERSION"));
    page.finish(&format!(
        "As it was at {at}, seen by {} with `dr report` of dr {version}. Times are UTC. `dr status` says how it is now.",
        ctx.who
    ))
}

fn verdict(page: &mut HtmlPage, status: &StatusReport) {
    let count = |level| status.findings.iter().filter(|finding| finding.level == level).count() as u64;
    let warnings = match count(Level::Warn) {
        0 => String::new(),
        warnings => format!(", with {}", plural(warnings, "warning")),
    };
    match count(Level::Bad) {
        0 if warnings.is_empty() => page.lead(Mark::Ok, "It could be restored as it should be."),
        0 => page.lead(Mark::Warn, &format!("It could be restored{warnings}.")),
        bad => page.lead(Mark::Bad, &format!("{} must be fixed first{warnings}.", plural(bad, "thing"))),
    }
}

fn installs(page: &mut HtmlPage, all: &AllStatus) {
    page.section("Installs of the store, the worst off first");
    let heads = ["install", "state", "made", "verified", "restored", "bundles"];
    page.table(&heads, all.installs.iter().map(install_row));
}

fn bundles(page: &mut HtmlPage, list: &BundleList) {
    for bundle in &list.missing {
        page.lead(Mark::Bad, &format!("bundle {} of {:.0} {}", bundle.bundle, bundle.created, bundle.why()));
    }
    if list.found.bundles.is_empty() {
        return page.paragraph("There is none.");
    }
    page.paragraph("Newest first, by what their headers say: what is proved, the column of proofs says.");
    let heads = ["bundle", "OpsChain", "size", "last proof", "created", "namespace", "release", "mark"];
    let row = |bundle: &ListRow| -> Vec<Styled> {
        let mut row = list_row(bundle);
        // Beside its namespace, before the mark.
        row.insert(heads.len() - 2, bundle.release.clone().unwrap_or_default().into());
        row
    };
    page.table(&heads, list.found.bundles.iter().map(row));
}
