//! Charts: where they come from, what they say of themselves, and the private file that helm reads them from.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::error::HelmError;
use super::manifest::{self, Object};
use super::process::{Listener, run};
use super::{Helm, parse};
use crate::read;
use crate::values::Tree;

/// What a chart says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChartFacts {
    pub name: String,
    pub version: String,
    /// Its `appVersion`.
    pub app_version: Option<String>,
}

/// Where a chart is to be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChartSource {
    /// In a registry: `oci://...`.
    Registry(String),
    /// A `.tgz` or a folder.
    Path(PathBuf),
}

impl ChartSource {
    /// Tells a reference from a path.
    pub fn parse(text: &str) -> Self {
        if text.starts_with("oci://") { Self::Registry(text.to_owned()) } else { Self::Path(PathBuf::from(text)) }
    }

    pub fn text(&self) -> String {
        match self {
            Self::Registry(reference) => reference.clone(),
            Self::Path(path) => path.display().to_string(),
        }
    }
}

/// A chart's archive in a private folder that is removed when this is dropped. Charts hold no secret of an install.
#[derive(Debug)]
pub struct ChartFile {
    folder: TempDir,
    name: String,
    bytes: Vec<u8>,
    digest: Option<String>,
}

impl ChartFile {
    /// Writes an archive that comes from a bundle or from the vault to where helm can read it.
    ///
    /// # Errors
    /// `Io`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, HelmError> {
        let io = |source| HelmError::Io { act: "write the chart for helm".into(), source };
        let folder = private_folder()?;
        let name = "chart.tgz".to_owned();
        let mut file = std::fs::File::create_new(folder.path().join(&name)).map_err(io)?;
        file.write_all(bytes).map_err(io)?;
        Ok(Self { folder, name, bytes: bytes.to_vec(), digest: None })
    }

    /// The file that helm is given.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join(&self.name)
    }

    /// The archive.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The registry's digest, where it came from one.
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }

    fn sole_archive(folder: TempDir, digest: Option<String>, verb: &str) -> Result<Self, HelmError> {
        let io = |source| HelmError::Io { act: "read the chart that helm wrote".into(), source };
        let mut names = Vec::new();
        for entry in std::fs::read_dir(folder.path()).map_err(io)? {
            names.push(entry.map_err(io)?.file_name().to_string_lossy().into_owned());
        }
        names.retain(|name| name.ends_with(".tgz"));
        let [name] = names.as_slice() else {
            let reason = format!("{} archives instead of one", names.len());
            return Err(HelmError::Answer { verb: verb.to_owned(), reason });
        };
        let bytes = read::file(&folder.path().join(name), read::PROGRAM).map_err(io)?;
        Ok(Self { name: name.clone(), bytes, digest, folder })
    }
}

/// How the folders begin in which charts lie while helm reads them.
const PREFIX: &str = "dr-chart-";
/// No helm reads a chart for so long: whoever made a folder that is older was killed.
const LEFT: Duration = Duration::from_secs(24 * 3600);

/// Takes away what processes that were killed have left.
fn sweep(temporary: &Path) {
    let is_left = |entry: &std::fs::DirEntry| {
        let made = entry.metadata().and_then(|found| found.modified()).ok();
        entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes())
            && made.and_then(|made| made.elapsed().ok()).is_some_and(|age| age > LEFT)
    };
    for entry in std::fs::read_dir(temporary).into_iter().flatten().flatten().filter(is_left) {
        // Another user's stays.
        let _ = std::fs::remove_dir_all(entry.path());
    }
}

fn private_folder() -> Result<TempDir, HelmError> {
    use std::os::unix::fs::PermissionsExt;

    sweep(&std::env::temp_dir());
    tempfile::Builder::new()
        .prefix(PREFIX)
        .permissions(std::fs::Permissions::from_mode(0o700))
        .tempdir()
        .map_err(|source| HelmError::Io { act: "make a private folder for the chart".into(), source })
}

impl Helm {
    /// Fetches a chart: pulls it from its registry, packs a folder, or reads an archive. `version` picks the one of a
    /// registry; without it the newest is taken.
    ///
    /// # Errors
    /// `Failed` with helm's own error, `Io` when the file cannot be read.
    pub async fn fetch(&self, source: &ChartSource, version: Option<&str>) -> Result<ChartFile, HelmError> {
        match source {
            ChartSource::Registry(reference) => self.pull(reference, version).await,
            ChartSource::Path(path) if path.is_dir() => self.pack(path).await,
            ChartSource::Path(path) => {
                let bytes = read::file(path, read::PROGRAM)
                    .map_err(|source| HelmError::ChartFile { path: path.display().to_string(), source })?;
                ChartFile::from_bytes(&bytes)
            }
        }
    }

    /// Pulls a chart from a registry, so that its digest is known and helm deploys those very bytes.
    ///
    /// # Errors
    /// `Failed` with helm's own error.
    pub async fn pull(&self, reference: &str, version: Option<&str>) -> Result<ChartFile, HelmError> {
        let folder = private_folder()?;
        let mut command = self.create_command("pull");
        command.arg(reference).arg("--destination").arg(folder.path());
        if let Some(version) = version {
            command.args(["--version", version]);
        }
        if self.plain_http {
            command.arg("--plain-http");
        }
        if self.insecure {
            command.arg("--insecure-skip-tls-verify");
        }
        let said = run(command, "pull", None, &Listener::deaf(&self.secrets)).await?;
        let digest = parse::digest(&said.stdout).or_else(|| parse::digest(&said.stderr));
        ChartFile::sole_archive(folder, digest, "pull")
    }

