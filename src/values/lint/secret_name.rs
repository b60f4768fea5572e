//! What a secret's name tells of what stands under it: whether a boolean may be a switch there, and a number a count.

use crate::redact::is_secret_name;

/// Words of a name after which a boolean is a switch and no secret: `createSecret`, `automountServiceAccountToken`.
#[rustfmt::skip]
const SWITCHES: &[&str] = &[
    "use", "uses", "using", "enable", "enabled", "disable", "disabled", "allow", "auto", "automount", "create",
    "generate", "require", "required", "mount", "skip", "verify", "has", "is", "with", "without", "no", "show", "hide",
    "insecure", "ignore", "force", "store", "persist", "expose", "optional", "random", "check", "reset", "update",
    "existing", "manage", "send", "read", "write", "keep", "inject", "sync", "copy", "log", "encrypt", "rotate", "add",
    "set", "empty", "blank", "forward", "include", "exclude", "attach", "fetch", "accept", "validate", "propagate",
    "extract", "trust", "introspect", "revoke", "reuse", "cache", "protect", "print", "mask", "redact", "return",
    "support", "supports", "want", "wants", "need", "needs", "should", "must", "prefer", "preserve", "remember", "save",
    "delete", "remove", "drop", "strip", "clean", "export", "import", "publish", "provision", "prompt", "ask",
    "confirm", "request", "load", "embed", "append", "provide", "install", "display", "record", "track", "audit",
    "decode", "encode", "register", "omit", "wait", "watch", "restore", "reload", "secure", "external",
];

/// Ends of names that are a secret's own, where `yes` is hardly a switch.
const SECRETS: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "pwd",
    "token",
    "salt",
    "seed",
    "key",
    "secret",
    "pass",
    "unsealkey",
    "passwort",
    "kennwort",
    "senha",
    "contrasena",
];

/// Words behind a secret's own name that tell which one it is, or in what form: `PASSWORD_OLD`, `tokenString`.
#[rustfmt::skip]
const PARTS: &[&str] = &[
    "old", "new", "previous", "prev", "current", "next", "primary", "secondary", "main", "default", "root", "admin",
    "prod", "production", "test", "dev", "staging", "stage", "uat", "live", "value", "val", "string", "text", "data",
    "material", "content", "contents", "hash", "digest", "base64", "b64", "hex", "raw", "plain", "plaintext", "phrase",
    "code", "number", "serial",
];

/// What stands before a last `key` under which something is looked up: `nodeKey: 1`, `routingKey: orders`.
#[rustfmt::skip]
const LOOKED_UP: &[&str] = &[
    "node", "shard", "lock", "index", "hash", "idempotency", "routing", "slot", "order", "ordering", "sequence",
    "tenant", "row", "bucket", "join", "by", "taint", "range", "message", "translation", "partition", "sort", "s3",
    "file", "object", "topology", "label", "dedup",
];

/// What stands before a last `key` that only says under which name of an object something is found: `urlKey: url`.
#[rustfmt::skip]
const NAMED_BY_KEY: &[&str] = &[
    "url", "uri", "dsn", "string", "token", "password", "key", "tls", "ssl", "ca", "cert", "id", "user", "username",
    "host", "port", "database", "config", "values", "kubeconfig", "data",
];

/// Last words of names that are about a secret: `kmsKeyId`, `secretEngine`.
const ABOUT: &[&str] = &["id", "ids", "engine", "engines", "alias"];

/// What a number under a secret's name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Measure {
    /// The secret itself.
    Secret,
    /// How many there are, which one it is, how long it lasts.
    Count,
    /// The same, of a size at which Helm prints it with an exponent.
    Vast,
}

/// What a number is that was written like this: `tokens: 100`, `secretShares: 5`, `nodeKey: 1`, `accessTokenLifespan:
/// 300`.
pub(super) fn measure(name: &str, raw: &str) -> Measure {
    let Some(digits) = whole_digits(raw).filter(|_| !is_product(name)) else { return Measure::Secret };
    let words = words(name);
    let is_part = |word: &String| PARTS.contains(&word.as_str()) || word.bytes().all(|byte| byte.is_ascii_digit());
    let own = words.iter().rposition(|word| !is_part(word)).map_or(&words[..0], |last| &words[..=last]);
    let up_to = |most: usize| if digits <= most { Measure::Count } else { Measure::Secret };
    match own {
        [] => Measure::Secret,
        _ if own.len() < words.len() && own.last().is_some_and(|last| is_secret_name(last)) => up_to(2),
        [.., before, last] if last == "key" && LOOKED_UP.contains(&before.as_str()) => up_to(3),
        _ if digits <= fewest(own) && !is_variable(name) => Measure::Count,
        [.., last] if is_secret_name(last) && !is_plural(last) && !is_seed(own) => Measure::Secret,
        [.., last] if is_plural(last) && is_secret_name(last) => up_to(4),
        _ if digits <= 6 => Measure::Count,
        _ if digits <= 10 => Measure::Vast,
        _ => Measure::Secret,
    }
}

