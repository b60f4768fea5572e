//! Text that others wrote, made harmless: what would steer a terminal or turn the reading direction is spelt out.
//!
//! Names, labels, helm's and the pods' lines and error texts of other programs are printed; any of them may hold bytes
//! that move the cursor, retitle the window or make one name look like another. The oracle of the tests is
//! [`is_safe`]: nothing that `ui` writes holds any other character, but for line ends, for tabs between the cells of
//! piped tables, and for its own colours.

use std::borrow::Cow;

use crate::text::is_safe;

/// One line of text: line ends and tabs are spaces, all else that is not safe is spelt out.
pub(super) fn one_line(text: &str) -> Cow<'_, str> {
    spell(text, |c, out| match c {
        '\n' | '\t' => out.push(' '),
        _ => out.extend(c.escape_default()),
    })
}

/// Text of several lines, tabs kept: for results whose layout is their own, such as a values file.
pub(super) fn lines(text: &str) -> Cow<'_, str> {
    spell(text, |c, out| match c {
        '\n' | '\t' => out.push(c),
        _ => out.extend(c.escape_default()),
    })
}

/// A JSON text with the same meaning: such characters stand only inside its strings, beside the layout's line ends.
pub(super) fn json(text: &str) -> Cow<'_, str> {
    spell(text, |c, out| match c {
        '\n' => out.push(c),
        _ => {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
    })
}

fn spell(text: &str, mut spelt: impl FnMut(char, &mut String)) -> Cow<'_, str> {
    if text.chars().all(is_safe) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_safe(c) { out.push(c) } else { spelt(c, &mut out) }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_steers_a_terminal_is_spelt_out() {
        assert_eq!(one_line("a\u{1b}[2Jb\tc\nd\u{9b}5m\u{7f}"), "a\\u{1b}[2Jb c d\\u{9b}5m\\u{7f}");
        assert_eq!(one_line("user\u{202e}txt.exe"), "user\\u{202e}txt.exe");
        assert_eq!(lines("a\tb\r\nc"), "a\tb\\r\nc");
        assert!(matches!(one_line("grüße 東京 👩‍💻 e\u{301}"), Cow::Borrowed(_)), "scripts and emoji stay as they are");
    }

    proptest! {
        #[test]
        fn json_keeps_its_meaning(text in any::<String>()) {
            let value = serde_json::json!({ text.as_str(): text });
            let written = serde_json::to_string_pretty(&value).unwrap();
            let escaped = json(&written);
            prop_assert!(escaped.chars().all(|c| c == '\n' || is_safe(c)));
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&escaped).unwrap(), value);
        }
    }
}
