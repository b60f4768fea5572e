//! A comparison for people: what differs, and what was left out of it.

use crate::cli::changes::{ADDED, CHANGED, REMOVED, change_lines, sign};
use crate::ops::config::Compared;
use crate::text::plural;
use crate::ui::{Page, Role, Styled};
use crate::values::diff::Class;

const ASIDE: Role = Role::Faint;
pub(super) fn page(page: &mut Page, compared: &Compared) {
    let Compared { from, to, diff, .. } = compared;
    match diff.class {
        Class::Same => page.line(format!("{from} and {to} are the same, byte for byte.")),
        Class::Layout => {
            let words = diff.layout.map(|layout| layout.words()).unwrap_or_else(|| "the end of the last line".into());
            page.line(format!(
                "Helm reads the same from {from} and {to}: only comments or layout differ (--raw shows them)."
            ));
            page.wrapped("", "  ", format!("What differs: {words}."));
        }
        Class::Ignored => page.line(format!("{from} and {to} differ in nothing but what was left out.")),
        Class::Changed => {
            page.heading(&format!("{from} -> {to}: {}", diff.summary()));
            change_lines(page, diff);
            if let Some(layout) = diff.layout {
                page.wrapped("", "  ", Styled::new(ASIDE, format!("Also: {}.", layout.words())));
            }
        }
    }
    aside(page, compared);
}

/// What was left out, and what the masks mean.
fn aside(page: &mut Page, compared: &Compared) {
    let passed = &compared.diff.passed;
    let more = if page.is_verbose() { ":" } else { " (-v shows them)" };
    if !passed.ignored.is_empty() {
        page.line(Styled::new(ASIDE, format!("{} ignored{more}", plural(passed.ignored.len() as u64, "difference"))));
    }
    if page.is_verbose() {
        for ignored in &passed.ignored {
            let why = ignored.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            page.wrapped("  ", "    ", format!("{}  by {}{why}", ignored.path, ignored.by));
        }
    }
    if passed.filtered > 0 {
        let text = format!("{} left out by --filter or --only", plural(passed.filtered as u64, "change"));
        page.line(Styled::new(ASIDE, text));
    }
    if page.is_verbose() && compared.diff.changes.iter().any(|change| change.secret) {
        let text = if compared.lasting_fingerprints {
            "The eight digits after a mask are a fingerprint under the vault's key: equal secrets have equal ones, in every diff."
        } else {
            "The eight digits after a mask are a fingerprint of this run: equal secrets have equal ones here, and others next time. The vault's key gives lasting ones."
        };
        page.wrapped("", "", Styled::new(ASIDE, text));
    }
}

/// One line: how many, and where.
pub(super) fn brief(page: &mut Page, compared: &Compared) {
    let Compared { from, to, diff, .. } = compared;
    let mut line = format!("{from} -> {to}: {}", diff.summary());
    /// As many as a line has room for.
    const MOST: usize = 8;
    let places = diff.changes.iter().filter(|change| !change.is_renamed());
    let mut signs: Vec<String> = places.map(|change| format!("{}{}", sign(change.what).0, change.path)).collect();
    signs.extend(diff.renamed.iter().map(|renamed| format!("~{}", renamed.to)));
    if signs.len() > MOST {
        let more = signs.len() - MOST;
        signs.truncate(MOST);
        signs.push(format!("+{more}"));
    }
    if !signs.is_empty() {
        line = format!("{line}: {}", signs.join(", "));
    }
    page.line(line);
}

/// The unified text diff.
pub(super) fn raw(page: &mut Page, compared: &Compared) {
    for line in compared.text.as_deref().unwrap_or_default().lines() {
        match line.chars().next() {
            Some('+') => page.line(Styled::new(ADDED, line)),
            Some('-') => page.line(Styled::new(REMOVED, line)),
            Some('@') => page.line(Styled::new(CHANGED, line)),
            _ => page.line(line),
        }
    }
}
