//! Which values are secret: by place, by name, by shape, by entropy. The one place that decides it.
//!
//! Wrong in doubt means masked: a mask too many costs a glance, one too few costs every backup its secrecy.

use std::collections::HashSet;

use super::forms;
pub(super) use super::inside::is_flag_for_secret;
use super::inside::{self, Embedded, push, secret_words};
use super::name::{Name, is_secret_name};
use super::place::{
    PLAIN_DATA, holds_references, is_among_secrets, is_digest, is_gossip_key, is_in_a_map_of_secrets, is_key_of_entry,
    is_labelled, is_method, is_other_thing,
};
use super::shape::{is_key_or_token, looks_random};
use crate::yaml::{Node, NodeKind, Path, Segment, Tree, Value};

/// Longer texts are files; nobody embeds a document of that size in one value.
const LONGEST_DOCUMENT: usize = 64 * 1024;

/// Why a value counts as secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Its key says so.
    Name,
    /// Its text is a private key or a token, or holds one: an address with a password, a document with a secret key.
    Shape,
    /// Its text looks random.
    Entropy,
}

/// Whether the value at `path` is secret. `hint` is the name that its map gives it (`- name: PGPASSWORD` beside
/// `value: ...`).
pub fn why_secret(path: &Path, hint: Option<&str>, value: &Value) -> Option<Why> {
    let text = match value {
        Value::Null | Value::Bool(_) => return None,
        Value::String(text) if text.is_empty() => return None,
        Value::String(text) => Some(text.as_str()),
        Value::Int(_) | Value::Uint(_) | Value::Float(_) => None,
    };
    let key = path.keys().next_back().unwrap_or("");
    let is_plain = |text: &str| is_method(key, text) || is_key_of_entry(key, text);
    if is_named(path, hint) && !is_other_thing(path, value) && !text.is_some_and(is_plain) {
        return Some(Why::Name);
    }
    let text = text?;
    if is_in_a_map_of_secrets(path) || is_among_secrets(path, text) || is_gossip_key(path, text) {
        return Some(Why::Name);
    }
    if has_secret_shape(text) {
        return Some(Why::Shape);
    }
    (looks_random(text) && !is_digest(called(key, hint), text)).then_some(Why::Entropy)
}

/// Whether what stands at `path` is secret by its name, whatever it is; `hint` as for [`why_secret`].
pub(super) fn is_named(path: &Path, hint: Option<&str>) -> bool {
    let item = path.0.iter().rev().find_map(|segment| match segment {
        Segment::Item { id, .. } => Some(id.as_str()),
        _ => None,
    });
    let last = path.keys().next_back().unwrap_or("");
    // `PASS: {value: ...}` as well as `{name: PASS, value: ...}`.
    let above = path.keys().rev().nth(1);
    let beside = if is_value(last) { [hint, item, above] } else { [None; 3] };
    // `{name: opschain-ca, key: tls.crt}` points into a Secret, and holds none.
    let reference = matches!(last, "key" | "secretKey") && (hint.is_some() || above.is_some_and(holds_references));
    let name = Name::of(last);
    let named =
        !reference && (name.is_secret() || beside.into_iter().flatten().any(is_secret_name)) && !is_labelled(path);
    // Below `stringData:` everything is secret but what plainly is not.
    let under = path.keys().rev().skip(1).take(2).any(|key| matches!(key, "stringData" | "secrets" | "credentials"));
    named || (under && !name.names_only() && !PLAIN_DATA.contains(&last))
}

/// Whether a map or list stands where only a text can be meant: under a variable that holds a secret. YAML has made it of
/// a secret without quotes, and all of it is one.
pub fn is_whole_secret(path: &Path, hint: Option<&str>, node: &Node) -> bool {
    let is_filled = match &node.kind {
        NodeKind::Map(entries) => !entries.is_empty(),
        NodeKind::List(items) => !items.is_empty(),
        NodeKind::Scalar(_) => false,
    };
    is_filled && matches!(path.0.last(), Some(Segment::Key(key)) if is_variable(key)) && is_named(path, hint)
}

/// `PGPASSWORD`, and not `API_KEYS`, which may well be several.
fn is_variable(name: &str) -> bool {
    name.len() > 2 && !name.contains(|c: char| c.is_lowercase()) && !name.ends_with('S')
}

