//! Differences for a merge request: a table, and what differs within texts folded under it.

use std::fmt::Write as _;

use crate::cli::changes::{both, heading};
use crate::cli::shown::{both_values, line_to_its_end, visible};
use crate::ops::config::Compared;
use crate::values::diff::{Change, Class, Inside, Renamed, Sign, What};

pub(super) fn page(compared: &Compared) -> String {
    let Compared { from, to, diff, .. } = compared;
    let mut text = format!("### Values: {} → {}\n\n", code(from), code(to));
    let layout = diff.layout.map(|layout| layout.words());
    match (diff.class, &layout) {
        (Class::Changed, _) => {
            let _ = writeln!(text, "{}\n", diff.summary());
        }
        (Class::Same, _) => text.push_str("The same, byte for byte.\n"),
        (Class::Ignored, _) => text.push_str("Nothing differs but what was left out.\n"),
        (Class::Layout, Some(words)) => {
            let _ = writeln!(text, "Helm reads the same; only comments or layout differ: {words}.");
        }
        (Class::Layout, None) => text.push_str("Helm reads the same; only comments or layout differ.\n"),
    }
    if !diff.changes.is_empty() {
        text.push_str("| | Path | Before | After |\n|---|---|---|---|\n");
        rows(&mut text, &diff.changes, &diff.renamed, "");
        details(&mut text, &diff.changes);
    }
    if let (Class::Changed, Some(words)) = (diff.class, &layout) {
        let _ = write!(text, "\nAlso: {words}.\n");
    }
    if !diff.passed.ignored.is_empty() {
        text.push_str("\n<details><summary>Ignored</summary>\n\n");
        for ignored in &diff.passed.ignored {
            let why = ignored.reason.as_ref().map(|reason| format!(": {}", plain(reason))).unwrap_or_default();
            let _ = writeln!(text, "- {}{why}", code(&ignored.path.to_string()));
        }
        text.push_str("\n</details>\n");
    }
    if diff.passed.filtered > 0 {
        let _ = write!(text, "\nLeft out by a filter: {}.\n", diff.passed.filtered);
    }
    text
}

fn rows(text: &mut String, changes: &[Change], renamed: &[Renamed], outer: &str) {
    for change in changes.iter().filter(|change| !change.is_renamed()) {
        let word = match change.what {
            What::Added => "**added**",
            What::Removed => "**removed**",
            What::Changed => "changed",
            What::Retyped => "**type changed**",
            What::Reordered => "reordered",
        };
        let [old, new] = both_values(change);
        let side = |shown: &Option<crate::values::diff::ShownValue>, value: &str| match shown {
            None => String::new(),
            Some(shown) if change.what == What::Reordered => format!("({})", shown.kind),
            Some(shown) if change.what == What::Retyped => format!("{} ({})", cell(value), shown.kind),
            Some(_) => cell(value),
        };
        let path = format!("{outer}{}", change.path);
        match &change.inside {
            Some(Inside::Document { changes, renamed, .. }) => rows(text, changes, renamed, &format!("{path} » ")),
            Some(inside) if change.what == What::Changed => {
                let _ = writeln!(text, "| {word} | {} | {} | see below |", cell(&path), heading(inside, "", ""));
            }
            Some(Inside::Certificates { .. }) => {
                let _ = writeln!(text, "| {word} | {} | a certificate | see below |", cell(&path));
            }
            _ => {
                let _ = writeln!(
                    text,
                    "| {word} | {} | {} | {} |",
                    cell(&path),
                    side(&change.old, &old),
                    side(&change.new, &new)
                );
            }
        }
    }
    for renamed in renamed {
        let place = |path: &crate::values::Path| cell(&format!("{outer}{path}"));
        let _ = writeln!(text, "| renamed | {} | from {} | |", place(&renamed.to), place(&renamed.from));
    }
}

fn details(text: &mut String, changes: &[Change]) {
    for change in changes.iter().filter(|change| !change.is_renamed()) {
        let mut body = String::new();
        match &change.inside {
            Some(Inside::Lines { hunks }) => {
                for hunk in hunks {
                    let _ = writeln!(body, "{}", hunk.head());
                    for line in &hunk.lines {
                        let text = match line.sign {
                            Sign::Same => visible(&line.text),
                            Sign::Added | Sign::Removed => line_to_its_end(&line.text),
                        };
                        let _ = writeln!(body, "{}{text}", line.sign.char());
                    }
                }
            }
            Some(Inside::Certificates { fields }) => {
                for field in fields {
                    let of = if field.of.is_empty() { String::new() } else { format!("{}, ", field.of) };
                    let _ = writeln!(body, "{of}{}: {}", field.name, both(field));
                }
            }
            Some(Inside::Document { changes, .. }) => details(text, changes),
            None => {}
        }
        if !body.is_empty() {
            let fence = "`".repeat(longest_run(&body).max(2) + 1);
            let kind = if matches!(change.inside, Some(Inside::Lines { .. })) { "diff" } else { "" };
            let name = plain(&change.path.to_string());
            let _ = write!(
                text,
                "\n<details><summary><code>{name}</code></summary>\n\n{fence}{kind}\n{body}{fence}\n\n</details>\n"
            );
        }
    }
}

/// The most backticks that stand in a row.
fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

/// Text as it is, whatever marks it has in it.
fn code(text: &str) -> String {
    let fence = "`".repeat(longest_run(text) + 1);
    let room = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{fence}{room}{text}{room}{fence}")
}

/// As [`code`], in a table, where a bar would end the cell.
fn cell(text: &str) -> String {
    if text.is_empty() { String::new() } else { code(&text.replace('|', "\\|").replace(['\n', '\r'], " ")) }
}

/// Text between HTML tags, or in a sentence.
fn plain(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::diff::{Options, diff_with};
    use crate::values::{Scrubber, Tree};

    #[test]
    fn marks_in_values_do_not_break_the_table_and_no_secret_is_in_it() {
        let tree = |text: &str| Tree::parse(text.as_bytes()).unwrap();
        let old = tree("a: x\nPGPASSWORD: hunter22\nt: |\n  one\n  ```\n");
        let new = tree("a: 'b | `c`'\nPGPASSWORD: hunter33\nt: |\n  two\n  ```\n\"<k>\": 1\n");
        let diff = diff_with(&old, &new, &Scrubber::new(None), &Options::default());
        let compared = Compared { from: "a".into(), to: "b".into(), diff, text: None, lasting_fingerprints: true };
        let text = page(&compared);
        assert!(!text.contains("hunter"), "{text}");
        assert!(text.contains("| changed | `a` | `\"x\"` | ``\"b \\| `c`\"`` |"), "{text}");
        assert!(text.contains("````diff\n@@"), "{text}");
        assert!(text.contains("| **added** | `\"<k>\"` |  | `1` |"), "{text}");
        assert!(
            text.lines()
                .filter(|line| line.starts_with('|'))
                .all(|line| { line.replace("\\|", "").matches('|').count() == 5 }),
            "{text}"
        );
    }
}
