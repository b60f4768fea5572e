//! A schedule in the cluster, as objects: what its pods are told, and what they are not. Nothing here asks anybody.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::cluster::pod::render;
use crate::error::{CommandError, Exit, Result};
use crate::ops::rbac;
use crate::settings::{HelmSettings, Install, Keys, Settings, StoreSettings, VaultSettings};

const TEMPLATE: &str = include_str!("../../../templates/schedule.yaml");

/// The longest name of a CronJob: Kubernetes appends eleven letters for each Job.
const LONGEST_NAME: usize = 52;
/// The key of the Secret with the signing key.
pub(super) const SIGNING_KEY: &str = "signing_key";
/// The key of a Secret with the bucket's access key, as Amazon's tools write it.
pub(super) const CREDENTIALS: &str = "credentials";

/// What the objects of an install's schedule are called.
pub(super) fn name(install: &Install) -> String {
    let plain = format!("dr-bundle-{}", install.release.replace('.', "-"));
    if plain.len() <= LONGEST_NAME && !install.release.contains('.') {
        return plain;
    }
    let told = hex::encode(Sha256::digest(install.release.as_bytes()));
    let kept = &plain[..plain.len().min(LONGEST_NAME - 9)];
    format!("{}-{}", kept.trim_end_matches('-'), &told[..8])
}

/// The Secret with the key that signs, and the one with what was taken from the vault.
pub(super) fn secrets_of(name: &str) -> (String, String) {
    (format!("{name}-key"), format!("{name}-config"))
}

/// What goes into the objects.
pub(super) struct ScheduleParts<'a> {
    pub install: &'a Install,
    pub image: &'a str,
    pub at: &'a str,
    pub time_zone: &'a str,
    pub deadline_seconds: u64,
    pub pull_secrets: &'a [String],
    /// The Secret with the bucket's key, where one is named.
    pub credentials: Option<&'a str>,
    /// `dr.toml` of the pods.
    pub settings: &'a str,
    /// The certificates to trust, where the bucket is spoken with over TLS.
    pub certificates: Option<&'a str>,
}

impl ScheduleParts<'_> {
    /// The objects without its Secrets, in the order in which they are made.
    ///
    /// # Errors
    /// The template is broken.
    pub fn objects(&self) -> Result<Vec<Value>> {
        let (name, namespace): (String, &str) = (name(self.install), &self.install.namespace);
        let (key, carried) = secrets_of(&name);
        let mut settings = json!({"dr.toml": self.settings});
        if let Some(certificates) = self.certificates {
            settings["ca.crt"] = certificates.into();
        }
        let source =
            |secret: &str, item: &str| json!({"secret": {"name": secret, "items": [{"key": item, "path": item}]}});
        let keys: Vec<Value> = [source(&key, SIGNING_KEY), json!({"configMap": {"name": name}})]
            .into_iter()
            .chain(self.credentials.map(|secret| source(secret, CREDENTIALS)))
            .collect();
        let pull_secrets: Vec<Value> = self.pull_secrets.iter().map(|name| json!({"name": name})).collect();
        let values = BTreeMap::from([
            ("name", json!(name)),
            ("namespace", json!(namespace)),
            ("release", json!(self.install.release)),
            ("who", json!(format!("{name}@{namespace}"))),
            ("pull_secrets", json!(pull_secrets)),
            ("settings", settings),
            ("schedule", json!(self.at)),
            ("time_zone", json!(self.time_zone)),
            ("deadline_seconds", json!(self.deadline_seconds)),
            ("image", json!(self.image)),
            ("carried_secret", json!(carried)),
            ("keys", json!(keys)),
        ]);
        let broken = |error: String| CommandError::new(Exit::Failure, format!("fill templates/schedule.yaml: {error}"));
        let yaml = render("schedule.yaml", TEMPLATE, &values).map_err(|error| broken(error.to_string()))?;
        let list: Value = serde_yaml::from_str(&yaml).map_err(|error| broken(error.to_string()))?;
        let mut objects = list["items"].as_array().cloned().unwrap_or_default();
        // The CronJob is last: it starts nothing before all is there.
        let cron_job = objects.pop().into_iter();
        Ok(objects.into_iter().chain(rbac::of_schedule(namespace, &name)).chain(cron_job).collect())
    }

    /// The name of everything that is made, Secrets included, by kind: what is taken away again.
    pub fn all(&self) -> Result<Vec<Value>> {
        let (key, carried) = secrets_of(&name(self.install));
        let mut all: Vec<Value> =
            [key, carried].iter().map(|name| secret(self.install, name, BTreeMap::new())).collect();
        all.extend(self.objects()?);
        Ok(all)
    }
}

/// A Secret of the schedule.
pub(super) fn secret(install: &Install, name: &str, files: BTreeMap<String, Vec<u8>>) -> Value {
    use base64::Engine as _;
    let encoded = |bytes: Vec<u8>| base64::engine::general_purpose::STANDARD.encode(bytes);
    let data: BTreeMap<String, String> = files.into_iter().map(|(name, bytes)| (name, encoded(bytes))).collect();
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name,
            "namespace": install.namespace,
            "labels": {
                "app.kubernetes.io/managed-by": "dr",
                "app.kubernetes.io/component": "schedule",
                "dr.opschain/release": install.release,
            },
        },
        "data": data,
    })
}

