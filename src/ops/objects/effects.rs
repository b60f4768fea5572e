//! What a change of an object does: what restarts, what Kubernetes refuses, what is lost.
//!
//! The rules are those of the API server's own validation (Kubernetes 1.34) and of the database operator's webhook, for
//! the kinds that an install is made of.

use serde::Serialize;
use serde_json::Value as Json;

use super::compare::{Field, touches};
use crate::helm::ObjectId;
use crate::quantity;

/// How grave an effect is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EffectKind {
    /// Pods restart.
    Restarts,
    /// Kubernetes refuses the change, and with it the deployment, when half of it may be done.
    Refused,
    /// Data goes with the object.
    Loses,
}

/// What a change does, in a sentence about its object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Effect {
    /// How grave.
    pub kind: EffectKind,
    pub object: ObjectId,
    /// What happens: words that follow the object's name.
    pub text: String,
}

/// What a StatefulSet lets be changed. After the API server's `ValidateStatefulSetUpdate`.
const STATEFUL_SET: &[&str] = &[
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];
/// What a Job lets be changed, while it is suspended or not.
const JOB: &[&str] =
    &["suspend", "parallelism", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished", "completions"];
/// What changes of the database's object restart its server.
const DATABASE_RESTARTS: &[&[&str]] =
    &[&["spec", "imageName"], &["spec", "resources"], &["spec", "env"], &["spec", "envFrom"], &["spec", "affinity"]];

/// What the changes of an object do. `old` and `new` are the objects unmasked; nothing of them is quoted but amounts and
/// names of fields.
pub(super) fn of_change(id: &ObjectId, old: &Json, new: &Json, fields: &[Field]) -> Vec<Effect> {
    let mut effects = Vec::new();
    let mut say = |kind: EffectKind, text: String| effects.push(Effect { kind, object: id.clone(), text });
    let touched = |keys: &[&str]| fields.iter().any(|field| touches(field, keys));
    let fixed = |keys: &[&str]| (touched(keys) && !at(old, keys).is_null()).then(|| keys.join("."));
    let mut immutable: Vec<String> = Vec::new();
    match id.kind.as_str() {
        "Deployment" | "DaemonSet" | "ReplicaSet" => immutable.extend(fixed(&["spec", "selector"])),
        "StatefulSet" => immutable.extend(outside(STATEFUL_SET, old, new)),
        "Job" => immutable.extend(outside(JOB, old, new)),
        "Service" => {
            let ip = |object: &Json| object["spec"]["clusterIP"].as_str().unwrap_or_default().to_owned();
            // Taken away, the API server keeps the one that it has.
            if ip(old) != ip(new) && !ip(new).is_empty() && new["spec"]["type"] != "ExternalName" {
                immutable.push("spec.clusterIP".into());
            }
        }
        "PersistentVolumeClaim" => {
            for key in ["accessModes", "storageClassName", "volumeName", "volumeMode", "selector", "dataSource"] {
                immutable.extend(fixed(&["spec", key]));
            }
            let size = |object: &Json| at(object, &["spec", "resources", "requests", "storage"]).clone();
            if let Some(text) = shrinks(&size(old), &size(new)) {
                say(EffectKind::Refused, format!("cannot shrink {text}"));
            }
        }
        "RoleBinding" | "ClusterRoleBinding" => immutable.extend(fixed(&["roleRef"])),
        "PriorityClass" => immutable.extend(fixed(&["value"])),
        "StorageClass" => {
            for key in ["provisioner", "parameters", "reclaimPolicy", "volumeBindingMode"] {
                immutable.extend(fixed(&[key]));
            }
        }
        "Secret" | "ConfigMap" => {
            let content = touched(&["data"]) || touched(&["binaryData"]);
            if old["immutable"] == true && (content || new["immutable"] != true) {
                immutable.push("data (it is marked immutable)".into());
            }
            if id.kind == "Secret" {
                let word = |object: &Json| object["type"].as_str().unwrap_or("Opaque").to_owned();
                if word(old) != word(new) {
                    immutable.push("type".into());
                }
            }
        }
        "Cluster" if id.group() == "postgresql.cnpg.io" => {
            for keys in [&["spec", "storage", "size"][..], &["spec", "walStorage", "size"]] {
                if let Some(text) = shrinks(at(old, keys), at(new, keys)) {
                    say(EffectKind::Refused, format!("cannot shrink its storage {text}"));
                }
            }
            if DATABASE_RESTARTS.iter().any(|keys| touched(keys)) {
                say(EffectKind::Restarts, "restarts the database".into());
            } else if touched(&["spec", "postgresql", "parameters"]) {
                say(EffectKind::Restarts, "reloads the database's parameters; some of them restart it".into());
            }
        }
        _ => {}
    }
    for what in immutable {
        say(EffectKind::Refused, format!("cannot change {what}: Kubernetes refuses it once the object is there"));
    }
    if matches!(id.kind.as_str(), "Deployment" | "StatefulSet" | "DaemonSet") && touched(&["spec", "template"]) {
        let strategy = ["strategy", "updateStrategy"].iter().find_map(|key| new["spec"][key]["type"].as_str());
        say(
            EffectKind::Restarts,
            match strategy {
                Some("Recreate") => "restarts, and is away meanwhile".into(),
                Some("OnDelete") => "gets its new pods only when the old ones are deleted".into(),
                _ => "restarts, pod by pod".into(),
            },
        );
    }
    effects
}

/// What goes with an object that is deleted.
pub(super) fn of_removal(id: &ObjectId) -> Option<Effect> {
    let text = match (id.group(), id.kind.as_str()) {
        ("", "PersistentVolumeClaim") => "is deleted with the data on its volume",
        ("postgresql.cnpg.io", "Cluster") => "is deleted: the database and its volumes go with it",
        ("", "Namespace") => "is deleted with everything in it",
        ("apiextensions.k8s.io", "CustomResourceDefinition") => "is deleted with every object of its kind",
        _ => return None,
    };
    Some(Effect { kind: EffectKind::Loses, object: id.clone(), text: text.into() })
}

fn at<'j>(object: &'j Json, keys: &[&str]) -> &'j Json {
    keys.iter().fold(object, |value, key| &value[*key])
}

