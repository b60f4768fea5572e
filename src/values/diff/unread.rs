//! Files of which one cannot be read: compared line by line.

use super::by_key::by_key;
use super::change::{Change, Inside, What};
use super::text::hunks;
use crate::redact::Scrubber;
use crate::yaml::{Path, Tree};

/// One change at the root, with the lines that differ; secrets masked unless `reveal`. `None` where no line differs.
pub(super) fn compare(old: &Tree, new: &Tree, scrubber: &Scrubber, reveal: bool) -> Option<Change> {
    if old.source() == new.source() {
        return None;
    }
    let show = |line: &str| if reveal { line.to_owned() } else { by_key(scrubber, line) };
    let end = |tree: &Tree| tree.source().trim_end_matches('\n').len();
    let hunks = hunks(&old.source()[..end(old)], &new.source()[..end(new)], &show);
    Some(Change {
        path: Path::root(),
        what: What::Changed,
        old: None,
        new: None,
        secret: false,
        inside: Some(Inside::Lines { hunks }),
        renamed_from: None,
        renamed_to: None,
    })
}
