//! A text in which one place shall differ from another that it shares an anchor with (`<<: *name`, `*name`).
//!
//! A key that is written behind a merge overrides what the merge brings, for this map alone. So each difference that
//! comes through an anchor is parted from it there; what else differs is for the caller to find.

use std::collections::HashSet;

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::edit::has_merge;
use super::text::{as_key, value_end};
use crate::values::excerpt::{block_end, flow_end};
use crate::values::overlay::as_json;
use crate::yaml::{Entry, Node, NodeKind, Path, Segment, Tree, alias_places};

type Text = Zeroizing<String>;

/// The most places that are parted: each costs a reading of the file.
const MOST: usize = 500;

/// A map gets a key from an anchor that it must not have.
pub(super) struct Entangled {
    pub(super) path: Path,
    /// The names of the anchors that it takes from.
    pub(super) names: HashSet<String>,
}

/// The text, brought to say what is wanted as far as only anchors stand between the two. What a merge brings cannot be
/// taken away again: where it is what the operator's file `said` there, such a key of no use stays, and is wanted then.
pub(super) fn parted(text: Text, mut wanted: Value, said: Option<&Value>) -> Result<(Text, Value), Entangled> {
    let mut parted = text.clone();
    for _ in 0..MOST {
        let Ok(tree) = Tree::parse(parted.as_bytes()) else { break };
        let read = tree.to_json();
        if read == wanted {
            return Ok((parted, wanted));
        }
        let path = first_difference(&read, &wanted, Path::root());
        match part(&tree, &path, &mut wanted) {
            Some(Parting::Text(text)) => parted = text,
            Some(Parting::Kept(_)) if said.is_some_and(|said| is_same_at(&path, said, &read)) => {}
            Some(Parting::Kept(names)) => return Err(Entangled { path, names }),
            None => break,
        }
    }
    Ok((text, wanted))
}

/// The names that an edited text cannot follow any more: their anchors are gone, or name something else at the `line` where
/// reading stops.
pub(super) fn lost(edited: &str, line: usize) -> HashSet<String> {
    let line_of = |at: usize| edited[..at].matches('\n').count() + 1;
    let places = alias_places(edited).into_iter();
    places.filter(|place| place.anchor.is_none() || line_of(place.at.start) == line).map(|place| place.name).collect()
}

/// The file with the aliases of these names written out. `None` where it has none of them.
pub(super) fn written_out(base: &Tree, names: &HashSet<String>) -> Option<Tree> {
    let mut text = Zeroizing::new(base.source().to_owned());
    let mut is_changed = false;
    for place in alias_places(base.source()).into_iter().rev().filter(|place| names.contains(&place.name)) {
        let value = node_at(base.root(), place.anchor?)?.to_json();
        let (start, keys) = merged_keys(base, place.at.start, &value).unwrap_or((place.at.start, as_json(&value)));
        text = spliced(&text, start, place.at.end, &keys);
        is_changed = true;
    }
    let written = Tree::parse(text.as_bytes()).ok()?;
    (is_changed && written.root().same_as(base.root())).then_some(written)
}

/// What stands in the place of a merge of `value`, whose alias is at `at`: the keys that its map has not itself, and where
/// the merge begins. `None` where it is no merge, or brings nothing.
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
    (!lines.is_empty()).then(|| (start, Zeroizing::new(lines.join(&between))))
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

/// Where a map's own text stands.
fn text_of(tree: &Tree, map: &Node) -> std::ops::Range<usize> {
    let (source, start) = (tree.source(), map.span.bytes.start);
    let end = if source[start..].starts_with('{') { flow_end(source, start) } else { Some(block_end(tree, map)) };
    start..end.unwrap_or(source.len())
}

