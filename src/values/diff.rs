//! What differs between two values files, by path, as Helm sees it.
//!
//! The order of keys does not count. Items of a list are matched by what identifies them (`name`, `key` or `id`), but
//! only where that is unique on both sides; else by place. Secrets are masked: the fingerprint tells same from changed.

use std::collections::HashMap;

use serde::Serialize;
use similar::{Algorithm, DiffOp, TextDiff};

use super::path::{Path, Segment};
use super::redact::{Scrubber, is_secret};
use super::secret::name_hint;
use super::tree::{Entry, Kind, Node, Tree};

/// The keys that may identify an item of a list, in the order that they are tried.
const IDENTIFIERS: &[&str] = &["name", "key", "id"];
/// Lists whose sizes multiply to more are compared by place, not searched for the shortest difference.
const MAX_SEARCH: usize = 4_000_000;

/// How much two values files differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Every byte is the same.
    Same,
    /// Helm reads the same from both: comments, order of keys, quotes or blank space differ.
    Layout,
    /// Helm reads something else.
    Changed,
}

/// What happened at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// It was not there before.
    Added,
    /// It is no longer there.
    Removed,
    /// Another value of the same type.
    Changed,
    /// Another type, such as a string that became a number.
    Retyped,
    /// The items of the list are the same, in another order.
    Reordered,
}

/// A value as it may be shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Shown {
    /// `string`, `number`, `boolean`, `null`, `map` or `list`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The value, where it is a scalar or empty, and no secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<serde_json::Value>,
    /// The mask, where it is a secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub masked: Option<String>,
    /// The line that it stands on.
    pub line: usize,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// Where.
    pub path: Path,
    /// What happened.
    pub what: What,
    /// What was there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<Shown>,
    /// What is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<Shown>,
    /// Whether it is masked.
    pub secret: bool,
}

/// All differences.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Diff {
    /// How much.
    pub class: Class,
    /// Each, in the order of the new file; what is gone stands where its map or list is.
    pub changes: Vec<Change>,
}

impl Diff {
    /// Whether Helm would read something else.
    pub fn is_change(&self) -> bool {
        self.class == Class::Changed
    }

    /// How many of a kind.
    pub fn count(&self, what: What) -> usize {
        self.changes.iter().filter(|change| change.what == what).count()
    }

    /// `2 changed, 1 added`, or `same`.
    pub fn summary(&self) -> String {
        match self.class {
            Class::Same => return "same".into(),
            Class::Layout => return "comments or layout only".into(),
            Class::Changed => {}
        }
        let words = [
            (What::Changed, "changed"),
            (What::Retyped, "changed in type"),
            (What::Added, "added"),
            (What::Removed, "removed"),
            (What::Reordered, "reordered"),
        ];
        let parts: Vec<String> = words
            .iter()
            .filter_map(|(what, word)| Some(self.count(*what)).filter(|n| *n > 0).map(|n| format!("{n} {word}")))
            .collect();
        parts.join(", ")
    }
}

/// Compares two values files. `scrubber` makes the masks; it needs to know no secret beforehand.
pub fn diff(old: &Tree, new: &Tree, scrubber: &Scrubber) -> Diff {
    let mut comparison = Comparison { scrubber, changes: Vec::new() };
    comparison.nodes(&Path::root(), None, old.root(), new.root());
    let class = match (comparison.changes.is_empty(), old.source() == new.source()) {
        (false, _) => Class::Changed,
        (true, true) => Class::Same,
        (true, false) => Class::Layout,
    };
    Diff { class, changes: comparison.changes }
}

/// Both files as they were written, secrets masked, as a unified text diff. Empty when nothing differs.
pub fn unified(old: &Tree, new: &Tree, scrubber: &Scrubber, names: (&str, &str)) -> String {
    let mut learned = scrubber.clone();
    learned.learn_tree(old);
    learned.learn_tree(new);
    let (before, after) = (learned.scrub_source(old), learned.scrub_source(new));
    if before == after {
        return String::new();
    }
    let text = TextDiff::configure().algorithm(Algorithm::Patience).diff_lines(&before, &after);
    text.unified_diff().context_radius(3).header(names.0, names.1).to_string()
}

struct Comparison<'s> {
    scrubber: &'s Scrubber,
    changes: Vec<Change>,
}