    async fn pack(&self, path: &Path) -> Result<ChartFile, HelmError> {
        let folder = private_folder()?;
        // Absolute, so that it is no option, whatever the folder is called.
        let path = std::path::absolute(path)
            .map_err(|source| HelmError::Io { act: format!("find the chart {}", path.display()), source })?;
        let mut command = self.create_command("package");
        command.arg(path).arg("--destination").arg(folder.path());
        run(command, "package", None, &Listener::deaf(&self.secrets)).await?;
        ChartFile::sole_archive(folder, None, "package")
    }

    /// What a chart says of itself.
    ///
    /// # Errors
    /// `Failed` when it is no chart, `Answer` when it has no name or version.
    pub async fn chart_facts(&self, chart: &Path) -> Result<ChartFacts, HelmError> {
        let text = self.show("chart", chart).await?;
        facts(&text)
    }

    /// The chart's own `values.yaml`.
    ///
    /// # Errors
    /// `Failed` when it is no chart.
    pub async fn show_values(&self, chart: &Path) -> Result<String, HelmError> {
        self.show("values", chart).await
    }

    /// The kinds that the chart brings itself, in its folders `crds`: group and kind of each.
    ///
    /// # Errors
    /// `Failed` when it is no chart, `Answer` when what it brings cannot be read.
    pub async fn kinds_of_chart(&self, chart: &Path) -> Result<Vec<(String, String)>, HelmError> {
        Ok(kinds(&manifest::parse(&self.show("crds", chart).await?)?))
    }

    async fn show(&self, what: &str, chart: &Path) -> Result<String, HelmError> {
        let mut command = self.create_command("show");
        command.arg(what).arg(chart);
        Ok(run(command, "show", None, &Listener::deaf(&self.secrets)).await?.stdout)
    }
}

fn kinds(definitions: &[Object]) -> Vec<(String, String)> {
    let kind = |definition: &Object| {
        let spec = &definition.fields["spec"];
        Some((spec["group"].as_str()?.to_owned(), spec["names"]["kind"].as_str()?.to_owned()))
    };
    definitions.iter().filter_map(kind).collect()
}

fn facts(text: &str) -> Result<ChartFacts, HelmError> {
    let answer = |reason: String| HelmError::Answer { verb: "show chart".into(), reason };
    let tree = Tree::parse(text.as_bytes()).map_err(|error| answer(error.to_string()))?;
    let word = |key: &str| tree.get(&[key]).and_then(|node| node.scalar()).map(|scalar| scalar.value.text());
    Ok(ChartFacts {
        name: word("name").ok_or_else(|| answer("the chart has no name".into()))?,
        version: word("version").ok_or_else(|| answer("the chart has no version".into()))?,
        app_version: word("appVersion"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kinds_that_a_chart_brings_are_those_that_it_defines() {
        let text = "---\n# Source: kong/crds/plugins.yaml\napiVersion: apiextensions.k8s.io/v1\n\
            kind: CustomResourceDefinition\nmetadata: {name: kongplugins.configuration.konghq.com}\n\
            spec: {group: configuration.konghq.com, names: {kind: KongPlugin, plural: kongplugins}}\n---\n";
        let brought = kinds(&manifest::parse(text).unwrap());
        assert_eq!(brought, [("configuration.konghq.com".to_owned(), "KongPlugin".to_owned())]);
        assert!(kinds(&manifest::parse("").unwrap()).is_empty());
    }

    #[test]
    fn what_killed_processes_have_left_is_taken_away_once_it_is_old() {
        let temporary = tempfile::tempdir().unwrap();
        let old = std::time::SystemTime::now() - LEFT * 2;
        for (name, is_old) in [("dr-chart-a", true), ("dr-chart-b", false), ("other", true)] {
            let folder = temporary.path().join(name);
            std::fs::create_dir(&folder).unwrap();
            if is_old {
                std::fs::File::open(&folder).unwrap().set_modified(old).unwrap();
            }
        }
        sweep(temporary.path());
        let stays = |name: &str| temporary.path().join(name).exists();
        assert_eq!([stays("dr-chart-a"), stays("dr-chart-b"), stays("other")], [false, true, true]);
    }

    #[test]
    fn a_chart_says_its_name_and_version() {
        let found = facts("apiVersion: v2\nappVersion: \"2026-08-20\"\nname: opschain\nversion: 2026.8.20\n").unwrap();
        let expected =
            ChartFacts { name: "opschain".into(), version: "2026.8.20".into(), app_version: Some("2026-08-20".into()) };
        assert_eq!(found, expected);
        assert!(facts("name: x\n").is_err());
    }

    #[test]
    fn a_reference_is_told_from_a_path() {
        assert_eq!(ChartSource::parse("oci://r/opschain"), ChartSource::Registry("oci://r/opschain".into()));
        assert_eq!(ChartSource::parse("./chart"), ChartSource::Path("./chart".into()));
    }
}
