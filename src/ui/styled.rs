//! Text in roles. A role says what a piece means; only here does it become a colour, and no page relies on it.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

use super::escape;

/// What a piece of text is, in a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Role {
    #[default]
    Plain,
    /// A heading.
    Strong,
    /// What is read last: labels, numbers, times.
    Faint,
    /// It is well; it was added.
    Good,
    /// It may hurt later; it was changed.
    Caution,
    /// It does not work; it was removed.
    Bad,
    /// Where to go next; what is under way.
    Pointer,
}

impl Role {
    fn style(self) -> Style {
        match self {
            Self::Plain => Style::new(),
            Self::Strong => Style::new().bold(),
            Self::Faint => Style::new().dimmed(),
            Self::Good => AnsiColor::Green.on_default(),
            Self::Caution => AnsiColor::Yellow.on_default(),
            Self::Bad => AnsiColor::Red.on_default(),
            Self::Pointer => AnsiColor::Cyan.on_default(),
        }
    }
}

/// A line of text in pieces, each in its role.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Styled(Vec<(Role, String)>);

impl Styled {
    /// One piece.
    pub fn new(role: Role, text: impl Into<String>) -> Self {
        Self(vec![(role, text.into())])
    }

    /// The same with one more piece at its end.
    #[must_use]
    pub fn then(mut self, role: Role, text: impl Into<String>) -> Self {
        self.0.push((role, text.into()));
        self
    }

    /// The same with another text at its end.
    #[must_use]
    pub fn join(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// The same in columns: spaces at its end up to `columns`.
    #[must_use]
    pub fn padded(self, columns: usize) -> Self {
        match columns.saturating_sub(self.width()) {
            0 => self,
            missing => self.then(Role::Plain, " ".repeat(missing)),
        }
    }

    /// The text without its roles.
    pub fn plain(&self) -> String {
        self.0.iter().map(|(_, text)| text.as_str()).collect()
    }

    /// The columns that it takes on a terminal.
    pub fn width(&self) -> usize {
        self.0.iter().map(|(_, text)| text.width()).sum()
    }

    /// Whether there is nothing to show.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|(_, text)| text.is_empty())
    }

    pub(super) fn pieces(&self) -> impl Iterator<Item = (Role, &str)> {
        self.0.iter().map(|(role, text)| (*role, text.as_str()))
    }

    /// The same with each piece's text changed.
    pub(super) fn map(self, mut change: impl FnMut(&str) -> String) -> Self {
        Self(self.0.into_iter().map(|(role, text)| (role, change(&text))).collect())
    }

    /// As one line that steers nothing; see [`escape::one_line`].
    #[must_use]
    pub(super) fn one_line(self) -> Self {
        self.map(|text| escape::one_line(text).into_owned())
    }

    /// At most `room` columns of it: its long names lose their middles, so that numbers, units and words stay. Where that
    /// is not enough, the last piece is shortened in its middle, and then what stands before it too; where little of that
    /// would be left, it is left out, and of a list that stands last the first items stay.
    #[must_use]
    pub(super) fn fitted(self, room: usize) -> Self {
        /// With less than this, a shortened text says nothing: at the end of a line, and before it.
        const LEAST: (usize, usize) = (6, 12);
        if self.width() <= room {
            return self;
        }
        let mut pieces = self.0;
        let named = shorten_names(pieces.clone(), room);
        if width_of(&named) <= room {
            return Self(named);
        }
        let Some((role, last)) = pieces.pop() else { return Self::default() };
        let before = Self(pieces);
        let left = room.saturating_sub(before.width());
        if before.is_empty() || left >= LEAST.0 {
            return before.then(role, shortened(&last, left));
        }
        if last.width() > room * 3 / 5
            && before.width() >= LEAST.1
            && let Some(items) = first_items(role, &last, room)
        {
            return items;
        }
        let left = last.width().min(room * 3 / 5);
        match room - left {
            share if share < LEAST.1.min(before.width()) => Self::new(role, shortened(&last, room)),
            share => Self::from(shortened(&before.plain(), share)).then(role, shortened(&last, left)),
        }
    }

    /// With escapes for the colours.
    pub(super) fn ansi(&self) -> String {
        let mut out = String::new();
        for (role, text) in &self.0 {
            let style = role.style();
            // Writing to a text cannot fail.
            let _ = write!(out, "{style}{text}{style:#}");
        }
        out
    }
}

impl From<&str> for Styled {
    fn from(text: &str) -> Self {
        Self::new(Role::Plain, text)
    }
}

impl From<String> for Styled {
    fn from(text: String) -> Self {
        Self::new(Role::Plain, text)
    }
}

