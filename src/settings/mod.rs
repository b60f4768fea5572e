//! `dr.toml`: where the install, the keys, the vault and the store are.
//!
//! Precedence, highest first: a flag on the command line, the file, the default. The file is the one given by
//! `--settings` or `DR_SETTINGS`, else `dr.toml` in the user's configuration folder. Unknown keys are refused with
//! line and column, since a misspelt key would otherwise be silently ignored on the worst day.

mod checked;
mod hooks;
mod notify;
mod retention;
mod status;
mod store;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use checked::{CompressionLevel, TimeSpan, bytes_of_rate, max_rate_of};
pub use hooks::{HookSettings, HookTime};
pub use notify::{MailTls, NotifyKind, NotifyOn, NotifySettings, NotifyVerb, PingMethod};
pub use retention::{DaySpan, RetentionSettings};
pub use status::StatusSettings;
pub use store::{PartChecksum, StoreSettings, bucket_refusal};

use crate::names::{NamespaceName, ObjectName, ReleaseName};
use crate::ownership::{FileUse, OthersCan, others_can};
use crate::read;

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// There is no file.
    #[error("there is no settings file {path}")]
    Missing { path: String },
    /// The file cannot be read.
    #[error("read settings file {path}")]
    Unreadable {
        path: String,
        #[source]
        source: std::io::Error,
    },
    /// Others can write it, and so have themselves trusted.
    #[error("settings file {path} {others}")]
    Exposed { path: String, others: OthersCan },
    /// Something in it is not as it should be.
    #[error("{place}: {reason}")]
    Invalid {
        /// The file, with line and column where they are known.
        place: String,
        reason: String,
    },
}

/// All settings, defaults filled in and paths made absolute.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The install that this host looks after.
    pub install: Install,
    pub database: DatabaseSettings,
    /// Who can open, who signs, whom to trust.
    pub keys: Keys,
    pub vault: VaultSettings,
    /// Where bundles are kept.
    pub store: StoreSettings,
    /// How bundles are made.
    pub bundle: BundleSettings,
    /// Which bundles stay.
    pub retention: RetentionSettings,
    /// What `dr status` takes for old.
    pub status: StatusSettings,
    /// The pods that a backup and a restore work in.
    pub pods: PodSettings,
    /// How OpsChain is asked to begin no work.
    pub maintenance: MaintenanceSettings,
    /// How helm is run.
    pub helm: HelmSettings,
    /// What a deployment minds.
    pub deploy: DeploySettings,
    /// What to do about what differs from the vault.
    pub drift: DriftSettings,
    /// Who is told what came of a verb.
    pub notify: Vec<NotifySettings>,
    /// What is run before and after verbs.
    pub hooks: Vec<HookSettings>,
}

/// One OpsChain: kube context, namespace, Helm release.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Install {
    /// The kubeconfig context; the current one when absent.
    pub context: Option<String>,
    pub namespace: NamespaceName,
    pub release: ReleaseName,
    /// The chart: an `oci://` reference, a folder, or a `.tgz`.
    pub chart: String,
}

impl Default for Install {
    fn default() -> Self {
        Self {
            context: None,
            namespace: NamespaceName::default(),
            release: ReleaseName::default(),
            chart: "oci://docker.io/limepoint/opschain".into(),
        }
    }
}

/// The CloudNativePG cluster of the install. The defaults are those of the manual guide.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct DatabaseSettings {
    /// The name of the Cluster object.
    pub cluster: ObjectName,
    /// The Secret with the replication user's certificate; `<cluster>-replication` when absent.
    pub replication_secret: Option<ObjectName>,
    /// The Secret with the server's CA certificate; `<cluster>-ca` when absent.
    pub ca_secret: Option<ObjectName>,
}

impl DatabaseSettings {
    /// The Secret with `tls.crt` and `tls.key` of the replication user.
    pub fn replication_secret(&self) -> String {
        self.replication_secret.clone().map_or_else(|| format!("{}-replication", self.cluster), String::from)
    }

    /// The Secret with `ca.crt`.
    pub fn ca_secret(&self) -> String {
        self.ca_secret.clone().map_or_else(|| format!("{}-ca", self.cluster), String::from)
    }

