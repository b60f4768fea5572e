//! What stands in the place of a secret and is none: ciphertext of the usual tools, references that another program
//! resolves, and names of secrets in objects that only point at them.

use crate::values::{Path, Tree};

/// Shorter than this, what is left between references is no secret.
const SHORTEST: usize = 8;

/// Schemes of addresses that name a secret in a store: `op://vault/item/field`.
const SCHEMES: &[&str] = &[
    "op",
    "secret",
    "secrets",
    "vault",
    "bao",
    "awssm",
    "awsps",
    "awssecrets",
    "awsssm",
    "asm",
    "ssm",
    "gcpsm",
    "gcpsecrets",
    "gcpsecretmanager",
    "akv",
    "azurekeyvault",
    "keyvault",
    "k8s",
    "keyring",
    "keychain",
    "doppler",
    "bws",
    "bitwarden",
    "infisical",
    "conjur",
    "pass",
    "keepass",
    "sops",
    "file",
    "env",
    "chamber",
    "passbolt",
    "sm",
    "berglas",
];
/// What stands before a name and its path, or its field: `vault:secret/data/db#password`.
const PREFIXES: &[&str] = &[
    "vault:",
    "bao:",
    "ssm:",
    "akv:",
    "secretsmanager:",
    "gcp:secretmanager:",
    "arn:aws:secretsmanager:",
    "arn:aws:ssm:",
];
/// Where a program that fills in a text begins and ends.
const FILLED: &[(&str, &str)] = &[
    ("{{", "}}"),
    ("${", "}"),
    ("$(", ")"),
    ("%{", "}"),
    ("{%", "%}"),
    ("$[", "]"),
    ("$__file{", "}"),
    ("$__env{", "}"),
    ("$__vault{", "}"),
];
/// The same for a whole text.
const PLACES: &[(&str, &str)] =
    &[("<", ">"), ("__", "__"), ("%%", "%%"), ("@@", "@@"), ("#{", "}#"), ("((", "))"), ("%(", ")s")];
/// The same around a name alone: a secret may well begin and end with such signs.
const AROUND_NAMES: &[(&str, &str)] = &[("@", "@"), ("%", "%"), ("#{", "}"), ("[[", "]]"), ("%env(", ")%")];
/// Folders that a secret's file is mounted into.
const MOUNTED: &[&str] =
    &["/run/secrets/", "/var/run/secrets/", "/vault/secrets/", "/mnt/secrets-store/", "/etc/secrets/"];

/// Objects that name secrets and hold none, but for what their templates write out.
const POINTERS: &[&str] = &[
    "ExternalSecret",
    "ClusterExternalSecret",
    "PushSecret",
    "SecretStore",
    "ClusterSecretStore",
    "SecretProviderClass",
    "VaultStaticSecret",
    "VaultDynamicSecret",
    "VaultPKISecret",
    "VaultAuth",
    "VaultConnection",
    "OnePasswordItem",
    "BitwardenSecret",
    "InfisicalSecret",
    "DopplerSecret",
    "AzureKeyVaultSecret",
];

/// Whether a text that stands where a secret should is no secret in the clear.
pub(super) fn is_not_plain(text: &str) -> bool {
    let text = text.trim();
    text.len() < SHORTEST
        || text.contains("...")
        || is_sealed(text)
        || is_reference(text)
        || is_place(text)
        || is_filled_in(text)
}

/// Tags with which another program fills in a value, or opens it.
const TAGS: &[&str] = &[
    "!vault",
    "!secret",
    "!secrets",
    "!env",
    "!env_var",
    "!ENV",
    "!Ref",
    "!Sub",
    "!GetAtt",
    "!ImportValue",
    "!FindInMap",
    "!Join",
    "!reference",
    "!file",
    "!include",
    "!sops",
    "!encrypted",
    "!keyring",
    "!op",
    "!ssm",
    "!decrypt",
];

