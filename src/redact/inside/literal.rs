//! Texts in quotes, as programs, shells and databases write them.

use std::borrow::Cow;

/// The quoted text that another begins with: what stands between the quotes, and where it ends. Quotes in it are doubled
/// or escaped. `$$...$$` and the letter before an SQL text (`N'...'`, `E'...'`) are known.
pub(super) fn quoted(text: &str) -> Option<(&str, usize)> {
    let letters = text.len() - text.trim_start_matches(['N', 'n', 'E', 'e', 'U', 'u', '&', '@']).len();
    if letters > 0 && letters <= 2 && text[letters..].starts_with('\'') {
        return quoted(&text[letters..]).map(|(inside, end)| (inside, end + letters));
    }
    if let Some(rest) = text.strip_prefix('$') {
        let tag = rest.find('$').filter(|end| rest[..*end].chars().all(|c| c.is_alphanumeric() || c == '_'))?;
        let sign = &text[..tag + 2];
        let length = text[sign.len()..].find(sign)?;
        return Some((&text[sign.len()..][..length], sign.len() * 2 + length));
    }
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"' | '`'))?;
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c == '\\' {
            chars.next();
        } else if c == quote {
            match chars.peek() {
                Some((_, next)) if *next == quote && at > 1 => drop(chars.next()),
                _ => return Some((&text[1..at], at + 1)),
            }
        }
    }
    None
}

/// What a quoted text says: one of two quotes, and what is behind a backslash.
pub(super) fn meant(inside: &str) -> Cow<'_, str> {
    if !inside.contains(['\\', '\'', '"']) {
        return Cow::Borrowed(inside);
    }
    let mut out = String::with_capacity(inside.len());
    let mut chars = inside.replace("''", "'").replace("\"\"", "\"").chars().collect::<Vec<_>>().into_iter();
    while let Some(c) = chars.next() {
        out.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_text_ends_at_its_own_quote() {
        for (text, inside) in [
            ("'a''b' c", Some("a''b")),
            ("\"a\\\"b\" c", Some("a\\\"b")),
            ("N'x'", Some("x")),
            ("E'a\\'b'", Some("a\\'b")),
            ("$$a'b$$;", Some("a'b")),
            ("$t$a$t$", Some("a")),
            ("''", Some("")),
            ("'', 'b'", Some("")),
            ("'open", None),
            ("plain", None),
            ("$PASSWORD", None),
        ] {
            assert_eq!(quoted(text).map(|(inside, _)| inside), inside, "{text}");
        }
        assert_eq!(meant("a''b\\\"c"), "a'b\"c");
    }
}
