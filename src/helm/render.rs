//! What helm would do, without doing it.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::error::HelmError;
use super::manifest::{self, Object};
use super::parse;
use super::process::{Listener, run};
use super::{Helm, UpgradeRequest, stored};

/// A release as helm would make it.
#[derive(Debug)]
pub struct Rendered {
    /// The objects of the release.
    pub objects: Vec<Object>,
    /// The objects that run at its hooks.
    pub hooks: Vec<Object>,
    /// How it was rendered.
    pub mode: RenderMode,
}

/// How a chart was rendered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "mode", rename_all = "kebab-case")]
pub enum RenderMode {
    /// With the cluster at hand: the chart saw what is there, as it will when it is deployed.
    Server,
    /// Without it: the chart's look-ups found nothing, so it may show objects that an upgrade leaves alone.
    Client {
        /// Why not with the cluster: helm's words, scrubbed.
        because: String,
    },
}

/// `{"manifest":"---\n...","hooks":[{"name":...,"manifest":"...","events":[...]}],...}`: as a release is stored.
#[derive(Deserialize)]
struct Release {
    #[serde(default)]
    manifest: String,
    #[serde(default)]
    hooks: Vec<Hook>,
}

#[derive(Deserialize)]
struct Hook {
    #[serde(default)]
    manifest: String,
}

impl Helm {
    /// Renders what [`Helm::upgrade_install`] would deploy. Nothing is changed, and no hook runs.
    ///
    /// With the cluster at hand where that goes, so that `lookup` in a template finds what is there; else without.
    ///
    /// # Errors
    /// `Failed` when the chart does not render either way, with what helm said of the first; `Answer` when what it
    /// renders cannot be read.
    pub async fn render(&self, ask: &UpgradeRequest<'_>) -> Result<Rendered, HelmError> {
        match self.rendered(ask, "server").await {
            Ok(text) => read(&text, RenderMode::Server),
            Err(error @ (HelmError::Failed { .. } | HelmError::Forbidden { .. })) => {
                let Ok(text) = self.rendered(ask, "client").await else {
                    // The second failure says less: it saw no cluster.
                    return Err(error);
                };
                let because = match error {
                    HelmError::Failed { said, .. } => said,
                    other => other.to_string(),
                };
                read(&text, RenderMode::Client { because })
            }
            Err(error) => Err(error),
        }
    }

    async fn rendered(&self, ask: &UpgradeRequest<'_>, mode: &str) -> Result<Zeroizing<String>, HelmError> {
        self.secrets.register_document(ask.values);
        let mut command = self.create_command("upgrade");
        command.args(["--install", ask.release]).arg(ask.chart).arg("--reset-values").args(["--values", "-"]);
        // Known to helm 3.13 and later; the bare flag renders without the cluster in helm 3 and warns in helm 4.
        command.arg(format!("--dry-run={mode}")).args(["--output", "json"]);
        for (key, value) in ask.sets {
            command.arg("--set").arg(format!("{key}={value}"));
        }
        if ask.create_namespace {
            command.arg("--create-namespace");
        }
        let mut values = Zeroizing::new(ask.values.to_vec());
        // As for the real thing: helm 4 drops some last lines without an end (helm 32506).
        if !values.ends_with(b"\n") {
            values.push(b'\n');
        }
        let said = run(command, "upgrade", Some(&values), &Listener::deaf(&self.secrets)).await?;
        Ok(Zeroizing::new(said.stdout))
    }

    /// Whether an upgrade of the release is applied by the API server, which refuses it where others have set a field
    /// since. So helm 4 does with releases that it made itself; helm 3 never does.
    ///
    /// # Errors
    /// `Failed` when the cluster cannot be asked.
    pub async fn applies_on_server(&self, release: &str) -> Result<bool, HelmError> {
        #[derive(Deserialize)]
        struct Metadata {
            #[serde(default, rename = "applyMethod")]
            apply_method: String,
        }
        if self.version.major < 4 {
            return Ok(false);
        }
        match self.quiet("get", &["metadata", release, "--output", "json"]).await {
            Ok(said) => {
                let metadata: Metadata = parse::json(&said.stdout, "get metadata")?;
                Ok(metadata.apply_method == "ssa")
            }
            Err(HelmError::Failed { said, .. }) if parse::is_not_found(&said) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The objects of a revision, as helm stored them.
    ///
    /// # Errors
    /// `Failed` when there is no such revision or the cluster cannot be asked, `Answer` when it cannot be read.
    pub async fn get_manifest(&self, release: &str, revision: u32) -> Result<Vec<Object>, HelmError> {
        if let Some(secrets) = &self.stored {
            let all = stored::revisions(secrets, release).await?;
            let missing = || HelmError::Failed {
                verb: "get manifest".into(),
                said: format!("release {release} has no revision {revision}"),
            };
            let wanted = all.into_iter().find(|one| one.revision.revision == revision).ok_or_else(missing)?;
            return manifest::parse(&wanted.content?.manifest);
        }
        let said = self.quiet("get", &["manifest", release, "--revision", &revision.to_string()]).await?;
        manifest::parse(&Zeroizing::new(said.stdout))
    }
}

fn read(text: &str, mode: RenderMode) -> Result<Rendered, HelmError> {
    let release: Release = parse::json(text, "upgrade --dry-run")?;
    let mut hooks = Vec::new();
    for hook in &release.hooks {
        hooks.extend(manifest::parse(&hook.manifest)?);
    }
    Ok(Rendered { objects: manifest::parse(&release.manifest)?, hooks, mode })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dry_run_is_read_with_its_hooks_behind_the_lines_of_a_pull() {
        let text = "Pulled: r/c:1\nDigest: sha256:aa\n{\"name\":\"r\",\"manifest\":\"---\\n# Source: c/t.yaml\\napiVersion: v1\\nkind: Service\\nmetadata: {name: s}\\n\",\"hooks\":[{\"name\":\"j\",\"manifest\":\"apiVersion: batch/v1\\nkind: Job\\nmetadata: {name: j, annotations: {helm.sh/hook: pre-upgrade}}\\n\"}]}";
        let rendered = read(text, RenderMode::Server).unwrap();
        assert_eq!(rendered.objects[0].id.to_string(), "Service s");
        assert_eq!(rendered.hooks[0].hooks, ["pre-upgrade"]);
    }
}