impl From<&String> for Styled {
    fn from(text: &String) -> Self {
        Self::new(Role::Plain, text)
    }
}

fn width_of(pieces: &[(Role, String)]) -> usize {
    pieces.iter().map(|(_, text)| text.width()).sum()
}

/// As many of the first items of a list as fit, their long names shortened; none where it is no list or not even one fits.
fn first_items(role: Role, list: &str, room: usize) -> Option<Styled> {
    let items: Vec<&str> = list.split("; ").collect();
    let fitting = |count: usize| {
        let end = if count < items.len() { "; …" } else { "" };
        let named = shorten_names(vec![(role, items[..count].join("; ") + end)], room);
        (width_of(&named) <= room).then_some(Styled(named))
    };
    (1..=items.len()).rev().filter(|_| items.len() > 1).find_map(fitting)
}

/// Takes the middles out of the longest names until all is within `room`, or no name is long. A name has a digit, or what
/// joins the words of names.
fn shorten_names(mut pieces: Vec<(Role, String)>, room: usize) -> Vec<(Role, String)> {
    /// As much of a name tells it from others.
    const NAME: usize = 12;
    let is_long =
        |word: &&str| word.width() > NAME && word.contains(|c: char| c.is_ascii_digit() || "-_/.".contains(c));
    loop {
        let over = width_of(&pieces).saturating_sub(room);
        let words = pieces.iter().enumerate().flat_map(|(place, (_, text))| {
            text.split(' ').filter(is_long).map(move |word| (place, word.width(), word.to_owned()))
        });
        let Some((place, width, word)) = words.max_by_key(|(_, width, _)| *width).filter(|_| over > 0) else {
            return pieces;
        };
        let text = &mut pieces[place].1;
        *text = text.replacen(&word, &shortened(&word, NAME.max(width.saturating_sub(over))), 1);
    }
}

/// At most `room` columns of `text`, its beginning and its end: names differ at both.
pub(super) fn shortened(text: &str, room: usize) -> String {
    if text.width() <= room {
        return text.to_owned();
    }
    let Some(kept) = room.checked_sub(1) else { return String::new() };
    let head_room = kept.div_ceil(2);
    let mut head = String::new();
    let mut used = 0;
    // Whole graphemes: a wide or combined character is kept or dropped, never halved.
    for grapheme in text.graphemes(true) {
        if used + grapheme.width() > head_room {
            break;
        }
        used += grapheme.width();
        head.push_str(grapheme);
    }
    let mut tail: Vec<&str> = Vec::new();
    for grapheme in text[head.len()..].graphemes(true).rev() {
        if used + grapheme.width() > kept {
            break;
        }
        used += grapheme.width();
        tail.push(grapheme);
    }
    head.push('…');
    head.extend(tail.into_iter().rev());
    head
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_shortened_text_keeps_both_ends() {
        assert_eq!(shortened("opschain-20260820T101500Z-0a1b2c", 16), "opschain…-0a1b2c");
        assert_eq!(shortened("short", 5), "short");
        assert_eq!([shortened("abcdef", 1), shortened("abcdef", 0)], ["…", ""]);
        // Two columns each: the fourth does not fit beside the mark.
        assert_eq!(shortened("東京都庁前", 6), "東…前");
    }

    #[test]
    fn a_mark_before_a_long_text_stays() {
        let cell = Styled::new(Role::Bad, "bad").then(Role::Plain, " manifest.json: line 3 is damaged");
        assert_eq!(cell.fitted(20), Styled::new(Role::Bad, "bad").then(Role::Plain, " manifes… damaged"));
    }

    #[test]
    fn where_two_pieces_do_not_fit_something_of_both_is_seen() {
        let seen = Styled::from("for pod dr-create-ab1f4b to be ready: ").then(Role::Plain, "ContainerCreating");
        let fitted = [40, 30, 24, 12].map(|room| seen.clone().fitted(room).plain());
        assert_eq!(
            fitted,
            [
                "for pod dr-… be ready: ContainerCreating",
                "for po…eady: ContainerCreating",
                "ContainerCreating",
                "Contai…ating"
            ]
        );
        let cell = Styled::new(Role::Bad, "bad").then(Role::Plain, " manifest.json: line 3 is damaged");
        assert_eq!(cell.fitted(8).plain(), "bad m…d");
    }

    proptest! {
        #[test]
        fn a_shortened_text_fits(text in "[a-z\u{301}東👩\u{200d}💻é ]{0,40}", room in 0usize..30) {
            let short = shortened(&text, room);
            prop_assert!(short.width() <= room.max(text.width().min(room)), "{short:?} in {room}");
            prop_assert!(text.width() > room || short == text);
        }
    }
}
