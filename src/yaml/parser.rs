//! From tokens to events: which node begins and ends where.

use super::cursor::TextMark;
use super::scanner::Scanner;
use super::token::{ScalarStyle, Token, TokenKind as T};
use super::tree::YamlError;

/// What is said of the node that begins.
#[derive(Debug, Clone, Default)]
pub(super) struct Properties {
    pub(super) anchor: Option<String>,
    /// In its short form: `!!str`, `!x`.
    pub(super) tag: Option<String>,
}

#[derive(Debug, Clone)]
pub(super) enum EventKind {
    Scalar(String, ScalarStyle, Properties),
    Alias(String),
    ListStart(Properties),
    MapStart(Properties),
    /// Of a list or a map.
    End,
    DocumentEnd,
}

#[derive(Debug, Clone)]
pub(super) struct YamlEvent {
    pub(super) kind: EventKind,
    pub(super) start: TextMark,
    pub(super) end: TextMark,
}

/// What comes next, once what stands above it on the stack is done.
#[derive(Debug, Clone, Copy)]
enum State {
    Document,
    DocumentEnd,
    ListEntry,
    /// Of a list at its key's own column, which no token begins or ends.
    BareListEntry,
    MapKey,
    MapValue,
    FlowListFirst,
    FlowListEntry,
    /// Of a map without braces in a list: `[a: b]`.
    PairKey,
    PairValue,
    PairEnd,
    FlowMapFirst,
    FlowMapKey,
    FlowMapValue,
    /// Of a key without a colon.
    FlowMapNothing,
}

/// Gives the events of the first document of a text.
pub(super) struct Parser<'s> {
    pub(super) scanner: Scanner<'s>,
    states: Vec<State>,
}

const MISSING: &str = "a value is missing here, or the text needs quotes";

type Parsed = Result<YamlEvent, YamlError>;

impl<'s> Parser<'s> {
    pub(super) fn new(text: &'s str) -> Self {
        Self { scanner: Scanner::new(text), states: vec![State::Document] }
    }

    /// The next event; a document without content has its end alone.
    ///
    /// # Errors
    /// What comes is nothing that Helm reads.
    pub(super) fn next(&mut self) -> Parsed {
        match self.states.pop().unwrap_or(State::DocumentEnd) {
            State::Document => self.document(),
            State::DocumentEnd => self.document_end(),
            State::ListEntry => self.list_entry(),
            State::BareListEntry => self.bare_list_entry(),
            State::MapKey => self.map_key(),
            State::MapValue => self.map_value(),
            State::FlowListFirst => self.flow_list_entry(true),
            State::FlowListEntry => self.flow_list_entry(false),
            State::PairKey => self.pair_key(),
            State::PairValue => self.pair_value(),
            State::PairEnd => {
                let mark = self.scanner.peek()?.start;
                Ok(YamlEvent { kind: EventKind::End, start: mark, end: mark })
            }
            State::FlowMapFirst => self.flow_map_key(true),
            State::FlowMapKey => self.flow_map_key(false),
            State::FlowMapValue => self.flow_map_value(),
            State::FlowMapNothing => {
                let mark = self.scanner.peek()?.start;
                self.then_nothing(State::FlowMapKey, mark)
            }
        }
    }

    fn kind(&mut self) -> Result<&T, YamlError> {
        Ok(&self.scanner.peek()?.kind)
    }

    fn refuse(&mut self, message: &str) -> Parsed {
        let mark = self.scanner.peek()?.start;
        self.scanner.cursor.refuse(mark, message)
    }

    fn then_nothing(&mut self, next: State, mark: TextMark) -> Parsed {
        self.states.push(next);
        let kind = EventKind::Scalar(String::new(), ScalarStyle::Plain, Properties::default());
        Ok(YamlEvent { kind, start: mark, end: mark })
    }

    fn ended_by(token: Token) -> Parsed {
        Ok(YamlEvent { kind: EventKind::End, start: token.start, end: token.end })
    }