    /// The Service of the writable instance.
    pub fn service(&self) -> String {
        format!("{}-rw", self.cluster)
    }
}

/// Keys and trust.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Keys {
    /// The age identity file of this host. A host that only records needs none.
    pub identity: Option<PathBuf>,
    /// Public keys that everything is sealed to, the escrow key among them.
    #[serde(deserialize_with = "trimmed")]
    pub recipients: Vec<String>,
    /// The SSH private key (ed25519) that signs bundles and the vault's commits.
    pub signing_key: Option<PathBuf>,
    /// Whose signatures are believed: a file in the form of ssh-keygen's allowed signers.
    pub trusted_signers: Option<PathBuf>,
    /// Whose signatures are never believed, whenever they were made: a file with one public key a line.
    pub revoked_signers: Option<PathBuf>,
}

/// Without the blanks around them that a paste brings along: each is compared with what others have of it.
fn trimmed<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    Ok(texts.iter().map(|text| text.trim().to_owned()).collect())
}

/// The config vault.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct VaultSettings {
    pub path: Option<PathBuf>,
    /// A folder with one deployment that was taken from a vault elsewhere, where there is none here.
    pub carried: Option<PathBuf>,
}

/// How OpsChain is asked to begin no work, and whether any is under way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct MaintenanceSettings {
    /// The file with an API key of OpsChain that may read `/admin` and update the global settings, in its first line.
    pub token_file: Option<PathBuf>,
}

/// When the application is quiesced while a bundle is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Quiesce {
    /// Stopped for the last moment only: seconds, whatever the size.
    #[default]
    Brief,
    /// Stopped for the whole backup, as the manual guide does.
    Full,
    /// Never stopped: what was at work is in the bundle as it stood, and the bundle says so.
    None,
}

impl Quiesce {
    /// The word that settings, plans and bundles use.
    pub fn word(self) -> &'static str {
        match self {
            Self::Brief => "brief",
            Self::Full => "full",
            Self::None => "none",
        }
    }
}

/// What may be there while the application is quiesced, and is then said in the bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Allow {
    /// Sessions of others that may write to the database: another site's API, for example.
    ForeignWriters,
    /// Pods of agents, which live for as long as their nodes do.
    Agents,
    /// Pods of the executor pool, which may be at work or idle.
    Pool,
}

/// How bundles are made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BundleSettings {
    /// How the application is quiesced.
    pub quiesce: Quiesce,
    /// What may be there all the same while it is.
    pub allow: Vec<Allow>,
    /// Which volumes beside the database's are taken along, by name.
    pub with: Vec<String>,
    /// The most that the base backup may read a second, in PostgreSQL's words (`100M`); no limit when absent.
    #[serde(deserialize_with = "checked::max_rate")]
    pub max_rate: Option<String>,
    /// How long work, and then the workers, may take to drain.
    pub drain_timeout: TimeSpan,
    /// How many bytes of the database make a chunk, in MiB: up to what the agent takes (`agent::protocol::CHUNK_BOUNDS`).
    #[serde(deserialize_with = "checked::whole::<_, _, 1, 40>")]
    pub chunk_mib: u32,
    /// How hard chunks are compressed.
    pub zstd_level: CompressionLevel,
}

impl Default for BundleSettings {
    fn default() -> Self {
        Self {
            quiesce: Quiesce::Brief,
            allow: Vec::new(),
            with: Vec::new(),
            max_rate: None,
            drain_timeout: TimeSpan(Duration::from_secs(3600)),
            chunk_mib: 4,
            zstd_level: CompressionLevel(None),
        }
    }
}

/// What the pods are like that a backup and a restore work in, and how they are spoken with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PodSettings {
    /// Whether data goes to a pod's address or by a forwarded port, where those can be had, and not by exec.
    pub straight: bool,
    /// The CPUs that a pod claims and is limited to, as a quantity; little is claimed, and nothing limited, when absent.
    #[serde(deserialize_with = "checked::cpu")]
    pub cpu: Option<String>,
    /// The memory that a pod claims and is limited to, as a quantity.
    #[serde(deserialize_with = "checked::memory")]
    pub memory: Option<String>,
    /// Labels that a pod bears beside those by which it is known.
    pub labels: BTreeMap<String, String>,
    /// Annotations that a pod bears.
    pub annotations: BTreeMap<String, String>,
}

