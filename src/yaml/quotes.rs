//! Whether quotes would fix a file that cannot be read: tried, and not guessed.

use super::faults::{conflict, fault_above};
use super::tree::{Tree, YamlError};

/// The error, and beside it what is to be put in quotes.
pub(super) fn explained(bytes: &[u8], error: YamlError) -> YamlError {
    let Ok(source) = std::str::from_utf8(bytes) else { return error };
    if let Some(conflict) = conflict(source, &error) {
        return conflict;
    }
    let fix = other_fix(&error.message).map(str::to_owned);
    let fix = fix.or_else(|| fault_above(source, &error)).or_else(|| quotes_that_fix(source, &error));
    let is_template = line_start(source, error.line)
        .and_then(|start| source[start..].lines().next())
        .is_some_and(|line| line.contains("{{"));
    let template = if is_template { "; a values file is no template, and Helm fills in nothing" } else { "" };
    let fix = fix.map(|fix| format!("; {fix}")).unwrap_or_default();
    YamlError { message: format!("{}{fix}{template}", error.message), ..error }
}

/// What else helps where quotes would only hide the fault.
fn other_fix(message: &str) -> Option<&'static str> {
    let begins = |begin: &str| message.starts_with(begin);
    if begins("text stands on the line of a document separator") {
        return Some("put what follows the `---` on a line of its own, or remove the `---`");
    }
    if begins("nearly all of the document") || message.ends_with("once aliases are followed") {
        return Some("write values out where aliases repeat them");
    }
    begins("a merge key").then_some("single quotes around the `<<` would make it a key like any other")
}

/// How many lines above the one where reading stopped may be where it went wrong.
const ABOVE: usize = 3;

/// What needs quotes, in words; nothing where quotes help nobody.
fn quotes_that_fix(source: &str, error: &YamlError) -> Option<String> {
    let lines = (error.line.saturating_sub(ABOVE).max(1)..=error.line).rev();
    lines.into_iter().find_map(|line| {
        let (what, how) = part_to_quote(source, line, error)?;
        let place = if line == error.line { String::new() } else { format!(" of line {line}") };
        let fixed = if line == error.line { "this line" } else { "it" };
        Some(match how {
            Quoting::Single => format!("single quotes around the {what}{place} would fix {fixed}"),
            Quoting::Double => format!("double quotes around the {what}{place} would fix {fixed}"),
            Quoting::Twice => {
                format!("single quotes around the {what}{place}, and each ' in it written twice, would fix {fixed}")
            }
            Quoting::Within => {
                format!("each ' within the quotes of the {what}{place}, written twice, would fix {fixed}")
            }
            Quoting::Closed => format!("a ' at the end of the {what}{place} would fix {fixed}"),
        })
    })
}

/// How a text is put in quotes.
#[derive(Clone, Copy)]
enum Quoting {
    Single,
    /// It has a `'`, and neither a `"` nor a backslash.
    Double,
    /// It has both.
    Twice,
    /// It stands in single quotes, and has one within.
    Within,
    /// It begins with the only `'` that it has.
    Closed,
}

impl Quoting {
    fn of(text: &str) -> Self {
        let (begins, ends) = (text.starts_with('\''), text.ends_with('\'') && text.len() > 1);
        match text.matches('\'').count() {
            0 => Self::Single,
            _ if begins && ends => Self::Within,
            1 if begins => Self::Closed,
            _ if text.contains(['"', '\\']) => Self::Twice,
            _ => Self::Double,
        }
    }

    fn around(self, text: &str) -> String {
        let twice = |text: &str| format!("'{}'", text.replace("''", "'").replace('\'', "''"));
        match self {
            Self::Single => format!("'{text}'"),
            Self::Double => format!("\"{text}\""),
            Self::Twice => format!("'{}'", text.replace('\'', "''")),
            Self::Within => twice(&text[1..text.len() - 1]),
            Self::Closed => format!("{text}'"),
        }
    }
}

