//! A map while it is read: each key once, in the order of their first appearance.

use std::collections::HashMap;

use super::resolve::Value;
use super::tree::{Entry, Node, NodeKind, Span};

/// A map of more keys than this looks them up by hash, not one by one.
const FEW: usize = 8;

/// A map that is being read.
#[derive(Default)]
pub(super) struct MapBuilder {
    entries: Vec<Entry>,
    /// Of each entry the line where its key was said last, unless a merge alone brought it in.
    said: Vec<Option<usize>>,
    /// By their text, the keys that are no texts for YAML: `1` beside `"1"` is a second key, and the same one for JSON.
    odd: HashMap<String, Vec<Value>>,
    /// Empty while there are few.
    places: HashMap<String, usize>,
}

impl MapBuilder {
    fn place(&self, key: &str) -> Option<usize> {
        if self.entries.len() <= FEW {
            return self.entries.iter().position(|entry| entry.key == key);
        }
        self.places.get(key).copied()
    }

    /// The line where the key was said. A merge says none: what it brought in may be said again and is no duplicate.
    pub(super) fn said(&self, key: &str) -> Option<usize> {
        self.place(key).and_then(|place| self.said[place])
    }

    /// Whether a key that was [said](Self::said) is another one for YAML than this.
    pub(super) fn is_another_key(&self, key: &str, value: &Value) -> bool {
        let odd = self.odd.get(key).map_or(&[][..], Vec::as_slice);
        match value {
            Value::String(_) => !odd.is_empty(),
            value => !odd.contains(value),
        }
    }

    /// Notes what a key is for YAML.
    pub(super) fn note(&mut self, key: &str, value: &Value) {
        if !matches!(value, Value::String(_)) {
            let odd = self.odd.entry(key.to_owned()).or_default();
            if !odd.contains(value) {
                odd.push(value.clone());
            }
        }
    }

    /// The last one wins; the place in the order stays that of the first. Gives the one that had it.
    pub(super) fn set(&mut self, entry: Entry) -> Option<Entry> {
        let line = (!entry.merged).then_some(entry.key_span.line);
        if let Some(place) = self.place(&entry.key) {
            self.said[place] = line.or(self.said[place]);
            return Some(std::mem::replace(&mut self.entries[place], entry));
        }
        match self.entries.len() {
            few if few < FEW => {}
            FEW => {
                let known = self.entries.iter().enumerate().map(|(place, entry)| (entry.key.clone(), place));
                self.places = known.chain([(entry.key.clone(), FEW)]).collect();
            }
            many => drop(self.places.insert(entry.key.clone(), many)),
        }
        self.entries.push(entry);
        self.said.push(line);
        None
    }

    /// The map as a node.
    pub(super) fn finish(self, span: Span) -> Node {
        let size = self.entries.iter().fold(1u64, |sum, entry| sum.saturating_add(entry.value.size));
        Node::new(NodeKind::Map(self.entries), span, size)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree::Tree;

    #[test]
    fn a_key_is_found_among_few_and_among_many() {
        for count in [1, 7, 8, 9, 10, 40] {
            let lines: String = (0..count).map(|number| format!("k{number}: {number}\n")).collect();
            let tree = Tree::parse(lines.as_bytes()).unwrap();
            assert!(tree.traps().is_empty(), "{count}");
            for number in 0..count {
                let twice = format!("{lines}k{number}: again\n");
                let tree = Tree::parse(twice.as_bytes()).unwrap();
                assert_eq!(tree.text(&[&format!("k{number}")]), Some("again"));
                assert_eq!((tree.leaves().len(), tree.traps().len()), (count, 1), "{twice}");
            }
        }
    }
}
