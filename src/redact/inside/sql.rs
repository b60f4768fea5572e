//! Statements of databases that set a password.

use super::super::name::is_secret_name;
use super::embedded::{Embedded, head, push_quoted};
use super::literal::quoted;

/// Words before a password in quotes: `PASSWORD 'x'`, `PASSWORD = N'x'`, `PASSWORD('x')`.
const BEFORE_TEXTS: &[&str] = &["password", "passwd", "passphrase", "secret", "pwd", "pass"];

/// What a statement with a password holds beside it: a sentence about passwords is none.
const STATEMENTS: &[&str] = &[
    "create ",
    "alter ",
    "grant ",
    "set password",
    "backup ",
    "restore ",
    "options",
    "encrypt",
    "decrypt",
    "insert into",
];

/// Functions whose second argument is a key.
const CIPHERS: &[&str] = &[
    "pgp_sym_encrypt(",
    "pgp_sym_decrypt(",
    "pgp_sym_encrypt_bytea(",
    "pgp_sym_decrypt_bytea(",
    "aes_encrypt(",
    "aes_decrypt(",
];

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
    for cipher in CIPHERS {
        for (at, begin) in small.match_indices(cipher) {
            let (arguments, _) = arguments(&text[at + begin.len()..]);
            push_literal("password", arguments.get(1).unwrap_or(&""), found);
        }
    }
    for (at, word) in small.match_indices("insert into") {
        of_rows(&text[at + word.len()..], found);
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

/// `users (name, password) VALUES ('a', 'x'), ('b', 'y')`.
fn of_rows(text: &str, found: &mut Vec<Embedded>) {
    let Some(open) = head(text, 300).find(['(', ';']).filter(|at| text[*at..].starts_with('(')) else { return };
    let (columns, behind) = arguments(&text[open + 1..]);
    let name = |column: &'_ str| column.trim_matches(['"', '`', '[', ']']).to_owned();
    let columns: Vec<String> = columns.into_iter().map(name).collect();
    let is_secret = |column: &str| is_secret_name(column) && !matches!(column, "key" | "auth");
    let behind = behind.trim_start();
    let Some(mut rows) = behind.get(6..).filter(|_| behind[..6].eq_ignore_ascii_case("values")) else { return };
    while let Some(row) = rows.trim_start_matches([',', ' ', '\t', '\r', '\n']).strip_prefix('(') {
        let (values, behind) = arguments(row);
        for (column, value) in columns.iter().zip(values).filter(|(column, _)| is_secret(column)) {
            push_literal(column, value, found);
        }
        rows = behind;
    }
}

/// What stands between the commas of a bracket that is open before `text`, and what stands behind it.
fn arguments(text: &str) -> (Vec<&str>, &str) {
    let (mut found, mut begin, mut at, mut depth) = (Vec::new(), 0, 0, 0);
    let near = head(text, 4096);
    while let Some(c) = near[at..].chars().next() {
        match c {
            '\'' | '"' | '`' => {
                at += quoted(&near[at..]).map_or(1, |(_, end)| end);
                continue;
            }
            '(' => depth += 1,
            ')' if depth > 0 => depth -= 1,
            ',' | ')' if depth == 0 => {
                found.push(near[begin..at].trim());
                begin = at + 1;
                if c == ')' {
                    return (found, &text[begin..]);
                }
            }
            _ => {}
        }
        at += c.len_utf8();
    }
    (Vec::new(), "")
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
