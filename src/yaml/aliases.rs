//! How much of a document stands below its aliases, counted as Helm's parser counts it.

/// A document that decodes no more nodes than this may have nearly all of them below aliases.
const FEW: u64 = 400_000;
/// One that decodes more than this may have a tenth of them there.
const MANY: u64 = 4_000_000;

/// The nodes of a document that a reader comes by, those below an alias as often as it is used.
///
/// The rule is `decode.go` of `go.yaml.in/yaml/v2` (v2.4): keys and aliases count as nodes, and the document is one.
pub(super) struct Decoded {
    nodes: u64,
    below_aliases: u64,
}

impl Decoded {
    pub(super) fn new() -> Self {
        Self { nodes: 1, below_aliases: 0 }
    }

    pub(super) fn nodes(&self) -> u64 {
        self.nodes
    }

    pub(super) fn node(&mut self) {
        self.nodes = self.nodes.saturating_add(1);
    }

    /// An alias was followed to something of so many nodes.
    pub(super) fn alias_of(&mut self, nodes: u64) {
        self.nodes = self.nodes.saturating_add(nodes);
        self.below_aliases = self.below_aliases.saturating_add(nodes);
    }

    /// Whether Helm's parser gives up here.
    pub(super) fn is_excessive(&self) -> bool {
        let allowed = match self.nodes {
            ..=FEW => 0.99,
            MANY.. => 0.10,
            nodes => 0.99 - 0.89 * ((nodes - FEW) as f64 / (MANY - FEW) as f64),
        };
        self.below_aliases > 100 && self.nodes > 1_000 && self.below_aliases as f64 / self.nodes as f64 > allowed
    }
}
