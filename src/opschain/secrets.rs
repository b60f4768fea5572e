//! The Secrets and ConfigMaps that an install cannot make again, and what becomes of a restore without them.

/// Whether the object is a Secret or a ConfigMap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretObjectKind {
    Secret,
    /// A ConfigMap.
    ConfigMap,
}

impl SecretObjectKind {
    /// As Kubernetes names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Secret => "Secret",
            Self::ConfigMap => "ConfigMap",
        }
    }
}

/// What the chart does when it finds the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chart {
    /// It looks the object up, and makes one only where there is none: it must be there before Helm runs.
    LooksUp,
    /// It makes the object from the values each time: what is put back must agree with them.
    Renders,
    /// It never makes it; the pods that use it wait for it.
    Expects,
}

/// An object that travels with a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preserved {
    pub kind: SecretObjectKind,
    /// Its name in a stock install.
    pub name: &'static str,
    pub chart: Chart,
    /// Present where an install that has it cannot work on its data without it.
    pub vital: Option<Vital>,
    /// What it holds, in words that follow its name.
    pub holds: &'static str,
}

/// What of an object opens data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vital {
    /// The key that must hold something.
    pub key: &'static str,
    /// The key that may hold something in its place.
    pub instead: Option<&'static str>,
    /// Whether each install that runs the secret vault has it.
    pub of_vault: bool,
}

const fn secret(name: &'static str, chart: Chart, holds: &'static str) -> Preserved {
    Preserved { kind: SecretObjectKind::Secret, name, chart, vital: None, holds }
}

const fn vital(name: &'static str, vital: Vital, holds: &'static str) -> Preserved {
    Preserved { vital: Some(vital), ..secret(name, Chart::LooksUp, holds) }
}

const fn config_map(name: &'static str, holds: &'static str) -> Preserved {
    Preserved { kind: SecretObjectKind::ConfigMap, name, chart: Chart::Expects, vital: None, holds }
}

/// The Secret of the certificate authority that the nodes trust.
pub const AUTHORITY: &str = "opschain-ca-key-pair";

/// What a bundle carries beside the values, in the order in which it is put back: first what opens data, then what the
/// application is configured with, then what others trust. Not every install has each of them.
///
/// The Secrets that the values name ([`super::values::SECRET_NAMES`]) come on top.
pub const PRESERVED: &[Preserved] = &[
    vital(
        "opschain-secret-vault-seal-key",
        Vital { key: "seal_key", instead: None, of_vault: true },
        "the key that unseals the secret vault",
    ),
    vital(
        "opschain-vault-config",
        // Who signs in to the vault by name needs no token.
        Vital { key: "OPSCHAIN_VAULT_TOKEN", instead: Some("OPSCHAIN_VAULT_PASSWORD"), of_vault: true },
        "the secret vault's root token, which is made once and kept nowhere else",
    ),
    vital(
        "mintpress-transportable-key",
        Vital { key: "localKey", instead: None, of_vault: false },
        "the key of encrypted properties, settings and secrets",
    ),
    secret("opschain-db-credentials", Chart::LooksUp, "the database owner's password"),
    secret("opschain-build-env", Chart::LooksUp, "environment of builds, filled by users"),
    secret("opschain-runner-env", Chart::LooksUp, "environment of runners, filled by users"),
    secret("mintpress-licence", Chart::Renders, "the licence"),
    secret("mintpress-chef-client-key", Chart::Renders, "the Chef client's key"),
    secret(AUTHORITY, Chart::Expects, "the certificate authority that the nodes trust"),
    config_map("opschain-trust-store", "certificate authorities that users uploaded"),
    config_map("opschain-ssh-known-hosts", "host keys that users added"),
    config_map("opschain-log-aggregator-additional-output-config", "log outputs that users added"),
];

/// What an uninstall leaves in the namespace on purpose. A restore may find these in a namespace that counts as empty.
pub const LEFT_BY_UNINSTALL: &[(&str, &str)] = &[
    ("Secret", "opschain-vault-config"),
    ("Secret", "opschain-secret-vault-seal-key"),
    ("Secret", "opschain-db-credentials"),
    ("Secret", "opschain-build-env"),
    ("Secret", "opschain-runner-env"),
    ("Secret", "mintpress-transportable-key"),
    ("PersistentVolumeClaim", "opschain-db-backup"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_chart_looks_up_is_put_back_before_what_it_renders() {
        let place = |name: &str| PRESERVED.iter().position(|object| object.name == name).unwrap();
        assert!(place("opschain-vault-config") < place("opschain-db-credentials"));
        assert!(place("opschain-db-credentials") < place("opschain-trust-store"));
    }

    #[test]
    fn every_secret_that_an_uninstall_keeps_is_carried() {
        for (kind, name) in LEFT_BY_UNINSTALL.iter().filter(|(kind, _)| *kind == "Secret") {
            assert!(PRESERVED.iter().any(|object| object.kind.name() == *kind && object.name == *name), "{name}");
        }
    }
}
