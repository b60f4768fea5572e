//! Faults of a file that stand above the place where reading stops: conflict marks, line separators of Unicode, and
//! brackets and quotes that nothing closes. The last two are tried, and not guessed.

use super::documents::LINE_SEPARATORS;
use super::tree::{Tree, YamlError};

/// The first mark that git leaves where it could not merge, as the error that the file has.
pub(super) fn conflict(source: &str, error: &YamlError) -> Option<YamlError> {
    let mark = |line: &str| {
        let line = line.trim_end();
        let sign = line.chars().next().filter(|sign| "<|=>".contains(*sign))?;
        let mark: String = std::iter::repeat_n(sign, 7).collect();
        (line == mark || line.starts_with(&format!("{mark} "))).then_some(mark)
    };
    let (place, mark) =
        source.lines().take(error.line).enumerate().find_map(|(place, line)| Some((place, mark(line)?)))?;
    let message = format!("git's conflict mark `{mark}` stands here: choose between the sides, and remove the marks");
    Some(YamlError { line: place + 1, column: 1, message })
}

/// What else is wrong than that quotes are missing; it is named first, since quotes would only hide it.
pub(super) fn fault_above(source: &str, error: &YamlError) -> Option<String> {
    separator(source, error).or_else(|| unclosed(source, error))
}

/// Whether a text with a change in it can be read, or further than the error; `more` lines came in before that.
fn is_better(text: &str, error: &YamlError, more: usize) -> bool {
    match Tree::parse(text.as_bytes()) {
        Ok(_) => true,
        Err(next) => next.line > error.line + more,
    }
}

fn separator(source: &str, error: &YamlError) -> Option<String> {
    let mut lines = source.lines().enumerate().take(error.line).collect::<Vec<_>>().into_iter().rev();
    let (place, sign) = lines
        .find_map(|(place, line)| Some((place, line.chars().rfind(|c| *c == '\r' || LINE_SEPARATORS.contains(c))?)))?;
    let what = match u32::from(sign) {
        0xd => "a carriage return alone (U+000D)".to_owned(),
        code => format!("a line separator of Unicode (U+{code:04X})"),
    };
    let without = source.replace("\r\n", "\n").replace('\r', " ").replace(LINE_SEPARATORS, " ");
    is_better(&without, error, 0).then(|| format!("{what} ends {} for Helm: remove it", named(place + 1, error)))
}

fn named(line: usize, error: &YamlError) -> String {
    if line == error.line { "this line".to_owned() } else { format!("line {line}") }
}

/// How many openings are tried, from the error upwards: each costs a reading of the file.
const TRIED: usize = 4;

fn unclosed(source: &str, error: &YamlError) -> Option<String> {
    let mut lines = Vec::new();
    let mut at = 0;
    for line in source.split_inclusive('\n').take(error.line) {
        lines.push((at, line.trim_end()));
        at += line.len();
    }
    let openings = lines.iter().enumerate().rev().flat_map(|(place, (start, line))| {
        openings(line).into_iter().map(move |from| (place, start + from, start + line.len()))
    });
    let mut tried = 0;
    for (place, from, line_end) in openings {
        let sign = source[from..].chars().next()?;
        let fixed = match sign {
            '"' | '\'' => {
                if closes(&source[from..line_end], sign) {
                    continue;
                }
                is_better(&[&source[..line_end], sign.encode_utf8(&mut [0; 4]), &source[line_end..]].concat(), error, 0)
            }
            _ => {
                let end = lines.last().map_or(line_end, |(start, line)| start + line.len());
                let Some(missing) = open_brackets(&source[from..end]) else { continue };
                // At the end of its own line, and of the one before the error.
                let before = lines[place..].iter().rev().skip(1).find(|(_, line)| !line.trim().is_empty());
                let ends = [Some(line_end), before.map(|(start, line)| start + line.len())];
                ends.into_iter().flatten().any(|end| {
                    let missing = open_brackets(&source[from..end]).unwrap_or_else(|| missing.clone());
                    let closed = [&source[..end], "\n ", &missing, &source[end..]].concat();
                    is_better(&closed, error, 1)
                })
            }
        };
        if fixed {
            return Some(format!("the `{sign}` of {} is not closed", named(place + 1, error)));
        }
        tried += 1;
        if tried == TRIED {
            break;
        }
    }
    None
}

