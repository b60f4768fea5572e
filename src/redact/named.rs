//! Entries that are secret by their name, whatever Helm reads there: a boolean, nothing at all, or an empty map as well.

use std::ops::Range;

use super::secret::{is_flag_for_secret, is_named, is_whole_secret, name_hint};
use super::shape::looks_random;
use crate::yaml::{Entry, Node, NodeKind, Path, Segment, Span, Tree, Value};

/// A value that is secret by its name.
#[derive(Debug)]
pub struct NamedSecret<'t> {
    pub path: Path,
    /// The name that says so: its key, the name beside a `value`, or the flag before it.
    pub name: String,
    pub node: &'t Node,
    /// How it was written, where it has a key of its own in the file.
    pub written: Option<Written>,
}

/// How the value of a key was written, as places in [`Tree::source`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Where it begins: behind the colon.
    pub at: Span,
    /// A tag, with its `!`.
    pub tag: Option<Range<usize>>,
    /// An anchor, with its `&`.
    pub anchor: Option<Range<usize>>,
    /// All of it but a comment: properties and value. Empty where nothing was written.
    pub whole: Range<usize>,
    /// A comment without a blank behind its sign, such as the rest of a password that holds ` #`.
    pub cut: Option<Range<usize>>,
}

impl Written {
    /// What Helm takes for something else than the secret, and its author may have meant as part of it.
    pub fn lost(&self) -> Option<Range<usize>> {
        let parts = [&self.tag, &self.anchor, &self.cut].into_iter().flatten();
        let start = parts.clone().map(|part| part.start).min()?;
        let end = parts.map(|part| part.end).max()?.max(self.whole.end);
        Some(start.min(self.whole.start)..end)
    }
}

/// Every value that is secret by its name. What stands below a map in a secret's place is judged by its own names.
pub fn named_secrets(tree: &Tree) -> Vec<NamedSecret<'_>> {
    let mut walk = Walk { tree, path: Path::root(), found: Vec::new() };
    walk.node(tree.root());
    walk.found
}

struct Walk<'t> {
    tree: &'t Tree,
    path: Path,
    found: Vec<NamedSecret<'t>>,
}

impl<'t> Walk<'t> {
    fn node(&mut self, node: &'t Node) {
        match &node.kind {
            NodeKind::Scalar(_) => {}
            NodeKind::List(items) => self.list(items),
            NodeKind::Map(entries) => {
                let hint = name_hint(node);
                for entry in entries {
                    self.path.0.push(Segment::Key(entry.key.clone()));
                    self.entry(entry, hint);
                    self.path.0.pop();
                }
            }
        }
    }

    fn entry(&mut self, entry: &'t Entry, hint: Option<&str>) {
        let is_one = is_single(self.tree, &entry.value) || is_whole_secret(&self.path, hint, &entry.value);
        if is_named(&self.path, hint) && is_one {
            let name = if entry.key == "value" { hint.unwrap_or(&entry.key) } else { &entry.key };
            let written = written(self.tree, entry);
            self.found.push(NamedSecret {
                path: self.path.clone(),
                name: name.to_owned(),
                node: &entry.value,
                written,
            });
            return;
        }
        self.node(&entry.value);
    }

    fn list(&mut self, items: &'t [std::sync::Arc<Node>]) {
        let named = is_named(&self.path, None);
        let mut before: Option<&str> = None;
        for (index, item) in items.iter().enumerate() {
            self.path.0.push(Segment::Index(index));
            let flag = before.filter(|flag| is_flag_for_secret(flag));
            if item.scalar().is_some() && (named || flag.is_some()) {
                let name = flag.or_else(|| self.path.keys().next_back()).unwrap_or_default().to_owned();
                self.found.push(NamedSecret { path: self.path.clone(), name, node: item, written: None });
            } else {
                self.node(item);
            }
            self.path.0.pop();
            before = match item.scalar().map(|scalar| &scalar.value) {
                Some(Value::String(text)) => Some(text.as_str()),
                _ => None,
            };
        }
    }
}

/// A scalar, something empty, or brackets that were hardly meant as such: `{word}`, `[[ word ]]`; or a text on the next
/// line, of which a colon has made a key.
fn is_single(tree: &Tree, node: &Node) -> bool {
    match &node.kind {
        NodeKind::Scalar(_) => true,
        NodeKind::List(items) => {
            items.is_empty()
                || (tree.source()[node.span.bytes.start..].starts_with('[')
                    && items.iter().all(|item| item.scalar().is_some()))
                || tree.source()[node.span.bytes.start..].starts_with("[[")
        }
        NodeKind::Map(entries) => entries.iter().all(|entry| {
            matches!(entry.value.scalar(), Some(scalar) if scalar.value == Value::Null)
                && tree.raw(&entry.value).trim().is_empty()
                && (tree.source()[..entry.key_span.bytes.start].trim_end().ends_with(['{', ','])
                    || (entries.len() == 1 && looks_random(&entry.key)))
        }),
    }
}

