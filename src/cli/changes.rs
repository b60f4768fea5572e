//! Differences of values for people: one line each, what differs within a text under it.

use super::shown::{both_values, line_to_its_end, value, visible};
use crate::text::plural;
use crate::ui::{Page, Role, Styled};
use crate::values::diff::{CertificateField, Change, Diff, Hunk, Inside, Renamed, ShownValue, Sign, TextLine, What};

pub(super) const ADDED: Role = Role::Good;
pub(super) const REMOVED: Role = Role::Bad;
pub(super) const CHANGED: Role = Role::Caution;
/// Where a text has more lines to show, only those that differ are.
const WITH_CONTEXT: usize = 60;
/// Of the lines of one text, no more are shown.
const MOST_LINES: usize = 400;

/// Each difference on a line of its own: a sign, the path, what was and what is; under it, what differs within a text.
pub(super) fn change_lines(page: &mut Page, diff: &Diff) {
    lines(page, &diff.changes, &diff.renamed, "");
}

fn lines(page: &mut Page, changes: &[Change], renamed: &[Renamed], outer: &str) {
    let mut moves = renamed.iter().peekable();
    for change in changes {
        if change.is_renamed() {
            // Told once, where the first of the new values stands.
            if let Some(found) = moves.next_if(|renamed| change.path.starts_with(&renamed.to)) {
                moved(page, found, change, outer);
            }
            continue;
        }
        let (sign, role) = sign(change.what);
        let first = Styled::from(indent(outer)).then(role, sign).then(Role::Plain, " ");
        page.wrapped(first, &format!("{}    ", indent(outer)), format!("{outer}{}  {}", change.path, said(change)));
        match &change.inside {
            Some(Inside::Lines { hunks }) => hunk_lines(page, hunks),
            Some(Inside::Certificates { fields }) => field_lines(page, fields),
            Some(Inside::Document { changes, renamed, .. }) => {
                lines(page, changes, renamed, &format!("{outer}{} » ", change.path));
            }
            None => {}
        }
    }
}

/// What stands in a text is set in.
fn indent(outer: &str) -> &'static str {
    if outer.is_empty() { "" } else { "    " }
}

fn moved(page: &mut Page, found: &Renamed, change: &Change, outer: &str) {
    let what = match found.values {
        1 if change.path == found.to => change.new.as_ref().map(value).unwrap_or_default(),
        values => plural(values as u64, "value"),
    };
    let first = Styled::from(indent(outer)).then(CHANGED, "~").then(Role::Plain, " ");
    let text = format!("{outer}{}  renamed from {}  {what}", found.to, found.from);
    page.wrapped(first, &format!("{}    ", indent(outer)), &text);
}

pub(super) fn sign(what: What) -> (&'static str, Role) {
    match what {
        What::Added => ("+", ADDED),
        What::Removed => ("-", REMOVED),
        What::Changed | What::Retyped | What::Reordered => ("~", CHANGED),
    }
}

fn said(change: &Change) -> String {
    let [old, new] = both_values(change);
    match (&change.inside, change.what) {
        (Some(inside), What::Changed) => heading(inside, &old, &new),
        (Some(Inside::Certificates { .. }), What::Added | What::Removed) => "a certificate:".into(),
        (_, What::Added) => new,
        (_, What::Removed) => old,
        (_, What::Changed) => format!("{old} -> {new}"),
        (_, What::Retyped) => {
            let kind = |shown: &Option<ShownValue>| shown.as_ref().map_or("", |shown| shown.kind);
            format!("{old} ({}) -> {new} ({})", kind(&change.old), kind(&change.new))
        }
        (_, What::Reordered) => "same items in another order".into(),
    }
}

/// What stands before the lines, fields or values that differ.
pub(super) fn heading(inside: &Inside, old: &str, new: &str) -> String {
    match inside {
        Inside::Lines { hunks } => {
            let count = |sign| hunks.iter().flat_map(|hunk| &hunk.lines).filter(|line| line.sign == sign).count();
            format!("text: {} removed, {} added", plural(count(Sign::Removed) as u64, "line"), count(Sign::Added))
        }
        Inside::Certificates { .. } => "a certificate:".into(),
        Inside::Document { format, .. } if old.starts_with('•') => format!("{format}, {old} -> {new}:"),
        Inside::Document { format, .. } => format!("{format}:"),
    }
}

