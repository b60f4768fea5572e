//! Entries that are secret by their name, whatever Helm reads there: a boolean, nothing at all, or an empty map as well.

use super::name::is_secret_name;
use super::place::is_other_thing;
use super::secret::{hint_above, is_flag_for_secret, is_named, is_whole_secret, name_hint};
use super::shape::looks_random;
use super::written::{self, Written};
use crate::yaml::{Entry, Node, NodeKind, Path, Segment, Tree, Value};

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

/// Every value that is secret by its name. What stands below a map in a secret's place is judged by its own names.
pub fn named_secrets(tree: &Tree) -> Vec<NamedSecret<'_>> {
    let mut walk = Walk { tree, path: Path::root(), found: Vec::new() };
    walk.node(tree.root());
    walk.found
}

/// The same, and what stands in the file and Helm drops.
pub(super) fn written_named(tree: &Tree) -> Vec<NamedSecret<'_>> {
    let mut found = named_secrets(tree);
    for dropped in tree.overridden() {
        let mut walk = Walk { tree, path: dropped.path.clone(), found: Vec::new() };
        walk.entry(&dropped.entry, &[], hint_above(tree, &dropped.path));
        found.append(&mut walk.found);
    }
    found
}

/// The secret that a colon or an equals sign without a blank has made part of its key: `{PGPASSWORD:x}`, `PGPASSWORD=x:`.
pub fn secret_in_key<'k>(tree: &Tree, key: &'k str, value: &Node) -> Option<&'k str> {
    let is_nothing =
        value.scalar().is_some_and(|scalar| scalar.value == Value::Null) && tree.raw(value).trim().is_empty();
    let (name, secret) = key.split_once([':', '=']).filter(|_| is_nothing)?;
    (is_secret_name(name) && !secret.is_empty()).then_some(secret)
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
            NodeKind::List(items) => self.list(node, items),
            NodeKind::Map(entries) => {
                let hint = name_hint(node);
                for (place, entry) in entries.iter().enumerate() {
                    self.path.0.push(Segment::Key(entry.key.clone()));
                    self.entry(entry, &entries[place + 1..], hint);
                    self.path.0.pop();
                }
            }
        }
    }

    fn entry(&mut self, entry: &'t Entry, behind: &'t [Entry], hint: Option<&str>) {
        let is_other = entry.value.scalar().is_some_and(|scalar| is_other_thing(&self.path, &scalar.value));
        let is_one =
            !is_other && (is_single(self.tree, &entry.value) || is_whole_secret(&self.path, hint, &entry.value));
        if is_named(&self.path, hint) && is_one {
            let name = if entry.key == "value" { hint.unwrap_or(&entry.key) } else { &entry.key };
            let written = written::of_entry(self.tree, entry, behind);
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

    fn list(&mut self, node: &'t Node, items: &'t [std::sync::Arc<Node>]) {
        let named = is_named(&self.path, None);
        let mut before: Option<&str> = None;
        let mut begin = node.span.bytes.start;
        for (index, item) in items.iter().enumerate() {
            self.path.0.push(Segment::Index(index));
            let flag = before.filter(|flag| is_flag_for_secret(flag));
            if item.scalar().is_some() && (named || flag.is_some()) {
                let name = flag.or_else(|| self.path.keys().next_back()).unwrap_or_default().to_owned();
                let written = written::of_item(self.tree, begin, item);
                self.found.push(NamedSecret { path: self.path.clone(), name, node: item, written });
            } else {
                self.node(item);
            }
            self.path.0.pop();
            begin = begin.max(written::end_of(self.tree, item));
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

#[cfg(test)]
mod tests {
    use std::ops::Range;

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
            ("a: [--password, no]\n", "a[1] - - <no> -"),
            // On a line of its own, and as an item.
            ("token:\n  !x0\nb: 1\n", "token !x0 - <!x0> -"),
            ("token:\n  # said\n  &a !x0 y #z\nb: 1\n", "token !x0 &a <&a !x0 y> #z"),
            ("token:\n  #x0\nb: 1\n", "token - - <> #x0"),
            ("token:\n  # x0\nb: 1\n", "token - - <> -"),
            ("token:\n  #other: x0\nb: 1\n", "token - - <> -"),
            ("token:\n#x0\nb: 1\n", "token - - <> -"),
            ("? token\n: !x0\nb: 1\n", "token !x0 - <!x0> -"),
            ("? token\n: x #y\n", "token - - <x> #y"),
            ("passwords:\n- !x0\n", "passwords[0] !x0 - <!x0> -"),
            ("passwords:\n- x #y\n", "passwords[0] - - <x> #y"),
            ("passwords:\n- #y\n", "passwords[0] - - <> #y"),
            ("p: &p !x0\ntoken: *p\n", "token !x0 - <!x0> -"),
            ("p: &p x #y\ntoken: *p\n", "token - - <x> #y"),
            // A comma ends it in braces.
            ("a: {token: ab,cd}\n", "a.token - - <ab> ,cd"),
            ("a: {token: ab,cd,ef, g: 1}\n", "a.token - - <ab> ,cd,ef"),
            ("a: {token: ab, g: 1}\n", "a.token - - <ab> -"),
            ("a: {token: 'ab',cd}\n", "a.token - - <'ab'> -"),
        ] {
            assert_eq!(found(yaml), [expected], "{yaml}");
        }
        assert_eq!(found("t: &t x1\npassword: *t\n"), ["password elsewhere"]);
        assert_eq!(found("password: {name: a, key: }\n"), Vec::<String>::new());
        for other in [
            "containerPorts: {webhook: 7000, token: 8080}",
            "ports: {secret: \"8443\"}",
            "webhook: 9443",
            "slackHook: 1",
            "serviceAccount: {token: false}",
        ] {
            assert_eq!(found(&format!("{other}\n")), Vec::<String>::new(), "{other}");
        }
        for secret in ["ports: {token: hunter22}", "ports: {pin: 123456}", "webhook: x", "account: {token: x}"] {
            assert_eq!(found(&format!("{secret}\n")).len(), 1, "{secret}");
        }
        assert_eq!(found("passwords:\n- a\n- x #y\n")[1], "passwords[1] - - <x> #y");
        // On a line of its own, a colon at its end has made a key of it.
        assert_eq!(found("unsealKey:\n    q8Lw2zKdVx91PbTn4Rs7:\n").len(), 1);
        assert_eq!(found("unsealKey:\n    secretName:\n"), Vec::<String>::new());
    }
}
