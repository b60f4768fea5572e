//! Keys that have another name in the new release.

use std::collections::HashMap;

use super::report::Three;
use crate::redact::COMMON;
use crate::values::lint::KeyFacts;
use crate::yaml::{Entry, Node, NodeKind, Path, Segment, Tree, Value as Scalar};

/// The operator's value at a key that has another name now.
pub(super) struct RenamedKey<'t> {
    pub(super) from: Path,
    pub(super) old: Option<&'t Node>,
    pub(super) entry: &'t Entry,
}

/// Keys of the operator's that have another name now, by the new path: as the facts say, or because one default of the
/// old file stands under another name in the new one, and nowhere else.
pub(super) fn moves<'t>(three: Three<'t>, facts: &KeyFacts) -> HashMap<Path, RenamedKey<'t>> {
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
            let moved = RenamedKey { from: Path::of(&from_keys), old: three.old.get(&from_keys), entry };
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

pub(super) fn child<'t>(map: &'t Node, key: &str) -> Option<&'t Entry> {
    match &map.kind {
        NodeKind::Map(entries) => entries.iter().find(|entry| entry.key == key),
        _ => None,
    }
}
