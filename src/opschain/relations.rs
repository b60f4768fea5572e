//! Keys of `values.yaml` that belong together, as the comments of the published files and the documentation have it.

use crate::values::lint::{Number, Place, Relation, Trigger, Wanted};

/// What the shipped comments and the documentation ask for.
pub(super) const RELATIONS: &[Relation] = &[
    Relation::Equal(&["env", "OPSCHAIN_INGRESS_TLS_PORT"], &["kong", "proxy", "tls", "servicePort"]),
    Relation::Equal(&["env", "OPSCHAIN_IMAGE_REGISTRY_HOST"], &["trow", "trow", "domain"]),
    Relation::Equal(&["env", "OPSCHAIN_API_HOST_NAME"], &["api", "hostName"]),
    Relation::EqualIfGiven(&["env", "hostName"], &["api", "hostName"]),
    Relation::Equal(&["env", "OPSCHAIN_API_CERTIFICATE_SECRET_NAME"], &["api", "certificateSecretName"]),
    Relation::Follows {
        given: &["imageRegistry", "certificateSecretName"],
        place: &["trow", "ingress", "tls", "*", "secretName"],
        otherwise: "",
    },
    Relation::Follows {
        given: &["secretVault", "internalCertificateSecretName"],
        place: &["openbao", "server", "volumes", "*", "secret", "secretName"],
        otherwise: "opschain-secret-vault-cert",
    },
    Relation::Reserved { map: &["db", "cnpg", "env"], names: &["PG*", "POD_NAME", "NAMESPACE"] },
    Relation::Equal(&["env", "OPSCHAIN_VAULT_ADDRESS"], &["vaultAddress"]),
    Relation::Equal(&["env", "OPSCHAIN_VAULT_AUTH_METHOD"], &["vaultAuthMethod"]),
    Relation::Equal(&["env", "OPSCHAIN_VAULT_TOKEN"], &["vaultToken"]),
    Relation::Equal(&["env", "OPSCHAIN_VAULT_USERNAME"], &["vaultUsername"]),
    Relation::Equal(&["env", "OPSCHAIN_VAULT_PASSWORD"], &["vaultPassword"]),
    Relation::Equal(&["env", "OPSCHAIN_VAULT_MOUNT_PATH"], &["vaultMountPath"]),
    with_database_off(&["stopped"], Wanted::Is(true), "the application cannot run while its database is hibernated"),
    with_database_off(&["db", "backup", "preDeploy", "enabled"], Wanted::Is(false), "its Job needs the database"),
    with_data_volume(&["db", "backup", "recovery", "enabled"], "only the recovery pod mounts the volume"),
    with_data_volume(&["stopDatabase"], "the volume must have one writer"),
    with_vault(&["token"], &["vaultToken"], &["env", "OPSCHAIN_VAULT_TOKEN"]),
    with_vault(&["userpass", "ldap"], &["vaultUsername"], &["env", "OPSCHAIN_VAULT_USERNAME"]),
    with_vault(&["userpass", "ldap"], &["vaultPassword"], &["env", "OPSCHAIN_VAULT_PASSWORD"]),
    as_replica(
        &["db", "cnpg", "replica", "source"],
        Wanted::EitherGiven(&["db", "cnpg", "replica", "primary"]),
        "a replica must know what it follows",
    ),
    as_replica(&["db", "cnpg", "externalClusters"], Wanted::Given, "a replica must know the other clusters"),
    as_replica(
        &["db", "cnpg", "externalService", "enabled"],
        Wanted::Is(true),
        "the clusters of a topology must reach each other",
    ),
    Relation::Needs {
        when: (&["db", "cnpg", "pooler", "enabled"], Trigger::Is(true)),
        wants: (&["db", "cnpg", "primaryHeadlessService", "enabled"], Wanted::Is(false)),
        why: "the application goes by the pooler or by the headless service",
    },
    without_cert_manager(&["api", "certificateSecretName"]),
    without_cert_manager(&["buildService", "certificateSecretName"]),
    without_cert_manager(&["imageRegistry", "certificateSecretName"]),
    without_cert_manager(&["secretVault", "externalCertificateSecretName"]),
    without_cert_manager(&["secretVault", "internalCertificateSecretName"]),
    without_classes(&["kong", "priorityClassName"]),
    without_classes(&["trow", "priorityClassName"]),
    without_classes(&["openbao", "server", "priorityClassName"]),
    without_classes(&["reloader", "reloader", "deployment", "priorityClassName"]),
    Relation::Room {
        when: &["db", "cnpg", "pooler", "enabled"],
        factors: [
            Number { place: &["db", "cnpg", "pooler", "instances"], otherwise: 2 },
            Number { place: &["db", "cnpg", "pooler", "pgbouncer", "parameters", "default_pool_size"], otherwise: 150 },
        ],
        spare: 50,
        limit: Number { place: &["db", "cnpg", "postgresql", "parameters", "max_connections"], otherwise: 350 },
    },
];

const fn with_database_off(place: Place, wanted: Wanted, why: &'static str) -> Relation {
    Relation::Needs { when: (&["stopDatabase"], Trigger::Is(true)), wants: (place, wanted), why }
}

const fn as_replica(place: Place, wanted: Wanted, why: &'static str) -> Relation {
    Relation::Needs { when: (&["db", "cnpg", "replica", "enabled"], Trigger::Is(true)), wants: (place, wanted), why }
}

