//! Which elements of two sequences stand for each other, in bounded time and linear memory.
//!
//! Equal ends are cut off first. Then elements that occur once on both sides are lined up (the patience method), and
//! what lies between them is treated likewise. Only what is left without any such anchor is searched for the shortest
//! list of edits, which is quadratic; so there is a budget for it, and beyond it a stretch is replaced as a whole: a
//! longer list of edits, and never a wrong one.

use std::collections::HashMap;
use std::ops::Range;

use similar::{Algorithm, DiffOp};

/// What searches may cost together, in steps: some 50 ms.
const BUDGET: usize = 16_000_000;
/// How often what lies between anchors is looked through for further anchors.
const DEPTH: u8 = 8;

/// The edits that make `old` into `new`, in order, runs joined. Equal elements are equal numbers.
pub(super) fn edits(old: &[u32], new: &[u32]) -> Vec<DiffOp> {
    let mut search = Search { old, new, budget: BUDGET, ops: Vec::new() };
    search.range(0..old.len(), 0..new.len(), DEPTH);
    search.ops
}

struct Search<'s> {
    old: &'s [u32],
    new: &'s [u32],
    budget: usize,
    ops: Vec<DiffOp>,
}

impl Search<'_> {
    fn range(&mut self, mut old: Range<usize>, mut new: Range<usize>, depth: u8) {
        let (before, after) = (&self.old[old.clone()], &self.new[new.clone()]);
        let head = before.iter().zip(after).take_while(|(a, b)| a == b).count();
        let (before, after) = (&before[head..], &after[head..]);
        let tail = before.iter().rev().zip(after.iter().rev()).take_while(|(a, b)| a == b).count();
        self.equal(old.start, new.start, head);
        old = old.start + head..old.end - tail;
        new = new.start + head..new.end - tail;
        let (end_old, end_new) = (old.end, new.end);
        self.middle(old, new, depth);
        self.equal(end_old, end_new, tail);
    }

    fn middle(&mut self, old: Range<usize>, new: Range<usize>, depth: u8) {
        if old.is_empty() || new.is_empty() {
            return self.differ(old, new);
        }
        let anchors = if depth == 0 { Vec::new() } else { self.anchors(&old, &new) };
        if !anchors.is_empty() {
            let (mut at_old, mut at_new) = (old.start, new.start);
            for (place_old, place_new) in anchors {
                self.range(at_old..place_old, at_new..place_new, depth - 1);
                self.equal(place_old, place_new, 1);
                (at_old, at_new) = (place_old + 1, place_new + 1);
            }
            return self.range(at_old..old.end, at_new..new.end, depth - 1);
        }
        let size = old.len() + new.len();
        let cost = size.saturating_mul(size);
        if cost > self.budget {
            return self.differ(old, new);
        }
        self.budget -= cost;
        for op in similar::capture_diff_slices(Algorithm::Myers, &self.old[old.clone()], &self.new[new.clone()]) {
            let (was, is) = (op.old_range(), op.new_range());
            if matches!(op, DiffOp::Equal { .. }) {
                self.equal(old.start + was.start, new.start + is.start, was.len());
            } else {
                self.differ(old.start + was.start..old.start + was.end, new.start + is.start..new.start + is.end);
            }
        }
    }

    /// Pairs of places whose element occurs once on both sides: the longest run of them that rises on both.
    fn anchors(&self, old: &Range<usize>, new: &Range<usize>) -> Vec<(usize, usize)> {
        // Per element: how often, and where, on either side.
        let mut seen: HashMap<u32, (u32, usize, u32, usize)> = HashMap::new();
        for place in old.clone() {
            let entry = seen.entry(self.old[place]).or_default();
            (entry.0, entry.1) = (entry.0 + 1, place);
        }
        for place in new.clone() {
            if let Some(entry) = seen.get_mut(&self.new[place]) {
                (entry.2, entry.3) = (entry.2 + 1, place);
            }
        }
        let pairs = new.clone().filter_map(|place| match seen.get(&self.new[place]) {
            Some((1, old, 1, _)) => Some((*old, place)),
            _ => None,
        });
        rising(&pairs.collect::<Vec<_>>())
    }

    fn equal(&mut self, old: usize, new: usize, count: usize) {
        if count == 0 {
            return;
        }
        match self.ops.last_mut() {
            Some(DiffOp::Equal { len, .. }) => *len += count,
            _ => self.ops.push(DiffOp::Equal { old_index: old, new_index: new, len: count }),
        }
    }

    fn differ(&mut self, mut old: Range<usize>, mut new: Range<usize>) {
        if old.is_empty() && new.is_empty() {
            return;
        }
        if let Some(last) = self.ops.last()
            && !matches!(last, DiffOp::Equal { .. })
        {
            old.start = last.old_range().start;
            new.start = last.new_range().start;
            self.ops.pop();
        }
        let (old_index, old_len, new_index, new_len) = (old.start, old.len(), new.start, new.len());
        self.ops.push(match (old_len, new_len) {
            (_, 0) => DiffOp::Delete { old_index, old_len, new_index },
            (0, _) => DiffOp::Insert { old_index, new_index, new_len },
            _ => DiffOp::Replace { old_index, old_len, new_index, new_len },
        });
    }
}

