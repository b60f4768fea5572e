//! Lines of a file that cannot be read, without their values.

use crate::redact::{Scrubber, looks_random};

/// A line of a file that cannot be read, by its key alone: without a reader nobody knows what in it belongs to a secret.
pub(super) fn by_key(scrubber: &Scrubber, line: &str) -> String {
    let text = line.trim_end();
    let from = value_start(text);
    let value = text[from..].trim_start();
    if value.is_empty() {
        return text.to_owned();
    }
    format!("{}{}", &text[..text.len() - value.len()], scrubber.mask(value.as_bytes()))
}

/// Behind the key of a line, where it has one that is a plain name; else behind its margin.
fn value_start(text: &str) -> usize {
    /// No name of a setting is longer, and no word of a secret that is cut in lines is taken for one.
    const LONGEST: usize = 64;
    let inner = text.trim_start_matches([' ', '-', '\t']);
    let margin = text.len() - inner.len();
    let name = inner.trim_start_matches(['"', '\'']);
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | '-');
    let length = name.find(|c: char| !is_name(c)).unwrap_or(name.len());
    let behind = name[length..].trim_start_matches(['"', '\'']);
    let is_key = behind == ":" || behind.starts_with(": ") || behind.starts_with(":\t");
    let is_plain = (1..=LONGEST).contains(&length) && !looks_random(&name[..length]);
    if is_key && is_plain { text.len() - behind.len() + 1 } else { margin }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_line_holds_is_masked_but_for_a_plain_key() {
        let scrubber = Scrubber::new(None);
        for line in [
            "PGPASSWORD: zebra",
            "  zebra one",
            "zebra\\",
            ": zebra",
            "- zebra",
            "  - value: zebra",
            "\"PGPASS\\x57ORD\": zebra",
            "a: {b: zebra, c: zebra}",
            "# PGPASSWORD: zebra",
            "x: &pw zebra",
            "? zebra",
            "P\0A\0S\0S\0:\0 \0zebra",
            "https://u:zebra@host/",
        ] {
            let shown = by_key(&scrubber, line);
            assert!(!shown.contains("zebra") && shown.contains('\u{2022}'), "{line} {shown}");
        }
        let shown =
            ["PGPASSWORD: x", "- name: x", "\"a.b/c\": x", "key:", "", "  "].map(|line| by_key(&scrubber, line));
        let mask = "\u{2022}".repeat(8);
        let expected = [format!("PGPASSWORD: {mask}"), format!("- name: {mask}"), format!("\"a.b/c\": {mask}")];
        assert_eq!(shown[..3], expected);
        assert_eq!(shown[3..], ["key:", "", ""]);
    }
}
