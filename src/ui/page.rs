//! Text for people, built in memory: lines, fields, tables, marks. Colour is written as escapes, which the streams
//! strip where it is not wanted; every page must read well without it.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use jiff::Timestamp;
use unicode_width::UnicodeWidthStr;

use crate::error::CommandError;
use crate::values::Secrets;

pub(super) const BOLD: Style = Style::new().bold();
pub(super) const DIM: Style = Style::new().dimmed();
pub(super) const GREEN: Style = AnsiColor::Green.on_default();
pub(super) const YELLOW: Style = AnsiColor::Yellow.on_default();
pub(super) const RED: Style = AnsiColor::Red.on_default();
pub(super) const CYAN: Style = AnsiColor::Cyan.on_default();

/// The most columns that running text takes.
const READABLE: usize = 100;

/// How something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// Well.
    Ok,
    /// It works, and may hurt later.
    Warn,
    /// It does not work.
    Bad,
    /// Just said.
    Plain,
}

impl Mark {
    /// The word, coloured.
    pub fn word(self) -> String {
        match self {
            Self::Ok => paint(GREEN, "ok"),
            Self::Warn => paint(YELLOW, "warn"),
            Self::Bad => paint(RED, "bad"),
            Self::Plain => String::new(),
        }
    }
}

/// A page under construction.
#[derive(Debug)]
pub struct Page {
    text: String,
    width: usize,
    secrets: Secrets,
}

impl Page {
    /// An empty page of the given width in columns.
    pub fn new(width: usize) -> Self {
        Self::masking(width, Secrets::default())
    }

    /// The same, with what `secrets` knows masked in each text before the text is laid out.
    pub fn masking(width: usize, secrets: Secrets) -> Self {
        Self { text: String::new(), width, secrets }
    }

    /// The width in columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// What was written, with colour escapes.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// A line as it is.
    pub fn line(&mut self, line: impl AsRef<str>) {
        self.text.push_str(&self.secrets.scrub(line.as_ref()));
        self.text.push('\n');
    }

    /// An empty line.
    pub fn gap(&mut self) {
        self.text.push('\n');
    }

    /// A heading.
    pub fn heading(&mut self, text: &str) {
        self.line(paint(BOLD, text));
    }

    /// Running text, broken at words, each line after `indent`; the first after `first`.
    pub fn wrapped(&mut self, first: &str, indent: &str, text: &str) {
        let text = self.secrets.scrub(text);
        let mut line = first.to_owned();
        let mut empty = true;
        for word in text.split(' ') {
            let needed = visible(&line) + usize::from(!empty) + visible(word);
            if needed > self.width.min(READABLE) && !empty {
                self.line(line);
                line = indent.to_owned();
                empty = true;
            }
            if !empty {
                line.push(' ');
            }
            line.push_str(word);
            empty = false;
        }
        self.line(line);
    }

    /// `name   value`, names padded to `pad` columns.
    pub fn field(&mut self, name: &str, value: impl AsRef<str>, pad: usize) {
        let head = format!("{}{}", paint(DIM, name), " ".repeat(pad.saturating_sub(name.width()) + 2));
        let indent = " ".repeat(pad + 2);
        if self.width < pad + 30 {
            self.line(format!("{}:", paint(DIM, name)));
            self.wrapped("  ", "  ", value.as_ref());
        } else {
            self.wrapped(&head, &indent, value.as_ref());
        }
    }

    /// Several fields under each other, aligned.
    pub fn fields(&mut self, fields: &[(&str, String)]) {
        let pad = fields.iter().map(|(name, _)| name.width()).max().unwrap_or(0);
        for (name, value) in fields {
            self.field(name, value, pad);
        }
    }

