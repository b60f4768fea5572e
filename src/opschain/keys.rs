//! The keys of `values.yaml` that the releases of OpsChain know: since when, until when, and what came instead.
//!
//! Taken from the published values files and the changelog up to 2026-10-08; the chart's own defaults, where they are at
//! hand, come on top.

use crate::values::lint::{KeyFact, KeyFacts, Number, Place, Relation, Shape, Wanted};

/// All of it, as [`crate::values::lint::lint_with`] takes it.
pub const FACTS: KeyFacts =
    KeyFacts { keys: KEYS, shapes: SHAPES, twins: TWINS, switches: SWITCHES, relations: RELATIONS };

const fn always(keys: &'static str) -> KeyFact {
    KeyFact { keys, from: None, until: None, instead: None }
}

const fn since(from: &'static str, keys: &'static str) -> KeyFact {
    KeyFact { keys, from: Some(from), until: None, instead: None }
}

const fn until(until: &'static str, keys: &'static str, instead: Option<&'static str>) -> KeyFact {
    KeyFact { keys, from: None, until: Some(until), instead }
}

const KEYS: &[KeyFact] = &[
    always("{stopped,sshKnownHostsConfigMapRef,nameOverride,createExamplesNamespace,useCertManager}"),
    always("{nodeSelector,kubectl}.*"),
    always("api.{replicas,hostName,certificateSecretName,image,debugSidecar}"),
    always("apiWorker.{replicas,terminationGracePeriodSeconds,image,debugSidecar}"),
    always("mintModelStepsApi.{enabled,replicas,image,debugSidecar}"),
    always("debugToolbox.{enabled,image}"),
    always("fuseDevicePlugin.{enabled,version,image}"),
    always("sharedVolumes.{projectGitRepos,stepProperties}.{storageClass,accessMode,size}"),
    always("buildService.{rootless,volume.{storageClass,accessMode,size},certificateSecretName,image,debugSidecar}"),
    always("imageRegistry.{certificateSecretName,copyCommandOverride}"),
    always("ldap.{enabled,replicas,volume.*,image,debugSidecar}"),
    always("logAggregator.{additionalOutputConfig,image,debugSidecar}"),
    always("db.{forcePgHost,forcePgPort,recoveryMode}"),
    always("secretVault.{externalCertificateSecretName,internalCertificateSecretName}"),
    always("secretVault.externalService.{enabled,nodePort}"),
    always(
        "kong.{priorityClassName,image.*,ingressController.*,nameOverride,proxy.*,admin.*,containerSecurityContext.*,**}",
    ),
    always("trow.{priorityClassName,image.*,trow.*,imagePullSecrets,nameOverride,fullnameOverride,service.*,**}"),
    always("trow.{volumeClaim.*,ingress.*,env.*,resources.*}"),
    always("env.{OPSCHAIN_VERSION,POSTGRESQL_VERSION,OPSCHAIN_KUBERNETES_NAMESPACE,OPSCHAIN_GUI_BASE_URL}"),
    always(
        "env.{OPSCHAIN_IMAGE_REGISTRY_HOST,OPSCHAIN_INGRESS_TLS_PORT,OPSCHAIN_API_HOST_NAME,OPSCHAIN_AUTH_STRATEGY}",
    ),
    always("env.{OPSCHAIN_DETERMINISTIC_KEY,OPSCHAIN_KEY_DERIVATION_SALT,OPSCHAIN_PRIMARY_KEY,PGPASSWORD,TZ,hostName}"),
    always("env.{OPSCHAIN_DOCKER_PASSWORD,OPSCHAIN_DOCKER_USER,OPSCHAIN_LDAP_PASSWORD,OPSCHAIN_LDAP_ADMIN}"),
    always("env.{OPSCHAIN_VAULT_ADDRESS,OPSCHAIN_VAULT_AUTH_METHOD,OPSCHAIN_VAULT_TOKEN,OPSCHAIN_VAULT_USERNAME}"),
    always("env.{OPSCHAIN_VAULT_PASSWORD,OPSCHAIN_VAULT_MOUNT_PATH,OPSCHAIN_VAULT_CLIENT_OPTIONS}"),
    always("env.{OPSCHAIN_LDAP_HOST,OPSCHAIN_LDAP_PORT}"),
    always("env.{OPSCHAIN_LDAP_BASE_DN,OPSCHAIN_LDAP_DOMAIN,OPSCHAIN_LDAP_ORGANISATION,OPSCHAIN_LDAP_LOG_LEVEL,*}"),
    since("2025-01-15", "openbao.{fullnameOverride,global.*,injector.*,server.*,**}"),
    since("2025-01-15", "{vaultAddress,vaultAuthMethod,vaultToken,vaultUsername,vaultPassword,vaultMountPath}"),
    since("2025-01-15", "{vaultUseMintEncryption,vaultClientOptions}"),
    since("2025-01-15", "{mintPressLicence,mintPressTransportableKey,mintPressChefClientKey}"),
    since("2025-09-30", "global.{secretVaultExternalHostName,**}"),
    since("2026-01-27", "stopDatabase"),
    since("2026-01-27", "db.cnpg.{clusterName,resources.*,imageName,primaryUpdateStrategy,primaryUpdateMethod,env.*}"),
    since("2026-01-27", "db.cnpg.{disableReadOnlyServices,primaryHeadlessService.enabled,annotations.*,instances}"),
    since("2026-01-27", "db.cnpg.database.{name,owner,secretName}"),
    since("2026-01-27", "db.cnpg.storage.{size,storageClass}"),
    since("2026-01-27", "db.cnpg.externalService.{enabled,nodePort}"),
    since("2026-01-27", "db.cnpg.{externalClusters,replica.{enabled,primary,source,promotionToken}}"),
    since("2026-01-27", "db.cnpg.security.tls.{serverAltDNSNames,customCerts.*}"),
    since("2026-01-27", "db.cnpg.security.pgHba.{customRules,additionalCidrs}"),
    since("2026-01-27", "db.cnpg.postgresql.parameters.*"),
    since("2026-02-20", "logAggregator.volume.{storageClass,accessMode,size}"),
    since("2026-03-27", "secretVault.unsealKey"),
    since("2026-03-27", "env.OPSCHAIN_ENCRYPTION_SEED_KEY"),
    since("2026-04-21", "env.OPSCHAIN_TOKEN_SECRET_KEY"),
    since("2026-05-26", "registryReconcile.{enabled,schedule,successfulJobsHistoryLimit,failedJobsHistoryLimit,env.*}"),
    since("2026-05-26", "registryReconcile.{image,resources.*}"),
    since(
        "2026-06-04",
        "{api,apiWorker,mintModelStepsApi,debugToolbox,fuseDevicePlugin,buildService,imageCopyJob,ldap,logAggregator}.env",
    ),
    since("2026-07-09", "db.backup.{image,imagePullPolicy,maxRate,storage.*,retention.{count,days},resources.*}"),
    since("2026-07-09", "db.backup.periodic.{enabled,method,schedule,successfulJobsHistoryLimit}"),
    since("2026-07-09", "db.backup.periodic.{failedJobsHistoryLimit,timeoutSeconds,startingDeadlineSeconds}"),
    since("2026-07-09", "db.backup.preDeploy.{enabled,method,timeoutSeconds}"),
    since("2026-07-09", "db.backup.recovery.{enabled,mountDataVolume,dataVolumeClaim,resources.*}"),
    since("2026-07-28", "db.cnpg.pooler.{enabled,instances,resources.*,image,imagePullPolicy,pgbouncer.*}"),
    since("2026-07-28", "db.cnpg.pooler.terminationGracePeriodSeconds"),
    since("2026-08-10", "reloader.{global.*,image.*,reloader.*,**}"),
    since(
        "2026-08-10",
        "rollStaleSecretVaultPods.{enabled,schedule,successfulJobsHistoryLimit,failedJobsHistoryLimit}",
    ),
    since("2026-08-10", "rollStaleSecretVaultPods.{image,resources.*}"),
    since("2026-08-20", "imageWarmJob.{enabled,timeoutSeconds,image,env}"),
    since("2026-08-20", "global.secretVaultExternalPort"),
    since("2026-09-10", "rolloutGuard.{enabled,migrationVersion,drainTimeoutSeconds,migrationWaitTimeoutSeconds}"),
    since("2026-09-10", "trustStore.certificates.*"),
    since("2026-10-08", "priorityClasses.{enabled,runner.{name,value}}"),
    since("2026-10-08", "{api,apiWorker,mintModelStepsApi,buildService,ldap,logAggregator}.resources.*"),
    until("2026-01-27", "db.image", Some("db.cnpg.imageName")),
    until("2026-01-27", "db.volume", Some("db.cnpg.storage")),
    until("2026-01-27", "db.maxConnections", Some("db.cnpg.postgresql.parameters.max_connections")),
    until("2026-01-27", "db.shmVolume", Some("db.cnpg")),
    until("2026-03-27", "secretVault.volume", None),
    until("2026-05-18", "mintPressSSHKey", None),
    until("2026-07-17", "mintModelApi", None),
    until(
        "2026-08-20",
        "global.ingressTlsPort",
        Some("global.secretVaultExternalPort: as long as this one is set, it wins"),
    ),
];

