//! What stands in the file as text: keys twice, documents, numbers, the bytes themselves.

use super::contents::SingleValue;
use super::finding::{LintFinding, finding};
use crate::yaml::{Node, NodeKind, Span, Style, Trap, Tree, Value, YamlError};

pub(super) fn of_trap(trap: &Trap) -> LintFinding {
    match trap {
        Trap::DuplicateKey { path, at, first_line, by_chance: true } => LintFinding {
            reason: format!(
                "the key stands on line {first_line} already, as another key for YAML and the same one for JSON: which of the two Helm keeps is chance, each time anew"
            ),
            fix: "remove one of the two".into(),
            ..finding("duplicate-key", at, Some(path))
        },
        Trap::DuplicateKey { path, at, first_line, .. } => LintFinding {
            reason: format!("the key stands on line {first_line} already: Helm drops what is there and keeps this one"),
            fix: "remove one of the two".into(),
            ..finding("duplicate-key", at, Some(path))
        },
        Trap::OddKey { path, at, becomes } => LintFinding {
            reason: format!("Helm reads this key as `{becomes}`: without quotes it is no text"),
            fix: "put the key in quotes".into(),
            ..finding("odd-key", at, Some(path))
        },
        Trap::SecondDocument { at } => LintFinding {
            reason: "a second document begins: helm 3 ignores it, helm 4 lays it over the first".into(),
            fix: "remove the line `---`, or what follows it".into(),
            ..finding("second-document", at, None)
        },
        Trap::LineSeparator { at, sign: '\r' } => LintFinding {
            reason: "a carriage return without a line feed: Helm ends the line here, and a comment with it, which an editor may not show"
                .into(),
            fix: "end the line with a line feed, or remove the carriage return".into(),
            ..finding("line-separator", at, None)
        },
        Trap::LineSeparator { at, .. } => LintFinding {
            reason: "a line separator of Unicode: Helm ends the line here, and a comment with it; nobody sees that"
                .into(),
            fix: "remove it, or write it as \\u2028 in double quotes".into(),
            ..finding("line-separator", at, None)
        },
        Trap::IgnoredRest { at } => LintFinding {
            reason: "text after the end of the document: Helm ignores it".into(),
            fix: "remove the text, or the line `...` where one is above it".into(),
            ..finding("ignored-rest", at, None)
        },
    }
}

/// A file that was kept as a text.
pub(super) fn not_read(error: &YamlError) -> LintFinding {
    let at = Span { line: error.line, column: error.column, bytes: 0..0 };
    LintFinding {
        reason: format!("{}: dr does not read this file, and knows no key of it", error.message),
        fix: "fix the file at that place; where helm deploys it all the same, it is kept as bytes and compared as text"
            .into(),
        ..finding("not-read", &at, None)
    }
}

pub(super) fn of_number(tree: &Tree, value: &SingleValue<'_>, findings: &mut Vec<LintFinding>) {
    let SingleValue { path, node, scalar, .. } = value;
    if scalar.style != Style::Plain || scalar.tagged {
        return;
    }
    let raw = tree.raw(node);
    if matches!(scalar.value, Value::Float(_)) && path.keys().next_back().is_some_and(names_version) {
        findings.push(LintFinding {
            reason: format!("Helm reads `{raw}` as the number {}, and a version is text", scalar.value.to_json()),
            fix: format!("put it in quotes: \"{raw}\""),
            ..finding("version-not-text", &node.span, Some(path))
        });
        return;
    }
    let digits: String = raw.chars().filter(char::is_ascii_digit).collect();
    let becomes = scalar.value.to_json();
    let rounded = match scalar.value {
        // Beyond 2^53 a float no longer holds every whole number.
        Value::Int(number) => number.unsigned_abs() > 1 << 53,
        Value::Uint(_) => true,
        Value::Float(number) => (!raw.contains('.') && digits.len() > 6) || loses_digits(raw, number),
        _ => false,
    };
    if rounded {
        findings.push(LintFinding {
            reason: format!("Helm reads `{raw}` as the number {becomes}"),
            fix: "put it in quotes if it is not a quantity".into(),
            ..finding("number-rounded", &node.span, Some(path))
        });
    } else if matches!(scalar.value, Value::Int(_))
        && digits.len() > 1
        && raw.trim_start_matches(['+', '-']).starts_with('0')
    {
        let hint = if raw.starts_with("0x") || raw.starts_with("0X") { "hexadecimal" } else { "octal or binary" };
        findings.push(LintFinding {
            reason: format!("Helm reads `{raw}` as {hint}: {becomes}"),
            fix: format!("write {becomes}, or put it in quotes"),
            ..finding("octal", &node.span, Some(path))
        });
    }
}

/// Characters in keys that nobody sees: a byte order mark in the middle of a file, a blank that is none.
pub(super) fn of_keys(tree: &Tree, node: &Node, findings: &mut Vec<LintFinding>) {
    let entries = match &node.kind {
        NodeKind::Scalar(_) => return,
        NodeKind::List(items) => {
            let own = items.iter().filter(|item| item.span.bytes.start >= node.span.bytes.start);
            return own.for_each(|item| of_keys(tree, item, findings));
        }
        NodeKind::Map(entries) => entries,
    };
    for entry in entries.iter().filter(|entry| !entry.merged) {
        let written = tree.source().get(entry.key_span.bytes.clone()).unwrap_or_default();
        // What an escape says is meant.
        if let Some(sign) = entry.key.chars().find(|c| is_invisible(*c) && written.contains(*c)) {
            findings.push(LintFinding {
                reason: format!(
                    "a character that nobody sees (U+{:04X}) stands in this key: Helm takes it for a part of the name",
                    u32::from(sign)
                ),
                fix: "write the key anew, without it".into(),
                ..finding("unseen-in-key", &entry.key_span, None)
            });
        }
        if entry.value.span.bytes.start >= entry.key_span.bytes.end {
            of_keys(tree, &entry.value, findings);
        }
    }
}

