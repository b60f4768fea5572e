//! What only holds a secret's place.

/// What a text is that only holds a secret's place, where it is one.
pub(super) fn placeholder(text: &str) -> Option<&'static str> {
    let text = text.trim();
    // In a file of several lines, one may stand beside what is secret there.
    let is_file = text.contains('\n');
    let is_template = text.find("{{").is_some_and(|at| text[at..].contains("}}") && (at == 0 || !is_file));
    let is_marked = MARKS.iter().any(|(open, close)| is_within(text, open, close)) || is_in_signs(text);
    if is_template {
        Some("a template")
    } else if is_variable(text) {
        Some("a variable")
    } else if is_within(text, "$(", ")") && text.contains(' ') {
        Some("a command")
    } else if is_within(text, "ENC[", "]") || is_within(text, "ENC(", ")") || is_reference(text) {
        Some("a reference")
    } else if is_mask(text) {
        Some("a mask")
    } else {
        (is_marked || is_request(text)).then_some("a placeholder")
    }
}

/// The place of a secret in another program's store: `op://vault/item/field`, `vault:path#key`, `ref+...`.
fn is_reference(text: &str) -> bool {
    let is_in_vault =
        |rest: &str| rest.split_once('#').is_some_and(|(path, key)| path.contains('/') && !key.is_empty());
    let is_in_item = |rest: &str| rest.split('/').filter(|part| !part.is_empty()).count() >= 3;
    text.starts_with("ref+")
        || text.strip_prefix("op://").is_some_and(is_in_item)
        || text.strip_prefix("vault:").is_some_and(is_in_vault)
        || STORES.iter().any(|store| text.strip_prefix(store).is_some_and(|rest| !rest.is_empty()))
        || (text.starts_with("projects/") && text.contains("/secrets/"))
}

/// How addresses of secrets in stores begin, and of files that they are mounted as.
const STORES: &[&str] = &[
    "arn:aws:secretsmanager:",
    "arn:aws:ssm:",
    "awssm://",
    "awssecrets://",
    "gcpsm://",
    "gcpsecrets://",
    "azurekeyvault://",
    "keyvault://",
    "akv://",
    "doppler://",
    "infisical://",
    "bws://",
    "sm://",
    "ssm:/",
    "secretref+",
    "file:///run/secrets/",
    "/run/secrets/",
    "/var/run/secrets/",
    "$ANSIBLE_VAULT;",
    "@Microsoft.KeyVault(",
    "{cipher}",
];

/// Signs around a name that people and tools put there to be replaced.
const MARKS: &[(&str, &str)] = &[
    ("<", ">"),
    ("__", "__"),
    ("%%", "%%"),
    ("<%", "%>"),
    ("@@", "@@"),
    ("#{", "}#"),
    ("#{", "}"),
    ("~{", "}"),
    ("[[", "]]"),
    ("((", "))"),
    ("%{", "}"),
    ("%(", ")s"),
    ("$[", "]"),
];

fn is_within(text: &str, open: &str, close: &str) -> bool {
    text.strip_prefix(open).and_then(|rest| rest.strip_suffix(close)).is_some_and(|inside| !inside.is_empty())
}

/// A name between signs that a secret may have by chance: `%PASSWORD%`, `@PASSWORD@`, `[your password]`.
fn is_in_signs(text: &str) -> bool {
    let inside = |open: char, close: char| text.strip_prefix(open).and_then(|rest| rest.strip_suffix(close));
    let is_name = |name: &str| name.len() > 3 && name.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    let is_words = |name: &str| name.len() > 3 && name.chars().all(|c| c.is_ascii_alphabetic() || " _-".contains(c));
    inside('%', '%').or(inside('@', '@')).is_some_and(is_name) || inside('[', ']').is_some_and(is_words)
}

fn is_variable(text: &str) -> bool {
    let is_name = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let is_upper = |name: &str| name.to_ascii_uppercase() == name && !name.starts_with(|c: char| c.is_ascii_digit());
    let is_named = |name: &str| is_name(name) && is_upper(name);
    text.find("${").is_some_and(|at| text[at..].contains('}') && (at == 0 || !text.contains('\n')))
        || ["$env:", "env:"].iter().any(|begin| text.strip_prefix(begin).is_some_and(is_named))
        || text.strip_prefix('$').is_some_and(|name| is_name(name) && is_upper(name))
}

