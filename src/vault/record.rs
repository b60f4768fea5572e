//! What the vault says of a deployment: the record (before helm ran) and the outcome (after). Both are clear JSON and
//! hold no secret.
//!
//! Format 1. A reader refuses a greater `format`, and ignores fields that it does not know.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::names::{NamespaceName, ReleaseName};

/// The format of everything in the vault that this program writes.
pub const FORMAT: u32 = 1;

/// A deployment's name: `20260820T101500Z-4f2a9c`. The first half is when (UTC), the second tells apart what happened
/// in the same second on two hosts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeploymentId(String);

impl DeploymentId {
    pub(super) fn new(at: Timestamp, salt: [u8; 3]) -> Self {
        Self(format!("{}-{}", at.strftime("%Y%m%dT%H%M%SZ"), hex::encode(salt)))
    }

    /// Takes a folder's name; `None` when it is not of that form.
    pub fn parse(text: &str) -> Option<Self> {
        let (time, salt) = text.split_once('-')?;
        let time_fits = time.len() == 16
            && time.bytes().enumerate().all(|(place, byte)| match place {
                8 => byte == b'T',
                15 => byte == b'Z',
                _ => byte.is_ascii_digit(),
            });
        let salt_fits = salt.len() == 6 && salt.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        (time_fits && salt_fits).then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The half that is the time: names sort by it.
    pub(super) fn time(&self) -> &str {
        self.0.split_once('-').map_or(&self.0, |(time, _)| time)
    }

    /// The second that its name says; nothing where no such time is.
    pub fn moment(&self) -> Option<Timestamp> {
        let time = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", self.time()).ok()?;
        time.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
    }

    /// The half behind the time: enough to name it among a few.
    pub fn short(&self) -> &str {
        self.0.split_once('-').map_or(&self.0, |(_, salt)| salt)
    }
}

impl fmt::Display for DeploymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which install a deployment belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedInstall {
    pub namespace: NamespaceName,
    pub release: ReleaseName,
    /// The kubeconfig context that it was reached by; a host's own word, so it does not identify the install.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// The cluster: the uid of its `kube-system` namespace. Two clusters may have installs of the same name in one vault.
    /// Absent where it is not known, as in records of before it was written down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
}

impl RecordedInstall {
    /// Whether both are known to be in clusters, and in different ones.
    pub fn is_in_another_cluster(&self, other: &Self) -> bool {
        matches!((&self.cluster, &other.cluster), (Some(a), Some(b)) if a != b)
    }

    /// The folder of its deployments. Namespaces hold no dot, so two installs never share one.
    pub(super) fn folder(&self) -> String {
        format!("{}.{}", self.namespace, self.release)
    }
}

/// What made a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// `dr deploy`.
    Deploy,
    /// `dr bundle restore`.
    Restore,
    /// `dr deploy rollback`.
    Rollback,
    /// Written down later, by hand.
    Import,
}

impl How {
    /// The word in listings.
    pub fn word(self) -> &'static str {
        match self {
            Self::Deploy => "deploy",
            Self::Restore => "restore",
            Self::Rollback => "rollback",
            Self::Import => "import",
        }
    }
}

/// The chart that was deployed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedChart {
    pub name: String,
    pub version: String,
    /// Its `appVersion`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_version: Option<String>,
    /// Where it came from: an `oci://` reference or a path.
    pub reference: String,
    /// The registry's digest of it (`sha256:...`), where it came from one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// A container image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// As the pod asks for it.
    pub reference: String,
    /// What the node resolved it to (`sha256:...`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// A sealed file in the deployment's folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// Its name in the folder.
    pub file: String,
    /// SHA-256 of the plaintext. The values hold keys of 128 bits and more, so it cannot be guessed from.
    pub sha256: String,
    /// How many bytes the plaintext has.
    pub bytes: u64,
    /// SHA-256 of the sealed file, so that a swapped one is found without a key.
    pub sealed_sha256: String,
}

/// A layer of the values, in the order that Helm lays them over each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedLayer {
    /// How it was given: `values` (`-f`), or `set-json`, `set`, `set-string`, `set-file`, `set-literal`.
    pub kind: String,
    /// What it was called: the file's name, or the key of `--set-file`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub sealed: Sealed,
}