/// The settings of the pods: those of this host, with the places that the pods know, and without what opens anything.
///
/// # Errors
/// They cannot be written.
pub(super) fn settings(of_host: &Settings, has_credentials: bool, has_certificates: bool) -> Result<String> {
    let store = StoreSettings {
        path: None,
        ca_file: has_certificates.then(|| "/keys/ca.crt".into()),
        credentials_file: has_credentials.then(|| "/keys/credentials".into()),
        mirrors: Vec::new(),
        policy: Default::default(),
        ..of_host.store.clone()
    };
    let settings = Settings {
        install: Install { context: None, ..of_host.install.clone() },
        database: of_host.database.clone(),
        keys: Keys {
            recipients: of_host.keys.recipients.clone(),
            signing_key: Some("/keys/signing_key".into()),
            ..Keys::default()
        },
        vault: VaultSettings { path: None, carried: Some("/carried".into()) },
        store,
        bundle: of_host.bundle.clone(),
        pods: of_host.pods.clone(),
        helm: HelmSettings { stored: true, ..HelmSettings::default() },
        ..Settings::default()
    };
    toml::to_string(&settings)
        .map_err(|error| CommandError::new(Exit::Failure, "write the settings of the schedule").because(error))
}

/// What of this host's settings the pods do not have, in words.
pub(super) fn not_passed_on(of_host: &Settings) -> Vec<String> {
    let mut left = Vec::new();
    if of_host.maintenance.token_file.is_some() {
        left.push("[maintenance]: work without a pod is not looked at before the application is stopped".to_owned());
    }
    if !of_host.hooks.is_empty() {
        left.push("[[hooks]]: they run on this host only".to_owned());
    }
    if !of_host.notify.is_empty() {
        left.push("[[notify]]: nobody is told of it by dr".to_owned());
    }
    if !of_host.store.mirrors.is_empty() {
        left.push("[[store.mirrors]]: `dr bundle copy` makes up for them".to_owned());
    }
    left
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn of_host() -> Settings {
        let text = "[install]\ncontext = \"prod\"\nnamespace = \"ops\"\n[keys]\nidentity = \"/secret/identity\"\nrecipients = [\"age1x\"]\nsigning_key = \"/k\"\n\
            [vault]\npath = \"/vault\"\n[store]\nurl = \"s3://b/x\"\nendpoint = \"https://h\"\nmax_rate = \"10M\"\ncredentials_file = \"/c\"\n\
            [[store.mirrors]]\npath = \"/m\"\n[bundle]\ndrain_timeout = \"5m\"\n[maintenance]\ntoken_file = \"/t\"\n\
            [[hooks]]\nrun = \"/h\"\nwhen = \"before\"\nverb = \"create\"\n";
        Settings::parse(text, Path::new("dr.toml")).unwrap()
    }

    fn parts(settings: &str) -> Vec<Value> {
        let install = of_host().install;
        let parts = ScheduleParts {
            install: &install,
            image: "r.example/dr:1",
            at: "0 2 * * *",
            time_zone: "Europe/Berlin",
            deadline_seconds: 3600,
            pull_secrets: &["pull".to_owned()],
            credentials: Some("bucket"),
            settings,
            certificates: Some("PEM"),
        };
        parts.objects().unwrap()
    }

    #[test]
    fn the_pods_settings_are_read_again_and_name_no_key_that_opens_anything() {
        let text = settings(&of_host(), true, true).unwrap();
        let read = Settings::parse(&text, Path::new("dr.toml")).unwrap();
        assert_eq!((read.keys.identity, read.vault.path, read.install.context), (None, None, None));
        assert_eq!(read.keys.recipients, ["age1x"]);
        assert_eq!(read.bundle, of_host().bundle);
        assert_eq!(read.store.place().as_deref(), Some("s3://b/x"));
        assert_eq!(read.store.credentials_file.as_deref(), Some(Path::new("/keys/credentials")));
        assert!(read.helm.stored && read.hooks.is_empty() && read.store.mirrors.is_empty());
        assert_eq!(not_passed_on(&of_host()).len(), 3);
    }

    #[test]
    fn a_pod_is_admitted_under_restricted_and_the_cron_job_comes_last() {
        let objects = parts("x = 1");
        let kinds: Vec<&str> = objects.iter().map(|one| one["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds[..3], ["ServiceAccount", "ConfigMap", "PersistentVolumeClaim"]);
        assert_eq!(kinds[3..], ["Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding", "CronJob"]);
        let spec = &objects[7]["spec"];
        assert_eq!((&spec["timeZone"], &spec["concurrencyPolicy"]), (&"Europe/Berlin".into(), &"Forbid".into()));
        let job = &spec["jobTemplate"]["spec"];
        assert_eq!((&job["backoffLimit"], &job["activeDeadlineSeconds"]), (&0.into(), &3600.into()));
        let pod = &job["template"]["spec"];
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
        for container in [&pod["initContainers"][0], &pod["containers"][0]] {
            assert_eq!(container["securityContext"]["allowPrivilegeEscalation"], false);
            assert_eq!(container["securityContext"]["capabilities"]["drop"], json!(["ALL"]));
            assert_eq!(container["image"], "r.example/dr:1");
        }
        assert_eq!(objects[6]["subjects"][0]["name"], "dr-bundle-opschain");
        assert_eq!(objects[5]["metadata"]["name"], "dr-bundle-opschain-ops");
        assert!(objects.iter().all(|one| one["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "dr"));
    }

    #[test]
    fn a_long_or_dotted_release_has_a_name_of_its_own_that_kubernetes_takes() {
        let named = |release: &str| name(&Install { release: release.parse().unwrap(), ..Install::default() });
        assert_eq!(named("opschain"), "dr-bundle-opschain");
        let (long, other) = (named(&"a".repeat(53)), named(&"a".repeat(52)));
        assert!(long != other && long.len() <= LONGEST_NAME && other.len() <= LONGEST_NAME, "{long} {other}");
        assert_ne!(named("a.b"), named("a-b"));
    }
}
