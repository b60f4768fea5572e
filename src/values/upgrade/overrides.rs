//! A file of overrides stays one: the operator's text is the one that is edited, and what the release has beside it is
//! told, and not copied.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::edit::{Edit, has_entries, is_in_brackets, keep_own};
use super::merge::Merged;
use super::moves::{RenamedKey, moves};
use super::report::{KeyOutcome, ProposalStyle, Three};
use super::telling::{KeyFindings, Sides};
use crate::redact::Scrubber;
use crate::values::lint::KeyFacts;
use crate::yaml::{Entry, Node, NodeKind, Path, Segment, Tree};

/// The style of the operator's file: overrides where it has less than half of what the old release's file says.
pub(super) fn style_of(three: Three<'_>) -> ProposalStyle {
    let shipped = three.old.leaves();
    let is_there = |path: &Path| three.yours.get(&path.keys().collect::<Vec<_>>()).is_some();
    let there = shipped.iter().filter(|(path, _)| is_there(path)).count();
    if there * 2 < shipped.len() { ProposalStyle::Overrides } else { ProposalStyle::Full }
}

/// What becomes of the operator's file: the edits are those of its own text, in which the lists at `lists` are merged
/// already.
pub(super) fn merge<'t>(three: Three<'t>, lists: &HashSet<Path>, facts: &KeyFacts, scrubber: &Scrubber) -> Merged<'t> {
    let mut own = Overrides {
        lists,
        moves: moves(three, facts),
        new: three.new,
        yours: three.yours,
        edits: Vec::new(),
        findings: KeyFindings::new(scrubber),
    };
    let root = Path::root();
    let mut value = own.map(&root, Some(three.old.root()), Some(three.new.root()), three.yours.root());
    own.not_copied(&root, Some(three.old.root()), three.new.root(), Some(three.yours.root()));
    own.not_copied_of_moves();
    let mut moves: Vec<_> = own.moves.iter().filter(|(to, moved)| !in_place(to, moved)).collect();
    moves.sort_by_key(|(_, moved)| moved.entry.key_span.bytes.start);
    let moves: Vec<(Path, Path)> = moves.into_iter().map(|(to, moved)| (to.clone(), moved.from.clone())).collect();
    for (to, path) in moves {
        let before = own.edits.len();
        let Some((moved, carried)) = own.renamed(&to, false) else { continue };
        let inner = own.edits.split_off(before);
        let keys: Vec<String> = to.keys().map(str::to_owned).collect();
        put(&mut value, &keys, carried);
        let (map, keys) = deepest(three.yours, &own.as_it_was(&to));
        own.edits.push(Edit::Relocate { map, keys, entry: moved, path, inner });
    }
    Merged { value: Value::Object(value), edits: own.edits, items: own.findings.items }
}

/// Whether a key stays in its map: only its name changes.
fn in_place(to: &Path, moved: &RenamedKey<'_>) -> bool {
    to.0.split_last().map(|(_, above)| above) == moved.met_at.0.split_last().map(|(_, above)| above)
}

fn is_empty_map(node: &Node) -> bool {
    matches!(&node.kind, NodeKind::Map(entries) if entries.is_empty())
}

fn put(map: &mut Map<String, Value>, keys: &[String], value: Value) {
    let Some((first, rest)) = keys.split_first() else { return };
    if rest.is_empty() {
        map.insert(first.clone(), value);
    } else if let Value::Object(below) = map.entry(first.clone()).or_insert_with(|| Value::Object(Map::new())) {
        put(below, rest, value);
    }
}

/// The deepest map on the way to a place, and the keys that are missing below it.
fn deepest<'t>(tree: &'t Tree, to: &Path) -> (&'t Node, Vec<String>) {
    let keys: Vec<&str> = to.keys().collect();
    let (mut map, mut left) = (tree.root(), keys.as_slice());
    while let [first, rest @ ..] = left
        && let Some(below) = map.child(first).filter(|below| has_entries(below) && !rest.is_empty())
    {
        (map, left) = (below, rest);
    }
    (map, left.iter().map(|key| (*key).to_owned()).collect())
}

struct Overrides<'t, 's> {
    lists: &'s HashSet<Path>,
    /// Keys that have another name, by it.
    moves: HashMap<Path, RenamedKey<'t>>,
    new: &'t Tree,
    yours: &'t Tree,
    edits: Vec<Edit<'t>>,
    findings: KeyFindings<'s>,
}

