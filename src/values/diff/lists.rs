//! Lists: which item stands for which.

use std::collections::HashMap;

use similar::DiffOp;

use super::change::What;
use super::rename::{self, Move};
use super::sequence;
use super::walk::Comparison;

use crate::yaml::{Node, NodeKind, Segment, Value};

/// The keys that may identify an item of a list, in the order that they are tried.
pub(in crate::values) const IDENTIFIERS: &[&str] = &["name", "key", "id"];

impl<'t> Comparison<'t, '_> {
    pub(super) fn lists(&mut self, old: (&'t Node, &[&'t Node]), new: (&'t Node, &[&'t Node])) {
        let options = self.options;
        for by in options.identifiers.iter().map(String::as_str).chain(IDENTIFIERS.iter().copied()) {
            if let (Some(before), Some(after)) = (identities(old.1, by), identities(new.1, by))
                && !(before.is_empty() && after.is_empty())
            {
                return self.by_identity(by, (old.0, &before), (new.0, &after));
            }
        }
        self.by_place(old, new);
    }

    fn by_identity(
        &mut self,
        by: &str,
        (old, before): (&'t Node, &[(String, &'t Node)]),
        (new, after): (&'t Node, &[(String, &'t Node)]),
    ) {
        let step = |id: &str| Segment::Item { by: by.to_owned(), id: id.to_owned() };
        let known: HashMap<&str, &'t Node> = before.iter().map(|(id, node)| (id.as_str(), *node)).collect();
        let kept: HashMap<&str, &'t Node> = after.iter().map(|(id, node)| (id.as_str(), *node)).collect();
        // Where in `come` and `gone` the items are that have no counterpart.
        let (mut come, mut gone) = (Vec::new(), Vec::new());
        for (id, node) in after {
            let was = known.get(id.as_str()).copied();
            self.enter(step(id), Some(node));
            if !self.left_out(was, Some(node)) {
                match was {
                    Some(was) => self.nodes(None, was, node),
                    None => {
                        self.whole(None, What::Added, node);
                        come.push(self.pieces.come.len() - 1);
                    }
                }
            }
            self.leave();
        }
        for (id, node) in before.iter().filter(|(id, _)| !kept.contains_key(id.as_str())) {
            self.enter(step(id), Some(node));
            if !self.left_out(Some(node), None) {
                self.whole(None, What::Removed, node);
                gone.push(self.pieces.gone.len() - 1);
            }
            self.leave();
        }
        self.renamed_items(by, &gone, &come);
        let order_before = before.iter().map(|(id, _)| id).filter(|id| kept.contains_key(id.as_str()));
        let order_after = after.iter().map(|(id, _)| id).filter(|id| known.contains_key(id.as_str()));
        if !self.options.ignore_order && !order_before.eq(order_after) {
            self.push(None, What::Reordered, Some(old), Some(new));
        }
    }

    /// Items that are the same but for what identifies them.
    fn renamed_items(&mut self, by: &str, gone: &[usize], come: &[usize]) {
        let mut by_rest: HashMap<u32, (Vec<usize>, Vec<usize>)> = HashMap::new();
        for at in gone {
            if let Some(rest) = self.rest(self.pieces.gone[*at].node, by) {
                by_rest.entry(rest).or_default().0.push(*at);
            }
        }
        for at in come {
            if let Some(rest) = self.rest(self.pieces.come[*at].node, by) {
                by_rest.entry(rest).or_default().1.push(*at);
            }
        }
        for pair in by_rest.into_values() {
            let ([from], [to]) = (pair.0.as_slice(), pair.1.as_slice()) else { continue };
            let (from, to) = (&self.pieces.gone[*from], &self.pieces.come[*to]);
            if let (Some(from_path), Some(to_path)) = (from.path(&self.changes), to.path(&self.changes)) {
                let (from_changes, to_changes) = (from.changes.clone(), to.changes.clone());
                self.pieces.moves.push(Move { from: from_path, from_changes, to: to_path, to_changes });
            }
        }
    }

    /// The number of an item without what identifies it; `None` where that is too little to know it again by.
    fn rest(&mut self, item: &'t Node, by: &str) -> Option<u32> {
        let NodeKind::Map(entries) = &item.kind else { return None };
        let others: Vec<_> = entries.iter().filter(|entry| entry.key != by).collect();
        others.iter().any(|entry| rename::telling(&entry.value, rename::SHORTEST_NEAR)).then(|| {
            let pairs = others.iter().map(|entry| (entry.key.as_str(), self.shapes.of(&entry.value))).collect();
            self.shapes.of_map(pairs)
        })
    }

    fn by_place(&mut self, (old_list, old): (&'t Node, &[&'t Node]), (new_list, new): (&'t Node, &[&'t Node])) {
        let before = self.numbered(old, new);
        let after = self.numbered(new, old);
        let numbers = |items: &[Item]| items.iter().map(|item| item.number).collect::<Vec<u32>>();
        let (was, is) = (numbers(&before), numbers(&after));
        let sorted = |mut numbers: Vec<u32>| {
            numbers.sort_unstable();
            numbers
        };
        let same_items = sorted(was.clone()) == sorted(is.clone());
        if same_items && was != is {
            if !self.options.ignore_order {
                self.push(None, What::Reordered, Some(old_list), Some(new_list));
            }
            return;
        }
        if self.options.ignore_order {
            return self.unpaired(&before, &after);
        }
        for op in sequence::edits(&was, &is) {
            let (was, is) = (&before[op.old_range()], &after[op.new_range()]);
            if matches!(op, DiffOp::Equal { .. }) {
                // Equal but for what is left out, which is to be counted.
                if self.leaves_out() {
                    was.iter().zip(is).for_each(|(was, is)| self.pair(was, is));
                }
                continue;
            }
            self.replaced(was, is);
        }
    }

    /// Lists as multisets: what is left when each item has been paired with an equal one.
    fn unpaired(&mut self, before: &[Item<'t>], after: &[Item<'t>]) {
        let mut counts: HashMap<u32, usize> = HashMap::new();
        before.iter().for_each(|item| *counts.entry(item.number).or_default() += 1);
        let mut come: Vec<Item> = Vec::new();
        for item in after {
            match counts.get_mut(&item.number) {
                Some(count) if *count > 0 => *count -= 1,
                _ => come.push(*item),
            }
        }
        // What is still counted has found no partner; the last ones of equals are those that went.
        let mut gone: Vec<Item> = Vec::new();
        for item in before.iter().rev() {
            let count = counts.entry(item.number).or_default();
            if *count > 0 {
                *count -= 1;
                gone.push(*item);
            }
        }
        gone.reverse();
        if gone.len() == 1 && come.len() == 1 {
            return self.replaced(&gone, &come);
        }
        self.replaced(&[], &come);
        self.replaced(&gone, &[]);
    }

    /// Items in the place of others: compared pair by pair, the rest came or went.
    fn replaced(&mut self, was: &[Item<'t>], is: &[Item<'t>]) {
        let pairs = was.len().min(is.len());
        was.iter().zip(is).for_each(|(was, is)| self.pair(was, is));
        for item in &is[pairs..] {
            self.enter(Segment::Index(item.index), Some(item.node));
            self.whole(None, What::Added, item.node);
            self.leave();
        }
        for item in &was[pairs..] {
            self.enter(Segment::Index(item.index), Some(item.node));
            self.whole(None, What::Removed, item.node);
            self.leave();
        }
    }

    fn pair(&mut self, was: &Item<'t>, is: &Item<'t>) {
        self.enter(Segment::Index(is.index), Some(is.node));
        self.nodes(None, was.node, is.node);
        self.leave();
    }

    /// The items that are not left out, with their numbers.
    fn numbered(&mut self, items: &[&'t Node], others: &[&'t Node]) -> Vec<Item<'t>> {
        let mut numbered = Vec::with_capacity(items.len());
        for (index, node) in items.iter().enumerate() {
            self.enter(Segment::Index(index), Some(node));
            if !self.left_out(Some(node), others.get(index).copied()) {
                numbered.push(Item { index, node, number: self.shape(node) });
            }
            self.leave();
        }
        numbered
    }
}

/// An item of a list that is compared by place.
#[derive(Clone, Copy)]
struct Item<'t> {
    index: usize,
    node: &'t Node,
    number: u32,
}

/// The items with the value of the key `by`, where all are maps that have it, each with another value.
pub(in crate::values) fn identities<'n>(items: &[&'n Node], by: &str) -> Option<Vec<(String, &'n Node)>> {
    let mut seen = HashMap::new();
    let mut identified = Vec::with_capacity(items.len());
    for item in items {
        let named = item.child(by).or_else(|| by.split('.').try_fold(*item, |node, key| node.child(key)))?;
        let id = match &named.scalar()?.value {
            Value::String(text) => text.clone(),
            Value::Null => return None,
            other => other.text(),
        };
        if seen.insert(id.clone(), ()).is_some() {
            return None;
        }
        identified.push((id, *item));
    }
    Some(identified)
}
