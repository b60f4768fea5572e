//! Which values are secret: by name, by shape, by entropy.
//!
//! Wrong in doubt means masked: a mask too many costs a glance, one too few costs every backup its secrecy.

use std::collections::HashSet;

use super::path::{Path, Segment};
use super::resolve::Value;
use super::tree::{Kind, Node, Tree};

/// Why a value counts as secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Its key says so.
    Name,
    /// Its text is a private key, a token, or an address with a password in it.
    Shape,
    /// Its text looks random.
    Entropy,
}

/// Keys that hold secrets in OpsChain's values, where no general rule below finds them.
const KNOWN: &[&str] = &["OPSCHAIN_DOCKER_USER", "mintPressLicence"];

/// Words that make a key secret when they are one of its words: `OPSCHAIN_PRIMARY_KEY`, `unsealKey`, `dbPassword`.
const WORDS: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "pgpassword",
    "secret",
    "token",
    "key",
    "apikey",
    "salt",
    "seed",
    "credential",
    "credentials",
    "auth",
    "dockerconfigjson",
    "private",
    "htpasswd",
    "pin",
];

/// Last words after which a key only names a secret, or says something about one.
const HARMLESS_ENDS: &[&str] = &[
    "name",
    "names",
    "ref",
    "enabled",
    "size",
    "path",
    "file",
    "method",
    "strategy",
    "type",
    "mode",
    "host",
    "port",
    "class",
    "length",
    "algorithm",
    "annotation",
    "interval",
    "timeout",
    "url",
    "address",
    "mount",
    "count",
    "days",
    "user",
];

/// Whether the value at `path` is secret. `hint` is the name that its map gives it (`- name: PGPASSWORD` beside
/// `value: ...`).
pub fn why_secret(path: &Path, hint: Option<&str>, value: &Value) -> Option<Why> {
    let text = match value {
        Value::Null | Value::Bool(_) => return None,
        Value::String(text) if text.is_empty() => return None,
        Value::String(text) => Some(text.as_str()),
        Value::Int(_) | Value::Uint(_) | Value::Float(_) => None,
    };
    let item = path.0.iter().rev().find_map(|segment| match segment {
        Segment::Item { id, .. } => Some(id.as_str()),
        _ => None,
    });
    let last = path.keys().next_back().unwrap_or("");
    let names = match last {
        "value" => [Some(last), hint, item],
        _ => [Some(last), None, None],
    };
    // `{name: opschain-ca, key: tls.crt}` points into a Secret, and holds none.
    let reference = hint.is_some() && matches!(last, "key" | "secretKey");
    let named = !reference && names.into_iter().flatten().any(is_secret_name);
    // `certificateSecretName`-like values and `secretName: x` below `password:` are names of objects, not secrets.
    let under = path.keys().rev().skip(1).take(2).any(|key| matches!(key, "stringData" | "secrets" | "credentials"));
    if named || (under && !ends_harmless(last)) {
        return Some(Why::Name);
    }
    let text = text?;
    if has_secret_shape(text) {
        return Some(Why::Shape);
    }
    looks_random(text).then_some(Why::Entropy)
}

/// Every secret scalar of the tree with its path. A node that several aliases name comes once a path.
pub fn secrets(tree: &Tree) -> Vec<(Path, &Node, Why)> {
    let mut found = Vec::new();
    walk(tree.root(), &mut Vec::new(), None, &mut found);
    found
}

fn walk<'a>(node: &'a Node, steps: &mut Vec<Segment>, hint: Option<&str>, found: &mut Vec<(Path, &'a Node, Why)>) {
    match &node.kind {
        Kind::Scalar(scalar) => {
            let path = Path(steps.clone());
            if let Some(why) = why_secret(&path, hint, &scalar.value) {
                found.push((path, node, why));
            }
        }
        Kind::List(items) => {
            for (index, item) in items.iter().enumerate() {
                steps.push(Segment::Index(index));
                walk(item, steps, hint, found);
                steps.pop();
            }
        }
        Kind::Map(entries) => {
            let hint = name_hint(node);
            for entry in entries {
                steps.push(Segment::Key(entry.key.clone()));
                walk(&entry.value, steps, hint, found);
                steps.pop();
            }
        }
    }
}

/// The name that a map gives to its own `value`.
pub(super) fn name_hint(node: &Node) -> Option<&str> {
    match &node.child("name").or_else(|| node.child("secretName"))?.scalar()?.value {
        Value::String(name) => Some(name),
        _ => None,
    }
}

/// Whether a key by this name holds a secret.
pub fn is_secret_name(key: &str) -> bool {
    if KNOWN.contains(&key) {
        return true;
    }
    let words = words(key);
    // A slash is the mark of an annotation or a label.
    !key.contains('/')
        && !ends_harmless(key)
        && words.iter().any(|word| WORDS.contains(&word.as_str()) || word.ends_with("password"))
}

fn ends_harmless(key: &str) -> bool {
    words(key).last().is_some_and(|last| HARMLESS_ENDS.contains(&last.as_str()))
}

