//! A text in which one place shall differ from another that it shares an anchor with (`<<: *name`, `*name`).
//!
//! A key that is written behind a merge overrides what the merge brings, for this map alone. So each difference that
//! comes through an anchor is parted from it there; what else differs is for the caller to find.

use std::collections::HashSet;
use std::ops::Range;

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::edit::{as_key, has_merge};
use super::ends::{keeps_line_ends, value_end};
use super::text::removed;
use super::written::{node_at, spliced, text_of, written_where};
use crate::values::excerpt::{block_end, flow_end};
use crate::values::overlay::as_json;
use crate::yaml::{Entry, Node, NodeKind, OverriddenEntry, Path, Scalar, Segment, Tree, Value as Read, alias_places};

type Text = Zeroizing<String>;

/// The most places that are parted: each costs a reading of the file.
const MOST: usize = 500;

/// A place gets something from an anchor that it must not have.
pub(super) struct Entangled {
    pub(super) path: Path,
    /// The names of the anchors that it takes from.
    pub(super) names: HashSet<String>,
}

/// A text brought to say what is wanted.
pub(super) struct Parted {
    pub(super) text: Text,
    pub(super) wanted: Value,
    /// What was not wanted, and stays: a merge brings it.
    pub(super) kept: Vec<Path>,
}

/// The text, brought to say what is wanted as far as only anchors stand between the two. What a merge brings cannot be
/// taken away again: where it is what the operator's file `said` there, such a key of no use stays, and is wanted then.
pub(super) fn parted(text: Text, mut wanted: Value, said: Option<&Value>) -> Result<Parted, Entangled> {
    let (mut parted, mut kept) = (text.clone(), Vec::new());
    for _ in 0..MOST {
        let Ok(tree) = Tree::parse(parted.as_bytes()) else { break };
        let read = tree.to_json();
        if read == wanted {
            return Ok(Parted { text: parted, wanted, kept });
        }
        let path = first_difference(&read, &wanted, Path::root());
        match part(&tree, &path, &mut wanted) {
            Some(Parting::Text(text)) => parted = text,
            Some(Parting::Kept(_)) if said.is_some_and(|said| is_same_at(&path, said, &read)) => kept.push(path),
            Some(Parting::Kept(names)) => return Err(Entangled { path, names }),
            None => {
                // In a list, an alias can only be written out.
                let names = names_at(&tree, &path);
                if names.is_empty() {
                    break;
                }
                return Err(Entangled { path, names });
            }
        }
    }
    Ok(Parted { text, wanted, kept })
}

/// What the aliases name in the text of the last node on the way to a place.
fn names_at(tree: &Tree, path: &Path) -> HashSet<String> {
    let mut node = tree.root();
    for key in path.keys() {
        let Some(below) = node.child(key) else { return HashSet::new() };
        node = below;
    }
    names_in(tree, node)
}

/// The names that an edited text cannot follow any more: their anchors are gone, or name something else at the `line` where
/// reading stops.
pub(super) fn lost(edited: &str, line: usize) -> HashSet<String> {
    let line_of = |at: usize| edited[..at].matches('\n').count() + 1;
    let places = alias_places(edited).into_iter();
    places.filter(|place| place.anchor.is_none() || line_of(place.at.start) == line).map(|place| place.name).collect()
}

