//! Versions of a file that have most of it in common, compared without reading all of both again.
//!
//! A file is cut where a key begins a line. A part that Helm reads as a map by itself ends before the next begins: it
//! means the same with and without its neighbours, as long as no key comes twice. So what two versions share can be left
//! out on both sides, and the rest differs in the same values at the same paths. Where that is not certain, nothing is
//! said, and the whole has to be compared.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;

use zeroize::Zeroizing;

use super::{Diff, diff};
use crate::redact::Scrubber;
use crate::yaml::{NodeKind, Tree};

/// Cuts versions, and remembers which parts stand alone: most come again in the next version.
#[derive(Default)]
pub struct Cutter {
    hashing: RandomState,
    /// By the digest of a part, under a key of this process: the keys of its map; nothing where it does not stand alone.
    known: HashMap<u64, Option<Vec<String>>>,
}

/// A version, cut.
pub struct ValuesText {
    text: Zeroizing<Vec<u8>>,
    /// Each with its digest; none where the file cannot be cut.
    parts: Vec<(Range<usize>, u64)>,
}

impl Cutter {
    /// Cuts a version.
    pub fn cut(&mut self, text: Zeroizing<Vec<u8>>) -> ValuesText {
        let parts = self.parts(&text).unwrap_or_default();
        ValuesText { text, parts }
    }

    fn parts(&mut self, text: &[u8]) -> Option<Vec<(Range<usize>, u64)>> {
        let mut parts: Vec<Range<usize>> = Vec::new();
        let (mut at, mut start) = (0, 0);
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            let content = line.strip_suffix(b"\n").unwrap_or(line);
            let content = content.strip_suffix(b"\r").unwrap_or(content);
            // Marks of a document reach beyond their part, and a carriage return may hide one.
            if [b"---".as_slice(), b"...", b"%"].iter().any(|mark| line.starts_with(mark)) || content.contains(&b'\r') {
                return None;
            }
            if begins_key(line) {
                parts.push(start..at);
                start = at;
            }
            at += line.len();
        }
        parts.push(start..at);
        let mut keys = HashSet::new();
        parts
            .into_iter()
            .map(|part| {
                let digest = self.hashing.hash_one(&text[part.clone()]);
                let known = self.known.entry(digest).or_insert_with(|| alone(&text[part.clone()]));
                known.as_ref()?.iter().all(|key| keys.insert(key.clone())).then_some((part, digest))
            })
            .collect()
    }
}

/// The keys of a part that Helm reads by itself. Before the first key only comments may stand: a map that is indented or
/// in brackets would not go on in the next part.
fn alone(part: &[u8]) -> Option<Vec<String>> {
    let tree = Tree::parse(part).ok().filter(|tree| tree.traps().is_empty())?;
    match &tree.root().kind {
        NodeKind::Map(entries) if entries.is_empty() || begins_key(part) => {
            Some(entries.iter().map(|entry| entry.key.clone()).collect())
        }
        _ => None,
    }
}

fn begins_key(line: &[u8]) -> bool {
    line.first().is_some_and(|first| first.is_ascii_alphabetic() || *first == b'_')
}

impl ValuesText {
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// What [`diff`] of the whole files finds, but for lines, which count from elsewhere: class, paths, numbers. `None`
    /// where the whole has to be compared.
    pub fn diff(&self, new: &Self, scrubber: &Scrubber) -> Option<Diff> {
        if self.parts.is_empty() || new.parts.is_empty() {
            return None;
        }
        let before = Tree::parse(&self.without(new)).ok()?;
        let after = Tree::parse(&new.without(self)).ok()?;
        let found = diff(&before, &after, scrubber).of_files(&self.text, &new.text);
        // Whether a value stands once, the whole file tells.
        found.renamed.is_empty().then_some(found)
    }

