//! Whether quotes would mend a file that cannot be read: tried, and not guessed.

use super::tree::{Tree, YamlError};

/// The error, and beside it what is to be put in quotes.
pub(super) fn explained(bytes: &[u8], error: YamlError) -> YamlError {
    let Ok(source) = std::str::from_utf8(bytes) else { return error };
    let Some(fix) = that_mend(source, &error) else { return error };
    let is_template = line_start(source, error.line)
        .and_then(|start| source[start..].lines().next())
        .is_some_and(|line| line.contains("{{"));
    let template = if is_template { "; a values file is no template, and Helm fills in nothing" } else { "" };
    YamlError { message: format!("{}; {fix}{template}", error.message), ..error }
}

/// How many lines above the one where reading stopped may be where it went wrong.
const ABOVE: usize = 3;

/// What is a text that needs quotes, in words; nothing where quotes help nobody.
fn that_mend(source: &str, error: &YamlError) -> Option<String> {
    let lines = (error.line.saturating_sub(ABOVE).max(1)..=error.line).rev();
    lines.into_iter().find_map(|line| {
        let what = that_mends(source, line, error)?;
        Some(match line == error.line {
            true => format!("{what} of this line, put in single quotes, would be read"),
            false => format!("{what} of line {line}, put in single quotes, would be read"),
        })
    })
}

/// What of a line needs quotes, so that reading comes further than the error.
fn that_mends(source: &str, number: usize, error: &YamlError) -> Option<&'static str> {
    let start = line_start(source, number)?;
    let end = source[start..].find('\n').map_or(source.len(), |at| start + at);
    let line = source[start..end].trim_end();
    let is_mended = |from: usize, to: usize| {
        let text = line.get(from..to).map(str::trim_end).filter(|text| !text.is_empty() && !is_whole(text))?;
        let quoted = format!("'{}'", text.replace('\'', "''"));
        let tried = [&source[..start + from], &quoted, &source[start + from + text.len()..]].concat();
        match Tree::read(tried.as_bytes()) {
            Ok(_) => Some(()),
            Err(next) => (next.line > error.line).then_some(()),
        }
    };
    let value = value_start(line);
    let item = item_start(line);
    if value.is_some_and(|from| is_mended(from, line.len()).is_some()) {
        return Some("the value");
    }
    if item > 0 && is_mended(item, line.len()).is_some() {
        return Some("the item");
    }
    let key_end = value.map(|from| line[..from].trim_end().len() - 1)?;
    let indent = item.max(line.len() - line.trim_start().len());
    is_mended(indent, key_end).map(|()| "the key")
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
    let colon = line.match_indices(':').map(|(at, _)| at).find(|at| line[at + 1..].starts_with([' ', '\t']))?;
    let rest = &line[colon + 1..];
    Some(line.len() - rest.trim_start().len()).filter(|from| *from < line.len())
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
        let error = Tree::read(yaml.as_bytes()).unwrap_err();
        that_mend(yaml, &error)
    }

    #[test]
    fn a_text_that_quotes_would_mend_is_called_that() {
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
                if let Err(error) = Tree::read(yaml.as_bytes()) {
                    let said = that_mend(&yaml, &error);
                    assert!(said.as_ref().is_some_and(|said| said.contains(what)), "{yaml} {error} {said:?}");
                }
            }
            let yaml = format!("a:\n- {value}\n- c\n");
            if let Err(error) = Tree::read(yaml.as_bytes()) {
                assert!(that_mend(&yaml, &error).is_some(), "{yaml} {error}");
            }
        }
        for key in ["@a", "`a`", "%a", "*a", "{{ a }}-b", "[a] b"] {
            assert!(said(&format!("x: 1\n{key}: 1\n")).is_some_and(|said| said.contains("key")), "{key}");
        }
    }

    #[test]
    fn what_quotes_do_not_mend_says_nothing_of_them() {
        for yaml in ["a: 1\n\tb: 2\n", "a:\n  b: 1\n c: 2\n", "a: \"\\q\"\n", "- a\n- b\n", "a\n"] {
            assert_eq!(said(yaml), None, "{yaml}");
        }
    }
}