const SHAPES: &[(&[&str], Shape)] = &[
    (&["env", "OPSCHAIN_DETERMINISTIC_KEY"], Shape::Characters(32)),
    (&["env", "OPSCHAIN_ENCRYPTION_SEED_KEY"], Shape::Characters(32)),
    (&["env", "OPSCHAIN_KEY_DERIVATION_SALT"], Shape::Characters(32)),
    (&["env", "OPSCHAIN_PRIMARY_KEY"], Shape::Characters(32)),
    (&["env", "OPSCHAIN_TOKEN_SECRET_KEY"], Shape::Characters(64)),
    (&["secretVault", "unsealKey"], Shape::Base64(32)),
];

/// Of an external vault, some values are said twice; and the seed key took over the transportable key's value.
const TWINS: &[(&str, &str)] = &[
    ("vaultToken", "OPSCHAIN_VAULT_TOKEN"),
    ("vaultPassword", "OPSCHAIN_VAULT_PASSWORD"),
    ("mintPressTransportableKey", "OPSCHAIN_ENCRYPTION_SEED_KEY"),
];

/// Booleans of the published values files.
const SWITCHES: &[&str] = &[
    "stopped",
    "stopDatabase",
    "createExamplesNamespace",
    "useCertManager",
    "debugSidecar",
    "rootless",
    "disableReadOnlyServices",
    "mountDataVolume",
    "tlsDisable",
    "watchGlobally",
    "allowPrivilegeEscalation",
];

