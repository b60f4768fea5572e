//! Keys of a proposal that the release would rather not see.

use super::remarks::notes;
use super::report::{DeprecatedKey, Three};
use crate::redact::Scrubber;
use crate::values::lint::KeyFacts;
use crate::yaml::{Path, Segment, Tree};

/// Words by which a release's comment calls a key deprecated.
const WORDS: &[&str] = &["deprecated", "obsolete", "no longer used", "will be removed", "legacy"];

/// The operator's keys of a proposal that the releases' facts or the new file's comments call deprecated; not those
/// whose value is the new release's own.
pub(super) fn deprecated(
    three: Three<'_>,
    proposed: &Tree,
    facts: &KeyFacts,
    scrubber: &Scrubber,
) -> Vec<DeprecatedKey> {
    let mut found: Vec<DeprecatedKey> = Vec::new();
    for fact in facts.keys.iter().filter(|fact| fact.until.is_some()) {
        for keys in fact.paths() {
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            if three.yours.get(&keys).is_some() && proposed.get(&keys).is_some() && three.new.get(&keys).is_none() {
                let says = match fact.instead {
                    Some(instead) => format!("use {instead}"),
                    None => "no release has it any more".to_owned(),
                };
                found.push(DeprecatedKey { path: Path::of(&keys), says });
            }
        }
    }
    for (path, comment) in notes(three.new) {
        let lower = comment.to_ascii_lowercase();
        let is_told = WORDS.iter().any(|word| lower.contains(word));
        let keys: Vec<&str> = path.keys().collect();
        let is_plain = path.0.iter().all(|segment| matches!(segment, Segment::Key(_)));
        let is_own = || {
            let (yours, new) = (three.yours.get(&keys), three.new.get(&keys));
            yours.zip(new).is_some_and(|(yours, new)| !yours.same_as(new))
        };
        if is_told && is_plain && is_own() && found.iter().all(|other| other.path != path) {
            found.push(DeprecatedKey { says: scrubber.scrub(&comment).into_owned(), path });
        }
    }
    found
}
