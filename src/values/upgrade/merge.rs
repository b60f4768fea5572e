//! The merge of the three trees: what the result says, which edits bring the new text there, and the report.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::edit::{Edit, has_entries, is_in_brackets, keep_own};
use super::moves::{RenamedKey, moves};
use super::report::{KeyOutcome, KeyReport, Three};
use super::telling::{KeyFindings, Sides};
use crate::redact::Scrubber;
use crate::values::lint::KeyFacts;
use crate::yaml::{Entry, Node, NodeKind, Path, Segment, Tree};

/// What came of the merge.
pub(super) struct Merged<'t> {
    pub(super) value: Value,
    pub(super) edits: Vec<Edit<'t>>,
    pub(super) items: Vec<KeyReport>,
}

/// The lists at `lists` are merged in the operator's file already.
pub(super) fn merge<'t>(three: Three<'t>, lists: &HashSet<Path>, facts: &KeyFacts, scrubber: &Scrubber) -> Merged<'t> {
    let moves = moves(three, facts);
    let mut merge = Merge {
        lists,
        new: three.new,
        taken: moves.values().map(|moved| moved.met_at.clone()).collect(),
        moves,
        edits: Vec::new(),
        findings: KeyFindings::new(scrubber),
    };
    let value = merge.map(&Path::root(), Some(three.old.root()), three.new.root(), Some(three.yours.root()));
    Merged { value, edits: merge.edits, items: merge.findings.items }
}

struct Merge<'t, 's> {
    lists: &'s HashSet<Path>,
    new: &'t Tree,
    moves: HashMap<Path, RenamedKey<'t>>,
    /// Old paths whose values have gone to new ones.
    taken: HashSet<Path>,
    edits: Vec<Edit<'t>>,
    findings: KeyFindings<'s>,
}

impl<'t> Merge<'t, '_> {
    /// A map that the new file has.
    fn map(&mut self, path: &Path, old: Option<&'t Node>, new: &'t Node, yours: Option<&'t Node>) -> Value {
        let mut out = Map::new();
        let NodeKind::Map(entries) = &new.kind else { return new.to_json() };
        let in_brackets = is_in_brackets(self.new, new);
        for entry in entries {
            let here = path.join(Segment::Key(entry.key.clone()));
            let old = old.and_then(|old| old.child(&entry.key));
            let mine = yours.and_then(|yours| yours.entry(&entry.key));
            let before = self.edits.len();
            out.insert(entry.key.clone(), self.entry(&here, old, entry, mine, in_brackets));
            keep_own(&mut self.edits, before, entry);
        }
        let Some(NodeKind::Map(mine)) = yours.map(|yours| &yours.kind) else { return Value::Object(out) };
        for entry in mine.iter().filter(|entry| new.child(&entry.key).is_none()) {
            let here = path.join(Segment::Key(entry.key.clone()));
            let old = old.and_then(|old| old.child(&entry.key));
            let mut gone = Vec::new();
            let Some(rest) = self.rest(&here, old, entry, &mut gone) else { continue };
            out.insert(entry.key.clone(), rest.clone());
            self.edits.push(match gone.is_empty() {
                true => Edit::Append { map: new, from: entry },
                false => Edit::AppendRest { map: new, from: entry, gone, left: rest },
            });
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
        let sides = Sides { old, new: Some(&new.value), yours: mine.map(|mine| &*mine.value) };
        if has_entries(&new.value) && mine.is_none_or(|mine| matches!(mine.value.kind, NodeKind::Map(_))) {
            if let Some(was) = was {
                self.findings.tell_renamed(was, path, sides);
            }
            return self.map(path, old, &new.value, sides.yours);
        }
        let Some(mine) = mine else {
            match old {
                None => self.findings.tell(KeyOutcome::New, path, sides),
                Some(old) if !old.same_as(&new.value) => self.findings.tell(KeyOutcome::NewDefault, path, sides),
                Some(_) => {}
            }
            return new.value.to_json();
        };
        let is_merged = self.lists.contains(path);
        let is_old = !is_merged && old.is_some_and(|old| old.same_as(&mine.value));
        let is_new_default = old.is_some_and(|old| !old.same_as(&new.value));
        let becomes_new = is_old || mine.value.same_as(&new.value);
        match was {
            Some(was) => self.findings.tell_renamed(was, path, sides),
            None if is_old && is_new_default => self.findings.tell(KeyOutcome::NewDefault, path, sides),
            None if becomes_new || is_merged => {}
            None if old.is_some() && !is_new_default => self.findings.tell(KeyOutcome::Kept, path, sides),
            None => self.findings.tell(KeyOutcome::Conflict, path, sides),
        }
        if becomes_new {
            return new.value.to_json();
        }
        self.edits.push(Edit::Replace { entry: new, with: mine, in_brackets });
        mine.value.to_json()
    }

    /// What stays of a key that the new file has not; `gone` are keys below it, with their maps, that do not: those with
    /// the old default, and what has gone to another name.
    fn rest(
        &mut self,
        path: &Path,
        old: Option<&'t Node>,
        entry: &'t Entry,
        gone: &mut Vec<(&'t Node, &'t Entry)>,
    ) -> Option<Value> {
        let map: &'t Node = &entry.value;
        let is_taken = self.taken.contains(path);
        let has_taken = self.taken.iter().any(|from| from.starts_with(path));
        let is_changed = old.is_some_and(|old| has_entries(old) && !old.same_as(map)) && has_entries(map);
        let (NodeKind::Map(entries), true) = (&map.kind, !is_taken && (has_taken || is_changed)) else {
            return self.stays(path, old, entry).then(|| map.to_json());
        };
        let (mut out, before) = (Map::new(), gone.len());
        for below in entries {
            let here = path.join(Segment::Key(below.key.clone()));
            match self.rest(&here, old.and_then(|old| old.child(&below.key)), below, gone) {
                Some(value) => drop(out.insert(below.key.clone(), value)),
                None => gone.push((map, below)),
            }
        }
        if out.is_empty() {
            gone.truncate(before);
            return None;
        }
        Some(Value::Object(out))
    }

    /// Whether a key that the new file has not stays in it.
    fn stays(&mut self, path: &Path, old: Option<&'t Node>, entry: &'t Entry) -> bool {
        if self.taken.contains(path) {
            return false;
        }
        let stays = old.is_none_or(|old| !old.same_as(&entry.value));
        let outcome = match old {
            None => KeyOutcome::Own,
            Some(_) if stays => KeyOutcome::Removed,
            Some(_) => KeyOutcome::Dropped,
        };
        self.findings.tell(outcome, path, Sides { old, new: None, yours: Some(&entry.value) });
        stays
    }
}
