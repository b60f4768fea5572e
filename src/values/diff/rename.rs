//! What went away in one place and came in another.
//!
//! Told only where there is no doubt: the value stands once in either file, and is more than a word like `true` or a
//! small number that may be there by chance.

use std::collections::HashMap;
use std::ops::Range;

use super::change::{Change, Renamed};
use super::shape::Shapes;
use crate::yaml::{Node, NodeKind, Path, Tree, Value};

/// In the same map, or under the same key, shorter texts may be equal by chance.
pub(super) const SHORTEST_NEAR: usize = 4;
/// Anywhere else, `64Mi` for a volume and `64Mi` for a pod's memory are.
const SHORTEST_FAR: usize = 10;
/// Longer words that say as little.
const COMMON: &[&str] = &["true", "false", "null", "none", "default", "enabled", "disabled"];

/// A node that came or went, with the changes that say so.
pub(super) struct Piece<'t> {
    pub(super) node: &'t Node,
    /// In the list of all changes, leaf by leaf.
    pub(super) changes: Range<usize>,
    /// How many steps its path has.
    pub(super) steps: usize,
}

impl Piece<'_> {
    /// Its path, as the changes below it tell.
    pub(super) fn path(&self, changes: &[Change]) -> Option<Path> {
        let path = &changes.get(self.changes.start)?.path;
        Some(Path(path.0.get(..self.steps)?.to_vec()))
    }
}

/// A renaming, with the changes on both sides.
pub(super) struct Move {
    pub(super) from: Path,
    pub(super) from_changes: Range<usize>,
    pub(super) to: Path,
    pub(super) to_changes: Range<usize>,
}

/// Whether a value, or one below it, is long enough that it would hardly stand in two places by chance.
pub(super) fn telling(node: &Node, shortest: usize) -> bool {
    match &node.kind {
        NodeKind::Map(entries) => entries.iter().any(|entry| telling(&entry.value, shortest)),
        NodeKind::List(items) => items.iter().any(|item| telling(item, shortest)),
        NodeKind::Scalar(scalar) => match &scalar.value {
            Value::Null | Value::Bool(_) => false,
            value => {
                let text = value.text();
                text.trim().len() >= shortest && !COMMON.iter().any(|word| text.eq_ignore_ascii_case(word))
            }
        },
    }
}

/// What a walk has gathered that may be halves of renamings.
#[derive(Default)]
pub(super) struct Pieces<'t> {
    pub(super) gone: Vec<Piece<'t>>,
    pub(super) come: Vec<Piece<'t>>,
    /// Renamed items that lists have found.
    pub(super) moves: Vec<Move>,
}

/// All renamings of a walk: those of items that lists have found, then whatever else stands once on either side, whole
/// maps and lists before what is in them.
pub(super) fn moves<'t>(
    pieces: Pieces<'t>,
    shapes: &mut Shapes<'t>,
    changes: &[Change],
    old: &'t Tree,
    new: &'t Tree,
) -> Vec<Move> {
    let Pieces { gone, come, mut moves } = pieces;
    let mut there: HashMap<u32, Vec<usize>> = HashMap::new();
    for (place, piece) in come.iter().enumerate() {
        there.entry(shapes.of(piece.node)).or_default().push(place);
    }
    let numbers: Vec<u32> = gone.iter().map(|piece| shapes.of(piece.node)).collect();
    let candidates: HashMap<u32, ()> = numbers.iter().filter(|s| there.contains_key(s)).map(|s| (*s, ())).collect();
    if candidates.is_empty() {
        return moves;
    }
    let (in_old, in_new) = (count(shapes, old, &candidates), count(shapes, new, &candidates));
    let mut told = Told::default();
    moves.iter().for_each(|found| told.add(&found.from_changes, &found.to_changes));
    // A parent stands after its children.
    for (piece, shape) in gone.iter().zip(&numbers).rev() {
        let once = in_old.get(shape) == Some(&1) && in_new.get(shape) == Some(&1);
        let Some([to]) = there.get(shape).map(Vec::as_slice) else { continue };
        let to: &Piece = &come[*to];
        if !once || told.has(&piece.changes, &to.changes) {
            continue;
        }
        if let (Some(from_path), Some(to_path)) = (piece.path(changes), to.path(changes)) {
            let shortest = if near(&from_path, &to_path) { SHORTEST_NEAR } else { SHORTEST_FAR };
            if !telling(piece.node, shortest) {
                continue;
            }
            told.add(&piece.changes, &to.changes);
            moves.push(Move {
                from: from_path,
                from_changes: piece.changes.clone(),
                to: to_path,
                to_changes: to.changes.clone(),
            });
        }
    }
    moves
}

/// Whether two places have the same parent or the same last step.
fn near(from: &Path, to: &Path) -> bool {
    match (from.0.split_last(), to.0.split_last()) {
        (Some((a, above)), Some((b, beside))) => a == b || above == beside,
        _ => false,
    }
}

/// The changes that belong to a renaming already, by place.
#[derive(Default)]
struct Told(HashMap<usize, ()>);

impl Told {
    fn add(&mut self, from: &Range<usize>, to: &Range<usize>) {
        self.0.extend(from.clone().chain(to.clone()).map(|place| (place, ())));
    }

    /// A piece is told wholly or not at all, so its first change speaks for all.
    fn has(&self, from: &Range<usize>, to: &Range<usize>) -> bool {
        from.is_empty() || to.is_empty() || [from.start, to.start].iter().any(|place| self.0.contains_key(place))
    }
}

/// How often each of the candidates stands in a tree.
fn count<'t>(shapes: &mut Shapes<'t>, tree: &'t Tree, candidates: &HashMap<u32, ()>) -> HashMap<u32, usize> {
    let mut counts = HashMap::new();
    let mut open: Vec<&'t Node> = vec![tree.root()];
    while let Some(node) = open.pop() {
        let shape = shapes.of(node);
        if candidates.contains_key(&shape) {
            *counts.entry(shape).or_default() += 1;
        }
        match &node.kind {
            NodeKind::Map(entries) => open.extend(entries.iter().map(|entry| &*entry.value)),
            NodeKind::List(items) => open.extend(items.iter().map(|item| &**item)),
            NodeKind::Scalar(_) => {}
        }
    }
    counts
}

/// Writes the renamings to the changes on both sides, and lists them in the order of their new places.
pub(super) fn mark(changes: &mut [Change], mut moves: Vec<Move>) -> Vec<Renamed> {
    moves.sort_by_key(|found| found.to_changes.start);
    for found in &moves {
        let swap = |path: &Path, from: &Path, to: &Path| {
            Path(to.0.iter().chain(path.0.get(from.0.len()..).unwrap_or_default()).cloned().collect())
        };
        for change in changes.get_mut(found.to_changes.clone()).unwrap_or_default() {
            change.renamed_from = Some(swap(&change.path, &found.to, &found.from));
        }
        for change in changes.get_mut(found.from_changes.clone()).unwrap_or_default() {
            change.renamed_to = Some(swap(&change.path, &found.from, &found.to));
        }
    }
    let renamed = |found: Move| Renamed { from: found.from, to: found.to, values: found.to_changes.len() };
    moves.into_iter().map(renamed).collect()
}
