//! The helm binary, behind types.
//!
//! helm 3 and 4 are driven alike: values go in on stdin (never a file, never an argument), what helm says comes out
//! line by line through the one redactor, and how it ended is asked for with `-o json`, not read off its prose. There is
//! no shell anywhere. Facts of each major are at the call that depends on them; fixtures of real replies are in
//! `fixtures/helm/`.

mod chart;
mod dump;
mod error;
pub mod manifest;
mod parse;
mod process;
mod render;
mod stored;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

pub use chart::{ChartFacts, ChartFile, ChartSource};
pub use error::HelmError;
pub use manifest::{Object, ObjectId};
pub use parse::Revision;
pub use render::{RenderMode, Rendered};
pub use stored::{PackedRelease, ReleaseSecrets};

use crate::event::Events;
use crate::values::{Secrets, Tree};
use process::{Listener, Said, run};

/// The versions from which two holes are closed: running code of a crafted chart (CVE-2025-53547) and overwriting files
/// on unpacking one (CVE-2026-35206).
const SAFE: [(u64, semver::Version); 2] = [(3, semver::Version::new(3, 20, 2)), (4, semver::Version::new(4, 1, 4))];

/// What is said to be missing where something is to be changed without helm.
const NO_BINARY: &str = "helm (`stored = true` under [helm] in dr.toml: there is none here)";

/// A helm binary, and the install that it is to work on.
#[derive(Debug, Clone)]
pub struct Helm {
    binary: PathBuf,
    version: semver::Version,
    context: Option<String>,
    namespace: String,
    plain_http: bool,
    insecure: bool,
    over_others: bool,
    secrets: Secrets,
    /// Who reads what helm has stored, where there is no helm.
    stored: Option<Arc<dyn ReleaseSecrets>>,
}

/// What to install or upgrade.
#[derive(Debug)]
pub struct UpgradeRequest<'a> {
    pub release: &'a str,
    /// The chart: a `.tgz` or a folder. Pull first what is in a registry, so that its digest is known.
    pub chart: &'a Path,
    /// The values, as the operator wrote them.
    pub values: &'a [u8],
    /// Settings laid over the values, such as `stopped=true`. Not for secrets: other users see arguments.
    pub sets: &'a [(&'a str, &'a str)],
    /// How long helm may wait for each hook, and for all objects when `wait` is set.
    pub timeout: Duration,
    /// Whether helm waits for the objects to be ready. Not while the database sleeps: it would wait in vain.
    pub wait: bool,
    /// Whether the namespace is made when it is not there.
    pub create_namespace: bool,
    /// What `helm history` is to show.
    pub description: Option<&'a str>,
    /// Whether helm is to say all that it does. What it says goes through the redactor all the same.
    pub debug: bool,
}

impl Helm {
    /// Finds the binary (on PATH unless it is a path) and asks for its version.
    ///
    /// # Errors
    /// `Missing`, `Start` or `Unsupported`.
    pub async fn find(binary: &Path) -> Result<Self, HelmError> {
        let binary = process::absolute(binary)?;
        let mut helm = Self::at(binary);
        let said = helm.quiet("version", &["--template", "{{.Version}}"]).await?;
        helm.version = parse::version(&said.stdout).ok_or_else(|| HelmError::Unsupported {
            binary: helm.binary.display().to_string(),
            said: said.stdout.lines().next().unwrap_or("").to_owned(),
        })?;
        Ok(helm)
    }

    /// One that is not there: what it has stored of releases is read by `stored`, and nothing can be changed.
    pub fn of_stored(stored: Arc<dyn ReleaseSecrets>, secrets: &Secrets) -> Self {
        Self { secrets: secrets.clone(), stored: Some(stored), ..Self::at(NO_BINARY.into()) }
    }

    /// One that nobody has asked for its version.
    fn at(binary: PathBuf) -> Self {
        Self {
            binary,
            version: semver::Version::new(0, 0, 0),
            context: None,
            namespace: "default".into(),
            plain_http: false,
            insecure: false,
            over_others: false,
            secrets: Secrets::default(),
            stored: None,
        }
    }

    /// Its version in words.
    pub fn version_line(&self) -> String {
        match self.stored {
            Some(_) => "none: read from the release's Secrets".into(),
            None => self.version.to_string(),
        }
    }

