//! Comments and writing: what Helm does not see, and people do.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use serde::Serialize;

use crate::yaml::{Node, NodeKind, Style, Trap, Tree};

/// How two files differ besides what Helm reads from them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Layout {
    /// Comments that only the new file has.
    pub comments_added: usize,
    /// Comments that only the old file has.
    pub comments_removed: usize,
    /// Maps whose keys are the same, in another order.
    pub reordered: usize,
    /// Values that are the same, in other quotes or another notation.
    pub rewritten: usize,
}

impl Layout {
    /// In words, such as `2 comments added, 1 map in another order`.
    pub fn words(&self) -> String {
        let plural = |count: usize, one: &str, many: &str| {
            (count > 0).then(|| format!("{count} {}", if count == 1 { one } else { many }))
        };
        let parts: Vec<String> = [
            plural(self.comments_added, "comment added", "comments added"),
            plural(self.comments_removed, "comment removed", "comments removed"),
            plural(self.reordered, "map in another order", "maps in another order"),
            plural(self.rewritten, "value in another notation", "values in another notation"),
        ]
        .into_iter()
        .flatten()
        .collect();
        if parts.is_empty() { "blank space".into() } else { parts.join(", ") }
    }
}

/// Compares comments and writing; `None` where the files are the same byte for byte, or differ in nothing but what
/// Helm reads.
pub(super) fn compare(old: &Tree, new: &Tree) -> Option<Layout> {
    if old.source() == new.source() {
        return None;
    }
    let mut counts: HashMap<&str, isize> = HashMap::new();
    comments(old).into_iter().for_each(|comment| *counts.entry(comment).or_default() -= 1);
    comments(new).into_iter().for_each(|comment| *counts.entry(comment).or_default() += 1);
    let sum = |sign: isize| counts.values().map(|count| (count * sign).max(0).unsigned_abs()).sum();
    let mut layout = Layout { comments_added: sum(1), comments_removed: sum(-1), reordered: 0, rewritten: 0 };
    together((old, old.root()), (new, new.root()), &mut layout);
    let nothing = Layout { comments_added: 0, comments_removed: 0, reordered: 0, rewritten: 0 };
    let same_values = old.root().same_as(new.root());
    (layout != nothing || same_values).then_some(layout)
}

fn together(old: (&Tree, &Node), new: (&Tree, &Node), layout: &mut Layout) {
    match (&old.1.kind, &new.1.kind) {
        (NodeKind::Map(before), NodeKind::Map(after)) => {
            let places: HashMap<&str, usize> =
                before.iter().enumerate().map(|(place, entry)| (entry.key.as_str(), place)).collect();
            let (mut last, mut rises) = (0, true);
            for entry in after {
                let Some(place) = places.get(entry.key.as_str()) else { continue };
                rises &= *place >= last;
                last = *place;
                together((old.0, &before[*place].value), (new.0, &entry.value), layout);
            }
            layout.reordered += usize::from(!rises);
        }
        (NodeKind::List(before), NodeKind::List(after)) => {
            before.iter().zip(after).for_each(|(a, b)| together((old.0, a), (new.0, b), layout));
        }
        (NodeKind::Scalar(a), NodeKind::Scalar(b)) => {
            let raw = |(tree, node): (&'_ Tree, &'_ Node)| tree.raw(node).trim_end().to_owned();
            if a.value.same_as(&b.value) && a.style != Style::Block && raw(old) != raw(new) {
                layout.rewritten += 1;
            }
        }
        _ => {}
    }
}

/// Every comment of a file, in its order, from its `#` on.
pub(in crate::values) fn comments(tree: &Tree) -> Vec<&str> {
    placed_comments(tree).into_iter().map(|(_, comment)| comment).collect()
}

/// The same, each with the place of its `#` in bytes.
pub(in crate::values) fn placed_comments(tree: &Tree) -> Vec<(usize, &str)> {
    let source = tree.source();
    if !source.contains('#') {
        return Vec::new();
    }
    let mut covered = Vec::new();
    let mut seen = HashSet::new();
    cover(tree, tree.root(), &mut seen, &mut covered);
    // What Helm drops was written as well: no sign within it begins a comment.
    for dropped in tree.overridden() {
        covered.push(dropped.entry.key_span.bytes.clone());
        cover(tree, &dropped.entry.value, &mut seen, &mut covered);
    }
    for (place, trap) in tree.traps().iter().enumerate() {
        if let Trap::IgnoredRest { at } = trap {
            let end = tree.traps()[place..].iter().find_map(|trap| match trap {
                Trap::SecondDocument { at } => Some(at.bytes.start),
                _ => None,
            });
            covered.push(at.bytes.start..end.unwrap_or(source.len()));
        }
    }
    covered.sort_by_key(|range| range.start);
    let mut found = Vec::new();
    let (mut at, mut next) = (0, 0);
    while let Some(hash) = source[at..].find('#').map(|hash| at + hash) {
        while covered.get(next).is_some_and(|range| range.end <= hash) {
            next += 1;
        }
        if let Some(range) = covered.get(next).filter(|range| range.contains(&hash)) {
            at = range.end;
            continue;
        }
        // Behind a blank, the byte order mark, or a sign that ends a word: `'x'#c`, `[a]#c`, `[a,#c`.
        let behind = |c: char| is_line_end(c) || " \t\u{feff}\"'[]{},".contains(c);
        let begins = hash == 0 || source[..hash].ends_with(behind);
        let end = source[hash..].find(is_line_end).map_or(source.len(), |end| hash + end);
        if begins {
            found.push((hash, source[hash..end].trim_end()));
        }
        at = if begins { end } else { hash + 1 };
    }
    found
}

/// Whether a line, and a comment in it, ends here for Helm's parser.
fn is_line_end(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// The bytes of all scalars and keys.
fn cover(tree: &Tree, node: &Node, seen: &mut HashSet<usize>, covered: &mut Vec<Range<usize>>) {
    if !seen.insert(std::ptr::from_ref(node).addr()) {
        return;
    }
    match &node.kind {
        NodeKind::Scalar(scalar) if scalar.style == Style::Block => {
            covered.push(block(tree.source(), &node.span.bytes))
        }
        NodeKind::Scalar(_) => covered.push(node.span.bytes.clone()),
        NodeKind::List(items) => items.iter().for_each(|item| cover(tree, item, seen, covered)),
        NodeKind::Map(entries) => {
            for entry in entries {
                covered.push(entry.key_span.bytes.clone());
                cover(tree, &entry.value, seen, covered);
            }
        }
    }
}

/// The lines of a block, whose span begins at the first character of its text and reaches to the next token, over the
/// comments that stand before that.
fn block(source: &str, span: &Range<usize>) -> Range<usize> {
    let margin = |line: &str| line.len() - line.trim_start_matches(' ').len();
    let line_start = source[..span.start].rfind('\n').map_or(0, |end| end + 1);
    let inner = span.start - line_start;
    let mut end = span.start;
    for (place, line) in source[span.clone()].split_inclusive('\n').enumerate() {
        if place > 0 && !line.trim().is_empty() && margin(line) < inner {
            break;
        }
        end += line.len();
    }
    span.start..end
}
