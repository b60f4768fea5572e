//! From text to tokens, the way of libyaml, of which Helm's parser is a descendant: one pass, in which the beginning of a
//! key is only known when its colon comes.

use std::collections::{HashMap, VecDeque};

use super::cursor::{Cursor, TextMark};
use super::lexemes;
use super::token::{ScalarStyle, Token, TokenKind};
use super::tree::YamlError;

/// A token that may turn out to begin a key.
#[derive(Debug, Clone, Copy)]
struct PossibleKey {
    /// Whether nothing but a key may stand there.
    is_required: bool,
    number: usize,
    mark: TextMark,
}

/// A level of brackets.
#[derive(Debug, Clone, Copy, Default)]
struct Level {
    key: Option<PossibleKey>,
    /// Of the token that its last possible key began at; at first, that of its bracket.
    number: usize,
    /// Where its bracket stands.
    opened: Option<TextMark>,
}

/// The most levels of brackets or of margins that Helm's parser takes.
const DEEPEST: usize = 10_000;

const NO_END: &str = "the document has no end";
const NO_COLON: &str = "a key without its colon: this line is no `key: value`, or a text that needs quotes";

/// Gives tokens one by one, and reads no more of the text than it must to know them.
pub(super) struct Scanner<'s> {
    pub(super) cursor: Cursor<'s>,
    tokens: VecDeque<Token>,
    /// How many tokens were taken.
    taken: usize,
    is_over: bool,
    /// The column of the innermost block; -1 outside of all.
    margin: isize,
    margins: Vec<isize>,
    /// One for each bracket that is open, and one for none.
    levels: Vec<Level>,
    /// The tokens that wait for a colon, each with the level of its key.
    waiting: HashMap<usize, usize>,
    /// Whether a key may begin here.
    may_begin_key: bool,
}

impl<'s> Scanner<'s> {
    pub(super) fn new(text: &'s str) -> Self {
        Self {
            cursor: Cursor::new(text),
            tokens: VecDeque::new(),
            taken: 0,
            is_over: false,
            margin: -1,
            margins: Vec::new(),
            levels: vec![Level::default()],
            waiting: HashMap::new(),
            may_begin_key: true,
        }
    }

    /// The next token, which stays where it is.
    ///
    /// # Errors
    /// What stands there is nothing that Helm reads.
    pub(super) fn peek(&mut self) -> Result<&Token, YamlError> {
        loop {
            if !self.tokens.is_empty() {
                let Some(level) = self.waiting.get(&self.taken).copied() else { break };
                if !self.is_still_possible(level)? {
                    break;
                }
            }
            if self.is_over {
                break;
            }
            self.fetch()?;
        }
        match self.tokens.front() {
            Some(token) => Ok(token),
            None => self.cursor.refuse(self.cursor.mark, NO_END),
        }
    }

    /// Takes the next token.
    ///
    /// # Errors
    /// As [`Scanner::peek`].
    pub(super) fn take(&mut self) -> Result<Token, YamlError> {
        self.peek()?;
        self.taken += 1;
        match self.tokens.pop_front() {
            Some(token) => Ok(token),
            None => self.cursor.refuse(self.cursor.mark, NO_END),
        }
    }

    fn in_brackets(&self) -> bool {
        self.levels.len() > 1
    }

    fn column(&self) -> isize {
        self.cursor.mark.column as isize
    }

    fn fetch(&mut self) -> Result<(), YamlError> {
        self.skip_to_token();
        self.close_blocks(self.column());
        let cursor = &self.cursor;
        let is_gap = cursor.is_gap(1);
        match cursor.byte(0) {
            _ if cursor.is_end() => self.fetch_end(),
            b'%' if cursor.mark.column == 0 => self.fetch_directive(),
            b'-' if cursor.is_document_sign() => self.fetch_document_sign(TokenKind::DocumentStart),
            b'.' if cursor.is_document_sign() => self.fetch_document_sign(TokenKind::DocumentEnd),
            b'[' => self.open_bracket(TokenKind::FlowListStart),
            b'{' => self.open_bracket(TokenKind::FlowMapStart),
            b']' => self.close_bracket(TokenKind::FlowListEnd),
            b'}' => self.close_bracket(TokenKind::FlowMapEnd),
            b',' => {
                self.drop_key()?;
                self.may_begin_key = true;
                self.sign(TokenKind::FlowEntry);
                Ok(())
            }
            b'-' if is_gap => self.fetch_entry(),
            b'?' if is_gap || self.in_brackets() => self.fetch_key(),
            b':' if is_gap || self.in_brackets() => self.fetch_value(),
            b'*' | b'&' => self.fetch_lexeme(lexemes::anchor),
            b'!' => self.fetch_lexeme(lexemes::tag),
            b'|' | b'>' if !self.in_brackets() => self.fetch_block_scalar(),
            b'\'' | b'"' => self.fetch_lexeme(lexemes::quoted),
            // A dash before a tab is a list's, before the end of a line it was one above; before anything else it is text.
            b'-' if !cursor.is_blank(1) => self.fetch_plain(),
            b'?' | b':' if !self.in_brackets() && !is_gap => self.fetch_plain(),
            b'-' | b'?' | b':' | b'#' | b'|' | b'>' | b'%' | b'@' | b'`' | b'\t' => {
                let message = match cursor.byte(0) {
                    b'\t' => "a tab where only blanks may stand",
                    _ => "no text may begin with this sign without quotes",
                };
                cursor.refuse(cursor.mark, message)
            }
            _ => self.fetch_plain(),
        }
    }

