//! The operator's comments, put where their keys are in the proposal.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use zeroize::Zeroizing;

use super::comments::ShippedComments;
use super::ends::value_end;
use super::report::KeyReport;
use crate::values::diff::{IDENTIFIERS, identities, placed_comments};
use crate::yaml::{Node, NodeKind, Path, Segment, Tree};

/// A comment of the operator's and what it stands at.
struct Remark<'t> {
    /// In bytes of its file.
    at: usize,
    comment: &'t str,
    place: Place,
    /// The release's comment that follows it at the same key.
    followed_by: Option<&'t str>,
}

#[derive(PartialEq, Eq)]
enum Place {
    /// Before everything, and a blank line between.
    Head,
    /// On its own line above a key or an item.
    Above(Path),
    /// In the line of a key or an item.
    Beside(Path),
    /// On its own line behind a key that is the last of its map.
    Below(Path),
    /// Behind everything.
    End,
}

impl Place {
    /// Where that is in the proposal.
    fn renamed(&self, items: &[KeyReport]) -> Self {
        match self {
            Self::Head => Self::Head,
            Self::Above(path) => Self::Above(renamed(path, items)),
            Self::Beside(path) => Self::Beside(renamed(path, items)),
            Self::Below(path) => Self::Below(renamed(path, items)),
            Self::End => Self::End,
        }
    }
}

/// The text of a proposal with the operator's comments that are not in it yet, each at its own key. `says_the_same`
/// tells whether a text still says what the proposal must say; a comment that would change that is left out, and so is
/// one whose key is gone.
pub(super) fn carried(
    text: Zeroizing<String>,
    yours: &Tree,
    shipped: &ShippedComments<'_>,
    items: &[KeyReport],
    says_the_same: impl Fn(&str) -> bool,
) -> Zeroizing<String> {
    let Ok(proposed) = Tree::parse(text.as_bytes()) else { return text };
    let remarks = missing(yours, &proposed, shipped, items);
    if remarks.is_empty() {
        return text;
    }
    let all = with(&text, &proposed, &remarks, items);
    if says_the_same(&all) {
        return all;
    }
    let mut fitting: Vec<Remark<'_>> = Vec::new();
    for remark in remarks {
        fitting.push(remark);
        if !says_the_same(&with(&text, &proposed, &fitting, items)) {
            fitting.pop();
        }
    }
    with(&text, &proposed, &fitting, items)
}

/// The operator's own comments that the proposal has not, in the order of the operator's file. What stands at the same
/// key is taken for the same first, as one text may stand at several.
fn missing<'t>(
    yours: &'t Tree,
    proposed: &Tree,
    shipped: &ShippedComments<'_>,
    items: &[KeyReport],
) -> Vec<Remark<'t>> {
    let mut there: HashMap<&str, Vec<Place>> = HashMap::new();
    for remark in remarks(proposed) {
        there.entry(remark.comment).or_default().push(remark.place);
    }
    let mut missing = remarks(yours);
    for place in (1..missing.len()).rev() {
        let (before, [next, ..]) = missing.split_at_mut(place) else { break };
        if let Some(last) = before.last_mut().filter(|last| last.place == next.place) {
            last.followed_by = if shipped.contains(next.comment) { Some(next.comment) } else { next.followed_by };
        }
    }
    missing.retain(|remark| shipped.is_own(yours.source(), remark.at, remark.comment));
    missing.retain(|remark| {
        let places = there.get_mut(remark.comment);
        let same = places.and_then(|places| {
            let same = places.iter().position(|place| *place == remark.place.renamed(items))?;
            Some(places.swap_remove(same))
        });
        same.is_none()
    });
    missing.retain(|remark| there.get_mut(remark.comment).and_then(Vec::pop).is_none());
    missing
}

/// What is said above and beside each key of a file, in its order.
pub(super) fn notes(tree: &Tree) -> Vec<(Path, String)> {
    let mut notes: Vec<(Path, String)> = Vec::new();
    for remark in remarks(tree) {
        let (Place::Above(path) | Place::Beside(path)) = remark.place else { continue };
        let text = remark.comment.trim_start_matches(['#', ' ']).trim_end();
        match notes.last_mut().filter(|(last, _)| *last == path) {
            Some((_, said)) => said.extend([" ", text]),
            None => notes.push((path, text.to_owned())),
        }
    }
    notes
}

