//! What a bundle says of the release beside its values: `config/release.json` and `config/secrets.yaml`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::quiesce::RecordedReplicas;
use crate::cluster::{KeptObject, RunningImage};
use crate::error::{CommandError, Exit, Result};
use crate::redact::FingerprintKey;
use crate::values::overlay::LayerKind;

/// `config/release.json`: the release as it ran when the bundle was made. Sealed; the only secret of it is the key of the
/// fingerprints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Release {
    /// The Helm release's name.
    pub release: String,
    pub namespace: String,
    pub revision: u32,
    /// The chart's name and version, such as `opschain-2026.8.20`.
    pub chart: String,
    /// SHA-256 of the packaged chart.
    pub chart_sha256: String,
    /// The deployment's id in the config vault.
    pub deployment: String,
    /// What ran, with the digests that were pulled.
    pub images: Vec<RunningImage>,
    /// How many replicas the writers had.
    pub replicas: RecordedReplicas,
    pub database_image: String,
    /// The database operator's version.
    pub operator: Option<String>,
    /// The version of Kubernetes.
    pub kubernetes: String,
    /// The version of helm.
    pub helm: String,
    /// The labels of the namespace that decide which pods it admits. Since 1.4.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pod_security: BTreeMap<String, String>,
    /// The identity of the cluster that it ran in, where it could be read. Since 1.5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_uid: Option<String>,
    /// What the manifest's fingerprints of keys are made under, as hex: 32 bytes. Since 1.5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pairing_key: Option<String>,
    /// The layers of the values in their order, where they were given in several; each is a member of its own, sealed as
    /// the config vault has it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sealed_layers: Vec<LayerMember>,
    /// The same in bundles of format 1.1, where each member holds what was given and nothing else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<LayerMember>,
}

/// A layer of the values, as a bundle has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerMember {
    pub kind: LayerKind,
    /// What it was called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The file below `config/`, without `.age`.
    pub file: String,
}

impl LayerMember {
    /// What to call the layer at `place`, counted from 0.
    pub fn of(place: usize, kind: LayerKind, name: Option<String>) -> Self {
        let ending = if kind == LayerKind::Values { "yaml" } else { "txt" };
        Self { kind, name, file: format!("layer-{place}.{ending}") }
    }
}

impl Release {
    /// The member's bytes.
    ///
    /// # Errors
    /// It cannot be written as JSON.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        serde_json::to_vec_pretty(self).map_err(|e| CommandError::new(Exit::Failure, "write release.json").because(e))
    }

    /// The key of the manifest's fingerprints.
    pub fn pairing_key(&self) -> Option<FingerprintKey> {
        FingerprintKey::from_bytes(&hex::decode(self.pairing_key.as_ref()?).ok()?)
    }

    /// Reads the member.
    ///
    /// # Errors
    /// [`Exit::Damaged`] when it is not what [`Self::to_bytes`] wrote.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        serde_json::from_slice(bytes).map_err(|e| {
            CommandError::new(Exit::Damaged, "config/release.json of the bundle is not understood").because(e)
        })
    }
}

/// Secrets and ConfigMaps as one Kubernetes `List`, which `kubectl apply -f -` takes: JSON, and so also YAML.
#[derive(Serialize, Deserialize)]
struct KeptList {
    #[serde(rename = "apiVersion")]
    api_version: String,
    kind: String,
    items: Vec<KeptObject>,
}

/// The bytes of `config/secrets.yaml`. Wiped when dropped.
///
/// # Errors
/// They cannot be written.
pub fn secrets_to_bytes(kept: &[KeptObject]) -> Result<Zeroizing<Vec<u8>>> {
    let list = KeptList { api_version: "v1".into(), kind: "List".into(), items: kept.to_vec() };
    // The cause is left out on purpose: it could quote a value.
    let mut bytes = serde_json::to_vec_pretty(&list)
        .map(Zeroizing::new)
        .map_err(|_| CommandError::new(Exit::Failure, "write config/secrets.yaml"))?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Reads `config/secrets.yaml`: JSON as it is written here, or YAML as a person may have put it.
///
/// # Errors
/// [`Exit::Damaged`]; the bytes are not quoted.
pub fn secrets_from_bytes(bytes: &[u8]) -> Result<Vec<KeptObject>> {
    kept_objects(bytes)
        .ok_or_else(|| CommandError::new(Exit::Damaged, "config/secrets.yaml of the bundle is not understood"))
}

/// The Secrets and ConfigMaps of YAML documents, each one of them or a list, as kubectl shows them; `None` where a document
/// is something else, or there is none.
pub fn kept_objects(bytes: &[u8]) -> Option<Vec<KeptObject>> {
    let mut objects = None;
    for document in serde_yaml::Deserializer::from_slice(bytes) {
        let document = serde_json::Value::deserialize(document).ok()?;
        let found = match &document {
            serde_json::Value::Null => continue,
            list if list["kind"] == "List" => serde_json::from_value::<KeptList>(document).ok()?.items,
            _ => vec![serde_json::from_value(document).ok()?],
        };
        objects.get_or_insert_with(Vec::new).extend(found);
    }
    objects
}