/// What of a line needs quotes, and which, so that reading comes further than the error.
fn part_to_quote(source: &str, number: usize, error: &YamlError) -> Option<(&'static str, Quoting)> {
    let start = line_start(source, number)?;
    let end = source[start..].find('\n').map_or(source.len(), |at| start + at);
    let line = source[start..end].trim_end();
    let tried = |from: usize, to: usize| {
        let text = line.get(from..to).map(str::trim_end).filter(|text| !text.is_empty() && !is_whole(text))?;
        let how = Quoting::of(text);
        let quoted = how.around(text);
        let whole = [&source[..start + from], &quoted, &source[start + from + text.len()..]].concat();
        Some((Tree::parse(whole.as_bytes()), how))
    };
    // A key that is refused where it begins, in braces perhaps.
    if number == error.line
        && let Some((from, _)) = line.char_indices().nth(error.column.saturating_sub(1))
        && !line[from..].starts_with([' ', '\t'])
        && let Some(colon) = colon_in(&line[from..])
        && let Some((Ok(_), how)) = tried(from, from + colon)
    {
        return Some(("key", how));
    }
    let fixed_by = |from, to| {
        let (read, how) = tried(from, to)?;
        let is_fixed = match read {
            Ok(_) => true,
            Err(next) => next.line > error.line,
        };
        is_fixed.then_some(how)
    };
    let value = value_start(line);
    let item = item_start(line);
    if let Some(how) = value.and_then(|from| fixed_by(from, line.len())) {
        return Some(("value", how));
    }
    if let Some(how) = Some(item).filter(|from| *from > 0).and_then(|from| fixed_by(from, line.len())) {
        return Some(("item", how));
    }
    let indent = item.max(line.len() - line.trim_start().len());
    let Some(value) = value else {
        // A value on a line of its own, below its key.
        let above = source[..start].trim_end();
        let is_value = above.ends_with(':') && line[indent..].starts_with(['@', '`', '%', '*', '&', '!', '|', '>']);
        return fixed_by(indent, line.len()).filter(|_| is_value).map(|how| ("value", how));
    };
    let key_end = line[..value].trim_end().len() - 1;
    fixed_by(indent, key_end).map(|how| ("key", how))
}

/// Where the line of this number begins, as an error counts them.
fn line_start(source: &str, line: usize) -> Option<usize> {
    match line.checked_sub(2) {
        None => Some(0),
        Some(before) => source.match_indices('\n').nth(before).map(|(at, _)| at + 1),
    }
}

/// Where the value of a key begins: behind the first colon and blank.
fn value_start(line: &str) -> Option<usize> {
    let colon = colon_in(line)?;
    let rest = &line[colon + 1..];
    Some(line.len() - rest.trim_start().len()).filter(|from| *from < line.len())
}

/// The first colon that a blank follows.
fn colon_in(text: &str) -> Option<usize> {
    text.match_indices(':').map(|(at, _)| at).find(|at| text[at + 1..].starts_with([' ', '\t']))
}

/// Where the text of an item of a list begins; 0 where the line is none.
fn item_start(line: &str) -> usize {
    let mut rest = line.trim_start();
    let mut from = 0;
    while let Some(behind) = rest.strip_prefix("- ") {
        rest = behind.trim_start();
        from = line.len() - rest.len();
    }
    from
}