/// A text between quotes of a word processor, which YAML takes for letters.
pub(super) fn of_quotes(tree: &Tree, value: &SingleValue<'_>, findings: &mut Vec<LintFinding>) {
    let SingleValue { path, node, scalar, .. } = value;
    if scalar.style == Style::Plain && is_in_typographic_quotes(tree.raw(node)) {
        findings.push(LintFinding {
            reason: "the quotes around this text are those of a word processor: Helm takes them for part of it".into(),
            fix: "write plain quotes (' or \")".into(),
            ..finding("typographic-quotes", &node.span, Some(path))
        });
    }
}

pub(super) fn is_in_typographic_quotes(text: &str) -> bool {
    const SIGNS: &[char] = &[
        '\u{2018}', '\u{2019}', '\u{201a}', '\u{201b}', '\u{201c}', '\u{201d}', '\u{201e}', '\u{201f}', '\u{ab}',
        '\u{bb}', '\u{2039}', '\u{203a}', '\u{ff02}', '\u{ff07}',
    ];
    text.chars().count() > 1 && text.starts_with(SIGNS) && text.ends_with(SIGNS)
}

/// Whether nobody sees a character.
pub(super) fn is_invisible(c: char) -> bool {
    matches!(c, '\u{a0}' | '\u{ad}' | '\u{180e}' | '\u{2000}'..='\u{200f}' | '\u{2028}'..='\u{202f}' | '\u{205f}'..='\u{2064}' | '\u{3000}' | '\u{feff}')
}

/// Whether a number with a point has more digits than Helm's have room for.
fn loses_digits(raw: &str, number: f64) -> bool {
    let digits = |text: &str| {
        let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
        let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
        digits.trim_matches('0').to_owned()
    };
    let is_decimal = raw.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | '_' | '+' | '-' | 'e' | 'E'));
    is_decimal && digits(raw) != digits(&format!("{number:e}"))
}

/// `POSTGRESQL_VERSION`, `chartVersion`, `tag`, `imageTag`.
pub(super) fn names_version(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    key.ends_with("version") || key == "tag" || key.ends_with("_tag") || key.ends_with("imagetag")
}

/// Where a tab stands outside of quotes, comments and blocks, as far as one line shows it: between key and value, or at
/// a line's end.
fn tab_outside_text(line: &str) -> Option<usize> {
    let trimmed = line.trim_end_matches([' ', '\t', '\r']);
    if let Some(at) = line[trimmed.len()..].find('\t') {
        return Some(trimmed.len() + at);
    }
    let (key, value) = trimmed.split_once(':')?;
    let blanks = value.len() - value.trim_start_matches([' ', '\t']).len();
    let at = value[..blanks].find('\t')?;
    (!key.contains(['"', '\'', '#', '{', '['])).then_some(key.len() + 1 + at)
}

pub(super) fn of_bytes(bytes: &[u8], findings: &mut Vec<LintFinding>) {
    let first = Span { line: 1, column: 1, bytes: 0..0 };
    if bytes.starts_with(b"\xef\xbb\xbf") {
        findings.push(LintFinding {
            reason: "the file begins with a byte order mark".into(),
            fix: "nothing: Helm skips it".into(),
            ..finding("byte-order-mark", &first, None)
        });
    }
    if let Some(at) = bytes.windows(2).position(|pair| pair == b"\r\n") {
        let line = bytes[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
        findings.push(LintFinding {
            reason: "lines end with a carriage return, as on Windows".into(),
            fix: "nothing: Helm reads them as plain line ends".into(),
            ..finding("carriage-return", &Span { line, ..first.clone() }, None)
        });
    }
    if !bytes.is_empty() && !bytes.ends_with(b"\n") {
        let line = bytes.iter().filter(|byte| **byte == b'\n').count() + 1;
        let at = Span { line, ..first.clone() };
        let length = bytes.len() - bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        findings.push(if length.is_multiple_of(4096) {
            LintFinding {
                reason: format!("the last line has no end and {length} bytes: helm 4 itself would lose it"),
                fix: "end the line; dr does so when it hands the file to helm".into(),
                ..finding("lost-last-line", &at, None)
            }
        } else {
            LintFinding {
                reason: "the last line has no end: helm 4 loses such a line when its length is a multiple of 4096"
                    .into(),
                fix: "nothing: dr ends it when it hands the file to helm; the vault keeps the bytes as they are".into(),
                ..finding("no-final-newline", &at, None)
            }
        });
    }
    let text = String::from_utf8_lossy(bytes);
    if let Some((line, at)) =
        text.split('\n').enumerate().find_map(|(line, text)| Some((line, tab_outside_text(text)?)))
    {
        let column = text.split('\n').nth(line).map_or(0, |text| text[..at].chars().count()) + 1;
        findings.push(LintFinding {
            reason: "a tab stands here: Helm takes it for a blank, but refuses it where it indents".into(),
            fix: "write blanks".into(),
            ..finding("tab", &Span { line: line + 1, column, ..first }, None)
        });
    }
}