/// How charts call the value beside a name.
fn is_value(key: &str) -> bool {
    ["value", "val"].iter().any(|name| key.eq_ignore_ascii_case(name))
}

/// What a value under `key` is called: `value` by the name beside it.
pub fn called<'n>(key: &'n str, hint: Option<&'n str>) -> &'n str {
    hint.filter(|_| is_value(key)).unwrap_or(key)
}

/// Whether a leaf is secret: what shows values asks this first.
pub fn is_secret(path: &Path, hint: Option<&str>, value: &Value) -> bool {
    why_secret(path, hint, value).is_some()
}

/// Every secret scalar of the tree with its path. A node that several aliases name comes once a path.
pub fn secrets(tree: &Tree) -> Vec<(Path, &Node, Why)> {
    let mut found = Vec::new();
    walk(tree.root(), &mut Path::root(), Around::default(), &mut found);
    found
}

/// The same, and what stands in the file and Helm drops: a key that stands again, say. Nobody uses it, and everybody can
/// read it there.
pub fn written_secrets(tree: &Tree) -> Vec<(Path, &Node, Why)> {
    let mut found = secrets(tree);
    if tree.overridden().is_empty() {
        return found;
    }
    let mut dropped_ones = Vec::new();
    for dropped in tree.overridden() {
        let hint = hint_above(tree, &dropped.path);
        let mut path = dropped.path.clone();
        let whole = is_whole_secret(&path, hint, &dropped.entry.value);
        walk(&dropped.entry.value, &mut path, Around { hint, whole, ..Around::default() }, &mut dropped_ones);
    }
    // What a merge takes in where it is written is in the tree, too.
    let known: HashSet<usize> = found.iter().map(|(_, node, _)| node.span.bytes.start).collect();
    found.extend(dropped_ones.into_iter().filter(|(_, node, _)| !known.contains(&node.span.bytes.start)));
    found
}

/// The name that the map at the end of a path gives to its own `value`.
pub(super) fn hint_above<'t>(tree: &'t Tree, path: &Path) -> Option<&'t str> {
    path.0.split_last().and_then(|(_, above)| node_at(tree.root(), above)).and_then(name_hint)
}

fn node_at<'t>(root: &'t Node, steps: &[Segment]) -> Option<&'t Node> {
    steps.iter().try_fold(root, |node, step| match (step, &node.kind) {
        (Segment::Key(key), _) => node.child(key),
        (Segment::Index(place), NodeKind::List(items)) => items.get(*place).map(|item| &**item),
        _ => None,
    })
}

/// What stands around a node, as far as it tells whether the node is secret.
#[derive(Clone, Copy, Default)]
struct Around<'a> {
    /// The name that the map gives to its own `value`.
    hint: Option<&'a str>,
    /// The list's item before: `--password` before the password.
    before: Option<&'a str>,
    /// The command whose arguments stand beside it.
    command: Option<&'a Node>,
    /// Whether a program is given it as a secret: `-pSECRET`.
    given: bool,
    /// Whether this is a Kubernetes Secret, or its data.
    object: Option<Object>,
    /// Whether all of it is one secret.
    whole: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Object {
    Secret,
    Data,
}

fn walk<'a>(node: &'a Node, path: &mut Path, around: Around<'a>, found: &mut Vec<(Path, &'a Node, Why)>) {
    match &node.kind {
        NodeKind::Scalar(scalar) => {
            let flag = around.before.is_some_and(is_flag_for_secret);
            let whole = around.whole && !matches!(&scalar.value, Value::Null);
            let why = (whole || around.given)
                .then_some(Why::Name)
                .or_else(|| why_secret(path, around.hint, &scalar.value))
                .or_else(|| (flag && is_word(&scalar.value)).then_some(Why::Name))
                .or_else(|| (around.object == Some(Object::Data) && is_data(path, &scalar.value)).then_some(Why::Name));
            found.extend(why.map(|why| (path.clone(), node, why)));
        }
        NodeKind::List(items) => {
            let mut before = None;
            let given = given_words(around.command, items);
            for (index, item) in items.iter().enumerate() {
                path.0.push(Segment::Index(index));
                let given = given.contains(&index);
                walk(item, path, Around { before, object: None, command: None, given, ..around }, found);
                path.0.pop();
                before = text_of(item);
            }
        }
        NodeKind::Map(entries) => {
            let is_secret = node.child("kind").and_then(text_of) == Some("Secret");
            let hint = name_hint(node);
            for entry in entries {
                let command = (entry.key == "args").then(|| node.child("command")).flatten();
                let object = match (is_secret, around.object, entry.key.as_str()) {
                    (true, ..) if matches!(entry.key.as_str(), "data" | "stringData") => Some(Object::Secret),
                    (_, Some(Object::Secret), _) => Some(Object::Data),
                    _ => None,
                };
                let object = match object {
                    Some(Object::Secret) if entry.value.scalar().is_some() => None,
                    other => other,
                };
                path.0.push(Segment::Key(entry.key.clone()));
                let whole = around.whole || is_whole_secret(path, hint, &entry.value);
                let around = Around { hint, before: None, command, given: false, object, whole };
                walk(&entry.value, path, around, found);
                path.0.pop();
            }
        }
    }
}

