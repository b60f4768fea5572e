//! Objects of any kind as the API server has them, with who wrote which field.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, stream};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::api::{Api, ApiResource, DynamicObject};
use kube::core::GroupVersionKind;
use serde::{Deserialize, Serialize};

use super::error::{ApiRequest, ClusterError, Result};
use super::kube::{Cluster, Objects};
use crate::values::{Path, Segment};

/// How many objects are asked for at once.
const AT_ONCE: usize = 8;

/// Which object is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedObject {
    /// Such as `apps/v1`.
    pub api_version: String,
    /// Such as `Deployment`.
    pub kind: String,
    /// Its namespace; the one that is looked at when absent. Of no matter for kinds that live in none.
    pub namespace: Option<String>,
    pub name: String,
}

/// What there is of a wanted object.
pub enum LiveObject {
    /// All of it. May hold secrets.
    There {
        /// Its fields, managed fields left out.
        fields: serde_json::Value,
        /// Who wrote what.
        written: Vec<ManagedFieldsEntry>,
    },
    /// There is none of that name.
    Absent,
    /// It cannot be read: the words say why.
    Unreadable(String),
}

/// Who wrote a field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manager {
    /// What it calls itself: `helm`, `kubectl-edit`, ...
    pub name: String,
    /// The part of the object that it wrote through, such as `scale`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subresource: Option<String>,
    /// When it last wrote.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<jiff::Timestamp>,
}

impl Cluster {
    /// Reads objects of any kinds, in the order wanted. One that may not be read, or whose kind the cluster does not
    /// know, is said to be unreadable.
    ///
    /// # Errors
    /// The API server does not answer.
    pub async fn live_objects(&self, wanted: &[WantedObject]) -> Result<Vec<LiveObject>> {
        let mut versions: BTreeMap<&str, BTreeMap<String, (String, bool)>> = BTreeMap::new();
        for object in wanted {
            if !versions.contains_key(object.api_version.as_str()) {
                versions.insert(&object.api_version, self.kinds(&object.api_version).await?);
            }
        }
        let mut asked = Vec::new();
        for object in wanted {
            let known = versions.get(object.api_version.as_str()).and_then(|kinds| kinds.get(&object.kind));
            asked.push(self.live_object(object, known));
        }
        stream::iter(asked).buffered(AT_ONCE).collect::<Vec<Result<LiveObject>>>().await.into_iter().collect()
    }

    /// Those of the wanted kinds, each with its API version, that the cluster does not serve. One question a version.
    ///
    /// # Errors
    /// The API server does not answer, or does not say what it serves.
    pub async fn unserved(&self, wanted: &BTreeSet<(&str, &str)>) -> Result<Vec<(String, String)>> {
        let versions: BTreeSet<&str> = wanted.iter().map(|(version, _)| *version).collect();
        let asked = versions.into_iter().map(|version| async move { Ok((version, self.kinds(version).await?)) });
        let served: BTreeMap<_, _> = stream::iter(asked)
            .buffered(AT_ONCE)
            .collect::<Vec<Result<_>>>()
            .await
            .into_iter()
            .collect::<Result<_>>()?;
        let is_served = |version: &str, kind: &str| served.get(version).is_some_and(|kinds| kinds.contains_key(kind));
        let missing = wanted.iter().filter(|(version, kind)| !is_served(version, kind));
        Ok(missing.map(|(version, kind)| ((*version).to_owned(), (*kind).to_owned())).collect())
    }

    /// The other versions of the API group in which the cluster serves the kind.
    ///
    /// # Errors
    /// As [`Cluster::unserved`].
    pub async fn served_versions(&self, api_version: &str, kind: &str) -> Result<Vec<String>> {
        let Some((group, _)) = api_version.split_once('/') else { return Ok(Vec::new()) };
        let ask = ApiRequest {
            verb: "list",
            kind: "API groups".into(),
            resource: "apis".into(),
            name: None,
            namespace: None,
        };
        let groups = self.ask(ask, self.client().list_api_groups()).await?.groups;
        let versions = groups.into_iter().filter(|known| known.name == group).flat_map(|known| known.versions);
        let mut served = Vec::new();
        for version in versions.map(|version| version.group_version) {
            if version != api_version && self.kinds(&version).await?.contains_key(kind) {
                served.push(version);
            }
        }
        Ok(served)
    }

