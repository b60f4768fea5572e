//! Keys that have another name in the new release.

use std::collections::HashMap;

use super::remarks::notes;
use super::report::Three;
use crate::redact::COMMON;
use crate::values::lint::KeyFacts;
use crate::yaml::{Entry, Node, NodeKind, Path, Segment, Tree, Value as Scalar};

/// The operator's value at a key that has another name now.
pub(super) struct RenamedKey<'t> {
    pub(super) from: Path,
    /// The same where what stands above it has its new name already.
    pub(super) met_at: Path,
    pub(super) old: Option<&'t Node>,
    pub(super) entry: &'t Entry,
}

/// Keys of the operator's that have another name now, by the new path: as the facts or the release's comments say, because
/// one default of the old file stands under another name in the new one, and nowhere else, or because the one key that a
/// map has lost and the one that it has got are alike.
pub(super) fn moves<'t>(three: Three<'t>, facts: &KeyFacts) -> HashMap<Path, RenamedKey<'t>> {
    let mut found = HashMap::new();
    let mut note = |from: Vec<String>, to: Vec<String>| {
        let to_keys: Vec<&str> = to.iter().map(String::as_str).collect();
        let from_keys: Vec<&str> = from.iter().map(String::as_str).collect();
        let is_there = three
            .new
            .get(&to_keys)
            .is_some_and(|new| three.yours.get(&from_keys).is_some_and(|yours| fits(new, yours)));
        // What the release has no map for stands there as a whole.
        let is_whole = (1..from_keys.len()).any(|length| {
            three.new.get(&from_keys[..length]).is_some_and(|above| !matches!(above.kind, NodeKind::Map(_)))
        });
        if !is_there || is_whole || three.new.get(&from_keys).is_some() || !has_room(three.yours.root(), &to_keys) {
            return;
        }
        if let Some(entry) = entry_at(three.yours, &from_keys) {
            let from = Path::of(&from_keys);
            // One place goes to one other: what says so most plainly comes first.
            if found.values().any(|other: &RenamedKey<'_>| other.from == from) {
                return;
            }
            let moved = RenamedKey { met_at: from.clone(), from, old: three.old.get(&from_keys), entry };
            found.entry(Path::of(&to_keys)).or_insert(moved);
        }
    };
    for fact in facts.keys.iter().filter(|fact| fact.until.is_some()) {
        let Some(instead) = fact.instead else { continue };
        let words = |text: &str| text.split('.').map(str::to_owned).collect();
        note(words(fact.keys), words(instead.split(':').next().unwrap_or_default().trim()));
    }
    for (from, to) in told_by_comments(three).into_iter().chain(same_defaults(three.old, three.new)) {
        note(from, to);
    }
    let mut siblings = Vec::new();
    renamed_siblings(three.old.root(), three.new.root(), &mut Vec::new(), &mut siblings);
    for (from, to) in siblings {
        note(from, to);
    }
    nested(found)
}

/// Keys below one that is renamed itself: met at their new places, and no renaming where the names below stay.
fn nested(mut found: HashMap<Path, RenamedKey<'_>>) -> HashMap<Path, RenamedKey<'_>> {
    let outer: Vec<(Path, Path)> = found.iter().map(|(to, moved)| (moved.from.clone(), to.clone())).collect();
    for moved in found.values_mut() {
        let above = outer.iter().filter(|(from, _)| moved.from.starts_with(from) && moved.from != *from);
        if let Some((from, to)) = above.max_by_key(|(from, _)| from.0.len()) {
            moved.met_at = Path(to.0.iter().chain(&moved.from.0[from.0.len()..]).cloned().collect());
        }
    }
    found.retain(|to, moved| moved.met_at != *to);
    found
}

/// Whether nothing of the operator's stands at a place, or in the way to it: a value that is no map stays as it is, and
/// nothing would be carried below it.
fn has_room(yours: &Node, keys: &[&str]) -> bool {
    let NodeKind::Map(_) = &yours.kind else { return false };
    let Some((first, rest)) = keys.split_first() else { return false };
    yours.child(first).is_none_or(|below| has_room(below, rest))
}

fn fits(new: &Node, yours: &Node) -> bool {
    let is_map = |node: &Node| matches!(node.kind, NodeKind::Map(_));
    is_map(new) == is_map(yours) || matches!(new.scalar(), Some(scalar) if scalar.value == Scalar::Null)
}

type Keys = Vec<String>;

/// What the release's own comments say of names: `# formerly replicas` at the new key, `# use replicas` at the old one.
fn told_by_comments(three: Three<'_>) -> Vec<(Keys, Keys)> {
    let mut found = Vec::new();
    for (tree, words, is_old) in [(three.new, FORMERLY, false), (three.old, NOW, true), (three.new, NOW, true)] {
        for (path, comment) in notes(tree) {
            let here: Keys = path.keys().map(str::to_owned).collect();
            let Some(name) = name_after(&comment, words) else { continue };
            let named: Keys = name.split('.').map(str::to_owned).collect();
            let beside: Keys = here[..here.len() - 1].iter().cloned().chain(named.iter().cloned()).collect();
            for other in [named, beside] {
                found.push(if is_old { (here.clone(), other) } else { (other, here.clone()) });
            }
        }
    }
    found
}

/// What stands before the name that a key had.
const FORMERLY: &[&str] = &[
    "formerly",
    "previously",
    "renamed from",
    "moved from",
    "replaces",
    "was called",
    "was named",
    "used to be",
    "old name",
];

/// What stands before the name that a key has now.
const NOW: &[&str] =
    &["renamed to", "moved to", "replaced by", "superseded by", "use instead", "use", "in favour of", "in favor of"];

/// The key that follows one of these words in a comment.
fn name_after<'c>(comment: &'c str, words: &[&str]) -> Option<&'c str> {
    let lower = comment.to_ascii_lowercase();
    words.iter().find_map(|word| {
        let at = lower.match_indices(word).map(|(at, _)| at).find(|at| {
            let before = lower[..*at].chars().next_back();
            let behind = lower[at + word.len()..].chars().next();
            !before.is_some_and(char::is_alphanumeric) && !behind.is_some_and(char::is_alphanumeric)
        })?;
        let rest = comment[at + word.len()..].trim_start_matches([' ', ':', '`', '\'', '"', '.']);
        let end =
            rest.find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '_' | '-')).unwrap_or(rest.len());
        Some(rest[..end].trim_end_matches('.')).filter(|name| !name.is_empty())
    })
}