/// Which items of a list are, as the words of a command, secrets.
fn given_words(command: Option<&Node>, items: &[std::sync::Arc<Node>]) -> Vec<usize> {
    let words = |items: &'_ [std::sync::Arc<Node>]| -> Vec<String> {
        items.iter().map(|item| item.scalar().map_or_else(String::new, |scalar| scalar.value.text())).collect()
    };
    if items.len() < 2 && command.is_none() {
        return Vec::new();
    }
    let before = match command.map(|node| &node.kind) {
        Some(NodeKind::List(items)) => words(items),
        Some(NodeKind::Scalar(scalar)) => vec![scalar.value.text()],
        _ => Vec::new(),
    };
    let own = words(items);
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    let before: Vec<&str> = before.iter().map(String::as_str).collect();
    // A word of many is a script, and looked through as one.
    secret_words(&before, &own).into_iter().map(|(at, _)| at).filter(|at| !own[*at].contains(' ')).collect()
}

fn text_of(node: &Node) -> Option<&str> {
    match &node.scalar()?.value {
        Value::String(text) => Some(text),
        _ => None,
    }
}

/// Something, and not the next flag.
fn is_word(value: &Value) -> bool {
    match value {
        Value::String(text) => !text.is_empty() && !text.starts_with('-'),
        Value::Int(_) | Value::Uint(_) | Value::Float(_) => true,
        Value::Null | Value::Bool(_) => false,
    }
}

/// Whether the data of a Secret under this key is to be hidden: all of it but what is known to be plain.
fn is_data(path: &Path, value: &Value) -> bool {
    let key = path.keys().next_back().unwrap_or("");
    let Value::String(text) = value else { return false };
    let inside = forms::unpacked(text);
    let plain = inside.as_deref().and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or(text).trim();
    // A name, a flag or a number tells nothing that is not in every other object.
    let a_name = plain.len() < 64
        && !looks_random(plain)
        && plain.chars().all(|c| c.is_ascii_lowercase() || matches!(c, '-' | '.' | ':' | '/'));
    let certificate = plain.contains("BEGIN CERTIFICATE") && !plain.contains("PRIVATE KEY");
    !plain.is_empty() && !PLAIN_DATA.contains(&key) && !a_name && !certificate
}

/// The name that a map gives to its own `value`.
///
/// Beside an `operator`, an `effect` or a `topologyKey`, a `key` is the name of a label; beside a `path` or a
/// `property`, that of an entry.
pub fn name_hint(node: &Node) -> Option<&str> {
    let named = ["name", "secretName", "Name", "NAME"].iter().find_map(|key| node.child(key));
    let has = |keys: &[&str]| keys.iter().any(|key| node.child(key).is_some());
    let beside =
        || has(&["value", "val", "Value", "VALUE", "operator", "effect", "topologyKey", "path", "property", "mode"]);
    let other = || ["key", "variable", "option", "Key"].iter().find_map(|key| node.child(key)).filter(|_| beside());
    // An ExternalSecret's: the key that it makes.
    let made = || node.child("secretKey").filter(|_| has(&["remoteRef", "sourceRef"]));
    text_of(named.or_else(made).or_else(other)?)
}

