//! The name that was meant: among those that one map knows, the one that is written almost like another.

use std::collections::HashMap;

/// The names that a map knows, made ready to be searched. Made once a map, so that each unknown key costs a look at the
/// few names of about its length and letters, and not a comparison with every name.
pub(super) struct KnownNames<'n> {
    names: Vec<Name<'n>>,
    by_letters: HashMap<String, usize>,
    /// By how many letters they have.
    by_length: HashMap<usize, Vec<usize>>,
}

struct Name<'n> {
    written: &'n str,
    /// In small letters, without dashes and underscores: what is compared.
    letters: Vec<char>,
    /// A bit for each character that is there.
    signature: u64,
}

impl<'n> Name<'n> {
    fn of(written: &'n str) -> Self {
        let letters: Vec<char> = bare(written).chars().collect();
        let signature = letters.iter().fold(0, |bits, letter| bits | 1 << (u32::from(*letter) % 64));
        Self { written, letters, signature }
    }
}

impl<'n> KnownNames<'n> {
    pub(super) fn new(written: impl Iterator<Item = &'n str>) -> Self {
        let names: Vec<Name<'n>> = written.map(Name::of).collect();
        let (mut by_letters, mut by_length) = (HashMap::new(), HashMap::<usize, Vec<usize>>::new());
        for (place, name) in names.iter().enumerate() {
            by_letters.entry(name.letters.iter().collect()).or_insert(place);
            by_length.entry(name.letters.len()).or_default().push(place);
        }
        Self { names, by_letters, by_length }
    }

    /// The name that is the same but for case, dashes and underscores.
    pub(super) fn in_other_case(&self, key: &str) -> Option<&'n str> {
        self.by_letters.get(&bare(key)).map(|place| self.names[*place].written)
    }

    /// The one name that is one or two letters off (in longer names).
    pub(super) fn nearest(&self, key: &str, is_free: impl Fn(&str) -> bool) -> Option<&'n str> {
        self.nearest_within(key, 0, is_free)
    }

    /// The same; `least` letters may be off in names of three letters, too.
    pub(super) fn nearest_within(&self, key: &str, least: usize, is_free: impl Fn(&str) -> bool) -> Option<&'n str> {
        let key = Name::of(key);
        let allowed = if key.letters.len() < 3 { 0 } else { allowed(&key).max(least) };
        let mut best: Vec<(usize, &str)> = self
            .candidates(&key, allowed)
            .filter(|name| is_free(name.written))
            .filter_map(|name| Some((distance(&key.letters, &name.letters, allowed)?, name.written)))
            // `a1` and `a2` are two names, not one written wrong.
            .filter(|(apart, name)| *apart == 0 || !differ_in_digits(key.written, name))
            .filter(|(apart, name)| *apart < 2 || !begin_otherwise(&key.letters, name))
            .collect();
        best.sort();
        match best.as_slice() {
            [(_, name)] => Some(name),
            [(first, name), (second, _), ..] if first < second => Some(name),
            _ => None,
        }
    }

    /// The names that are worth a comparison: each letter that is off changes the length by one at most, and two bits.
    fn candidates(&self, key: &Name<'_>, allowed: usize) -> impl Iterator<Item = &Name<'n>> {
        let (signature, length) = (key.signature, key.letters.len());
        let lengths = length.saturating_sub(allowed)..=length + allowed;
        lengths
            .filter_map(|length| self.by_length.get(&length))
            .flatten()
            .map(|place| &self.names[*place])
            .filter(move |name| (name.signature ^ signature).count_ones() as usize <= 2 * allowed)
    }
}

fn allowed(key: &Name<'_>) -> usize {
    match key.written.chars().count() {
        0..=3 => 0,
        4..=7 => 1,
        _ => 2,
    }
}

fn bare(text: &str) -> String {
    text.chars().filter(|c| !"_-".contains(*c)).map(|c| c.to_ascii_lowercase()).collect()
}

/// Whether neither of the first two letters is the same, not even swapped: `DB_PASSWORD` is no `PGPASSWORD`.
fn begin_otherwise(key: &[char], name: &str) -> bool {
    let name: Vec<char> = bare(name).chars().take(2).collect();
    match (key, name.as_slice()) {
        ([a, b, ..], [c, d]) => a != c && b != d && (a, b) != (d, c),
        _ => false,
    }
}