/// What a program has shown in a secret's place, this one among them.
fn is_mask(text: &str) -> bool {
    const WORDS: &[&str] = &["redacted", "masked", "hidden", "sanitized", "removed", "filtered"];
    let word = text.trim_matches(|c: char| !c.is_alphanumeric()).to_ascii_lowercase();
    let is_dots = text.chars().count() > 2 && text.chars().all(|c| matches!(c, '*' | '•' | '●' | '…'));
    is_dots || text.starts_with("••••") || WORDS.contains(&word.as_str())
}

/// What asks whoever reads it to put something in its place: `your-password-here`, `replace me`.
fn is_request(text: &str) -> bool {
    const ALONE: &[&str] = &["todo", "fixme", "tbd", "replaceme", "fillme", "placeholder", "undefined"];
    const FIRST: &[&str] = &["your", "insert", "enter", "replace", "fill", "put", "paste", "type"];
    const LAST: &[&str] = &["here", "me", "in", "this", "password", "secret", "token", "key", "value"];
    let lower = text.to_ascii_lowercase();
    let words: Vec<&str> = lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    match words.as_slice() {
        [word] => ALONE.contains(word),
        [first, .., last] if words.len() < 6 => {
            (FIRST.contains(first) && LAST.contains(last))
                || (*last == "here" && words.iter().any(|word| ["goes", "belongs"].contains(word)))
                || (words[1] == "me" && ["set", "fill", "replace"].contains(first))
                || (*first == "not" && words.contains(&"real"))
        }
        [_, ..] => false,
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_never_filled_in_is_told_from_a_secret() {
        for (text, what) in [
            ("%PASSWORD%", "a placeholder"),
            ("@DB_PASSWORD@", "a placeholder"),
            ("#{Password}#", "a placeholder"),
            ("[your password]", "a placeholder"),
            ("your-password-here", "a placeholder"),
            ("INSERT_TOKEN_HERE", "a placeholder"),
            ("replace-me", "a placeholder"),
            ("TODO", "a placeholder"),
            ("$(cat /run/secrets/x)", "a command"),
            ("ENC[AES256_GCM,data:abc]", "a reference"),
            ("ENC(G6N718UuyPE5bHyWKyuLQS==)", "a reference"),
            ("{cipher}682bc583f4641835fa2db009355293", "a reference"),
            ("ref+vault://a/b#c", "a reference"),
            ("op://vault/item/field", "a reference"),
            ("vault:secret/data/db#password", "a reference"),
            ("[[ pw ]]", "a placeholder"),
            ("((db-password))", "a placeholder"),
            ("undefined", "a placeholder"),
            ("arn:aws:secretsmanager:eu:1:secret:db", "a reference"),
            ("projects/p/secrets/db/versions/1", "a reference"),
            ("gcpsm://p/db", "a reference"),
            ("/run/secrets/db", "a reference"),
            ("$ANSIBLE_VAULT;1.1;AES256", "a reference"),
            ("***", "a mask"),
            ("[REDACTED]", "a mask"),
            ("••••••••", "a mask"),
            ("•••••••• 1a2b3c4d", "a mask"),
            ("$env:OPSCHAIN_DB_PASSWORD", "a variable"),
            ("env:OPSCHAIN_DB_PASSWORD", "a variable"),
            ("%{opschain_db_password}", "a placeholder"),
            ("$[opschain_db_password]", "a placeholder"),
            ("%(opschain_db_password)s", "a placeholder"),
            ("PASSWORD_GOES_HERE", "a placeholder"),
            ("set-me-before-deploy", "a placeholder"),
            ("not-a-real-password", "a placeholder"),
            ("{{- with .x }}\n{{ . }}\n{{- end }}", "a template"),
            ("x-{{ .y }}", "a template"),
            ("${A}\n${B}", "a variable"),
        ] {
            assert_eq!(placeholder(text), Some(what), "{text}");
        }
        for text in [
            "p%w0rd%",
            "@x9@",
            "[x9!]",
            "enter the river now",
            "your",
            "here",
            "$(VARIABLE)",
            "*x9*",
            "hidden river",
            "todo-list-9f",
            "%x9Fq%",
            "key",
            "reference+x",
            "op://x9",
            "vault:x9#q",
            "[[x9",
            "env:w0rd",
            "not so real a river as it goes",
            "set sail",
            "%(x9",
            "#!/bin/sh\nPGPASSWORD=$PW psql -c \"CREATE DATABASE {{ include \"x\" . }}\"\n",
            "password = x9\nhost = ${HOST}\n",
        ] {
            assert_eq!(placeholder(text), None, "{text}");
        }
    }
}
