//! What the scanner gives: the signs and texts of a document, one by one.

use super::cursor::TextMark;

/// How a scalar was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ScalarStyle {
    Plain,
    Quoted,
    Block,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// `---`, `...`, a directive, or the end of the text.
    DocumentStart,
    DocumentEnd,
    Directive,
    End,
    BlockListStart,
    BlockMapStart,
    BlockEnd,
    FlowListStart,
    FlowListEnd,
    FlowMapStart,
    FlowMapEnd,
    /// The dash of a list, the comma between brackets.
    BlockEntry,
    FlowEntry,
    Key,
    Value,
    Alias(String),
    Anchor(String),
    /// In its short form: `!!str`, `!x`; `None` with a handle that nothing has declared.
    Tag(Option<String>),
    Scalar(String, ScalarStyle),
}

#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) start: TextMark,
    pub(super) end: TextMark,
}
