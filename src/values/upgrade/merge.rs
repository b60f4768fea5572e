//! The merge of the three trees: what the result says, which edits bring the new text there, and the report.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::report::{KeyOutcome, KeyReport, Three};
use crate::redact::{COMMON, Scrubber, is_secret, is_secret_name};
use crate::values::lint::KeyFacts;
use crate::yaml::{Entry, Node, NodeKind, Path, Segment, Tree, Value as Scalar};

/// A change to the new file's text.
pub(super) enum Edit<'t> {
    /// The value of a key there becomes the operator's.
    Replace {
        /// The key in the new file.
        entry: &'t Entry,
        yours: &'t Entry,
        /// Whether the key stands within brackets.
        in_brackets: bool,
    },
    /// A key of the operator's goes to the end of a map there.
    Append {
        /// The map in the new file; the root among them.
        map: &'t Node,
        yours: &'t Entry,
    },
}

/// What came of the merge.
pub(super) struct Merged<'t> {
    pub(super) value: Value,
    pub(super) edits: Vec<Edit<'t>>,
    pub(super) items: Vec<KeyReport>,
}

pub(super) fn merge<'t>(three: Three<'t>, facts: &KeyFacts, scrubber: &Scrubber) -> Merged<'t> {
    let moves = moves(three, facts);
    let mut merge = Merge {
        scrubber,
        taken: moves.values().map(|moved| moved.from.clone()).collect(),
        moves,
        edits: Vec::new(),
        items: Vec::new(),
    };
    let value = merge.map(&Path::root(), Some(three.old.root()), three.new.root(), Some(three.yours.root()));
    Merged { value, edits: merge.edits, items: merge.items }
}

/// The operator's value at a key that has another name now.
struct Move<'t> {
    from: Path,
    old: Option<&'t Node>,
    entry: &'t Entry,
}

/// Keys of the operator's that have another name now, by the new path: as the facts say, or because one default of the
/// old file stands under another name in the new one, and nowhere else.
fn moves<'t>(three: Three<'t>, facts: &KeyFacts) -> HashMap<Path, Move<'t>> {
    let mut found = HashMap::new();
    let mut note = |from: Vec<String>, to: Vec<String>| {
        let to_keys: Vec<&str> = to.iter().map(String::as_str).collect();
        let from_keys: Vec<&str> = from.iter().map(String::as_str).collect();
        let is_there = three
            .new
            .get(&to_keys)
            .is_some_and(|new| three.yours.get(&from_keys).is_some_and(|yours| fits(new, yours)));
        if !is_there || three.new.get(&from_keys).is_some() || !has_room(three.yours.root(), &to_keys) {
            return;
        }
        if let Some(entry) = entry_at(three.yours, &from_keys) {
            let moved = Move { from: Path::of(&from_keys), old: three.old.get(&from_keys), entry };
            found.entry(Path::of(&to_keys)).or_insert(moved);
        }
    };
    for fact in facts.keys.iter().filter(|fact| fact.until.is_some()) {
        let Some(instead) = fact.instead else { continue };
        let words = |text: &str| text.split('.').map(str::to_owned).collect();
        note(words(fact.keys), words(instead.split(':').next().unwrap_or_default().trim()));
    }
    for (from, to) in same_defaults(three.old, three.new) {
        note(from, to);
    }
    found
}

/// Whether nothing of the operator's stands at a place, or in the way to it: a value that is no map stays as it is, and
/// nothing would be carried below it.
fn has_room(yours: &Node, keys: &[&str]) -> bool {
    let NodeKind::Map(_) = &yours.kind else { return false };
    let Some((first, rest)) = keys.split_first() else { return false };
    yours.child(first).is_none_or(|below| has_room(below, rest))
}

fn fits(new: &Node, yours: &Node) -> bool {
    let is_map = |node: &Node| matches!(node.kind, NodeKind::Map(_));
    is_map(new) == is_map(yours) || matches!(new.scalar(), Some(scalar) if scalar.value == Scalar::Null)
}

type Keys = Vec<String>;

