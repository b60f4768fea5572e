//! The edits, made in the new file's text.

use std::ops::Range;

use zeroize::Zeroizing;

use super::comments::ShippedComments;
use super::merge::Edit;
use crate::values::excerpt::{as_written, block_end, flow_end};
use crate::values::overlay::as_json;
use crate::yaml::{Entry, Node, NodeKind, Scalar, Style, Tree};

type Text = Zeroizing<String>;

/// The operator's file, and the comments that the release's files have: those are not the operator's.
#[derive(Clone, Copy)]
struct Yours<'a> {
    tree: &'a Tree,
    shipped: &'a ShippedComments<'a>,
}

/// The new file's text with the edits in it. Whether it says what is meant is for the caller to check.
pub(super) fn apply(new: &Tree, yours: &Tree, edits: &[Edit<'_>], shipped: &ShippedComments<'_>) -> Text {
    let yours = Yours { tree: yours, shipped };
    let mut changes: Vec<(Range<usize>, Text)> = edits
        .iter()
        .map(|edit| match edit {
            Edit::Replace { entry, yours: mine, in_brackets: true } => {
                let value = in_brackets(yours.tree, &mine.value);
                (entry.key_span.bytes.end..value_end(new, entry), Zeroizing::new(format!(": {}", *value)))
            }
            Edit::Replace { entry, yours: mine, in_brackets: false } => replaced(new, yours, entry, mine),
            Edit::Append { map, yours: mine } => appended(new, yours, map, mine),
        })
        .collect();
    // Of several at one place, the innermost map's was made first.
    changes.sort_by_key(|(range, _)| range.start);
    let source = new.source();
    let mut text = Zeroizing::new(String::with_capacity(source.len() * 2));
    let mut at = 0;
    for (range, change) in &changes {
        // A change within what another one has replaced: the check will find what is missing.
        if range.start < at {
            continue;
        }
        text.push_str(&source[at..range.start]);
        text.push_str(change);
        at = range.end;
    }
    text.push_str(&source[at..]);
    text
}

/// A value as it is put after a key.
enum Form {
    /// On the key's line.
    Inline(Text),
    /// A header on the key's line (`|`, or nothing) and lines at the margin.
    Lines(String, Text),
}

fn form(tree: &Tree, node: &Node) -> Form {
    let Some(text) = as_written(tree, node) else { return Form::Inline(as_json(&node.to_json())) };
    // Line ends as the new file has them.
    let text = Zeroizing::new(text.trim_end_matches('\n').replace("\r\n", "\n"));
    match &node.kind {
        NodeKind::Scalar(Scalar { style: Style::Block, .. }) => {
            let Some((header, body)) = text.split_once('\n') else { return Form::Inline(as_json(&node.to_json())) };
            let sign = header.split('#').next().unwrap_or_default().trim();
            let is_odd = sign.chars().any(|c| c.is_ascii_digit() || c == '+');
            let margin = body.lines().find(|line| !line.trim().is_empty()).map_or(0, indent_of);
            if is_odd || margin == 0 {
                return Form::Inline(as_json(&node.to_json()));
            }
            Form::Lines(sign.to_owned(), shifted(body, margin, 0))
        }
        NodeKind::Scalar(_) if text.contains('\n') => Form::Inline(as_json(&node.to_json())),
        NodeKind::Map(_) | NodeKind::List(_) if !text.starts_with(['{', '[']) => Form::Lines(String::new(), text),
        _ => Form::Inline(text),
    }
}

/// A value fit to stand in brackets.
fn in_brackets(tree: &Tree, node: &Node) -> Text {
    let is_fit = |text: &str, scalar: &Scalar| match scalar.style {
        Style::Quoted => true,
        Style::Plain => {
            !text.contains([',', '[', ']', '{', '}', ':', '#', '?', '&', '*', '!', '-', '|', '>', '%', '@', '`'])
        }
        Style::Block => false,
    };
    match (form(tree, node), node.scalar()) {
        (Form::Inline(text), Some(scalar)) if is_fit(&text, scalar) => text,
        _ => as_json(&node.to_json()),
    }
}

fn replaced(new: &Tree, yours: Yours<'_>, entry: &Entry, mine: &Entry) -> (Range<usize>, Text) {
    let source = new.source();
    let (from, end) = (entry.key_span.bytes.end, value_end(new, entry));
    let indent = entry.key_span.column + 1;
    let line_end = source[end..].find('\n').map_or(source.len(), |at| end + at);
    let behind = &source[end..line_end];
    // A comment between the key and a value of several lines, or behind the value.
    let above = source[from..end].lines().next().and_then(comment).filter(|_| source[from..end].contains('\n'));
    let kept = above.or_else(|| comment(behind));
    match form(yours.tree, &mine.value) {
        Form::Inline(text) => {
            let gap = if text.is_empty() { "" } else { " " };
            let comment = match (above, comment(behind)) {
                (Some(above), _) => format!(" {above}"),
                (None, Some(_)) => String::new(),
                (None, None) => trailing_comment(yours, mine).map(|comment| format!(" {comment}")).unwrap_or_default(),
            };
            (from..end, Zeroizing::new(format!(":{gap}{}{comment}", *text)))
        }
        Form::Lines(header, lines) => {
            let head = [header.as_str(), kept.unwrap_or_default()].join(" ");
            let head = head.trim();
            let gap = if head.is_empty() { "" } else { " " };
            (from..line_end, Zeroizing::new(format!(":{gap}{head}\n{}", *shifted(&lines, 0, indent))))
        }
    }
}

fn appended(new: &Tree, yours: Yours<'_>, map: &Node, mine: &Entry) -> (Range<usize>, Text) {
    let source = new.source();
    let key = &yours.tree.source()[mine.key_span.bytes.clone()];
    let NodeKind::Map(entries) = &map.kind else { return (source.len()..source.len(), Text::default()) };
    let own = || entries.iter().filter(|entry| !entry.merged);
    let Some(first) = own().next() else {
        return (source.len()..source.len(), written(yours, mine, key, 0));
    };
    if map.span.bytes.start < first.key_span.bytes.start {
        // In brackets: before the closing one.
        let close = flow_end(source, map.span.bytes.start).unwrap_or(source.len()).saturating_sub(1);
        let comma = if source[..close].trim_end().ends_with(',') { " " } else { ", " };
        let text = format!("{comma}{key}: {}", *in_brackets(yours.tree, &mine.value));
        return (close..close, Zeroizing::new(text));
    }
    let end = own().map(|entry| value_end(new, entry)).max().unwrap_or(source.len());
    let at = source[end..].find('\n').map_or(source.len(), |line| end + line + 1);
    (at..at, written(yours, mine, key, first.key_span.column.saturating_sub(1)))
}

/// A whole entry of the operator's, with the comments directly above it, indented.
fn written(yours: Yours<'_>, mine: &Entry, key: &str, indent: usize) -> Text {
    let margin = " ".repeat(indent);
    let mut text = Zeroizing::new(String::new());
    if !mine.merged {
        let comments = comments_above(yours, mine);
        if indent == 0 && has_blank_above(yours.tree, mine, comments.len()) {
            text.push('\n');
        }
        for line in comments {
            text.push_str(&format!("{margin}{line}\n"));
        }
    }
    let comment = trailing_comment(yours, mine).map(|comment| format!(" {comment}")).unwrap_or_default();
    match form(yours.tree, &mine.value) {
        Form::Inline(value) if value.is_empty() => text.push_str(&format!("{margin}{key}:{comment}\n")),
        Form::Inline(value) => {
            text.push_str(&margin);
            text.push_str(key);
            text.push_str(": ");
            text.push_str(&value);
            text.push_str(&comment);
            text.push('\n');
        }
        Form::Lines(header, lines) => {
            let gap = if header.is_empty() { "" } else { " " };
            text.push_str(&format!("{margin}{key}:{gap}{header}\n"));
            text.push_str(&shifted(&lines, 0, indent + 2));
            text.push('\n');
        }
    }
    text
}

/// The lines with `take` blanks off and `give` blanks on; blank ones stay bare.
fn shifted(lines: &str, take: usize, give: usize) -> Text {
    let margin = " ".repeat(give);
    let mut text = Zeroizing::new(String::with_capacity(lines.len() * 2));
    for (place, line) in lines.split('\n').enumerate() {
        if place > 0 {
            text.push('\n');
        }
        let rest = line.get(take.min(indent_of(line))..).unwrap_or(line);
        if !rest.trim().is_empty() {
            text.push_str(&margin);
        }
        text.push_str(rest);
    }
    text
}

fn indent_of(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

/// The comment that a rest of a line consists of.
fn comment(rest: &str) -> Option<&str> {
    let text = rest.trim_start_matches([':', ' ', '\t']);
    text.starts_with('#').then(|| text.trim_end())
}

fn trailing_comment<'t>(Yours { tree, shipped }: Yours<'t>, entry: &Entry) -> Option<&'t str> {
    if entry.merged {
        return None;
    }
    let rest = tree.source().get(value_end(tree, entry)..)?.lines().next()?;
    rest.starts_with([' ', '\t']).then(|| comment(rest)).flatten().filter(|comment| !shipped.contains(comment))
}