    /// The same for an install.
    pub fn for_install(mut self, context: Option<&str>, namespace: &str) -> Self {
        self.context = context.map(str::to_owned);
        namespace.clone_into(&mut self.namespace);
        self
    }

    /// The same helm; the values that it is given and hands out are told to `secrets`, which mask all that it says.
    pub fn with_redaction(mut self, secrets: &Secrets) -> Self {
        self.secrets = secrets.clone();
        self
    }

    /// How registries are spoken to: `plain_http` for one without TLS, `insecure` to believe any certificate.
    pub fn for_registry(mut self, plain_http: bool, insecure: bool) -> Self {
        self.plain_http = plain_http;
        self.insecure = insecure;
        self
    }

    /// The same, going over fields that others have set since, which helm 4 refuses else. Only for a release that is
    /// applied by the server ([`Helm::applies_on_server`]): helm takes no such word for another.
    pub fn over_others(mut self) -> Self {
        self.over_others = true;
        self
    }

    pub fn binary(&self) -> &Path {
        &self.binary
    }

    pub fn version(&self) -> &semver::Version {
        &self.version
    }

    /// The first safe version of this major, when this one is older.
    pub fn should_be(&self) -> Option<&'static semver::Version> {
        static SAFE_VERSIONS: [(u64, semver::Version); 2] = SAFE;
        SAFE_VERSIONS
            .iter()
            .find(|(major, _)| *major == self.version.major)
            .map(|(_, safe)| safe)
            .filter(|safe| self.version < **safe)
    }

    /// Installs or upgrades. The values are the whole truth: what an earlier deployment set is forgotten. A release in
    /// the middle of something is helm's own to refuse; whoever calls has looked already, and says more about it.
    ///
    /// When `cancel` fires, helm is asked to stop (TERM) and waited for: it then marks the release as failed. It is never
    /// killed outright, which would leave the release pending and block every later upgrade.
    ///
    /// `begun` is told helm's process as soon as it runs: it has all of its values from the start, and goes on when the
    /// process that started it dies.
    ///
    /// # Errors
    /// `Failed` with helm's own error, `Stopped`.
    pub async fn upgrade_install(
        &self,
        ask: &UpgradeRequest<'_>,
        events: &Events,
        cancel: &CancellationToken,
        begun: Option<&(dyn Fn(u32) + Sync)>,
    ) -> Result<Revision, HelmError> {
        self.secrets.register_document(ask.values);
        let mut command = self.create_command("upgrade");
        command.args(["--install", ask.release]).arg(ask.chart);
        // Without this, helm lays the new values over those of the release before.
        command.arg("--reset-values");
        command.args(["--values", "-"]);
        command.arg("--timeout").arg(format!("{}s", ask.timeout.as_secs()));
        for (key, value) in ask.sets {
            command.arg("--set").arg(format!("{key}={value}"));
        }
        if ask.wait {
            // helm 4 knows kinds of waiting, and warns of `--wait=true`; the bare word is right for both.
            command.arg("--wait");
        }
        if ask.create_namespace {
            command.arg("--create-namespace");
        }
        if self.over_others {
            command.arg("--force-conflicts");
        }
        if let Some(description) = ask.description {
            command.args(["--description", description]);
        }
        if ask.debug {
            command.arg("--debug");
        }
        let mut values = Zeroizing::new(ask.values.to_vec());
        // helm 4 drops a last line without an end when its length is a multiple of 4096 (helm 32506).
        if !values.ends_with(b"\n") {
            values.push(b'\n');
        }
        if ask.debug
            && let Ok(tree) = Tree::parse(&values)
        {
            dump::register_folded(&self.secrets, &tree);
        }
        let limit = ask.timeout.saturating_mul(3);
        let listener = Listener { secrets: &self.secrets, begun, events: Some(events), cancel: Some(cancel), limit };
        run(command, "upgrade", Some(&values), &listener).await?;
        self.newest(ask.release).await?.ok_or_else(|| HelmError::Answer {
            verb: "history".into(),
            reason: format!("release {} is not there after the upgrade", ask.release),
        })
    }

    /// The processes of this host that install or upgrade the release: also one that outlived the `dr` that began it.
    pub fn at_work(&self, release: &str) -> Vec<u32> {
        let mut words = vec!["upgrade", "--install", "--namespace", self.namespace.as_str(), release];
        let context = self.context.as_deref().map(context_argument);
        words.extend(context.as_deref());
        process::running(&words)
    }

    /// The newest revision of a release; `None` when there is no such release.
    ///
    /// # Errors
    /// `Failed` when the cluster cannot be asked.
    pub async fn newest(&self, release: &str) -> Result<Option<Revision>, HelmError> {
        Ok(self.history(release).await?.pop())
    }

    /// The revisions that helm remembers, oldest first; none when there is no such release.
    ///
    /// # Errors
    /// `Failed` when the cluster cannot be asked.
    pub async fn history(&self, release: &str) -> Result<Vec<Revision>, HelmError> {
        if let Some(secrets) = &self.stored {
            let revisions = stored::revisions(secrets, release).await?;
            return Ok(revisions.into_iter().map(|stored| stored.revision).collect());
        }
        match self.quiet("history", &[release, "--max", "256", "--output", "json"]).await {
            Ok(said) => parse::history(&said.stdout),
            Err(HelmError::Failed { said, .. }) if parse::is_not_found(&said) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// An error when the release is in the middle of something: what was killed, or what still runs elsewhere.
    ///
    /// # Errors
    /// `Pending`.
    pub fn refuse_pending(&self, release: &str, newest: &Revision) -> Result<(), HelmError> {
        if !newest.status.is_pending() {
            return Ok(());
        }
        Err(HelmError::Pending {
            release: release.to_owned(),
            status: newest.status.word().to_owned(),
            since: newest.updated.clone(),
            revision: newest.revision,
        })
    }

    /// The values that a release was given, as helm stored them: comments and order are gone. `None` when there is no
    /// such release; null when it was given none.
    ///
    /// # Errors
    /// `Failed` when the cluster cannot be asked.
    pub async fn get_values(
        &self,
        release: &str,
        revision: Option<u32>,
    ) -> Result<Option<serde_json::Value>, HelmError> {
        if let Some(secrets) = &self.stored {
            let all = stored::revisions(secrets, release).await?;
            let wanted = all.into_iter().rfind(|one| revision.is_none_or(|number| number == one.revision.revision));
            let values = wanted.map(|stored| stored.content).transpose()?.map(|content| content.values);
            if let Some(values) = &values {
                self.secrets.register_document(Zeroizing::new(values.to_string()).as_bytes());
            }
            return Ok(values);
        }
        let revision = revision.map(|number| number.to_string());
        let mut args = vec!["values", release, "--output", "json"];
        args.extend(revision.iter().flat_map(|number| ["--revision", number.as_str()]));
        match self.quiet("get", &args).await {
            Ok(said) => {
                self.secrets.register_document(said.stdout.as_bytes());
                parse::json(&said.stdout, "get values").map(Some)
            }
            Err(HelmError::Failed { said, .. }) if parse::is_not_found(&said) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes a release and its objects, and waits until helm is done. Gone already is well.
    ///
    /// # Errors
    /// `Failed` with helm's own error.
    pub async fn uninstall(&self, release: &str, timeout: Duration) -> Result<(), HelmError> {
        let limit = format!("{}s", timeout.as_secs());
        match self.quiet("uninstall", &[release, "--timeout", &limit]).await {
            Ok(_) => Ok(()),
            Err(HelmError::Failed { said, .. }) if parse::is_not_found(&said) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn create_command(&self, verb: &str) -> tokio::process::Command {
        let mut command = process::command(&self.binary);
        command.arg(verb).arg("--namespace").arg(&self.namespace);
        if let Some(context) = &self.context {
            command.arg(context_argument(context));
        }
        command
    }

    /// A short question whose answer is data.
    async fn quiet(&self, verb: &str, args: &[&str]) -> Result<Said, HelmError> {
        let mut command = if verb == "version" { process::command(&self.binary) } else { self.create_command(verb) };
        if verb == "version" {
            command.arg(verb);
        }
        command.args(args);
        run(command, verb, None, &Listener::deaf(&self.secrets)).await
    }
}

/// Contexts may be called anything: in one word with its option, none is an option itself.
fn context_argument(context: &str) -> String {
    format!("--kube-context={context}")
}

#[cfg(test)]
mod tests;
