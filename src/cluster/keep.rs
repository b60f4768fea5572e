//! Secrets and config maps that are carried from one install to another: read, stripped, put back.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{DeleteParams, ObjectMeta, Preconditions};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::MANAGED_BY;
use super::error::{ClusterError, Result};
use super::kube::{Cluster, FIELD_MANAGER};
use super::namespace::ObjectRef;

/// How many objects are read at once.
const AT_ONCE: usize = 8;
/// What kubectl notes in an annotation holds the whole object in clear, secrets included.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Helm takes over an object that it did not make only when these name its own release.
const HELM_NAMESPACE: &str = "meta.helm.sh/release-namespace";
const HELM_RELEASE: &str = "meta.helm.sh/release-name";
/// `keep`: Helm leaves the object where it is when it is no part of the release any more.
const HELM_POLICY: &str = "helm.sh/resource-policy";
/// The name under which Helm 4 applies (`pkg/kube`, `ManagedFieldsManager`; Helm 3 does not apply and meets no conflict).
const HELM_MANAGER: &str = "helm";
/// The fields that hold content, of a Secret or a ConfigMap.
const CONTENT: [&str; 3] = ["data", "binaryData", "stringData"];

/// A Secret or ConfigMap as it is carried: name, labels, annotations, type and content; nothing that belongs to one
/// cluster only (uid, versions, owners, managed fields, times).
///
/// Its `Debug` shows no content.
#[derive(Clone, PartialEq)]
pub enum KeptObject {
    Secret(Secret),
    /// A ConfigMap. OpsChain keeps keys in clear in one.
    ConfigMap(ConfigMap),
}

/// What came of putting an object back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PutBackResult {
    /// It was not there and was made.
    Created,
    /// It was there with the same content.
    Same,
    /// It was there with other content, which was replaced.
    Replaced,
    /// It is there with other content, and was left alone.
    Differs,
}

impl KeptObject {
    /// Its kind and name.
    pub fn object(&self) -> ObjectRef {
        match self {
            Self::Secret(secret) => ObjectRef::new("Secret", secret.metadata.name.clone().unwrap_or_default()),
            Self::ConfigMap(map) => ObjectRef::new("ConfigMap", map.metadata.name.clone().unwrap_or_default()),
        }
    }

    /// The keys of its content, in order.
    pub fn keys(&self) -> Vec<String> {
        self.content().into_keys().collect()
    }

    /// The value of one key, as bytes.
    pub fn value(&self, key: &str) -> Option<Vec<u8>> {
        self.content().remove(key)
    }

    /// A digest of its content, whatever labels and annotations say.
    pub fn content_sha256(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        for (key, value) in self.content() {
            let value = Zeroizing::new(value);
            for part in [key.as_bytes(), &value] {
                digest.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
                digest.update(part);
            }
        }
        digest.finalize().into()
    }

    /// The same object for an install of another name or namespace: Helm's marks are made to name that one.
    #[must_use]
    pub fn for_install(mut self, namespace: &str, release: &str) -> Self {
        let meta = self.meta_mut();
        if let Some(annotations) = &mut meta.annotations {
            for (key, value) in [(HELM_NAMESPACE, namespace), (HELM_RELEASE, release)] {
                if let Some(mark) = annotations.get_mut(key) {
                    *mark = value.to_owned();
                }
            }
        }
        self
    }

    /// The same object as if helm had made it for an install, which takes it over then.
    #[must_use]
    pub fn owned_by(mut self, namespace: &str, release: &str) -> Self {
        let meta = self.meta_mut();
        let annotations = meta.annotations.get_or_insert_default();
        annotations.insert(HELM_NAMESPACE.to_owned(), namespace.to_owned());
        annotations.insert(HELM_RELEASE.to_owned(), release.to_owned());
        meta.labels.get_or_insert_default().insert(MANAGED_BY.to_owned(), "Helm".to_owned());
        meta.namespace = None;
        self
    }

    pub fn strip(mut self) -> Self {
        let meta = self.meta_mut();
        let mut annotations = meta.annotations.take().unwrap_or_default();
        annotations.remove(LAST_APPLIED);
        *meta = ObjectMeta {
            name: meta.name.take(),
            labels: meta.labels.take(),
            annotations: (!annotations.is_empty()).then_some(annotations),
            ..ObjectMeta::default()
        };
        self
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match self {
            Self::Secret(secret) => &mut secret.metadata,
            Self::ConfigMap(map) => &mut map.metadata,
        }
    }