    fn document(&mut self) -> Parsed {
        match self.kind()? {
            T::End => self.document_end(),
            T::Directive => self.refuse(
                "a directive (`%`) without a document: Helm takes the line `---` that follows it for the end of one",
            ),
            T::DocumentEnd => self.refuse("a document ends (`...`) before it has begun"),
            T::DocumentStart => {
                // On the first line, behind a byte order mark, or where a carriage return alone ends the line before.
                let mark = self.scanner.take()?.end;
                if matches!(self.kind()?, T::Directive | T::DocumentStart | T::DocumentEnd | T::End) {
                    return self.then_nothing(State::DocumentEnd, mark);
                }
                self.states.push(State::DocumentEnd);
                self.node(true, false)
            }
            _ => {
                self.states.push(State::DocumentEnd);
                self.node(true, false)
            }
        }
    }

    fn document_end(&mut self) -> Parsed {
        let token = self.scanner.peek()?;
        let (start, end) = (token.start, if token.kind == T::DocumentEnd { token.end } else { token.start });
        Ok(YamlEvent { kind: EventKind::DocumentEnd, start, end })
    }

    /// A node with what is said of it. `is_block` where lists and maps without brackets may stand, `is_bare` where a list
    /// may begin without a margin of its own.
    fn node(&mut self, is_block: bool, is_bare: bool) -> Parsed {
        if let T::Alias(name) = self.kind()? {
            let kind = EventKind::Alias(name.clone());
            let token = self.scanner.take()?;
            return Ok(YamlEvent { kind, start: token.start, end: token.end });
        }
        let (properties, end_of_properties) = self.properties()?;
        if let T::Scalar(..) = self.kind()? {
            let Token { kind, start, end } = self.scanner.take()?;
            let T::Scalar(text, style) = kind else { return self.refuse(MISSING) };
            return Ok(YamlEvent { kind: EventKind::Scalar(text, style, properties), start, end });
        }
        let token = self.scanner.peek()?;
        let (start, end) = (token.start, token.end);
        let (kind, state) = match &token.kind {
            T::BlockEntry if is_bare => (EventKind::ListStart(properties), State::BareListEntry),
            T::FlowListStart => (EventKind::ListStart(properties), State::FlowListFirst),
            T::FlowMapStart => (EventKind::MapStart(properties), State::FlowMapFirst),
            T::BlockListStart if is_block => (EventKind::ListStart(properties), State::ListEntry),
            T::BlockMapStart if is_block => (EventKind::MapStart(properties), State::MapKey),
            _ => {
                return match end_of_properties {
                    Some(mark) => {
                        let kind = EventKind::Scalar(String::new(), ScalarStyle::Plain, properties);
                        Ok(YamlEvent { kind, start: mark, end: mark })
                    }
                    None => self.refuse(MISSING),
                };
            }
        };
        if !matches!(state, State::BareListEntry) {
            self.scanner.take()?;
        }
        self.states.push(state);
        Ok(YamlEvent { kind, start, end })
    }

    /// An anchor and a tag, each once and in either order, and where they end.
    fn properties(&mut self) -> Result<(Properties, Option<TextMark>), YamlError> {
        let (mut properties, mut end) = (Properties::default(), None);
        loop {
            match self.kind()? {
                T::Anchor(name) if properties.anchor.is_none() => properties.anchor = Some(name.clone()),
                T::Tag(Some(tag)) if properties.tag.is_none() => properties.tag = Some(tag.clone()),
                T::Tag(None) if properties.tag.is_none() => {
                    let message = "a tag by a handle that nothing declares: a text that begins with `!` needs quotes";
                    return self.refuse(message).map(|_| (properties, end));
                }
                _ => return Ok((properties, end)),
            }
            end = Some(self.scanner.take()?.end);
        }
    }

    fn list_entry(&mut self) -> Parsed {
        match self.kind()? {
            T::BlockEntry => {
                let mark = self.scanner.take()?.end;
                if matches!(self.kind()?, T::BlockEntry | T::BlockEnd) {
                    return self.then_nothing(State::ListEntry, mark);
                }
                self.states.push(State::ListEntry);
                self.node(true, false)
            }
            T::BlockEnd => Self::ended_by(self.scanner.take()?),
            _ => self
                .refuse("an item of a list begins with a dash: the margin is wrong, or the text before needs quotes"),
        }
    }