/// The fields of `spec` outside `may_change` that differ.
fn outside(may_change: &[&str], old: &Json, new: &Json) -> Vec<String> {
    let keys =
        |object: &Json| object["spec"].as_object().map(|spec| spec.keys().cloned().collect()).unwrap_or_default();
    let mut all: Vec<String> = keys(old);
    let also: Vec<String> = keys(new);
    all.extend(also);
    all.sort();
    all.dedup();
    all.retain(|key| !may_change.contains(&key.as_str()) && old["spec"][key] != new["spec"][key]);
    all.iter().map(|key| format!("spec.{key}")).collect()
}

fn shrinks(old: &Json, new: &Json) -> Option<String> {
    let (before, after) = (quantity::parse(old)?, quantity::parse(new)?);
    let text = |value: &Json| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    (after < before).then(|| format!("from {} to {}", text(old), text(new)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::objects::compare;
    use serde_json::json;

    fn effects(api_version: &str, kind: &str, old: Json, new: Json) -> Vec<String> {
        let id = ObjectId { api_version: api_version.into(), kind: kind.into(), namespace: None, name: "x".into() };
        of_change(&id, &old, &new, &compare(&old, &new))
            .iter()
            .map(|effect| format!("{:?} {}", effect.kind, effect.text))
            .collect()
    }

    #[test]
    fn what_kubernetes_refuses_is_named() {
        let set = |spec: Json| json!({"spec": spec});
        for (api_version, kind, old, new, word) in [
            (
                "apps/v1",
                "StatefulSet",
                json!({"volumeClaimTemplates": [{"a": 1}]}),
                json!({"volumeClaimTemplates": [{"a": 2}]}),
                "spec.volumeClaimTemplates",
            ),
            ("apps/v1", "StatefulSet", json!({"serviceName": "a"}), json!({"serviceName": "b"}), "spec.serviceName"),
            (
                "apps/v1",
                "Deployment",
                json!({"selector": {"matchLabels": {"a": "b"}}}),
                json!({"selector": {"matchLabels": {"a": "c"}}}),
                "spec.selector",
            ),
            ("batch/v1", "Job", json!({"template": {"a": 1}}), json!({"template": {"a": 2}}), "spec.template"),
            ("v1", "Service", json!({"clusterIP": "10.0.0.1"}), json!({"clusterIP": "10.0.0.2"}), "spec.clusterIP"),
            (
                "v1",
                "PersistentVolumeClaim",
                json!({"storageClassName": "a"}),
                json!({"storageClassName": "b"}),
                "spec.storageClassName",
            ),
            (
                "v1",
                "PersistentVolumeClaim",
                json!({"accessModes": ["ReadWriteOnce"]}),
                json!({"accessModes": ["ReadWriteMany"]}),
                "spec.accessModes",
            ),
            (
                "v1",
                "PersistentVolumeClaim",
                json!({"resources": {"requests": {"storage": "10Gi"}}}),
                json!({"resources": {"requests": {"storage": "9Gi"}}}),
                "shrink from 10Gi to 9Gi",
            ),
            (
                "postgresql.cnpg.io/v1",
                "Cluster",
                json!({"storage": {"size": "10Gi"}}),
                json!({"storage": {"size": "5Gi"}}),
                "shrink its storage from 10Gi to 5Gi",
            ),
        ] {
            let said = effects(api_version, kind, set(old), set(new));
            assert!(said.len() == 1 && said[0].starts_with("Refused") && said[0].contains(word), "{kind}: {said:?}");
        }
        assert_eq!(effects("v1", "Secret", json!({"type": "Opaque"}), json!({})), Vec::<String>::new());
        assert!(effects("v1", "Secret", json!({"type": "Opaque"}), json!({"type": "x"}))[0].contains("type"));
        assert!(
            effects(
                "v1",
                "ConfigMap",
                json!({"immutable": true, "data": {"a": "1"}}),
                json!({"immutable": true, "data": {"a": "2"}})
            )[0]
            .contains("immutable")
        );
    }

    #[test]
    fn what_may_change_is_let_pass() {
        let set = |spec: Json| json!({"spec": spec});
        let claim = |size: &str| set(json!({"resources": {"requests": {"storage": size}}}));
        assert_eq!(effects("v1", "PersistentVolumeClaim", claim("1Gi"), claim("2Gi")), Vec::<String>::new());
        assert_eq!(effects("v1", "PersistentVolumeClaim", claim("1Gi"), claim("1024Mi")), Vec::<String>::new());
        assert_eq!(
            effects("apps/v1", "StatefulSet", set(json!({"replicas": 1})), set(json!({"replicas": 2}))),
            Vec::<String>::new()
        );
        assert_eq!(
            effects("v1", "Service", set(json!({"clusterIP": "10.0.0.1"})), set(json!({}))),
            Vec::<String>::new()
        );
        assert_eq!(
            effects("apps/v1", "Deployment", set(json!({})), set(json!({"selector": {}}))),
            Vec::<String>::new()
        );
    }

    #[test]
    fn what_restarts_is_said_with_how() {
        let pods = |image: &str, strategy: &str| json!({"spec": {"strategy": {"type": strategy}, "template": {"spec": {"image": image}}}});
        assert_eq!(
            effects("apps/v1", "Deployment", pods("a", "Recreate"), pods("b", "Recreate")),
            ["Restarts restarts, and is away meanwhile"]
        );
        assert_eq!(effects("apps/v1", "Deployment", pods("a", "x"), pods("b", "x")), ["Restarts restarts, pod by pod"]);
        let database = |image: &str| json!({"spec": {"imageName": image}});
        assert_eq!(
            effects("postgresql.cnpg.io/v1", "Cluster", database("a"), database("b")),
            ["Restarts restarts the database"]
        );
    }

    #[test]
    fn data_that_goes_with_an_object_is_said() {
        let id = |api_version: &str, kind: &str| ObjectId {
            api_version: api_version.into(),
            kind: kind.into(),
            namespace: None,
            name: "x".into(),
        };
        assert_eq!(of_removal(&id("v1", "PersistentVolumeClaim")).unwrap().kind, EffectKind::Loses);
        assert!(of_removal(&id("postgresql.cnpg.io/v1", "Cluster")).is_some());
        assert!(of_removal(&id("apps/v1", "Deployment")).is_none());
    }
}
