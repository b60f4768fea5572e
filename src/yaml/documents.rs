//! Documents in a file, and places in it.

use std::ops::Range;

use super::tree::{Span, YamlError};

/// What ends a line for Helm's parser, and for nobody else.
pub(super) const LINE_SEPARATORS: [char; 3] = ['\u{85}', '\u{2028}', '\u{2029}'];

/// A document of a file.
pub(super) struct Document {
    pub(super) bytes: Range<usize>,
    /// Where the line begins that parts it from the one before.
    pub(super) separator: usize,
}

/// Cuts at lines that begin with `---`, as helm 4 does before it parses anything.
pub(super) fn documents(source: &str) -> Result<Vec<Document>, YamlError> {
    let mut chunks = Vec::new();
    let (mut start, mut at, mut separator) = (0, 0, 0);
    let mut begun = false;
    // Helm cuts after a line's end, and takes the end of the cut line along: what follows at once is text.
    let mut may_cut = false;
    for line in source.split_inclusive('\n') {
        // The byte order mark is nothing, and no part of what stands behind it.
        let unmarked = if at == 0 { line.trim_start_matches('\u{feff}') } else { line };
        if !begun && unmarked.trim_end_matches(is_blank) == "..." {
            return Err(error_at(&place_of(source, at), "a document ends (`...`) before it has begun"));
        }
        let was_begun = begun;
        let text = unmarked.trim_start_matches(is_blank);
        begun = !line.starts_with("---") && (begun || !(text.is_empty() || text.starts_with('#')));
        if let Some(rest) = line.strip_prefix("---") {
            let is_text = !rest.starts_with(|c: char| c.is_whitespace()) && !may_cut;
            if !rest.trim().is_empty() && (is_text || !rest.trim_start().starts_with('#')) {
                let message = "text stands on the line of a document separator (`---`), which helm 4 refuses";
                return Err(error_at(&place_of(source, at), message));
            }
            // Comments and blank lines before the first `---` are no document of their own.
            // Nothing at all between two of them is one: helm 3 reads it, and no more.
            if start > 0 || (at > start && was_begun) {
                chunks.push(Document { bytes: start..at, separator });
            }
            (start, separator) = (at + line.len(), at);
            may_cut = !may_cut;
        } else {
            may_cut = true;
        }
        at += line.len();
    }
    if at > start {
        chunks.push(Document { bytes: start..at, separator });
    }
    // At the end, nothing changes nothing.
    while chunks.len() > 1 && chunks.last().is_some_and(|last| last.bytes.is_empty()) {
        chunks.pop();
    }
    Ok(chunks)
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
    }
}