impl Default for PodSettings {
    fn default() -> Self {
        let (labels, annotations) = (BTreeMap::new(), BTreeMap::new());
        Self { straight: true, cpu: None, memory: None, labels, annotations }
    }
}

/// How helm is run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HelmSettings {
    /// The program: a name found on PATH, or a path.
    pub binary: PathBuf,
    /// How long a deployment may take.
    pub timeout: TimeSpan,
    /// Passed to helm as `--insecure-skip-tls-verify`.
    pub insecure_skip_tls_verify: bool,
    /// Passed to helm as `--plain-http`.
    pub plain_http: bool,
    /// Whether there is no helm here, and what it has stored is read from the cluster.
    pub stored: bool,
}

impl Default for HelmSettings {
    fn default() -> Self {
        Self {
            binary: "helm".into(),
            timeout: TimeSpan(Duration::from_secs(1800)),
            insecure_skip_tls_verify: false,
            plain_http: false,
            stored: false,
        }
    }
}

/// What a deployment minds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct DeploySettings {
    /// An upgrade that leaves out known releases of OpsChain.
    pub skipped_releases: Caution,
    /// Whether a bundle is made of what is live before it is replaced.
    pub bundle_before: bool,
}

/// What is done about something that may hurt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Caution {
    /// It is said.
    #[default]
    Warn,
    /// It is refused, unless the override is given.
    Refuse,
}

/// What a deployment does when the install is not what the vault says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum OnDrift {
    /// It says so, and goes on.
    #[default]
    Warn,
    /// It says so, and refuses.
    Refuse,
    /// It does not look.
    Ignore,
}

/// What to do about what differs from the vault.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct DriftSettings {
    /// What `dr deploy` does about it.
    pub on_deploy: OnDrift,
    /// What is intended to differ.
    pub ignore: Vec<DriftIgnore>,
}

/// An intended difference. `*` stands for any text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DriftIgnore {
    /// The object: `values`, or kind and name such as `Deployment/opschain-api`.
    pub object: String,
    /// The path in it; what stands below is ignored too.
    pub path: String,
    /// Why. Nobody remembers in a year.
    #[serde(deserialize_with = "reason")]
    pub reason: String,
}

fn reason<'de, D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.trim().is_empty() {
        return Err(serde::de::Error::custom("the reason is empty: say why the difference is intended"));
    }
    Ok(text)
}

