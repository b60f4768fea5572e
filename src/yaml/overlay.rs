//! Several documents of one file, each over those before it.

use std::collections::HashMap;
use std::sync::Arc;

use super::map::MapBuilder;
use super::tree::{Entry, Node, NodeKind};

/// Later documents over earlier ones: maps merge, all else is replaced.
pub(super) fn overlaid(mut layers: Vec<Arc<Node>>) -> Option<Arc<Node>> {
    let maps = layers.iter().rev().take_while(|layer| matches!(layer.kind, NodeKind::Map(_))).count();
    if maps < 2 {
        return layers.pop();
    }
    let layers = layers.split_off(layers.len() - maps);
    let entries = layers.iter().flat_map(|layer| match &layer.kind {
        NodeKind::Map(entries) => &entries[..],
        _ => &[],
    });
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut keys: Vec<(&Entry, Vec<Arc<Node>>)> = Vec::new();
    for entry in entries {
        let place = *places.entry(&entry.key).or_insert(keys.len());
        if place == keys.len() {
            keys.push((entry, Vec::new()));
        }
        keys[place].0 = entry;
        keys[place].1.push(entry.value.clone());
    }
    let mut map = MapBuilder::default();
    for (entry, values) in keys {
        let value = overlaid(values).unwrap_or_else(|| entry.value.clone());
        map.set(Entry { value, ..entry.clone() });
    }
    Some(Arc::new(map.finish(layers[0].span.clone())))
}