/// The deployment before, and its record's digest: the chain in which none can be altered or taken out unseen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Previous {
    pub id: DeploymentId,
    /// SHA-256 of its `record.json`.
    pub record_sha256: String,
}

/// What was meant, written before helm runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentRecord {
    /// The format's version.
    pub format: u32,
    /// The deployment's name.
    pub id: DeploymentId,
    /// Whose it is.
    pub install: RecordedInstall,
    pub at: Timestamp,
    /// Who: `user@host`.
    pub by: String,
    /// Why, in the operator's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What made it.
    pub how: How,
    /// The OpsChain version, such as `2026-08-20`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opschain_version: Option<String>,
    pub chart: RecordedChart,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chart_archive: Option<Sealed>,
    /// The values, all layers in order.
    pub layers: Vec<RecordedLayer>,
    /// SHA-256 of what Helm makes of the layers, where they are not one file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merged_sha256: Option<String>,
    /// SHA-256 of the document that Helm stores of one file, in one spelling (see [`overlay::document_of_file`]): so who
    /// may ask Helm for its values can tell without a key that they are these. They hold keys of 128 bits and more, so it
    /// cannot be guessed from.
    ///
    /// [`overlay::document_of_file`]: crate::values::overlay::document_of_file
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document_sha256: Option<String>,
    /// The public keys that the files are sealed to.
    pub recipients: Vec<String>,
    /// The deployment before, in the order of writing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Previous>,
    /// The other ends of the chain, where two hosts had recorded at once and were merged: this record ties them up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub joins: Vec<Previous>,
    /// The version of this program.
    pub dr: String,
    /// The version of helm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub helm: Option<String>,
    /// The version of the database operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<String>,
    /// The bundle that was made of what was live, right before: what this deployment found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle_before: Option<String>,
}

/// How a deployment ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeploymentStatus {
    /// Helm has deployed it, and what was waited for came true.
    Deployed,
    /// It failed; the reason is beside it.
    Failed,
    /// It was stopped by the operator.
    Interrupted,
}

impl DeploymentStatus {
    /// The word in listings and commit messages.
    pub fn word(self) -> &'static str {
        match self {
            Self::Deployed => "deployed",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
        }
    }
}

/// What came of it, written after helm ran, once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeploymentOutcome {
    /// The format's version.
    pub format: u32,
    /// The deployment's name.
    pub id: DeploymentId,
    /// When it ended.
    pub at: Timestamp,
    pub status: DeploymentStatus,
    /// Helm's revision, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub helm_revision: Option<u32>,
    /// The images that run, with their digests.
    #[serde(default)]
    pub images: Vec<Image>,
    /// How long it took.
    pub seconds: f64,
    /// Why it failed, scrubbed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What is known of how a deployment of the past ended; [`super::Vault::record_past`] makes the outcome of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    pub status: DeploymentStatus,
    /// Helm's revision, where it is known.
    pub helm_revision: Option<u32>,
}

impl Ended {
    pub(super) fn outcome(self, of: &DeploymentRecord) -> DeploymentOutcome {
        DeploymentOutcome {
            format: FORMAT,
            id: of.id.clone(),
            at: of.at,
            status: self.status,
            helm_revision: self.helm_revision,
            images: Vec::new(),
            seconds: 0.0,
            error: None,
        }
    }
}

/// A deployment as the vault has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deployment {
    /// What was meant.
    pub record: DeploymentRecord,
    /// What came of it; none when `dr` was killed in between, or is still at it.
    pub outcome: Option<DeploymentOutcome>,
    /// SHA-256 of `record.json`.
    pub record_sha256: String,
}

impl Deployment {
    pub fn id(&self) -> &DeploymentId {
        &self.record.id
    }

