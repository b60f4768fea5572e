//! `dr config diff`, for people.

use anstyle::{AnsiColor, Style};

use crate::ops::config::Compared;
use crate::ui::{Page, Report};
use crate::values::diff::{self, Change, Class, Diff, What};

impl Report for Compared {
    fn human(&self, page: &mut Page) {
        if let Some(text) = &self.text {
            text.lines().for_each(|line| page.line(text_line(line)));
            return;
        }
        match self.diff.class {
            Class::Same => page.line(format!("{} and {} are the same, byte for byte.", self.from, self.to)),
            Class::Layout => page.line(format!(
                "Helm reads the same from {} and {}: only comments or layout differ (--raw shows them).",
                self.from, self.to
            )),
            Class::Changed => {
                page.heading(&format!("{} -> {}: {}", self.from, self.to, self.diff.summary()));
                change_lines(page, &self.diff);
            }
        }
    }
}

const ADDED: Style = AnsiColor::Green.on_default();
const REMOVED: Style = AnsiColor::Red.on_default();
const CHANGED: Style = AnsiColor::Yellow.on_default();

fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

fn text_line(line: &str) -> String {
    match line.chars().next() {
        Some('+') => paint(ADDED, line),
        Some('-') => paint(REMOVED, line),
        Some('@') => paint(CHANGED, line),
        _ => line.to_owned(),
    }
}

/// Each difference on a line of its own: a sign, the path, what was and what is.
pub(in crate::cli) fn change_lines(page: &mut Page, diff: &Diff) {
    for change in &diff.changes {
        let (sign, style) = match change.what {
            What::Added => ("+", ADDED),
            What::Removed => ("-", REMOVED),
            What::Changed | What::Retyped | What::Reordered => ("~", CHANGED),
        };
        page.wrapped(&format!("{} ", paint(style, sign)), "    ", &format!("{}  {}", change.path, said(change)));
    }
}

fn said(change: &Change) -> String {
    let old = change.old.as_ref().map(value).unwrap_or_default();
    let new = change.new.as_ref().map(value).unwrap_or_default();
    match change.what {
        What::Added => new,
        What::Removed => old,
        What::Changed => format!("{old} -> {new}"),
        What::Retyped => {
            let kind = |shown: &Option<diff::Shown>| shown.as_ref().map_or("", |shown| shown.kind);
            format!("{old} ({}) -> {new} ({})", kind(&change.old), kind(&change.new))
        }
        What::Reordered => "same items in another order".into(),
    }
}

fn value(shown: &diff::Shown) -> String {
    /// Longer values are cut; `--raw` has them whole.
    const LONGEST: usize = 200;
    match (&shown.masked, &shown.value) {
        (Some(mask), _) => mask.clone(),
        (None, Some(serde_json::Value::String(text))) => {
            let quoted = serde_json::Value::from(text.as_str()).to_string();
            match quoted.char_indices().nth(LONGEST) {
                Some((cut, _)) => format!("{}...", &quoted[..cut]),
                None => quoted,
            }
        }
        (None, Some(value)) => value.to_string(),
        (None, None) => format!("({})", shown.kind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::{FingerprintKey, Scrubber, Tree};

    #[test]
    fn differences_read_well_narrow_and_show_no_secret() {
        let tree = |text: &str| Tree::parse(text.as_bytes()).unwrap();
        let old = tree("env: {PGPASSWORD: hunter22, OPSCHAIN_VERSION: \"2026-08-20\"}\napi: {replicas: 1}\n");
        let new =
            tree("env: {PGPASSWORD: hunter33, OPSCHAIN_VERSION: \"2026-09-14\", TZ: UTC}\napi: {replicas: \"1\"}\n");
        let scrubber = Scrubber::new(FingerprintKey::from_bytes(&[3; 32]));
        let mut page = Page::new(40);
        change_lines(&mut page, &diff::diff(&old, &new, &scrubber));
        let text = anstream::adapter::strip_str(page.text()).to_string();
        assert!(!text.contains("hunter"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 60), "{text}");
        assert!(text.contains("~ env.OPSCHAIN_VERSION  \"2026-08-20\" ->\n    \"2026-09-14\""), "{text}");
        assert!(text.contains("+ env.TZ  \"UTC\""), "{text}");
        assert!(text.contains("1 (number) -> \"1\"\n    (string)"), "{text}");
    }
}
