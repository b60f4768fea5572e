//! The edits, made in a file's text.

use std::ops::Range;

use serde_json::Value;
use zeroize::Zeroizing;

use super::comments::ShippedComments;
use super::edit::{Edit, as_key, has_merge, is_in_brackets};
use super::ends::{node_end, value_end};
use super::written::{node_at, written_within};
use crate::values::excerpt::{as_written, block_end, flow_end};
use crate::values::overlay::as_json;
use crate::yaml::{Entry, Node, NodeKind, OverriddenEntry, Path, Scalar, Style, Tree};

type Text = Zeroizing<String>;

/// A file that text is taken from, and the comments that the release's files have: those do not come along.
#[derive(Clone, Copy)]
struct Origin<'a> {
    tree: &'a Tree,
    shipped: &'a ShippedComments<'a>,
}

/// The text of `base` with the edits in it, which bring what `other` has. Whether it says what is meant is for the caller
/// to check.
pub(super) fn apply(base: &Tree, other: &Tree, edits: &[Edit<'_>], shipped: &ShippedComments<'_>) -> Text {
    let origin = |tree| Origin { tree, shipped };
    let mut changes: Vec<(Range<usize>, Text)> =
        edits.iter().flat_map(|edit| also_removed(base, edit)).map(|range| (range, Text::default())).collect();
    changes.extend(edits.iter().map(|edit| match edit {
        Edit::Replace { entry, with, in_brackets: true } => {
            let value = in_brackets(other, &with.value);
            let anchor = anchor(base, entry).map(|anchor| format!(" {anchor}")).unwrap_or_default();
            (entry.key_span.bytes.end..value_end(base, entry), Zeroizing::new(format!(":{anchor} {}", *value)))
        }
        Edit::Replace { entry, with, in_brackets: false } => replaced(base, origin(other), entry, with),
        Edit::Append { map, from } => appended(base, origin(other), map, &[], from),
        Edit::AppendRest { map, from, gone, left } => rest_appended(base, origin(other), map, (from, left), gone),
        Edit::Remove { map, entry } => (removed(base, map, entry), Text::default()),
        Edit::AddItem { list, behind, item } => item_added(base, other, list, *behind, item),
        Edit::RemoveItem { list, item } => (item_removed(base, list, item), Text::default()),
        Edit::Relocate { map, keys, entry, path, inner } => {
            let edited = (!inner.is_empty()).then(|| Tree::parse(apply(base, other, inner, shipped).as_bytes()).ok());
            let moved = match &edited {
                None => Some((base, *entry)),
                Some(edited) => edited.as_ref().and_then(|tree| Some((tree, entry_at(tree, path)?))),
            };
            // Where it cannot be taken from there, the text stays, and the check will find that.
            let end = base.source().len();
            moved.map_or((end..end, Text::default()), |(tree, moved)| {
                relocated(base, Origin { tree, shipped }, (map, entry), keys, moved)
            })
        }
        Edit::Rename { entry, key, .. } => (entry.key_span.bytes.clone(), Zeroizing::new(as_key(key))),
    }));
    // Of several at one place, what is put there comes first, and the innermost map's was made first.
    changes.sort_by_key(|(range, _)| (range.start, range.end));
    spliced(base.source(), &changes)
}

fn spliced(source: &str, changes: &[(Range<usize>, Text)]) -> Text {
    let mut text = Zeroizing::new(String::with_capacity(source.len() * 2));
    let mut at = 0;
    for (range, change) in changes {
        // Of a change within what another one has replaced, the check will find what is missing.
        if range.end < at || (range.start < at && !change.is_empty()) {
            continue;
        }
        text.push_str(&source[at..range.start.max(at)]);
        if range.start == source.len() && !change.is_empty() && !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
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
    let text = as_written(tree, node).or_else(|| {
        let written = written_within(tree, node)?;
        as_written(&written, node_at(written.root(), node.span.bytes.start)?)
    });
    let Some(text) = text else { return Form::Inline(as_json(&node.to_json())) };
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

fn replaced(new: &Tree, yours: Origin<'_>, entry: &Entry, mine: &Entry) -> (Range<usize>, Text) {
    let source = new.source();
    let (from, end) = (entry.key_span.bytes.end, value_end(new, entry));
    let indent = entry.key_span.column + 1;
    let line_end = source[end..].find('\n').map_or(source.len(), |at| end + at);
    let behind = &source[end..line_end];
    // A comment between the key and a value of several lines, or behind the value.
    let above = source[from..end].lines().next().and_then(comment).filter(|_| source[from..end].contains('\n'));
    let kept = above.or_else(|| comment(behind));
    let anchor = anchor(new, entry).map(|anchor| format!(" {anchor}")).unwrap_or_default();
    match form(yours.tree, &mine.value) {
        Form::Inline(text) => {
            let gap = if text.is_empty() { "" } else { " " };
            let comment = match (above, comment(behind)) {
                (Some(above), _) => format!(" {above}"),
                (None, Some(_)) => String::new(),
                (None, None) => trailing_comment(yours, mine).map(|comment| format!(" {comment}")).unwrap_or_default(),
            };
            (from..end, Zeroizing::new(format!(":{anchor}{gap}{}{comment}", *text)))
        }
        Form::Lines(header, lines) => {
            let head = [header.as_str(), kept.unwrap_or_default()].join(" ");
            let head = head.trim();
            let gap = if head.is_empty() { "" } else { " " };
            (from..line_end, Zeroizing::new(format!(":{anchor}{gap}{head}\n{}", *shifted(&lines, 0, indent))))
        }
    }
}

/// The anchor of a key's value (`&name`), which aliases elsewhere need.
fn anchor<'t>(tree: &'t Tree, entry: &Entry) -> Option<&'t str> {
    let (from, end) = (entry.key_span.bytes.end, value_end(tree, entry));
    let before = tree.source().get(from..end)?.trim_start_matches([':', ' ', '\t']);
    let name = before.strip_prefix('&')?;
    let length = name.find(|c: char| c.is_whitespace() || matches!(c, ',' | '}' | ']')).unwrap_or(name.len());
    Some(&before[..length + 1])
}

/// An entry at the end of a map, below these keys.
fn appended(base: &Tree, origin: Origin<'_>, map: &Node, keys: &[String], entry: &Entry) -> (Range<usize>, Text) {
    let source = base.source();
    let own_key = &origin.tree.source()[entry.key_span.bytes.clone()];
    let mut keys: Vec<String> = keys.iter().map(|key| as_key(key)).collect();
    let key = keys.pop().unwrap_or_else(|| own_key.to_owned());
    let NodeKind::Map(entries) = &map.kind else { return (source.len()..source.len(), Text::default()) };
    if is_in_brackets(base, map) {
        let value = in_brackets(origin.tree, &entry.value);
        let opened: String = keys.iter().map(|key| format!("{key}: {{")).collect();
        let text = format!("{opened}{key}: {}{}", *value, "}".repeat(keys.len()));
        return added_in_brackets(source, map, &text);
    }
    let own = || entries.iter().filter(|entry| !entry.merged);
    let (end, column) = match own().next() {
        _ if entries.is_empty() => (source.len(), 1),
        Some(first) => (own().map(|entry| value_end(base, entry)).max().unwrap_or_default(), first.key_span.column),
        // It has nothing but a merge.
        None => (source[..block_end(base, map)].trim_end().len(), map.span.column),
    };
    // A merge may stand behind the last key.
    let end = end.max(if has_merge(base, map) { source[..block_end(base, map)].trim_end().len() } else { 0 });
    let at = source[end..].find('\n').map_or(source.len(), |line| end + line + 1);
    (at..at, written(origin, entry, (&keys, &key), column.saturating_sub(1)))
}

/// What is left of an entry at the end of a map, without its comments where nothing can be cut out of its text.
fn rest_appended(
    base: &Tree,
    origin: Origin<'_>,
    map: &Node,
    (from, left): (&Entry, &Value),
    gone: &[(&Node, &Entry)],
) -> (Range<usize>, Text) {
    let mut cuts: Vec<(Range<usize>, Text)> =
        gone.iter().map(|(map, entry)| (removed(origin.tree, map, entry), Text::default())).collect();
    let twice = gone.iter().flat_map(|(map, entry)| dropped_places(origin.tree, map, entry));
    cuts.extend(twice.map(|range| (range, Text::default())));
    cuts.sort_by_key(|(range, _)| (range.start, range.end));
    let cut = || {
        let tree = Tree::parse(spliced(origin.tree.source(), &cuts).as_bytes()).ok()?;
        // What is cut out stands behind the key.
        let entry = entry_from(tree.root(), from.key_span.bytes.start)?;
        let says_the_rest = entry.value.to_json() == *left;
        says_the_rest.then(|| appended(base, Origin { tree: &tree, ..origin }, map, &[], entry))
    };
    let in_json = || {
        let text = Zeroizing::new(format!("{}: {}\n", as_key(&from.key), *as_json(left)));
        let tree = Tree::parse(text.as_bytes()).ok()?;
        let entry = tree.root().entry(&from.key)?;
        Some(appended(base, Origin { tree: &tree, ..origin }, map, &[], entry))
    };
    let end = base.source().len();
    cut().or_else(in_json).unwrap_or((end..end, Text::default()))
}

/// The key that begins at a byte.
fn entry_from(node: &Node, at: usize) -> Option<&Entry> {
    match &node.kind {
        NodeKind::Scalar(_) => None,
        NodeKind::List(items) => items.iter().find_map(|item| entry_from(item, at)),
        NodeKind::Map(entries) => entries.iter().filter(|entry| !entry.merged).find_map(|entry| {
            if entry.key_span.bytes.start == at { Some(entry) } else { entry_from(&entry.value, at) }
        }),
    }
}

fn entry_at<'t>(tree: &'t Tree, path: &Path) -> Option<&'t Entry> {
    let keys: Vec<&str> = path.keys().collect();
    let (last, above) = keys.split_last()?;
    tree.get(above)?.entry(last)
}

