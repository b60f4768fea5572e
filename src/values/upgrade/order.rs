//! The operator's own order of blocks.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use zeroize::Zeroizing;

use super::edit::{has_entries, is_in_brackets};
use super::ends::value_end;
use super::report::Three;
use crate::yaml::{Entry, Node, NodeKind, Tree};

/// The proposal's text with its blocks in the operator's order, wherever the operator has changed the old release's. A key
/// that the operator has not stands behind the one that it follows in the new file. `None` where nothing is moved.
pub(super) fn as_yours(text: &str, three: Three<'_>) -> Option<Zeroizing<String>> {
    let proposed = Tree::parse(text.as_bytes()).ok()?;
    let mut order = Order { tree: &proposed, moved: false };
    let ordered = order.map(proposed.root(), Some(three.old.root()), Some(three.yours.root()), 0..text.len());
    order.moved.then_some(ordered)
}

struct Order<'t> {
    tree: &'t Tree,
    moved: bool,
}

impl Order<'_> {
    /// The text of a map.
    fn map(&mut self, map: &Node, old: Option<&Node>, yours: Option<&Node>, range: Range<usize>) -> Zeroizing<String> {
        let source = self.tree.source();
        let plain = || Zeroizing::new(source[range.clone()].to_owned());
        let (NodeKind::Map(entries), Some(old), Some(yours)) = (&map.kind, old, yours) else { return plain() };
        let is_whole = |entry: &Entry| {
            let line = source[..entry.key_span.bytes.start].rfind('\n').map_or(0, |end| end + 1);
            !entry.merged && source[line..entry.key_span.bytes.start].trim().is_empty()
        };
        if !has_entries(map) || is_in_brackets(self.tree, map) || !entries.iter().all(is_whole) {
            return plain();
        }
        let mut entries: Vec<&Entry> = entries.iter().collect();
        entries.sort_by_key(|entry| entry.key_span.bytes.start);
        let mut start = range.start + head(source, range.start, entries[0]);
        let mut out = Zeroizing::new(source[range.start..start].to_owned());
        let mut blocks: HashMap<&str, Zeroizing<String>> = HashMap::new();
        let keys: Vec<&str> = entries.iter().map(|entry| entry.key.as_str()).collect();
        for (place, entry) in entries.iter().enumerate() {
            let end = if place + 1 == entries.len() { range.end } else { self.line_after(value_end(self.tree, entry)) };
            blocks.insert(&entry.key, self.block(entry, old, yours, start..end));
            start = end;
        }
        let wanted = wanted(&keys, &names(old), &names(yours));
        self.moved |= wanted.is_some();
        for key in wanted.unwrap_or(keys) {
            if let Some(block) = blocks.get(key) {
                if !out.is_empty() && !out.ends_with('\n') {
                    out.push('\n');
                }
                out.push_str(block);
            }
        }
        out
    }

    /// The text of an entry, with what stands above it.
    fn block(&mut self, entry: &Entry, old: &Node, yours: &Node, range: Range<usize>) -> Zeroizing<String> {
        let source = self.tree.source();
        let below = self.line_after(entry.key_span.bytes.end);
        let is_block = has_entries(&entry.value) && entry.value.span.bytes.start >= below && below < range.end;
        if !is_block {
            return Zeroizing::new(source[range].to_owned());
        }
        let inner = self.map(&entry.value, old.child(&entry.key), yours.child(&entry.key), below..range.end);
        Zeroizing::new(format!("{}{}", &source[range.start..below], *inner))
    }

    fn line_after(&self, at: usize) -> usize {
        let source = self.tree.source();
        source[at..].find('\n').map_or(source.len(), |end| at + end + 1)
    }
}

/// How much of a text from `from` on stands before its first key and the comments that are that key's.
fn head(source: &str, from: usize, first: &Entry) -> usize {
    let line = source[..first.key_span.bytes.start].rfind('\n').map_or(0, |end| end + 1).max(from);
    let mut length = line - from;
    for text in source[from..line].split_inclusive('\n').rev() {
        if text.trim().is_empty() {
            return length;
        }
        length -= text.len();
    }
    0
}

fn names(map: &Node) -> Vec<&str> {
    match &map.kind {
        NodeKind::Map(entries) => entries.iter().map(|entry| entry.key.as_str()).collect(),
        _ => Vec::new(),
    }
}

/// The order that a map's keys are to have; `None` where they have it, or where the operator has moved none of them, or
/// has too few of them to have an order of the whole.
fn wanted<'k>(keys: &[&'k str], old: &[&str], yours: &[&str]) -> Option<Vec<&'k str>> {
    let known: HashSet<&str> = keys.iter().copied().collect();
    let in_yours: HashSet<&str> = yours.iter().copied().collect();
    let shipped: Vec<&str> = old.iter().copied().filter(|key| known.contains(key)).collect();
    let shared: Vec<&str> = shipped.iter().copied().filter(|key| in_yours.contains(key)).collect();
    let is_shared: HashSet<&str> = shared.iter().copied().collect();
    let own: Vec<&str> = yours.iter().copied().filter(|key| is_shared.contains(key)).collect();
    if own == shared || shared.len() * 2 < shipped.len() {
        return None;
    }
    // A key that is not the operator's stays behind the one that it stood behind.
    let mut followers: HashMap<Option<&str>, Vec<&'k str>> = HashMap::new();
    let mut before = None;
    for key in keys.iter().copied() {
        match in_yours.contains(key) {
            true => before = Some(key),
            false => followers.entry(before).or_default().push(key),
        }
    }
    let mut order: Vec<&'k str> = followers.remove(&None).unwrap_or_default();
    let places: HashMap<&str, &'k str> = keys.iter().map(|key| (*key, *key)).collect();
    for key in yours.iter().filter_map(|key| places.get(key).copied()) {
        order.push(key);
        order.extend(followers.remove(&Some(key)).unwrap_or_default());
    }
    (order != keys).then_some(order)
}