/// The longest subsequence that rises in the first member; the second rises already.
fn rising(pairs: &[(usize, usize)]) -> Vec<(usize, usize)> {
    // `tops[n]` is the pair that ends the best run of n + 1; `before` leads back.
    let mut tops: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = Vec::with_capacity(pairs.len());
    for (place, (old, _)) in pairs.iter().enumerate() {
        let length = tops.partition_point(|top| pairs[*top].0 < *old);
        before.push(length.checked_sub(1).map(|below| tops[below]));
        if length == tops.len() {
            tops.push(place);
        } else {
            tops[length] = place;
        }
    }
    let mut run = Vec::with_capacity(tops.len());
    let mut next = tops.last().copied();
    while let Some(place) = next {
        run.push(pairs[place]);
        next = before[place];
    }
    run.reverse();
    run
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Makes `new` out of `old` by the edits.
    fn applied(old: &[u32], new: &[u32]) -> Vec<u32> {
        let mut made = Vec::new();
        let mut at = (0, 0);
        for op in edits(old, new) {
            assert_eq!((op.old_range().start, op.new_range().start), at, "an edit is missing before {op:?}");
            at = (op.old_range().end, op.new_range().end);
            match op {
                DiffOp::Equal { .. } => made.extend(&old[op.old_range()]),
                _ => made.extend(&new[op.new_range()]),
            }
        }
        assert_eq!(at, (old.len(), new.len()));
        made
    }

    proptest! {
        #[test]
        fn the_edits_make_the_new_out_of_the_old(
            old in prop::collection::vec(0u32..12, 0..60),
            new in prop::collection::vec(0u32..12, 0..60),
        ) {
            prop_assert_eq!(applied(&old, &new), new);
            let same = edits(&old, &old).iter().all(|op| matches!(op, DiffOp::Equal { .. }));
            prop_assert!(same);
        }
    }

    #[test]
    fn an_insertion_is_one_edit() {
        let ops = edits(&[1, 2, 3, 1, 2], &[1, 2, 9, 3, 1, 2]);
        let changed: Vec<&DiffOp> = ops.iter().filter(|op| !matches!(op, DiffOp::Equal { .. })).collect();
        assert_eq!(changed, [&DiffOp::Insert { old_index: 2, new_index: 2, new_len: 1 }]);
    }

    /// What made others run out of memory: 80,000 lines of which none is the same (omni 2311), and lines that repeat
    /// so often that nothing anchors them.
    #[test]
    fn hundreds_of_thousands_of_elements_do_not_make_it_quadratic() {
        let begun = std::time::Instant::now();
        let (a, b): (Vec<u32>, Vec<u32>) = ((0..400_000).collect(), (400_000..800_000).collect());
        assert_eq!(applied(&a, &b), b);
        let (a, b): (Vec<u32>, Vec<u32>) =
            ((0..400_000).map(|n| n % 2).collect(), (0..400_001).map(|n| n % 3).collect());
        assert_eq!(applied(&a, &b), b);
        let b: Vec<u32> = (0..400_000).rev().collect();
        let a: Vec<u32> = (0..400_000).collect();
        assert_eq!(applied(&a, &b), b);
        // A hang guard only; the work takes about a second without optimisation.
        assert!(begun.elapsed().as_secs() < 120, "{:?}", begun.elapsed());
    }
}