    /// Passes over blanks, comments and empty lines. A tab is a blank only where no key may begin.
    fn skip_to_token(&mut self) {
        loop {
            let cursor = &mut self.cursor;
            let is_tab_blank = self.levels.len() > 1 || !self.may_begin_key;
            while cursor.byte(0) == b' ' || (is_tab_blank && cursor.byte(0) == b'\t') {
                cursor.skip();
            }
            cursor.skip_comment();
            if !cursor.is_break(0) {
                return;
            }
            cursor.skip_line();
            if !self.in_brackets() {
                self.may_begin_key = true;
            }
        }
    }

    /// Takes the signs of one token.
    fn sign(&mut self, kind: TokenKind) {
        let start = self.cursor.mark;
        self.cursor.skip();
        self.tokens.push_back(Token { kind, start, end: self.cursor.mark });
    }

    fn fetch_end(&mut self) -> Result<(), YamlError> {
        if let Some(opened) = self.levels.last().and_then(|level| level.opened) {
            return self.cursor.refuse(opened, "this bracket is not closed");
        }
        self.close_blocks(-1);
        self.drop_key()?;
        self.may_begin_key = false;
        self.is_over = true;
        let mark = self.cursor.mark;
        self.tokens.push_back(Token { kind: TokenKind::End, start: mark, end: mark });
        Ok(())
    }

    fn fetch_directive(&mut self) -> Result<(), YamlError> {
        self.close_blocks(-1);
        self.drop_key()?;
        self.may_begin_key = false;
        let start = self.cursor.mark;
        lexemes::directive(&mut self.cursor)?;
        self.tokens.push_back(Token { kind: TokenKind::Directive, start, end: self.cursor.mark });
        Ok(())
    }

    fn fetch_document_sign(&mut self, kind: TokenKind) -> Result<(), YamlError> {
        self.close_blocks(-1);
        self.drop_key()?;
        self.may_begin_key = false;
        let start = self.cursor.mark;
        (0..3).for_each(|_| self.cursor.skip());
        self.tokens.push_back(Token { kind, start, end: self.cursor.mark });
        Ok(())
    }

    fn open_bracket(&mut self, kind: TokenKind) -> Result<(), YamlError> {
        let number = self.taken + self.tokens.len();
        self.note_key()?;
        self.levels.push(Level { key: None, number, opened: Some(self.cursor.mark) });
        if self.levels.len() > DEEPEST + 1 {
            return self.cursor.refuse(self.cursor.mark, "brackets are nested more than 10000 levels deep");
        }
        self.may_begin_key = true;
        self.sign(kind);
        Ok(())
    }

    fn close_bracket(&mut self, kind: TokenKind) -> Result<(), YamlError> {
        self.drop_key()?;
        if self.in_brackets()
            && let Some(level) = self.levels.pop()
        {
            // Brackets without a key in them forget that they might be one themselves: so does Helm's parser.
            self.waiting.remove(&level.number);
        }
        self.may_begin_key = false;
        self.sign(kind);
        Ok(())
    }

    fn fetch_entry(&mut self) -> Result<(), YamlError> {
        if !self.in_brackets() {
            if !self.may_begin_key {
                return self.cursor.refuse(
                    self.cursor.mark,
                    "a list cannot begin here: its dash stands on a line of its own, or the text needs quotes",
                );
            }
            self.open_block(self.cursor.mark, None, TokenKind::BlockListStart)?;
        }
        self.drop_key()?;
        self.may_begin_key = true;
        self.sign(TokenKind::BlockEntry);
        Ok(())
    }

    fn fetch_key(&mut self) -> Result<(), YamlError> {
        if !self.in_brackets() {
            if !self.may_begin_key {
                return self
                    .cursor
                    .refuse(self.cursor.mark, "a key (`?`) cannot begin here: a text that begins so needs quotes");
            }
            self.open_block(self.cursor.mark, None, TokenKind::BlockMapStart)?;
        }
        self.drop_key()?;
        self.may_begin_key = !self.in_brackets();
        self.sign(TokenKind::Key);
        Ok(())
    }

