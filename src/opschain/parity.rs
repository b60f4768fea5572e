//! What the values of the sites of one highly available OpsChain must have in common, and what must tell them apart.
//!
//! After OpsChain's documentation of high availability: keys and passwords are the same on every site, each site's
//! database cluster has a name of its own.

use super::values::Path;

/// How a key must stand on two sites.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demand {
    /// The same on both.
    Equal,
    /// Another on each.
    Differ,
}

/// A key that is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParityKey {
    /// Where it stands.
    pub path: Path,
    /// How it must stand.
    pub demand: Demand,
    /// What a chart takes where the values do not set it.
    pub default: Option<&'static str>,
    /// What breaks otherwise.
    pub why: &'static str,
}

const fn equal(path: Path, why: &'static str) -> ParityKey {
    ParityKey { path, demand: Demand::Equal, default: None, why }
}

const DATA: &str = "data written by one site cannot be read by the other";
const TOKENS: &str = "a session of one site is not known to the other";

/// Every key that parity is about.
pub const PARITY: &[ParityKey] = &[
    equal(&["env", "OPSCHAIN_DETERMINISTIC_KEY"], DATA),
    equal(&["env", "OPSCHAIN_ENCRYPTION_SEED_KEY"], DATA),
    equal(&["env", "OPSCHAIN_KEY_DERIVATION_SALT"], DATA),
    equal(&["env", "OPSCHAIN_PRIMARY_KEY"], DATA),
    equal(&["env", "OPSCHAIN_TOKEN_SECRET_KEY"], TOKENS),
    equal(&["env", "PGPASSWORD"], "after a failover the application cannot log in to the database"),
    equal(&["secretVault", "unsealKey"], "after a failover the secret vault cannot be unsealed"),
    equal(&["mintPressTransportableKey"], "properties, settings and secrets of one site cannot be read by the other"),
    equal(&["trow", "trow", "password"], "one site cannot pull from the other's image registry"),
    equal(&["env", "OPSCHAIN_VERSION"], "an older release must not run on the database of a newer one"),
    ParityKey {
        path: &["db", "cnpg", "database", "name"],
        demand: Demand::Equal,
        default: Some("opschain"),
        why: "the replica has the primary's database",
    },
    ParityKey {
        path: &["db", "cnpg", "database", "owner"],
        demand: Demand::Equal,
        default: Some("opschain"),
        why: "the replica has the primary's roles",
    },
    ParityKey {
        path: &["db", "cnpg", "clusterName"],
        demand: Demand::Differ,
        default: Some("opschain-db"),
        why: "a site is known to the others by it",
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::opschain::values::IMMUTABLE;

    #[test]
    fn every_key_that_data_is_encrypted_with_is_in_it() {
        let compared = |path: Path| PARITY.iter().any(|key| key.path == path);
        for known in IMMUTABLE.iter().filter(|known| known.path[0] == "env" || known.path[0] == "secretVault") {
            assert!(compared(known.path), "{:?}", known.path);
        }
        let may_change = |key: &ParityKey| IMMUTABLE.iter().all(|known| known.path != key.path);
        assert!(PARITY.iter().any(may_change), "and what may change, too");
    }
}