/// Whether a value is marked by such a tag: it ends the text before the value.
pub(super) fn is_tagged(before: &str) -> bool {
    before.split_whitespace().next_back().is_some_and(|word| TAGS.contains(&word))
}

/// Whether the place in a document, at which `text` stands, holds ciphertext or names only.
pub(super) fn is_not_plain_at(tree: &Tree, path: &Path, text: &str) -> bool {
    let keys: Vec<&str> = path.keys().collect();
    let is_sops = || tree.text(&["sops", "mac"]).is_some_and(is_sealed);
    match (tree.text(&["kind"]), keys.as_slice()) {
        (_, ["sops", ..]) => is_sops(),
        (Some("SealedSecret"), ["spec", "encryptedData", ..]) => true,
        // What a template writes out, and the provider for tests, is in the clear.
        (Some(kind), keys) => {
            let is_written = keys.iter().any(|key| matches!(*key, "template" | "fake"));
            POINTERS.contains(&kind) && !is_written && (is_pointer(keys) || is_name(text))
        }
        _ => false,
    }
}

/// Whether what stands at these keys of an object that names secrets is a name.
fn is_pointer(keys: &[&str]) -> bool {
    const NAMES: &[&str] = &["key", "name", "property", "path", "objects", "version", "id"];
    let ends = |key: &str| {
        let key = key.to_ascii_lowercase();
        NAMES.iter().chain(&["ref", "reference", "selector", "from"]).any(|end| key.ends_with(end))
    };
    keys.iter().rev().take(2).any(|key| ends(key))
}

/// Whether a text is what objects, fields and folders are called, and no secret is.
fn is_name(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_./:".contains(&byte);
    text.bytes().all(is_part) && (text.contains(['-', '_', '.', '/']) || !text.contains(|c: char| c.is_ascii_digit()))
}

/// sops, eyaml, jasypt, Ansible, age, PGP, Spring's config server, Vault's transit engine.
fn is_sealed(text: &str) -> bool {
    let transit = || {
        let version = text.strip_prefix("vault:v").and_then(|rest| rest.split_once(':'));
        version.is_some_and(|(version, _)| !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit()))
    };
    (text.starts_with("ENC[") && text.ends_with(']'))
        || (text.starts_with("ENC(") && text.ends_with(')'))
        || (text.starts_with("EJ[1:") && text.ends_with(']'))
        || [
            "$ANSIBLE_VAULT;",
            "!vault",
            "-----BEGIN AGE ENCRYPTED FILE-----",
            "-----BEGIN PGP MESSAGE-----",
            "{cipher}",
        ]
        .iter()
        .any(|mark| text.starts_with(mark))
        || transit()
}

fn is_reference(text: &str) -> bool {
    if text.contains(char::is_whitespace) && !text.starts_with('<') {
        return false;
    }
    if let Some(rest) = ["ref+", "secretref+"].iter().find_map(|begin| text.strip_prefix(begin)) {
        return rest.split_once("://").map_or_else(|| is_words(rest), |(_, place)| !place.is_empty());
    }
    let by_scheme = text.split_once("://").is_some_and(|(scheme, place)| {
        scheme.split('+').any(|part| SCHEMES.contains(&part)) && (place.contains('/') || is_words(place))
    });
    let by_prefix = PREFIXES.iter().any(|prefix| {
        text.strip_prefix(prefix).is_some_and(|rest| rest.contains(['/', '#']) || prefix.starts_with("arn:"))
    });
    let by_name = ["akv:", "gcpsecretmanager:", "awssecretsmanager:"].iter().any(|prefix| text.starts_with(prefix));
    let in_environment = text.strip_prefix("env:").is_some_and(|name| is_variable(&format!("${name}")));
    let mounted = MOUNTED.iter().any(|folder| text.starts_with(folder));
    let in_cloud = text.starts_with("projects/") && text.contains("/secrets/");
    let in_azure = text.starts_with("@Microsoft.KeyVault(") && text.ends_with(')');
    let placed = PLACES.iter().any(|(open, close)| {
        text.strip_prefix(open).and_then(|rest| rest.strip_suffix(close)).is_some_and(|inside| !inside.is_empty())
    });
    by_scheme
        || by_prefix
        || by_name
        || in_environment
        || mounted
        || in_cloud
        || in_azure
        || placed
        || is_expression(text)
        || is_variable(text)
}