    fn content(&self) -> BTreeMap<String, Vec<u8>> {
        let texts = |map: &Option<BTreeMap<String, String>>| -> Vec<(String, Vec<u8>)> {
            map.iter().flatten().map(|(key, text)| (key.clone(), text.clone().into_bytes())).collect()
        };
        let blobs = |map: &Option<BTreeMap<String, k8s_openapi::ByteString>>| -> Vec<(String, Vec<u8>)> {
            map.iter().flatten().map(|(key, blob)| (key.clone(), blob.0.clone())).collect()
        };
        let (blobs, texts) = match self {
            Self::Secret(secret) => (blobs(&secret.data), texts(&secret.string_data)),
            Self::ConfigMap(map) => (blobs(&map.binary_data), texts(&map.data)),
        };
        blobs.into_iter().chain(texts).collect()
    }
}

impl Serialize for KeptObject {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        // Kind and API version are the objects' own fields.
        match self {
            Self::Secret(secret) => secret.serialize(serializer),
            Self::ConfigMap(map) => map.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for KeptObject {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        use serde::de::Error;
        let value = serde_json::Value::deserialize(deserializer)?;
        // The causes below would quote the content, so none is passed on.
        match value["kind"].as_str() {
            Some("Secret") => {
                serde_json::from_value(value).map(Self::Secret).map_err(|_| D::Error::custom("not a Secret"))
            }
            Some("ConfigMap") => {
                serde_json::from_value(value).map(Self::ConfigMap).map_err(|_| D::Error::custom("not a ConfigMap"))
            }
            _ => Err(D::Error::custom("neither a Secret nor a ConfigMap")),
        }
    }
}

impl std::fmt::Debug for KeptObject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} with {}", self.object(), self.keys().join(", "))
    }
}

/// A version of a Secret, to be deleted only as it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretVersion {
    uid: Option<String>,
    resource_version: Option<String>,
}

impl Cluster {
    /// Reads a Secret, stripped; `None` where there is none of the name.
    ///
    /// # Errors
    /// It may not be read.
    pub async fn secret(&self, name: &str) -> Result<Option<KeptObject>> {
        Ok(self.here::<Secret>().get_opt(name).await?.map(|secret| self.register(KeptObject::Secret(secret)).strip()))
    }

    /// Reads a ConfigMap, stripped; `None` where there is none of the name.
    ///
    /// # Errors
    /// It may not be read.
    pub async fn config_map(&self, name: &str) -> Result<Option<KeptObject>> {
        Ok(self.here::<ConfigMap>().get_opt(name).await?.map(|map| self.register(KeptObject::ConfigMap(map)).strip()))
    }

    /// Has what an object holds kept out of sight.
    fn register(&self, kept: KeptObject) -> KeptObject {
        // The form that a values file could hold it in, which tells what of it is secret.
        if let Ok(json) = serde_json::to_vec(&kept).map(zeroize::Zeroizing::new) {
            self.secrets().register_document(&json);
        }
        kept
    }

