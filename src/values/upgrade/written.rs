//! A file's text with aliases written out: what they name stands in their places.

use std::collections::HashSet;
use std::ops::Range;

use serde_json::Value;
use zeroize::Zeroizing;

use super::edit::as_key;
use crate::values::excerpt::{block_end, flow_end};
use crate::values::overlay::as_json;
use crate::yaml::{AliasPlace, Node, NodeKind, Tree, alias_places};

type Text = Zeroizing<String>;

/// The file with the aliases of these names written out. `None` where it has none of them.
pub(super) fn written_out(base: &Tree, names: &HashSet<String>) -> Option<Tree> {
    written_where(base, |place| names.contains(&place.name))
}

/// The file with the aliases in a node's text written out that name what stands outside of it. `None` where it has none.
pub(super) fn written_within(base: &Tree, node: &Node) -> Option<Tree> {
    let text = text_of(base, node);
    let is_outside = |at: usize| !text.contains(&at);
    written_where(base, |place| text.contains(&place.at.start) && place.anchor.is_some_and(is_outside))
}

/// The file with some of its aliases written out. `None` where it has none of them.
pub(super) fn written_where(base: &Tree, is_wanted: impl Fn(&AliasPlace) -> bool) -> Option<Tree> {
    let mut text = Zeroizing::new(base.source().to_owned());
    let mut is_changed = false;
    for place in alias_places(base.source()).into_iter().rev().filter(is_wanted) {
        let value = written_at(base, place.anchor?)?.to_json();
        let (start, keys) = merged_keys(base, place.at.start, &value).unwrap_or((place.at.start, as_json(&value)));
        text = spliced(&text, start, place.at.end, &keys);
        is_changed = true;
    }
    let written = Tree::parse(text.as_bytes()).ok()?;
    (is_changed && written.root().same_as(base.root())).then_some(written)
}

/// What stands in the place of a merge of `value`, whose alias is at `at`: the keys that its map has not itself, and where
/// the merge begins. `None` where it is no merge.
fn merged_keys(tree: &Tree, at: usize, value: &Value) -> Option<(usize, Text)> {
    let source = tree.source();
    let start = source[..at].trim_end_matches(' ').strip_suffix("<<:")?.len();
    let (map, Value::Object(keys)) = (map_around(tree, tree.root(), start)?, value) else { return None };
    let NodeKind::Map(own) = &map.kind else { return None };
    let is_own = |key: &String| own.iter().any(|entry| !entry.merged && entry.key == *key);
    let between = match source[map.span.bytes.start..].starts_with('{') {
        true => ", ".to_owned(),
        false => format!("\n{}", " ".repeat(start - source[..start].rfind('\n').map_or(0, |end| end + 1))),
    };
    let lines = keys.iter().filter(|(key, _)| !is_own(key));
    let lines: Vec<String> = lines.map(|(key, value)| format!("{}: {}", as_key(key), *as_json(value))).collect();
    if !lines.is_empty() {
        return Some((start, Zeroizing::new(lines.join(&between))));
    }
    // All of it is overridden, and may not be any longer once it is edited.
    let line = source[..start].rfind('\n').map_or(0, |end| end + 1);
    Some(match source[line..start].trim().is_empty() && !source[map.span.bytes.start..].starts_with('{') {
        true => (line, Text::default()),
        false => (start, Zeroizing::new("<<: {}".to_owned())),
    })
}

/// The innermost map whose text a byte is in.
fn map_around<'t>(tree: &'t Tree, node: &'t Node, at: usize) -> Option<&'t Node> {
    match &node.kind {
        NodeKind::Scalar(_) => None,
        NodeKind::List(items) => items.iter().find_map(|item| map_around(tree, item, at)),
        NodeKind::Map(entries) => {
            let own = entries.iter().filter(|entry| !entry.merged);
            let below = own.filter_map(|entry| map_around(tree, &entry.value, at)).next();
            below.or_else(|| text_of(tree, node).contains(&at).then_some(node))
        }
    }
}

/// Where a node's own text stands.
pub(super) fn text_of(tree: &Tree, node: &Node) -> Range<usize> {
    let (source, start) = (tree.source(), node.span.bytes.start);
    let end = match &node.kind {
        NodeKind::Scalar(_) => Some(node.span.bytes.end),
        _ if source[start..].starts_with(['{', '[']) => flow_end(source, start),
        _ => Some(block_end(tree, node)),
    };
    start..end.unwrap_or(source.len())
}

/// The same, in what Helm drops as well.
fn written_at(tree: &Tree, at: usize) -> Option<&Node> {
    let dropped = || tree.overridden().iter().find_map(|dropped| node_at(&dropped.entry.value, at));
    node_at(tree.root(), at).or_else(dropped)
}

/// The node that begins at a byte.
pub(super) fn node_at(node: &Node, at: usize) -> Option<&Node> {
    if node.span.bytes.start == at {
        return Some(node);
    }
    match &node.kind {
        NodeKind::Scalar(_) => None,
        NodeKind::List(items) => items.iter().find_map(|item| node_at(item, at)),
        NodeKind::Map(entries) => {
            entries.iter().filter(|entry| !entry.merged).find_map(|entry| node_at(&entry.value, at))
        }
    }
}

pub(super) fn spliced(source: &str, from: usize, to: usize, text: &str) -> Text {
    Zeroizing::new([&source[..from], text, &source[to..]].concat())
}