/// `@DB_PASS@`, `[[ db_pass ]]`: a name that something else is put in the place of.
fn is_place(text: &str) -> bool {
    AROUND_NAMES.iter().any(|(open, close)| {
        let inside = text.strip_prefix(open).and_then(|rest| rest.strip_suffix(close));
        inside.is_some_and(|inside| is_words(inside.trim()))
    })
}

/// A name that people read: of letters, parted by signs.
fn is_words(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphabetic() || b"-_.".contains(&byte))
}

/// `var.password`, `data.vault_generic_secret.db.data["password"]`: an expression of Terraform.
fn is_expression(text: &str) -> bool {
    let Some((first, rest)) = text.split_once('.') else { return false };
    let names = ["var", "local", "data", "module", "each", "self", "random_password", "random_string", "random_id"];
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-[]\"*".contains(&byte);
    names.contains(&first) && !rest.is_empty() && rest.bytes().all(is_part)
}

/// `$PGPASSWORD`; a secret may begin with a dollar sign, too, but hardly goes on in capitals only.
fn is_variable(text: &str) -> bool {
    text.strip_prefix('$').is_some_and(|name| {
        name.starts_with(|c: char| c.is_ascii_uppercase() || c == '_')
            && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
    })
}

/// Whether a template or a shell fills in what is secret of it: what is left between is too short for a secret or, of an
/// address, no password.
fn is_filled_in(text: &str) -> bool {
    let (mut left, mut rest, mut any) = (String::new(), text, false);
    while let Some((at, open, close)) = next_filled(rest) {
        let Some(end) = rest[at + open.len()..].find(close) else { break };
        let inside = &rest[at + open.len()..][..end];
        if otherwise(open, inside).is_some_and(|text| !is_not_plain(text)) {
            return false;
        }
        left.push_str(&rest[..at]);
        rest = &rest[at + open.len() + end + close.len()..];
        any = true;
    }
    left.push_str(rest);
    if !any {
        return false;
    }
    let Some((_, address)) = left.split_once("://") else {
        return left.trim_matches(|c: char| !c.is_alphanumeric()).len() < SHORTEST;
    };
    let user = address.rsplit_once('@').map_or("", |(user, _)| user);
    user.split_once(':').is_none_or(|(_, password)| password.is_empty())
}

/// The text that is filled in where nothing else is: `${NAME:-text}`, `{{ default "text" .Values.x }}`, `{{ "text" }}`.
fn otherwise<'t>(open: &str, inside: &'t str) -> Option<&'t str> {
    if open == "${" {
        let name = inside.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')?;
        let rest = inside[name..].strip_prefix(':').unwrap_or(&inside[name..]);
        return rest.strip_prefix(['-', '=']).map(|text| text.trim_matches(['"', '\'']));
    }
    let inside = inside.trim_matches(|c: char| c.is_whitespace() || c == '-');
    let literal = match inside.rfind("default") {
        Some(at) => inside[at + "default".len()..].trim_start_matches(|c: char| c.is_whitespace() || c == '('),
        None => inside,
    };
    let quote = literal.chars().next().filter(|c| "\"'`".contains(*c))?;
    let (text, rest) = literal[1..].split_once(quote)?;
    // Alone, a text is no name of anything.
    (inside.contains("default") || rest.trim().is_empty()).then_some(text)
}