/// The node that begins at a byte.
fn node_at(node: &Node, at: usize) -> Option<&Node> {
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

enum Parting {
    Text(Text),
    /// It stays as it is, with a key too many that comes from one of these anchors.
    Kept(HashSet<String>),
}

/// Parts the first place on the way to a difference that comes from elsewhere.
fn part(tree: &Tree, path: &Path, wanted: &mut Value) -> Option<Parting> {
    let (mut map, mut there) = (tree.root(), wanted);
    for key in path.keys() {
        let Value::Object(keys) = there else { return None };
        let Some(entry) = map.entry(key) else {
            // A key that is no longer merged in.
            let text = has_merge(tree, map).then(|| beside(tree, map, key, keys.get(key)?)).flatten()?;
            return Some(Parting::Text(text));
        };
        if entry.merged {
            return merged(tree, map, entry, keys);
        }
        if entry.value.span.bytes.start < entry.key_span.bytes.end {
            return aliased(tree, map, entry, keys.get(key)?).map(Parting::Text);
        }
        (map, there) = (&entry.value, keys.get_mut(key)?);
    }
    None
}

fn merged(tree: &Tree, map: &Node, entry: &Entry, wanted: &mut Map<String, Value>) -> Option<Parting> {
    match wanted.get(&entry.key) {
        Some(value) => beside(tree, map, &entry.key, value).map(Parting::Text),
        None => {
            wanted.insert(entry.key.clone(), entry.value.to_json());
            Some(Parting::Kept(names_in(tree, map)))
        }
    }
}

/// What the aliases in a map's own text name.
fn names_in(tree: &Tree, map: &Node) -> HashSet<String> {
    let text = text_of(tree, map);
    alias_places(tree.source())
        .into_iter()
        .filter(|place| text.contains(&place.at.start))
        .map(|place| place.name)
        .collect()
}

/// A key at the end of a map, behind its merge.
fn beside(tree: &Tree, map: &Node, key: &str, value: &Value) -> Option<Text> {
    let (source, start) = (tree.source(), map.span.bytes.start);
    let (key, value) = (as_key(key), as_json(value));
    if source[start..].starts_with('{') {
        let close = flow_end(source, start)?.checked_sub(1)?;
        let comma = if source[..close].trim_end().ends_with([',', '{']) { " " } else { ", " };
        return Some(spliced(source, close, close, &format!("{comma}{key}: {}", *value)));
    }
    let end = source[..block_end(tree, map)].trim_end().len();
    let at = source[end..].find('\n').map_or(source.len(), |line| end + line + 1);
    let before = if source[..at].ends_with('\n') { "" } else { "\n" };
    let margin = " ".repeat(map.span.column.checked_sub(1)?);
    Some(spliced(source, at, at, &format!("{before}{margin}{key}: {}\n", *value)))
}

/// An alias that becomes a merge where it has nothing too much, and a value of its own else.
fn aliased(tree: &Tree, map: &Node, entry: &Entry, wanted: &Value) -> Option<Text> {
    let (source, key_end, end) = (tree.source(), entry.key_span.bytes.end, value_end(tree, entry));
    let at = key_end + source.get(key_end..end)?.find('*')?;
    let has_all = |wanted: &Map<String, Value>| match &entry.value.kind {
        NodeKind::Map(entries) => entries.iter().all(|entry| wanted.contains_key(&entry.key)),
        _ => false,
    };
    let is_block = !source[map.span.bytes.start..].starts_with('{');
    let text = match wanted {
        Value::Object(keys) if is_block && has_all(keys) => {
            format!("\n{}<<: {}", " ".repeat(entry.key_span.column + 1), &source[at..end])
        }
        value => as_json(value).to_string(),
    };
    // No blank is left at the end of a line.
    let from = if text.starts_with('\n') { source[..at].trim_end_matches(' ').len() } else { at };
    Some(spliced(source, from, end, &text))
}

fn spliced(source: &str, from: usize, to: usize, text: &str) -> Text {
    Zeroizing::new([&source[..from], text, &source[to..]].concat())
}

/// Whether two values say the same at a path, which both have.
fn is_same_at(path: &Path, a: &Value, b: &Value) -> bool {
    let mut both = (a, b);
    for key in path.keys() {
        let (Some(a), Some(b)) = (both.0.get(key), both.1.get(key)) else { return false };
        both = (a, b);
    }
    both.0 == both.1
}

/// Where two values first differ.
pub(super) fn first_difference(a: &Value, b: &Value, at: Path) -> Path {
    let (Value::Object(a), Value::Object(b)) = (a, b) else { return at };
    for key in a.keys().chain(b.keys()) {
        let below = || at.join(Segment::Key(key.clone()));
        match (a.get(key), b.get(key)) {
            (Some(a), Some(b)) if a == b => {}
            (Some(a), Some(b)) => return first_difference(a, b, below()),
            _ => return below(),
        }
    }
    at
}
