//! A value in a line: as JSON has it, and nothing that tells two values apart left out or unseen.

use crate::values::diff::{Change, ShownValue};

/// Longer values are cut in their middle, where there is none that they differ from; `--raw` and JSON have them whole.
const LONGEST: usize = 4000;
/// Of two values that are longer, what they have in common is left out.
const WHOLE: usize = 200;
/// How much stands around the piece that differs.
const AROUND: usize = 40;
/// A piece that differs in so many characters at most may be one that nobody sees.
const FEW: usize = 4;

/// Both values, each in a line; empty for the one that is not there. Of two long texts, what they have in common is left
/// out, and what differs is there to its end.
pub(super) fn both_values(change: &Change) -> [String; 2] {
    let sides = [&change.old, &change.new];
    match sides {
        [Some(old), Some(new)] if is_text(old) && is_text(new) => {
            let mut told = told(vec![quoted(old), quoted(new)], WHOLE).into_iter();
            [old, new].map(|side| with_fingerprint(told.next().unwrap_or_default(), side))
        }
        _ => sides.map(|shown| shown.as_ref().map(value).unwrap_or_default()),
    }
}

/// Texts beside each other: where one is longer than `whole` characters, by the piece in which they differ.
pub(super) fn told(texts: Vec<String>, whole: usize) -> Vec<String> {
    let told = told_apart(texts);
    if told.iter().any(|text| text.chars().count() > whole) { apart(&told) } else { told }
}