/// Whether a text stands in quotes already, as far as its ends tell.
fn is_whole(text: &str) -> bool {
    ['\'', '"'].iter().any(|sign| text.len() > 1 && text.starts_with(*sign) && text.ends_with(*sign))
        && !text[1..text.len() - 1].contains(['\'', '"'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(yaml: &str) -> Option<String> {
        let error = Tree::parse(yaml.as_bytes()).unwrap_err();
        quotes_that_fix(yaml, &error)
    }

    #[test]
    fn a_text_that_quotes_would_fix_is_called_that() {
        for value in [
            "@every 5m",
            "`date`",
            "%d-%m",
            "*.example.org",
            "&&",
            "& more",
            "a: b",
            "- x",
            "key: value: x",
            "[x] y",
            "{x} y",
            "]",
            "}",
            ", a",
            "? a",
            "| a",
            "> a",
            "! ",
            "\"x\" y",
            "'it's'",
            "{{ .Values.x }}-x",
            "[a",
            "{a",
            "x: - y",
            "{{ x }}: y",
            "!x!y z",
            "'",
            "\"abc",
            "*",
            "&",
        ] {
            for (yaml, what) in
                [(format!("a: 1\nb: {value}\nc: 1\n"), "value"), (format!("a:\n  b: {value}\n  c: 1\n"), "value")]
            {
                if let Err(error) = Tree::parse(yaml.as_bytes()) {
                    let said = quotes_that_fix(&yaml, &error);
                    assert!(said.as_ref().is_some_and(|said| said.contains(what)), "{yaml} {error} {said:?}");
                }
            }
            let yaml = format!("a:\n- {value}\n- c\n");
            if let Err(error) = Tree::parse(yaml.as_bytes()) {
                assert!(quotes_that_fix(&yaml, &error).is_some(), "{yaml} {error}");
            }
        }
        for key in ["@a", "`a`", "%a", "*a", "{{ a }}-b", "[a] b"] {
            assert!(said(&format!("x: 1\n{key}: 1\n")).is_some_and(|said| said.contains("key")), "{key}");
        }
        for yaml in ["{~: x}\n", "~: x\n", "a: {b: 1, ~: 2}\n", "a:\n- ~: x\n", "{null: x, b: 1}\n"] {
            let fix = "single quotes around the key would fix this line";
            assert_eq!(said(yaml).as_deref(), Some(fix), "{yaml}");
        }
    }

    /// What is said is done to the letter, and is the end of it.
    #[test]
    fn a_text_with_an_apostrophe_is_told_which_quotes() {
        for (yaml, words, done) in [
            ("m: It's: here\n", "double quotes around the value would fix this line", "m: \"It's: here\"\n"),
            ("m: 'It's: here'\n", "each ' within the quotes of the value, written twice,", "m: 'It''s: here'\n"),
            ("m: 'it's'\n", "each ' within the quotes of the value, written twice,", "m: 'it''s'\n"),
            ("m: It's \"x\": y\n", "and each ' in it written twice, would fix", "m: 'It''s \"x\": y'\n"),
            ("l:\n- @It's\n", "double quotes around the item", "l:\n- \"@It's\"\n"),
            ("m: 'abc\nn: 1\n", "a ' at the end of the value would fix this line", "m: 'abc'\nn: 1\n"),
            ("m: a: b\n", "single quotes around the value would fix this line", "m: 'a: b'\n"),
            ("m:\n  @x\n", "single quotes around the value would fix this line", "m:\n  '@x'\n"),
        ] {
            let said = said(yaml);
            assert!(said.as_ref().is_some_and(|said| said.contains(words)), "{yaml}: {said:?}");
            assert!(Tree::parse(done.as_bytes()).is_ok(), "{done}");
        }
    }

    #[test]
    fn where_quotes_would_hide_the_fault_something_else_is_said() {
        for (yaml, words) in [
            ("--- {a: 1}\n", "on a line of its own"),
            ("a: 1\n--- b\n", "on a line of its own"),
            ("a: {<<: 1}\n", "around the `<<`"),
            ("{{- if .x }}\na: 1\n{{- end }}\n", "no template"),
            ("a:\n  {{- toYaml .Values.x | nindent 2 }}\n", "no template"),
            ("- {{ x }}\n", "no template"),
        ] {
            let error = explained(yaml.as_bytes(), Tree::parse(yaml.as_bytes()).unwrap_err());
            assert!(error.message.contains(words), "{yaml}: {}", error.message);
        }
    }

    #[test]
    fn what_quotes_do_not_fix_says_nothing_of_them() {
        for yaml in ["a: 1\n\tb: 2\n", "a:\n  b: 1\n c: 2\n", "a: \"\\q\"\n", "- a\n- b\n", "a\n"] {
            assert_eq!(said(yaml), None, "{yaml}");
        }
    }
}
