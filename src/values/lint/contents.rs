//! What stands in a file, gathered once for all lints: finding the secrets is the dearest part.

use std::collections::{HashMap, HashSet};

use crate::redact::{self, NamedSecret, Why};
use crate::yaml::{Node, Path, Scalar, Tree};

/// A file's values and its secrets.
pub(super) struct Contents<'t> {
    pub(super) tree: &'t Tree,
    pub(super) secrets: Vec<(Path, &'t Node, Why)>,
    pub(super) named: Vec<NamedSecret<'t>>,
    pub(super) values: Vec<SingleValue<'t>>,
}

/// A value that is no map and no list.
pub(super) struct SingleValue<'t> {
    pub(super) path: Path,
    pub(super) node: &'t Node,
    pub(super) scalar: &'t Scalar,
    /// Then no finding quotes it.
    pub(super) is_secret: bool,
}

impl<'t> Contents<'t> {
    pub(super) fn of(tree: &'t Tree) -> Self {
        let (secrets, named) = (redact::secrets(tree), redact::named_secrets(tree));
        let nodes = secrets.iter().map(|(_, node, _)| *node).chain(named.iter().map(|named| named.node));
        let hidden: HashSet<*const Node> = nodes.map(std::ptr::from_ref).collect();
        let single = |(path, node): (Path, &'t Node)| {
            let is_secret = hidden.contains(&std::ptr::from_ref(node));
            Some(SingleValue { path, node, scalar: node.scalar()?, is_secret })
        };
        let values = tree.leaves().into_iter().filter_map(single).collect();
        Self { tree, secrets, named, values }
    }

    /// The secrets that are some by their name, each with the name that says so: of a `value`, the one beside it.
    pub(super) fn called(&self) -> Vec<(&Path, &'t Node, &str)> {
        let names: HashMap<*const Node, &str> =
            self.named.iter().map(|named| (std::ptr::from_ref(named.node), named.name.as_str())).collect();
        let by_name = self.secrets.iter().filter(|(_, _, why)| *why == Why::Name);
        by_name
            .map(|(path, node, _)| {
                let key = path.keys().next_back().unwrap_or_default();
                (path, *node, names.get(&std::ptr::from_ref(*node)).copied().unwrap_or(key))
            })
            .collect()
    }
}