/// Telling defaults that stand once in what the new file dropped and once in what it brought.
fn same_defaults(old: &Tree, new: &Tree) -> Vec<(Keys, Keys)> {
    let dropped = telling_leaves(old, new);
    let brought = telling_leaves(new, old);
    let sole = |leaves: &[(Keys, String)], text: &str| leaves.iter().filter(|(_, other)| other == text).count() == 1;
    dropped
        .iter()
        .filter(|(_, text)| sole(&dropped, text) && sole(&brought, text))
        .filter_map(|(from, text)| {
            let (to, _) = brought.iter().find(|(_, other)| other == text)?;
            Some((from.clone(), to.clone()))
        })
        .collect()
}

/// Texts of a tree, at keys that the other has not, that are long and odd enough to be known again.
fn telling_leaves(tree: &Tree, other: &Tree) -> Vec<(Keys, String)> {
    let keys = |path: &Path| path.keys().map(str::to_owned).collect::<Keys>();
    tree.leaves()
        .into_iter()
        .filter(|(path, _)| path.0.iter().all(|segment| matches!(segment, Segment::Key(_))))
        .filter(|(path, _)| other.get(&path.keys().collect::<Vec<_>>()).is_none())
        .filter_map(|(path, node)| match &node.scalar()?.value {
            Scalar::String(text) if text.len() >= 6 && !COMMON.contains(&text.as_str()) => {
                Some((keys(&path), text.clone()))
            }
            _ => None,
        })
        .collect()
}

fn entry_at<'t>(tree: &'t Tree, keys: &[&str]) -> Option<&'t Entry> {
    let (last, above) = keys.split_last()?;
    child(tree.get(above)?, last)
}

fn child<'t>(map: &'t Node, key: &str) -> Option<&'t Entry> {
    match &map.kind {
        NodeKind::Map(entries) => entries.iter().find(|entry| entry.key == key),
        _ => None,
    }
}

struct Merge<'t, 's> {
    scrubber: &'s Scrubber,
    moves: HashMap<Path, Move<'t>>,
    /// Old paths whose values have gone to new ones.
    taken: HashSet<Path>,
    edits: Vec<Edit<'t>>,
    items: Vec<KeyReport>,
}

