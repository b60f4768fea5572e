//! What the place of a value says of it, beside its name.

use super::name::Name;
use crate::yaml::{Path, Value};

/// Keys of a Kubernetes Secret that hold no secret, as CloudNativePG and cert-manager fill them.
pub(super) const PLAIN_DATA: &[&str] =
    &["username", "user", "dbname", "database", "host", "hostname", "port", "ca.crt", "tls.crt", "known_hosts"];

/// Ends of keys that hold several secrets.
const SECRETS_BY_OWNER: &[&str] = &[
    "passwords",
    "passwds",
    "passphrases",
    "passcodes",
    "tokens",
    "apikeys",
    "accesskeys",
    "secretkeys",
    "privatekeys",
    "signingkeys",
    "encryptionkeys",
    "unsealkeys",
    "secretenv",
    "secretenvs",
    "secretvars",
    "secretdata",
    "secretvalues",
    "credentials",
    "creds",
];

/// Whether a value is another thing than the secret that its name speaks of elsewhere: a port (`containerPorts: {webhook:
/// 7000}`), a number where an address would be the secret (`webhook: 9443`), a switch (`serviceAccount: {token: false}`).
pub(super) fn is_other_thing(path: &Path, value: &Value) -> bool {
    let mut back = path.keys().rev();
    let (last, above) = (back.next().unwrap_or(""), back.next().unwrap_or(""));
    let is_below = |ends: &[&str]| Name::of(above).last_word().is_some_and(|word| ends.contains(&word));
    let is_port = || {
        let text = value.text();
        (2..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()) && is_below(&["port", "ports"])
    };
    let is_hook = || Name::of(last).last_word().is_some_and(|word| word.ends_with("hook") || word.ends_with("hooks"));
    match value {
        Value::Bool(_) => last == "token" && is_below(&["account", "accounts"]),
        Value::Int(_) | Value::Uint(_) | Value::Float(_) => is_hook() || is_port(),
        Value::String(_) => is_port(),
        Value::Null => false,
    }
}

/// Whether a text says how somebody is let in, and not with what: `auth: scram-sha-256`.
pub(super) fn is_method(key: &str, text: &str) -> bool {
    const METHODS: &[&str] = &[
        "none",
        "basic",
        "bearer",
        "digest",
        "trust",
        "peer",
        "ident",
        "md5",
        "scram-sha-256",
        "scram-sha-512",
        "sasl",
        "plain",
        "ldap",
        "login",
        "oidc",
        "oauth",
        "oauth2",
        "saml",
        "kerberos",
        "gssapi",
        "ntlm",
        "tls",
        "mtls",
        "cert",
        "x509",
        "jwt",
        "token",
        "password",
        "anonymous",
        "internal",
        "native",
        "local",
        "github",
        "google",
        "azure",
        "kubernetes",
        "approle",
        "iam",
        "aws",
        "disabled",
        "enabled",
        "required",
        "optional",
        "on",
        "off",
        "any",
        "hba",
        "pam",
        "radius",
    ];
    if text.starts_with("arn:") {
        return true;
    }
    let said = text.to_ascii_lowercase();
    match Name::of(key).last_word() {
        Some("hmac") => HASHES.contains(&said.as_str()),
        Some("license" | "licence") => LICENCES.iter().any(|licence| said == *licence || is_version_of(&said, licence)),
        _ => {
            let last = key.to_ascii_lowercase();
            matches!(last.as_str(), "auth" | "authorization" | "jwt") && METHODS.contains(&said.as_str())
        }
    }
}

/// Hashes by which a MAC is made.
const HASHES: &[&str] = &[
    "md5",
    "sha1",
    "sha-1",
    "sha224",
    "sha256",
    "sha-256",
    "sha384",
    "sha-384",
    "sha512",
    "sha-512",
    "hs256",
    "hs384",
    "hs512",
    "blake2b",
    "hmac-sha1",
    "hmac-sha256",
    "hmac-sha512",
    "hmacsha256",
    "hmacsha512",
];

/// Licences that everybody may read, and what an edition is called.
const LICENCES: &[&str] = &[
    "apache",
    "mit",
    "bsd",
    "gpl",
    "lgpl",
    "agpl",
    "mpl",
    "isc",
    "unlicense",
    "bsl",
    "busl",
    "sspl",
    "epl",
    "cc0",
    "cc-by",
    "proprietary",
    "commercial",
    "community",
    "enterprise",
    "oss",
    "trial",
    "basic",
    "standard",
    "free",
];

/// `apache-2.0`, `gplv3`, `bsd-3-clause`.
fn is_version_of(text: &str, licence: &str) -> bool {
    let rest = text.strip_prefix(licence).unwrap_or("");
    rest.starts_with(['-', 'v']) && rest.len() < 24 && !rest.contains(|c: char| c.is_whitespace())
}

