//! Documents in a file, and places in it.

use std::ops::Range;

use super::tree::{Span, YamlError};

/// What ends a line for Helm's parser, and for nobody else.
pub(super) const LINE_SEPARATORS: [char; 3] = ['\u{85}', '\u{2028}', '\u{2029}'];

/// Where a line ends for Helm's parser and for nobody else: at a separator of Unicode, or at a carriage return that no line
/// feed follows.
pub fn odd_line_end(text: &str) -> Option<(usize, char)> {
    let is_odd = |(at, c): &(usize, char)| match c {
        '\r' => !text[*at + 1..].starts_with('\n'),
        c => LINE_SEPARATORS.contains(c),
    };
    text.char_indices().find(is_odd)
}

/// A document of a file.
pub(super) struct Document {
    pub(super) bytes: Range<usize>,
    /// Where the line begins that parts it from the one before.
    pub(super) separator: usize,
}

/// Cuts at lines that begin with `---`, as helm 4 does before it parses anything. Where nothing stands before such a line,
/// on the first one or behind another, helm 4 leaves it where it is, and it is for the parser.
pub(super) fn documents(source: &str) -> Result<Vec<Document>, YamlError> {
    let mut chunks = Vec::new();
    let (mut start, mut at, mut separator) = (0, 0, 0);
    let mut has_begun = false;
    for line in source.split_inclusive('\n') {
        if let Some(rest) = line.strip_prefix("---") {
            let rest = rest.trim_start();
            if !rest.is_empty() && !rest.starts_with('#') {
                let message = "text stands on the line of a document separator (`---`), which helm 4 refuses";
                return Err(error_at(&place_of(source, at), message));
            }
            if at > start {
                // Comments and blank lines before the first `---` are no document of their own.
                if has_begun {
                    chunks.push(Document { bytes: start..at, separator });
                }
                (start, separator) = (at + line.len(), at);
            } else if at > 0 {
                // Nothing at all between two of them is a document: helm 3 reads it, and no more.
                chunks.push(Document { bytes: at..at, separator });
                separator = at;
            }
            has_begun = true;
        } else if !has_begun {
            // The byte order mark is nothing, and no part of what stands behind it.
            let unmarked = if at == 0 { line.trim_start_matches('\u{feff}') } else { line };
            let text = unmarked.trim_start_matches(is_blank);
            has_begun = !(text.is_empty() || text.starts_with('#'));
        }
        at += line.len();
    }
    if at > start {
        chunks.push(Document { bytes: start..at, separator });
    }
    // At the end, nothing changes nothing.
    while chunks.len() > 1 && chunks.last().is_some_and(|last| is_separator_alone(&source[last.bytes.clone()])) {
        chunks.pop();
    }
    Ok(chunks)
}

/// Whether a document is empty, or a line `---` that helm 4 has left in it.
fn is_separator_alone(document: &str) -> bool {
    document
        .lines()
        .all(|line| line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with(is_blank)))
}

/// What is nothing to the parser: other blanks of Unicode are text.
fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n') || LINE_SEPARATORS.contains(&c)
}

pub(super) fn error_at(span: &Span, message: impl Into<String>) -> YamlError {
    YamlError { line: span.line, column: span.column, message: message.into() }
}

pub(super) fn at_end_of(before: &str, message: &str) -> YamlError {
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
    YamlError { line, column, message: message.into() }
}

fn place_of(source: &str, at: usize) -> Span {
    let error = at_end_of(&source[..at], "");
    Span { line: error.line, column: error.column, bytes: at..at }
}

/// A text and where its lines begin, for many places in it.
pub(super) struct Lines<'s> {
    pub(super) text: &'s str,
    starts: Vec<usize>,
}

impl<'s> Lines<'s> {
    pub(super) fn new(text: &'s str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, starts }
    }

    /// From 1.
    pub(super) fn line_of(&self, at: usize) -> usize {
        self.starts.partition_point(|start| *start <= at)
    }

    pub(super) fn place_of(&self, at: usize) -> Span {
        let line = self.line_of(at);
        Span { line, column: self.text[self.starts[line - 1]..at].chars().count() + 1, bytes: at..at }
    }

    /// The place of a line and a column of a part of the text, both counted from where Helm's parser ends lines.
    pub(super) fn place_in(&self, part: Range<usize>, wanted: (usize, usize)) -> Span {
        let text = &self.text[part.clone()];
        let (mut line, mut column, mut before) = (1, 1, ' ');
        let at = text.char_indices().find_map(|(at, c)| {
            if (line, column) >= wanted {
                return Some(at);
            }
            let is_end = matches!(c, '\n' | '\r') || LINE_SEPARATORS.contains(&c);
            match is_end && !(c == '\n' && before == '\r') {
                true => (line, column) = (line + 1, 1),
                false if c == '\n' => {}
                false => column += 1,
            }
            before = c;
            None
        });
        self.place_of(part.start + at.unwrap_or(text.len()))
    }
}