fn hunk_lines(page: &mut Page, hunks: &[Hunk]) {
    let has_room = hunks.iter().map(|hunk| hunk.lines.len()).sum::<usize>() <= WITH_CONTEXT;
    let shown = |line: &&TextLine| has_room || line.sign != Sign::Same;
    let all = hunks.iter().flat_map(|hunk| &hunk.lines).filter(shown).count();
    let mut left = MOST_LINES;
    for hunk in hunks {
        if left == 0 {
            break;
        }
        page.line(Styled::from("    ").then(CHANGED, hunk.head()));
        for line in hunk.lines.iter().filter(shown).take(left) {
            let (role, text) = match line.sign {
                Sign::Same => (Role::Plain, visible(&line.text)),
                Sign::Added => (ADDED, line_to_its_end(&line.text)),
                Sign::Removed => (REMOVED, line_to_its_end(&line.text)),
            };
            page.line(Styled::from("    ").then(role, format!("{}{text}", line.sign.char())));
        }
        left = left.saturating_sub(hunk.lines.iter().filter(shown).count());
    }
    if all > MOST_LINES {
        page.line(Styled::from("    ").then(Role::Faint, format!("{} lines more (--raw has them)", all - MOST_LINES)));
    }
}

fn field_lines(page: &mut Page, fields: &[CertificateField]) {
    let several = fields.iter().any(|field| field.of != fields[0].of && !field.of.is_empty());
    let mut of = "";
    for field in fields {
        if several && field.of != of && !field.of.is_empty() {
            of = &field.of;
            page.wrapped("    ", "      ", of);
        }
        page.wrapped(if several { "      " } else { "    " }, "        ", format!("{}: {}", field.name, both(field)));
    }
}

/// Both sides of a field.
pub(super) fn both(field: &CertificateField) -> String {
    match (&field.old, &field.new) {
        (Some(old), Some(new)) => format!("{old} -> {new}"),
        (None, Some(one)) | (Some(one), None) => one.clone(),
        (None, None) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::diff::diff;
    use crate::values::{FingerprintKey, Scrubber, Tree};

    fn written(old: &str, new: &str, width: usize) -> String {
        let tree = |text: &str| Tree::parse(text.as_bytes()).unwrap();
        let scrubber = Scrubber::new(FingerprintKey::from_bytes(&[3; 32]));
        let mut page = Page::new(Some(width));
        change_lines(&mut page, &diff(&tree(old), &tree(new), &scrubber));
        page.plain()
    }

    #[test]
    fn differences_read_well_narrow_and_show_no_secret() {
        let text = written(
            "env: {PGPASSWORD: hunter22, OPSCHAIN_VERSION: \"2026-08-20\"}\napi: {replicas: 1}\n",
            "env: {PGPASSWORD: hunter33, OPSCHAIN_VERSION: \"2026-09-14\", TZ: UTC}\napi: {replicas: \"1\"}\n",
            40,
        );
        assert!(!text.contains("hunter"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 60), "{text}");
        assert!(text.contains("~ env.OPSCHAIN_VERSION  \"2026-08-20\" ->\n    \"2026-09-14\""), "{text}");
        assert!(text.contains("+ env.TZ  \"UTC\""), "{text}");
        assert!(text.contains("1 (number) -> \"1\"\n    (string)"), "{text}");
    }

    #[test]
    fn control_characters_in_texts_control_nothing() {
        let text = written("t: \"a\\nb\"\nu: x\n", "t: \"a\\n\\e[2Jb\"\nu: \"\\e[2J\"\n", 80);
        assert!(!text.contains('\u{1b}') && text.contains("+\\u{1b}[2Jb") && text.contains("\\u001b[2J"), "{text}");
    }

    #[test]
    fn a_renaming_is_one_line_and_texts_are_shown_by_line_and_by_path() {
        let text = written(
            "old: {a: some value, b: 2}\nscript: |\n  one\n  two\n  three\njson: '{\"a\": [1, 2], \"b\": 1}'\n",
            "new: {a: some value, b: 2}\nscript: |\n  one\n  2\n  three\njson: '{\"a\": [1, 3], \"b\": 1}'\n",
            80,
        );
        let expected = "\
~ new  renamed from old  2 values
~ script  text: 1 line removed, 1 added
    @@ -1,4 +1,4 @@
     one
    -two
    +2
     three
     
~ json  json:
    ~ json » a[1]  2 -> 3
";
        assert_eq!(text, expected);
    }
}