/// The file without the lines that Helm drops: one that stands again, or that a merge behind it overrides. `None` where it
/// has none, or something else would come of it.
pub(super) fn without_dropped(base: &Tree) -> Option<Tree> {
    let places = |tree: &Tree| -> Vec<Range<usize>> {
        let place = |dropped: &OverriddenEntry| {
            let map = node_at(tree.root(), dropped.map)?;
            Some(removed(tree, map, &dropped.entry))
        };
        tree.overridden().iter().filter_map(place).collect()
    };
    if base.overridden().is_empty() {
        return None;
    }
    let dropped = places(base);
    let is_dropped = |at: usize| dropped.iter().any(|range| range.contains(&at));
    let named = written_where(base, |place| place.anchor.is_some_and(is_dropped) && !is_dropped(place.at.start));
    let tree = named.as_ref().unwrap_or(base);
    let mut ranges = places(tree);
    ranges.sort_by_key(|range| (range.start, range.end));
    let mut text = Zeroizing::new(String::with_capacity(tree.source().len()));
    let mut at = 0;
    for range in ranges {
        text.push_str(tree.source().get(at..range.start).unwrap_or_default());
        at = at.max(range.end);
    }
    text.push_str(&tree.source()[at..]);
    let cleaned = Tree::parse(text.as_bytes()).ok()?;
    (cleaned.overridden().is_empty() && cleaned.root().same_as(base.root())).then_some(cleaned)
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
        let wanted = keys.get_mut(key)?;
        if let Value::String(text) = &*wanted
            && keeps_line_ends(tree, &entry.value)
        {
            return in_quotes(tree, entry, text).map(Parting::Text);
        }
        (map, there) = (&entry.value, wanted);
    }
    None
}

/// A text that keeps the line ends behind it has other ones now: in quotes it has its own.
fn in_quotes(tree: &Tree, entry: &Entry, wanted: &str) -> Option<Text> {
    let Scalar { value: Read::String(text), .. } = entry.value.scalar()? else { return None };
    let is_same = text.trim_end_matches('\n') == wanted.trim_end_matches('\n');
    let (from, end) = (entry.key_span.bytes.end, entry.value.span.bytes.end.checked_sub(1)?);
    let value = format!(": {}", *as_json(&Value::from(wanted)));
    is_same.then(|| spliced(tree.source(), from, end, &value))
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

/// A key at the end of a map, behind its merge. A line of it that stands before the merge goes, and its comments come
/// along; it stays where it has an anchor, which others may name.
fn beside(tree: &Tree, map: &Node, key: &str, value: &Value) -> Option<Text> {
    let (source, start) = (tree.source(), map.span.bytes.start);
    let is_same = |dropped: &&OverriddenEntry| dropped.map == start && dropped.entry.key == key;
    let before = tree.overridden().iter().find(is_same).map(|dropped| (dropped, removed(tree, map, &dropped.entry)));
    let before = before.filter(|(_, range)| !source[range.clone()].contains('&'));
    let (key, value) = (as_key(key), as_json(value));
    let without = |at: usize, text: &str| {
        let whole = spliced(source, at, at, text);
        match &before {
            Some((_, range)) if range.end <= at => spliced(&whole, range.start, range.end, ""),
            _ => whole,
        }
    };
    if source[start..].starts_with('{') {
        let close = flow_end(source, start)?.checked_sub(1)?;
        let comma = if source[..close].trim_end().ends_with([',', '{']) { " " } else { ", " };
        return Some(without(close, &format!("{comma}{key}: {}", *value)));
    }
    let end = source[..block_end(tree, map)].trim_end().len();
    let at = source[end..].find('\n').map_or(source.len(), |line| end + line + 1);
    let first = if source[..at].ends_with('\n') { "" } else { "\n" };
    let margin = " ".repeat(map.span.column.checked_sub(1)?);
    let comments = before.as_ref().and_then(|(dropped, range)| {
        let line = source[..dropped.entry.key_span.bytes.start].rfind('\n').map_or(0, |end| end + 1);
        source.get(range.start..line)
    });
    let beside = before.as_ref().and_then(|(dropped, _)| {
        let rest = source.get(value_end(tree, &dropped.entry)..)?.lines().next()?.trim();
        rest.starts_with('#').then(|| format!(" {rest}"))
    });
    let (comments, beside) = (comments.unwrap_or_default(), beside.unwrap_or_default());
    Some(without(at, &format!("{first}{comments}{margin}{key}: {}{beside}\n", *value)))
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