/// Before the closing bracket.
fn added_in_brackets(source: &str, map: &Node, text: &str) -> (Range<usize>, Text) {
    let close = flow_end(source, map.span.bytes.start).unwrap_or(source.len()).saturating_sub(1);
    let comma = match source[..close].trim_end() {
        before if before.ends_with('{') => "",
        before if before.ends_with(',') => " ",
        _ => ", ",
    };
    (close..close, Zeroizing::new(format!("{comma}{text}")))
}

/// An entry of this file below these keys of a map, as `moved` has it; its old place is removed beside that.
fn relocated(
    base: &Tree,
    origin: Origin<'_>,
    (map, entry): (&Node, &Entry),
    keys: &[String],
    moved: &Entry,
) -> (Range<usize>, Text) {
    let (close, text) = appended(base, origin, map, keys, moved);
    let NodeKind::Map(entries) = &map.kind else { return (close, text) };
    let start = entry.key_span.bytes.start;
    // Beside what it stood in, or in its own place.
    let holds = |other: &&Entry| !other.merged && other.key_span.bytes.start <= start && start < value_end(base, other);
    let Some(holder) = entries.iter().find(holds) else { return (close, text) };
    let was_here = std::ptr::eq(holder, entry);
    if !is_in_brackets(base, map) {
        let at = match was_here {
            true => removed(base, map, entry).start,
            false => base.source()[value_end(base, holder)..]
                .find('\n')
                .map_or(base.source().len(), |line| value_end(base, holder) + line + 1),
        };
        return (at..at, if was_here { Zeroizing::new(text.trim_start_matches('\n').to_owned()) } else { text });
    }
    if !was_here {
        return (close, text);
    }
    // In its own place, since nothing else may be left in the brackets.
    let text = text.trim_start_matches([',', ' ']);
    let place = removed(base, map, entry);
    let is_last = place.start == start && place.end == value_end(base, entry);
    let text = match place.start < start {
        true => format!(", {text}"),
        false if is_last => text.to_owned(),
        false => format!("{text}, "),
    };
    (place.start..place.start, Zeroizing::new(text))
}