fn remarks(tree: &Tree) -> Vec<Remark<'_>> {
    let (spots, source) = (spots(tree), tree.source());
    let remark = |(at, comment)| Remark { at, comment, place: place(source, at, &spots), followed_by: None };
    placed_comments(tree).into_iter().map(remark).collect()
}

fn place(source: &str, at: usize, spots: &[Spot]) -> Place {
    let line = line_start(source, at);
    let next = spots.partition_point(|spot| spot.start < at);
    let before = next.checked_sub(1).map(|place| &spots[place]);
    if !source[line..at].trim_start_matches('\u{feff}').trim().is_empty() {
        // The first key of a line is what the comment is about: `a: {b: 1} # of a`.
        let first = spots.iter().find(|spot| spot.start >= line && spot.start < at);
        // Where none stands there, it is what ends in it: a map whose bracket is closed before the comment.
        let ended = || spots[..next].iter().rev().find(|spot| spot.end > line && spot.end <= at);
        return first.or_else(ended).or(before).map_or(Place::Head, |spot| Place::Beside(spot.path.clone()));
    }
    match (before, spots.get(next)) {
        (None, Some(spot)) if source[at..spot.start].contains("\n\n") || source[at..spot.start].contains("\n\r\n") => {
            Place::Head
        }
        (Some(before), Some(spot)) if at - line > spot.column && before.column <= at - line => {
            let own = spots[..next].iter().rev().find(|spot| spot.column <= at - line).unwrap_or(before);
            Place::Below(own.path.clone())
        }
        (_, Some(spot)) => Place::Above(spot.path.clone()),
        (Some(before), None) if at > line && before.column > 0 => {
            let own = spots.iter().rev().find(|spot| spot.column <= at - line).unwrap_or(before);
            Place::Below(own.path.clone())
        }
        (_, None) => Place::End,
    }
}

/// A key or an item and where it is, in bytes.
struct Spot {
    start: usize,
    end: usize,
    column: usize,
    path: Path,
}

/// Every key and item of a file, in its order; not what aliases and merges bring.
fn spots(tree: &Tree) -> Vec<Spot> {
    let mut found = Vec::new();
    below(tree, tree.root(), &Path::root(), 0, &mut found);
    found.sort_by_key(|spot| spot.start);
    found
}

fn below(tree: &Tree, node: &Node, path: &Path, from: usize, found: &mut Vec<Spot>) {
    match &node.kind {
        NodeKind::Scalar(_) => {}
        NodeKind::Map(entries) => {
            for entry in entries.iter().filter(|entry| !entry.merged && entry.key_span.bytes.start >= from) {
                let path = path.join(Segment::Key(entry.key.clone()));
                let (start, end) = (entry.key_span.bytes.start, value_end(tree, entry));
                // A text that keeps the line ends behind it ends with the last of them.
                let end = end + usize::from(tree.source()[..end].ends_with('\n'));
                found.push(Spot { start, end, column: entry.key_span.column.saturating_sub(1), path: path.clone() });
                below(tree, &entry.value, &path, start, found);
            }
        }
        NodeKind::List(items) => {
            let steps = steps(items);
            for (step, item) in steps.into_iter().zip(items).filter(|(_, item)| item.span.bytes.start >= from) {
                let path = path.join(step);
                let span = &item.span;
                // The dash is before it, and a comment stands in the dash's column.
                let column = span.column.saturating_sub(3);
                let start = span.bytes.start;
                found.push(Spot { start, end: span.bytes.end, column, path: path.clone() });
                below(tree, item, &path, start, found);
            }
        }
    }
}

