//! Lists whose items have names: merged item by item, as `diff` compares them.
//!
//! A list stands in a values file for the whole of the release's, so what an item has not, the operator took away. This
//! comes before the merge of the keys, and its outcome is the operator's file for that.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::comments::ShippedComments;
use super::edit::{Edit, has_entries, is_in_brackets, is_written_here};
use super::report::{KeyOutcome, KeyReport, Three};
use super::telling::{KeyFindings, Sides};
use super::text;
use crate::redact::Scrubber;
use crate::values::diff::{IDENTIFIERS, identities};
use crate::yaml::{Entry, Node, NodeKind, Path, Segment, Tree};

/// The operator's file with its lists merged.
pub(super) struct MergedLists {
    pub(super) tree: Tree,
    /// Where they are.
    pub(super) paths: HashSet<Path>,
    pub(super) items: Vec<KeyReport>,
}

/// Merges the lists that both the operator and the release changed. `None` where there are none, or where the operator's
/// text cannot take the changes: such a list is a conflict as a whole.
pub(super) fn merge(three: Three<'_>, scrubber: &Scrubber, shipped: &ShippedComments<'_>) -> Option<MergedLists> {
    let mut lists =
        Lists { yours: three.yours, edits: Vec::new(), paths: HashSet::new(), findings: KeyFindings::new(scrubber) };
    let value = lists.node(&Path::root(), Some(three.old.root()), Some(three.new.root()), three.yours.root());
    if lists.paths.is_empty() {
        return None;
    }
    let text = text::apply(three.yours, three.new, &lists.edits, shipped);
    let tree = Tree::parse(text.as_bytes()).ok().filter(|tree| tree.to_json() == value)?;
    Some(MergedLists { tree, paths: lists.paths, items: lists.findings.items })
}

struct Lists<'t, 's> {
    yours: &'t Tree,
    edits: Vec<Edit<'t>>,
    paths: HashSet<Path>,
    findings: KeyFindings<'s>,
}

/// The items of a list by their names.
type Named<'t> = Vec<(String, &'t Node)>;

fn named<'t>(items: &Named<'t>, id: &str) -> Option<&'t Node> {
    items.iter().find(|(other, _)| other == id).map(|(_, node)| *node)
}