/// Whether a text is or holds a secret, whatever it is called.
fn has_secret_shape(text: &str) -> bool {
    if is_key_or_token(text) || !inner_secrets(text).is_empty() {
        return true;
    }
    // A private key or a registry's login is often packed once more.
    forms::unpacked(text).is_some_and(|inside| {
        let inside = String::from_utf8_lossy(&inside).into_owned();
        is_key_or_token(&inside) || (inside.trim_start().starts_with('{') && !inner_secrets(&inside).is_empty())
    })
}

/// The secrets that a text holds beside other things. Empty for a text that is one secret as a whole, and for one that
/// is none.
pub(super) fn inner_secrets(text: &str) -> Vec<Embedded> {
    let mut found = inside::of_text(text);
    if !of_document(text, &mut found) {
        of_json_in_lines(text, &mut found);
    }
    let mut seen = HashSet::new();
    let is_first: Vec<bool> = found.iter().map(|(_, secret)| seen.insert(secret.as_slice())).collect();
    let mut is_first = is_first.into_iter();
    found.retain(|_| is_first.next().unwrap_or(true));
    found
}

/// JSON within the lines of a text that is no document as a whole: `x='{"name":"DB_PASSWORD","value":"..."}'`.
fn of_json_in_lines(text: &str, found: &mut Vec<Embedded>) {
    for line in text.lines().filter(|line| line.contains("\":")) {
        let (Some(begin), Some(end)) = (line.find(['{', '[']), line.rfind(['}', ']'])) else { continue };
        let is_json = |json: &&str| serde_json::from_str::<serde::de::IgnoredAny>(json).is_ok();
        if let Some(json) = line.get(begin..=end).filter(is_json) {
            of_document(json, found);
        }
    }
}