impl Settings {
    /// Reads the file. Relative paths in it are taken from its own folder, `~/` from `home`.
    ///
    /// # Errors
    /// See [`SettingsError`].
    pub fn read(path: &Path, home: Option<&Path>) -> Result<Self, SettingsError> {
        let shown = || path.display().to_string();
        let text = read::text_file(path, read::SMALL).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => SettingsError::Missing { path: shown() },
            _ => SettingsError::Unreadable { path: shown(), source },
        })?;
        let unreadable = |source| SettingsError::Unreadable { path: shown(), source };
        if let Some(others) = others_can(path, FileUse::Trust).map_err(unreadable)? {
            return Err(SettingsError::Exposed { path: shown(), others });
        }
        let mut settings = Self::parse(&text, path)?;
        settings.resolve(path.parent().unwrap_or(Path::new(".")), home);
        let of_hooks = || settings.hooks.iter().find_map(HookSettings::refusal);
        let of_notify = || settings.notify.iter().find_map(NotifySettings::refusal);
        match settings.store.twin().or_else(of_hooks).or_else(of_notify) {
            Some(reason) => Err(SettingsError::Invalid { place: shown(), reason }),
            None => Ok(settings),
        }
    }

    /// Reads the text of the file at `path`, its paths as they are written.
    ///
    /// # Errors
    /// `Invalid`, with line and column.
    pub fn parse(text: &str, path: &Path) -> Result<Self, SettingsError> {
        toml::from_str(text).map_err(|mut error: toml::de::Error| {
            let place = error.span().map_or(String::new(), |span| {
                let before = &text[..span.start.min(text.len())];
                let line = before.matches('\n').count() + 1;
                let column = before.rsplit('\n').next().map_or(0, |rest| rest.chars().count()) + 1;
                format!(":{line}:{column}")
            });
            // Without the text, the error names the key instead of quoting the line.
            error.set_input(None);
            let shown = error.to_string();
            let key = shown.rsplit_once("in `").and_then(|(_, key)| key.trim_end().strip_suffix('`'));
            let key = key.map_or(String::new(), |key| format!("{key}: "));
            SettingsError::Invalid {
                place: format!("{}{place}", path.display()),
                reason: format!("{key}{}", checked::in_words(error.message().trim_end())),
            }
        })
    }

    fn resolve(&mut self, base: &Path, home: Option<&Path>) {
        let paths = [
            &mut self.keys.identity,
            &mut self.keys.signing_key,
            &mut self.keys.trusted_signers,
            &mut self.keys.revoked_signers,
            &mut self.vault.path,
            &mut self.vault.carried,
            &mut self.store.path,
            &mut self.store.ca_file,
            &mut self.store.credentials_file,
            &mut self.maintenance.token_file,
        ];
        let of_mirrors = self.store.mirrors.iter_mut();
        let of_mirrors =
            of_mirrors.flat_map(|mirror| [&mut mirror.path, &mut mirror.ca_file, &mut mirror.credentials_file]);
        let of_notify = self.notify.iter_mut();
        let of_notify = of_notify.flat_map(|notify| {
            let NotifySettings { url_file, secret_file, password_file, ca_file, .. } = notify;
            [url_file, secret_file, password_file, ca_file].into_iter().flatten()
        });
        for path in paths
            .into_iter()
            .chain(of_mirrors)
            .flatten()
            .chain(of_notify)
            .chain(self.hooks.iter_mut().map(|hook| &mut hook.run))
        {
            *path = match (path.strip_prefix("~"), home) {
                (Ok(rest), Some(home)) => home.join(rest),
                _ => base.join(&*path),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_gives_the_guides_names() {
        let settings = Settings::parse("", Path::new("dr.toml")).unwrap();
        assert_eq!(settings, Settings::default());
        assert_eq!(settings.database.replication_secret(), "opschain-db-replication");
        assert_eq!(settings.database.ca_secret(), "opschain-db-ca");
    }

    #[test]
    fn an_unknown_key_is_refused_with_line_and_column() {
        let error =
            Settings::parse("[install]\nnamespace = \"x\"\n  relase = \"y\"\n", Path::new("/etc/dr.toml")).unwrap_err();
        assert!(error.to_string().starts_with("/etc/dr.toml:3:3: install: unknown field `relase`"), "{error}");
    }

    #[test]
    fn paths_start_at_the_file_and_at_home() {
        let text = "[vault]\npath='v'\n[store]\npath='~/s'\n[keys]\nidentity='/k'\nrecipients=[' a\t']";
        let mut settings = Settings::parse(text, Path::new("x")).unwrap();
        settings.resolve(Path::new("/etc/dr"), Some(Path::new("/home/op")));
        assert_eq!(settings.vault.path.unwrap(), Path::new("/etc/dr/v"));
        assert_eq!(settings.store.path.unwrap(), Path::new("/home/op/s"));
        assert_eq!((settings.keys.identity.unwrap(), &*settings.keys.recipients[0]), ("/k".into(), "a"));
    }

    #[test]
    fn an_ignored_difference_needs_a_reason() {
        let parse = |reason: &str| {
            let text = format!(
                "[drift]\non_deploy = \"refuse\"\n[[drift.ignore]]\nobject = \"Deployment/x\"\npath = \"*\"\n{reason}"
            );
            Settings::parse(&text, Path::new("dr.toml"))
        };
        let drift = parse("reason = \"the autoscaler's\"\n").unwrap().drift;
        assert_eq!((drift.on_deploy, drift.ignore[0].reason.as_str()), (OnDrift::Refuse, "the autoscaler's"));
        assert!(parse("").unwrap_err().to_string().contains("missing field `reason`"));
        assert!(parse("reason = \" \"\n").unwrap_err().to_string().contains("the reason is empty"));
    }
}
