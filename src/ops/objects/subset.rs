//! What the cluster has, against the fields that a manifest sets.
//!
//! Only those fields count: what the API server fills in, what controllers add and the status are nobody's drift.
//! Amounts are compared as amounts, sets as sets, and a field that is empty in the manifest may be missing in the
//! cluster: the API server drops it.

use serde_json::Value as Json;

use super::compare::{Field, identifier, identity, same};
use crate::quantity;
use crate::values::{Path, Segment};

/// Below these keys stand amounts.
const AMOUNTS: &[&str] = &["resources", "requests", "limits", "capacity", "storage", "sizeLimit", "hard", "overhead"];
/// Lists whose order means nothing to Kubernetes.
const SETS: &[&str] = &[
    "accessModes",
    "finalizers",
    "verbs",
    "apiGroups",
    "resources",
    "resourceNames",
    "nonResourceURLs",
    "loadBalancerSourceRanges",
    "externalIPs",
    "disabledDefaultServices",
];

/// The fields that `manifest` sets and that `live` has otherwise. Both are masked.
pub fn subset(manifest: &Json, live: &Json) -> Vec<Field> {
    let mut fields = Vec::new();
    let Some(sets) = manifest.as_object() else { return fields };
    for (key, value) in sets.iter().filter(|(key, _)| !matches!(key.as_str(), "status" | "apiVersion" | "kind")) {
        let path = Path::of(&[key]);
        fit(&path, value, &live[key], is_content(manifest, key), &mut fields);
    }
    // The object was found by these.
    let found_by = [Path::of(&["metadata", "name"]), Path::of(&["metadata", "namespace"])];
    fields.retain(|field| !found_by.contains(&field.path));
    fields
}

/// The content of a Secret or ConfigMap, where an empty text says something.
fn is_content(object: &Json, key: &str) -> bool {
    matches!(key, "data" | "binaryData") && matches!(object["kind"].as_str(), Some("Secret" | "ConfigMap"))
}

fn fit(path: &Path, set: &Json, live: &Json, content: bool, fields: &mut Vec<Field>) {
    // A null sets nothing.
    if set.is_null() || (live.is_null() && vanishes(set) && !(content && set.is_string())) {
        return;
    }
    match (set, live) {
        (Json::Object(set), Json::Object(live)) => {
            for (key, value) in set {
                let below = path.join(Segment::Key(key.clone()));
                fit(&below, value, live.get(key).unwrap_or(&Json::Null), content, fields);
            }
        }
        (Json::Array(set), Json::Array(live)) => lists(path, set, live, fields),
        _ if same(set, live) => {}
        _ if path.keys().any(|key| AMOUNTS.contains(&key)) && quantity::same(set, live) => {}
        (_, Json::Null) => fields.push(Field::removed(path, set)),
        _ => fields.push(Field::changed(path, set, live)),
    }
}

fn lists(path: &Path, set: &[Json], live: &[Json], fields: &mut Vec<Field>) {
    if let Some(by) = identifier(set, live) {
        for item in set {
            let id = identity(item, by).unwrap_or_default();
            let below = path.join(Segment::Item { by: by.to_owned(), id });
            match live.iter().find(|other| identity(other, by) == identity(item, by)) {
                Some(other) => fit(&below, item, other, false, fields),
                None => fields.push(Field::removed(&below, item)),
            }
        }
        return;
    }
    let is_set = path.keys().next_back().is_some_and(|key| SETS.contains(&key));
    let scalars = |items: &[Json]| items.iter().all(|item| !item.is_object() && !item.is_array());
    if is_set && scalars(set) && scalars(live) {
        let sorted = |items: &[Json]| {
            let mut texts: Vec<String> = items.iter().map(Json::to_string).collect();
            texts.sort();
            texts
        };
        if sorted(set) != sorted(live) {
            fields.push(Field::changed(path, &Json::from(set), &Json::from(live)));
        }
        return;
    }
    if set.len() != live.len() {
        // Which item is which cannot be told: the whole list differs.
        fields.push(Field::changed(path, &Json::from(set), &Json::from(live)));
        return;
    }
    for (index, (item, other)) in set.iter().zip(live).enumerate() {
        fit(&path.join(Segment::Index(index)), item, other, false, fields);
    }
}

/// Whether the API server leaves the value out of what it stores.
fn vanishes(value: &Json) -> bool {
    match value {
        Json::Null => true,
        Json::Bool(truth) => !truth,
        Json::Number(number) => number.as_f64() == Some(0.0),
        Json::String(text) => text.is_empty(),
        Json::Array(items) => items.is_empty(),
        Json::Object(map) => map.values().all(vanishes),
    }
}