    /// Who last wrote a Secret that helm keeps a revision in, and when; `None` where it is not there. Its content is not
    /// asked for.
    ///
    /// # Errors
    /// It may not be read.
    pub async fn writer_of_secret(&self, name: &str) -> Result<Option<Manager>> {
        let objects = self.here::<k8s_openapi::api::core::v1::Secret>();
        match self.ask(objects.ask("get", Some(name)), objects.api.get_metadata(name)).await {
            Ok(found) => Ok(newest(&found.metadata.managed_fields.unwrap_or_default(), |_| true)),
            Err(ClusterError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Marks an object as one of a Helm release, which then takes it for its own.
    ///
    /// # Errors
    /// It is gone, or may not be changed.
    pub async fn give_to_release(&self, object: &WantedObject, namespace: &str, release: &str) -> Result<()> {
        let kinds = self.kinds(&object.api_version).await?;
        let Some((plural, _)) = kinds.get(&object.kind) else { return Ok(()) };
        let (group, version) = object.api_version.split_once('/').unwrap_or(("", &object.api_version));
        let types = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, &object.kind), plural);
        let objects: Objects<'_, DynamicObject> =
            self.in_any(Api::all_with(self.client().clone(), &types), types, None);
        let change = serde_json::json!({"metadata": {
            "labels": {"app.kubernetes.io/managed-by": "Helm"},
            "annotations": {"meta.helm.sh/release-namespace": namespace, "meta.helm.sh/release-name": release},
        }});
        objects.merge(&object.name, &change).await.map(drop)
    }

    /// Reads one object, whose plural and whether it is of a namespace the cluster has told, if it knows the kind.
    async fn live_object(&self, object: &WantedObject, known: Option<&(String, bool)>) -> Result<LiveObject> {
        let Some((plural, namespaced)) = known else {
            let text = format!("the cluster knows no {} of {}", object.kind, object.api_version);
            return Ok(LiveObject::Unreadable(text));
        };
        let (group, version) = object.api_version.split_once('/').unwrap_or(("", &object.api_version));
        let types = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, &object.kind), plural);
        let namespace = object.namespace.as_deref().unwrap_or(self.namespace());
        let objects: Objects<'_, DynamicObject> = if *namespaced {
            self.in_any(Api::namespaced_with(self.client().clone(), namespace, &types), types, Some(namespace))
        } else {
            self.in_any(Api::all_with(self.client().clone(), &types), types, None)
        };
        match objects.get_opt(&object.name).await {
            Ok(Some(mut found)) => {
                let written = found.metadata.managed_fields.take().unwrap_or_default();
                let act = || format!("read {} {}", object.kind, object.name);
                let fields = serde_json::to_value(&found)
                    .map_err(|_| ClusterError::Unexpected { act: act(), cause: "it is no object".into() })?;
                Ok(LiveObject::There { fields, written })
            }
            Ok(None) => Ok(LiveObject::Absent),
            Err(error @ (ClusterError::Forbidden { .. } | ClusterError::Refused { .. })) => {
                Ok(LiveObject::Unreadable(error.to_string()))
            }
            Err(error) => Err(error),
        }
    }

    /// The kinds of an API version: each with its plural, and whether its objects live in namespaces.
    pub(super) async fn kinds(&self, api_version: &str) -> Result<BTreeMap<String, (String, bool)>> {
        let ask = ApiRequest {
            verb: "list",
            kind: format!("kinds of {api_version}"),
            resource: api_version.to_owned(),
            name: None,
            namespace: None,
        };
        let listed = if api_version.contains('/') {
            self.ask(ask, self.client().list_api_group_resources(api_version)).await
        } else {
            self.ask(ask, self.client().list_core_api_resources(api_version)).await
        };
        match listed {
            Ok(list) => Ok(list
                .resources
                .into_iter()
                .filter(|resource| !resource.name.contains('/'))
                .map(|resource| (resource.kind, (resource.name, resource.namespaced)))
                .collect()),
            Err(ClusterError::NotFound { .. }) => Ok(BTreeMap::new()),
            Err(error) => Err(error),
        }
    }
}

/// Who last wrote a field, or the list or map above it that has one owner as a whole. `None` where nobody owns it: it
/// was taken away.
pub fn writer_of(written: &[ManagedFieldsEntry], path: &Path) -> Option<Manager> {
    let depth = |entry: &ManagedFieldsEntry| {
        let fields = entry.fields_v1.as_ref().map(|fields| &fields.0);
        fields.map_or(0, |fields| owned(fields, &path.0))
    };
    let deepest = written.iter().map(depth).max().filter(|depth| *depth == path.0.len())?;
    newest(written, |entry| depth(entry) == deepest)
}