    /// Reads those of the named Secrets and ConfigMaps that exist, stripped, in the order named.
    ///
    /// # Errors
    /// One of them may not be read, or its kind is neither.
    pub async fn kept(&self, names: &[ObjectRef]) -> Result<Vec<KeptObject>> {
        let asked = names.iter().cloned().map(|object| async move {
            match object.kind.as_str() {
                "Secret" => self.secret(&object.name).await,
                "ConfigMap" => self.config_map(&object.name).await,
                _ => Err(ClusterError::Unexpected {
                    act: format!("keep {object}"),
                    cause: "only Secrets and ConfigMaps are kept".into(),
                }),
            }
        });
        let found: Vec<Option<KeptObject>> = stream::iter(asked).buffered(AT_ONCE).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// Deletes a Secret. `false`: there was none.
    ///
    /// # Errors
    /// It may not be deleted.
    pub async fn delete_secret(&self, name: &str) -> Result<bool> {
        self.here::<Secret>().delete(name, &DeleteParams::default()).await
    }

    /// Which version of a Secret is there; its content is not looked at.
    ///
    /// # Errors
    /// It may not be read.
    pub async fn secret_version(&self, name: &str) -> Result<Option<SecretVersion>> {
        let secret = self.here::<Secret>().get_opt(name).await?;
        Ok(secret.map(|secret| SecretVersion {
            uid: secret.metadata.uid,
            resource_version: secret.metadata.resource_version,
        }))
    }

    /// Deletes a Secret if it is still of this version.
    ///
    /// # Errors
    /// [`ClusterError::Conflict`] when it has changed; or it may not be deleted.
    pub async fn delete_secret_version(&self, name: &str, version: &SecretVersion) -> Result<bool> {
        let SecretVersion { uid, resource_version } = version.clone();
        let params = DeleteParams::default().preconditions(Preconditions { uid, resource_version });
        self.here::<Secret>().delete(name, &params).await
    }

    /// Puts an object into the namespace. Safe to repeat. One that is there with other content is replaced only with
    /// `replace`; its own labels and annotations stay, with the carried ones over them.
    ///
    /// What Helm had made is Helm's again: it writes such an object on, as its next release names other labels, without
    /// a conflict with this program.
    ///
    /// # Errors
    /// It may not be read or written, or it is marked immutable there with other content.
    pub async fn put_back(&self, kept: &KeptObject, replace: bool) -> Result<PutBackResult> {
        let object = kept.object();
        let there = match kept {
            KeptObject::Secret(_) => self.here::<Secret>().get_opt(&object.name).await?.map(KeptObject::Secret),
            KeptObject::ConfigMap(_) => {
                self.here::<ConfigMap>().get_opt(&object.name).await?.map(KeptObject::ConfigMap)
            }
        }
        .map(|there| self.register(there));
        let done = match &there {
            None => PutBackResult::Created,
            Some(there) if there.content() == kept.content() => PutBackResult::Same,
            Some(_) if !replace => return Ok(PutBackResult::Differs),
            Some(there) => {
                if let Some(change) = without_others(there, kept)? {
                    match kept {
                        KeptObject::Secret(_) => self.here::<Secret>().merge(&object.name, &change).await.map(drop),
                        KeptObject::ConfigMap(_) => {
                            self.here::<ConfigMap>().merge(&object.name, &change).await.map(drop)
                        }
                    }?;
                }
                PutBackResult::Replaced
            }
        };
        for (manager, part) in shares(as_json(kept)?) {
            match kept {
                KeptObject::Secret(_) => self.here::<Secret>().apply(&object.name, manager, &part).await.map(drop),
                KeptObject::ConfigMap(_) => {
                    self.here::<ConfigMap>().apply(&object.name, manager, &part).await.map(drop)
                }
            }?;
        }
        Ok(done)
    }
}

fn as_json(kept: &KeptObject) -> Result<Value> {
    // The cause is left out on purpose: it could quote a value.
    serde_json::to_value(kept).map_err(|_| ClusterError::Unexpected {
        act: format!("write {}", kept.object()),
        cause: "it is no JSON".into(),
    })
}

/// The change that takes away what only `there` has of content; none where there is no such thing.
fn without_others(there: &KeptObject, kept: &KeptObject) -> Result<Option<Value>> {
    let (there, kept) = (as_json(there)?, as_json(kept)?);
    let mut change = Map::new();
    for field in CONTENT {
        let others = there[field].as_object().into_iter().flatten().filter(|(key, _)| kept[field].get(key).is_none());
        let others: Map<String, Value> = others.map(|(key, _)| (key.clone(), Value::Null)).collect();
        if !others.is_empty() {
            change.insert(field.into(), others.into());
        }
    }
    Ok((!change.is_empty()).then(|| change.into()))
}

/// Whose fields the parts of an object are: the manager, and what is applied in its name. Content first, for the type of
/// a Secret may ask for it.
///
/// What Helm renders at each release is all Helm's. Of what it has made once and keeps, the content is what this program
/// brings and others fill in: Helm would take away what it had applied and does not render any more.
fn shares(object: Value) -> Vec<(&'static str, Value)> {
    let meta = &object["metadata"];
    if meta["labels"][MANAGED_BY] != "Helm" {
        return vec![(FIELD_MANAGER, object)];
    }
    if meta["annotations"][HELM_POLICY] != "keep" {
        return vec![(HELM_MANAGER, object)];
    }
    let (mut content, mut marks) = (object.clone(), object);
    for field in ["labels", "annotations"] {
        content["metadata"].as_object_mut().and_then(|meta| meta.remove(field));
    }
    for field in CONTENT {
        marks.as_object_mut().and_then(|marks| marks.remove(field));
    }
    vec![(FIELD_MANAGER, content), (HELM_MANAGER, marks)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault() -> Secret {
        serde_json::from_value(serde_json::json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "Opaque",
            "data": {"OPSCHAIN_VAULT_TOKEN": "aHVudGVyMg=="},
            "metadata": {
                "name": "opschain-vault-config",
                "namespace": "opschain",
                "uid": "u",
                "resourceVersion": "7",
                "creationTimestamp": "2026-08-20T00:00:00Z",
                "labels": {"app.kubernetes.io/managed-by": "Helm"},
                "annotations": {
                    LAST_APPLIED: "{}",
                    HELM_RELEASE: "opschain",
                    HELM_NAMESPACE: "opschain",
                    "helm.sh/resource-policy": "keep",
                },
                "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "x"}],
                "managedFields": [{"manager": "helm"}],
            },
        }))
        .unwrap()
    }