    /// A table. Where it is wider than the page, each row becomes a small paragraph of its own.
    pub fn table(&mut self, heads: &[&str], rows: &[Vec<String>]) {
        let masked = |cell: &String| self.secrets.scrub(cell).into_owned();
        let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(masked).collect()).collect();
        let rows = rows.as_slice();
        let mut widths: Vec<usize> = heads.iter().map(|head| head.width()).collect();
        for row in rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(visible(cell));
            }
        }
        if widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1) > self.width {
            return self.stacked(heads, rows);
        }
        let line = |cells: &mut dyn Iterator<Item = (String, usize)>| {
            let mut text = String::new();
            for (cell, width) in cells {
                let fill = width.saturating_sub(visible(&cell)) + 2;
                let _ = write!(text, "{cell}{}", " ".repeat(fill));
            }
            text.trim_end().to_owned()
        };
        self.line(line(&mut heads.iter().map(|head| paint(DIM, head)).zip(widths.iter().copied())));
        for row in rows {
            self.line(line(&mut row.iter().cloned().zip(widths.iter().copied())));
        }
    }

    fn stacked(&mut self, heads: &[&str], rows: &[Vec<String>]) {
        let pad = heads.iter().map(|head| head.width()).max().unwrap_or(0);
        for (index, row) in rows.iter().enumerate() {
            if index > 0 {
                self.gap();
            }
            for (head, cell) in heads.iter().zip(row) {
                if !cell.is_empty() {
                    self.field(head, cell, pad);
                }
            }
        }
    }

    /// A finding: mark, subject, text, and the command that mends it.
    pub fn finding(&mut self, mark: Mark, text: &str, fix: Option<&str>) {
        let word = mark.word();
        let head = format!("{word}{} ", " ".repeat(4usize.saturating_sub(visible(&word))));
        self.wrapped(&head, "     ", text);
        if let Some(fix) = fix {
            self.wrapped(&format!("     {} ", paint(CYAN, "->")), "        ", fix);
        }
    }

    /// What to do next.
    pub fn next(&mut self, command: &str) {
        self.wrapped(&format!("{} ", paint(CYAN, "next:")), "      ", command);
    }

    /// An error with its causes and hints.
    pub fn error(&mut self, error: &CommandError) {
        self.wrapped(&format!("{} ", paint(RED.bold(), "error:")), "       ", error.message());
        for cause in error.causes() {
            self.wrapped(&format!("  {} ", paint(DIM, "caused by:")), "             ", &cause);
        }
        for hint in error.hints() {
            self.wrapped(&format!("{} ", paint(CYAN, "hint:")), "      ", hint);
        }
    }
}

/// `text` in a style.
pub fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// The columns that a text takes, escapes left out.
pub(super) fn visible(text: &str) -> usize {
    if text.contains('\u{1b}') { anstream::adapter::strip_str(text).to_string().width() } else { text.width() }
}

/// A time for people, in UTC: `2026-08-20 10:00:05Z`.
pub fn short_time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Exit;

    fn plain(page: &Page) -> String {
        anstream::adapter::strip_str(page.text()).to_string()
    }

    #[test]
    fn a_table_too_wide_for_the_page_becomes_paragraphs() {
        let rows = vec![vec!["a".into(), "first".into()], vec!["b".into(), "second".into()]];
        let mut wide = Page::new(40);
        wide.table(&["id", "text"], &rows);
        assert_eq!(plain(&wide), "id  text\na   first\nb   second\n");
        let mut narrow = Page::new(8);
        narrow.table(&["id", "text"], &rows);
        assert_eq!(plain(&narrow), "id:\n  a\ntext:\n  first\n\nid:\n  b\ntext:\n  second\n");
    }

    #[test]
    fn a_secret_that_wrapping_would_break_is_masked_whole() {
        let secrets = Secrets::default();
        secrets.learn(b"correct horse battery");
        let mut page = Page::masking(20, secrets);
        page.wrapped("", "  ", "it said correct horse battery staple");
        page.table(&["a"], &[vec!["correct horse battery".into()]]);
        page.error(&CommandError::new(Exit::Failure, "no correct horse battery").hint("correct horse battery"));
        let text = plain(&page);
        assert!(!text.contains("horse") && text.contains("••••••••"), "{text}");
    }

    #[test]
    fn an_error_shows_cause_and_hint_and_wraps_at_words() {
        let error = CommandError::new(Exit::Failure, "read bundle x")
            .because(std::io::Error::other("no such file"))
            .hint("Look at `dr bundle list`.");
        let mut page = Page::new(24);
        page.error(&error);
        assert_eq!(
            plain(&page),
            "error: read bundle x\n  caused by: no such\n             file\nhint: Look at `dr bundle\n      list`.\n"
        );
    }
}