/// The other places of a key that stands twice and goes, or gets another name: one of them would come back.
fn also_removed(base: &Tree, edit: &Edit<'_>) -> Vec<Range<usize>> {
    match edit {
        Edit::Remove { map, entry } | Edit::Rename { map, entry, .. } => dropped_places(base, map, entry),
        _ => Vec::new(),
    }
}

/// Where the same key stands in the same map and Helm drops it.
fn dropped_places(base: &Tree, map: &Node, entry: &Entry) -> Vec<Range<usize>> {
    let is_same = |dropped: &&OverriddenEntry| dropped.map == map.span.bytes.start && dropped.entry.key == entry.key;
    base.overridden().iter().filter(is_same).map(|dropped| removed(base, map, &dropped.entry)).collect()
}

/// Where a key stands with its value, and the comments directly above it.
pub(super) fn removed(base: &Tree, map: &Node, entry: &Entry) -> Range<usize> {
    let (source, start, end) = (base.source(), entry.key_span.bytes.start, value_end(base, entry));
    let NodeKind::Map(entries) = &map.kind else { return start..start };
    let others = || entries.iter().filter(|other| !other.merged && other.key != entry.key);
    let next = others().map(|other| other.key_span.bytes.start).filter(|other| *other > start).min();
    if is_in_brackets(base, map) {
        return removed_from_brackets(source, start..end);
    }
    let line = line_start(source, start);
    if !source[line..start].trim().is_empty() {
        // The first key of an item of a list: the next one takes its place.
        return start..next.unwrap_or(end);
    }
    let line_end = source[end..].find('\n').map_or(source.len(), |at| end + at + 1);
    line - comments_before(source, line, entry.key_span.column.saturating_sub(1))..line_end
}

