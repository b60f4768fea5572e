//! A file's text as it is plainly written, where it is not: lines that a line feed ends, and keys without a `?` before them.

use std::ops::Range;

use zeroize::Zeroizing;

use crate::yaml::{Entry, Node, NodeKind, Tree, odd_line_end};

/// The file with line feeds where Helm alone sees the end of a line. `None` where it has no such place, or where Helm would
/// read something else.
pub(super) fn with_line_feeds(tree: &Tree) -> Option<Tree> {
    odd_line_end(tree.source())?;
    let plain = tree.source().replace("\r\n", "\n").replace(['\r', '\u{85}'], "\n");
    // The other two are characters of a text, too.
    let all = plain.replace(['\u{2028}', '\u{2029}'], "\n");
    [all, plain].into_iter().map(Zeroizing::new).find_map(|text| reads_as(tree, &text))
}

/// The file without the signs `?` before keys of blocks, each key on one line with its colon. `None` where there is none,
/// or where Helm would read something else.
pub(super) fn without_signs(tree: &Tree) -> Option<Tree> {
    let mut changes = Vec::new();
    signs(tree, tree.root(), &mut changes);
    if changes.is_empty() {
        return None;
    }
    changes.sort_by_key(|(range, _)| range.start);
    let mut text = Zeroizing::new(tree.source().to_owned());
    for (range, with) in changes.into_iter().rev() {
        text.replace_range(range, &with);
    }
    reads_as(tree, &text)
}

fn reads_as(tree: &Tree, text: &str) -> Option<Tree> {
    Tree::parse(text.as_bytes()).ok().filter(|plain| plain.root().same_as(tree.root()))
}

fn signs(tree: &Tree, node: &Node, changes: &mut Vec<(Range<usize>, String)>) {
    match &node.kind {
        NodeKind::Scalar(_) => {}
        NodeKind::List(items) => {
            let own = items.iter().filter(|item| item.span.bytes.start >= node.span.bytes.start);
            own.for_each(|item| signs(tree, item, changes));
        }
        NodeKind::Map(entries) => {
            for entry in entries.iter().filter(|entry| !entry.merged) {
                changes.extend(sign(tree.source(), entry).into_iter().flatten());
                if entry.value.span.bytes.start >= entry.key_span.bytes.end {
                    signs(tree, &entry.value, changes);
                }
            }
        }
    }
}

/// What makes a plain key of one with a `?`: the sign goes, and the colon follows the key.
fn sign(source: &str, entry: &Entry) -> Option<[(Range<usize>, String); 2]> {
    let key = &entry.key_span.bytes;
    let blanks = source[..key.start].len() - source[..key.start].trim_end_matches(' ').len();
    let sign = (key.start - blanks).checked_sub(1).filter(|at| source[*at..].starts_with('?'))?;
    let line = source[..sign].rfind('\n').map_or(0, |end| end + 1);
    let colon = key.end
        + source[key.end..].find(|c: char| !c.is_whitespace()).filter(|at| source[key.end + at..].starts_with(':'))?;
    let is_alone =
        source[line..sign].trim_start_matches([' ', '-']).is_empty() && source[key.end..colon].contains('\n');
    let value = entry.value.span.bytes.start;
    let is_block = match &entry.value.kind {
        NodeKind::Scalar(_) => false,
        _ => value > colon && !source[value..].starts_with(['{', '[']) && !source[colon..value].contains('\n'),
    };
    // A block that begins behind the colon keeps its column.
    let behind = match is_block {
        true => (key.end..value, format!(":\n{}", " ".repeat(entry.value.span.column.saturating_sub(1)))),
        false => (key.end..colon, String::new()),
    };
    is_alone.then(|| [(sign..key.start, String::new()), behind])
}
