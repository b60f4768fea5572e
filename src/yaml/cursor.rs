//! A place in a document that is being read, and the characters there, as Helm's parser sees them.

use super::documents::error_at;
use super::tree::{Span, YamlError};

/// A place in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct TextMark {
    /// In bytes.
    pub(super) at: usize,
    /// In characters.
    index: usize,
    /// From 0; Unicode's separators end a line, too.
    pub(super) line: usize,
    /// From 0, in characters.
    pub(super) column: usize,
}

impl TextMark {
    /// Whether `other` is too far behind for what began here to be a key.
    pub(super) fn is_too_far_from(&self, other: &TextMark) -> bool {
        self.line < other.line || self.index + 1024 < other.index
    }
}

/// Reads a text character by character.
pub(super) struct Cursor<'s> {
    pub(super) text: &'s str,
    pub(super) mark: TextMark,
}

impl<'s> Cursor<'s> {
    pub(super) fn new(text: &'s str) -> Self {
        let mut cursor = Self { text, mark: TextMark::default() };
        if text.starts_with('\u{feff}') {
            // The mark of the encoding is not part of the text.
            cursor.mark.at = '\u{feff}'.len_utf8();
        }
        cursor
    }

    /// The byte at some distance; 0 behind the end, and nowhere else.
    pub(super) fn byte(&self, ahead: usize) -> u8 {
        self.text.as_bytes().get(self.mark.at + ahead).copied().unwrap_or(0)
    }

    fn char(&self) -> Option<char> {
        self.text[self.mark.at..].chars().next()
    }

    pub(super) fn is_end(&self) -> bool {
        self.mark.at >= self.text.len()
    }

    /// How many bytes the end of a line has that begins at some distance; `None` where none does.
    fn line_end(&self, ahead: usize) -> Option<usize> {
        match (self.byte(ahead), self.byte(ahead + 1), self.byte(ahead + 2)) {
            (b'\r', b'\n', _) | (0xc2, 0x85, _) => Some(2),
            (b'\r' | b'\n', ..) => Some(1),
            (0xe2, 0x80, 0xa8 | 0xa9) => Some(3),
            _ => None,
        }
    }

    pub(super) fn is_break(&self, ahead: usize) -> bool {
        self.line_end(ahead).is_some()
    }

    pub(super) fn is_blank(&self, ahead: usize) -> bool {
        matches!(self.byte(ahead), b' ' | b'\t')
    }

    /// The end of a line, or of the text.
    pub(super) fn is_line_over(&self) -> bool {
        self.is_break(0) || self.is_end()
    }

    /// A blank, or where the line is over.
    pub(super) fn is_gap(&self, ahead: usize) -> bool {
        self.is_blank(ahead) || self.is_break(ahead) || self.mark.at + ahead >= self.text.len()
    }

    /// Whether the line begins here, with three signs and a gap that part documents.
    pub(super) fn is_document_sign(&self) -> bool {
        let signs = self.text.as_bytes().get(self.mark.at..self.mark.at + 3);
        self.mark.column == 0 && matches!(signs, Some(b"---" | b"...")) && self.is_gap(3)
    }

    /// Passes over a character.
    pub(super) fn skip(&mut self) {
        self.mark.at += self.char().map_or(0, char::len_utf8);
        self.mark.index += 1;
        self.mark.column += 1;
    }

    /// Passes over a character into `text`.
    pub(super) fn read(&mut self, text: &mut String) {
        text.extend(self.char());
        self.skip();
    }

    pub(super) fn skip_blanks(&mut self) {
        while self.is_blank(0) {
            self.skip();
        }
    }

    pub(super) fn skip_comment(&mut self) {
        if self.byte(0) == b'#' {
            while !self.is_line_over() {
                self.skip();
            }
        }
    }

    /// Passes over the end of a line, if there is one.
    pub(super) fn skip_line(&mut self) {
        if let Some(bytes) = self.line_end(0) {
            let is_pair = self.byte(0) == b'\r' && bytes == 2;
            self.mark.at += bytes;
            self.mark.index += if is_pair { 2 } else { 1 };
            self.mark.line += 1;
            self.mark.column = 0;
        }
    }

    /// The same into `text`: what ends a line is a line feed, but for two of Unicode's separators.
    pub(super) fn read_line(&mut self, text: &mut String) {
        match self.line_end(0) {
            Some(3) => text.extend(self.char()),
            Some(_) => text.push('\n'),
            None => {}
        }
        self.skip_line();
    }

    /// A refusal at a place. It quotes nothing.
    pub(super) fn refuse<T>(&self, mark: TextMark, message: &str) -> Result<T, YamlError> {
        Err(error_at(&self.span(mark, mark), message))
    }

    /// As a place in this text; lines are those that line feeds end.
    pub(super) fn span(&self, start: TextMark, end: TextMark) -> Span {
        let before = &self.text[..start.at];
        let begins = before.rfind('\n').map_or(0, |end| end + 1);
        // Nearly always, both count the same lines.
        let column = before[begins..].chars().filter(|c| *c != '\u{feff}').count() + 1;
        Span { line: before.matches('\n').count() + 1, column, bytes: start.at..end.at.max(start.at) }
    }
}