/// How the value of an entry stands in the file; `None` where it stands elsewhere (an alias, a merge).
fn written(tree: &Tree, entry: &Entry) -> Option<Written> {
    let source = tree.source();
    let colon =
        entry.key_span.bytes.end + source[entry.key_span.bytes.end..].find(|c: char| !matches!(c, ' ' | '\t'))?;
    let start = after_blanks(source, colon + source[colon..].strip_prefix(':').map(|_| 1)?);
    if source[start..].starts_with('*') {
        return None;
    }
    let key = &entry.key_span;
    let column = key.column + source[key.bytes.start..start].chars().count();
    let at = Span { line: key.line, column, bytes: start..start };
    let mut written = Written { at, tag: None, anchor: None, whole: start..start, cut: None };
    let mut at = start;
    while let Some(place) = [('!', &mut written.tag), ('&', &mut written.anchor)]
        .into_iter()
        .find_map(|(sign, part)| (source[at..].starts_with(sign) && part.is_none()).then_some(part))
    {
        let end = at + source[at..].find(char::is_whitespace).unwrap_or(source.len() - at);
        *place = Some(at..end);
        written.whole.end = end;
        at = after_blanks(source, end);
    }
    if entry.value.span.bytes.start >= start {
        written.whole.end = written.whole.end.max(end_of(tree, &entry.value));
    }
    written.cut = cut_comment(source, written.whole.end);
    Some(written)
}

/// Where a node ends. Of brackets, only their beginning is known.
fn end_of(tree: &Tree, node: &Node) -> usize {
    let start = node.span.bytes.start;
    if node.scalar().is_none() && !tree.source()[start..].starts_with(['{', '[']) {
        return last_byte(tree, node, start);
    }
    let (inside, bracket) = match &node.kind {
        NodeKind::Scalar(_) => return start + tree.raw(node).trim_end().len(),
        NodeKind::List(items) => (items.last().map(|item| item.span.bytes.end), ']'),
        NodeKind::Map(entries) => (entries.last().map(|entry| entry.key_span.bytes.end), '}'),
    };
    let inside = inside.unwrap_or(start).max(start);
    inside + tree.source()[inside..].find(bracket).map_or(0, |at| at + 1)
}

/// Where the last value of a block ends.
fn last_byte(tree: &Tree, node: &Node, start: usize) -> usize {
    let own = |end: usize| end.max(start);
    match &node.kind {
        NodeKind::Scalar(_) => own(node.span.bytes.start + tree.raw(node).trim_end().len()),
        NodeKind::List(items) => items.iter().map(|item| last_byte(tree, item, start)).max().unwrap_or(start),
        NodeKind::Map(entries) => {
            let ends =
                entries.iter().map(|entry| own(entry.key_span.bytes.end).max(last_byte(tree, &entry.value, start)));
            ends.max().unwrap_or(start)
        }
    }
}

fn after_blanks(source: &str, at: usize) -> usize {
    at + source[at..].len() - source[at..].trim_start_matches([' ', '\t']).len()
}

/// A comment behind `at` in its line whose sign is part of a word.
fn cut_comment(source: &str, at: usize) -> Option<Range<usize>> {
    let sign = after_blanks(source, at);
    let is_glued = |rest: &str| rest.starts_with(|c: char| !c.is_whitespace() && !matches!(c, '#' | '-' | '='));
    (sign > 0 && source[..sign].ends_with([' ', '\t', ':']) && source[sign..].strip_prefix('#').is_some_and(is_glued))
        .then(|| {
            let line = &source[sign..][..source[sign..].find('\n').unwrap_or(source.len() - sign)];
            sign..sign + line.trim_end().len()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(yaml: &str) -> Vec<String> {
        let tree = Tree::parse(yaml.as_bytes()).unwrap();
        let text = |range: &Option<Range<usize>>| range.clone().map_or("-", |range| &tree.source()[range]);
        named_secrets(&tree)
            .iter()
            .map(|named| match &named.written {
                None => format!("{} elsewhere", named.path),
                Some(w) => format!(
                    "{} {} {} <{}> {}",
                    named.path,
                    text(&w.tag),
                    text(&w.anchor),
                    &tree.source()[w.whole.clone()],
                    text(&w.cut)
                ),
            })
            .collect()
    }

    #[test]
    fn whatever_stands_under_a_secret_name_is_found_as_it_was_written() {
        for (yaml, expected) in [
            ("PGPASSWORD: no\n", "PGPASSWORD - - <no> -"),
            ("token:\n", "token - - <> -"),
            ("token: !x0 # said\n", "token !x0 - <!x0> -"),
            ("token: &a !!str b c #d e \n", "token !!str &a <&a !!str b c> #d e"),
            ("token: #d\nb: 1\n", "token - - <> #d"),
            ("token: {}\n", "token - - <{}> -"),
            ("token: {ab, c}\n", "token - - <{ab, c}> -"),
            ("token: [ab]\n", "token - - <[ab]> -"),
            ("\"token\" : 'x' #1\n", "token - - <'x'> #1"),
            ("a:\n- name: A_TOKEN\n  value: yes\n", "a[0].value - - <yes> -"),
            ("a: [--password, no]\n", "a[1] elsewhere"),
        ] {
            assert_eq!(found(yaml), [expected], "{yaml}");
        }
        assert_eq!(found("t: &t x1\npassword: *t\n"), ["password elsewhere"]);
        assert_eq!(found("password: {name: a, key: }\n"), Vec::<String>::new());
        // On a line of its own, a colon at its end has made a key of it.
        assert_eq!(found("unsealKey:\n    q8Lw2zKdVx91PbTn4Rs7:\n").len(), 1);
        assert_eq!(found("unsealKey:\n    secretName:\n"), Vec::<String>::new());
    }
}
