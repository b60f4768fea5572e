//! The keys of `values.yaml` that the releases of OpsChain know: since when, until when, and what came instead.
//!
//! Taken from the published values files and the changelog up to 2026-10-08; the chart's own defaults, where they are at
//! hand, come on top.

use super::relations::RELATIONS;
use super::values::SECRET;
use crate::values::lint::{KeyFact, KeyFacts, Place, SecretForm, Shape};

/// All of it, as [`crate::values::lint::lint_with`] takes it.
pub const FACTS: KeyFacts = KeyFacts {
    keys: KEYS,
    secrets: SECRET,
    shapes: SHAPES,
    twins: TWINS,
    switches: SWITCHES,
    texts: TEXTS,
    relations: RELATIONS,
};

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
    always("{nodeSelector.*,kubectl.image}"),
    always("api.{replicas,hostName,certificateSecretName,image,debugSidecar}"),
    always("apiWorker.{replicas,terminationGracePeriodSeconds,image,debugSidecar}"),
    always("mintModelStepsApi.{enabled,replicas,image,debugSidecar}"),
    always("debugToolbox.{enabled,image}"),
    always("fuseDevicePlugin.{enabled,version,image}"),
    always("sharedVolumes.{projectGitRepos,stepProperties}.{storageClass,accessMode,size}"),
    always("buildService.{rootless,volume.{storageClass,accessMode,size},certificateSecretName,image,debugSidecar}"),
    always("imageRegistry.{certificateSecretName,copyCommandOverride}"),
    always("ldap.{enabled,replicas,volume.{storageClass,accessMode,size},image,debugSidecar}"),
    always("logAggregator.{additionalOutputConfig,image,debugSidecar}"),
    always("db.{forcePgHost,forcePgPort,recoveryMode}"),
    always("secretVault.{externalCertificateSecretName,internalCertificateSecretName}"),
    always("secretVault.externalService.{enabled,nodePort}"),
    // What the shipped files have of other charts; there is more to each.
    always("{kong,trow}.{priorityClassName,nameOverride,**}"),
    always("kong.{image,ingressController.image}.{repository,tag,pullSecrets,**}"),
    always("kong.{ingressController.**,containerSecurityContext.{allowPrivilegeEscalation,**}}"),
    always("kong.proxy.{http,tls}.{enabled,containerPort,servicePort,**}"),
    always("kong.{proxy.**,admin.{tls.{parameters,**},**}}"),
    always("trow.{image.{repository,tag,pullPolicy,**},imagePullSecrets,fullnameOverride,service.{type,**},env}"),
    always("trow.trow.{user,password,domain,proxyRegistries.{config.{registries,max_size,**},**},**}"),
    always("trow.{volumeClaim.{accessModes,**},ingress.{enabled,hosts,tls,annotations.*,**},resources.*}"),
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
    since("2025-01-15", "openbao.{fullnameOverride,injector.{enabled,**},**}"),
    since("2025-01-15", "openbao.global.{enabled,tlsDisable,imagePullSecrets,**}"),
    since("2025-01-15", "openbao.server.{enabled,priorityClassName,volumes,volumeMounts,affinity,resources.*,**}"),
    since("2025-01-15", "openbao.server.{image.{registry,repository,tag,**},extraSecretEnvironmentVars}"),
    since("2025-01-15", "openbao.server.{ingress.{enabled,**},dataStorage.{enabled,**},standalone.{enabled,**}}"),
    since("2025-01-15", "openbao.server.service.{active.{enabled,**},standby.{enabled,**},annotations.*,**}"),
    since("2025-01-15", "openbao.server.serviceAccount.{serviceDiscovery.{enabled,**},**}"),
    since("2025-01-15", "openbao.server.{statefulSet.{annotations.*,**},livenessProbe.{enabled,execCommand,**}}"),
    since("2025-01-15", "openbao.server.ha.{enabled,replicas,config,disruptionBudget.{enabled,**},**}"),
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
    since("2026-05-26", "registryReconcile.{enabled,schedule,successfulJobsHistoryLimit,failedJobsHistoryLimit,env}"),
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
    since(
        "2026-07-28",
        "db.cnpg.pooler.{enabled,instances,resources.*,image,imagePullPolicy,pgbouncer.{parameters.*,*}}",
    ),
    since("2026-07-28", "db.cnpg.pooler.terminationGracePeriodSeconds"),
    since("2026-08-10", "reloader.{global.{imagePullSecrets,**},image.{name,repository,tag,**},**}"),
    since("2026-08-10", "reloader.reloader.{custom_annotations.*,watchGlobally,reloadStrategy,**}"),
    since("2026-08-10", "reloader.reloader.deployment.{priorityClassName,labels.*,**}"),
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

