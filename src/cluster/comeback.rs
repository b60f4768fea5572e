//! What pods need to start again, looked at while they run: the objects that they name, and the room of the quotas.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{
    ConfigMapEnvSource, EnvVarSource, KeyToPath, PersistentVolumeClaim, PodSpec, ResourceQuota, SecretEnvSource, Volume,
};
use serde::{Deserialize, Serialize};

use super::error::{ClusterError, Result};
use super::kube::Cluster;
use super::namespace::ObjectRef;
use crate::quantity;

/// How many objects are asked for at once.
const AT_ONCE: usize = 8;

/// What pods name and would not find: they would wait for it, or not come up.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Lack {
    /// The Deployment or StatefulSet whose pods they are.
    pub workload: String,
    /// The object that is not there, or lacks the key.
    pub object: ObjectRef,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

impl std::fmt::Display for Lack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.key {
            Some(key) => write!(f, "key {key} of {}", self.object),
            None => write!(f, "{}", self.object),
        }
    }
}

/// What the pods of the namespace's workloads name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodNeeds {
    /// All Secrets, ConfigMaps and claims, those that may be missing included.
    pub named: BTreeSet<ObjectRef>,
    /// Those that are missing and may not be.
    pub lacking: Vec<Lack>,
}

/// A quota of which more is used than it allows: what ends does not come back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverfullQuota {
    /// Its name.
    pub name: String,
    /// What it bounds, such as `pods`.
    pub resource: String,
    pub used: String,
    pub hard: String,
}

/// One thing that a pod names.
#[derive(Debug, PartialEq, Eq)]
struct Need {
    object: ObjectRef,
    key: Option<String>,
    optional: bool,
}

impl Cluster {
    /// Looks whether what the pods of Deployments and StatefulSets name is there. An object that may not be read counts
    /// as there.
    ///
    /// # Errors
    /// The workloads may not be listed, or the API server does not answer.
    pub async fn pod_needs(&self) -> Result<PodNeeds> {
        let (deployments, sets) = (self.here::<Deployment>(), self.here::<StatefulSet>());
        let (deployments, sets) = tokio::try_join!(deployments.list(None), sets.list(None))?;
        let deployments =
            deployments.into_iter().map(|one| (one.metadata.name, one.spec.and_then(|spec| spec.template.spec)));
        let sets = sets.into_iter().map(|one| (one.metadata.name, one.spec.and_then(|spec| spec.template.spec)));
        let mut needs: Vec<(String, Need)> = Vec::new();
        for (name, spec) in deployments.chain(sets) {
            let (Some(name), Some(spec)) = (name, spec) else { continue };
            needs.extend(needs_of(&spec).into_iter().map(|need| (name.clone(), need)));
        }
        let objects: BTreeSet<ObjectRef> = needs.iter().map(|(_, need)| need.object.clone()).collect();
        let asked = objects.into_iter().map(|object| async move { Ok((object.clone(), self.keys_of(&object).await?)) });
        let found: BTreeMap<ObjectRef, Keys> = stream::iter(asked).buffered(AT_ONCE).try_collect().await?;
        Ok(judge(&needs, &found))
    }

    /// The quotas on pods of the namespace of which more is used than they allow.
    ///
    /// # Errors
    /// They may not be listed.
    pub async fn overfull_quotas(&self) -> Result<Vec<OverfullQuota>> {
        let quotas = self.here::<ResourceQuota>().list(None).await?;
        Ok(quotas.iter().flat_map(overfull).collect())
    }

    async fn keys_of(&self, object: &ObjectRef) -> Result<Keys> {
        let found = match object.kind.as_str() {
            "Secret" => self.secret(&object.name).await.map(|found| found.map(|kept| kept.keys())),
            "ConfigMap" => self.config_map(&object.name).await.map(|found| found.map(|kept| kept.keys())),
            _ => {
                self.here::<PersistentVolumeClaim>().get_opt(&object.name).await.map(|found| found.map(|_| Vec::new()))
            }
        };
        match found {
            Ok(Some(keys)) => Ok(Keys::These(keys.into_iter().collect())),
            Ok(None) => Ok(Keys::Absent),
            Err(ClusterError::Forbidden { .. }) => Ok(Keys::Unknown),
            Err(error) => Err(error),
        }
    }
}

