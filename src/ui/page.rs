//! Pages for people, built in memory: lines, fields, tables, findings. Every page reads well without its colours.
//!
//! On a terminal running text is broken at words and tables are fitted to the width. Elsewhere (a pipe, a file) nothing
//! is broken or shortened: one thing is one line, so that it can be searched and cut.

use std::iter;

use jiff::Timestamp;
use unicode_width::UnicodeWidthStr;

use super::escape;
use super::masked::masked;
use super::repeated::Repeated;
use super::styled::{Role, Styled};
use crate::error::CommandError;
use crate::values::Secrets;

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
}

impl From<Mark> for Styled {
    fn from(mark: Mark) -> Self {
        match mark {
            Mark::Ok => Self::new(Role::Good, "ok"),
            Mark::Warn => Self::new(Role::Caution, "warn"),
            Mark::Bad => Self::new(Role::Bad, "bad"),
        }
    }
}

/// A page under construction.
#[derive(Debug)]
pub struct Page {
    lines: Vec<Styled>,
    width: Option<usize>,
    verbose: bool,
    secrets: Secrets,
    repeated: Repeated,
}

impl Page {
    /// An empty page for a terminal of the given width, or, without one, for a pipe or a file.
    pub fn new(width: Option<usize>) -> Self {
        Self { lines: Vec::new(), width, verbose: false, secrets: Secrets::default(), repeated: Repeated::default() }
    }

    /// The same, with what `secrets` knows masked in each text before the text is laid out.
    #[must_use]
    pub fn masking(mut self, secrets: Secrets) -> Self {
        self.secrets = secrets;
        self
    }

    /// The same, its commands with what was given.
    #[must_use]
    pub(super) fn repeating(mut self, repeated: Repeated) -> Self {
        self.repeated = repeated;
        self
    }

    /// The same, shortening nothing and leaving nothing out.
    #[must_use]
    pub fn verbose(mut self, verbose: bool) -> Self {
        self.verbose = verbose;
        self
    }

    /// Whether all is to be shown, however long.
    pub fn is_verbose(&self) -> bool {
        self.verbose
    }

    /// Whether a person looks at it, not a pipe or a file.
    pub fn is_for_a_terminal(&self) -> bool {
        self.width.is_some()
    }

    /// The width of the terminal, if it is for one.
    pub(super) fn width(&self) -> Option<usize> {
        self.width
    }

    /// The page without colours.
    #[cfg(test)]
    pub fn plain(&self) -> String {
        self.lines.iter().map(|line| line.plain() + "\n").collect()
    }

    /// The page with escapes for the colours.
    pub fn ansi(&self) -> String {
        self.lines.iter().map(|line| line.ansi() + "\n").collect()
    }

    /// Text as it is laid out already, whatever its length; its line ends end lines.
    pub fn line(&mut self, text: impl Into<Styled>) {
        self.push(self.safe(text.into(), |text| escape::lines(text).into_owned()));
    }

    /// An empty line.
    pub fn gap(&mut self) {
        self.lines.push(Styled::default());
    }

    pub fn heading(&mut self, text: &str) {
        self.wrapped("", "", Styled::new(Role::Strong, text));
    }

    /// Running text behind `first`, broken at words, each further line after `indent`. A command in backticks stays whole
    /// where a line holds it; where none does, its lines end as a shell wants it, so that it can be copied.
    pub fn wrapped(&mut self, first: impl Into<Styled>, indent: &str, text: impl Into<Styled>) {
        self.broken(first, indent, text, false);
    }