fn differ_in_digits(a: &str, b: &str) -> bool {
    fn letters(text: &str) -> impl Iterator<Item = char> {
        text.chars().filter(|c| !c.is_ascii_digit())
    }
    letters(a).eq(letters(b))
}

/// How many letters must be put in, taken out, exchanged, or swapped with their neighbour; `None` where that is more
/// than `limit`.
fn distance(a: &[char], b: &[char], limit: usize) -> Option<usize> {
    let same = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let (a, b) = (&a[same..], &b[same..]);
    let same = a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a == b).count();
    let (a, b) = (&a[..a.len() - same], &b[..b.len() - same]);
    let (mut before, mut above) = (Vec::new(), (0..=b.len()).collect::<Vec<usize>>());
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let exchange = usize::from(a[i - 1] != b[j - 1]);
            row[j] = (above[j] + 1).min(row[j - 1] + 1).min(above[j - 1] + exchange);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        // What two rows are beyond the limit stays there.
        if above.iter().chain(&row).all(|apart| *apart > limit) {
            return None;
        }
        (before, above) = (above, row);
    }
    above.last().copied().filter(|apart| *apart <= limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[&str] = &["OPSCHAIN_VERSION", "OPSCHAIN_PRIMARY_KEY", "replicas", "hostName", "tls", "a1b2c3d4"];

    fn known() -> KnownNames<'static> {
        KnownNames::new(KNOWN.iter().copied())
    }

    fn nearest(key: &str) -> Option<&'static str> {
        known().nearest(key, |_| true)
    }

    #[test]
    fn one_or_two_letters_off_are_found_wherever_they_are() {
        for key in ["replica", "eplicas", "repliacs", "xreplicas", "replicaz", "repplicass", "erplicas"] {
            assert_eq!(nearest(key), Some("replicas"), "{key}");
        }
        for key in ["OPSCHAIN_VERISON", "OPSCHAIN_VERSIONS", "OPSHCAIN_VERSOIN", "XPSCHAIN-VERSIOM"] {
            assert_eq!(nearest(key), Some("OPSCHAIN_VERSION"), "{key}");
        }
        for key in ["MYSCHAIN_VERSION", "tlz", "repl", "replicasxyz", "OPSCHAIN_VER", "a2b2c3d4", "other", ""] {
            assert_eq!(nearest(key), None, "{key}");
        }
    }

    #[test]
    fn another_case_is_the_same_name() {
        assert_eq!(known().in_other_case("host_name"), Some("hostName"));
        assert_eq!(known().in_other_case("opschain-Primary-KEY"), Some("OPSCHAIN_PRIMARY_KEY"));
        assert_eq!(known().in_other_case("host_names"), None);
    }

    #[test]
    fn the_distance_stops_at_its_limit() {
        let apart =
            |a: &str, b: &str, limit| distance(&a.chars().collect::<Vec<_>>(), &b.chars().collect::<Vec<_>>(), limit);
        assert_eq!(apart("abcdef", "abcdef", 0), Some(0));
        assert_eq!(apart("abcdef", "badcfe", 3), Some(3));
        assert_eq!(apart("abcdef", "badcfe", 2), None);
        assert_eq!(apart("abc", "", 3), Some(3));
        assert_eq!(apart("abcdefgh", "hgfedcba", 2), None);
    }

    /// The work, and not the time, which depends on the machine.
    #[test]
    fn twenty_thousand_unknown_keys_are_compared_with_few_names() {
        let names: Vec<String> =
            (0..200).map(|place| format!("OPSCHAIN_{:0>3}_{}", place, "qwx".repeat(place % 9))).collect();
        let known = KnownNames::new(names.iter().map(String::as_str).chain(KNOWN.iter().copied()));
        for pattern in ["OPSCHAIN_EXTRA_SETTING_", "someKey", "zq"] {
            let keys: Vec<String> = (0..20_000).map(|number| format!("{pattern}{number}")).collect();
            let compared: usize =
                keys.iter().map(|key| known.candidates(&Name::of(key), allowed(&Name::of(key))).count()).sum();
            assert!(compared < 10 * keys.len(), "{pattern}: {compared} comparisons for {} keys", keys.len());
        }
    }
}