    /// `deployed`, `failed`, `interrupted`, or `unknown` when no outcome was ever written.
    pub fn state(&self) -> &'static str {
        match self.outcome.as_ref().map(|outcome| outcome.status) {
            Some(DeploymentStatus::Deployed) => "deployed",
            Some(DeploymentStatus::Failed) => "failed",
            Some(DeploymentStatus::Interrupted) => "interrupted",
            None => "unknown",
        }
    }

    /// Whether it went live.
    pub fn is_deployed(&self) -> bool {
        self.outcome.as_ref().is_some_and(|outcome| outcome.status == DeploymentStatus::Deployed)
    }

    pub fn revision(&self) -> Option<u32> {
        self.outcome.as_ref().and_then(|outcome| outcome.helm_revision)
    }

    /// SHA-256 of what Helm stores of the values, in one spelling; `None` in records of before there was one.
    pub fn document_sha256(&self) -> Option<&str> {
        self.record.merged_sha256.as_deref().or(self.record.document_sha256.as_deref())
    }

    /// SHA-256 of the values that Helm read.
    pub fn values_sha256(&self) -> Option<&str> {
        match (&self.record.merged_sha256, self.record.layers.as_slice()) {
            (Some(merged), _) => Some(merged),
            (None, [layer]) => Some(&layer.sealed.sha256),
            _ => None,
        }
    }
}

/// What is about to be deployed; [`super::Vault::record_intent`] makes the record of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Intent {
    /// Whose it is.
    pub install: RecordedInstall,
    pub at: Timestamp,
    /// Who: `user@host`.
    pub by: String,
    /// Why. The caller has scrubbed it.
    pub why: Option<String>,
    pub how: How,
    pub opschain_version: Option<String>,
    pub chart: RecordedChart,
    /// The version of helm.
    pub helm: Option<String>,
    /// The version of the database operator.
    pub operator: Option<String>,
    /// The bundle that was made of what was live, right before.
    pub bundle_before: Option<String>,
}

/// Changes of the list of recipients. The list is what all changes, in the order of their files, come to; so two hosts
/// that change it at once lose nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct RecipientsChange {
    pub format: u32,
    pub at: Timestamp,
    pub by: String,
    #[serde(default)]
    pub add: Vec<String>,
    #[serde(default)]
    pub remove: Vec<String>,
    /// Whose key it is, or why it goes, in the operator's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// The folder of the published bundles.
pub(super) const BUNDLES: &str = "bundles";

/// A bundle that was published, as its host has written it down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ListedBundle {
    pub format: u32,
    pub bundle: String,
    pub install: RecordedInstall,
    /// When it was made.
    pub at: Timestamp,
    pub by: String,
    pub opschain_version: String,
    /// Its database's identity.
    pub system_identifier: String,
    /// SHA-256 of its manifest: which bundle this is, to the byte.
    pub manifest_sha256: String,
    /// Where it was published.
    pub store: String,
    pub dr: String,
}

impl ListedBundle {
    /// Whether it is one of that install.
    pub fn is_of(&self, install: &RecordedInstall) -> bool {
        self.install.folder() == install.folder()
    }

    /// Where it stands in a vault.
    pub(super) fn path(&self) -> String {
        format!("{BUNDLES}/{}.json", self.bundle)
    }
}

/// What a folder of `rekeyed/` holds: files sealed again, each of which stands for an older one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct RekeyList {
    pub format: u32,
    pub at: Timestamp,
    pub by: String,
    /// Whom they are sealed to now.
    pub recipients: Vec<String>,
    pub files: Vec<RekeyedFile>,
    pub dr: String,
}

/// A file sealed again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct RekeyedFile {
    /// The path of the file that it stands for, and its own below the folder.
    pub path: String,
    /// SHA-256 of the new sealed bytes.
    pub sealed_sha256: String,
}

/// What says that a folder is a vault.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct VaultHeader {
    pub format: u32,
    pub created: Timestamp,
    pub dr: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_its_time_and_a_salt_and_nothing_else_is_one() {
        let at: Timestamp = "2026-08-20T10:15:00Z".parse().unwrap();
        let id = DeploymentId::new(at, [0x4f, 0x2a, 0x9c]);
        assert_eq!((id.as_str(), id.short()), ("20260820T101500Z-4f2a9c", "4f2a9c"));
        assert_eq!(DeploymentId::parse(id.as_str()), Some(id));
        for bad in
            ["", "..", "20260820T101500Z-4f2a9", "20260820T101500Z-4F2A9C", "2026-08-20", "20260820T101500Z-4f2a9c/.."]
        {
            assert_eq!(DeploymentId::parse(bad), None, "{bad}");
        }
    }
}