/// Up to how many digits a number is no secret of this name: `pin: 3`, `totp: 30`, `tls: {key: 1}`, `primaryKey: 1`.
fn fewest(own: &[String]) -> usize {
    let mut back = own.iter().rev().map(String::as_str);
    match (back.next().unwrap_or(""), back.next()) {
        ("key", Some("primary" | "foreign")) => 3,
        ("key", None) | ("totp" | "otp", _) => 2,
        ("pin" | "pass", _) => 1,
        _ => 0,
    }
}

/// Whether a name is that of where chance begins: `randomSeed: 42`, and not `totpSeed`.
fn is_seed(own: &[String]) -> bool {
    own.split_last().is_some_and(|(last, before)| last == "seed" && !before.iter().any(|word| is_secret_name(word)))
}

/// How many digits a plain decimal number has before its point; nothing for one that was written otherwise.
fn whole_digits(raw: &str) -> Option<usize> {
    let number = raw.strip_prefix('-').unwrap_or(raw);
    let (whole, rest) = number.split_once('.').unwrap_or((number, "0"));
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_plain = is_digits(whole) && is_digits(rest) && rest.len() <= 6 && (whole == "0" || !whole.starts_with('0'));
    is_plain.then_some(whole.len())
}

/// Whether a boolean that was written like this is a switch. Nobody's key is `true`, and nobody's password behind several
/// words.
pub(super) fn is_switch(name: &str, raw: &str) -> bool {
    if is_product(name) {
        return false;
    }
    let words = words(name);
    let is_long = words.len() > 2 && !is_variable(name);
    let is_plain = matches!(raw.to_ascii_lowercase().as_str(), "true" | "false");
    // `passAccessToken`, and not `dbPassToken: no`.
    let passes = match words.iter().position(|word| word == "pass") {
        Some(0) => words.len() > 2,
        Some(place) => is_plain && place + 2 < words.len(),
        None => false,
    };
    words.iter().any(|word| SWITCHES.contains(&word.as_str()))
        || !is_singular(name)
        || (is_plain && (is_long || !is_own(name)))
        || passes
}

/// Whether a text under a secret's name only says where the secret is found, or something about it: `urlKey: url`,
/// `routingKey: orders`, `kmsKeyId: alias/x`, `TOKEN_LIMIT: "5"`, `PASS_ACCESS_TOKEN: "false"`.
pub(super) fn is_about(name: &str, text: &str) -> bool {
    let words = words(name);
    let is_boolean = || ["true", "false", "yes", "no", "on", "off"].contains(&text.to_ascii_lowercase().as_str());
    let is_found_by = || match words.as_slice() {
        [.., before, last] if last == "key" => {
            LOOKED_UP.contains(&before.as_str())
                || (NAMED_BY_KEY.contains(&before.as_str()) && is_entry(text))
                || (before == "secret" && words.len() > 2 && is_entry(text))
        }
        [_, .., last] => ABOUT.contains(&last.as_str()),
        _ => false,
    };
    measure(name, text) != Measure::Secret || (is_boolean() && is_switch(name, text)) || is_found_by()
}

/// Whether a text may be the name of an entry of a Secret: `tls.key`, `admin-password`.
fn is_entry(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_lowercase() || matches!(byte, b'.' | b'-' | b'_'))
}

/// Whether a name ends as those of one secret do.
pub(super) fn is_singular(name: &str) -> bool {
    words(name).last().is_some_and(|last| SECRETS.iter().any(|end| last.ends_with(end)))
}

pub(super) fn is_plural(name: &str) -> bool {
    words(name).last().is_some_and(|last| last.ends_with('s') && !last.ends_with("pass"))
}

/// Whether nothing but a text can be meant: a variable of the environment, a password, or one of the product's own keys.
pub(super) fn is_own(name: &str) -> bool {
    const ENDS: &[&str] = &["password", "passwd", "passphrase", "token"];
    let is_password = || words(name).last().is_some_and(|last| ENDS.iter().any(|end| last.ends_with(end)));
    is_variable(name) || is_product(name) || name.starts_with("vault") || is_password()
}

/// Keys that hold secrets of the product's, whatever their last word is.
fn is_product(name: &str) -> bool {
    matches!(name, "unsealKey" | "OPSCHAIN_DOCKER_USER") || name.starts_with("mintPress")
}

pub(super) fn is_variable(name: &str) -> bool {
    name.len() > 2 && !name.contains(|c: char| c.is_lowercase()) && !is_plural(name)
}

