//! The page of one bundle.

use crate::bundle::report::{MemberReport, ShowReport};
use crate::clock;
use crate::ops::Ctx;
use crate::text::bytes;
use crate::ui::{Mark, Styled, Ui, short_time};

use super::super::bundle::{is_to_verify, show_fields};

pub(super) fn page(ctx: &Ctx, ui: &Ui, shown: &ShowReport) -> String {
    let mut page = ui.html(&format!("Bundle {}", shown.name));
    if let Some(gone) = &shown.gone {
        page.lead(Mark::Warn, &format!("marked as gone: {gone}"));
        page.next(&format!("dr bundle unprune {}", shown.name));
    }
    if let Some(pin) = &shown.pinned {
        page.lead(Mark::Ok, &format!("pinned: {pin}"));
    }
    page.section("What it is");
    page.fields(show_fields(shown));
    if is_to_verify(shown) {
        page.next(&shown.verify);
    }
    page.section("Format and counts");
    page.fields([("format", shown.format.clone()), ("SHA-256 of values.yaml", shown.values_sha256.clone())]);
    page.table(&["what", "how many"], shown.counts.iter().map(|(what, count)| cells([what, &count.to_string()])));
    page.section("What is in it, beside the database");
    let member = |member: &MemberReport| cells([&member.name, &bytes(member.bytes), &member.sha256]);
    page.table(&["member", "size as stored", "SHA-256 as stored"], shown.members.iter().map(member));
    page.section("What is not in it");
    let left_out = shown.scope.iter().map(|item| cells([&item.what, &item.why, &item.whereabouts]));
    page.table(&["what", "why", "where it is"], left_out);
    let (at, version) = (short_time(clock::now()), env!("CARGO_PKG_VERSION"));
    page.finish(&format!(
        "As it was at {at}, seen by {} with `dr report` of dr {version}: what header and signed manifest say. Times are UTC.",
        ctx.who
    ))
}

fn cells<const N: usize>(texts: [&str; N]) -> Vec<Styled> {
    texts.into_iter().map(Styled::from).collect()
}
