//! Edits by chance to the stand-in's own values files, carried from each release to a later one.

use super::fuzz::{Dice, check, rounds};
use super::*;
use crate::yaml::{NodeKind, Style};

const RELEASES: [&str; 3] = ["2026-08-20", "2026-09-14", "2026-10-08"];

/// A key's line, whose value stands on it and has nothing behind it.
struct Place {
    pointer: String,
    line: usize,
    column: usize,
    value: std::ops::Range<usize>,
}

fn places(tree: &Tree) -> Vec<Place> {
    let source = tree.source();
    let place = |(path, node): (Path, &Node)| {
        let keys: Vec<&str> = path.keys().collect();
        node.scalar().filter(|scalar| scalar.style != Style::Block && !node.span.bytes.is_empty())?;
        let line = source[..node.span.bytes.start].rfind('\n').map_or(0, |end| end + 1);
        let text = source[line..].lines().next()?;
        let is_alone = line + text.len() == node.span.bytes.end && !text.trim_start().starts_with('-');
        let is_plain = keys.len() == path.0.len() && keys.iter().all(|key| !key.contains(['/', ' ', '"', '{']));
        let key = keys.last()?;
        (is_alone && is_plain && text.trim_start().starts_with(&format!("{key}:"))).then(|| Place {
            pointer: keys.iter().map(|key| format!("/{key}")).collect(),
            line,
            column: text.len() - text.trim_start().len(),
            value: node.span.bytes.clone(),
        })
    };
    tree.leaves().into_iter().filter_map(place).collect()
}

impl Dice {
    /// The file with a few values of other types, keys gone, comments, another order and line ends.
    fn edited_release(&mut self, text: &str) -> String {
        let mut text = text.to_owned();
        for _ in 0..1 + self.roll(8) {
            let places = places(&tree(&text));
            let place = &places[self.roll(places.len())];
            let margin = " ".repeat(place.column);
            match self.roll(4) {
                0 => text.insert_str(place.line, &format!("{margin}# mine {}\n", place.pointer)),
                1 => text.insert_str(place.value.end, &format!(" # mine beside {}", place.pointer)),
                2 => {
                    let value = ["7", "true", "'a: b'", "[1, 2]", "{x: 1}", "\"x # y\""][self.roll(6)];
                    text.replace_range(place.value.clone(), value);
                }
                _ => {
                    let end = text[place.line..].find('\n').map_or(text.len(), |end| place.line + end + 1);
                    let without = [&text[..place.line], &text[end..]].concat();
                    if Tree::parse(without.as_bytes()).is_ok_and(|tree| !tree.leaves().is_empty()) {
                        text = without;
                    }
                }
            }
        }
        if self.roll(3) == 0 {
            text = self.with_a_block_at_the_end(&text);
        }
        if self.roll(3) == 0 { text.replace('\n', "\r\n") } else { text }
    }

    /// One of the blocks of the root stands behind the others.
    fn with_a_block_at_the_end(&mut self, text: &str) -> String {
        let tree = tree(text);
        let NodeKind::Map(entries) = &tree.root().kind else { return text.to_owned() };
        let mut starts: Vec<usize> = entries.iter().map(|entry| entry.key_span.bytes.start).collect();
        starts.sort_unstable();
        let place = self.roll(starts.len() - 1);
        let (start, end) = (starts[place], starts[place + 1]);
        // What stands above the next key is that key's.
        let above = text[start..end].rfind("\n\n").map_or(end, |at| start + at + 1);
        let line_end = if text.ends_with('\n') { "" } else { "\n" };
        [&text[..start], &text[above..], line_end, &text[start..above]].concat()
    }
}

#[test]
fn edits_by_chance_to_the_shipped_files_are_carried_to_each_later_release() {
    let read = |release: &str| {
        let path = format!("{}/fixtures/values/{release}.yaml", env!("CARGO_MANIFEST_DIR"));
        crate::read::text_file(path.as_ref(), crate::read::VALUES).unwrap()
    };
    let files = RELEASES.map(read);
    let mut dice = Dice { state: 20_261_130, about: "mine", kin: None, anchors: None };
    for round in 0..rounds() / 4 {
        let (old, new) = [(0, 1), (1, 2), (0, 2)][round % 3];
        let yours = dice.edited_release(&files[old]);
        let style = if round % 2 == 0 { ProposalStyle::Full } else { ProposalStyle::Overrides };
        check(style, &files[old], &files[new], &yours);
    }
}