    #[test]
    fn what_belongs_to_one_cluster_is_stripped_and_the_rest_stays() {
        let kept = KeptObject::Secret(vault()).strip();
        let value = serde_json::to_value(&kept).unwrap();
        let meta = value["metadata"].as_object().unwrap();
        assert_eq!(meta.keys().collect::<Vec<_>>(), ["annotations", "labels", "name"]);
        assert!(!meta["annotations"].as_object().unwrap().contains_key(LAST_APPLIED));
        assert_eq!(meta["annotations"]["helm.sh/resource-policy"], "keep");
        assert_eq!(kept.value("OPSCHAIN_VAULT_TOKEN").unwrap(), b"hunter2");
    }

    #[test]
    fn what_is_carried_is_written_as_kubectl_would_apply_it_and_read_back() {
        let kept = KeptObject::Secret(vault()).strip();
        let text = serde_json::to_string(&kept).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&value["kind"], &value["apiVersion"]), (&"Secret".into(), &"v1".into()));
        assert_eq!(serde_json::from_str::<KeptObject>(&text).unwrap(), kept);
    }

    #[test]
    fn helm_finds_its_own_marks_in_another_namespace() {
        let kept = KeptObject::Secret(vault()).strip().for_install("other", "opschain");
        let value = serde_json::to_value(&kept).unwrap();
        assert_eq!(value["metadata"]["annotations"][HELM_NAMESPACE], "other");
    }

    #[test]
    fn what_helm_keeps_is_shared_out_and_what_it_renders_is_all_its_own() {
        let kept = || as_json(&KeptObject::Secret(vault()).strip()).unwrap();
        let [(content_of, content), (marks_of, marks)] = shares(kept()).try_into().unwrap();
        assert_eq!((content_of, marks_of), ("dr", "helm"));
        assert_eq!(content["metadata"], serde_json::json!({"name": "opschain-vault-config"}));
        assert_eq!((&content["data"], &content["type"]), (&kept()["data"], &"Opaque".into()));
        assert_eq!((&marks["metadata"], &marks["data"]), (&kept()["metadata"], &Value::Null));
        let mut rendered = kept();
        rendered["metadata"]["annotations"].as_object_mut().unwrap().remove(HELM_POLICY);
        assert_eq!(shares(rendered.clone()), [("helm", rendered.clone())]);
        rendered["metadata"]["labels"].as_object_mut().unwrap().clear();
        assert_eq!(shares(rendered.clone()), [("dr", rendered)], "somebody's own Secret");
    }

    #[test]
    fn keys_that_only_the_old_object_has_are_taken_away() {
        let map = |json: Value| KeptObject::ConfigMap(serde_json::from_value(json).unwrap());
        let there = map(serde_json::json!({"data": {"a": "1", "b": "2"}, "binaryData": {"c": "eA=="}}));
        let kept = map(serde_json::json!({"data": {"a": "other", "c": "now a text"}}));
        let change = serde_json::json!({"data": {"b": null}, "binaryData": {"c": null}});
        assert_eq!(without_others(&there, &kept).unwrap(), Some(change));
        assert_eq!(without_others(&kept, &kept).unwrap(), None);
    }

    #[test]
    fn debug_text_shows_no_content() {
        let text = format!("{:?}", KeptObject::Secret(vault()));
        assert_eq!(text, "Secret opschain-vault-config with OPSCHAIN_VAULT_TOKEN");
    }
}
