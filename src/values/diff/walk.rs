//! Both trees at once, from the root to where they differ.

use std::collections::HashMap;

use super::change::{Change, Inside, Renamed, ShownValue, What};
use super::inside::Texts;
use super::options::{IgnoredChange, Only, Options, Passed};
use super::rename::{self, Piece, Pieces};
use super::shape::Shapes;
use crate::redact::{Scrubber, Why, called, is_whole_secret, name_hint, why_secret};
use crate::yaml::{Entry, Node, NodeKind, Path, Segment, Tree, Value};

/// What a walk has found.
pub(super) struct Differences {
    pub(super) changes: Vec<Change>,
    pub(super) renamed: Vec<Renamed>,
    pub(super) passed: Passed,
}

/// How many documents are opened one within the other.
const DEEPEST: u8 = 3;

/// Compares two trees.
pub(super) fn compare(old: &Tree, new: &Tree, scrubber: &Scrubber, options: &Options) -> Differences {
    Comparison::new(scrubber, options, Within::default()).run(old, new)
}

/// Where a comparison stands when it looks into a text of another one.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Within {
    /// How many texts are open around it.
    pub(super) depth: u8,
    /// Whether the text is a secret, and so is all that is in it.
    pub(super) secret: bool,
}

pub(super) struct Comparison<'t, 'o> {
    pub(super) scrubber: &'o Scrubber,
    pub(super) options: &'o Options,
    pub(super) within: Within,
    pub(super) shapes: Shapes<'t>,
    /// Where the walk stands, and beside each step the item of a list that it leads to.
    path: Path,
    items: Vec<Option<&'t Node>>,
    pub(super) changes: Vec<Change>,
    pub(super) pieces: Pieces<'t>,
    passed: Passed,
}

impl<'t, 'o> Comparison<'t, 'o> {
    pub(super) fn new(scrubber: &'o Scrubber, options: &'o Options, within: Within) -> Self {
        Self {
            scrubber,
            options,
            within,
            shapes: Shapes::new(options.ignore_order),
            path: Path::root(),
            items: Vec::new(),
            changes: Vec::new(),
            pieces: Pieces::default(),
            passed: Passed::default(),
        }
    }

    pub(super) fn run(mut self, old: &'t Tree, new: &'t Tree) -> Differences {
        self.nodes(None, old.root(), new.root());
        let moves = rename::moves(self.pieces, &mut self.shapes, &self.changes, old, new);
        let mut renamed = rename::mark(&mut self.changes, moves);
        let (only, before) = (&self.options.only, self.changes.len());
        if !only.is_empty() {
            self.changes.retain(|change| only.iter().any(|kind| kind.takes(change)));
            if !only.contains(&Only::Changed) {
                renamed.clear();
            }
            self.passed.filtered += before - self.changes.len();
        }
        Differences { changes: self.changes, renamed, passed: self.passed }
    }

    pub(super) fn nodes(&mut self, hint: Option<&str>, old: &'t Node, new: &'t Node) {
        // With exclusions the whole is walked, so that what they leave out is counted.
        if !self.leaves_out() && self.shapes.of(old) == self.shapes.of(new) {
            return;
        }
        if [old, new].into_iter().any(|node| is_whole_secret(&self.path, hint, node)) {
            let what = if old.type_name() == new.type_name() { What::Changed } else { What::Retyped };
            return self.push(hint, what, Some(old), Some(new));
        }
        match (&old.kind, &new.kind) {
            (NodeKind::Map(before), NodeKind::Map(after)) => self.maps(old, new, before, after),
            (NodeKind::List(before), NodeKind::List(after)) => {
                let before: Vec<&Node> = before.iter().map(|item| &**item).collect();
                let after: Vec<&Node> = after.iter().map(|item| &**item).collect();
                self.lists((old, &before), (new, &after));
            }
            (NodeKind::Scalar(before), NodeKind::Scalar(after)) if before.value.same_as(&after.value) => {}
            _ => {
                let what = if old.type_name() == new.type_name() { What::Changed } else { What::Retyped };
                self.push(hint, what, Some(old), Some(new));
                // What stood in a map or list is gone, or new: said leaf by leaf.
                if old.scalar().is_none() {
                    self.all(What::Removed, old);
                }
                if new.scalar().is_none() {
                    self.all(What::Added, new);
                }
            }
        }
    }

