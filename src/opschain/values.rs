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

/// Those of them that open what is stored: values with others of these do not fit the data.
pub fn data_keys() -> impl Iterator<Item = &'static Immutable> {
    IMMUTABLE.iter().filter(|immutable| !matches!(immutable.path[0], "db" | "priorityClasses"))
}

/// The keys that hold secrets. What decides is [`crate::redact::is_secret`], by names and shapes.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn is_secret(path: &[&str]) -> bool {
        let text = crate::values::Value::String("plain".into());
        crate::redact::is_secret(&crate::values::Path::of(path), None, &text)
    }

    #[test]
    fn every_key_that_encrypts_or_is_listed_is_secret() {
        let env = IMMUTABLE.iter().filter(|immutable| immutable.path[0] == "env").map(|immutable| immutable.path);
        for path in env.chain(SECRET.iter().copied()) {
            assert!(is_secret(path), "{path:?}");
        }
    }

    #[test]
    fn what_only_names_a_secret_is_shown() {
        for path in SECRET_NAMES.iter().chain(CONFIG_MAP_NAMES).copied().chain([VERSION]) {
            assert!(!is_secret(path), "{path:?}");
        }
    }

    #[test]
    fn of_the_files_that_operators_have_exactly_the_secrets_are_masked() {
        let masked = |text: &str| -> Vec<String> {
            let tree = crate::values::Tree::parse(text.as_bytes()).unwrap();
            crate::redact::secrets(&tree).iter().map(|(path, ..)| path.to_string()).collect()
        };
        let expected = [
            "env.OPSCHAIN_DETERMINISTIC_KEY",
            "env.OPSCHAIN_ENCRYPTION_SEED_KEY",
            "env.OPSCHAIN_KEY_DERIVATION_SALT",
            "env.OPSCHAIN_PRIMARY_KEY",
            "env.OPSCHAIN_TOKEN_SECRET_KEY",
            "env.PGPASSWORD",
            "env.OPSCHAIN_DOCKER_PASSWORD",
            "env.OPSCHAIN_DOCKER_USER",
            "env.OPSCHAIN_LDAP_PASSWORD",
            "secretVault.unsealKey",
            "trow.trow.password",
        ];
        for text in [
            include_str!("../../fixtures/values/2026-08-20.yaml"),
            include_str!("../../fixtures/values/2026-09-14.yaml"),
            include_str!("../../fixtures/values/2026-10-08.yaml"),
        ] {
            let mut paths = masked(text);
            paths.sort();
            let mut expected = expected.to_vec();
            expected.sort_unstable();
            assert_eq!(paths, expected);
        }
        // The shipped defaults leave every secret empty.
        assert_eq!(masked(include_str!("../../fixtures/charts/opschain/values.yaml")), Vec::<String>::new());
    }
}
