//! A text in which one place shall differ from another that it shares an anchor with (`<<: *name`, `*name`).
//!
//! A key that is written behind a merge overrides what the merge brings, for this map alone. So each difference that
//! comes through an anchor is parted from it there; what else differs is for the caller to find.

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::moves::child;
use super::text::{as_key, value_end};
use crate::values::excerpt::{block_end, flow_end};
use crate::values::overlay::as_json;
use crate::yaml::{Entry, Node, NodeKind, Path, Segment, Tree};

type Text = Zeroizing<String>;

/// The most places that are parted: each costs a reading of the file.
const MOST: usize = 500;

/// The text, brought to say what is wanted as far as only anchors stand between the two. What a merge brings cannot be
/// taken away again, so such a key of no use stays, and is wanted then.
pub(super) fn parted(text: Text, mut wanted: Value) -> (Text, Value) {
    let mut parted = text.clone();
    for _ in 0..MOST {
        let Ok(tree) = Tree::parse(parted.as_bytes()) else { break };
        let read = tree.to_json();
        if read == wanted {
            return (parted, wanted);
        }
        let path = first_difference(&read, &wanted, Path::root());
        match part(&tree, &path, &mut wanted) {
            Some(Parting::Text(text)) => parted = text,
            Some(Parting::Kept) => {}
            None => break,
        }
    }
    (text, wanted)
}

enum Parting {
    Text(Text),
    /// It stays as it is.
    Kept,
}

/// Parts the first place on the way to a difference that comes from elsewhere.
fn part(tree: &Tree, path: &Path, wanted: &mut Value) -> Option<Parting> {
    let (mut map, mut there) = (tree.root(), wanted);
    for key in path.keys() {
        let Value::Object(keys) = there else { return None };
        let Some(entry) = child(map, key) else {
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
            Some(Parting::Kept)
        }
    }
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

fn has_merge(tree: &Tree, map: &Node) -> bool {
    let (source, start) = (tree.source(), map.span.bytes.start);
    let end = if source[start..].starts_with('{') { flow_end(source, start) } else { Some(block_end(tree, map)) };
    end.and_then(|end| source.get(start..end)).is_some_and(|text| text.contains("<<"))
}

fn spliced(source: &str, from: usize, to: usize, text: &str) -> Text {
    Zeroizing::new([&source[..from], text, &source[to..]].concat())
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
