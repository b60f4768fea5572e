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
    let long = |shown: &Option<ShownValue>| shown.as_ref().is_some_and(|shown| quoted(shown).chars().count() > WHOLE);
    match sides {
        [Some(old), Some(new)] if is_text(old) && is_text(new) => {
            let [before, after] = told_apart([quoted(old), quoted(new)]);
            let [before, after] = if sides.into_iter().any(long) { apart(&before, &after) } else { [before, after] };
            [with_fingerprint(before, old), with_fingerprint(after, new)]
        }
        _ => sides.map(|shown| shown.as_ref().map(value).unwrap_or_default()),
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

/// Two texts that differ in a few letters that may look the same (`a` of two alphabets, an accent of its own): these are
/// written as escapes.
fn told_apart(texts: [String; 2]) -> [String; 2] {
    let [before, after] = [0, 1].map(|side| texts[side].chars().collect::<Vec<char>>());
    let (head, tail) = in_common(&before, &after);
    let pieces = [&before[head..before.len() - tail], &after[head..after.len() - tail]];
    let is_ascii = pieces.map(|piece| piece.iter().all(char::is_ascii));
    let is_other = pieces.map(|piece| !piece.is_empty() && piece.iter().all(|c| !c.is_ascii()));
    if pieces.iter().any(|piece| piece.len() > FEW) || is_ascii == [true, true] || is_other == [true, true] {
        return texts;
    }
    [(&before, pieces[0]), (&after, pieces[1])].map(|(text, piece)| {
        let middle = piece.iter().map(|c| if c.is_ascii() { c.to_string() } else { escaped(*c) });
        let rest = |range: &[char]| range.iter().collect::<String>();
        rest(&text[..head]) + &middle.collect::<String>() + &rest(&text[text.len() - tail..])
    })
}

/// How many characters two texts begin and end with alike.
fn in_common(before: &[char], after: &[char]) -> (usize, usize) {
    let head = before.iter().zip(after).take_while(|(a, b)| a == b).count();
    let most = before.len().min(after.len()) - head;
    (head, before.iter().rev().zip(after.iter().rev()).take(most).take_while(|(a, b)| a == b).count())
}

/// Two texts without most of what they begin and end with alike.
fn apart(old: &str, new: &str) -> [String; 2] {
    let [before, after] = [old, new].map(|text| text.chars().collect::<Vec<char>>());
    let (head, tail) = in_common(&before, &after);
    [before, after].map(|text| {
        let (start, end) = (head.saturating_sub(AROUND), (text.len() - tail + AROUND).min(text.len()));
        let middle: String = text[start..end].iter().collect();
        let dots = |is_cut: bool| if is_cut { "..." } else { "" };
        format!("{}{middle}{}", dots(start > 0), dots(end < text.len()))
    })
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