    fn bare_list_entry(&mut self) -> Parsed {
        if *self.kind()? != T::BlockEntry {
            let mark = self.scanner.peek()?.start;
            return Ok(YamlEvent { kind: EventKind::End, start: mark, end: mark });
        }
        let mark = self.scanner.take()?.end;
        if matches!(self.kind()?, T::BlockEntry | T::Key | T::Value | T::BlockEnd) {
            return self.then_nothing(State::BareListEntry, mark);
        }
        self.states.push(State::BareListEntry);
        self.node(true, false)
    }

    fn map_key(&mut self) -> Parsed {
        match self.kind()? {
            T::Key => {
                let mark = self.scanner.take()?.end;
                if matches!(self.kind()?, T::Key | T::Value | T::BlockEnd) {
                    return self.then_nothing(State::MapValue, mark);
                }
                self.states.push(State::MapValue);
                self.node(true, true)
            }
            T::BlockEnd => Self::ended_by(self.scanner.take()?),
            _ => self.refuse("a key is expected here: the margin is wrong, or the text before needs quotes as a whole"),
        }
    }

    fn map_value(&mut self) -> Parsed {
        let token = self.scanner.peek()?;
        if token.kind != T::Value {
            let mark = token.start;
            return self.then_nothing(State::MapKey, mark);
        }
        let mark = self.scanner.take()?.end;
        if matches!(self.kind()?, T::Key | T::Value | T::BlockEnd) {
            return self.then_nothing(State::MapKey, mark);
        }
        self.states.push(State::MapKey);
        self.node(true, true)
    }

    /// Whether an entry follows in these brackets: behind a comma, where it is not the first.
    fn comes_entry(&mut self, is_first: bool, close: &T) -> Result<bool, YamlError> {
        if self.kind()? == close {
            return Ok(false);
        }
        if !is_first {
            if *self.kind()? != T::FlowEntry {
                self.refuse("a comma or a closing bracket is missing: a text that holds a bracket, or begins with one, needs quotes")?;
            }
            self.scanner.take()?;
        }
        Ok(self.kind()? != close)
    }

    fn flow_list_entry(&mut self, is_first: bool) -> Parsed {
        if !self.comes_entry(is_first, &T::FlowListEnd)? {
            return Self::ended_by(self.scanner.take()?);
        }
        self.states.push(State::FlowListEntry);
        if *self.kind()? != T::Key {
            return self.node(false, false);
        }
        let token = self.scanner.take()?;
        self.states.push(State::PairKey);
        Ok(YamlEvent { kind: EventKind::MapStart(Properties::default()), start: token.start, end: token.end })
    }

    fn pair_key(&mut self) -> Parsed {
        if matches!(self.kind()?, T::Value | T::FlowEntry | T::FlowListEnd) {
            // Helm's parser passes over the very sign that it has seen here.
            let mark = self.scanner.take()?.end;
            return self.then_nothing(State::PairValue, mark);
        }
        self.states.push(State::PairValue);
        self.node(false, false)
    }

    fn pair_value(&mut self) -> Parsed {
        if *self.kind()? == T::Value {
            self.scanner.take()?;
            if !matches!(self.kind()?, T::FlowEntry | T::FlowListEnd) {
                self.states.push(State::PairEnd);
                return self.node(false, false);
            }
        }
        let mark = self.scanner.peek()?.start;
        self.then_nothing(State::PairEnd, mark)
    }

    fn flow_map_key(&mut self, is_first: bool) -> Parsed {
        if !self.comes_entry(is_first, &T::FlowMapEnd)? {
            return Self::ended_by(self.scanner.take()?);
        }
        if *self.kind()? != T::Key {
            self.states.push(State::FlowMapNothing);
            return self.node(false, false);
        }
        self.scanner.take()?;
        if matches!(self.kind()?, T::Value | T::FlowEntry | T::FlowMapEnd) {
            let mark = self.scanner.peek()?.start;
            return self.then_nothing(State::FlowMapValue, mark);
        }
        self.states.push(State::FlowMapValue);
        self.node(false, false)
    }

    fn flow_map_value(&mut self) -> Parsed {
        if *self.kind()? == T::Value {
            self.scanner.take()?;
            if !matches!(self.kind()?, T::FlowEntry | T::FlowMapEnd) {
                self.states.push(State::FlowMapKey);
                return self.node(false, false);
            }
        }
        let mark = self.scanner.peek()?.start;
        self.then_nothing(State::FlowMapKey, mark)
    }
}
