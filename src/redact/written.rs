//! How a secret stands in its file: what Helm takes for a tag, an anchor, a comment or another key, and its author may have
//! meant as part of it.

use std::ops::Range;

use super::name::is_secret_name;
use crate::yaml::{Entry, Node, NodeKind, Span, Style, Tree, Value};

/// How the value of a key was written, as places in [`Tree::source`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Where it begins: behind the colon.
    pub at: Span,
    /// A tag, with its `!`.
    pub tag: Option<Range<usize>>,
    /// An anchor, with its `&`.
    pub anchor: Option<Range<usize>>,
    /// All of it but a comment: properties and value. Empty where nothing was written.
    pub whole: Range<usize>,
    /// What cuts it: a comment without a blank behind its sign, such as the rest of a password that holds ` #`; in braces,
    /// a comma and the keys of nothing behind it.
    pub cut: Option<Range<usize>>,
}

impl Written {
    /// What Helm takes for something else than the secret, and its author may have meant as part of it.
    pub fn lost(&self) -> Option<Range<usize>> {
        let parts = [&self.tag, &self.anchor, &self.cut].into_iter().flatten();
        let start = parts.clone().map(|part| part.start).min()?;
        let end = parts.map(|part| part.end).max()?.max(self.whole.end);
        Some(if self.whole.is_empty() { start..end } else { start.min(self.whole.start)..end })
    }
}

/// How the value of an entry stands in the file, `behind` which these stand in its map; `None` where nothing is to be said
/// of it: an alias, a merge.
pub(super) fn of_entry(tree: &Tree, entry: &Entry, behind: &[Entry]) -> Option<Written> {
    let source = tree.source();
    let key = &entry.key_span;
    let is_asked = source[..key.bytes.start].trim_end_matches([' ', '\t']).ends_with('?');
    let colon = if is_asked { over_comments(source, key.bytes.end) } else { after_blanks(source, key.bytes.end) };
    let start = after_blanks(source, colon + source[colon..].strip_prefix(':').map(|_| 1)?);
    let value = &entry.value;
    if value.span.bytes.start < key.bytes.end || source[start..].starts_with('*') {
        return source[start..].starts_with('*').then(|| of_alias(tree, place_of(source, key, start), value)).flatten();
    }
    let mut written = behind_sign(tree, key, start, value);
    if written.whole.is_empty() && written.cut.is_none() {
        written.cut = cut_below(source, start, key.column - 1);
    }
    written.cut = written.cut.or_else(|| cut_by_comma(tree, written.whole.end, value, behind));
    Some(written)
}

/// The same of an item of a list, which begins behind `begin`: where the list begins, or the item before ends.
pub(super) fn of_item(tree: &Tree, begin: usize, item: &Node) -> Option<Written> {
    let source = tree.source();
    let sign = over_comments(source, begin);
    let is_sign = source[sign..].starts_with(['-', ',', '[']);
    let start = after_blanks(source, sign + usize::from(is_sign));
    if source[start..].starts_with('*') || item.span.bytes.start < begin {
        return of_alias(tree, item.span.clone(), item);
    }
    (start <= item.span.bytes.start || source[start..].starts_with(['#', '\n', '\r']))
        .then(|| behind_sign(tree, &item.span, start, item))
}

/// What stands behind a key's colon or an item's dash, at `start` or on a line below.
fn behind_sign(tree: &Tree, near: &Span, start: usize, value: &Node) -> Written {
    let source = tree.source();
    let begin = value.span.bytes.start;
    let next = |at: usize| {
        let below = over_comments(source, at);
        if below <= begin { below } else { at }
    };
    let first = next(start);
    let at = place_of(source, near, first);
    let mut written = Written { at, tag: None, anchor: None, whole: first..first, cut: None };
    let mut at = first;
    while let Some(place) = [('!', &mut written.tag), ('&', &mut written.anchor)]
        .into_iter()
        .find_map(|(sign, part)| (source[at..].starts_with(sign) && part.is_none()).then_some(part))
    {
        let end = at + source[at..].find(char::is_whitespace).unwrap_or(source.len() - at);
        *place = Some(at..end);
        written.whole.end = end;
        at = next(after_blanks(source, end));
    }
    if begin >= first {
        written.whole.end = written.whole.end.max(end_of(tree, value));
    }
    written.cut = cut_comment(source, written.whole.end);
    written
}

/// Of what an alias names, at whose own place `at` it is told: a tag before it, and a comment that cuts it.
fn of_alias(tree: &Tree, at: Span, node: &Node) -> Option<Written> {
    let source = tree.source();
    let begin = node.span.bytes.start;
    let before = source[..begin].trim_end_matches([' ', '\t']);
    let word = before.rsplit([' ', '\t', '\n']).next().filter(|word| word.starts_with('!'));
    let tag = word.map(|word| before.len() - word.len()..before.len());
    let end = end_of(tree, node).max(begin);
    let cut = cut_comment(source, end);
    let start = tag.as_ref().map_or(begin, |tag| tag.start);
    (tag.is_some() || cut.is_some()).then_some(Written { at, tag, anchor: None, whole: start..end, cut })
}