    /// The parts that the other does not have.
    fn without(&self, other: &Self) -> Zeroizing<Vec<u8>> {
        let there: HashMap<u64, &[u8]> =
            other.parts.iter().map(|(part, digest)| (*digest, &other.text[part.clone()])).collect();
        let own = self.parts.iter().filter(|(part, digest)| there.get(digest) != Some(&&self.text[part.clone()]));
        let mut text = Zeroizing::new(Vec::with_capacity(self.text.len()));
        own.for_each(|(part, _)| text.extend_from_slice(&self.text[part.clone()]));
        text
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Class;
    use super::*;

    const PLAIN: &[&str] = &[
        "# a comment\n",
        "a: 1\n",
        "a: 2 # one\n",
        "b:\n  c: [1, 2]\n  d: text of some length\n",
        "b:\n  c: [2, 1]\n\n",
        "e:\n- name: x\n  v: text of some length\n- name: y\n",
        "f: |\n  one\n\n  two\n",
        "g: plain\n  goes on\n",
        "h: 'it''s'\r\n",
        "i: text of some length\n",
        "j:\n",
        "k: text of some length",
        "\n",
    ];
    /// Pieces that are something else beside others, or nothing at all.
    const ODD: &[&str] = &[
        "l: \"one\n",
        "m: two\"\n",
        "n: &anchor {k: v}\n",
        "o: *anchor\n",
        "p: [1,\n",
        "q: 2]\n",
        "\"r\": quoted key\n",
        "? s\n: t\n",
        "<<: {a: 7, q: merged}\n",
        "on: 1\n",
        "u v w\n",
        "  x: below\n",
        "{y: 1}\n",
        "&z {aa: 1}\n",
        "!!map\n",
        "- item\n",
        "ab: !!str\n",
        "--- \n",
        "...\n",
        "ac: 1\r...\r\n",
        "ad:\n\ttab: 1\n",
    ];

    fn file() -> impl Strategy<Value = Vec<&'static str>> {
        let piece = prop_oneof![9 => proptest::sample::select(PLAIN), 1 => proptest::sample::select(ODD)];
        proptest::collection::vec(piece, 0..8)
    }

    fn seen(found: &Diff) -> (Class, String, Vec<String>) {
        (found.class, found.summary(), found.changes.iter().map(|change| change.path.to_string()).collect())
    }

    /// What the whole files say; `None` where one cannot be read.
    fn whole(old: &str, new: &str) -> Option<(Class, String, Vec<String>)> {
        let (before, after) = (Tree::parse(old.as_bytes()).ok()?, Tree::parse(new.as_bytes()).ok()?);
        Some(seen(&diff(&before, &after, &Scrubber::new(None)).of_files(old.as_bytes(), new.as_bytes())))
    }

    fn parted(cutter: &mut Cutter, old: &str, new: &str) -> Option<(Class, String, Vec<String>)> {
        let mut cut = |text: &str| cutter.cut(Zeroizing::new(text.as_bytes().to_vec()));
        let (before, after) = (cut(old), cut(new));
        before.diff(&after, &Scrubber::new(None)).map(|found| seen(&found))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(6000))]

        #[test]
        fn what_is_said_of_parts_is_what_is_so_of_the_whole(old in file(), new in file(), same in 0usize..8) {
            let mut kept = old.clone();
            kept.truncate(same);
            kept.extend(new);
            let (old, new) = (old.concat(), kept.concat());
            if let Some(parts) = parted(&mut Cutter::default(), &old, &new) {
                prop_assert_eq!(Some(parts), whole(&old, &new), "{:?} {:?}", old, new);
            }
        }
    }

    #[test]
    fn a_plain_file_is_compared_by_its_parts_and_a_doubtful_one_is_not() {
        let mut cutter = Cutter::default();
        let old = "# head\na: 1\nb:\n  c: 2\n# end\nd: [1, 2]\n";
        let found = parted(&mut cutter, old, &old.replace("c: 2", "c: 3"));
        assert_eq!(found, Some((Class::Changed, "1 changed".into(), vec!["b.c".into()])));
        assert_eq!(cutter.known.len(), 5, "each part is read once");
        assert_eq!(parted(&mut cutter, old, &old.replace("head", "top")).unwrap().0, Class::Layout);
        assert_eq!(parted(&mut cutter, old, "d: [1, 2]\na: 1\nb:\n  c: 2\n# end\n").unwrap().0, Class::Layout);
        // Two whose first part reads well, and whose whole is not the sum of the parts: an indented root, and one in brackets.
        let roots = ["  x: 0\na: 1\n", "{x: 0}\na: 1\n"];
        assert_eq!(roots.map(|root| parted(&mut cutter, root, "a: 2\n")), [None, None]);
        for doubtful in ["a: 1\na: 1\n", "a: \"x\nb: y\"\n", "a: &x 1\nb: *x\n", "a: 1\n...\nb: 2\n", "a: 1\rb: 2\n"] {
            assert_eq!(parted(&mut cutter, doubtful, "a: 2\n"), None, "{doubtful}");
        }
        let renamed = "from: text of some length\nother: 1\n";
        assert_eq!(parted(&mut cutter, renamed, &renamed.replace("from", "into")), None, "the whole file decides");
    }
}