/// Whether a text under a key such as `tokenKey` is the key of an entry, and no secret: words with signs between.
pub(super) fn is_key_of_entry(key: &str, text: &str) -> bool {
    const ALONE: &[&str] = &[
        "key", "token", "secret", "password", "value", "data", "username", "license", "licence", "hash", "file",
        "host", "hostname",
    ];
    let name = Name::of(key);
    let Some(of) = name.may_name_a_key().filter(|_| text.len() < 64) else { return false };
    let is_part = |part: &str| {
        let letters = part.trim_end_matches(|c: char| c.is_ascii_digit());
        let digits = part.len() - letters.len();
        digits <= 3 && !part.is_empty() && letters.chars().all(|c| c.is_ascii_lowercase())
    };
    let mut parts = text.split(['-', '_', '.', '/']);
    let is_word = || text.len() <= 12 && text.bytes().all(|byte| byte.is_ascii_lowercase());
    ALONE.contains(&text)
        || (!matches!(of, "token" | "secret" | "license" | "licence" | "host") && is_word())
        || (text.contains(['-', '_', '.', '/']) && parts.all(is_part))
}

/// Whether digits of chance are what their name says: the commit of an image, the sum of a file. The name may stand before
/// them, and words too: `--revision=0a1b...`, `tag: main-0a1b...`.
pub(super) fn is_digest(name: &str, text: &str) -> bool {
    const NAMES: &[&str] = &[
        "commit",
        "revision",
        "rev",
        "tag",
        "digest",
        "checksum",
        "sha",
        "sha1",
        "sha256",
        "sha384",
        "sha512",
        "md5",
        "hash",
        "sum",
        "version",
        "ref",
        "sha1sum",
        "sha256sum",
        "sha512sum",
        "md5sum",
    ];
    let (name, text) = text.rsplit_once('=').unwrap_or((name, text));
    let digits = text.rsplit(['-', '_', '.', ':', '+']).next().unwrap_or(text);
    let is_hex = |is_letter: fn(&u8) -> bool| digits.bytes().all(|byte| byte.is_ascii_digit() || is_letter(&byte));
    matches!(digits.len(), 32 | 40 | 64 | 96 | 128)
        && (is_hex(|byte| matches!(byte, b'a'..=b'f')) || is_hex(|byte| matches!(byte, b'A'..=b'F')))
        && text.len() - digits.len() < 20
        && Name::of(name).is_called(NAMES, &["commit", "checksum"])
}

/// Whether a text below `secrets` is a secret, and not the name of an object that holds one.
pub(super) fn is_among_secrets(path: &Path, text: &str) -> bool {
    let is_name = || {
        let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.' | '/');
        text.chars().all(is_word)
            && (text.contains(['-', '_', '.', '/']) || !text.contains(|c: char| c.is_ascii_digit()))
    };
    path.keys().next_back() == Some("secrets") && !text.is_empty() && !is_name()
}

/// Whether a text is the key of a gossip protocol (Consul's and Nomad's): 16, 24 or 32 bytes in base64.
pub(super) fn is_gossip_key(path: &Path, text: &str) -> bool {
    path.keys().next_back() == Some("encrypt") && is_gossip(text)
}

/// See [`is_gossip_key`].
pub(super) fn is_gossip(text: &str) -> bool {
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    matches!(text.len(), 24 | 32 | 44) && text.bytes().all(is_base64)
}

/// Maps and lists of Kubernetes whose `key` is the name of something.
pub(super) fn holds_references(key: &str) -> bool {
    const LISTS: &[&str] = &[
        "items",
        "remoteRef",
        "externalSecret",
        "externalSecrets",
        "tolerations",
        "matchExpressions",
        "extract",
        "find",
        "taints",
        "match",
        "conditions",
        "preferences",
    ];
    LISTS.contains(&key) || ["Ref", "Selector", "Reference", "Refs"].iter().any(|end| key.ends_with(end))
}

/// Whether a text stands in a map of secrets by their owners: `passwords: {alice: ...}`.
pub(super) fn is_in_a_map_of_secrets(path: &Path) -> bool {
    let last = path.keys().next_back().unwrap_or("");
    let is_map = |key: &str| {
        let small = key.to_ascii_lowercase().replace(['-', '_'], "");
        SECRETS_BY_OWNER.iter().any(|end| small.ends_with(end)) && Name::of(key).is_secret()
    };
    path.keys().rev().skip(1).take(2).any(is_map) && !Name::of(last).names_only() && !PLAIN_DATA.contains(&last)
}

/// Annotations and labels are shown by every tool: what is in them is a name, unless it looks like a secret.
pub(super) fn is_labelled(path: &Path) -> bool {
    path.keys()
        .rev()
        .nth(1)
        .is_some_and(|parent| matches!(Name::of(parent).last_word(), Some("annotations" | "labels")))
}