const fn with_vault(methods: &'static [&'static str], place: Place, other: Place) -> Relation {
    let why = "the vault asks for it by this method";
    Relation::Needs {
        when: (&["vaultAuthMethod"], Trigger::Says(methods)),
        wants: (place, Wanted::EitherGiven(other)),
        why,
    }
}

const fn with_data_volume(place: Place, why: &'static str) -> Relation {
    let when: (Place, Trigger) = (&["db", "backup", "recovery", "mountDataVolume"], Trigger::Is(true));
    Relation::Needs { when, wants: (place, Wanted::Is(true)), why }
}

const fn without_cert_manager(place: Place) -> Relation {
    let why = "without cert-manager every certificate must be given";
    Relation::Needs { when: (&["useCertManager"], Trigger::Is(false)), wants: (place, Wanted::Given), why }
}

const fn without_classes(place: Place) -> Relation {
    let why = "a pod cannot name a priority class that is not made";
    Relation::Needs { when: (&["priorityClasses", "enabled"], Trigger::Is(false)), wants: (place, Wanted::Empty), why }
}

#[cfg(test)]
mod tests {
    use crate::opschain::testing::findings;

    #[test]
    fn keys_that_belong_together_are_found_apart() {
        for (yaml, place) in [
            (
                "env: {OPSCHAIN_INGRESS_TLS_PORT: 443}\nkong: {proxy: {tls: {servicePort: 3443}}}\n",
                "env.OPSCHAIN_INGRESS_TLS_PORT",
            ),
            ("vaultAddress: http://a\nenv: {OPSCHAIN_VAULT_ADDRESS: http://b}\n", "env.OPSCHAIN_VAULT_ADDRESS"),
            ("stopDatabase: true\n", "stopDatabase"),
            (
                "db: {cnpg: {pooler: {enabled: true}, primaryHeadlessService: {enabled: true}}}\n",
                "db.cnpg.pooler.enabled",
            ),
            ("api: {hostName: a.x}\nenv: {OPSCHAIN_API_HOST_NAME: b.x}\n", "env.OPSCHAIN_API_HOST_NAME"),
            ("api: {hostName: a.x}\nenv: {hostName: b.x}\n", "env.hostName"),
            ("imageRegistry: {certificateSecretName: a}\n", "imageRegistry.certificateSecretName"),
            ("secretVault: {internalCertificateSecretName: a}\n", "secretVault.internalCertificateSecretName"),
            ("vaultAuthMethod: token\n", "vaultAuthMethod"),
            ("db: {cnpg: {env: {PGHOST: a}}}\n", "db.cnpg.env.PGHOST"),
            ("db: {cnpg: {env: {NAMESPACE: a}}}\n", "db.cnpg.env.NAMESPACE"),
            ("db: {cnpg: {pooler: {enabled: true, instances: 3}}}\n", "db.cnpg.pooler.instances"),
            (
                "db: {cnpg: {pooler: {enabled: true}, postgresql: {parameters: {max_connections: \"300\"}}}}\n",
                "db.cnpg.postgresql.parameters.max_connections",
            ),
        ] {
            assert_eq!(findings(yaml, None), [format!("keys-disagree {place}")], "{yaml}");
        }
        let count = |yaml: &str| findings(yaml, None).iter().filter(|said| said.starts_with("keys-disagree")).count();
        assert_eq!(count("useCertManager: false\n"), 5, "each certificate");
        assert_eq!(count("db: {cnpg: {replica: {enabled: true}}}\n"), 3, "the source, the clusters, the service");
        assert_eq!(count("vaultAuthMethod: ldap\n"), 2, "who, and the password");
        let replica =
            "replica: {enabled: true, primary: x}, externalClusters: [{name: x}], externalService: {enabled: true}";
        assert_eq!(count(&format!("db: {{cnpg: {{{replica}}}}}\n")), 0, "the source defaults to the primary");
        let registry =
            "imageRegistry: {certificateSecretName: a}\ntrow: {ingress: {tls: [{secretName: a, hosts: [x]}]}}\n";
        assert_eq!(count(registry), 0);
        let volume = "{name: opschain-secret-vault-cert, secret: {secretName: a}}";
        let vault = format!(
            "secretVault: {{internalCertificateSecretName: a}}\nopenbao: {{server: {{volumes: [{volume}]}}}}\n"
        );
        assert_eq!(count(&vault), 0);
        assert_eq!(count("vaultAuthMethod: userpass\nvaultUsername: a\nvaultPassword: q8Lw2zKdVx91\n"), 0);
        assert_eq!(count("db: {cnpg: {env: {TZ: a}}}\napi: {hostName: a.x}\n"), 0);
        assert_eq!(count("priorityClasses: {enabled: false}\n"), 4, "each chart that names the class");
        assert_eq!(count("db: {backup: {recovery: {mountDataVolume: true}}}\n"), 2, "the pod, and the database off");
        let recovery =
            "stopped: true\nstopDatabase: true\ndb: {backup: {recovery: {enabled: true, mountDataVolume: true}}}\n";
        assert_eq!(count(recovery), 0, "as the guide has it");
        let registry = "env: {OPSCHAIN_IMAGE_REGISTRY_HOST: a.b}\ntrow: {trow: {domain: \"a.b:3443\"}}\n";
        assert_eq!(count(registry), 0, "the domain has the port");
    }
}