impl<'t> Overrides<'t, '_> {
    /// What stays of a map of the operator's.
    fn map(
        &mut self,
        path: &Path,
        old: Option<&'t Node>,
        new: Option<&'t Node>,
        yours: &'t Node,
    ) -> Map<String, Value> {
        let mut out = Map::new();
        let NodeKind::Map(entries) = &yours.kind else { return out };
        let in_brackets = is_in_brackets(self.yours, yours);
        for mine in entries {
            let here = path.join(Segment::Key(mine.key.clone()));
            if let Some(to) = self.moved_to(&here) {
                self.moved(&to, yours, mine, &mut out);
                continue;
            }
            let (old, new) = (old.and_then(|old| old.child(&mine.key)), new.and_then(|new| new.entry(&mine.key)));
            let before = self.edits.len();
            let value = self.entry(&here, old, new, mine, in_brackets);
            keep_own(&mut self.edits, before, mine);
            match value {
                Some(value) => drop(out.insert(mine.key.clone(), value)),
                None if mine.merged => {}
                None => self.edits.push(Edit::Remove { map: yours, entry: mine }),
            }
        }
        out
    }

    /// Where a key has gone.
    fn moved_to(&self, path: &Path) -> Option<Path> {
        self.moves.iter().find(|(_, moved)| moved.met_at == *path).map(|(to, _)| to.clone())
    }

    /// A key that has another name: in its place where it stays in its map, and gone from here else.
    fn moved(&mut self, to: &Path, map: &'t Node, mine: &'t Entry, out: &mut Map<String, Value>) {
        let stays = self.moves.get(to).is_some_and(|moved| in_place(to, moved));
        let in_brackets = is_in_brackets(self.yours, map);
        let before = self.edits.len();
        match (stays.then(|| self.renamed(to, in_brackets)).flatten(), to.keys().next_back()) {
            // Its text is the anchor's, and stays: the new name is written behind the merge later.
            (Some((_, value)), Some(key)) if mine.merged => {
                self.edits.truncate(before);
                out.insert(key.to_owned(), value);
            }
            (Some((entry, value)), Some(key)) => {
                keep_own(&mut self.edits, before, entry);
                out.insert(key.to_owned(), value);
                self.edits.push(Edit::Rename { map, entry, key: key.to_owned() });
            }
            _ if mine.merged => self.edits.truncate(before),
            _ => {
                self.edits.truncate(before);
                self.edits.push(Edit::Remove { map, entry: mine });
            }
        }
    }

    /// What a key that has another name says there; the edits are those below it. `None` where nothing is left of it.
    fn renamed(&mut self, to: &Path, in_brackets: bool) -> Option<(&'t Entry, Value)> {
        let (moved, keys) = (self.moves.get(to)?, to.keys().collect::<Vec<_>>());
        let (entry, was, old) = (moved.entry, moved.from.clone(), moved.old);
        let (last, above) = keys.split_last()?;
        let new = self.new.get(above)?.entry(last)?;
        let (yours, now): (&'t Node, &'t Node) = (&entry.value, &new.value);
        let sides = Sides { old, new: Some(now), yours: Some(yours) };
        if has_entries(yours) && has_entries(now) {
            let before = self.findings.items.len();
            let left = self.below(to, old.filter(|old| has_entries(old)), Some(now), yours)?;
            let below = self.findings.items.split_off(before);
            self.findings.tell_renamed(was, to, sides);
            self.findings.items.extend(below);
            return Some((entry, left));
        }
        self.findings.tell_renamed(was, to, sides);
        if old.is_some_and(|old| old.same_as(yours)) && !yours.same_as(now) {
            self.edits.push(Edit::Replace { entry, with: new, in_brackets });
            return Some((entry, now.to_json()));
        }
        Some((entry, yours.to_json()))
    }

    /// Where a place of the new names is in the operator's text.
    fn as_it_was(&self, to: &Path) -> Path {
        let above =
            self.moves.iter().filter(|(other, moved)| to.starts_with(other) && *other != to && in_place(other, moved));
        let Some((other, moved)) = above.max_by_key(|(other, _)| other.0.len()) else { return to.clone() };
        Path(moved.from.0.iter().chain(&to.0[other.0.len()..]).cloned().collect())
    }

    /// What stays of a key of the operator's; `None` where nothing does.
    fn entry(
        &mut self,
        path: &Path,
        old: Option<&'t Node>,
        new: Option<&'t Entry>,
        mine: &'t Entry,
        in_brackets: bool,
    ) -> Option<Value> {
        let yours: &'t Node = &mine.value;
        let now = new.map(|new| &*new.value);
        if has_entries(yours) && now.or(old).is_some_and(has_entries) {
            return self.below(path, old.filter(|old| has_entries(old)), now.filter(|now| has_entries(now)), yours);
        }
        let is_old = old.is_some_and(|old| old.same_as(yours));
        let sides = Sides { old, new: now, yours: Some(yours) };
        let Some(new) = new else {
            let outcome = match old {
                None => KeyOutcome::Own,
                Some(_) if is_old => KeyOutcome::Dropped,
                Some(_) => KeyOutcome::Removed,
            };
            self.findings.tell(outcome, path, sides);
            return if is_old { None } else { self.left(path, mine) };
        };
        if yours.same_as(&new.value) || self.lists.contains(path) {
            return self.left(path, mine);
        }
        if is_old {
            self.findings.tell(KeyOutcome::NewDefault, path, sides);
            self.edits.push(Edit::Replace { entry: mine, with: new, in_brackets });
            return Some(new.value.to_json());
        }
        if is_empty_map(yours) && has_entries(&new.value) {
            // Helm lays it over the release's map, where it changes nothing.
            return Some(yours.to_json());
        }
        let is_unchanged = old.is_some_and(|old| old.same_as(&new.value));
        self.findings.tell(if is_unchanged { KeyOutcome::Kept } else { KeyOutcome::Conflict }, path, sides);
        self.left(path, mine)
    }

    /// A value of the operator's that stands as a whole, without what has gone from below it; `None` where that was all.
    fn left(&mut self, path: &Path, mine: &'t Entry) -> Option<Value> {
        let map: &'t Node = &mine.value;
        let has_moved = self.moves.values().any(|moved| moved.met_at.starts_with(path) && moved.met_at != *path);
        let (NodeKind::Map(entries), true) = (&map.kind, has_moved) else {
            return Some(map.to_json());
        };
        let (mut out, before) = (Map::new(), self.edits.len());
        for entry in entries {
            let here = path.join(Segment::Key(entry.key.clone()));
            let inner = self.edits.len();
            let left = if self.moved_to(&here).is_some() { None } else { self.left(&here, entry) };
            keep_own(&mut self.edits, inner, entry);
            match left {
                Some(value) => drop(out.insert(entry.key.clone(), value)),
                None if entry.merged => {}
                None => self.edits.push(Edit::Remove { map, entry }),
            }
        }
        if out.is_empty() {
            self.edits.truncate(before);
            return None;
        }
        Some(Value::Object(out))
    }

    /// What stays of a map below a key; `None` where nothing does, and the key goes, too.
    fn below(&mut self, path: &Path, old: Option<&'t Node>, new: Option<&'t Node>, yours: &'t Node) -> Option<Value> {
        let before = self.edits.len();
        let left = self.map(path, old, new, yours);
        let is_needed = self.moves.iter().any(|(to, moved)| to.starts_with(path) && to != path && !in_place(to, moved));
        if left.is_empty() && !is_needed {
            self.edits.truncate(before);
            return None;
        }
        Some(Value::Object(left))
    }

    /// The same below keys that have another name.
    fn not_copied_of_moves(&mut self) {
        let mut moves: Vec<_> =
            self.moves.iter().map(|(to, moved)| (to.clone(), moved.old, &*moved.entry.value)).collect();
        moves.sort_by_key(|(_, _, yours)| yours.span.bytes.start);
        for (to, old, yours) in moves {
            let new = self.new.get(&to.keys().collect::<Vec<_>>());
            if let Some(new) = new.filter(|_| has_entries(yours)) {
                self.not_copied(&to, old, new, Some(yours));
            }
        }
    }

    /// Tells of what the release has and the operator's file has not.
    fn not_copied(&mut self, path: &Path, old: Option<&'t Node>, new: &'t Node, yours: Option<&'t Node>) {
        let NodeKind::Map(entries) = &new.kind else { return };
        for entry in entries {
            let here = path.join(Segment::Key(entry.key.clone()));
            if self.moves.contains_key(&here) {
                continue;
            }
            let new: &'t Node = &entry.value;
            let old = old.and_then(|old| old.child(&entry.key));
            let mine = yours.and_then(|yours| yours.child(&entry.key));
            let has_moved = |(to, _): (&Path, &RenamedKey<'_>)| to.starts_with(&here) && *to != here;
            let is_looked_into = mine.is_some() || old.is_some_and(has_entries) || self.moves.iter().any(has_moved);
            let is_laid_over = |mine: &Node| is_empty_map(mine) && !old.is_some_and(|old| old.same_as(mine));
            let is_map = mine.is_none_or(|mine| has_entries(mine) || is_laid_over(mine));
            if has_entries(new) && is_map && is_looked_into {
                self.not_copied(&here, old, new, mine);
            } else if mine.is_none() {
                match old {
                    None => self.findings.tell(KeyOutcome::New, &here, Sides { new: Some(new), ..Sides::default() }),
                    Some(old) if !old.same_as(new) => {
                        self.findings.tell(
                            KeyOutcome::NewDefault,
                            &here,
                            Sides { old: Some(old), new: Some(new), yours: None },
                        );
                    }
                    Some(_) => {}
                }
            }
        }
    }
}