/// The span of a block scalar reaches to the next key: it ends where that line begins.
pub(super) fn up_to_line(source: &str, span: Span) -> Span {
    let text = source[span.bytes.clone()].trim_end_matches(' ');
    let end = if text.ends_with('\n') { span.bytes.start + text.len() } else { span.bytes.end };
    Span { bytes: span.bytes.start..end, ..span }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_before_the_first_separator_are_no_document() {
        let count = |source: &str| documents(source).unwrap().len();
        assert_eq!(count("# Site north\n---\na: 1\n"), 1);
        assert_eq!(count("\n\n---\na: 1\n"), 1);
        assert_eq!(count("\u{feff}# Site north\n---\na: 1\n"), 1);
        assert_eq!(count("\u{feff}\n---\na: 1\n"), 1);
        assert_eq!(count("\u{feff}a: 1\n---\nb: 1\n"), 2);
        assert_eq!(count("# x\na: 1\n---\nb: 1\n"), 2);
        // helm 3 reads the first document, which is empty.
        assert_eq!(count("---\n# x\n---\na: 1\n"), 2);
        assert_eq!(count("# x\n---\n# y\n---\na: 1\n"), 2);
        assert_eq!(count("---\n---\na: 1\n"), 2);
        assert_eq!(count("# x\n---\n---\na: 1\n"), 2);
        assert_eq!(count("a: 1\n---\n---\n"), 1);
        assert_eq!(count("---\na: 1\n---\n"), 1);
        assert_eq!(count("a: 1\n---\n--- # c\n"), 1);
        assert_eq!(count("---\n---\n---\na: 1\n"), 3);
        assert_eq!(count("---\n...\n---\na: 1\n"), 2);
        assert_eq!(count("\u{feff}---\n# c\n---\na: 1\n"), 2);
    }

    /// A `---` on the first line is cut by nobody: what stands behind it is no beginning of a file. As both majors of Helm
    /// read it, or helm 4 where there are several documents.
    #[test]
    fn what_stands_behind_a_separator_on_the_first_line_is_the_parsers() {
        use serde_json::{Value, json};

        let read = |source: &str| super::super::Tree::parse(source.as_bytes()).ok().map(|tree| tree.to_json());
        let cases: [(&str, Value); 16] = [
            ("---\n\u{feff}a: 1\nb: 2\n", json!({"\u{feff}a": 1, "b": 2})),
            ("--- \n\u{feff}a: 1\n", json!({"\u{feff}a": 1})),
            ("---\r\n\u{feff}a: 1\r\n", json!({"\u{feff}a": 1})),
            ("---\n\u{feff}\"a\": 1\n", json!({"\u{feff}\"a\"": 1})),
            ("---\n\u{feff}{a: 1}\n", json!({"\u{feff}{a": "1}"})),
            ("a: 1\n---\n---\n\u{feff}b: 1\n", json!({"a": 1, "\u{feff}b": 1})),
            ("# c\n---\n\u{feff}a: 1\n", json!({"a": 1})),
            ("\n---\n\u{feff}a: 1\n", json!({"a": 1})),
            ("a: 1\n---\n\u{feff}b: 1\n", json!({"a": 1, "b": 1})),
            ("---\n---\n\u{feff}a: 1\n", json!({"a": 1})),
            ("---\n...\n", json!({})),
            ("---\n...\n---\na: 1\n", json!({"a": 1})),
            ("---\n%YAML 1.1\n---\na: 1\n", json!({"a": 1})),
            ("---\n# c\n%YAML 1.1\n---\na: 1\n", json!({"a": 1})),
            ("---#x: 1\n", json!({"---#x": 1})),
            ("a: 1\n---\n---#x: 1\n", json!({"a": 1, "---#x": 1})),
        ];
        for (source, expected) in cases {
            assert_eq!(read(source), Some(expected), "{source:?}");
        }
        for source in [
            "---\n\u{feff}# c\na: 1\n",
            "---\n\u{feff}---\na: 1\n",
            "---\n\u{feff}\na: 1\n",
            "---\n%NO\n---\na: 1\n",
            "...\na: 1\n",
            "# c\n...\n",
        ] {
            assert_eq!(read(source), None, "{source:?}");
        }
    }
}
