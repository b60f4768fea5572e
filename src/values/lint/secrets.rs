//! Secrets that are none: weak, used twice, or not shaped as they must be. No finding quotes one.

use std::collections::{BTreeSet, HashMap};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::contents::Contents;
use super::finding::{LintFinding, finding};
use super::key_tree::{Context, KeyFacts, SecretForm, Shape};
use super::placeholder::placeholder;
use super::secret_name::{is_about, words};
use crate::redact::COMMON;
use crate::yaml::{Node, NodeKind, Path, Tree, Value};

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
pub(super) fn weak(contents: &Contents<'_>, findings: &mut Vec<LintFinding>) {
    for (path, node, name) in contents.called() {
        let Some(text) = text(node) else { continue };
        // A user's name is masked as a secret, and is none to be guessed.
        let is_user = name.to_ascii_lowercase().ends_with("user");
        if text.is_empty() || is_user || is_about(name, text) || placeholder(text).is_some() {
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
    if bare.starts_with("changeme") || COMMON.contains(&word) || WORDS.contains(&word) || WORDS.contains(&bare.as_str())
    {
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
pub(super) fn same(contents: &Contents<'_>, facts: &KeyFacts, findings: &mut Vec<LintFinding>) {
    let mut seen: HashMap<&str, (&Path, &str)> = HashMap::new();
    let secrets = contents.called();
    for (path, node, two) in secrets.iter().copied() {
        let Some(text) = text(node).filter(|text| text.len() >= SHORTEST) else { continue };
        let Some((first, one)) = seen.get(text).copied() else {
            seen.insert(text, (path, two));
            continue;
        };
        let is_same = one == two && (words(two).len() > 1 || are_beside(first, path));
        let is_meant = is_same || facts.twins.iter().any(|(a, b)| (*a == one && *b == two) || (*a == two && *b == one));
        if !is_meant {
            findings.push(LintFinding {
                reason: format!("this secret has the same value as {first}: whoever learns one has both"),
                fix: "make one of its own, unless data depends on this one already".into(),
                ..finding("same-secret", &node.span, Some(path))
            });
        }
    }
}

/// Whether two places of one key are of two alike things, such as a proxy's password for http and for https: one step
/// differs, and not the first, which tells whose it is.
fn are_beside(one: &Path, two: &Path) -> bool {
    let apart: Vec<usize> = (0..one.0.len()).filter(|place| one.0.get(*place) != two.0.get(*place)).collect();
    one.0.len() == two.0.len() && matches!(apart.as_slice(), [place] if *place > 0)
}

/// Lengths and encodings.
pub(super) fn shapes(contents: &Contents<'_>, context: &Context<'_>, findings: &mut Vec<LintFinding>) {
    let is_filled = || contents.called().iter().any(|(_, node, _)| text(node).is_some_and(|text| !text.is_empty()));
    for SecretForm { keys, shape, from, part } in context.facts.shapes {
        let tree = contents.tree;
        let Some((node, text)) = tree.get(keys).and_then(|node| Some((node, text(node)?))) else { continue };
        let is_before = matches!((context.version, from), (Some(version), Some(from)) if version < *from);
        // A file in which no secret stands yet, such as the chart's own, has forgotten none.
        if is_before || (text.is_empty() && (part.is_some_and(|part| is_off(tree, part)) || !is_filled())) {
            continue;
        }
        // Programs that encode break the lines, and Go's decoder takes them so.
        let decoded = || STANDARD.decode(text.replace(['\r', '\n'], ""));
        let (fits, wants) = match shape {
            Shape::Characters(count) => (text.chars().count() == *count, format!("{count} characters")),
            Shape::Base64(Some(count)) => {
                (decoded().is_ok_and(|bytes| bytes.len() == *count), format!("base64 of {count} bytes"))
            }
            // What may be left out may be empty.
            Shape::Base64(None) => (decoded().is_ok(), "base64".to_owned()),
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

fn is_off(tree: &Tree, part: &[&str]) -> bool {
    tree.get(part).and_then(Node::scalar).is_some_and(|scalar| scalar.value == Value::Bool(false))
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

    const FORM: SecretForm =
        SecretForm { keys: &["env", "PGPASSWORD"], shape: Shape::Characters(32), from: None, part: None };

    fn reasons(yaml: &str, facts: &KeyFacts, version: Option<&str>) -> Vec<String> {
        let tree = Tree::parse(yaml.as_bytes()).unwrap();
        let (contents, mut findings) = (Contents::of(&tree), Vec::new());
        same(&contents, facts, &mut findings);
        shapes(&contents, &Context { defaults: None, version, facts }, &mut findings);
        let text = format!("{findings:?}");
        assert!(!text.contains("hunter"), "{text}");
        findings.iter().map(|finding| format!("{} {}", finding.id, finding.path.as_ref().unwrap())).collect()
    }

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
            "ChangeMeNow2026!",
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
        let facts = KeyFacts { shapes: &[FORM], ..KeyFacts::NONE };
        let contents = Contents::of(&tree);
        weak(&contents, &mut weak_ones);
        same(&contents, &facts, &mut same_ones);
        shapes(&contents, &Context { defaults: None, version: None, facts: &facts }, &mut same_ones);
        let text = format!("{weak_ones:?} {same_ones:?}");
        assert!(!text.contains("hunter"), "{text}");
        assert_eq!(weak_ones.len(), 1, "{text}");
        assert!(same_ones[0].reason.contains("env.PGPASSWORD") && same_ones[0].line == 1, "{text}");
        assert_eq!(same_ones[1].id, "secret-shape");
        let twins = KeyFacts { twins: &[("A_TOKEN", "PGPASSWORD")], ..KeyFacts::NONE };
        assert!(reasons(yaml, &twins, None).is_empty());
    }

    #[test]
    fn the_same_secret_is_found_wherever_it_stands() {
        let found = |yaml: &str| reasons(yaml, &KeyFacts::NONE, None).len();
        for yaml in [
            "api: {env: [{name: DB_PASSWORD, value: hunter2hunter}, {name: A_TOKEN, value: hunter2hunter}]}",
            "api: {env: [{name: DB_PASSWORD, value: hunter2hunter}]}\nb: {env: [{name: A_TOKEN, value: hunter2hunter}]}",
            "trow: {trow: {password: hunter2hunter}}\nkong: {smtp: {password: hunter2hunter}}",
            "db: {password: hunter2hunter}\nsmtp: {password: hunter2hunter}",
        ] {
            assert_eq!(found(yaml), 1, "{yaml}");
        }
        for yaml in [
            "proxy: {http: {password: hunter2hunter}, https: {password: hunter2hunter}}",
            "users: [{password: hunter2hunter}, {password: hunter2hunter}]",
            "api: {env: [{name: DB_PASSWORD, value: hunter2hunter}]}\nb: {env: [{name: DB_PASSWORD, value: hunter2hunter}]}",
            "global: {dbPassword: hunter2hunter}\nweb: {dbPassword: hunter2hunter}",
        ] {
            assert_eq!(found(yaml), 0, "{yaml}");
        }
    }

    #[test]
    fn an_empty_secret_is_one_beside_others_that_were_filled_in() {
        const FORMS: &[SecretForm] = &[SecretForm { part: Some(&["vault", "enabled"]), ..FORM }];
        let facts = KeyFacts { shapes: FORMS, ..KeyFacts::NONE };
        for (value, count) in [("\"\"", 1), ("''", 1), ("", 0), ("~", 0)] {
            let alone = format!("env: {{PGPASSWORD: {value}, B_TOKEN: , A_TOKEN: \"\"}}\n");
            assert!(reasons(&alone, &facts, None).is_empty(), "{value}: a file that was not filled in");
            let beside = format!("env: {{PGPASSWORD: {value}, A_TOKEN: hunter2hunter}}\n");
            assert_eq!(reasons(&beside, &facts, None).len(), count, "{value}: null is the chart's own value");
            let off = format!("{beside}vault: {{enabled: false}}\n");
            assert!(reasons(&off, &facts, None).is_empty(), "{value}: what is off needs none");
        }
    }

    #[test]
    fn base64_of_any_length_is_asked_for_from_a_release_on() {
        const FORMS: &[SecretForm] = &[SecretForm { shape: Shape::Base64(None), from: Some("2026-10-08"), ..FORM }];
        let facts = KeyFacts { shapes: FORMS, ..KeyFacts::NONE };
        for (value, fits) in [
            ("aHVudGVyMg==", true),
            ("\"aHVu\\ndGVyMg==\\n\"", true),
            ("''", true),
            ("hunter two!", false),
            ("'-----BEGIN X-----'", false),
            ("aHVudGVyMg", false),
        ] {
            let yaml = format!("env: {{PGPASSWORD: {value}, A_TOKEN: hunter2hunter}}\n");
            assert_eq!(reasons(&yaml, &facts, None).is_empty(), fits, "{value}");
            assert!(reasons(&yaml, &facts, Some("2026-09-14")).is_empty(), "{value}");
        }
    }
}
