//! What the place of a value says of it, beside its name.

use super::name::Name;
use crate::yaml::Path;

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

/// Whether a text says how somebody is let in, and not with what: `auth: scram-sha-256`.
pub(super) fn is_method(path: &Path, text: &str) -> bool {
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
    let last = path.keys().next_back().unwrap_or("").to_ascii_lowercase();
    matches!(last.as_str(), "auth" | "authorization" | "jwt") && METHODS.contains(&text.to_ascii_lowercase().as_str())
}

/// Maps and lists of Kubernetes whose `key` is the name of something.
pub(super) fn holds_references(key: &str) -> bool {
    const LISTS: &[&str] = &[
        "items",
        "remoteRef",
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
