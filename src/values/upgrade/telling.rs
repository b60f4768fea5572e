//! What the report says of each key, secrets masked.

use std::sync::Arc;

use serde_json::Value;

use super::edit::has_entries;
use super::report::{KeyOutcome, KeyReport};
use crate::redact::{Scrubber, called, is_secret, name_hint};
use crate::yaml::{Node, NodeKind, Path, Segment, Value as Scalar};

/// What the three files have at a key.
#[derive(Clone, Copy, Default)]
pub(super) struct Sides<'n> {
    pub(super) old: Option<&'n Node>,
    pub(super) new: Option<&'n Node>,
    pub(super) yours: Option<&'n Node>,
}

/// The report so far.
pub(super) struct KeyFindings<'s> {
    scrubber: &'s Scrubber,
    pub(super) items: Vec<KeyReport>,
}

impl<'s> KeyFindings<'s> {
    pub(super) fn new(scrubber: &'s Scrubber) -> Self {
        Self { scrubber, items: Vec::new() }
    }

    pub(super) fn tell(&mut self, outcome: KeyOutcome, path: &Path, sides: Sides<'_>) {
        let show = |node: Option<&Node>| node.map(|node| self.show(path, node));
        let (old, new, yours) = (show(sides.old), show(sides.new), show(sides.yours));
        self.items.push(KeyReport { outcome, path: path.clone(), was: None, old, new, yours });
    }

    /// Of a value that is another one than the operator's: it was the old default.
    pub(super) fn tell_renamed(&mut self, was: Path, path: &Path, sides: Sides<'_>) {
        let is = |a: Option<&Node>, b: Option<&Node>| a.zip(b).is_some_and(|(a, b)| a.same_as(b));
        let takes_new = is(sides.old, sides.yours) && !is(sides.yours, sides.new);
        let is_value = sides.new.is_none_or(|new| !has_entries(new));
        let outcome = if takes_new && is_value { KeyOutcome::RenamedDefault } else { KeyOutcome::Renamed };
        self.tell(outcome, path, sides);
        if let Some(item) = self.items.last_mut() {
            item.was = Some(was);
        }
    }

    /// A value as it may be shown: masked where it is a secret.
    fn show(&self, path: &Path, node: &Node) -> String {
        if let Some(scalar) = node.scalar() {
            let text = scalar.value.text();
            let says = !matches!(scalar.value, Scalar::Null | Scalar::Bool(_)) && !text.is_empty();
            if says && is_secret(path, None, &scalar.value) {
                return self.scrubber.mask(text.as_bytes());
            }
        }
        self.scrubber.scrub(&hidden(path, None, node, self.scrubber).to_string()).into_owned()
    }
}

/// A node as JSON, with masks in the places of secrets. `hint` is the name that its map gives it.
fn hidden(path: &Path, hint: Option<&str>, node: &Node, scrubber: &Scrubber) -> Value {
    let below =
        |segment: Segment, hint: Option<&str>, node: &Arc<Node>| hidden(&path.join(segment), hint, node, scrubber);
    match &node.kind {
        NodeKind::Scalar(scalar) if is_secret(path, hint, &scalar.value) => {
            Value::String(scrubber.mask(scalar.value.text().as_bytes()))
        }
        NodeKind::Scalar(scalar) => match &scalar.value {
            Scalar::String(text) => {
                Value::String(scrubber.cleaned(called(path.keys().next_back().unwrap_or(""), hint), text))
            }
            value => value.to_json(),
        },
        NodeKind::List(items) => {
            items.iter().enumerate().map(|(place, item)| below(Segment::Index(place), None, item)).collect()
        }
        NodeKind::Map(entries) => {
            let hint = name_hint(node);
            let pairs = entries
                .iter()
                .map(|entry| (entry.key.clone(), below(Segment::Key(entry.key.clone()), hint, &entry.value)));
            Value::Object(pairs.collect())
        }
    }
}
