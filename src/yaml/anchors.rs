//! Where a text has aliases, and what they name.

use std::collections::HashMap;
use std::ops::Range;

use super::parser::{EventKind, Parser};

/// An alias (`*name`) of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AliasPlace {
    pub name: String,
    /// In bytes.
    pub at: Range<usize>,
    /// Where the node of the last anchor of this name begins that stands before it.
    pub anchor: Option<usize>,
}

/// The aliases of a document, as far as it can be read.
pub fn alias_places(text: &str) -> Vec<AliasPlace> {
    let (mut parser, mut anchors, mut places) = (Parser::new(text), HashMap::new(), Vec::new());
    while let Ok(event) = parser.next() {
        let properties = match event.kind {
            EventKind::DocumentEnd => break,
            EventKind::End => continue,
            EventKind::Alias(name) => {
                let anchor = anchors.get(&name).copied();
                places.push(AliasPlace { name, at: event.start.at..event.end.at, anchor });
                continue;
            }
            EventKind::Scalar(_, _, properties)
            | EventKind::ListStart(properties)
            | EventKind::MapStart(properties) => properties,
        };
        if let Some(name) = properties.anchor {
            anchors.insert(name, event.start.at);
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_know_the_anchor_that_stands_before_them() {
        let text = "a: &x 1\nb: [*x, &x {c: 2}, *x]\nd:\n  <<: *none\n";
        let places = alias_places(text);
        let said: Vec<(&str, Option<&str>)> =
            places.iter().map(|place| (&text[place.at.clone()], place.anchor.map(|at| &text[at..at + 1]))).collect();
        assert_eq!(said, [("*x", Some("1")), ("*x", Some("{")), ("*none", None)]);
    }
}
