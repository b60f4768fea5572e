//! Secrets that are none: weak, used twice, or not shaped as they must be. No finding quotes one.

use std::collections::{BTreeSet, HashMap};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::finding::{LintFinding, finding};
use super::key_tree::{KeyFacts, Shape};
use super::placeholder::placeholder;
use crate::redact::{COMMON, Why};
use crate::yaml::{Node, NodeKind, Path, Tree, Value};

type Secret<'a> = (Path, &'a Node, Why);

/// Below this a secret is guessed, however random.
const SHORTEST: usize = 8;
/// What people put in to get going, beside the words of [`COMMON`].
const WORDS: &[&str] = &[
    "admin",
    "administrator",
    "root",
    "letmein",
    "welcome",
    "qwerty",
    "abc",
    "test",
    "testing",
    "example",
    "sample",
    "demo",
    "dummy",
    "todo",
    "tbd",
    "fixme",
    "placeholder",
    "replace",
    "replaceme",
    "yourpassword",
    "mypassword",
    "passw0rd",
    "passphrase",
    "none",
    "changethis",
    "change",
    "insecure",
    "notsecret",
    "supersecret",
    "guest",
    "user",
    "foobar",
    "key",
    "token",
    "redacted",
];

/// Weak ones, among those that are secret by their name: a text that looks random is none.
pub(super) fn weak(secrets: &[Secret<'_>], findings: &mut Vec<LintFinding>) {
    for (path, node, why) in secrets {
        let Some(text) = text(node) else { continue };
        let key = path.keys().next_back().unwrap_or_default().to_ascii_lowercase();
        // A user's name is masked as a secret, and is none to be guessed.
        if *why != Why::Name || text.is_empty() || key.ends_with("user") || placeholder(text).is_some() {
            continue;
        }
        if let Some(reason) = weakness(text) {
            findings.push(LintFinding {
                reason: format!("this secret is {reason}"),
                fix: "make a random one, such as with `openssl rand -hex 16`".into(),
                ..finding("weak-secret", &node.span, Some(path))
            });
        }
    }
}

fn weakness(text: &str) -> Option<&'static str> {
    let length = text.chars().count();
    let bare: String = text.to_lowercase().chars().filter(|c| c.is_alphanumeric()).collect();
    let word = bare.trim_end_matches(|c: char| c.is_ascii_digit());
    if word.is_empty() && !bare.is_empty() && length < 12 {
        return Some("a short number");
    }
    if COMMON.contains(&word) || WORDS.contains(&word) || WORDS.contains(&bare.as_str()) {
        return Some("a well-known word");
    }
    if length < SHORTEST {
        return Some("shorter than eight characters");
    }
    let distinct = text.chars().collect::<BTreeSet<char>>().len();
    if distinct <= 4 || repeats(text) {
        return Some("one pattern, repeated");
    }
    is_sequence(text).then_some("a sequence of neighbours")
}

/// Whether a text is a shorter one, twice or more.
fn repeats(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=bytes.len() / 2)
        .any(|width| bytes.len().is_multiple_of(width) && bytes.chunks(width).all(|part| part == &bytes[..width]))
}

/// `abcdefgh`, `12345678`, `87654321`: nearly every character is the neighbour of the one before.
fn is_sequence(text: &str) -> bool {
    let bytes = text.as_bytes();
    let neighbours = bytes.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) == 1).count();
    bytes.len() > 1 && neighbours * 10 >= (bytes.len() - 1) * 8
}

