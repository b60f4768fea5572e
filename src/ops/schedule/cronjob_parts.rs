//! A schedule in the cluster, as objects: what its pods are told, and what they are not. Nothing here asks anybody.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::cluster::PodPlacement;
use crate::cluster::pod::render;
use crate::error::{CommandError, Exit, Result};
use crate::ops::rbac;
use crate::settings::{HelmSettings, Install, Keys, Settings, StoreSettings, VaultSettings};

const TEMPLATE: &str = include_str!("../../../templates/schedule.yaml");

/// The longest name of a CronJob: Kubernetes appends eleven letters for each Job.
const LONGEST_NAME: usize = 52;
/// The key of the Secret with the signing key.
pub(super) const SIGNING_KEY: &str = "signing_key";
/// The key of the ConfigMap with the settings of the pods.
pub(super) const SETTINGS: &str = "dr.toml";
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
    /// Whether it starts nothing.
    pub paused: bool,
    pub pull_secrets: &'a [String],
    /// What leads out of the cluster: proxies. Nothing secret.
    pub environment: &'a BTreeMap<String, String>,
    /// Where the database's pods may run.
    pub placement: &'a PodPlacement,
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
        let mut settings = json!({SETTINGS: self.settings});
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
        let variable = |name: &str, value: &str| json!({"name": name, "value": value});
        let own = [variable("HOME", "/state"), variable("DR_WHO", &format!("{name}@{namespace}"))];
        let environment: Vec<Value> =
            own.into_iter().chain(self.environment.iter().map(|(name, value)| variable(name, value))).collect();
        let values = BTreeMap::from([
            ("name", json!(name)),
            ("namespace", json!(namespace)),
            ("release", json!(self.install.release)),
            ("paused", json!(self.paused)),
            ("environment", json!(environment)),
            ("node_selector", json!(self.placement.node_selector)),
            ("tolerations", json!(self.placement.tolerations)),
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
}

/// Everything that is made for an install, Secrets included, by kind and name: what is taken away again.
///
/// # Errors
/// The template is broken.
pub(super) fn all(install: &Install) -> Result<Vec<Value>> {
    let (key, carried) = secrets_of(&name(install));
    let mut all: Vec<Value> = [key, carried].iter().map(|name| secret(install, name, BTreeMap::new())).collect();
    let parts = ScheduleParts {
        install,
        image: "",
        at: "",
        time_zone: "",
        deadline_seconds: 0,
        paused: false,
        pull_secrets: &[],
        environment: &BTreeMap::new(),
        placement: &PodPlacement::default(),
        credentials: None,
        settings: "",
        certificates: None,
    };
    all.extend(parts.objects()?);
    Ok(all)
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

/// What the pods' settings have that is not this host's.
pub(super) struct PodSettingsParts {
    /// Whom the bundles are sealed to.
    pub recipients: Vec<String>,
    pub has_credentials: bool,
    pub has_certificates: bool,
    /// The bucket's server and region, where the settings leave them to the environment.
    pub endpoint: Option<String>,
    pub region: Option<String>,
}

/// The settings of the pods: those of this host, with the places that the pods know, and without what opens anything.
///
/// # Errors
/// They cannot be written.
pub(super) fn settings(of_host: &Settings, parts: PodSettingsParts) -> Result<String> {
    let PodSettingsParts { recipients, has_credentials, has_certificates, endpoint, region } = parts;
    let store = StoreSettings {
        endpoint: of_host.store.endpoint.clone().or(endpoint),
        region: of_host.store.region.clone().or(region),
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
        keys: Keys { recipients, signing_key: Some("/keys/signing_key".into()), ..Keys::default() },
        vault: VaultSettings { path: None, carried: Some("/carried".into()) },
        store,
        bundle: of_host.bundle.clone(),
        pods: of_host.pods.clone(),
        helm: HelmSettings { stored: true, ..HelmSettings::default() },
        ..Settings::default()
    };
    written(&settings)
}

fn written(settings: &Settings) -> Result<String> {
    toml::to_string(settings)
        .map_err(|error| CommandError::new(Exit::Failure, "write the settings of the schedule").because(error))
}

/// The pods' settings with other recipients; `None` where they have just these.
///
/// # Errors
/// They are of another version of `dr`.
pub(super) fn with_recipients(settings: &str, recipients: &[String]) -> Result<Option<String>> {
    let mut read = Settings::parse(settings, Path::new(SETTINGS)).map_err(|error| {
        CommandError::new(Exit::Settings, "the settings of the schedule are of another version of dr").because(error)
    })?;
    if read.keys.recipients == recipients {
        return Ok(None);
    }
    recipients.clone_into(&mut read.keys.recipients);
    written(&read).map(Some)
}

/// Whom a schedule seals its bundles to, and what is to be known of that.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ScheduleRecipients {
    pub keys: Vec<String>,
    pub warning: Option<String>,
}

/// A bundle takes on what the vault has sealed, so both are sealed to the same keys. Who was put on the list waits for a
/// rekey, and bundles go on being made; who was taken from it opens no new one from now on.
pub(super) fn recipients(listed: Vec<String>, sealed_to: Option<Vec<String>>) -> ScheduleRecipients {
    let Some(sealed_to) = sealed_to.filter(|keys| keys.iter().all(|key| listed.contains(key))) else {
        let warning = "the live deployment is still sealed to others than the vault's recipients: the schedule makes no bundle until `dr config rekey`";
        return ScheduleRecipients { keys: listed, warning: Some(warning.to_owned()) };
    };
    let waiting: Vec<&str> = listed.iter().filter(|key| !sealed_to.contains(key)).map(String::as_str).collect();
    let warning = (!waiting.is_empty())
        .then(|| format!("bundles of the schedule do not open to {} until `dr config rekey`", waiting.join(", ")));
    // In the order of the list, so that the same keys are the same text.
    ScheduleRecipients { keys: listed.into_iter().filter(|key| sealed_to.contains(key)).collect(), warning }
}

/// What of this host's settings the pods do not have, in words.
pub(super) fn not_passed_on(of_host: &Settings, credentials: Option<&str>) -> Vec<String> {
    let mut left = Vec::new();
    if credentials.is_none() {
        let file = of_host.store.credentials_file.as_ref().map(|path| path.display().to_string());
        left.push(format!(
            "a key of the bucket: a role of their workload has to open it, or a Secret (`kubectl -n {} create secret generic bucket-key --from-file={CREDENTIALS}={}`, then --credentials bucket-key)",
            of_host.install.namespace,
            file.as_deref().unwrap_or("FILE")
        ));
    }
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
        let placement: PodPlacement = serde_json::from_value(json!({
            "node_selector": {"disk": "ssd"}, "tolerations": [{"key": "db", "operator": "Exists"}],
        }))
        .unwrap();
        let parts = ScheduleParts {
            install: &install,
            image: "r.example/dr:1",
            at: "0 2 * * *",
            time_zone: "Europe/Berlin",
            deadline_seconds: 3600,
            paused: false,
            pull_secrets: &["pull".to_owned()],
            environment: &BTreeMap::from([("HTTPS_PROXY".to_owned(), "http://p:1".to_owned())]),
            placement: &placement,
            credentials: Some("bucket"),
            settings,
            certificates: Some("PEM"),
        };
        parts.objects().unwrap()
    }

    #[test]
    fn the_pods_settings_are_read_again_and_name_no_key_that_opens_anything() {
        let parts = PodSettingsParts {
            recipients: vec!["age1x".to_owned()],
            has_credentials: true,
            has_certificates: true,
            endpoint: Some("https://of-the-environment".into()),
            region: Some("eu-west-1".into()),
        };
        let text = settings(&of_host(), parts).unwrap();
        let read = Settings::parse(&text, Path::new("dr.toml")).unwrap();
        assert_eq!((read.keys.identity, read.vault.path, read.install.context), (None, None, None));
        assert_eq!(read.keys.recipients, ["age1x"]);
        assert_eq!(read.bundle, of_host().bundle);
        assert_eq!(read.store.place().as_deref(), Some("s3://b/x"));
        assert_eq!(read.store.credentials_file.as_deref(), Some(Path::new("/keys/credentials")));
        assert!(read.helm.stored && read.hooks.is_empty() && read.store.mirrors.is_empty());
        // What the settings say goes before what the environment does.
        assert_eq!(
            (read.store.endpoint.as_deref(), read.store.region.as_deref()),
            (Some("https://h"), Some("eu-west-1"))
        );
        assert_eq!(not_passed_on(&of_host(), Some("bucket")).len(), 3);
        let key = not_passed_on(&of_host(), None).remove(0);
        assert!(key.contains("--from-file=credentials=/c`") && key.contains("-n ops"), "{key}");
        assert_eq!(with_recipients(&text, &["age1x".to_owned()]).unwrap(), None);
        let renewed = with_recipients(&text, &["age1y".to_owned()]).unwrap().unwrap();
        assert_eq!(renewed, text.replace("age1x", "age1y"));
        assert_eq!(with_recipients("unknown = 1", &[]).unwrap_err().exit(), Exit::Settings);
    }

    #[test]
    fn a_removed_key_opens_no_new_bundle_and_an_added_one_stops_none() {
        let owned = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>();
        let decided = |listed: &[&str], sealed: Option<&[&str]>| {
            let decided = recipients(owned(listed), sealed.map(owned));
            (decided.keys.join(" "), decided.warning.unwrap_or_default())
        };
        assert_eq!(decided(&["b", "a"], Some(&["a", "b"])), ("b a".into(), String::new()));
        let (keys, warning) = decided(&["a", "b", "c"], Some(&["a", "b"]));
        assert!(keys == "a b" && warning.contains("do not open to c until `dr config rekey`"), "{keys} {warning}");
        for sealed in [Some(&["a", "b"][..]), None] {
            let (keys, warning) = decided(&["a"], sealed);
            assert!(keys == "a" && warning.contains("makes no bundle until `dr config rekey`"), "{keys} {warning}");
        }
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
        assert_eq!((&pod["nodeSelector"]["disk"], &pod["tolerations"][0]["key"]), (&"ssd".into(), &"db".into()));
        let environment = pod["containers"][0]["env"].as_array().unwrap();
        assert_eq!(environment[2], json!({"name": "HTTPS_PROXY", "value": "http://p:1"}));
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
        for container in [&pod["initContainers"][0], &pod["containers"][0]] {
            assert_eq!(container["securityContext"]["allowPrivilegeEscalation"], false);
            assert_eq!(container["securityContext"]["capabilities"]["drop"], json!(["ALL"]));
            assert_eq!(container["image"], "r.example/dr:1");
        }
        assert_eq!(objects[6]["subjects"][0]["name"], "dr-bundle-opschain");
        assert_eq!(objects[5]["metadata"]["name"], "dr-bundle-opschain:ops");
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
