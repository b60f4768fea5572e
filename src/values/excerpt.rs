//! A part of a values file as it was written: a node with its comments and quotes, fit to stand on its own.

use zeroize::Zeroizing;

use crate::yaml::{Node, NodeKind, Scalar, Style, Tree};

/// The node as it stands in the file, with a line end. What is indented there begins at the margin here.
///
/// `None` when the text would not read the same on its own: it names an anchor that stands elsewhere, say.
pub fn as_written(tree: &Tree, node: &Node) -> Option<Zeroizing<String>> {
    let source = tree.source();
    let (text, own_line) = match &node.kind {
        NodeKind::Scalar(Scalar { style: Style::Block, .. }) => {
            let head = source[..node.span.bytes.start].rfind(['|', '>'])?;
            (Zeroizing::new(source[head..node.span.bytes.end].to_owned()), false)
        }
        NodeKind::Scalar(_) => (Zeroizing::new(tree.raw(node).to_owned()), false),
        _ if std::ptr::eq(node, tree.root()) => (Zeroizing::new(source.to_owned()), true),
        NodeKind::Map(_) | NodeKind::List(_) => {
            let start = node.span.bytes.start;
            match source[start..].chars().next()? {
                '{' | '[' => (Zeroizing::new(source[start..flow_end(source, start)?].to_owned()), false),
                _ => (to_margin(&source[start..block_end(tree, node)], node.span.column.saturating_sub(1)), true),
            }
        }
    };
    let mut text = text;
    let end = text.trim_end().len();
    text.truncate(end);
    text.push('\n');
    reads_the_same(&text, own_line, node).then_some(text)
}

/// Reads the text again, as the value of a key.
fn reads_the_same(text: &str, own_line: bool, node: &Node) -> bool {
    let mut whole = Zeroizing::new(String::with_capacity(text.len() * 2 + 4));
    whole.push_str(if own_line { "x:\n" } else { "x: " });
    for (place, line) in text.split_inclusive('\n').enumerate() {
        if own_line || place > 0 {
            whole.push_str("  ");
        }
        whole.push_str(line);
    }
    Tree::parse(whole.as_bytes()).is_ok_and(|tree| tree.get(&["x"]).is_some_and(|again| again.same_as(node)))
}

/// Takes the indentation of the first line, which the text itself lacks, off the others.
fn to_margin(text: &str, margin: usize) -> Zeroizing<String> {
    let blank = |line: &str| line.trim().is_empty();
    let indented = |line: &str| line.len() >= margin && line.as_bytes()[..margin].iter().all(|byte| *byte == b' ');
    // A comment left of the block may stand where it likes.
    let low = |line: &str| !indented(line) && line.trim_start().starts_with('#');
    let shift = text.split_inclusive('\n').skip(1).all(|line| blank(line) || indented(line) || low(line));
    let mut out = Zeroizing::new(String::with_capacity(text.len()));
    for (place, line) in text.split_inclusive('\n').enumerate() {
        out.push_str(if shift && place > 0 && !blank(line) && !low(line) { &line[margin..] } else { line });
    }
    out
}

/// Where a block ends: behind its last node, and behind the lines after it that are indented as far as it is.
pub(super) fn block_end(tree: &Tree, node: &Node) -> usize {
    let (source, column) = (tree.source(), node.span.column.saturating_sub(1));
    let mut last = node.span.bytes.start;
    last_node(node, node.span.bytes.start, &mut last);
    // A key that stands twice, or that a merge behind it overrides, stands in its text as well.
    for dropped in tree.overridden().iter().filter(|dropped| dropped.map == node.span.bytes.start) {
        last = last.max(dropped.entry.key_span.bytes.end);
        last_node(&dropped.entry.value, node.span.bytes.start, &mut last);
    }
    let line_end = |from: usize| source[from..].find('\n').map_or(source.len(), |at| from + at + 1);
    // The span of a block scalar may reach to the beginning of the next line already.
    let mut end = if source[..last].ends_with('\n') { last } else { line_end(last) };
    let mut at = end;
    while at < source.len() {
        let next = line_end(at);
        let line = source[at..next].trim_end();
        let text = line.trim_start_matches(' ');
        let indent = line.len() - text.len();
        let is_item = text == "-" || text.starts_with("- ");
        if text.is_empty() || (text.starts_with('#') && indent < column) {
            // Belongs to it only if more of it follows.
        } else if indent > column || (indent == column && is_item == matches!(node.kind, NodeKind::List(_))) {
            if column == 0 && matches!(text.split_whitespace().next(), Some("---" | "...")) {
                break;
            }
            end = next;
        } else {
            break;
        }
        at = next;
    }
    end
}