/// The same value in two places.
pub(super) fn same(secrets: &[Secret<'_>], facts: &KeyFacts, findings: &mut Vec<LintFinding>) {
    let mut seen: HashMap<&str, &Path> = HashMap::new();
    for (path, node, why) in secrets {
        let Some(text) = text(node).filter(|text| text.len() >= SHORTEST && *why == Why::Name) else { continue };
        let Some(first) = seen.get(text) else {
            seen.insert(text, path);
            continue;
        };
        let key = |path: &Path| path.keys().next_back().unwrap_or_default().to_owned();
        let (one, two) = (key(first), key(path));
        // The same key in two places (a proxy's password for http and https, say) is meant.
        let is_meant =
            one == two || facts.twins.iter().any(|(a, b)| (*a == one && *b == two) || (*a == two && *b == one));
        if !is_meant {
            findings.push(LintFinding {
                reason: format!("this secret has the same value as {first}: whoever learns one has both"),
                fix: "make one of its own, unless data depends on this one already".into(),
                ..finding("same-secret", &node.span, Some(path))
            });
        }
    }
}

/// Lengths and encodings.
pub(super) fn shapes(tree: &Tree, facts: &KeyFacts, findings: &mut Vec<LintFinding>) {
    for (keys, shape) in facts.shapes {
        let Some((node, text)) = tree.get(keys).and_then(|node| Some((node, text(node)?))) else { continue };
        let (fits, wants) = match shape {
            Shape::Characters(count) => (text.chars().count() == *count, format!("{count} characters")),
            Shape::Base64(count) => {
                let fits = STANDARD.decode(text).is_ok_and(|bytes| bytes.len() == *count);
                (fits, format!("base64 of {count} bytes"))
            }
        };
        if !fits && placeholder(text).is_none() {
            let is = if text.is_empty() { "is empty, and" } else { "is" };
            findings.push(LintFinding {
                reason: format!("this secret {is} not {wants}, which OpsChain asks for"),
                fix: "make a fitting one before the first install; later, the old one must stay".into(),
                ..finding("secret-shape", &node.span, Some(&Path::of(keys)))
            });
        }
    }
}

fn text(node: &Node) -> Option<&str> {
    match &node.kind {
        NodeKind::Scalar(scalar) => match &scalar.value {
            Value::String(text) => Some(text),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redact::secrets;

    #[test]
    fn weak_secrets_are_known_and_strong_ones_left_alone() {
        for text in [
            "password",
            "Password1",
            "changeme",
            "opschain123",
            "12345678",
            "abcdefghij",
            "aaaaaaaaaaaa",
            "x7!q",
            "abcabcabcabc",
            "CHANGE_ME",
        ] {
            assert!(weakness(text).is_some(), "{text}");
        }
        for text in ["kNWWmhUHAqxhksXOmYUXPdYIIfXsdWZE", "correct horse battery", "73915028461957302846", "q8#Lw2!z"] {
            assert_eq!(weakness(text), None, "{text}");
        }
    }

    #[test]
    fn findings_name_both_places_and_no_value() {
        let yaml = "env: {PGPASSWORD: hunter2hunter9, A_TOKEN: hunter2hunter9}\nb: {password: kk}\n";
        let tree = Tree::parse(yaml.as_bytes()).unwrap();
        let (mut weak_ones, mut same_ones) = (Vec::new(), Vec::new());
        let facts = KeyFacts { shapes: &[(&["env", "PGPASSWORD"], Shape::Characters(32))], ..KeyFacts::NONE };
        weak(&secrets(&tree), &mut weak_ones);
        same(&secrets(&tree), &facts, &mut same_ones);
        shapes(&tree, &facts, &mut same_ones);
        let text = format!("{weak_ones:?} {same_ones:?}");
        assert!(!text.contains("hunter"), "{text}");
        assert_eq!(weak_ones.len(), 1, "{text}");
        assert!(same_ones[0].reason.contains("env.PGPASSWORD") && same_ones[0].line == 1, "{text}");
        assert_eq!(same_ones[1].id, "secret-shape");
        for (value, count) in [("\"\"", 1), ("''", 1), ("", 0), ("~", 0)] {
            let tree = Tree::parse(format!("env: {{PGPASSWORD: {value}}}\n").as_bytes()).unwrap();
            let mut empty = Vec::new();
            shapes(&tree, &facts, &mut empty);
            assert_eq!(empty.len(), count, "{value}: null is the chart's own value");
        }
        let twins = KeyFacts { twins: &[("A_TOKEN", "PGPASSWORD")], ..facts };
        let mut none = Vec::new();
        same(&secrets(&tree), &twins, &mut none);
        assert!(none.is_empty());
    }
}