/// `mintPressSSHKey` and `OPSCHAIN_PRIMARY_KEY` as lower-case words.
fn words(key: &str) -> Vec<String> {
    let chars: Vec<char> = key.chars().collect();
    let mut words = vec![String::new()];
    for (place, c) in chars.iter().enumerate() {
        let before = place.checked_sub(1).map_or(' ', |before| chars[before]);
        let small_after = chars.get(place + 1).is_some_and(|after| after.is_lowercase());
        if !c.is_alphanumeric() {
            words.push(String::new());
            continue;
        }
        if c.is_uppercase() && (!before.is_uppercase() || small_after) {
            words.push(String::new());
        }
        if let Some(last) = words.last_mut() {
            last.extend(c.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

fn has_secret_shape(text: &str) -> bool {
    text.contains("PRIVATE KEY-----")
        || text.contains("AGE-SECRET-KEY-1")
        || text.contains("\"auths\"")
        || password_in_address(text).is_some()
        || is_web_token(text)
}

/// The password of `scheme://user:password@host`, if there is one.
pub(super) fn password_in_address(text: &str) -> Option<&str> {
    let rest = &text[text.find("://")? + 3..];
    let authority = &rest[..rest.find(['/', '?', '#', ' ', '\n']).unwrap_or(rest.len())];
    let (user, _) = authority.rsplit_once('@')?;
    let (_, password) = user.split_once(':')?;
    (!password.is_empty()).then_some(password)
}

fn is_web_token(text: &str) -> bool {
    let parts: Vec<&str> = text.split('.').collect();
    parts.len() == 3 && parts[0].starts_with("eyJ") && parts.iter().all(|part| part.len() >= 10)
}

/// A single word of 20 characters or more, of letters and digits mixed as only chance (or base64) mixes them.
fn looks_random(text: &str) -> bool {
    let text = text.trim();
    if text.len() < 20 || text.len() > 4096 || text.contains("-----") {
        return false;
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=' | '_' | '-' | '\n');
    if !text.chars().all(allowed) {
        return false;
    }
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let letters = text.bytes().filter(u8::is_ascii_alphabetic).count();
    let kinds = text.bytes().filter(|b| b.is_ascii_hexdigit() || *b == b'-').count();
    if kinds == text.len() && text.bytes().filter(|b| *b == b'-').count() == 4 && text.len() == 36 {
        // A UUID is an identity, not a secret.
        return false;
    }
    if text.matches(['-', '/', '_']).count() * 6 > text.len() {
        // Paths and names made of words.
        return false;
    }
    digits >= 2 && letters >= 2 && entropy(text) > 3.2 && text.bytes().collect::<HashSet<u8>>().len() >= 10
}

/// Shannon's entropy in bits a character.
fn entropy(text: &str) -> f64 {
    let mut counts = [0u32; 256];
    for byte in text.bytes() {
        counts[usize::from(byte)] += 1;
    }
    let length = text.len() as f64;
    counts.iter().filter(|count| **count > 0).fold(0.0, |sum, count| {
        let share = f64::from(*count) / length;
        sum - share * share.log2()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_secret_key_of_opschain_is_found_by_name() {
        for key in [
            "OPSCHAIN_DETERMINISTIC_KEY",
            "OPSCHAIN_ENCRYPTION_SEED_KEY",
            "OPSCHAIN_KEY_DERIVATION_SALT",
            "OPSCHAIN_PRIMARY_KEY",
            "OPSCHAIN_TOKEN_SECRET_KEY",
            "PGPASSWORD",
            "OPSCHAIN_DOCKER_PASSWORD",
            "OPSCHAIN_DOCKER_USER",
            "OPSCHAIN_LDAP_PASSWORD",
            "unsealKey",
            "mintPressLicence",
            "mintPressTransportableKey",
            "mintPressChefClientKey",
            "vaultToken",
            "vaultPassword",
            "password",
            "promotionToken",
            "OPSCHAIN_VAULT_TOKEN",
        ] {
            assert!(is_secret_name(key), "{key}");
        }
    }

    #[test]
    fn names_of_objects_and_plain_settings_are_not_secret() {
        for key in [
            "secretName",
            "certificateSecretName",
            "externalCertificateSecretName",
            "replicas",
            "hostName",
            "OPSCHAIN_LDAP_BASE_DN",
            "OPSCHAIN_VERSION",
            "keepalives",
            "tokenizer",
            "monkey",
            "vaultAuthMethod",
            "OPSCHAIN_AUTH_STRATEGY",
            "vaultAddress",
            "imagePullSecrets",
            "secretVaultExternalPort",
            "secret.reloader.opschain.io/reload",
        ] {
            assert!(!is_secret_name(key), "{key}");
        }
    }

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
            "unsupervised",
        ] {
            assert_eq!(why(harmless), None, "{harmless}");
        }
    }

    #[test]
    fn an_env_list_is_judged_by_the_name_beside_the_value() {
        let tree = Tree::parse(b"env:\n- name: PGPASSWORD\n  value: abc\n- name: TZ\n  value: UTC\nkeys: [one, two]\npassword: 12\nref: {name: ca, key: tls.crt}\n").unwrap();
        let paths: Vec<String> = secrets(&tree).iter().map(|(path, ..)| path.to_string()).collect();
        assert_eq!(paths, ["env[0].value", "password"]);
    }
}
