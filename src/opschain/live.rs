//! What in a running install is meant to differ from its chart.

/// An object whose content is filled or changed after the install, by people or by OpsChain itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filled {
    pub kind: &'static str,
    /// Its name in a stock install.
    pub name: &'static str,
    /// Who fills it, in words that follow its name.
    pub why: &'static str,
}

const fn filled(kind: &'static str, name: &'static str, why: &'static str) -> Filled {
    Filled { kind, name, why }
}

/// Objects whose `data` tells nothing about drift: the chart makes them once, and never looks at them again.
pub const FILLED: &[Filled] = &[
    filled("Secret", "opschain-vault-config", "gets the secret vault's root token at the API's first start"),
    filled("Secret", "opschain-build-env", "is filled by users"),
    filled("Secret", "opschain-runner-env", "is filled by users"),
    filled("ConfigMap", "opschain-ssh-known-hosts", "is filled by users"),
    filled("ConfigMap", "opschain-trust-store", "holds the certificates that users upload"),
    filled("ConfigMap", "opschain-log-aggregator-additional-output-config", "is filled by users"),
];

/// Why the content of an object is not compared, where it is not.
pub fn filled_after_install(kind: &str, name: &str) -> Option<&'static str> {
    FILLED.iter().find(|object| object.kind == kind && object.name == name).map(|object| object.why)
}