impl<'t> Merge<'t, '_> {
    /// A map that the new file has.
    fn map(&mut self, path: &Path, old: Option<&'t Node>, new: &'t Node, yours: Option<&'t Node>) -> Value {
        let mut out = Map::new();
        let NodeKind::Map(entries) = &new.kind else { return new.to_json() };
        let in_brackets = new.size > 1 && is_in_brackets(entries, new);
        for entry in entries {
            let here = path.join(Segment::Key(entry.key.clone()));
            let old = old.and_then(|old| old.child(&entry.key));
            let mine = yours.and_then(|yours| child(yours, &entry.key));
            out.insert(entry.key.clone(), self.entry(&here, old, entry, mine, in_brackets));
        }
        let Some(NodeKind::Map(mine)) = yours.map(|yours| &yours.kind) else { return Value::Object(out) };
        for entry in mine.iter().filter(|entry| new.child(&entry.key).is_none()) {
            let here = path.join(Segment::Key(entry.key.clone()));
            let old = old.and_then(|old| old.child(&entry.key));
            if self.stays(&here, old, entry) {
                self.edits.push(Edit::Append { map: new, yours: entry });
                out.insert(entry.key.clone(), entry.value.to_json());
            }
        }
        Value::Object(out)
    }

    /// A key that the new file has.
    fn entry(
        &mut self,
        path: &Path,
        old: Option<&'t Node>,
        new: &'t Entry,
        mine: Option<&'t Entry>,
        in_brackets: bool,
    ) -> Value {
        let moved = match mine {
            None => self.moves.remove(path),
            Some(_) => None,
        };
        let was = moved.as_ref().map(|moved| moved.from.clone());
        let (old, mine) = match &moved {
            Some(moved) => (moved.old, Some(moved.entry)),
            None => (old, mine),
        };
        if has_entries(&new.value) && mine.is_none_or(|mine| matches!(mine.value.kind, NodeKind::Map(_))) {
            if let Some(was) = was {
                self.tell(KeyOutcome::Renamed, path, Some(was), old, Some(&new.value), mine.map(|mine| &*mine.value));
            }
            return self.map(path, old, &new.value, mine.map(|mine| &*mine.value));
        }
        let Some(mine) = mine else {
            match old {
                None => self.tell(KeyOutcome::New, path, None, None, Some(&new.value), None),
                Some(old) if !old.same_as(&new.value) => {
                    self.tell(KeyOutcome::NewDefault, path, None, Some(old), Some(&new.value), None);
                }
                Some(_) => {}
            }
            return new.value.to_json();
        };
        let yours: &'t Node = &mine.value;
        let is_old = old.is_some_and(|old| old.same_as(yours));
        if is_old && was.is_none() && old.is_some_and(|old| !old.same_as(&new.value)) {
            self.tell(KeyOutcome::NewDefault, path, None, old, Some(&new.value), Some(yours));
        }
        if is_old || yours.same_as(&new.value) {
            if was.is_some() {
                self.tell(KeyOutcome::Renamed, path, was, old, Some(&new.value), Some(yours));
            }
            return new.value.to_json();
        }
        let unchanged = old.is_some_and(|old| old.same_as(&new.value));
        let outcome = match (&was, unchanged) {
            (Some(_), _) => KeyOutcome::Renamed,
            (None, true) => KeyOutcome::Kept,
            (None, false) => KeyOutcome::Conflict,
        };
        self.tell(outcome, path, was, old, Some(&new.value), Some(yours));
        self.edits.push(Edit::Replace { entry: new, yours: mine, in_brackets });
        yours.to_json()
    }

    /// Whether a key that the new file has not stays in it.
    fn stays(&mut self, path: &Path, old: Option<&'t Node>, entry: &'t Entry) -> bool {
        if self.taken.contains(path) {
            return false;
        }
        let Some(old) = old else {
            self.tell(KeyOutcome::Own, path, None, None, None, Some(&entry.value));
            return true;
        };
        let stays = !old.same_as(&entry.value);
        let outcome = if stays { KeyOutcome::Removed } else { KeyOutcome::Dropped };
        self.tell(outcome, path, None, Some(old), None, Some(&entry.value));
        stays
    }

    fn tell(
        &mut self,
        outcome: KeyOutcome,
        path: &Path,
        was: Option<Path>,
        old: Option<&Node>,
        new: Option<&Node>,
        yours: Option<&Node>,
    ) {
        let show = |node: Option<&Node>| node.map(|node| self.show(path, node));
        let (old, new, yours) = (show(old), show(new), show(yours));
        self.items.push(KeyReport { outcome, path: path.clone(), was, old, new, yours });
    }

    /// A value as it may be shown: masked where it is a secret, cut where it is long.
    fn show(&self, path: &Path, node: &Node) -> String {
        const LONGEST: usize = 120;
        if let Some(scalar) = node.scalar() {
            let text = scalar.value.text();
            let by_name = path.keys().next_back().is_some_and(is_secret_name);
            let says = !matches!(scalar.value, Scalar::Null | Scalar::Bool(_)) && !text.is_empty();
            if says && (is_secret(path, None, &scalar.value) || by_name) {
                return self.scrubber.mask(text.as_bytes());
            }
        }
        let text = self.scrubber.scrub(&hidden(path, node, self.scrubber).to_string()).into_owned();
        match text.char_indices().nth(LONGEST) {
            Some((cut, _)) => format!("{}...", &text[..cut]),
            None => text,
        }
    }
}

/// A node as JSON, with masks in the places of secrets.
fn hidden(path: &Path, node: &Node, scrubber: &Scrubber) -> Value {
    let below = |segment: Segment, node: &Arc<Node>| hidden(&path.join(segment), node, scrubber);
    match &node.kind {
        NodeKind::Scalar(scalar) if is_secret(path, None, &scalar.value) => {
            Value::String(scrubber.mask(scalar.value.text().as_bytes()))
        }
        NodeKind::Scalar(scalar) => scalar.value.to_json(),
        NodeKind::List(items) => {
            items.iter().enumerate().map(|(place, item)| below(Segment::Index(place), item)).collect()
        }
        NodeKind::Map(entries) => {
            let pairs =
                entries.iter().map(|entry| (entry.key.clone(), below(Segment::Key(entry.key.clone()), &entry.value)));
            Value::Object(pairs.collect())
        }
    }
}

fn has_entries(node: &Node) -> bool {
    matches!(&node.kind, NodeKind::Map(entries) if !entries.is_empty())
}

/// In brackets, the map begins before its first key.
fn is_in_brackets(entries: &[Entry], map: &Node) -> bool {
    entries.first().is_some_and(|first| map.span.bytes.start < first.key_span.bytes.start)
}