/// The first characters of a text, and that there are more.
pub(super) fn cut(text: &str, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// A value in a line; of a very long text the middle is left out, and its length said.
pub(super) fn value(shown: &ShownValue) -> String {
    let text = quoted(shown);
    let length = text.chars().count();
    if length <= LONGEST || !is_text(shown) {
        return with_fingerprint(text, shown);
    }
    let place = |at: usize| text.char_indices().nth(at).map_or(text.len(), |(place, _)| place);
    let (head, tail) = (&text[..place(LONGEST / 2)], &text[place(length - LONGEST / 2)..]);
    with_fingerprint(format!("{head}...{tail} ({length} characters)"), shown)
}

fn is_text(shown: &ShownValue) -> bool {
    shown.masked.is_none() && matches!(shown.value, Some(serde_json::Value::String(_)))
}

fn quoted(shown: &ShownValue) -> String {
    match (&shown.masked, &shown.value) {
        (Some(mask), _) => mask.clone(),
        (None, Some(value)) => visible(&value.to_string()),
        (None, None) => format!("({})", shown.kind),
    }
}

fn with_fingerprint(text: String, shown: &ShownValue) -> String {
    match &shown.fingerprint {
        Some(fingerprint) => format!("{text} #{fingerprint}"),
        None => text,
    }
}

/// A text with what nobody sees in it written as an escape.
pub(super) fn visible(text: &str) -> String {
    let is_unseen = |c: char| {
        matches!(c, '\u{7f}'..='\u{a0}' | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{2000}'..='\u{200f}' | '\u{2011}' | '\u{2028}'..='\u{202f}' | '\u{2800}' | '\u{205f}'..='\u{206f}' | '\u{3000}'
            | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
    };
    if !text.contains(is_unseen) {
        return text.to_owned();
    }
    text.chars().map(|c| if is_unseen(c) { escaped(c) } else { c.to_string() }).collect()
}

/// A line that has gone or come, with the blanks and tabs at its end made visible.
pub(super) fn line_to_its_end(text: &str) -> String {
    let inner = text.trim_end_matches([' ', '\t']);
    let end = text[inner.len()..].chars().map(|c| if c == ' ' { "\u{b7}" } else { "\\t" });
    visible(inner) + &end.collect::<String>()
}

fn escaped(c: char) -> String {
    format!("\\u{{{:x}}}", u32::from(c))
}

/// Texts that differ in a few letters that may look the same (`a` of two alphabets, an accent of its own): these are
/// written as escapes.
fn told_apart(texts: Vec<String>) -> Vec<String> {
    let wide: Vec<Vec<char>> = texts.iter().map(|text| text.chars().collect()).collect();
    let (head, tail) = in_common(&wide);
    let pieces: Vec<&[char]> = wide.iter().map(|text| &text[head..text.len() - tail]).collect();
    let is_ascii = |piece: &&[char]| piece.iter().all(char::is_ascii);
    let is_other = |piece: &&[char]| !piece.is_empty() && piece.iter().all(|c| !c.is_ascii());
    if pieces.iter().any(|piece| piece.len() > FEW) || pieces.iter().all(is_ascii) || pieces.iter().all(is_other) {
        return texts;
    }
    let rest = |range: &[char]| range.iter().collect::<String>();
    let told = wide.iter().zip(&pieces).map(|(text, piece)| {
        let middle = piece.iter().map(|c| if c.is_ascii() { c.to_string() } else { escaped(*c) });
        rest(&text[..head]) + &middle.collect::<String>() + &rest(&text[text.len() - tail..])
    });
    told.collect()
}

/// How many characters the texts begin and end with alike.
fn in_common(texts: &[Vec<char>]) -> (usize, usize) {
    let Some((first, others)) = texts.split_first() else { return (0, 0) };
    let alike = |other: &Vec<char>| first.iter().zip(other).take_while(|(a, b)| a == b).count();
    let head = others.iter().map(alike).min().unwrap_or(first.len());
    let most = texts.iter().map(Vec::len).min().unwrap_or_default() - head;
    let alike = |other: &Vec<char>| first.iter().rev().zip(other.iter().rev()).take_while(|(a, b)| a == b).count();
    (head, others.iter().map(alike).min().unwrap_or(0).min(most))
}

/// Texts without most of what they begin and end with alike.
fn apart(texts: &[String]) -> Vec<String> {
    let wide: Vec<Vec<char>> = texts.iter().map(|text| text.chars().collect()).collect();
    let (head, tail) = in_common(&wide);
    let cut = wide.iter().map(|text| {
        let (start, end) = (head.saturating_sub(AROUND), (text.len() - tail + AROUND).min(text.len()));
        let middle: String = text[start..end].iter().collect();
        let dots = |is_cut: bool| if is_cut { "..." } else { "" };
        format!("{}{middle}{}", dots(start > 0), dots(end < text.len()))
    });
    cut.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::diff::What;

    fn shown(value: serde_json::Value) -> ShownValue {
        ShownValue { kind: "string", value: Some(value), masked: None, fingerprint: None, scrubbed: false, line: 1 }
    }

    fn both(old: &str, new: &str) -> [String; 2] {
        both_values(&Change {
            path: crate::values::Path::of(&["rules"]),
            what: What::Changed,
            old: Some(shown(old.into())),
            new: Some(shown(new.into())),
            secret: false,
            inside: None,
            renamed_from: None,
            renamed_to: None,
        })
    }

    #[test]
    fn of_long_values_the_piece_that_differs_is_shown_wherever_it_stands() {
        let rules: String = (0..20).map(|n| format!("host all u{n} 10.0.0.{n}/32 scram; ")).collect();
        let [old, new] = both(&format!("{rules}local md5 x"), &format!("{rules}local trust x"));
        assert!(old.ends_with("local md5 x\"") && new.ends_with("local trust x\""), "{old} {new}");
        assert!(old.starts_with("...") && old.len() < 80, "{old}");
        let long = "z".repeat(500);
        let [old, new] = both(&format!("{rules}{rules}"), &format!("{rules}{long}{rules}"));
        assert!(new.contains(&long) && new.len() < 620 && old.len() < 100, "{old} {new}");
        assert_eq!(both("a", "b"), ["\"a\"", "\"b\""]);
    }

    #[test]
    fn a_long_value_that_came_or_went_is_there_to_its_end() {
        let rules: String = (0..90).map(|n| format!("host all u{n} 10.0.0.{n}/32 scram; ")).collect();
        let text = value(&shown(format!("{rules}local trust").into()));
        assert!(text.contains("u45 ") && text.ends_with("local trust\""), "{text}");
        let text = value(&shown(format!("{}local trust", "z".repeat(100_000)).into()));
        assert!(text.len() < 4100 && text.ends_with("local trust\" (100013 characters)"), "{text}");
    }

    #[test]
    fn what_nobody_sees_or_tells_apart_is_an_escape() {
        for (old, new, expected) in [
            ("a b", "a\u{a0}b", ["\"a b\"", "\"a\\u{a0}b\""]),
            ("ab", "a\u{200b}b", ["\"ab\"", "\"a\\u{200b}b\""]),
            ("admin", "\u{430}dmin", ["\"admin\"", "\"\\u{430}dmin\""]),
            ("caf\u{e9}", "cafe\u{301}", ["\"caf\\u{e9}\"", "\"cafe\\u{301}\""]),
            ("gr\u{fc}n", "gr\u{f6}n", ["\"gr\u{fc}n\"", "\"gr\u{f6}n\""]),
            ("a", "a ", ["\"a\"", "\"a \""]),
            ("a", "a\t", ["\"a\"", "\"a\\t\""]),
            ("\u{202e}a", "a", ["\"\\u{202e}a\"", "\"a\""]),
        ] {
            assert_eq!(both(old, new), expected, "{old:?} {new:?}");
        }
        assert_eq!(line_to_its_end("a b \t"), "a b\u{b7}\\t");
    }
}