    fn fetch_value(&mut self) -> Result<(), YamlError> {
        let level = self.levels.len() - 1;
        let key = if self.is_still_possible(level)? { self.levels[level].key.take() } else { None };
        if let Some(key) = key {
            self.waiting.remove(&key.number);
            self.insert(Some(key.number), Token { kind: TokenKind::Key, start: key.mark, end: key.mark });
            self.open_block(key.mark, Some(key.number), TokenKind::BlockMapStart)?;
            self.may_begin_key = false;
        } else {
            if !self.in_brackets() {
                if !self.may_begin_key {
                    return self.cursor.refuse(
                        self.cursor.mark,
                        "a colon and a blank cannot stand here: the margin is wrong, or the text needs quotes",
                    );
                }
                self.open_block(self.cursor.mark, None, TokenKind::BlockMapStart)?;
            }
            self.may_begin_key = !self.in_brackets();
        }
        self.sign(TokenKind::Value);
        Ok(())
    }

    /// An anchor, a tag or a text in quotes: it may begin a key, and none may begin behind it.
    fn fetch_lexeme(
        &mut self,
        read: impl FnOnce(&mut Cursor<'s>) -> Result<TokenKind, YamlError>,
    ) -> Result<(), YamlError> {
        self.note_key()?;
        self.may_begin_key = false;
        let start = self.cursor.mark;
        let kind = read(&mut self.cursor)?;
        self.tokens.push_back(Token { kind, start, end: self.cursor.mark });
        Ok(())
    }

    fn fetch_block_scalar(&mut self) -> Result<(), YamlError> {
        self.drop_key()?;
        self.may_begin_key = true;
        let (text, start, end) = lexemes::block(&mut self.cursor, self.margin)?;
        self.tokens.push_back(Token { kind: TokenKind::Scalar(text, ScalarStyle::Block), start, end });
        Ok(())
    }

    fn fetch_plain(&mut self) -> Result<(), YamlError> {
        self.note_key()?;
        let start = self.cursor.mark;
        let in_brackets = self.in_brackets();
        let (text, end, ended_line) = lexemes::plain(&mut self.cursor, self.margin, in_brackets)?;
        self.may_begin_key = ended_line;
        self.tokens.push_back(Token { kind: TokenKind::Scalar(text, ScalarStyle::Plain), start, end });
        Ok(())
    }

    /// Notes that a key may begin here.
    fn note_key(&mut self) -> Result<(), YamlError> {
        if self.may_begin_key {
            self.drop_key()?;
            let key = PossibleKey {
                is_required: !self.in_brackets() && self.margin == self.column(),
                number: self.taken + self.tokens.len(),
                mark: self.cursor.mark,
            };
            let level = self.levels.len() - 1;
            self.levels[level] = Level { key: Some(key), number: key.number, ..self.levels[level] };
            self.waiting.insert(key.number, level);
        }
        Ok(())
    }

    /// What was to be a key at this level is none.
    fn drop_key(&mut self) -> Result<(), YamlError> {
        let level = self.levels.len() - 1;
        let Some(key) = self.levels[level].key.take() else { return Ok(()) };
        self.waiting.remove(&key.number);
        if key.is_required { self.cursor.refuse(key.mark, NO_COLON) } else { Ok(()) }
    }

    /// Whether a key that began at this level may still be one; forgotten if not.
    fn is_still_possible(&mut self, level: usize) -> Result<bool, YamlError> {
        let Some(key) = self.levels[level].key else { return Ok(false) };
        if !key.mark.is_too_far_from(&self.cursor.mark) {
            return Ok(true);
        }
        if key.is_required {
            return self.cursor.refuse(key.mark, NO_COLON);
        }
        self.levels[level].key = None;
        self.waiting.remove(&key.number);
        Ok(false)
    }

    /// Begins a block where the margin grows; its token goes before the one of this number.
    fn open_block(&mut self, mark: TextMark, number: Option<usize>, kind: TokenKind) -> Result<(), YamlError> {
        let column = mark.column as isize;
        if self.in_brackets() || self.margin >= column {
            return Ok(());
        }
        self.margins.push(self.margin);
        self.margin = column;
        if self.margins.len() > DEEPEST {
            return self.cursor.refuse(mark, "blocks are nested more than 10000 levels deep");
        }
        self.insert(number, Token { kind, start: mark, end: mark });
        Ok(())
    }

    /// Puts a token before the one of this number, or last where there is none.
    fn insert(&mut self, number: Option<usize>, token: Token) {
        let place = number.and_then(|number| number.checked_sub(self.taken));
        self.tokens.insert(place.unwrap_or(self.tokens.len()), token);
    }

    fn close_blocks(&mut self, column: isize) {
        if self.in_brackets() {
            return;
        }
        let mark = self.cursor.mark;
        while self.margin > column {
            self.tokens.push_back(Token { kind: TokenKind::BlockEnd, start: mark, end: mark });
            self.margin = self.margins.pop().unwrap_or(-1);
        }
    }
}