fn next_filled(text: &str) -> Option<(usize, &'static str, &'static str)> {
    let found = FILLED.iter().filter_map(|(open, close)| Some((text.find(open)?, *open, *close)));
    found.min_by_key(|(at, open, _)| (*at, std::cmp::Reverse(open.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_resolve_or_open_is_told_from_what_is_in_the_clear() {
        for text in [
            "ENC[AES256_GCM,data:p673w==,iv:YY=,aad:UQ=,tag:A=,type:str]",
            "$ANSIBLE_VAULT;1.1;AES256\n6231",
            "-----BEGIN AGE ENCRYPTED FILE-----\nYWdl",
            "{cipher}AQA5c2b1",
            "vault:v1:8SDd3WHDOjf7mq69Cy",
            "ref+vault://secret/db#/password",
            "ref+awssecrets://path/x",
            "secretref+gcpsecrets://p/x",
            "secretref+database",
            "ref+echo",
            "!vault |",
            "op://vault/database/password",
            "vault:secret/data/db#password",
            "arn:aws:secretsmanager:eu-west-1:1:secret:db",
            "projects/p/secrets/db/versions/latest",
            "@Microsoft.KeyVault(SecretUri=https://v/secrets/db)",
            "<path:secret/data/db#password>",
            "<the database's password>",
            "__DB_PASSWORD__",
            "((db-password))",
            "%(db_password)s",
            "env:PGPASSWORD",
            "/run/secrets/pgpassword",
            "/vault/secrets/database",
            "akv:db-password",
            "keyvault://site/pgpassword",
            "k8s://ops/secret/key",
            "$PGPASSWORD",
            "${PGPASSWORD}",
            "$(params.password)",
            "${{ secrets.PGPASSWORD }}",
            "{{ .Values.db.password }}",
            "{{ .Values.prefix }}-{{ .Values.rest | b64enc }}",
            "postgres://app:${PGPASSWORD}@db-of-the-site:5432/opschain",
            "short",
            "ENC(Kx6JwQvMZ0m1zv3xS0pXcA==)",
            "$[variables.password]",
            "chamber://opschain/password",
            "passbolt://database/password",
            "secret+age://path/of/it",
            "var.database_password",
            "random_password.db.result",
            "${PGPASSWORD:-}",
            "${PGPASSWORD:?is not set}",
            "{{ .Values.db.password | default .Values.password }}",
            "{{ lookup('env', 'DATABASE_PASSWORD') }}",
            "{{ include \"opschain.password\" . }}",
            "@DB_PASSWORD@",
            "%DB_PASSWORD%",
            "#{DbPassword}",
            "[[ db_password ]]",
            "%env(DB_PASSWORD)%",
            "$__file{/etc/secrets/db}",
            "$__env{DB_PASSWORD}",
            "sm://project/db",
            "berglas://bucket/db",
            "EJ[1:Kx6JwQvMZ0m1zv3x:S0pXcA==]",
        ] {
            assert!(is_not_plain(text), "{text}");
        }
        for text in [
            "correct-horse-7",
            "$2b$12$C6UzMDM.H6dfI/f/IKcEeO",
            "${PGPASSWORD}correct-horse-7",
            "{{ .Values.prefix }}correct-horse-7",
            "postgres://app:correct-horse-7@${HOST}/opschain",
            "{\"auths\": {\"r\": {\"auth\": \"Y29ycmVjdA==\"}}}",
            "<correct-horse-7",
            "vault:correct-horse",
            "env:correct-horse",
            "/correct/horse/battery",
            "$ecret-of-ours-77",
            "ENC[correct-horse-7",
            "https://user:correct-horse-7@host/",
            "${PGPASSWORD:-correct-horse-7}",
            "${PGPASSWORD-correct-horse-7}",
            "{{ default \"correct-horse-7\" .Values.x }}",
            "{{ .Values.x | default('correct-horse-7') }}",
            "{{ \"correct-horse-7\" }}",
            "ref+q8Lw2zKdVx91PbTn4Rs7",
            "op://q8Lw2zKdVx91PbTn4Rs7",
            "variable.correct-horse-7",
            "@correct-horse-7@",
            "[[correct-horse-7]]",
            "$__file{x}correct-horse-7",
            "EJ[1:correct-horse-7",
        ] {
            assert!(!is_not_plain(text), "{text}");
        }
    }
}