    fn broken(&mut self, first: impl Into<Styled>, indent: &str, text: impl Into<Styled>, mut in_command: bool) {
        const CONTINUED: &str = " \\";
        let room = self.width.map_or(usize::MAX, |width| width.min(READABLE));
        let mut line = first.into();
        let mut is_empty = true;
        let text = text.into();
        let completed = self.repeated.in_text(&text.plain());
        // A text with a command in it is of one piece.
        let text = if completed == text.plain() { text } else { completed.into() };
        let text = self.safe(text, |text| escape::lines(text).replace('\t', " "));
        // An odd one is no quote: what stands behind it is no command.
        let has_commands = text.plain().matches('`').count().is_multiple_of(2);
        for word in with_whole_commands(words(&text), room.saturating_sub(indent.width())) {
            let Word::Text(word) = word else {
                in_command = false;
                self.lines.push(std::mem::replace(&mut line, indent.into()));
                is_empty = true;
                continue;
            };
            let turns = has_commands && word.plain().matches('`').count() % 2 == 1;
            // The last word of a command has nothing behind it.
            let room = if in_command != turns { room.saturating_sub(CONTINUED.len()) } else { room };
            if !is_empty && line.width() + 1 + word.width() > room {
                if in_command {
                    line = line.then(Role::Plain, CONTINUED);
                }
                self.lines.push(std::mem::replace(&mut line, indent.into()));
            } else if !is_empty {
                line = line.then(Role::Plain, " ");
            }
            line = line.join(word);
            is_empty = false;
            in_command ^= turns;
        }
        self.lines.push(line);
    }

    /// `name   value`, names padded to `pad` columns.
    fn field(&mut self, name: &str, value: impl Into<Styled>, pad: usize) {
        let name = Styled::new(Role::Faint, name);
        match self.width {
            Some(width) if width < pad + 30 => {
                self.lines.push(name.then(Role::Plain, ":"));
                self.wrapped("  ", "  ", value);
            }
            _ => self.wrapped(name.padded(pad + 2), &" ".repeat(pad + 2), value),
        }
    }

    /// Several fields under each other, aligned: the names are the page's own, so the columns do not hang on content.
    pub fn fields<V: Into<Styled> + Clone>(&mut self, fields: &[(&str, V)]) {
        let pad = fields.iter().map(|(name, _)| name.width()).max().unwrap_or(0);
        for (name, value) in fields {
            self.field(name, value.clone(), pad);
        }
    }

    /// A finding: mark, text, and the command that fixes it.
    pub fn finding(&mut self, mark: Mark, text: &str, fix: Option<&str>) {
        self.marked(Styled::from(mark).padded(5), text, fix);
    }

    /// The same with the part that it is about, a word of at most eight columns.
    pub fn finding_of(&mut self, part: &str, mark: Mark, text: &str, fix: Option<&str>) {
        self.marked(Styled::from(mark).padded(5).then(Role::Faint, part).padded(15), text, fix);
    }

    fn marked(&mut self, first: Styled, text: &str, fix: Option<&str>) {
        let indent = " ".repeat(first.width());
        self.wrapped(first, &indent, text);
        if let Some(fix) = fix {
            let arrow = Styled::from(indent.as_str()).then(Role::Pointer, "->").then(Role::Plain, " ");
            self.wrapped(arrow, &format!("{indent}   "), self.repeated.in_line(fix));
        }
    }

    pub fn next(&mut self, command: &str) {
        self.ways_on([command]);
    }

