//! Which Secrets and ConfigMaps a bundle carries.

use serde_json::Value;

use crate::cluster::ObjectRef;
use crate::opschain::secrets::PRESERVED;
use crate::opschain::values::{CONFIG_MAP_NAMES, SECRET_NAMES};

/// The Secrets and ConfigMaps that travel: those that every install has, and those that its values name.
pub(super) fn preserved(values: &Value) -> Vec<ObjectRef> {
    let mut objects: Vec<ObjectRef> =
        PRESERVED.iter().map(|object| ObjectRef::new(object.kind.name(), object.name)).collect();
    for (kind, paths) in [("Secret", SECRET_NAMES), ("ConfigMap", CONFIG_MAP_NAMES)] {
        for name in paths.iter().flat_map(|path| names_at(values, path)) {
            let object = ObjectRef::new(kind, name);
            if !objects.contains(&object) {
                objects.push(object);
            }
        }
    }
    objects
}

/// The texts at a path; `*` stands for every item of a list or map.
fn names_at(value: &Value, path: &[&str]) -> Vec<String> {
    match (path, value) {
        ([], Value::String(name)) if !name.is_empty() => vec![name.clone()],
        (["*", rest @ ..], Value::Array(items)) => items.iter().flat_map(|item| names_at(item, rest)).collect(),
        (["*", rest @ ..], Value::Object(items)) => items.values().flat_map(|item| names_at(item, rest)).collect(),
        ([key, rest @ ..], Value::Object(items)) => {
            items.get(*key).map(|item| names_at(item, rest)).unwrap_or_default()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_that_the_values_name_travel_too() {
        let values = serde_json::json!({
            "api": {"certificateSecretName": "own-cert"},
            "trow": {"imagePullSecrets": [{"name": "pull-a"}, {"name": "pull-b"}]},
            "db": {"cnpg": {"database": {"secretName": "opschain-db-credentials"}}},
            "buildService": {"certificateSecretName": ""},
        });
        let objects = preserved(&values);
        for name in ["own-cert", "pull-a", "pull-b"] {
            assert!(objects.contains(&ObjectRef::new("Secret", name)), "{name}");
        }
        assert_eq!(objects.iter().filter(|object| object.name == "opschain-db-credentials").count(), 1);
        assert!(objects.iter().all(|object| !object.name.is_empty()));
    }
}
