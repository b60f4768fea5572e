//! Where libyaml, which Helm's parser descends from, reads otherwise than a parser of YAML 1.2 does.
//!
//! Inside brackets, `-`, `:` and `?` mean other things to the two. What they mean to libyaml is told to the parser by a
//! [`Patched`] copy of the text, of the same length, so that every place stays where it is.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

use super::tree::Span;

/// The most signs in brackets that one document may have explained; each costs another reading.
const MOST: usize = 200;

/// What a sign in brackets is to libyaml.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BracketSign {
    /// Part of a plain scalar: a `-` before a bracket or comma, a `:` before a comma or bracket.
    Text,
    /// A `?` that begins a key, though no blank follows it.
    Key,
}

/// A document's text with some signs in brackets replaced.
pub(super) struct Patched<'s> {
    text: Cow<'s, str>,
    signs: HashSet<usize>,
    keys: HashSet<usize>,
}

impl<'s> Patched<'s> {
    pub(super) fn new(text: &'s str) -> Self {
        Self { text: Cow::Borrowed(text), signs: HashSet::new(), keys: HashSet::new() }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Explains the sign at a place, in bytes; false where that was done before, or there are too many of them.
    pub(super) fn explain(&mut self, at: usize, sign: BracketSign) -> bool {
        let (places, stand_in) = match sign {
            BracketSign::Text => (&mut self.signs, "x"),
            BracketSign::Key => (&mut self.keys, " "),
        };
        if places.len() >= MOST || !places.insert(at) {
            return false;
        }
        self.text.to_mut().replace_range(at..=at, stand_in);
        true
    }

    /// Whether a `?` before this place was explained.
    pub(super) fn is_key(&self, at: usize) -> bool {
        at > 0 && self.keys.contains(&(at - 1))
    }

    /// The text of a plain scalar, where the parser saw another one.
    pub(super) fn plain(&self, range: Range<usize>, raw: &str) -> Option<String> {
        self.signs.iter().any(|at| range.contains(at)).then(|| folded(raw))
    }
}

/// A plain scalar's lines made one text: a line end becomes a blank, of several one less than there are.
fn folded(raw: &str) -> String {
    let mut text = String::new();
    let mut ends = 0;
    for line in raw.split('\n').map(|line| line.trim_matches([' ', '\t', '\r'])) {
        if !line.is_empty() && !text.is_empty() {
            match ends {
                1 => text.push(' '),
                _ => text.extend(std::iter::repeat_n('\n', ends - 1)),
            }
        }
        if !line.is_empty() {
            text.push_str(line);
            ends = 0;
        }
        ends += 1;
    }
    text
}

/// The sign after a plain scalar in brackets, where libyaml takes it for part of the scalar.
pub(super) fn ends_in_colon(after: &str) -> bool {
    let mut chars = after.chars();
    chars.next() == Some(':') && chars.next().is_some_and(|c| !c.is_ascii_whitespace())
}

/// Why libyaml's reader refuses a character, or why `dr` does.
pub(super) fn forbidden(c: char) -> Option<&'static str> {
    match c {
        '\u{85}' | '\u{2028}' | '\u{2029}' => {
            Some("a line separator of Unicode, which Helm takes for the end of a line: write it as \\u2028 in quotes")
        }
        '\t' | '\n' | '\r' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'.. => None,
        _ => Some("a control character, which YAML does not allow"),
    }
}

/// The first tab in the margin of a line that is neither in a scalar nor in brackets: Helm's parser refuses it even
/// where the line is empty otherwise.
pub(super) fn tab_in_margin(source: &str, read: &[Range<usize>], covered: &[Range<usize>]) -> Option<usize> {
    if !source.contains('\t') {
        return None;
    }
    let mut start = 0;
    for line in source.split_inclusive('\n') {
        let margin = line.len() - line.trim_start_matches([' ', '\t']).len();
        if let Some(tab) = line[..margin].find('\t')
            && read.iter().any(|range| range.contains(&start))
            && !covered.iter().any(|range| range.start < start && start < range.end)
        {
            return Some(start + tab);
        }
        start += line.len();
    }
    None
}

/// Whether the header of a block scalar says how wide its margin is (`|2`). The span may begin with the header or behind
/// it.
pub(super) fn says_margin(source: &str, block: &Span) -> bool {
    let line_end = source[block.bytes.start..].find('\n').map_or(source.len(), |end| block.bytes.start + end);
    let is_header = source[block.bytes.start..].starts_with(['|', '>']);
    let header = if is_header { &source[block.bytes.start..line_end] } else { line_before(source, block.bytes.start) };
    let sign = header.rfind(['|', '>']).map_or(header, |at| &header[at..]);
    sign.chars().skip(1).take(2).any(|c| c.is_ascii_digit())
}

/// The line before the one that holds this place.
fn line_before(source: &str, at: usize) -> &str {
    let end = source[..at].rfind('\n').unwrap_or(0);
    let start = source[..end].rfind('\n').map_or(0, |line| line + 1);
    &source[start..end]
}

/// Escapes that YAML 1.2 knows and Helm's parser does not.
pub(super) fn refused_escape(raw: &str) -> Option<&'static str> {
    let mut chars = raw.char_indices();
    while let Some((_, c)) = chars.next() {
        if c != '\\' {
            continue;
        }
        let (at, escaped) = chars.next()?;
        if escaped == '/' {
            return Some("Helm does not know the escape `\\/`");
        }
        if escaped == 'u' {
            let code = raw.get(at + 1..at + 5).and_then(|hex| u32::from_str_radix(hex, 16).ok());
            if code.is_some_and(|code| (0xd800..0xe000).contains(&code)) {
                return Some("Helm refuses half of a surrogate pair (`\\ud800` to `\\udfff`)");
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_plain_scalar_fold_into_one() {
        for (raw, text) in [("a", "a"), ("a\n  b ", "a b"), ("a \r\n\r\n b\n\n\nc", "a\nb\n\nc"), ("-", "-")] {
            assert_eq!(folded(raw), text, "{raw:?}");
        }
    }

    #[test]
    fn a_sign_is_explained_once_and_nothing_moves() {
        let mut patched = Patched::new("[-, ?a]");
        assert!(patched.explain(1, BracketSign::Text) && patched.explain(4, BracketSign::Key));
        assert_eq!(patched.text(), "[x,  a]");
        assert!(!patched.explain(1, BracketSign::Text), "a second time would go on for ever");
        assert!(patched.is_key(5) && !patched.is_key(1));
        assert_eq!(patched.plain(1..2, "-").as_deref(), Some("-"));
        assert_eq!(patched.plain(5..6, "a"), None);
    }
}