/// Who last wrote the object at all, of those that are strangers.
pub fn last_writer(written: &[ManagedFieldsEntry], is_stranger: impl Fn(&str) -> bool) -> Option<Manager> {
    newest(written, |entry| {
        let name = entry.manager.as_deref().unwrap_or_default();
        is_stranger(name) && entry.subresource.as_deref() != Some("status")
    })
}

fn newest(written: &[ManagedFieldsEntry], fits: impl Fn(&ManagedFieldsEntry) -> bool) -> Option<Manager> {
    let entry =
        written.iter().filter(|entry| fits(entry)).max_by_key(|entry| entry.time.as_ref().map(|time| time.0))?;
    Some(Manager {
        name: entry.manager.clone().unwrap_or_default(),
        subresource: entry.subresource.clone().filter(|part| !part.is_empty()),
        at: entry.time.as_ref().map(|time| time.0),
    })
}

/// How many steps of the path are owned, in the notation of managed fields: `f:` a field, `k:` an item by its keys. A
/// leaf, or a list that is owned as a whole, owns everything below it.
fn owned(fields: &serde_json::Value, path: &[Segment]) -> usize {
    let Some(map) = fields.as_object() else { return 0 };
    let Some((step, rest)) = path.split_first() else { return 0 };
    let found = match step {
        Segment::Key(key) => map.get(&format!("f:{key}")),
        Segment::Item { by, id } => map.iter().find_map(|(key, below)| {
            let keys: serde_json::Value = serde_json::from_str(key.strip_prefix("k:")?).ok()?;
            let value = keys.get(by)?;
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            (text == *id).then_some(below)
        }),
        Segment::Index(_) => None,
    };
    match found {
        // `{}` is a leaf: a scalar, or a list or map that has one owner.
        Some(below) if below.as_object().is_some_and(serde_json::Map::is_empty) => path.len(),
        Some(below) => 1 + owned(below, rest),
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(manager: &str, at: &str, fields: serde_json::Value) -> ManagedFieldsEntry {
        serde_json::from_value(
            serde_json::json!({"manager": manager, "operation": "Update", "time": at, "fieldsType": "FieldsV1", "fieldsV1": fields}),
        )
        .unwrap()
    }

    #[test]
    fn a_field_is_traced_to_who_wrote_it_last() {
        let written = [
            entry(
                "helm",
                "2026-08-20T10:00:00Z",
                serde_json::json!({"f:spec": {"f:replicas": {}, "f:template": {"f:spec": {
                "f:containers": {"k:{\"name\":\"c\"}": {".": {}, "f:image": {}, "f:args": {},
                    "f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:name": {}}}}}}}}}),
            ),
            entry(
                "kubectl-edit",
                "2026-08-21T10:00:00Z",
                serde_json::json!({"f:spec": {"f:template": {"f:spec": {
                "f:containers": {"k:{\"name\":\"c\"}": {"f:image": {}}}}}}}),
            ),
        ];
        let item = |by: &str, id: &str| Segment::Item { by: by.into(), id: id.into() };
        let container = Path::of(&["spec", "template", "spec", "containers"]).join(item("name", "c"));
        let by = |path: &Path| writer_of(&written, path).map(|manager| manager.name);
        let key = |path: &Path, key: &str| path.join(Segment::Key(key.into()));
        assert_eq!(by(&Path::of(&["spec", "replicas"])).as_deref(), Some("helm"));
        assert_eq!(by(&key(&container, "image")).as_deref(), Some("kubectl-edit"));
        assert_eq!(
            by(&key(&container, "args").join(Segment::Index(1))).as_deref(),
            Some("helm"),
            "a list of one owner"
        );
        let port = key(&container, "ports").join(item("containerPort", "80"));
        assert_eq!(by(&key(&port, "name")).as_deref(), Some("helm"));
        assert_eq!(by(&key(&container, "command")), None, "taken away: nobody owns it");
        assert_eq!(last_writer(&written, |name| name != "helm").unwrap().name, "kubectl-edit");
        assert_eq!(
            last_writer(&written, |name| name != "helm").unwrap().at.unwrap().to_string(),
            "2026-08-21T10:00:00Z"
        );
    }
}