    fn maps(&mut self, old: &'t Node, new: &'t Node, before: &'t [Entry], after: &'t [Entry]) {
        let known: HashMap<&str, &'t Node> = before.iter().map(|entry| (entry.key.as_str(), &*entry.value)).collect();
        let kept: HashMap<&str, ()> = after.iter().map(|entry| (entry.key.as_str(), ())).collect();
        let (hint_old, hint_new) = (name_hint(old), name_hint(new));
        for entry in after {
            let was = known.get(entry.key.as_str()).copied();
            self.enter(Segment::Key(entry.key.clone()), None);
            if !self.left_out(was, Some(&entry.value)) {
                match was {
                    Some(was) => self.nodes(hint_new, was, &entry.value),
                    None => self.whole(hint_new, What::Added, &entry.value),
                }
            }
            self.leave();
        }
        for entry in before.iter().filter(|entry| !kept.contains_key(entry.key.as_str())) {
            self.enter(Segment::Key(entry.key.clone()), None);
            if !self.left_out(Some(&entry.value), None) {
                self.whole(hint_old, What::Removed, &entry.value);
            }
            self.leave();
        }
    }

    /// A node that came or went, leaf by leaf.
    pub(super) fn whole(&mut self, hint: Option<&str>, what: What, node: &'t Node) {
        let first = self.changes.len();
        let empty = match &node.kind {
            NodeKind::Map(entries) => entries.is_empty(),
            NodeKind::List(items) => items.is_empty(),
            NodeKind::Scalar(_) => true,
        };
        match what {
            _ if !empty && !is_whole_secret(&self.path, hint, node) => self.all(what, node),
            What::Removed => self.push(hint, what, Some(node), None),
            _ => self.push(hint, what, None, Some(node)),
        }
        let piece = Piece { node, changes: first..self.changes.len(), steps: self.path.0.len() };
        if what == What::Removed { self.pieces.gone.push(piece) } else { self.pieces.come.push(piece) }
    }

