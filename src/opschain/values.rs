//! The keys of `values.yaml` that matter beyond rendering: those that never change, and those that are secret.

/// A path of keys. Keys may hold dots, so a path is a list. `*` stands for any item of a list or key of a map.
pub type Path = &'static [&'static str];

/// A key that must keep its value for the life of the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Immutable {
    /// Where it stands.
    pub path: Path,
    /// What a change destroys, in words that follow "because".
    pub why: &'static str,
}

const ENCRYPTED: &str = "data in the database is encrypted with it";
const DATABASE: &str = "the database's volumes and objects are named after it";

/// The keys whose change makes stored data unreadable or unreachable.
pub const IMMUTABLE: &[Immutable] = &[
    Immutable { path: &["env", "OPSCHAIN_DETERMINISTIC_KEY"], why: ENCRYPTED },
    Immutable { path: &["env", "OPSCHAIN_ENCRYPTION_SEED_KEY"], why: ENCRYPTED },
    Immutable { path: &["env", "OPSCHAIN_KEY_DERIVATION_SALT"], why: ENCRYPTED },
    Immutable { path: &["env", "OPSCHAIN_PRIMARY_KEY"], why: ENCRYPTED },
    Immutable { path: &["env", "OPSCHAIN_TOKEN_SECRET_KEY"], why: "every issued token is signed with it" },
    Immutable { path: &["env", "PGPASSWORD"], why: "the database knows its owner by it" },
    Immutable { path: &["secretVault", "unsealKey"], why: "the secret vault is sealed with it" },
    Immutable {
        path: &["mintPressTransportableKey"],
        why: "properties, settings and secrets are encrypted with it, and it is read at the first install only",
    },
    Immutable { path: &["db", "cnpg", "clusterName"], why: DATABASE },
    Immutable { path: &["db", "cnpg", "database", "name"], why: "the database was made with this name" },
    Immutable { path: &["db", "cnpg", "database", "owner"], why: "the database was made for this owner" },
    Immutable { path: &["db", "cnpg", "database", "secretName"], why: "the owner's password is kept under this name" },
    Immutable { path: &["priorityClasses", "runner", "value"], why: "Kubernetes does not change a priority class" },
];

/// The keys that hold secrets, beside those that [`is_secret`] knows by their names.
pub const SECRET: &[Path] = &[
    &["env", "OPSCHAIN_DETERMINISTIC_KEY"],
    &["env", "OPSCHAIN_ENCRYPTION_SEED_KEY"],
    &["env", "OPSCHAIN_KEY_DERIVATION_SALT"],
    &["env", "OPSCHAIN_PRIMARY_KEY"],
    &["env", "OPSCHAIN_TOKEN_SECRET_KEY"],
    &["env", "PGPASSWORD"],
    &["env", "OPSCHAIN_DOCKER_PASSWORD"],
    &["env", "OPSCHAIN_DOCKER_USER"],
    &["env", "OPSCHAIN_LDAP_PASSWORD"],
    &["env", "OPSCHAIN_VAULT_TOKEN"],
    &["env", "OPSCHAIN_VAULT_PASSWORD"],
    &["secretVault", "unsealKey"],
    &["mintPressLicence"],
    &["mintPressTransportableKey"],
    &["mintPressChefClientKey"],
    &["mintPressSSHKey"],
    &["vaultToken"],
    &["vaultPassword"],
    &["trow", "trow", "password"],
    &["db", "cnpg", "replica", "promotionToken"],
];

/// Where the values name Secrets and ConfigMaps that the user made, and that no install makes again.
pub const SECRET_NAMES: &[Path] = &[
    &["api", "certificateSecretName"],
    &["buildService", "certificateSecretName"],
    &["imageRegistry", "certificateSecretName"],
    &["secretVault", "externalCertificateSecretName"],
    &["secretVault", "internalCertificateSecretName"],
    &["db", "cnpg", "database", "secretName"],
    &["db", "cnpg", "security", "tls", "customCerts", "serverCASecret"],
    &["db", "cnpg", "security", "tls", "customCerts", "serverTLSSecret"],
    &["db", "cnpg", "security", "tls", "customCerts", "clientCASecret"],
    &["db", "cnpg", "security", "tls", "customCerts", "replicationTLSSecret"],
    &["db", "cnpg", "externalClusters", "*", "password", "name"],
    &["db", "cnpg", "externalClusters", "*", "sslCert", "name"],
    &["db", "cnpg", "externalClusters", "*", "sslKey", "name"],
    &["db", "cnpg", "externalClusters", "*", "sslRootCert", "name"],
    &["kong", "image", "pullSecrets", "*"],
    &["trow", "imagePullSecrets", "*", "name"],
];