/// JSON or YAML as a text: its own secrets, and whether it is such a document.
fn of_document(text: &str, found: &mut Vec<Embedded>) -> bool {
    let trimmed = text.trim();
    let json = trimmed.starts_with(['{', '[']);
    if trimmed.len() > LONGEST_DOCUMENT || !(json || (trimmed.contains('\n') && trimmed.contains(": "))) {
        return false;
    }
    // Only a map is a document of its own here; a list is put into one.
    let tree = match trimmed.starts_with('[') || trimmed.starts_with("- ") {
        true => Tree::parse(format!("list:\n  {}\n", trimmed.replace('\n', "\n  ")).as_bytes()),
        false => Tree::parse(trimmed.as_bytes()),
    };
    let Ok(tree) = tree else { return false };
    for (path, node, _) in secrets(&tree) {
        if let Some(scalar) = node.scalar() {
            push(found, path.keys().next_back(), &scalar.value.text());
        }
    }
    tree.root().scalar().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_and_entropy_find_secrets_under_harmless_names() {
        let path = Path::of(&["a", "b"]);
        let why = |text: &str| why_secret(&path, None, &Value::String(text.into()));
        assert_eq!(why("postgres://me:hunter22@db/x"), Some(Why::Shape));
        assert_eq!(why("-----BEGIN PRIVATE KEY-----\nMIIB\n"), Some(Why::Shape));
        assert_eq!(why("9f86d081884c7d659a2feaa0c55ad015"), Some(Why::Entropy));
        assert_eq!(why("q3J0eXVpb3Bhc2RmZ2hqa2w0NTY3ODkwMTI="), Some(Why::Entropy));
        for harmless in [
            "oci://docker.io/limepoint/opschain",
            "opschain-db-credentials",
            "https://opschain.example.com:3443/gui",
            "limepoint/opschain-pgbouncer:1.24.1",
            "123e4567-e89b-42d3-a456-426614174000",
            "/var/lib/postgresql/data/pgdata",
            "dc=opschain,dc=io",
            "aaaaaaaaaaaaaaaaaaaaaaaa1234",
            "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p",
            "unsupervised",
        ] {
            assert_eq!(why(harmless), None, "{harmless}");
        }
    }

    #[test]
    fn a_map_of_secrets_holds_secrets_whoever_they_are_of() {
        let secret = |keys: &[&str], text: &str| is_secret(&Path::of(keys), None, &Value::String(text.into()));
        for keys in [
            &["passwords", "alice"][..],
            &["db", "userPasswords", "alice"],
            &["tokens", "github"],
            &["apiKeys", "a", "b"],
            &["api_keys", "a"],
            &["DB_PASSWORDS", "a"],
            &["registryCreds", "a"],
            &["unsealKeys", "a"],
            &["secretEnv", "FOO"],
            &["env", "DB_PASS", "value"],
            &["password", "value"],
        ] {
            assert!(secret(keys, "zebraone"), "{keys:?}");
        }
        for keys in [
            &["passwords", "secretName"][..],
            &["auth", "secretKeys", "adminPasswordKey"],
            &["credentials", "existingSecret"],
            &["tokens", "ttl"],
            &["keys", "a"],
            &["maxTokens", "a"],
            &["tokens", "a", "b", "c"],
        ] {
            assert!(!secret(keys, "zebraone"), "{keys:?}");
        }
    }

    #[test]
    fn an_env_list_is_judged_by_the_name_beside_the_value() {
        let tree = Tree::parse(b"env:\n- name: PGPASSWORD\n  value: abc\n- name: TZ\n  value: UTC\nkeys: [one, two]\npassword: 12\nref: {name: ca, key: tls.crt}\n").unwrap();
        let paths: Vec<String> = secrets(&tree).iter().map(|(path, ..)| path.to_string()).collect();
        assert_eq!(paths, ["env[0].value", "password"]);
    }

    #[test]
    fn a_name_is_known_beside_its_value_however_both_are_called() {
        for pair in ["key: X_PASSWORD, val: abcd", "Name: X_PASSWORD, Value: abcd", "variable: X_PASSWORD, value: abcd"]
        {
            let tree = Tree::parse(format!("a: [{{{pair}}}]\n").as_bytes()).unwrap();
            let found: Vec<String> =
                secrets(&tree).iter().map(|(_, node, _)| tree.raw(node).trim().to_owned()).collect();
            assert_eq!(found, ["abcd"], "{pair}");
        }
        let tree = Tree::parse(b"PGPASSWORD: {a: {b: abcd}, c: 5}\nNO_KEYS: {a: b}\n").unwrap();
        let paths: Vec<String> = secrets(&tree).iter().map(|(path, ..)| path.to_string()).collect();
        assert_eq!(paths, ["PGPASSWORD.a.b", "PGPASSWORD.c"]);
    }

    fn of(text: &str) -> Vec<String> {
        inner_secrets(text).iter().map(|(_, secret)| String::from_utf8_lossy(secret).into_owned()).collect()
    }

    #[test]
    fn secrets_are_found_in_addresses_assignments_headers_and_documents() {
        assert_eq!(of("postgres://u:p%40ss@h/d,amqp://v:other@i"), ["p%40ss", "p@ss", "other"]);
        assert_eq!(of("host=db user=u password='two words' sslmode=require"), ["two words"]);
        assert_eq!(of("Server=x;Password=abc;Database=y"), ["abc"]);
        assert_eq!(of("https://h/p?a=1&access_token=zzz&b=2"), ["zzz"]);
        assert_eq!(of("--api-key=k1 --verbose"), ["k1"]);
        assert_eq!(of("export API_TOKEN=\"t0k en\""), ["t0k en"]);
        assert_eq!(of("Authorization: Bearer abc123XYZ9"), ["abc123XYZ9"]);
        assert_eq!(of("Basic dTpodW50ZXIyMg=="), ["dTpodW50ZXIyMg==", "hunter22"]);
        assert_eq!(of("{\"auths\":{\"r\":{\"username\":\"u\",\"password\":\"pw1\"}}}"), ["pw1"]);
        assert_eq!(of("[{\"token\": \"t1\"}]"), ["t1"]);
        assert_eq!(of("user: u\nnested:\n  dbPassword: pw2\n"), ["pw2"]);
        assert_eq!(of("- name: a\n  password: pw4\n"), ["pw4"]);
        assert_eq!(of("[OUTPUT]\n  Name http\n  HTTP_Passwd pw3\n"), ["pw3"]);
        assert_eq!(of("machine h login l password pw5"), ["pw5"]);
    }

    #[test]
    fn what_only_points_at_a_secret_is_none() {
        for harmless in [
            "password=$(PGPASSWORD) token=${TOKEN}",
            "https://opschain.example.com:3443/gui?tab=1",
            "secretName=x keyFile=/etc/key",
            "basic usage of bearer tokens",
            "one: 1\ntwo: 2\n",
            "aGVsbG8ga2V5cw==",
            "dc=opschain,dc=io",
        ] {
            assert_eq!(of(harmless), Vec::<String>::new(), "{harmless}");
        }
    }
}