    fn all(&mut self, what: What, node: &'t Node) {
        let sides = |node: &'t Node| if what == What::Removed { (Some(node), None) } else { (None, Some(node)) };
        match &node.kind {
            NodeKind::Map(entries) => {
                let hint = name_hint(node);
                for entry in entries {
                    self.enter(Segment::Key(entry.key.clone()), None);
                    let (old, new) = sides(&entry.value);
                    if !self.left_out(old, new) {
                        self.whole(hint, what, &entry.value);
                    }
                    self.leave();
                }
            }
            NodeKind::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.enter(Segment::Index(index), Some(item));
                    let (old, new) = sides(item);
                    if !self.left_out(old, new) {
                        self.whole(None, what, item);
                    }
                    self.leave();
                }
            }
            NodeKind::Scalar(_) => {}
        }
    }

    pub(super) fn enter(&mut self, step: Segment, item: Option<&'t Node>) {
        self.path.0.push(step);
        self.items.push(item);
    }

    pub(super) fn leave(&mut self) {
        self.path.0.pop();
        self.items.pop();
    }

    /// Whether anything is to be left out by its path.
    pub(super) fn leaves_out(&self) -> bool {
        !self.options.exclude.is_empty() || !self.options.rules.is_empty()
    }

    /// Whether a pattern or rule names the place where the walk stands.
    fn named(&self) -> Option<IgnoredChange> {
        let by = |text: &str, reason| IgnoredChange { path: self.path.clone(), by: text.to_owned(), reason };
        let exclude = self.options.exclude.iter().find(|pattern| pattern.names(&self.path, &self.items));
        if let Some(pattern) = exclude {
            return Some(by(pattern.text(), None));
        }
        let rule = self.options.rules.iter().find(|rule| rule.pattern.names(&self.path, &self.items))?;
        Some(by(rule.pattern.text(), Some(rule.reason.clone())))
    }

    /// Whether the place is left out; written down where the two sides differ.
    pub(super) fn left_out(&mut self, old: Option<&'t Node>, new: Option<&'t Node>) -> bool {
        if !self.leaves_out() {
            return false;
        }
        let Some(ignored) = self.named() else { return false };
        let (old, new) = (old.map(|node| self.shapes.of(node)), new.map(|node| self.shapes.of(node)));
        if old != new {
            self.passed.ignored.push(ignored);
        }
        true
    }

    /// The number of a node, what is left out in it left out. Without exclusions it costs nothing to ask again.
    pub(super) fn shape(&mut self, node: &'t Node) -> u32 {
        if !self.leaves_out() {
            return self.shapes.of(node);
        }
        match &node.kind {
            NodeKind::Scalar(scalar) => self.shapes.of_value(&scalar.value),
            NodeKind::List(items) => {
                let mut numbers = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    self.enter(Segment::Index(index), Some(item));
                    if self.named().is_none() {
                        let number = self.shape(item);
                        numbers.push(number);
                    }
                    self.leave();
                }
                self.shapes.of_list(numbers)
            }
            NodeKind::Map(entries) => {
                let mut pairs = Vec::with_capacity(entries.len());
                for entry in entries {
                    self.enter(Segment::Key(entry.key.clone()), None);
                    if self.named().is_none() {
                        let number = self.shape(&entry.value);
                        pairs.push((entry.key.as_str(), number));
                    }
                    self.leave();
                }
                self.shapes.of_map(pairs)
            }
        }
    }

    pub(super) fn push(&mut self, hint: Option<&str>, what: What, old: Option<&'t Node>, new: Option<&'t Node>) {
        let filter = &self.options.filter;
        if !filter.is_empty() && !filter.iter().any(|pattern| pattern.covers(&self.path, &self.items)) {
            self.passed.filtered += 1;
            return;
        }
        let scalar = |node: Option<&'t Node>| node.and_then(Node::scalar).map(|scalar| &scalar.value);
        let (was, is) = (scalar(old), scalar(new));
        // Secret on one side is secret on both: a secret that became a number is still one.
        let why = [was, is].into_iter().flatten().find_map(|value| why_secret(&self.path, hint, value));
        let whole = [old, new].into_iter().flatten().any(|node| is_whole_secret(&self.path, hint, node));
        let secret = whole || why.is_some() || (self.within.secret && was.or(is).is_some());
        let inside = self.inside([was, is], why);
        let name = called(self.path.keys().next_back().unwrap_or(""), hint);
        self.changes.push(Change {
            path: self.path.clone(),
            what,
            old: old.map(|node| self.shown(name, node, secret, whole)),
            new: new.map(|node| self.shown(name, node, secret, whole)),
            secret,
            inside,
            renamed_from: None,
            renamed_to: None,
        });
    }

    /// What there is to say of a change of a text besides the whole.
    fn inside(&self, values: [Option<&Value>; 2], why: Option<Why>) -> Option<Inside> {
        let texts = Texts::new(values, why, self.within.secret, self.scrubber, self.options.reveal);
        texts.certificates().or_else(|| self.documents(&texts)).or_else(|| texts.lines())
    }

    /// The documents that the texts are, compared like files. Those that say the same in other words differ all the same
    /// for whoever reads the text: as lines.
    fn documents(&self, texts: &Texts) -> Option<Inside> {
        let (format, old, new) = (self.within.depth < DEEPEST).then(|| texts.documents()).flatten()?;
        let options = Options {
            identifiers: self.options.identifiers.clone(),
            ignore_order: self.options.ignore_order,
            reveal: self.options.reveal,
            ..Options::default()
        };
        let within = Within { depth: self.within.depth + 1, secret: texts.hidden };
        let mut found = Comparison::new(self.scrubber, &options, within).run(&old, &new);
        if found.changes.is_empty() {
            return None;
        }
        if format == "list" {
            found.changes.iter_mut().for_each(|change| unwrap_list(&mut change.path));
            let renamed = found.changes.iter_mut().flat_map(|c| [&mut c.renamed_from, &mut c.renamed_to]);
            renamed.flatten().for_each(unwrap_list);
            found.renamed.iter_mut().flat_map(|renamed| [&mut renamed.from, &mut renamed.to]).for_each(unwrap_list);
        }
        let format = if format == "yaml" { "yaml" } else { "json" };
        Some(Inside::Document { format, changes: found.changes, renamed: found.renamed })
    }

    /// `name` is what it is called; `whole` says that a map or list is one secret.
    fn shown(&self, name: &str, node: &Node, secret: bool, whole: bool) -> ShownValue {
        let mut shown = ShownValue {
            kind: node.type_name(),
            value: None,
            masked: None,
            fingerprint: None,
            scrubbed: false,
            line: node.span.line,
        };
        match &node.kind {
            NodeKind::Scalar(scalar) if secret => {
                let text = scalar.value.text();
                match &scalar.value {
                    // An empty or missing secret is nothing to hide, and the very thing that must be seen.
                    Value::Null => shown.value = Some(serde_json::Value::Null),
                    Value::String(text) if text.is_empty() => shown.value = Some("".into()),
                    value if self.options.reveal => {
                        shown.value = Some(value.to_json());
                        shown.fingerprint = self.scrubber.fingerprint(text.as_bytes());
                    }
                    _ => shown.masked = Some(self.scrubber.mask(text.as_bytes())),
                }
            }
            NodeKind::Scalar(scalar) => {
                let clean = match &scalar.value {
                    Value::String(text) if !self.options.reveal => self.scrubber.clean(name, text),
                    _ => None,
                };
                shown.scrubbed = clean.is_some();
                shown.value = Some(clean.map_or_else(|| scalar.value.to_json(), serde_json::Value::from));
            }
            NodeKind::List(items) if items.is_empty() => shown.value = Some(serde_json::json!([])),
            NodeKind::Map(entries) if entries.is_empty() => shown.value = Some(serde_json::json!({})),
            NodeKind::List(_) | NodeKind::Map(_) if whole && !self.options.reveal => {
                shown.masked = Some(self.scrubber.mask(node.to_json().to_string().as_bytes()));
            }
            NodeKind::List(_) | NodeKind::Map(_) => {}
        }
        shown
    }
}

/// The key that a list is put under, so that it is a file of values.
fn unwrap_list(path: &mut Path) {
    if matches!(path.0.first(), Some(Segment::Key(key)) if key.is_empty()) {
        path.0.remove(0);
    }
}