    /// The command that is next, and those that can be run instead.
    pub fn ways_on<'c>(&mut self, commands: impl IntoIterator<Item = &'c str>) {
        for (command, label) in commands.into_iter().zip(iter::once("next:").chain(iter::repeat("or:"))) {
            let is_command = command.starts_with("dr ") && !command.contains(", ");
            let first = Styled::new(Role::Pointer, label).padded(6);
            self.broken(first, "      ", self.repeated.in_line(command), is_command);
        }
    }

    pub fn warning(&mut self, message: &str, hint: Option<&str>) {
        self.labelled(Role::Caution, "warning:", message);
        if let Some(hint) = hint {
            self.labelled(Role::Pointer, "hint:", hint);
        }
    }

    /// An error with its causes, the run that it leaves open, and its hints.
    pub fn error(&mut self, error: &CommandError) {
        self.labelled(Role::Bad, "error:", error.message());
        for cause in error.causes() {
            let first = Styled::from("  ").then(Role::Faint, "caused by:").then(Role::Plain, " ");
            self.wrapped(first, "             ", cause);
        }
        if let Some(open) = error.open_run() {
            let step = open.step.as_ref().map(|step| format!(", stopped in step {step}")).unwrap_or_default();
            self.labelled(Role::Caution, "open run:", &format!("{}{step}", open.run));
            for (way, command) in open.ways_on() {
                let way = Styled::from("  ").then(Role::Pointer, format!("{way}:")).padded(10);
                self.wrapped(way, "          ", self.repeated.in_line(&command));
            }
        }
        for hint in error.hints() {
            self.labelled(Role::Pointer, "hint:", hint);
        }
    }

    fn labelled(&mut self, role: Role, label: &str, text: &str) {
        let first = Styled::new(role, label).then(Role::Plain, " ");
        self.wrapped(first, &" ".repeat(label.width() + 1), text);
    }

    /// Adds lines that were laid out elsewhere in `ui`.
    pub(super) fn push(&mut self, text: Styled) {
        let mut line = Styled::default();
        for (role, piece) in text.pieces() {
            let mut parts = piece.split('\n');
            line = line.then(role, parts.next().unwrap_or_default());
            for part in parts {
                self.lines.push(std::mem::replace(&mut line, Styled::new(role, part)));
            }
        }
        self.lines.push(line);
    }

    /// What may be shown of a text: see [`masked`].
    pub(super) fn safe(&self, text: Styled, harmless: impl FnMut(&str) -> String) -> Styled {
        masked(&self.secrets, text, harmless)
    }
}

/// A piece of running text.
enum Word {
    Text(Styled),
    LineEnd,
}

impl Word {
    fn text(&self) -> Option<&Styled> {
        match self {
            Self::Text(text) => Some(text),
            Self::LineEnd => None,
        }
    }
}

/// The words of a text. Several spaces in a row stay: they set parts of a line off from each other.
fn words(text: &Styled) -> Vec<Word> {
    let mut words = Vec::new();
    let mut word = Styled::default();
    for (role, piece) in text.pieces() {
        for (index, line) in piece.split('\n').enumerate() {
            if index > 0 {
                words.extend([Word::Text(std::mem::take(&mut word)), Word::LineEnd]);
            }
            for (index, part) in line.split(' ').enumerate() {
                if index > 0 {
                    words.push(Word::Text(std::mem::take(&mut word)));
                }
                word = word.then(role, part);
            }
        }
    }
    words.push(Word::Text(word));
    words
}

/// The same words with those between two backticks as one, where a line of `room` columns holds it: a command that is
/// broken cannot be copied.
fn with_whole_commands(words: Vec<Word>, room: usize) -> Vec<Word> {
    let mut whole: Vec<Word> = Vec::with_capacity(words.len());
    let mut begins_at = None;
    for word in words {
        let turns = word.text().map(|text| text.plain().matches('`').count() % 2 == 1);
        if turns.is_none() {
            begins_at = None;
        }
        whole.push(word);
        if turns != Some(true) {
            continue;
        }
        let Some(begin) = begins_at.take() else {
            begins_at = Some(whole.len() - 1);
            continue;
        };
        let command =
            whole[begin..].iter().filter_map(Word::text).cloned().reduce(|a, b| a.then(Role::Plain, " ").join(b));
        if let Some(command) = command.filter(|command| command.width() <= room) {
            whole.truncate(begin);
            whole.push(Word::Text(command));
        }
    }
    whole
}