impl Comparison<'_> {
    fn nodes(&mut self, path: &Path, hint: Option<&str>, old: &Node, new: &Node) {
        match (&old.kind, &new.kind) {
            (Kind::Map(before), Kind::Map(after)) => self.maps(path, old, new, before, after),
            (Kind::List(before), Kind::List(after)) => {
                let before: Vec<&Node> = before.iter().map(|item| &**item).collect();
                let after: Vec<&Node> = after.iter().map(|item| &**item).collect();
                self.lists(path, (old, &before), (new, &after));
            }
            (Kind::Scalar(before), Kind::Scalar(after)) if before.value.same_as(&after.value) => {}
            _ => {
                let what = if old.type_name() == new.type_name() { What::Changed } else { What::Retyped };
                self.push(path, hint, what, Some(old), Some(new));
                // What stood in a map or list is gone, or new: said leaf by leaf.
                if old.scalar().is_none() {
                    self.all(path, None, What::Removed, old);
                }
                if new.scalar().is_none() {
                    self.all(path, None, What::Added, new);
                }
            }
        }
    }

    fn maps(&mut self, path: &Path, old: &Node, new: &Node, before: &[Entry], after: &[Entry]) {
        let known: HashMap<&str, &Node> = before.iter().map(|entry| (entry.key.as_str(), &*entry.value)).collect();
        let kept: HashMap<&str, ()> = after.iter().map(|entry| (entry.key.as_str(), ())).collect();
        for entry in after {
            let below = path.join(Segment::Key(entry.key.clone()));
            match known.get(entry.key.as_str()) {
                Some(node) => self.nodes(&below, name_hint(new), node, &entry.value),
                None => self.whole(&below, name_hint(new), What::Added, &entry.value),
            }
        }
        for entry in before.iter().filter(|entry| !kept.contains_key(entry.key.as_str())) {
            self.whole(&path.join(Segment::Key(entry.key.clone())), name_hint(old), What::Removed, &entry.value);
        }
    }

    fn lists(&mut self, path: &Path, old: (&Node, &[&Node]), new: (&Node, &[&Node])) {
        for by in IDENTIFIERS {
            if let (Some(before), Some(after)) = (identities(old.1, by), identities(new.1, by))
                && !(before.is_empty() && after.is_empty())
            {
                return self.by_identity(path, by, (old.0, &before), (new.0, &after));
            }
        }
        self.by_place(path, old.1, new.1);
    }

    fn by_identity(
        &mut self,
        path: &Path,
        by: &str,
        (old, before): (&Node, &[(String, &Node)]),
        (new, after): (&Node, &[(String, &Node)]),
    ) {
        let step = |id: &str| path.join(Segment::Item { by: by.to_owned(), id: id.to_owned() });
        let known: HashMap<&str, &Node> = before.iter().map(|(id, node)| (id.as_str(), *node)).collect();
        let kept: HashMap<&str, &Node> = after.iter().map(|(id, node)| (id.as_str(), *node)).collect();
        for (id, node) in after {
            match known.get(id.as_str()) {
                Some(was) => self.nodes(&step(id), None, was, node),
                None => self.whole(&step(id), None, What::Added, node),
            }
        }
        for (id, node) in before.iter().filter(|(id, _)| !kept.contains_key(id.as_str())) {
            self.whole(&step(id), None, What::Removed, node);
        }
        let order_before = before.iter().map(|(id, _)| id).filter(|id| kept.contains_key(id.as_str()));
        let order_after = after.iter().map(|(id, _)| id).filter(|id| known.contains_key(id.as_str()));
        if !order_before.eq(order_after) {
            self.push(path, None, What::Reordered, Some(old), Some(new));
        }
    }

    fn by_place(&mut self, path: &Path, old: &[&Node], new: &[&Node]) {
        let head = old.iter().zip(new).take_while(|(a, b)| a.same_as(b)).count();
        let tail = old[head..].iter().rev().zip(new[head..].iter().rev()).take_while(|(a, b)| a.same_as(b)).count();
        let (before, after) = (&old[head..old.len() - tail], &new[head..new.len() - tail]);
        let ops = if before.len().saturating_mul(after.len()) > MAX_SEARCH {
            vec![DiffOp::Replace { old_index: 0, old_len: before.len(), new_index: 0, new_len: after.len() }]
        } else {
            let text = |nodes: &[&Node]| nodes.iter().map(|node| node.to_json().to_string()).collect::<Vec<_>>();
            similar::capture_diff_slices(Algorithm::Myers, &text(before), &text(after))
        };
        for op in ops {
            let (was, is) = (op.old_range(), op.new_range());
            if matches!(op, DiffOp::Equal { .. }) {
                continue;
            }
            let pairs = was.len().min(is.len());
            for offset in 0..pairs {
                let at = path.join(Segment::Index(head + is.start + offset));
                self.nodes(&at, None, before[was.start + offset], after[is.start + offset]);
            }
            let rest = |range: std::ops::Range<usize>| range.skip(pairs);
            for (place, node) in rest(is.clone()).zip(&after[is.start + pairs..is.end]) {
                self.whole(&path.join(Segment::Index(head + place)), None, What::Added, node);
            }
            for (place, node) in rest(was.clone()).zip(&before[was.start + pairs..was.end]) {
                self.whole(&path.join(Segment::Index(head + place)), None, What::Removed, node);
            }
        }
    }

    /// A node that came or went, leaf by leaf.
    fn whole(&mut self, path: &Path, hint: Option<&str>, what: What, node: &Node) {
        match &node.kind {
            Kind::Map(entries) if !entries.is_empty() => self.all(path, hint, what, node),
            Kind::List(items) if !items.is_empty() => self.all(path, hint, what, node),
            _ => match what {
                What::Removed => self.push(path, hint, what, Some(node), None),
                _ => self.push(path, hint, what, None, Some(node)),
            },
        }
    }

    fn all(&mut self, path: &Path, _hint: Option<&str>, what: What, node: &Node) {
        match &node.kind {
            Kind::Map(entries) => {
                for entry in entries {
                    self.whole(&path.join(Segment::Key(entry.key.clone())), name_hint(node), what, &entry.value);
                }
            }
            Kind::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.whole(&path.join(Segment::Index(index)), None, what, item);
                }
            }
            Kind::Scalar(_) => {}
        }
    }

    fn push(&mut self, path: &Path, hint: Option<&str>, what: What, old: Option<&Node>, new: Option<&Node>) {
        let judge = |node: Option<&Node>| {
            node.and_then(Node::scalar).is_some_and(|scalar| is_secret(path, hint, &scalar.value))
        };
        // Secret on one side is secret on both: a secret that became a number is still one.
        let secret = judge(old) || judge(new);
        let change = Change {
            path: path.clone(),
            what,
            old: old.map(|node| self.shown(node, secret)),
            new: new.map(|node| self.shown(node, secret)),
            secret,
        };
        self.changes.push(change);
    }

    fn shown(&self, node: &Node, secret: bool) -> Shown {
        let (mut value, mut masked) = (None, None);
        match &node.kind {
            Kind::Scalar(scalar) if secret => {
                let text = scalar.value.text();
                // An empty or missing secret is nothing to hide, and the very thing that must be seen.
                match &scalar.value {
                    super::Value::Null => value = Some(serde_json::Value::Null),
                    super::Value::String(text) if text.is_empty() => value = Some("".into()),
                    _ => masked = Some(self.scrubber.mask(text.as_bytes())),
                }
            }
            Kind::Scalar(scalar) => value = Some(scalar.value.to_json()),
            Kind::List(items) if items.is_empty() => value = Some(serde_json::json!([])),
            Kind::Map(entries) if entries.is_empty() => value = Some(serde_json::json!({})),
            Kind::List(_) | Kind::Map(_) => {}
        }
        Shown { kind: node.type_name(), value, masked, line: node.span.line }
    }
}