/// The place of `at`, behind `near`, which stands above it or in its line; before it only in its line.
fn place_of(source: &str, near: &Span, at: usize) -> Span {
    if at < near.bytes.start {
        let between = source[at..near.bytes.start].chars().count();
        return Span { line: near.line, column: near.column.saturating_sub(between).max(1), bytes: at..at };
    }
    let between = source.get(near.bytes.start..at).unwrap_or("");
    let line = near.line + between.matches('\n').count();
    let column = match between.rsplit_once('\n') {
        Some((_, margin)) => margin.chars().count() + 1,
        None => near.column + between.chars().count(),
    };
    Span { line, column, bytes: at..at }
}

/// Where a node ends. Of brackets, only their beginning is known.
pub(super) fn end_of(tree: &Tree, node: &Node) -> usize {
    let start = node.span.bytes.start;
    if node.scalar().is_none() && !tree.source()[start..].starts_with(['{', '[']) {
        return last_byte(tree, node, start);
    }
    let (inside, bracket) = match &node.kind {
        NodeKind::Scalar(_) => return start + tree.raw(node).trim_end().len(),
        NodeKind::List(items) => (items.last().map(|item| item.span.bytes.end), ']'),
        NodeKind::Map(entries) => (entries.last().map(|entry| entry.key_span.bytes.end), '}'),
    };
    let inside = inside.unwrap_or(start).max(start);
    inside + tree.source()[inside..].find(bracket).map_or(0, |at| at + 1)
}

/// Where the last value of a block ends.
fn last_byte(tree: &Tree, node: &Node, start: usize) -> usize {
    let own = |end: usize| end.max(start);
    match &node.kind {
        NodeKind::Scalar(_) => own(node.span.bytes.start + tree.raw(node).trim_end().len()),
        NodeKind::List(items) => items.iter().map(|item| last_byte(tree, item, start)).max().unwrap_or(start),
        NodeKind::Map(entries) => {
            let ends =
                entries.iter().map(|entry| own(entry.key_span.bytes.end).max(last_byte(tree, &entry.value, start)));
            ends.max().unwrap_or(start)
        }
    }
}

fn after_blanks(source: &str, at: usize) -> usize {
    at + source[at..].len() - source[at..].trim_start_matches([' ', '\t']).len()
}

/// A comment behind `at` in its line whose sign is part of a word.
fn cut_comment(source: &str, at: usize) -> Option<Range<usize>> {
    let sign = after_blanks(source, at);
    let is_glued = |rest: &str| rest.starts_with(|c: char| !c.is_whitespace() && !matches!(c, '#' | '-' | '='));
    (sign > 0 && source[..sign].ends_with([' ', '\t', ':']) && source[sign..].strip_prefix('#').is_some_and(is_glued))
        .then(|| {
            let line = &source[sign..][..source[sign..].find('\n').unwrap_or(source.len() - sign)];
            sign..sign + line.trim_end().len()
        })
}

/// Behind blanks, line ends and comments.
fn over_comments(source: &str, mut at: usize) -> usize {
    loop {
        let next = at + source[at..].len() - source[at..].trim_start_matches([' ', '\t', '\r', '\n']).len();
        let is_comment =
            source[next..].starts_with('#') && (next == 0 || source[..next].ends_with([' ', '\t', '\n', '\r']));
        if !is_comment {
            return next;
        }
        at = source[next..].find('\n').map_or(source.len(), |end| next + end);
    }
}

/// A comment of one word on the next line, deeper than its key: a secret that begins with its sign.
fn cut_below(source: &str, at: usize, margin: usize) -> Option<Range<usize>> {
    let mut begin = at + source[at..].find('\n').filter(|end| source[at..at + end].trim().is_empty())? + 1;
    for line in source[begin..].split_inclusive('\n') {
        let word = line.trim();
        let inner = line.len() - line.trim_start().len();
        if !word.is_empty() {
            let is_word =
                |word: &str| !word.is_empty() && !word.contains([' ', '\t', ':', '=', '#']) && !word.starts_with('-');
            let is_cut = inner > margin && word.strip_prefix('#').is_some_and(is_word);
            return is_cut.then(|| begin + inner..begin + inner + word.len());
        }
        begin += line.len();
    }
    None
}

/// A comma in braces that ends a secret without quotes, and what stands behind it as keys of nothing.
fn cut_by_comma(tree: &Tree, end: usize, value: &Node, behind: &[Entry]) -> Option<Range<usize>> {
    let source = tree.source();
    let is_plain = |scalar: &crate::yaml::Scalar| scalar.style == Style::Plain && scalar.value != Value::Null;
    value.scalar().filter(|scalar| is_plain(scalar))?;
    let is_comma = |text: &str| text.trim() == ",";
    let mut last = end;
    for entry in behind {
        let is_null = entry.value.scalar().is_some_and(|scalar| scalar.value == Value::Null);
        let is_nothing = is_null && tree.raw(&entry.value).trim().is_empty();
        let is_next = source.get(last..entry.key_span.bytes.start).is_some_and(is_comma);
        let is_given = source[entry.key_span.bytes.end..].trim_start().starts_with(':');
        if !is_next || !is_nothing || is_given || is_secret_name(&entry.key) {
            break;
        }
        last = entry.key_span.bytes.end;
    }
    (last > end).then(|| end + source[end..last].find(',').unwrap_or(0)..last)
}
