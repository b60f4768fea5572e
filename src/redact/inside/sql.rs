//! Statements of databases that set a password.

use super::embedded::{Embedded, push_quoted};
use super::literal::quoted;

/// Words before a password in quotes: `PASSWORD 'x'`, `PASSWORD = N'x'`, `PASSWORD('x')`.
const BEFORE_TEXTS: &[&str] = &["password", "passwd", "passphrase", "secret", "pwd", "pass"];

/// What a statement with a password holds beside it: a sentence about passwords is none.
const STATEMENTS: &[&str] =
    &["create ", "alter ", "grant ", "set password", "backup ", "restore ", "options", "encrypt"];

/// What `text`'s statements say after `PASSWORD` and `IDENTIFIED BY`.
pub(super) fn of_statements(text: &str, found: &mut Vec<Embedded>) {
    // Lower case of ASCII is as long, so that places are the same.
    let small = text.to_ascii_lowercase();
    if !STATEMENTS.iter().any(|word| small.contains(word)) {
        return;
    }
    for word in BEFORE_TEXTS {
        for (at, _) in small.match_indices(word) {
            let behind = &text[at + word.len()..];
            let begins = !small[..at].ends_with(|c: char| c.is_alphanumeric());
            let rest = behind.trim_start_matches([' ', '\t', '\n', '\r', '=', '(', ':', '>', '\\']);
            // A quote that is glued to the word ends a text that the word ends.
            if begins && rest.len() < behind.len() {
                push_literal(word, rest, found);
            }
        }
    }
    for (at, word) in small.match_indices("identified") {
        of_identified(&text[at + word.len()..], found);
    }
    for (at, word) in small.match_indices("set password") {
        let rest = &text[at + word.len()..];
        if !rest.starts_with([' ', '=', '\t']) {
            continue;
        }
        let end = rest.find([';', '\n']).unwrap_or(rest.len());
        let Some(last) = rest[..end].trim_end().trim_end_matches(')').strip_suffix('\'') else { continue };
        if let Some(begin) = last.rfind('\'') {
            push_quoted(found, "password", &last[begin + 1..]);
        }
    }
}

fn push_literal(name: &str, rest: &str, found: &mut Vec<Embedded>) {
    if let Some((inside, _)) = quoted(rest) {
        push_quoted(found, name, inside);
    }
}

/// `IDENTIFIED [WITH plugin] BY 'x'`, `BY PASSWORD '*...'`, `BY VALUES '...'`, `AS '...'`, and Oracle's `BY x`.
fn of_identified(rest: &str, found: &mut Vec<Embedded>) {
    let mut words = rest.split_inclusive(char::is_whitespace);
    let (mut at, mut last) = (0, "");
    for _ in 0..10 {
        let Some(word) = words.next() else { return };
        let text = word.trim();
        if text.starts_with(['\'', '"', '$', 'N', 'n', 'E', 'e']) && quoted(&rest[at..]).is_some() {
            push_literal("password", &rest[at..], found);
            return;
        }
        let is_word = !text.is_empty();
        if is_word
            && last.eq_ignore_ascii_case("by")
            && !["values", "password"].iter().any(|w| text.eq_ignore_ascii_case(w))
        {
            push_quoted(found, "password", text.trim_end_matches([';', ',', ')']));
            return;
        }
        if is_word {
            last = text;
        }
        at += word.len();
    }
}