/// A time for people, in UTC: `2026-08-20 10:00:05Z`.
pub fn short_time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Exit;
    use proptest::prelude::*;

    #[test]
    fn a_secret_that_wrapping_would_break_is_masked_whole() {
        let secrets = Secrets::default();
        secrets.register(b"correct horse battery");
        let mut page = Page::new(Some(20)).masking(secrets);
        page.wrapped("", "  ", "it said correct horse battery staple");
        page.line(Styled::from("correct ").then(Role::Bad, "horse battery"));
        page.table(&["a"], &[vec!["correct horse battery"]]);
        page.error(&CommandError::new(Exit::Failure, "no correct horse battery").hint("correct horse battery"));
        let text = page.plain();
        assert!(!text.contains("horse") && text.contains("••••••••"), "{text}");
    }

    #[test]
    fn an_error_shows_cause_and_hint_and_wraps_at_words() {
        let error = CommandError::new(Exit::Failure, "read bundle x")
            .because(std::io::Error::other("no such file"))
            .hint("Look at `dr bundle list`.");
        let mut page = Page::new(Some(24));
        page.error(&error);
        assert_eq!(
            page.plain(),
            "error: read bundle x\n  caused by: no such\n             file\nhint: Look at\n      `dr bundle list`.\n"
        );
        let mut piped = Page::new(None);
        piped.error(&error);
        assert_eq!(piped.plain(), "error: read bundle x\n  caused by: no such file\nhint: Look at `dr bundle list`.\n");
    }

    #[test]
    fn an_open_run_and_its_ways_on_come_before_other_hints() {
        let open = crate::error::OpenRun::new("restore-1".into(), Some("stage".into()));
        let error = CommandError::new(Exit::NotEmpty, "namespace x is not empty").hint("Use another.").behind_it(open);
        let mut page = Page::new(Some(80));
        page.error(&error);
        assert_eq!(
            page.plain(),
            "error: namespace x is not empty\n\
             open run: restore-1, stopped in step stage\n  \
               resume: dr run resume restore-1\n  \
               abort:  dr run abort restore-1\n\
             hint: Use another.\n"
        );
    }

    #[test]
    fn a_command_that_no_line_holds_is_broken_as_a_shell_takes_it() {
        let mut page = Page::new(Some(40));
        page.next("dr bundle verify /mnt/usb/b.tar --trusted-signers signers --decrypt");
        page.warning(
            "x",
            Some("Try `dr bundle verify /mnt/usb/bundle.tar --decrypt` there, and look at what it says."),
        );
        assert_eq!(
            page.plain(),
            "next: dr bundle verify /mnt/usb/b.tar \\\n      --trusted-signers signers \\\n      --decrypt\n\
             warning: x\n\
             hint: Try `dr bundle verify \\\n      /mnt/usb/bundle.tar --decrypt`\n      there, and look at what it says.\n"
        );
        let mut page = Page::new(Some(30));
        page.warning("it said ` and no more of it came out", None);
        assert!(!page.plain().contains('\\'), "{}", page.plain());
    }

    #[test]
    fn a_text_of_several_lines_keeps_them_and_steers_nothing() {
        let mut page = Page::new(Some(40));
        page.finding(Mark::Warn, "helm said:\n\tError: x\u{1b}[2J", None);
        assert_eq!(page.plain(), "warn helm said:\n      Error: x\\u{1b}[2J\n");
    }

    proptest! {
        #[test]
        fn whatever_a_page_is_given_it_steers_no_terminal(
            texts in proptest::collection::vec(any::<String>(), 6),
            width in proptest::option::of(20usize..130),
            verbose in any::<bool>(),
        ) {
            let text = |index: usize| texts[index].as_str();
            let open = crate::error::OpenRun::new(text(0).into(), Some(text(1).into()));
            let error = CommandError::new(Exit::Failure, text(2)).because(std::io::Error::other(text(3).to_owned()));
            let mut page = Page::new(width).verbose(verbose);
            page.line(text(0));
            page.heading(text(1));
            page.wrapped(Styled::new(Role::Bad, "x "), "  ", text(2));
            page.fields(&[("name", text(3)), ("other", text(4))]);
            page.finding(Mark::Warn, text(4), Some(text(5)));
            page.finding_of("part", Mark::Ok, text(5), None);
            page.table(&["one", "two"], &[vec![text(0), text(1)], vec![text(2), text(3)]]);
            page.ways_on([text(0), text(3)]);
            page.warning(text(1), Some(text(2)));
            page.error(&error.hint(text(4)).behind_it(open));
            let plain = page.plain();
            prop_assert!(plain.chars().all(|c| matches!(c, '\n' | '\t') || crate::text::is_safe(c)), "{plain:?}");
            // Colours are its own, and all that it adds.
            prop_assert_eq!(anstream::adapter::strip_str(&page.ansi()).to_string(), plain);
        }
    }
}
