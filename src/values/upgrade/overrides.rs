//! A file of overrides stays one: the operator's text is the one that is edited, and what the release has beside it is
//! told, and not copied.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::edit::{Edit, has_entries, is_in_brackets, is_written_here};
use super::merge::Merged;
use super::moves::{child, moves};
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
    let moves = moves(three, facts);
    let mut own = Overrides {
        lists,
        taken: moves.values().map(|moved| moved.from.clone()).collect(),
        given: moves.keys().cloned().collect(),
        edits: Vec::new(),
        findings: KeyFindings::new(scrubber),
    };
    let root = Path::root();
    let mut value = own.map(&root, Some(three.old.root()), Some(three.new.root()), three.yours.root());
    own.not_copied(&root, Some(three.old.root()), three.new.root(), Some(three.yours.root()));
    let mut moves: Vec<_> = moves.into_iter().collect();
    moves.sort_by_key(|(_, moved)| moved.entry.key_span.bytes.start);
    for (path, moved) in moves {
        let to: Vec<String> = path.keys().map(str::to_owned).collect();
        let new = three.new.get(&to.iter().map(String::as_str).collect::<Vec<_>>());
        own.findings.tell_renamed(moved.from, &path, Sides { old: moved.old, new, yours: Some(&moved.entry.value) });
        put(&mut value, &to, moved.entry.value.to_json());
        let (map, keys) = deepest(three.yours, &to);
        own.edits.push(Edit::Relocate { map, keys: keys.to_vec(), entry: moved.entry });
    }
    Merged { value: Value::Object(value), edits: own.edits, items: own.findings.items }
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
fn deepest<'t, 'k>(tree: &'t Tree, to: &'k [String]) -> (&'t Node, &'k [String]) {
    let (mut map, mut keys) = (tree.root(), to);
    while let [first, rest @ ..] = keys
        && let Some(below) = map.child(first).filter(|below| has_entries(below) && !rest.is_empty())
    {
        (map, keys) = (below, rest);
    }
    (map, keys)
}

struct Overrides<'t, 's> {
    lists: &'s HashSet<Path>,
    /// Paths whose values have gone to other ones.
    taken: HashSet<Path>,
    /// Where they have gone.
    given: HashSet<Path>,
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
        let in_brackets = is_in_brackets(entries, yours);
        for mine in entries {
            let here = path.join(Segment::Key(mine.key.clone()));
            let (old, new) = (old.and_then(|old| old.child(&mine.key)), new.and_then(|new| child(new, &mine.key)));
            let before = self.edits.len();
            let value = self.entry(&here, old, new, mine, in_brackets);
            if mine.merged {
                // Its text is the anchor's, and stays: where the two differ they are parted later.
                self.edits.truncate(before);
            }
            match value {
                Some(value) => drop(out.insert(mine.key.clone(), value)),
                None if mine.merged => {}
                None => self.edits.push(Edit::Remove { map: yours, entry: mine }),
            }
        }
        out
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
        if self.taken.contains(path) {
            return None;
        }
        let yours: &'t Node = &mine.value;
        let now = new.map(|new| &*new.value);
        if has_entries(yours) && now.or(old).is_some_and(has_entries) && is_written_here(mine) {
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
            return (!is_old).then(|| yours.to_json());
        };
        if yours.same_as(&new.value) || self.lists.contains(path) {
            return Some(yours.to_json());
        }
        if is_old {
            self.findings.tell(KeyOutcome::NewDefault, path, sides);
            self.edits.push(Edit::Replace { entry: mine, with: new, in_brackets });
            return Some(new.value.to_json());
        }
        let is_unchanged = old.is_some_and(|old| old.same_as(&new.value));
        self.findings.tell(if is_unchanged { KeyOutcome::Kept } else { KeyOutcome::Conflict }, path, sides);
        Some(yours.to_json())
    }

    /// What stays of a map below a key; `None` where nothing does, and the key goes, too.
    fn below(&mut self, path: &Path, old: Option<&'t Node>, new: Option<&'t Node>, yours: &'t Node) -> Option<Value> {
        let before = self.edits.len();
        let left = self.map(path, old, new, yours);
        let is_needed = self.given.iter().any(|to| to.starts_with(path));
        if left.is_empty() && !is_needed {
            self.edits.truncate(before);
            return None;
        }
        Some(Value::Object(left))
    }

    /// Tells of what the release has and the operator's file has not.
    fn not_copied(&mut self, path: &Path, old: Option<&'t Node>, new: &'t Node, yours: Option<&'t Node>) {
        let NodeKind::Map(entries) = &new.kind else { return };
        for entry in entries {
            let here = path.join(Segment::Key(entry.key.clone()));
            let new: &'t Node = &entry.value;
            let old = old.and_then(|old| old.child(&entry.key));
            let mine = yours.and_then(|yours| yours.child(&entry.key));
            let is_looked_into = mine.is_some() || old.is_some_and(has_entries);
            if has_entries(new) && mine.is_none_or(has_entries) && is_looked_into {
                self.not_copied(&here, old, new, mine);
            } else if mine.is_none() && !self.given.contains(&here) {
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