/// A name's words in lower case.
pub(super) fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = ' ';
    for c in name.chars() {
        if !c.is_alphanumeric() || (c.is_uppercase() && !before.is_uppercase()) {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| c.is_alphanumeric()) {
            word.extend(c.to_lowercase());
        }
        before = c;
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_a_count_unless_the_name_ends_in_the_secret_itself() {
        for (name, raw) in [
            ("accessTokenLifespan", "86400"),
            ("tokenLimit", "5"),
            ("tokenLimit", "-1"),
            ("tokens_per_second", "2.5"),
            ("tokenSkew", "30"),
            ("apiKeyQuota", "50000"),
            ("keyIndex", "0"),
            ("secretRevision", "2"),
            ("tokenId", "5"),
            ("passwordStrength", "3"),
            ("totpStep", "30"),
            ("API_KEY_LIMIT", "10"),
            ("keyNumber", "3"),
            ("tokens", "100"),
            ("nodeKey", "1"),
            ("secretShares", "5"),
            ("seed", "42"),
            ("randomSeed", "42"),
            ("totp", "30"),
            ("primaryKey", "1"),
            ("foreignKey", "12"),
            ("key", "5"),
            ("pin", "3"),
            ("httpPass", "1"),
        ] {
            assert_eq!(measure(name, raw), Measure::Count, "{name}: {raw}");
        }
        assert_eq!(measure("refreshTokenLifespan", "2592000"), Measure::Vast);
        assert_eq!(measure("seed", "1234567890"), Measure::Vast);
        for (name, raw) in [
            ("password", "7391"),
            ("PGPASSWORD", "5"),
            ("pin", "7391"),
            ("salt", "12"),
            ("seed", "12345678901"),
            ("totpSeed", "42"),
            ("totp", "739150"),
            ("OPSCHAIN_PRIMARY_KEY", "1"),
            ("primaryKey", "7391"),
            ("key", "739"),
            ("dbPass", "73"),
            ("PASS", "1"),
            ("PASSWORD_2", "7391"),
            ("passwordOld", "7391"),
            ("tokenString", "739150"),
            ("pinNumber", "7391"),
            ("tokens", "73915028"),
            ("nodeKey", "73915028"),
            ("nodeKey", "007"),
            ("tokenLimit", "0x1F"),
            ("tokenLimit", "1e5"),
            ("secretId", "73915028461957"),
            ("unsealKey", "12"),
            ("OPSCHAIN_DOCKER_USER", "1234"),
            ("mintPressLicence", "1234"),
            ("licence", "73"),
        ] {
            assert_eq!(measure(name, raw), Measure::Secret, "{name}: {raw}");
        }
    }

    #[test]
    fn a_boolean_is_a_switch_where_the_name_says_so() {
        for (name, raw) in [
            ("passAccessToken", "false"),
            ("passAccessToken", "no"),
            ("emptyPassword", "no"),
            ("persistToken", "yes"),
            ("auth", "no"),
            ("oidcIdToken", "true"),
            ("securePassword", "true"),
            ("externalSecret", "true"),
            ("tokenSecret", "true"),
            ("key", "true"),
            ("salt", "true"),
            ("requirepass", "true"),
            ("pass", "false"),
            ("account_key", "true"),
        ] {
            assert!(is_switch(name, raw), "{name}: {raw}");
        }
        for (name, raw) in [
            ("password", "true"),
            ("PGPASSWORD", "false"),
            ("MY_DB_PASSWORD", "true"),
            ("token", "no"),
            ("adminUserPassword", "no"),
            ("passKey", "no"),
            ("salt", "yes"),
            ("apiKey", "no"),
            ("API_KEY", "true"),
            ("mintPressLicence", "no"),
            ("OPSCHAIN_DOCKER_USER", "yes"),
        ] {
            assert!(!is_switch(name, raw), "{name}: {raw}");
        }
    }

    #[test]
    fn a_text_that_says_where_a_secret_is_found_is_none() {
        for (name, text) in [
            ("urlKey", "url"),
            ("tlsKey", "tls.key"),
            ("apiKeyKey", "key"),
            ("secretAccessKeyKey", "secret"),
            ("passwordSecretKey", "pw"),
            ("connectionStringKey", "conn"),
            ("routingKey", "orders"),
            ("groupByKey", "alertname"),
            ("s3Key", "x.tar"),
            ("kmsKeyId", "alias/x"),
            ("secretEngine", "kv-v2"),
            ("TOKEN_LIMIT", "5"),
            ("OAUTH2_PROXY_PASS_ACCESS_TOKEN", "false"),
            ("ALLOW_EMPTY_PASSWORD", "yes"),
        ] {
            assert!(is_about(name, text), "{name}: {text}");
        }
        for (name, text) in [
            ("apiKey", "key"),
            ("secretKey", "secret"),
            ("urlKey", "hunter2"),
            ("PGPASSWORD", "true"),
            ("password", "12345"),
            ("encryptionKey", "changeme"),
            ("DB_PASSWORD_PROD", "prod"),
        ] {
            assert!(!is_about(name, text), "{name}: {text}");
        }
    }
}