/// What an object holds.
#[derive(Debug, PartialEq, Eq)]
enum Keys {
    These(BTreeSet<String>),
    Absent,
    /// It may not be read.
    Unknown,
}

fn judge(needs: &[(String, Need)], found: &BTreeMap<ObjectRef, Keys>) -> PodNeeds {
    let mut all = PodNeeds::default();
    for (workload, need) in needs {
        all.named.insert(need.object.clone());
        let key = match found.get(&need.object) {
            Some(Keys::Absent) => None,
            Some(Keys::These(keys)) => match &need.key {
                Some(key) if !keys.contains(key) => Some(key.clone()),
                _ => continue,
            },
            Some(Keys::Unknown) | None => continue,
        };
        if !need.optional {
            all.lacking.push(Lack { workload: workload.clone(), object: need.object.clone(), key });
        }
    }
    all.lacking.sort();
    all.lacking.dedup();
    all
}

fn needs_of(spec: &PodSpec) -> Vec<Need> {
    let containers = spec.init_containers.iter().flatten().chain(&spec.containers);
    let mut needs: Vec<Need> = Vec::new();
    for container in containers {
        let variables = container.env.iter().flatten().filter_map(|variable| variable.value_from.as_ref());
        needs.extend(variables.filter_map(of_variable));
        for source in container.env_from.iter().flatten() {
            needs.extend(
                source
                    .secret_ref
                    .as_ref()
                    .map(|SecretEnvSource { name, optional }| need("Secret", name, None, *optional)),
            );
            needs.extend(
                source
                    .config_map_ref
                    .as_ref()
                    .map(|ConfigMapEnvSource { name, optional }| need("ConfigMap", name, None, *optional)),
            );
        }
    }
    needs.extend(spec.volumes.iter().flatten().flat_map(of_volume));
    needs.retain(|need| !need.object.name.is_empty());
    needs
}

fn need(kind: &str, name: &str, key: Option<&str>, optional: Option<bool>) -> Need {
    Need { object: ObjectRef::new(kind, name), key: key.map(str::to_owned), optional: optional == Some(true) }
}

fn of_variable(source: &EnvVarSource) -> Option<Need> {
    let secret = source.secret_key_ref.as_ref();
    let map = source.config_map_key_ref.as_ref();
    secret
        .map(|one| need("Secret", &one.name, Some(&one.key), one.optional))
        .or_else(|| map.map(|one| need("ConfigMap", &one.name, Some(&one.key), one.optional)))
}

fn of_volume(volume: &Volume) -> Vec<Need> {
    // The object itself, and each key that is asked for by its name.
    let with_items = |kind: &str, name: &str, items: &Option<Vec<KeyToPath>>, optional: Option<bool>| -> Vec<Need> {
        let keys = items.iter().flatten().map(|item| Some(item.key.as_str()));
        std::iter::once(None).chain(keys).map(|key| need(kind, name, key, optional)).collect()
    };
    let mut needs = Vec::new();
    if let Some(secret) = &volume.secret {
        let name = secret.secret_name.as_deref().unwrap_or_default();
        needs.extend(with_items("Secret", name, &secret.items, secret.optional));
    }
    if let Some(map) = &volume.config_map {
        needs.extend(with_items("ConfigMap", &map.name, &map.items, map.optional));
    }
    for source in volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten()) {
        if let Some(secret) = &source.secret {
            needs.extend(with_items("Secret", &secret.name, &secret.items, secret.optional));
        }
        if let Some(map) = &source.config_map {
            needs.extend(with_items("ConfigMap", &map.name, &map.items, map.optional));
        }
    }
    if let Some(claim) = &volume.persistent_volume_claim {
        needs.push(need("PersistentVolumeClaim", &claim.claim_name, None, None));
    }
    needs
}

/// Whether a quota's resource is one that pods use up, and not one of volumes or of other objects.
fn is_of_pods(resource: &str) -> bool {
    let claimed = resource.strip_prefix("requests.").or_else(|| resource.strip_prefix("limits."));
    matches!(resource, "pods" | "count/pods" | "cpu" | "memory" | "ephemeral-storage")
        || claimed.is_some_and(|what| what != "storage")
}