/// The furthest byte of the nodes below; those that an alias brought in from further up do not count.
fn last_node(node: &Node, start: usize, last: &mut usize) {
    let mut note = |bytes: &std::ops::Range<usize>| {
        if bytes.start >= start {
            *last = (*last).max(bytes.end);
        }
    };
    note(&node.span.bytes);
    match &node.kind {
        NodeKind::Scalar(_) => {}
        NodeKind::List(items) => items.iter().for_each(|item| last_node(item, start, last)),
        NodeKind::Map(entries) => {
            for entry in entries.iter().filter(|entry| !entry.merged) {
                note(&entry.key_span.bytes);
            }
            for entry in entries.iter().filter(|entry| !entry.merged) {
                last_node(&entry.value, start, last);
            }
        }
    }
}

/// Where the bracket at `start` is closed. A guess at quotes inside plain words may be wrong; the caller reads the text
/// again and finds out.
pub(super) fn flow_end(source: &str, start: usize) -> Option<usize> {
    let mut depth = 0;
    let mut before = ' ';
    let mut chars = source[start..].char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '{' | '[' => depth += 1,
            '}' | ']' => {
                depth -= 1;
                if depth == 0 {
                    return Some(start + at + 1);
                }
            }
            '"' | '\'' if matches!(before, ' ' | '\t' | '\n' | '{' | '[' | ',' | ':') => loop {
                match chars.next()?.1 {
                    '\\' if c == '"' => {
                        chars.next()?;
                    }
                    inner if inner == c => break,
                    _ => {}
                }
            },
            '#' if before.is_whitespace() => {
                chars.by_ref().find(|(_, inner)| *inner == '\n');
            }
            _ => {}
        }
        before = c;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::locate;

    const YAML: &str = "\
a: # head
  # first
  b:
    c: 'x' # note
    d:
    - 1
    - k: |
        two
         lines

      l: >-
        folded
    # of the end
  e: {f: 1, # }
    g: [2, \"}\"], h: it's}
# low
  m: &m {n: 1}
  o: *m
z: 0x10
p:
  <<: *m
list:
- *m
- - 1
  - 2
- last
";

    fn written(path: &str) -> Option<String> {
        let tree = Tree::parse(YAML.as_bytes()).unwrap();
        let path = locate::parse(path).unwrap();
        as_written(&tree, locate::find(&tree, &path).unwrap()).map(|text| text.to_string())
    }

    #[test]
    fn a_part_stands_as_it_was_written() {
        assert_eq!(written("a.b.c").as_deref(), Some("'x'\n"));
        assert_eq!(written("z").as_deref(), Some("0x10\n"));
        assert_eq!(
            written("a.b").as_deref(),
            Some(&*YAML[YAML.find("c: 'x'").unwrap()..YAML.find("  e: {").unwrap()].replace("\n    ", "\n"))
        );
        assert_eq!(written("a.e").as_deref(), Some("{f: 1, # }\n    g: [2, \"}\"], h: it's}\n"));
        assert_eq!(written("list[1]").as_deref(), Some("- 1\n- 2\n"));
        assert_eq!(written("a.b.d[1].k").as_deref(), Some("|\n        two\n         lines\n"));
        assert_eq!(written("(root)").as_deref(), Some(YAML));
    }

    #[test]
    fn what_needs_an_anchor_from_elsewhere_is_not_given_as_text() {
        assert_eq!(written("p"), None);
        assert_eq!(written("list"), None);
        assert!(written("a").is_some(), "it holds the anchor itself");
        assert_eq!(written("a.o").as_deref(), Some("{n: 1}\n"));
    }

    #[test]
    fn every_part_that_is_given_reads_the_same() {
        fn walk(tree: &Tree, node: &Node, given: &mut usize) {
            if let Some(text) = as_written(tree, node) {
                *given += 1;
                let own_line = !matches!(node.kind, NodeKind::Scalar(_)) && !text.starts_with(['{', '[']);
                assert!(reads_the_same(&text, own_line, node), "{}", text.as_str());
            }
            match &node.kind {
                NodeKind::Map(entries) => entries.iter().for_each(|entry| walk(tree, &entry.value, given)),
                NodeKind::List(items) => items.iter().for_each(|item| walk(tree, item, given)),
                NodeKind::Scalar(_) => {}
            }
        }
        for file in ["2026-08-20", "2026-09-14", "2026-10-08"] {
            let path = format!("{}/fixtures/values/{file}.yaml", env!("CARGO_MANIFEST_DIR"));
            let tree = Tree::parse(&std::fs::read(path).unwrap()).unwrap();
            let (mut given, all) = (0, tree.leaves().len());
            walk(&tree, tree.root(), &mut given);
            assert!(given > all, "{given} of {all} leaves and what holds them");
        }
    }
}