/// The items with the value of the key `by`, where all are maps that have it, each with another value.
fn identities<'n>(items: &[&'n Node], by: &str) -> Option<Vec<(String, &'n Node)>> {
    let mut seen = HashMap::new();
    let mut identified = Vec::with_capacity(items.len());
    for item in items {
        let id = match &item.child(by)?.scalar()?.value {
            super::Value::String(text) => text.clone(),
            super::Value::Null => return None,
            other => other.text(),
        };
        if seen.insert(id.clone(), ()).is_some() {
            return None;
        }
        identified.push((id, *item));
    }
    Some(identified)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::FingerprintKey;

    fn compare(old: &str, new: &str) -> Diff {
        let scrubber = Scrubber::new(FingerprintKey::from_bytes(&[1; 32]));
        diff(&Tree::parse(old.as_bytes()).unwrap(), &Tree::parse(new.as_bytes()).unwrap(), &scrubber)
    }

    fn lines(diff: &Diff) -> Vec<String> {
        diff.changes.iter().map(|change| format!("{:?} {}", change.what, change.path)).collect()
    }

    #[test]
    fn key_order_comments_and_quotes_are_layout() {
        assert_eq!(compare("a: 1\nb: x\n", "# new\nb: \"x\"\na: 0x1\n").class, Class::Layout);
        assert_eq!(compare("a: 1\n", "a: 1\n").class, Class::Same);
    }

    #[test]
    fn changes_are_named_by_path_with_their_types() {
        let found = compare("a: 1\nb: {c: x, d: y}\ne: [1, 2]\n", "a: '1'\nb: {c: z}\ne: [1, 3, 4]\nf: {}\n");
        assert_eq!(lines(&found), ["Retyped a", "Changed b.c", "Removed b.d", "Changed e[1]", "Added e[2]", "Added f"]);
        assert_eq!(found.summary(), "2 changed, 1 changed in type, 2 added, 1 removed");
    }

    #[test]
    fn list_items_are_matched_by_a_unique_name_only() {
        let old = "l:\n- {name: a, v: 1}\n- {name: b, v: 2}\n";
        let found = compare(old, "l:\n- {name: b, v: 3}\n- {name: a, v: 1}\n- {name: c}\n");
        assert_eq!(lines(&found), ["Changed l[name=b].v", "Added l[name=c].name", "Reordered l"]);
        // Two items by one name: by place.
        let found = compare("l:\n- {name: a, v: 1}\n- {name: a, v: 2}\n", "l:\n- {name: a, v: 1}\n- {name: a, v: 3}\n");
        assert_eq!(lines(&found), ["Changed l[1].v"]);
    }

    #[test]
    fn a_file_never_differs_from_itself_and_an_inserted_item_is_one_addition() {
        let odd = "l: [{name: a}, {name: a}, 1, [x]]\nm: &m {k: .5}\nn: *m\n";
        assert_eq!(compare(odd, odd).class, Class::Same);
        assert_eq!(lines(&compare("l: [a, b, c]\n", "l: [a, x, b, c]\n")), ["Added l[1]"]);
    }

    #[test]
    fn secrets_are_masked_on_both_sides_and_tell_same_from_changed() {
        let found = compare("env: {PGPASSWORD: hunter22, TZ: UTC}\n", "env: {PGPASSWORD: 12345678, TZ: CET}\n");
        let json = serde_json::to_string(&found).unwrap();
        assert!(!json.contains("hunter22") && !json.contains("12345678"), "{json}");
        assert_eq!(found.changes[0].what, What::Retyped);
        let mask = |shown: &Option<Shown>| shown.as_ref().unwrap().masked.clone().unwrap();
        assert_ne!(mask(&found.changes[0].old), mask(&found.changes[0].new));
        // Blanked is shown as blank.
        let found = compare("env: {PGPASSWORD: hunter22}\n", "env: {PGPASSWORD: \"\"}\n");
        assert_eq!(found.changes[0].new.as_ref().unwrap().value, Some("".into()));
    }

    #[test]
    fn the_unified_text_has_no_secret_and_shows_that_one_changed() {
        let old = Tree::parse(b"env:\n  PGPASSWORD: abc\n  TZ: UTC\n# old note\n").unwrap();
        let new = Tree::parse(b"env:\n  PGPASSWORD: xyz\n  TZ: UTC\n# new note\n").unwrap();
        let scrubber = Scrubber::new(FingerprintKey::from_bytes(&[1; 32]));
        let text = unified(&old, &new, &scrubber, ("a", "b"));
        assert!(text.starts_with("--- a\n+++ b\n") && text.contains("+# new note"), "{text}");
        assert!(!text.contains("abc") && !text.contains("xyz"), "{text}");
        assert_eq!(text.matches("PGPASSWORD").count(), 2);
        assert_eq!(unified(&old, &old, &scrubber, ("a", "b")), "");
    }

    #[test]
    fn a_map_that_became_text_is_said_whole() {
        let found = compare("a: {b: 1, c: 2}\n", "a: x\n");
        assert_eq!(lines(&found), ["Retyped a", "Removed a.b", "Removed a.c"]);
    }
}