/// Comment lines directly above a key, at its own column; none where all of them are the release's own.
fn comments_above<'t>(Yours { tree, shipped }: Yours<'t>, entry: &Entry) -> Vec<&'t str> {
    let before = &tree.source()[..entry.key_span.bytes.start];
    let Some(line) = before.rfind('\n') else { return Vec::new() };
    if !before[line + 1..].trim().is_empty() {
        return Vec::new();
    }
    let column = entry.key_span.column.saturating_sub(1);
    let is_comment = |line: &&str| line.trim_start().starts_with('#') && indent_of(line) == column;
    let mut lines: Vec<&str> = before[..line].rsplit('\n').take_while(is_comment).map(str::trim).collect();
    lines.reverse();
    if lines.iter().all(|line| shipped.contains(line)) { Vec::new() } else { lines }
}

/// Whether a blank line stands above a key and the comment lines that belong to it.
fn has_blank_above(tree: &Tree, entry: &Entry, comments: usize) -> bool {
    let mut before = tree.source()[..entry.key_span.bytes.start].rsplit('\n').skip(1 + comments);
    before.next().is_some_and(|line| line.trim().is_empty() && before.next().is_some())
}

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
    let end = match &node.kind {
        NodeKind::Scalar(_) if tree.raw(node).is_empty() => return colon,
        NodeKind::Scalar(_) => node.span.bytes.end,
        _ if source[start..].starts_with(['{', '[']) => return flow_end(source, start).unwrap_or(source.len()),
        _ => block_end(tree, node),
    };
    source[..end].trim_end().len().max(colon)
}