/// A key or an item, and one of the commas around it.
fn removed_from_brackets(source: &str, range: Range<usize>) -> Range<usize> {
    let (before, behind) = (source[..range.start].trim_end(), source[range.end..].trim_start());
    if let Some(rest) = behind.strip_prefix(',') {
        let next = rest.trim_start_matches(' ');
        let rest = if next.starts_with('#') { rest } else { next };
        return range.start..source.len() - rest.len();
    }
    let start = if before.ends_with(',') { before.len() - 1 } else { range.start };
    start..range.end
}

/// Where the dash of an item is: the beginning of its line, and its column from 0.
fn dash(source: &str, item: &Node) -> Option<(usize, usize)> {
    let line = line_start(source, item.span.bytes.start);
    let before = &source[line..item.span.bytes.start];
    (before.trim() == "-").then(|| (line, indent_of(before)))
}

fn item_added(base: &Tree, other: &Tree, list: &Node, behind: Option<&Node>, item: &Node) -> (Range<usize>, Text) {
    let (source, start) = (base.source(), list.span.bytes.start);
    let NodeKind::List(items) = &list.kind else { return (start..start, Text::default()) };
    if source[start..].starts_with('[') {
        let json = as_json(&item.to_json());
        return match behind.map(|behind| node_end(base, behind)) {
            Some(end) => (end..end, Zeroizing::new(format!(", {}", *json))),
            None => (start + 1..start + 1, Zeroizing::new(format!("{}, ", *json))),
        };
    }
    // Where the dash cannot be found, the text stays, and the check will find that.
    let Some((first, column)) = items.first().and_then(|first| dash(source, first)) else {
        return (start..start, Text::default());
    };
    let at = match behind.map(|behind| node_end(base, behind)) {
        Some(end) => source[end..].find('\n').map_or(source.len(), |line| end + line + 1),
        None => first - comments_before(source, first, column),
    };
    let (margin, text) = (" ".repeat(column), form(other, item));
    let lines = match &text {
        Form::Inline(value) => Zeroizing::new(format!("{margin}- {}\n", **value)),
        Form::Lines(_, lines) => {
            let lines = shifted(lines, 0, column + 2);
            Zeroizing::new(format!("{margin}- {}\n", lines.trim_start()))
        }
    };
    (at..at, lines)
}