/// The items of a list as they are known again in another: by their names, else by their places.
fn steps(items: &[Arc<Node>]) -> Vec<Segment> {
    let nodes: Vec<&Node> = items.iter().map(|item| &**item).collect();
    let named = IDENTIFIERS.iter().find_map(|by| {
        let step = |(id, _): (String, &Node)| Segment::Item { by: (*by).to_owned(), id };
        Some(identities(&nodes, by)?.into_iter().map(step).collect())
    });
    named.unwrap_or_else(|| (0..items.len()).map(Segment::Index).collect())
}

/// The text with these comments in it.
fn with(text: &str, proposed: &Tree, remarks: &[Remark<'_>], items: &[KeyReport]) -> Zeroizing<String> {
    let spots: HashMap<Path, Spot> = spots(proposed).into_iter().map(|spot| (spot.path.clone(), spot)).collect();
    let found = |path: &Path| spots.get(&renamed(path, items));
    let mut inserts: Vec<(usize, String)> = Vec::new();
    let mut taken = HashSet::new();
    for Remark { comment, place, followed_by, .. } in remarks {
        let above = |spot: &Spot| {
            let line = line_start(text, spot.start);
            let margin = &text[line..][..text[line..].len() - text[line..].trim_start_matches(' ').len()];
            let at = followed_by.and_then(|next| comment_above(text, line, next)).unwrap_or(line);
            (at, format!("{margin}{comment}\n"))
        };
        inserts.extend(match place {
            Place::Head => Some((0, format!("{comment}\n"))),
            Place::End => Some((text.len(), format!("{comment}\n"))),
            Place::Above(path) => found(path).map(above),
            Place::Below(path) => {
                found(path).map(|spot| (line_end(text, spot.end), format!("{}{comment}\n", " ".repeat(spot.column))))
            }
            Place::Beside(path) => {
                found(path).map(|spot| match free_line_end(text, spot).filter(|end| taken.insert(*end)) {
                    Some(end) => (end, format!(" {comment}")),
                    None => above(spot),
                })
            }
        });
    }
    let heads = inserts.iter().filter(|(at, _)| *at == 0).count();
    inserts.sort_by_key(|(at, _)| *at);
    let mut out = Zeroizing::new(String::with_capacity(text.len() * 2));
    let mut at = 0;
    for (place, (to, line)) in inserts.iter().enumerate() {
        out.push_str(&text[at..*to]);
        if *to == text.len() && !out.is_empty() && !out.ends_with('\n') {
            out.push('\n');
        }
        out.push_str(line);
        at = *to;
        let is_last_head = place + 1 == heads && remarks.iter().any(|remark| matches!(remark.place, Place::Head));
        if is_last_head && !text.starts_with('\n') {
            out.push('\n');
        }
    }
    out.push_str(&text[at..]);
    out
}

/// Where the line of a comment begins, among the comment lines directly above a line.
fn comment_above(text: &str, line: usize, comment: &str) -> Option<usize> {
    let mut at = line;
    for above in text[..line].split_inclusive('\n').rev().take_while(|above| above.trim_start().starts_with('#')) {
        at -= above.len();
        if above.trim() == comment {
            return Some(at);
        }
    }
    None
}

/// Where a key of the operator's is now.
fn renamed(path: &Path, items: &[KeyReport]) -> Path {
    let moved = items.iter().find_map(|item| {
        let rest = path.0.strip_prefix(item.was.as_ref()?.0.as_slice())?;
        Some(Path(item.path.0.iter().chain(rest).cloned().collect()))
    });
    moved.unwrap_or_else(|| path.clone())
}

/// The end of a key's line where nothing but its value, or what opens it, stands there.
fn free_line_end(text: &str, spot: &Spot) -> Option<usize> {
    let end = spot.start + text[spot.start..].find('\n')?;
    let line = &text[spot.start..end];
    let is_whole = spot.end <= end || line.trim_end().ends_with(':');
    (is_whole && !line.contains(" #") && !line.ends_with(' ')).then_some(end)
}

fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |end| end + 1)
}

/// The beginning of the next line.
fn line_end(text: &str, at: usize) -> usize {
    if text[..at].ends_with('\n') {
        return at;
    }
    text[at..].find('\n').map_or(text.len(), |end| at + end + 1)
}