fn overfull(quota: &ResourceQuota) -> Vec<OverfullQuota> {
    let name = quota.metadata.name.clone().unwrap_or_default();
    let Some(status) = &quota.status else { return Vec::new() };
    let (Some(used), Some(hard)) = (&status.used, &status.hard) else { return Vec::new() };
    let over = hard.iter().filter(|(resource, _)| is_of_pods(resource)).filter_map(|(resource, hard)| {
        let used = used.get(resource)?;
        (quantity::parse_text(&used.0)? > quantity::parse_text(&hard.0)?).then(|| OverfullQuota {
            name: name.clone(),
            resource: resource.clone(),
            used: used.0.clone(),
            hard: hard.0.clone(),
        })
    });
    over.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_pod_names_is_looked_for_and_what_may_be_missing_is_let_be() {
        let spec: PodSpec = serde_json::from_value(serde_json::json!({
            "initContainers": [{"name": "i", "envFrom": [{"secretRef": {"name": "init"}}]}],
            "containers": [{
                "name": "c",
                "env": [
                    {"name": "A", "value": "x"},
                    {"name": "B", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "b"}}},
                    {"name": "C", "valueFrom": {"configMapKeyRef": {"name": "map", "key": "c", "optional": true}}},
                    {"name": "D", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                ],
                "envFrom": [{"configMapRef": {"name": "env"}}, {"secretRef": {"name": "may", "optional": true}}],
            }],
            "volumes": [
                {"name": "s", "secret": {"secretName": "files", "items": [{"key": "k", "path": "p"}]}},
                {"name": "m", "configMap": {"name": "conf"}},
                {"name": "p", "projected": {"sources": [{"secret": {"name": "part"}}, {"serviceAccountToken": {"path": "t"}}]}},
                {"name": "v", "persistentVolumeClaim": {"claimName": "claim"}},
                {"name": "e", "emptyDir": {}},
            ],
        }))
        .unwrap();
        let needs: Vec<(String, Need)> = needs_of(&spec).into_iter().map(|need| ("api".to_owned(), need)).collect();
        let with = |keys: &[&str]| Keys::These(keys.iter().map(|key| (*key).to_owned()).collect());
        let lacking = |kind: &str, name: &str, keys: Keys| -> Vec<String> {
            let mut found: BTreeMap<ObjectRef, Keys> =
                needs.iter().map(|(_, need)| (need.object.clone(), with(&["b", "c", "k"]))).collect();
            assert!(found.insert(ObjectRef::new(kind, name), keys).is_some(), "{name} is named");
            judge(&needs, &found).lacking.iter().map(ToString::to_string).collect()
        };
        for (kind, name) in [
            ("Secret", "init"),
            ("Secret", "keys"),
            ("ConfigMap", "env"),
            ("Secret", "files"),
            ("ConfigMap", "conf"),
            ("Secret", "part"),
            ("PersistentVolumeClaim", "claim"),
        ] {
            let missing = lacking(kind, name, Keys::Absent);
            assert_eq!(missing.first().unwrap().rsplit(" of ").next().unwrap(), format!("{kind} {name}"));
            assert!(lacking(kind, name, Keys::Unknown).is_empty());
        }
        assert_eq!(lacking("Secret", "keys", with(&["other"])), ["key b of Secret keys"]);
        assert_eq!(lacking("Secret", "files", with(&[])), ["key k of Secret files"]);
        assert!(
            lacking("Secret", "may", Keys::Absent).is_empty() && lacking("ConfigMap", "map", Keys::Absent).is_empty()
        );
    }

    #[test]
    fn a_quota_is_overfull_where_more_is_used_than_it_allows() {
        let quota: ResourceQuota = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "q"},
            "status": {
                "hard": {"pods": "3", "limits.memory": "8Gi", "secrets": "5", "requests.storage": "1Gi"},
                "used": {"pods": "10", "limits.memory": "8192Mi", "secrets": "6", "requests.storage": "2Gi"},
            },
        }))
        .unwrap();
        let found = overfull(&quota);
        let said: Vec<String> = found.iter().map(|one| format!("{} {}/{}", one.resource, one.used, one.hard)).collect();
        assert_eq!(said, ["pods 10/3"]);
    }
}