fn item_removed(base: &Tree, list: &Node, item: &Node) -> Range<usize> {
    let (source, start, end) = (base.source(), item.span.bytes.start, node_end(base, item));
    if source[list.span.bytes.start..].starts_with('[') {
        return removed_from_brackets(source, start..end);
    }
    let Some((line, column)) = dash(source, item) else { return start..start };
    let line_end = source[end..].find('\n').map_or(source.len(), |at| end + at + 1);
    line - comments_before(source, line, column)..line_end
}

/// How long the comment lines at this column are that stand directly above a line.
fn comments_before(source: &str, line: usize, column: usize) -> usize {
    let is_comment = |line: &&str| line.trim_start().starts_with('#') && indent_of(line) == column;
    source[..line].split_inclusive('\n').rev().take_while(is_comment).map(str::len).sum()
}

/// A whole entry, with the comments directly above it, indented; below the first keys, and by the name of the second.
fn written(origin: Origin<'_>, entry: &Entry, (keys, key): (&[String], &str), indent: usize) -> Text {
    let mut text = Zeroizing::new(String::new());
    let comments = if entry.merged { Vec::new() } else { comments_above(origin, entry) };
    if indent == 0 && !entry.merged && has_blank_above(origin.tree, entry, comments.len()) {
        text.push('\n');
    }
    for (place, key) in keys.iter().enumerate() {
        text.push_str(&format!("{}{key}:\n", " ".repeat(indent + 2 * place)));
    }
    let indent = indent + 2 * keys.len();
    let margin = " ".repeat(indent);
    for line in comments {
        text.push_str(&format!("{margin}{line}\n"));
    }
    let comment = trailing_comment(origin, entry).map(|comment| format!(" {comment}")).unwrap_or_default();
    match form(origin.tree, &entry.value) {
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

fn trailing_comment<'t>(Origin { tree, shipped }: Origin<'t>, entry: &Entry) -> Option<&'t str> {
    if entry.merged {
        return None;
    }
    let rest = tree.source().get(value_end(tree, entry)..)?.lines().next()?;
    rest.starts_with([' ', '\t']).then(|| comment(rest)).flatten().filter(|comment| !shipped.contains(comment))
}

/// Comment lines directly above a key, at its own column; none where all of them are the release's own.
fn comments_above<'t>(Origin { tree, shipped }: Origin<'t>, entry: &Entry) -> Vec<&'t str> {
    let (source, start) = (tree.source(), entry.key_span.bytes.start);
    let line = line_start(source, start);
    if !source[line..start].trim().is_empty() {
        return Vec::new();
    }
    let above = comments_before(source, line, entry.key_span.column.saturating_sub(1));
    let lines: Vec<&str> = source[line - above..line].lines().map(str::trim).collect();
    if lines.iter().all(|line| shipped.contains(line)) { Vec::new() } else { lines }
}

/// Whether a blank line stands above a key and the comment lines that belong to it.
fn has_blank_above(tree: &Tree, entry: &Entry, comments: usize) -> bool {
    let mut before = tree.source()[..entry.key_span.bytes.start].rsplit('\n').skip(1 + comments);
    before.next().is_some_and(|line| line.trim().is_empty() && before.next().is_some())
}

fn line_start(source: &str, at: usize) -> usize {
    source[..at].rfind('\n').map_or(0, |end| end + 1)
}