/// Where a value, an item or a key of a line begins with a bracket or a quote.
fn openings(line: &str) -> Vec<usize> {
    let begins = |at: usize| line[at..].starts_with(['[', '{', '"', '\'']);
    let inner = line.char_indices().map(|(at, _)| at).filter(|at| {
        let before = line[..*at].trim_end_matches([' ', '\t']);
        before.is_empty() || before.ends_with(['[', '{', ',']) || (before.len() < *at && before.ends_with([':', '-']))
    });
    inner.filter(|at| begins(*at)).collect()
}

/// Whether a quoted text ends where it begins.
fn closes(text: &str, quote: char) -> bool {
    let mut chars = text.chars().skip(1);
    while let Some(c) = chars.next() {
        match c {
            '\\' if quote == '"' => drop(chars.next()),
            c if c == quote => return true,
            _ => {}
        }
    }
    false
}

/// What would close the brackets that a text opens; `None` where it closes the first itself.
fn open_brackets(text: &str) -> Option<String> {
    let mut open = String::new();
    let (mut before, mut chars) = (' ', text.chars());
    while let Some(c) = chars.next() {
        match c {
            '[' => open.insert(0, ']'),
            '{' => open.insert(0, '}'),
            ']' | '}' => {
                open = open.get(1..)?.to_owned();
                if open.is_empty() {
                    return None;
                }
            }
            '"' | '\'' if " \t\n[{,:".contains(before) => {
                while let Some(inner) = chars.next().filter(|inner| *inner != c) {
                    if inner == '\\' && c == '"' {
                        chars.next();
                    }
                }
            }
            '#' if before.is_whitespace() => drop(chars.by_ref().find(|inner| *inner == '\n')),
            _ => {}
        }
        before = c;
    }
    Some(open)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(yaml: &str) -> String {
        Tree::parse_or_explain(yaml.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn a_conflict_of_git_is_called_one() {
        for yaml in [
            "a: 1\n<<<<<<< HEAD\nb: 1\n=======\nb: 2\n>>>>>>> other\n",
            "a: 1\r\n<<<<<<< HEAD\r\nb: 1\r\n=======\r\n",
            "a: 1\n=======\nb: 2\n",
            "a: 1\n||||||| base\nb: 2\n",
            "a: 1\n>>>>>>> other\nb: 2\n",
        ] {
            let said = said(yaml);
            assert!(said.starts_with("line 2, column 1: git's conflict mark") && !said.contains("quotes"), "{said}");
        }
        let said = said("a: 1\n<<<<<<<<< x\n");
        assert!(!said.contains("conflict"), "{said}");
    }

    #[test]
    fn a_separator_of_unicode_is_named_with_its_line() {
        for (yaml, line, code) in [
            ("port: 81 # c2 \u{2028} x\n", "this line", "2028"),
            ("# see\u{85}next line\na: 1\n", "this line", "0085"),
            ("a: 1 # x\u{2029} y\n\n\n\n\nb: 1\n", "this line", "2029"),
        ] {
            let said = said(yaml);
            let wanted = format!("a line separator of Unicode (U+{code}) ends {line} for Helm: remove it");
            assert!(said.starts_with("line 1, ") && said.ends_with(&wanted), "{said}");
        }
        let said = said("a: 1\nport: 81 # was \r x\n");
        assert!(said.ends_with("a carriage return alone (U+000D) ends this line for Helm: remove it"), "{said}");
    }

    #[test]
    fn what_is_not_closed_is_named_and_no_quotes_are_advised_that_hide_it() {
        for (yaml, sign, line) in [
            ("a: {b: 1\nc: 2\n", '{', "line 1"),
            ("a: [1, 2\nb: 3\n", '[', "line 1"),
            ("a: [1, 2 # two\nb: 3\n", '[', "line 1"),
            ("a: 1\nb: [\n  1,\n  2,\n  3,\n  4\nc: 5\n", '[', "line 2"),
            ("a:\n  - {x: 1,\n     y: 2\n  - z\nb: 1\nc: 2\nd: 3\ne: 4\n", '{', "line 2"),
            ("a: \"x\nb: 1\n", '"', "this line"),
            ("a: \"x\nb: \"y\"\n", '"', "line 1"),
            ("a: 'x\nb: 'y'\n", '\'', "line 1"),
            ("a:\n- 'x\n- y\n", '\'', "this line"),
        ] {
            let said = said(yaml);
            assert!(said.ends_with(&format!("the `{sign}` of {line} is not closed")), "{yaml}{said}");
        }
        for yaml in ["a: 'it's'\n", "a: [x] y\n", "a: \"x\" y\n", "a: @x\n"] {
            assert!(!said(yaml).contains("not closed"), "{yaml}");
        }
    }
}
