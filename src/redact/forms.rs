//! The forms in which tools print a text: escaped, quoted, encoded.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

/// Every form of `text` that is not the text itself, each once or more; the caller drops doubles.
pub(super) fn of(text: &[u8]) -> Vec<Zeroizing<Vec<u8>>> {
    let mut forms: Vec<Vec<u8>> = Vec::new();
    if let Ok(plain) = std::str::from_utf8(text) {
        let json = json(plain);
        // Go's encoder also escapes what HTML minds.
        forms.push(json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026").into_bytes());
        forms.push(json.into_bytes());
        // Rust and Go print control characters in ways of their own, Python what is not ASCII as well.
        forms.push(plain.escape_debug().to_string().into_bytes());
        forms.push(go_quoted(plain).into_bytes());
        forms.push(ascii_json(plain).into_bytes());
        // YAML's single quotes and the shell's.
        forms.push(plain.replace('\'', "''").into_bytes());
        forms.push(plain.replace('\'', "'\\''").into_bytes());
        forms.push(percent_encode(text, false));
        forms.push(percent_encode(text, true));
        forms.push(percent_encode(text, false).to_ascii_lowercase_escapes());
    }
    forms.extend(packed(text));
    // Within a longer text, and within one that is packed again: the login of a registry in a Secret.
    let within = packed_within(text);
    forms.extend(within.iter().flat_map(|packed| packed_within(packed)));
    forms.extend(within);
    if text.len() >= 16 {
        forms.push(hex::encode(text).into_bytes());
    }
    forms.into_iter().map(Zeroizing::new).collect()
}

/// In base64, alone.
pub(super) fn packed(text: &[u8]) -> [Vec<u8>; 2] {
    [STANDARD.encode(text).into_bytes(), URL_SAFE_NO_PAD.encode(text).into_bytes()]
}

/// In base64 within a longer text, at each of the three places that it may have there: what is the same whatever stands
/// before and after.
fn packed_within(text: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = Vec::new();
    for shift in 0..3 {
        let packed = STANDARD_NO_PAD.encode([vec![0; shift], text.to_vec()].concat());
        // The first characters depend on what stands before, the last on what stands after.
        let first = [0, 2, 3][shift];
        let last = (shift + text.len()) * 8 / 6;
        if last > first + 8 {
            forms.push(packed.as_bytes()[first..last].to_vec());
        }
    }
    forms
}

/// Escaped as inside a JSON text, quotes left out.
pub(super) fn json(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// Without its backslashes: what is left is the same however often a text was escaped.
pub(super) fn unescaped(text: &[u8]) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(text.iter().copied().filter(|byte| *byte != b'\\').collect())
}

/// As Go's `%q` prints it, as far as that is not as JSON has it.
fn go_quoted(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            '\t' | '\n' | '\r' => out.extend(c.escape_default()),
            c if c.is_ascii_control() => {
                // Writing to a text cannot fail.
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

/// As inside a JSON text, with every character outside of ASCII as `\uXXXX`, surrogates in pairs.
fn ascii_json(text: &str) -> String {
    let mut out = String::new();
    for c in json(text).chars() {
        if c.is_ascii() {
            out.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            // Writing to a text cannot fail.
            let _ = write!(out, "\\u{unit:04x}");
        }
    }
    out
}

pub(super) fn percent_encode(bytes: &[u8], form: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(*byte),
            b' ' if form => out.push(b'+'),
            _ => out.extend_from_slice(format!("%{byte:02X}").as_bytes()),
        }
    }
    out
}

/// Some tools write `%2f` where others write `%2F`.
trait LowerEscapes {
    fn to_ascii_lowercase_escapes(self) -> Self;
}

impl LowerEscapes for Vec<u8> {
    fn to_ascii_lowercase_escapes(mut self) -> Self {
        let mut at = 0;
        while at + 2 < self.len() {
            if self[at] == b'%' {
                self[at + 1..at + 3].make_ascii_lowercase();
                at += 2;
            }
            at += 1;
        }
        self
    }
}

pub(super) fn percent_decode(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let code = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match code.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    out
}

/// What base64 (standard or for addresses, padded or not, in one line or many) of printable text holds.
pub(super) fn unpacked(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut packed: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    if packed.len() < 8 || packed.len() > MOST_UNPACKED || packed.len() % 4 == 1 {
        return None;
    }
    packed.truncate(packed.trim_end_matches('=').len());
    let inside =
        STANDARD_NO_PAD.decode(&packed).or_else(|_| URL_SAFE_NO_PAD.decode(&packed)).map(Zeroizing::new).ok()?;
    let text = std::str::from_utf8(&inside).ok()?;
    text.chars().all(|c| !c.is_control() || matches!(c, '\t' | '\n' | '\r')).then_some(())?;
    Some(inside)
}

/// Longer base64 is a file, not a secret.
const MOST_UNPACKED: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_codes_go_both_ways_in_upper_and_lower_case() {
        assert_eq!(percent_encode("a b/ü".as_bytes(), false), b"a%20b%2F%C3%BC");
        assert_eq!(percent_encode(b"a b", true), b"a+b");
        assert_eq!(b"a%2Fb%C3%BCC".to_vec().to_ascii_lowercase_escapes(), b"a%2fb%c3%bcC");
        assert_eq!(percent_decode("a%20b%2f%zz%"), b"a b/%zz%");
    }

    #[test]
    fn base64_is_unpacked_in_lines_and_without_padding_and_binary_is_left_alone() {
        assert_eq!(unpacked("aHVudGVy\nMnNl\nY3JldA==").unwrap().as_slice(), b"hunter2secret");
        assert_eq!(unpacked("aHVudGVyMnNlY3JldA").unwrap().as_slice(), b"hunter2secret");
        assert!(unpacked("AAECAwQFBgc=").is_none());
        assert!(unpacked("not base64!").is_none());
    }

    #[test]
    fn python_and_go_escapes_are_among_the_forms() {
        let forms: Vec<String> =
            of("s<ü>\u{1}".as_bytes()).iter().map(|form| String::from_utf8_lossy(form).into_owned()).collect();
        for form in [
            "s<\\u00fc>\\u0001",
            "s\\u003cü\\u003e\\u0001",
            "s<ü>\\u{1}",
            "s<ü>\\x01",
            "s%3C%C3%BC%3E%01",
            "s%3c%c3%bc%3e%01",
        ] {
            assert!(forms.iter().any(|have| have == form), "{form} is not among {forms:?}");
        }
    }
}
