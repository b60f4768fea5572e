//! Where values end in a file's text.

use crate::values::excerpt::{block_end, flow_end};
use crate::yaml::{Entry, Node, NodeKind, Style, Tree};

/// Where the value of a key ends, line ends not counted.
pub(super) fn value_end(tree: &Tree, entry: &Entry) -> usize {
    let source = tree.source();
    let key_end = entry.key_span.bytes.end;
    let colon = source[key_end..].find(':').map_or(key_end, |at| key_end + at + 1);
    let node = &*entry.value;
    let start = node.span.bytes.start;
    if start < key_end {
        // An alias: the node stands where its anchor is.
        let rest = &source[colon..];
        let blanks = rest.len() - rest.trim_start_matches([' ', '\t']).len();
        let word = rest[blanks..].find([' ', '\t', '\n', '\r', ',', '}', ']']).unwrap_or(rest.len() - blanks);
        return colon + blanks + word;
    }
    if node.scalar().is_some() && tree.raw(node).is_empty() {
        return properties_end(source, colon);
    }
    node_end(tree, node).max(colon)
}

/// Where the anchor and the tag end that stand behind a colon.
fn properties_end(source: &str, colon: usize) -> usize {
    let mut end = colon;
    loop {
        let rest = source[end..].trim_start_matches([' ', '\t']);
        if !rest.starts_with(['&', '!']) {
            return end;
        }
        let word = rest.find([' ', '\t', '\n', '\r', ',', '}', ']']).unwrap_or(rest.len());
        end = source.len() - rest.len() + word;
    }
}

/// Where a node ends that stands where it is named, line ends not counted but those of a text that keeps them (`|+`).
pub(super) fn node_end(tree: &Tree, node: &Node) -> usize {
    let (source, start) = (tree.source(), node.span.bytes.start);
    let end = match &node.kind {
        NodeKind::Scalar(_) => node.span.bytes.end,
        _ if source[start..].starts_with(['{', '[']) => return flow_end(source, start).unwrap_or(source.len()),
        _ => block_end(tree, node),
    };
    source[..end].trim_end().len().max(kept_end(tree, node, start))
}

/// Where the last of the texts of a node ends that keep the line ends behind them, without the last of these.
fn kept_end(tree: &Tree, node: &Node, from: usize) -> usize {
    match &node.kind {
        _ if node.span.bytes.start < from => 0,
        NodeKind::Scalar(_) if keeps_line_ends(tree, node) => node.span.bytes.end.saturating_sub(1),
        NodeKind::Scalar(_) => 0,
        NodeKind::List(items) => items.iter().map(|item| kept_end(tree, item, from)).max().unwrap_or(0),
        NodeKind::Map(entries) => {
            let own = entries.iter().filter(|entry| !entry.merged);
            own.map(|entry| kept_end(tree, &entry.value, from)).max().unwrap_or(0)
        }
    }
}

/// Whether this is a block of text that keeps the line ends behind it: `|+`, `>+`.
pub(super) fn keeps_line_ends(tree: &Tree, node: &Node) -> bool {
    let source = tree.source();
    let is_block = node.scalar().is_some_and(|scalar| scalar.style == Style::Block);
    let head = || source[..node.span.bytes.start].rfind(['|', '>']);
    let sign = |head: usize| source[head + 1..].split(['\n', ' ', '#']).next().unwrap_or_default().contains('+');
    is_block && source[..node.span.bytes.end].ends_with('\n') && head().is_some_and(sign)
}