/// Within each map that both files have: the key that is gone and the one that came, where they have the same value and
/// like names, or are maps of the same keys; and no other would do.
fn renamed_siblings(old: &Node, new: &Node, above: &mut Keys, found: &mut Vec<(Keys, Keys)>) {
    let (NodeKind::Map(before), NodeKind::Map(after)) = (&old.kind, &new.kind) else { return };
    let gone: Vec<&Entry> = before.iter().filter(|entry| new.child(&entry.key).is_none()).collect();
    let come: Vec<&Entry> = after.iter().filter(|entry| old.child(&entry.key).is_none()).collect();
    let at = |key: &str| above.iter().cloned().chain([key.to_owned()]).collect::<Keys>();
    for was in &gone {
        let mut like = come.iter().filter(|is| are_alike(was, is));
        let (Some(is), None) = (like.next(), like.next()) else { continue };
        if gone.iter().filter(|other| are_alike(other, is)).count() == 1 {
            found.push((at(&was.key), at(&is.key)));
        }
    }
    for entry in before {
        if let Some(now) = new.child(&entry.key) {
            above.push(entry.key.clone());
            renamed_siblings(&entry.value, now, above, found);
            above.pop();
        }
    }
}

fn are_alike(was: &Entry, is: &Entry) -> bool {
    if let (NodeKind::Map(a), NodeKind::Map(b)) = (&was.value.kind, &is.value.kind) {
        return a.len() > 1 && a.len() == b.len() && a.iter().all(|entry| is.value.child(&entry.key).is_some());
    }
    let (a, b) = (was.key.to_ascii_lowercase(), is.key.to_ascii_lowercase());
    let is_telling = match was.value.scalar().map(|scalar| &scalar.value) {
        Some(Scalar::Null | Scalar::Bool(_)) => false,
        Some(Scalar::String(text)) => !text.is_empty(),
        Some(_) => true,
        None => was.value.size > 1,
    };
    let shortest = if a.len() < b.len() { &a } else { &b };
    let one_in_the_other = shortest.len() >= 4 && (a.contains(&b) || b.contains(&a));
    was.value.same_as(&is.value) && (one_in_the_other || (is_telling && share_a_word(&was.key, &is.key)))
}

/// Whether two keys have a word in common, or its first four letters: `maxConn` and `connLimit`.
fn share_a_word(a: &str, b: &str) -> bool {
    let words = |key: &str| {
        let mut words = vec![String::new()];
        for c in key.chars() {
            if c.is_ascii_uppercase() || !c.is_ascii_alphanumeric() {
                words.push(String::new());
            }
            if let Some(word) = words.last_mut() {
                word.extend(Some(c.to_ascii_lowercase()).filter(char::is_ascii_alphanumeric));
            }
        }
        words.retain(|word| word.len() >= 4);
        words
    };
    let (a, b) = (words(a), words(b));
    a.iter().any(|word| b.iter().any(|other| word[..4] == other[..4]))
}

/// Telling defaults that stand once in what the new file dropped and once in what it brought.
fn same_defaults(old: &Tree, new: &Tree) -> Vec<(Keys, Keys)> {
    let dropped = telling_leaves(old, new);
    let brought = telling_leaves(new, old);
    let sole = |leaves: &[(Keys, String)], text: &str| leaves.iter().filter(|(_, other)| other == text).count() == 1;
    dropped
        .iter()
        .filter(|(_, text)| sole(&dropped, text) && sole(&brought, text))
        .filter_map(|(from, text)| {
            let (to, _) = brought.iter().find(|(_, other)| other == text)?;
            Some((from.clone(), to.clone()))
        })
        .collect()
}

/// Texts of a tree, at keys that the other has not, that are long and odd enough to be known again.
fn telling_leaves(tree: &Tree, other: &Tree) -> Vec<(Keys, String)> {
    let keys = |path: &Path| path.keys().map(str::to_owned).collect::<Keys>();
    tree.leaves()
        .into_iter()
        .filter(|(path, _)| path.0.iter().all(|segment| matches!(segment, Segment::Key(_))))
        .filter(|(path, _)| other.get(&path.keys().collect::<Vec<_>>()).is_none())
        .filter_map(|(path, node)| match &node.scalar()?.value {
            Scalar::String(text) if text.len() >= 6 && !COMMON.contains(&text.as_str()) => {
                Some((keys(&path), text.clone()))
            }
            _ => None,
        })
        .collect()
}

fn entry_at<'t>(tree: &'t Tree, keys: &[&str]) -> Option<&'t Entry> {
    let (last, above) = keys.split_last()?;
    tree.get(above)?.entry(last)
}