/// The same for ConfigMaps.
pub const CONFIG_MAP_NAMES: &[Path] = &[&["sshKnownHostsConfigMapRef"], &["logAggregator", "additionalOutputConfig"]];

/// The keys that say which OpsChain runs and how large it is.
pub const VERSION: Path = &["env", "OPSCHAIN_VERSION"];
/// The database cluster's name.
pub const DATABASE_NAME: Path = &["db", "cnpg", "clusterName"];
/// The namespace that OpsChain believes to be in.
pub const NAMESPACE: Path = &["env", "OPSCHAIN_KUBERNETES_NAMESPACE"];
/// Takes the application down without taking the release away.
pub const STOPPED: Path = &["stopped"];
/// Puts the database to sleep.
pub const STOP_DATABASE: Path = &["stopDatabase"];

/// Whether a value is secret: by its path, or by a name that says so. `env` is a free map, and lists of environment
/// variables stand in many places, so names count everywhere.
///
/// Errs on the side of hiding, except for values that only *name* a Secret.
pub fn is_secret<S: AsRef<str>>(path: &[S]) -> bool {
    if SECRET_NAMES.iter().any(|known| matches(known, path)) {
        return false;
    }
    SECRET.iter().any(|known| matches(known, path)) || path.last().is_some_and(|name| is_secret_name(name.as_ref()))
}

/// Whether a key or environment variable of this name holds a secret.
pub fn is_secret_name(name: &str) -> bool {
    const WORDS: &[&str] = &[
        "password",
        "passwd",
        "passphrase",
        "token",
        "secret",
        "privatekey",
        "apikey",
        "accesskey",
        "credentials",
        "salt",
    ];
    let bare: String = name.chars().filter(|c| c.is_ascii_alphanumeric()).collect::<String>().to_ascii_lowercase();
    // `certificateSecretName`, `database.secretName` and `tokenUrl` tell of a secret without being one.
    if ["name", "names", "ref", "url", "path", "file", "enabled", "ttl", "secrets"]
        .iter()
        .any(|end| bare.ends_with(end))
    {
        return false;
    }
    WORDS.iter().any(|word| bare.contains(word)) || bare.ends_with("key")
}

/// Whether an immutable key stands at this path.
pub fn immutable<S: AsRef<str>>(path: &[S]) -> Option<&'static Immutable> {
    IMMUTABLE.iter().find(|immutable| matches(immutable.path, path))
}

fn matches<S: AsRef<str>>(known: Path, path: &[S]) -> bool {
    known.len() == path.len() && known.iter().zip(path).all(|(known, part)| *known == "*" || *known == part.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_that_encrypts_is_both_secret_and_immutable() {
        for immutable in IMMUTABLE.iter().filter(|immutable| immutable.path[0] == "env") {
            assert!(is_secret(immutable.path), "{:?}", immutable.path);
        }
    }

    #[test]
    fn secrets_in_the_free_map_are_known_by_their_names() {
        for name in ["OPSCHAIN_GIT_TOKEN", "AWS_SECRET_ACCESS_KEY", "PROXY_PASSWORD", "SIGNING_KEY", "apiKey"] {
            assert!(is_secret(&["env", name]), "{name}");
        }
    }

    #[test]
    fn what_only_names_a_secret_is_shown() {
        for path in [
            vec!["api", "certificateSecretName"],
            vec!["db", "cnpg", "database", "secretName"],
            vec!["db", "cnpg", "externalClusters", "0", "sslKey", "name"],
            vec!["trow", "imagePullSecrets", "0", "name"],
            vec!["env", "OPSCHAIN_VERSION"],
            vec!["stopped"],
        ] {
            assert!(!is_secret(&path), "{path:?}");
        }
    }

    #[test]
    fn an_immutable_key_is_found_by_its_path_and_says_what_it_guards() {
        assert!(immutable(&["env", "OPSCHAIN_PRIMARY_KEY"]).unwrap().why.contains("encrypted"));
        assert!(immutable(&["env", "TZ"]).is_none());
        assert!(immutable(&["env"]).is_none());
    }
}