impl<'t> Lists<'t, '_> {
    /// What the operator's file says with the lists below merged.
    fn node(&mut self, path: &Path, old: Option<&'t Node>, new: Option<&'t Node>, yours: &'t Node) -> Value {
        match (&yours.kind, old, new) {
            (NodeKind::Map(entries), _, _) => {
                let pairs = entries.iter().map(|entry| {
                    let below = |node: Option<&'t Node>| node.and_then(|node| node.child(&entry.key));
                    let here = path.join(Segment::Key(entry.key.clone()));
                    let value = match is_written_here(entry) {
                        true => self.node(&here, below(old), below(new), &entry.value),
                        false => entry.value.to_json(),
                    };
                    (entry.key.clone(), value)
                });
                Value::Object(pairs.collect())
            }
            (NodeKind::List(_), Some(old), Some(new)) => {
                self.list(path, old, new, yours).unwrap_or_else(|| yours.to_json())
            }
            _ => yours.to_json(),
        }
    }

    /// A list that all three have; `None` where it is not for this merge.
    fn list(&mut self, path: &Path, old: &'t Node, new: &'t Node, yours: &'t Node) -> Option<Value> {
        if old.same_as(yours) || old.same_as(new) || yours.same_as(new) {
            return None;
        }
        let (by, before, after, mine) = IDENTIFIERS.iter().find_map(|by| {
            let (before, after, mine) = (by_name(old, by)?, by_name(new, by)?, by_name(yours, by)?);
            (!mine.is_empty()).then_some((*by, before, after, mine))
        })?;
        self.paths.insert(path.clone());
        let step = |id: &str| path.join(Segment::Item { by: by.to_owned(), id: id.to_owned() });
        let mut out: Vec<(&str, Value)> = Vec::new();
        for (id, item) in &mine {
            let sides = Sides { old: named(&before, id), new: named(&after, id), yours: Some(item) };
            match self.own_item(&step(id), sides, item) {
                Some(value) => out.push((id, value)),
                None => self.edits.push(Edit::RemoveItem { list: yours, item }),
            }
        }
        let kept: HashMap<&str, &'t Node> = mine
            .iter()
            .filter(|(id, _)| out.iter().any(|(kept, _)| kept == id))
            .map(|(id, node)| (&**id, *node))
            .collect();
        for (place, (id, item)) in after.iter().enumerate().filter(|(_, (id, _))| named(&mine, id).is_none()) {
            let old = named(&before, id);
            let sides = Sides { old, new: Some(item), yours: None };
            self.findings.tell(outcome_of_missing(old, item), &step(id), sides);
            if old.is_none() {
                let above = || after[..place].iter().rev().map(|(id, _)| id.as_str());
                let behind = above().find_map(|id| kept.get(id).copied());
                let at = above().find_map(|id| out.iter().position(|(other, _)| *other == id)).map_or(0, |at| at + 1);
                self.edits.push(Edit::AddItem { list: yours, behind, item });
                out.insert(at, (id, item.to_json()));
            }
        }
        Some(out.into_iter().map(|(_, value)| value).collect())
    }

    /// What stays of an item of the operator's; `None` where nothing does.
    fn own_item(&mut self, path: &Path, sides: Sides<'t>, yours: &'t Node) -> Option<Value> {
        let outcome = match (sides.old, sides.new) {
            (Some(old), Some(new)) => return Some(Value::Object(self.fields(path, old, new, yours))),
            (None, None) => KeyOutcome::Own,
            (None, Some(new)) if new.same_as(yours) => return Some(yours.to_json()),
            (None, Some(_)) => KeyOutcome::Conflict,
            (Some(old), None) if old.same_as(yours) => KeyOutcome::Dropped,
            (Some(_), None) => KeyOutcome::Removed,
        };
        self.findings.tell(outcome, path, sides);
        (outcome != KeyOutcome::Dropped).then(|| yours.to_json())
    }

    /// The keys of an item that all three have, or of a map in it.
    fn fields(&mut self, path: &Path, old: &'t Node, new: &'t Node, yours: &'t Node) -> Map<String, Value> {
        let mut out = Map::new();
        let (NodeKind::Map(mine), NodeKind::Map(theirs)) = (&yours.kind, &new.kind) else { return out };
        let in_brackets = is_in_brackets(self.yours, yours);
        for entry in mine {
            let here = path.join(Segment::Key(entry.key.clone()));
            match self.field(&here, old.child(&entry.key), new.entry(&entry.key), entry, in_brackets) {
                Some(value) => drop(out.insert(entry.key.clone(), value)),
                None => self.edits.push(Edit::Remove { map: yours, entry }),
            }
        }
        for entry in theirs.iter().filter(|entry| yours.child(&entry.key).is_none()) {
            let here = path.join(Segment::Key(entry.key.clone()));
            let old = old.child(&entry.key);
            let is_changed = old.is_none_or(|old| !old.same_as(&entry.value));
            if is_changed {
                let sides = Sides { old, new: Some(&entry.value), yours: None };
                self.findings.tell(outcome_of_missing(old, &entry.value), &here, sides);
            }
            if old.is_none() {
                self.edits.push(Edit::Append { map: yours, from: entry });
                out.insert(entry.key.clone(), entry.value.to_json());
            }
        }
        out
    }

    /// What stays of a key; `None` where nothing does.
    fn field(
        &mut self,
        path: &Path,
        old: Option<&'t Node>,
        new: Option<&'t Entry>,
        mine: &'t Entry,
        in_brackets: bool,
    ) -> Option<Value> {
        let yours: &'t Node = &mine.value;
        let now: Option<&'t Node> = new.map(|new| &*new.value);
        if let (Some(old), Some(now), true) = (old, now, is_written_here(mine)) {
            if [old, now, yours].into_iter().all(has_entries) {
                return Some(Value::Object(self.fields(path, old, now, yours)));
            }
            if let Some(value) = self.list(path, old, now, yours) {
                return Some(value);
            }
        }
        let is_old = old.is_some_and(|old| old.same_as(yours));
        let is_unchanged = old.zip(now).is_some_and(|(old, now)| old.same_as(now));
        let outcome = match now {
            Some(now) if now.same_as(yours) => return Some(yours.to_json()),
            Some(_) if is_old => KeyOutcome::NewDefault,
            Some(_) if is_unchanged => KeyOutcome::Kept,
            Some(_) => KeyOutcome::Conflict,
            None if is_old => KeyOutcome::Dropped,
            None if old.is_some() => KeyOutcome::Removed,
            None => KeyOutcome::Own,
        };
        self.findings.tell(outcome, path, Sides { old, new: now, yours: Some(yours) });
        match (outcome, new) {
            (KeyOutcome::Dropped, _) => None,
            (KeyOutcome::NewDefault, Some(with)) => {
                self.edits.push(Edit::Replace { entry: mine, with, in_brackets });
                Some(with.value.to_json())
            }
            _ => Some(yours.to_json()),
        }
    }
}

/// What is told of something that the operator's list has not: the operator took it away, or it is new.
fn outcome_of_missing(old: Option<&Node>, new: &Node) -> KeyOutcome {
    match old {
        None => KeyOutcome::New,
        Some(old) if old.same_as(new) => KeyOutcome::Kept,
        Some(_) => KeyOutcome::Conflict,
    }
}

fn by_name<'t>(list: &'t Node, by: &str) -> Option<Named<'t>> {
    let NodeKind::List(items) = &list.kind else { return None };
    let items: Vec<&'t Node> = items.iter().map(|item| &**item).collect();
    identities(&items, by)
}