const SHAPES: &[SecretForm] = &[
    form(&["env", "OPSCHAIN_DETERMINISTIC_KEY"], Shape::Characters(32)),
    form(&["env", "OPSCHAIN_ENCRYPTION_SEED_KEY"], Shape::Characters(32)),
    form(&["env", "OPSCHAIN_KEY_DERIVATION_SALT"], Shape::Characters(32)),
    form(&["env", "OPSCHAIN_PRIMARY_KEY"], Shape::Characters(32)),
    form(&["env", "OPSCHAIN_TOKEN_SECRET_KEY"], Shape::Characters(64)),
    SecretForm {
        part: Some(&["openbao", "global", "enabled"]),
        ..form(&["secretVault", "unsealKey"], Shape::Base64(Some(32)))
    },
    encoded(&["mintPressLicence"]),
    encoded(&["mintPressTransportableKey"]),
    encoded(&["mintPressChefClientKey"]),
];

const fn form(keys: Place, shape: Shape) -> SecretForm {
    SecretForm { keys, shape, from: None, part: None }
}

/// Before that release, the shipped comments asked for "the contents".
const fn encoded(keys: Place) -> SecretForm {
    SecretForm { from: Some("2026-10-08"), ..form(keys, Shape::Base64(None)) }
}

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

/// Texts of the published values files, where a word might be read as a boolean.
#[rustfmt::skip]
const TEXTS: &[&str] = &[
    "hostName", "clusterName", "owner", "method", "schedule", "storageClass", "accessMode", "size", "maxRate",
    "imagePullPolicy", "pullPolicy", "primaryUpdateStrategy", "primaryUpdateMethod", "primary", "source",
    "secretVaultExternalHostName", "reloadStrategy", "nameOverride", "fullnameOverride", "vaultAuthMethod",
    "certificateSecretName", "externalCertificateSecretName", "internalCertificateSecretName", "priorityClassName", "type",
    "user", "domain", "repository", "registry", "forcePgHost", "vaultMountPath", "vaultUsername",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::opschain::releases;
    use crate::opschain::testing::findings;

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
    fn switches_are_known_without_the_chart() {
        assert_eq!(findings("stopped: \"false\"\n", None), ["text-as-boolean stopped"]);
        assert_eq!(findings("api: {debugSidecar: 'no'}\n", None), ["text-as-boolean api.debugSidecar"]);
        assert_eq!(findings("api: {debugSidecar: NO}\n", None), Vec::<String>::new());
        assert_eq!(findings("stopped: [false]\n", None), ["wrong-type stopped"]);
        assert_eq!(findings("api: {replicas: [1]}\n", None), ["wrong-type api.replicas"]);
        assert_eq!(findings("api: {replicas: {count: 1}}\n", None), ["wrong-type api.replicas"]);
    }

    #[test]
    fn a_slip_in_a_part_of_another_chart_is_found() {
        for (yaml, place) in [
            ("trow: {trow: {pasword: q8Lw2zKdVx91}}\n", "unknown-key trow.trow.pasword"),
            ("trow: {password: q8Lw2zKdVx91}\n", "misplaced-key trow.password"),
            ("openbao: {server: {ha: {replica: 3}}}\n", "unknown-key openbao.server.ha.replica"),
            ("openbao: {server: {replicas: 3}}\n", "misplaced-key openbao.server.replicas"),
            ("openbao: {server: {ingres: {enabled: true}}}\n", "unknown-key openbao.server.ingres"),
            ("kong: {image: {respository: x}}\n", "unknown-key kong.image.respository"),
            ("kong: {proxy: {Tls: {enabled: true}}}\n", "unknown-key kong.proxy.Tls"),
            ("kong: {proxy: {tls: {serviceport: 8443}}}\n", "unknown-key kong.proxy.tls.serviceport"),
            ("kong: {proxy.tls.servicePort: 8443}\n", "misplaced-key kong.\"proxy.tls.servicePort\""),
            ("ldap: {volume: {sise: 1Gi}}\n", "unknown-key ldap.volume.sise"),
            ("reloader: {watchGlobally: true}\n", "misplaced-key reloader.watchGlobally"),
            ("ldap: {password: q8Lw2zKdVx91}\n", "unknown-key ldap.password"),
            ("PGPASSWORD: q8Lw2zKdVx91\n", "misplaced-key PGPASSWORD"),
            ("api: {PGPASSWORD: q8Lw2zKdVx91}\n", "misplaced-key api.PGPASSWORD"),
            ("db: {user: x}\n", "unknown-key db.user"),
            ("api: {certificates: {a: b}}\n", "unknown-key api.certificates"),
            (
                "db: {cnpg: {pooler: {parameters: {default_pool_size: '100'}}}}\n",
                "misplaced-key db.cnpg.pooler.parameters",
            ),
        ] {
            assert_eq!(findings(yaml, None), [place], "{yaml}");
        }
        // What these charts have beside what is shipped.
        let own = "\
kong: {replicaCount: 2, env: {database: x}, proxy: {type: NodePort, http: {nodePort: 30080}}, admin: {enabled: true}}
trow: {replicaCount: 1, env: [{name: A, value: b}], volumeClaim: {resources: {requests: {storage: 9Gi}}}}
openbao:
  injector: {enabled: true, replicas: 2}
  ui: {enabled: true}
  server: {standalone: {config: x}, ha: {raft: {enabled: true}}, readinessProbe: {enabled: true}, service: {port: 8200}}
reloader: {enabled: true, reloader: {logLevel: info, deployment: {replicas: 2}}}
";
        assert_eq!(findings(own, None), Vec::<String>::new());
    }

    #[test]
    fn secrets_that_are_read_otherwise_are_found_in_their_places() {
        for (yaml, place) in [
            ("trow: {trow: {password: {}}}\n", "secret-not-text trow.trow.password"),
            ("trow: {trow: {password: {a: b}}}\n", "wrong-type trow.trow.password"),
            ("db: {cnpg: {replica: {promotionToken: []}}}\n", "secret-not-text db.cnpg.replica.promotionToken"),
            ("mintPressLicence: no\n", "secret-not-text mintPressLicence"),
            ("env: {OPSCHAIN_DOCKER_USER: yes}\n", "secret-not-text env.OPSCHAIN_DOCKER_USER"),
            ("mintPressLicence: 'hello world!!'\n", "secret-shape mintPressLicence"),
            ("api: {hostName: no}\n", "boolean-as-text api.hostName"),
            ("db: {cnpg: {clusterName: on}}\n", "boolean-as-text db.cnpg.clusterName"),
            ("trow: {service: {type: no}}\n", "boolean-as-text trow.service.type"),
        ] {
            assert_eq!(findings(yaml, None), [place], "{yaml}");
        }
        assert_eq!(findings("mintPressLicence: 'hello world!!'\n", Some("2026-09-14")), Vec::<String>::new());
        assert_eq!(findings("secretVault: {unsealKey: ''}\nenv: {PGPASSWORD: }\n", None), Vec::<String>::new());
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