/// What the shipped comments and the documentation ask for.
const RELATIONS: &[Relation] = &[
    Relation::Equal(&["env", "OPSCHAIN_INGRESS_TLS_PORT"], &["kong", "proxy", "tls", "servicePort"]),
    Relation::Equal(&["env", "OPSCHAIN_IMAGE_REGISTRY_HOST"], &["trow", "trow", "domain"]),
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
    Relation::Needs {
        when: (&["db", "cnpg", "replica", "enabled"], true),
        wants: (&["db", "cnpg", "replica", "source"], Wanted::Given),
        why: "a replica must know what it follows",
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
    Relation::Needs { when: (&["stopDatabase"], true), wants: (place, wanted), why }
}

const fn with_data_volume(place: Place, why: &'static str) -> Relation {
    let when: (Place, bool) = (&["db", "backup", "recovery", "mountDataVolume"], true);
    Relation::Needs { when, wants: (place, Wanted::Is(true)), why }
}

const fn without_cert_manager(place: Place) -> Relation {
    let why = "without cert-manager every certificate must be given";
    Relation::Needs { when: (&["useCertManager"], false), wants: (place, Wanted::Given), why }
}

const fn without_classes(place: Place) -> Relation {
    let why = "a pod cannot name a priority class that is not made";
    Relation::Needs { when: (&["priorityClasses", "enabled"], false), wants: (place, Wanted::Empty), why }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::opschain::releases;
    use crate::values::Tree;
    use crate::values::lint::{Context, lint_with};

    fn findings(yaml: &str, version: Option<&str>) -> Vec<String> {
        let tree = Tree::parse(yaml.as_bytes()).unwrap();
        let found = lint_with(&tree, yaml.as_bytes(), &Context { defaults: None, version, facts: &FACTS });
        found.iter().map(|f| format!("{} {}", f.id, f.path.clone().unwrap_or_default())).collect()
    }

    #[test]
    fn every_key_is_a_name_or_a_star() {
        let odd = |step: &String| step.is_empty() || step.contains(['{', '}', ',', ' ']);
        for fact in KEYS {
            let paths = fact.paths();
            assert!(!paths.iter().flatten().any(odd), "{} comes to {paths:?}", fact.keys);
        }
    }

    /// What a chart gives as its own is known here too, so that an operator without the chart is not warned of it.
    #[test]
    fn the_stand_in_charts_own_values_are_clean() {
        let path = format!("{}/fixtures/charts/opschain/values.yaml", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).unwrap();
        assert_eq!(findings(&text, Some("2026-10-08")), Vec::<String>::new());
    }

    #[test]
    fn a_file_with_every_documented_part_is_clean() {
        let yaml = "\
db:
  cnpg:
    replica: {enabled: false, primary: a, source: b, promotionToken: eyJkYXRhYmFzZVN5c3RlbUlkZW50aWZpZXIiOiI3M}
    externalClusters:
    - {name: b, connectionParameters: {host: h, sslmode: verify-ca}, sslKey: {name: x, key: tls.key}}
    security: {tls: {customCerts: {enabled: true, serverCASecret: a}}, pgHba: {additionalCidrs: [10.0.0.0/8]}}
    pooler: {enabled: true, pgbouncer: {parameters: {default_pool_size: \"150\"}}}
    postgresql: {parameters: {log_min_duration_statement: \"1000\"}}
  backup:
    retention: {count: 7, days: 0}
    recovery: {enabled: false, resources: {requests: {cpu: 50m}}}
buildService: {volume: {storageClass: longhorn, accessMode: ReadWriteOnce, size: 50Gi}}
fuseDevicePlugin: {enabled: true, env: [{name: A, value: b}]}
priorityClasses: {enabled: true, runner: {name: x, value: 1000}}
kong: {ingressController: {ingressClass: x}, proxy: {tls: {servicePort: 3443}, http: {enabled: false}}}
trow: {trow: {domain: a.b:3443}, ingress: {hosts: [], annotations: {x: z}}}
openbao: {server: {affinity: \"{{ x }}\", livenessProbe: {enabled: true}, ha: {config: \"{{ y }}\"}}}
env: {OPSCHAIN_OVERRIDE_AUTH_STRATEGY: local, OPSCHAIN_LDAP_HOST: h, HTTP_PROXY: \"http://proxy:3128\"}
";
        assert_eq!(findings(yaml, Some("2026-10-08")), Vec::<String>::new());
        assert_eq!(
            findings("db: {backup: {retention: {counts: 7}}}\n", None),
            ["unknown-key db.backup.retention.counts"]
        );
    }

    #[test]
    fn keys_that_belong_together_are_found_apart() {
        for (yaml, place) in [
            (
                "env: {OPSCHAIN_INGRESS_TLS_PORT: 443}\nkong: {proxy: {tls: {servicePort: 3443}}}\n",
                "env.OPSCHAIN_INGRESS_TLS_PORT",
            ),
            ("vaultAddress: http://a\nenv: {OPSCHAIN_VAULT_ADDRESS: http://b}\n", "env.OPSCHAIN_VAULT_ADDRESS"),
            ("stopDatabase: true\n", "stopDatabase"),
            ("db: {cnpg: {replica: {enabled: true}}}\n", "db.cnpg.replica.enabled"),
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
        assert_eq!(count("priorityClasses: {enabled: false}\n"), 4, "each chart that names the class");
        assert_eq!(count("db: {backup: {recovery: {mountDataVolume: true}}}\n"), 2, "the pod, and the database off");
        let recovery =
            "stopped: true\nstopDatabase: true\ndb: {backup: {recovery: {enabled: true, mountDataVolume: true}}}\n";
        assert_eq!(count(recovery), 0, "as the guide has it");
        let registry = "env: {OPSCHAIN_IMAGE_REGISTRY_HOST: a.b}\ntrow: {trow: {domain: \"a.b:3443\"}}\n";
        assert_eq!(count(registry), 0, "the domain has the port");
    }

    #[test]
    fn switches_are_known_without_the_chart() {
        assert_eq!(findings("stopped: \"false\"\n", None), ["text-as-boolean stopped"]);
        assert_eq!(findings("api: {debugSidecar: 'no'}\n", None), ["text-as-boolean api.debugSidecar"]);
        assert_eq!(findings("api: {debugSidecar: NO}\n", None), Vec::<String>::new());
        assert_eq!(findings("stopped: [false]\n", None), ["wrong-type stopped"]);
        assert_eq!(findings("api: {replicas: [1]}\n", None), ["wrong-type api.replicas"]);
        assert_eq!(findings("api: {replicas: {count: 1}}\n", None), ["wrong-type api.replicas"]);
    }

    #[test]
    fn every_date_is_a_release() {
        for date in KEYS.iter().flat_map(|fact| [fact.from, fact.until]).flatten() {
            assert!(releases::ALL.iter().any(|release| release.date.to_string() == date), "{date}");
        }
    }

    #[test]
    fn the_published_files_are_clean_at_their_own_release() {
        for version in ["2026-08-20", "2026-09-14", "2026-10-08"] {
            let path = format!("{}/fixtures/values/{version}.yaml", env!("CARGO_MANIFEST_DIR"));
            let text = std::fs::read_to_string(path).unwrap();
            assert_eq!(findings(&text, Some(version)), Vec::<String>::new(), "{version}");
        }
    }

    #[test]
    fn a_key_of_a_later_release_and_one_of_an_older_are_found() {
        assert_eq!(findings("rolloutGuard: {enabled: true}\n", Some("2026-08-20")), ["unknown-key rolloutGuard"]);
        assert_eq!(findings("global: {ingressTlsPort: 1}\n", None), ["deprecated-key global.ingressTlsPort"]);
        assert_eq!(findings("db: {cnpg: {instance: 1}}\n", None), ["unknown-key db.cnpg.instance"]);
        assert_eq!(findings("cnpg: {instances: 1}\n", None), ["misplaced-key cnpg"]);
    }
}