/// What stands in the cluster beside the fields that the manifest sets, in the places where nothing but a person puts
/// something: keys of a ConfigMap or Secret, environment variables of a pod template. Whose they are is for the caller
/// to find out.
pub fn added_by_hand(manifest: &Json, live: &Json) -> Vec<Field> {
    let mut fields = Vec::new();
    if matches!(manifest["kind"].as_str(), Some("Secret" | "ConfigMap")) {
        let path = Path::of(&["data"]);
        for (key, value) in live["data"].as_object().into_iter().flatten() {
            if manifest["data"].get(key).is_none() {
                fields.push(Field::added(&path.join(Segment::Key(key.clone())), value));
            }
        }
    }
    for list in ["containers", "initContainers"] {
        let of = |object: &Json| object["spec"]["template"]["spec"][list].as_array().cloned().unwrap_or_default();
        let set = of(manifest);
        for container in of(live) {
            let name = container["name"].as_str().unwrap_or_default();
            let Some(known) = set.iter().find(|other| other["name"] == container["name"]) else { continue };
            let path = Path::of(&["spec", "template", "spec", list])
                .join(Segment::Item { by: "name".into(), id: name.to_owned() })
                .join(Segment::Key("env".into()));
            let variables = known["env"].as_array().cloned().unwrap_or_default();
            for variable in container["env"].as_array().into_iter().flatten() {
                if variables.iter().any(|other| other["name"] == variable["name"]) {
                    continue;
                }
                let id = variable["name"].as_str().unwrap_or_default().to_owned();
                fields.push(Field::added(&path.join(Segment::Item { by: "name".into(), id }), variable));
            }
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn drift(manifest: Json, live: Json) -> Vec<String> {
        subset(&manifest, &live).iter().map(|field| format!("{:?} {}", field.what, field.path)).collect()
    }

    #[test]
    fn what_the_api_server_fills_in_orders_or_writes_otherwise_is_no_drift() {
        let manifest = json!({"kind": "Deployment", "metadata": {"name": "a", "creationTimestamp": null, "labels": {}, "annotations": null},
            "spec": {"replicas": 1, "template": {"spec": {"hostNetwork": false, "nodeSelector": {}, "containers": [
                {"name": "c", "env": [], "resources": {"requests": {"cpu": "1000m", "memory": "1024Mi"}},
                 "ports": [{"containerPort": 80}], "securityContext": {"runAsNonRoot": false}}]}}}, "status": {"x": 1}});
        let live = json!({"kind": "Deployment", "metadata": {"name": "a", "uid": "u", "annotations": {"a": "b"}},
            "spec": {"replicas": 1, "progressDeadlineSeconds": 600, "template": {"spec": {"dnsPolicy": "ClusterFirst", "containers": [
                {"name": "sidecar"},
                {"name": "c", "resources": {"requests": {"cpu": "1", "memory": "1Gi"}}, "imagePullPolicy": "Always",
                 "ports": [{"containerPort": 80, "protocol": "TCP"}]}]}}}, "status": {"x": 2}});
        assert_eq!(drift(manifest, live), Vec::<String>::new());
        let claim = |modes: Json| json!({"kind": "PersistentVolumeClaim", "spec": {"accessModes": modes}});
        assert_eq!(drift(claim(json!(["A", "B"])), claim(json!(["B", "A"]))), Vec::<String>::new());
    }

    #[test]
    fn what_was_changed_taken_away_or_reordered_is_drift() {
        let manifest = json!({"kind": "Deployment", "spec": {"replicas": 2, "paused": true, "template": {"spec": {"containers": [
            {"name": "c", "args": ["a", "b"], "image": "i:1", "env": [{"name": "A", "value": "1"}]}]}}}});
        let live = json!({"kind": "Deployment", "spec": {"replicas": 0, "template": {"spec": {"containers": [
            {"name": "c", "args": ["b", "a"], "image": "i:2", "env": [{"name": "B", "value": "1"}]}]}}}});
        let container = "spec.template.spec.containers[name=c]";
        assert_eq!(
            drift(manifest, live),
            [
                "Removed spec.paused".to_owned(),
                "Changed spec.replicas".into(),
                format!("Changed {container}.args[0]"),
                format!("Changed {container}.args[1]"),
                format!("Removed {container}.env[name=A]"),
                format!("Changed {container}.image"),
            ]
        );
    }

    #[test]
    fn an_empty_text_in_a_config_map_says_something() {
        let map = |data: Json| json!({"kind": "ConfigMap", "data": data});
        assert_eq!(drift(map(json!({"a": ""})), map(json!({}))), ["Removed data.a"]);
        assert_eq!(drift(map(json!({"a": ""})), map(json!({"a": "", "b": "x"}))), Vec::<String>::new());
        assert_eq!(drift(map(json!({"a": "1"})), json!({"kind": "ConfigMap"})), ["Removed data"]);
    }

    #[test]
    fn what_came_beside_is_found_where_only_people_put_it() {
        let manifest = json!({"kind": "Deployment", "spec": {"template": {"spec": {"containers": [{"name": "c", "env": [{"name": "A"}]}]}}}});
        let live = json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "env": [{"name": "A"}, {"name": "B"}]}, {"name": "istio", "env": [{"name": "C"}]}]}}}});
        let found: Vec<String> = added_by_hand(&manifest, &live).iter().map(|field| field.path.to_string()).collect();
        assert_eq!(found, ["spec.template.spec.containers[name=c].env[name=B]"]);
    }
}
