//! A number for what Helm reads from a node: two nodes have the same number when Helm sees no difference.
//!
//! Every distinct node is looked at once, however many aliases name it, so comparing costs what reading does.

use std::collections::HashMap;

use crate::yaml::{Node, NodeKind, Value};

/// What Helm reads, with the numbers of what stands below in its place.
#[derive(PartialEq, Eq, Hash)]
enum Shape<'t> {
    Null,
    Bool(bool),
    /// The bits of the float that Helm computes with.
    Number(u64),
    Text(&'t str),
    List(Vec<u32>),
    Map(Vec<(&'t str, u32)>),
}

/// The numbers given so far.
pub(super) struct Shapes<'t> {
    known: HashMap<Shape<'t>, u32>,
    /// By the address of the node, which does not move while its tree is borrowed.
    seen: HashMap<usize, u32>,
    ignore_order: bool,
}

impl<'t> Shapes<'t> {
    /// None yet. With `ignore_order`, lists of the same items are the same.
    pub(super) fn new(ignore_order: bool) -> Self {
        Self { known: HashMap::new(), seen: HashMap::new(), ignore_order }
    }

    /// The number of a node.
    pub(super) fn of(&mut self, node: &'t Node) -> u32 {
        let address = std::ptr::from_ref(node).addr();
        if let Some(number) = self.seen.get(&address) {
            return *number;
        }
        let number = match &node.kind {
            NodeKind::Scalar(scalar) => self.of_value(&scalar.value),
            NodeKind::List(items) => {
                let items = items.iter().map(|item| self.of(item)).collect();
                self.of_list(items)
            }
            NodeKind::Map(entries) => {
                let pairs = entries.iter().map(|entry| (entry.key.as_str(), self.of(&entry.value))).collect();
                self.of_map(pairs)
            }
        };
        self.seen.insert(address, number);
        number
    }

    pub(super) fn of_value(&mut self, value: &'t Value) -> u32 {
        let shape = match value {
            Value::Null => Shape::Null,
            Value::Bool(truth) => Shape::Bool(*truth),
            Value::String(text) => Shape::Text(text),
            Value::Int(_) | Value::Uint(_) | Value::Float(_) => {
                // Both zeros are one number.
                let float = value.as_float().unwrap_or(f64::NAN) + 0.0;
                Shape::Number(float.to_bits())
            }
        };
        self.number(shape)
    }

    pub(super) fn of_list(&mut self, mut items: Vec<u32>) -> u32 {
        if self.ignore_order {
            items.sort_unstable();
        }
        self.number(Shape::List(items))
    }

    pub(super) fn of_map(&mut self, mut pairs: Vec<(&'t str, u32)>) -> u32 {
        pairs.sort_unstable();
        self.number(Shape::Map(pairs))
    }

    fn number(&mut self, shape: Shape<'t>) -> u32 {
        let next = u32::try_from(self.known.len()).unwrap_or(u32::MAX);
        *self.known.entry(shape).or_insert(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::Tree;

    #[test]
    fn numbers_are_equal_when_helm_reads_the_same() {
        let tree = Tree::parse(
            b"a: {x: 1, y: [1, 2]}\nb: {y: [0x1, 2.0], x: 1}\nc: {x: '1', y: [1, 2]}\nd: {x: 1, y: [2, 1]}\n",
        )
        .unwrap();
        let node = |key| tree.get(&[key]).unwrap();
        let mut exact = Shapes::new(false);
        assert_eq!(exact.of(node("a")), exact.of(node("b")));
        assert_ne!(exact.of(node("a")), exact.of(node("c")));
        assert_ne!(exact.of(node("a")), exact.of(node("d")));
        let mut loose = Shapes::new(true);
        assert_eq!(loose.of(node("a")), loose.of(node("d")));
    }
}
