//! Several documents of one file, each over those before it.

use std::collections::HashMap;
use std::sync::Arc;

use super::map::MapBuilder;
use super::path::{Path, Segment};
use super::tree::{Entry, Node, NodeKind, OverriddenEntry};

/// Later documents over earlier ones: maps merge, all else is replaced, and noted in `overridden`.
pub(super) fn overlaid(
    layers: Vec<Arc<Node>>,
    path: &Path,
    overridden: &mut Vec<OverriddenEntry>,
) -> Option<Arc<Node>> {
    let entries = layers.iter().flat_map(|layer| match &layer.kind {
        NodeKind::Map(entries) => &entries[..],
        _ => &[],
    });
    if layers.len() < 2 {
        return layers.into_iter().next();
    }
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut keys: Vec<Vec<&Entry>> = Vec::new();
    for entry in entries {
        let place = *places.entry(&entry.key).or_insert(keys.len());
        if place == keys.len() {
            keys.push(Vec::new());
        }
        keys[place].push(entry);
    }
    let mut map = MapBuilder::default();
    for said in keys {
        let Some(last) = said.last() else { continue };
        let here = path.join(Segment::Key(last.key.clone()));
        let is_map = |entry: &&&Entry| matches!(entry.value.kind, NodeKind::Map(_));
        let count = said.iter().rev().take_while(is_map).count().max(1);
        let (gone, merged) = said.split_at(said.len() - count);
        overridden.extend(gone.iter().filter(|entry| !entry.merged).map(|entry| OverriddenEntry {
            path: here.clone(),
            map: entry.key_span.bytes.start,
            entry: (*entry).clone(),
        }));
        let values = merged.iter().map(|entry| entry.value.clone()).collect();
        let value = overlaid(values, &here, overridden).unwrap_or_else(|| last.value.clone());
        map.set(Entry { value, ..(*last).clone() });
    }
    Some(Arc::new(map.finish(layers[0].span.clone())))
}
