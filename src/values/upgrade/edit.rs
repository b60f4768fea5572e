//! What is changed in a file's text, and how the text of its maps lies.

use serde_json::Value;

use crate::values::excerpt::{block_end, flow_end};
use crate::yaml::{Entry, Node, NodeKind, Path, Tree};

/// A change to a text. What it brings is written as another file has it: in the new file the operator's values, in a
/// file of overrides those of the new release.
pub(super) enum Edit<'t> {
    /// The value of a key becomes the other file's.
    Replace {
        entry: &'t Entry,
        /// In the other file.
        with: &'t Entry,
        /// Whether the key stands within brackets.
        in_brackets: bool,
    },
    /// A key of the other file goes to the end of a map; the root among them.
    Append { map: &'t Node, from: &'t Entry },
    /// The same without the `gone` keys in the maps below it: what is `left` of its value.
    AppendRest { map: &'t Node, from: &'t Entry, gone: Vec<(&'t Node, &'t Entry)>, left: Value },
    /// A key goes.
    Remove { map: &'t Node, entry: &'t Entry },
    /// An item of the other file's comes into a list, behind one of its items or before the first.
    AddItem { list: &'t Node, behind: Option<&'t Node>, item: &'t Node },
    /// An item goes.
    RemoveItem { list: &'t Node, item: &'t Node },
    /// A key of this file goes below these keys of a map, which are not there yet; `path` is where it stands, and `inner`
    /// are the changes to its own value.
    Relocate { map: &'t Node, keys: Vec<String>, entry: &'t Entry, path: Path, inner: Vec<Edit<'t>> },
    /// A key has another name, in its place.
    Rename { map: &'t Node, entry: &'t Entry, key: String },
}

/// Whether a key's value stands beside it: not that of an alias or a merge, whose text stands elsewhere.
pub(super) fn is_written_here(entry: &Entry) -> bool {
    !entry.merged && entry.value.span.bytes.start >= entry.key_span.bytes.end
}

/// Of the edits at and below a key whose text stands elsewhere, only that of its whole value is left: what is below is
/// another place's text, too. Where the two differ they are parted later.
pub(super) fn keep_own<'t>(edits: &mut Vec<Edit<'t>>, from: usize, entry: &'t Entry) {
    if is_written_here(entry) {
        return;
    }
    let is_whole = |edit: &Edit<'_>| matches!(edit, Edit::Replace { entry: whole, .. } if std::ptr::eq(*whole, entry));
    let made = edits.split_off(from);
    edits.extend(made.into_iter().filter(|edit| !entry.merged && is_whole(edit)));
}

pub(super) fn has_entries(node: &Node) -> bool {
    matches!(&node.kind, NodeKind::Map(entries) if !entries.is_empty())
}

pub(super) fn is_in_brackets(tree: &Tree, map: &Node) -> bool {
    tree.source().get(map.span.bytes.start..).is_some_and(|text| text.starts_with('{'))
}

/// Whether a merge key (`<<`) stands in a map, or below it.
pub(super) fn has_merge(tree: &Tree, map: &Node) -> bool {
    let (source, start) = (tree.source(), map.span.bytes.start);
    let end = if source[start..].starts_with('{') { flow_end(source, start) } else { Some(block_end(tree, map)) };
    end.and_then(|end| source.get(start..end)).is_some_and(|text| text.contains("<<"))
}

/// A key as it is written: in quotes where it is no plain word, or one that YAML takes for something else.
pub(super) fn as_key(key: &str) -> String {
    let is_plain = key.starts_with(|c: char| c.is_ascii_alphabetic())
        && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/'));
    let stays = || Tree::parse(format!("{key}: 1\n").as_bytes()).is_ok_and(|tree| tree.get(&[key]).is_some());
    if is_plain && stays() { key.to_owned() } else { Value::from(key).to_string() }
}
