//! Masking an object, or values, before they are compared.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rand::TryRngCore;
use serde_json::{Map, Value as Json};

use crate::error::{CommandError, Exit, Result};
use crate::helm::Object;
use crate::redact::{MASK, is_secret};
use crate::values::{FingerprintKey, Path, Scrubber, Secrets, Segment, Value};

/// What kubectl notes in this annotation is the whole object once more, in clear.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Keys whose values only point at something, whatever their names say.
const POINTERS: &[&str] = &["key", "topologyKey", "secretName", "kind", "name"];

/// A scrubber whose masks tell same from changed: by the vault's key where that can be opened, else by one that is made
/// now and forgotten, so that masks agree within this run only.
///
/// # Errors
/// The machine has no random bytes.
pub fn comparing_scrubber(key: Option<FingerprintKey>) -> Result<Scrubber> {
    if let Some(key) = key {
        return Ok(Scrubber::new(Some(key)));
    }
    let mut bytes = zeroize::Zeroizing::new([0u8; 32]);
    rand::rngs::OsRng.try_fill_bytes(bytes.as_mut()).map_err(|e| {
        CommandError::new(Exit::Failure, "ask the machine for random bytes").because(std::io::Error::other(e))
    })?;
    Ok(Scrubber::new(FingerprintKey::from_bytes(bytes.as_slice())))
}

/// Registers with a scrubber the secrets of a Secret: they may stand again in other objects.
pub fn register_object(scrubber: &mut Scrubber, object: &Json) {
    if object["kind"] != "Secret" {
        return;
    }
    for (key, bytes) in content(object) {
        let path = Path::of(&["data", &key]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if is_secret(&path, None, &Value::String(text)) {
            scrubber.register(&bytes);
        }
    }
}

/// Registers what a Secret holds with the redactor of this process.
pub fn register_secrets(secrets: &Secrets, object: &Json) {
    if object["kind"] == "Secret" {
        secrets.register_document(zeroize::Zeroizing::new(object.to_string()).as_bytes());
    }
}

/// The object with every secret masked. A Secret has its content under `data` only, decoded and masked whatever it is.
pub fn mask_object(object: &Json, scrubber: &Scrubber) -> Json {
    let mut masked = object.clone();
    if let Some(annotations) = masked.pointer_mut("/metadata/annotations").and_then(Json::as_object_mut) {
        annotations.remove(LAST_APPLIED);
    }
    match object["kind"].as_str() {
        Some("Secret") => {
            if let Some(fields) = masked.as_object_mut() {
                fields.remove("stringData");
                fields.remove("data");
            }
            let shown: Map<String, Json> = content(object)
                .into_iter()
                .map(|(key, bytes)| (key, if bytes.is_empty() { "".into() } else { scrubber.mask(&bytes).into() }))
                .collect();
            let mut rest = Walk { scrubber, place: Place::Object }.value(&Path::root(), None, &masked);
            if !shown.is_empty() {
                rest["data"] = Json::Object(shown);
            }
            rest
        }
        Some("ConfigMap") => Walk { scrubber, place: Place::ConfigMap }.value(&Path::root(), None, &masked),
        _ => Walk { scrubber, place: Place::Object }.value(&Path::root(), None, &masked),
    }
}

/// Values with every secret masked.
pub fn mask_values(values: &Json, scrubber: &Scrubber) -> Json {
    Walk { scrubber, place: Place::Values }.value(&Path::root(), None, values)
}

/// What a Secret holds: `data` decoded, `stringData` over it, as the API server stores it.
fn content(secret: &Json) -> Vec<(String, Vec<u8>)> {
    let mut found: std::collections::BTreeMap<String, Vec<u8>> = std::collections::BTreeMap::new();
    for (key, value) in secret["data"].as_object().into_iter().flatten() {
        let text = value.as_str().unwrap_or_default();
        let packed: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        // What is no base64 is refused by the API server; here it is masked as it stands.
        found.insert(key.clone(), STANDARD.decode(packed).unwrap_or_else(|_| text.as_bytes().to_vec()));
    }
    for (key, value) in secret["stringData"].as_object().into_iter().flatten() {
        found.insert(key.clone(), value.as_str().unwrap_or_default().as_bytes().to_vec());
    }
    found.into_iter().collect()
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    Object,
    ConfigMap,
    Values,
}

struct Walk<'s> {
    scrubber: &'s Scrubber,
    place: Place,
}

impl Walk<'_> {
    fn value(&self, path: &Path, hint: Option<&str>, value: &Json) -> Json {
        match value {
            Json::Object(map) => {
                let named = map.get("name").or_else(|| map.get("secretName")).and_then(Json::as_str);
                let below = |key: &String| path.join(Segment::Key(key.clone()));
                let pairs = map.iter().map(|(key, value)| (key.clone(), self.value(&below(key), named, value)));
                Json::Object(pairs.collect())
            }
            Json::Array(items) => {
                let at = |index| path.join(Segment::Index(index));
                Json::Array(items.iter().enumerate().map(|(index, item)| self.value(&at(index), None, item)).collect())
            }
            Json::String(text) => self.text(path, hint, text).into(),
            Json::Number(number) if self.is_secret(path, hint, &Value::Float(number.as_f64().unwrap_or(0.0))) => {
                self.scrubber.mask(number.to_string().as_bytes()).into()
            }
            other => other.clone(),
        }
    }

    fn text(&self, path: &Path, hint: Option<&str>, text: &str) -> String {
        if text.is_empty() || text.starts_with(MASK) {
            return text.to_owned();
        }
        if self.is_secret(path, hint, &Value::String(text.to_owned())) {
            return self.scrubber.mask(text.as_bytes());
        }
        self.scrubber.scrub(text).into_owned()
    }

    fn is_secret(&self, path: &Path, hint: Option<&str>, value: &Value) -> bool {
        let keys: Vec<&str> = path.keys().collect();
        let last = keys.last().copied().unwrap_or_default();
        match self.place {
            Place::Values => is_secret(path, hint, value),
            // The chart copies `env` into ConfigMaps: what is secret there is secret here.
            Place::ConfigMap if matches!(keys.first(), Some(&"data" | &"binaryData")) => {
                is_secret(&Path::of(&["env", last]), hint, value) || is_secret(path, hint, value)
            }
            _ => {
                let is_text = matches!(value, Value::String(_));
                let points = POINTERS.contains(&last) || keys.contains(&"labels") || keys.contains(&"matchLabels");
                // Below a pointer only the shape counts: the path of the root has no name.
                let judged = if points { &Path::root() } else { path };
                is_text && is_secret(judged, hint.filter(|_| !points), value)
            }
        }
    }
}

/// The objects masked, for comparing.
pub(super) fn masked_objects(objects: &[Object], scrubber: &Scrubber) -> Vec<Json> {
    objects.iter().map(|object| mask_object(&object.fields, scrubber)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn scrubber() -> Scrubber {
        let mut scrubber = Scrubber::new(FingerprintKey::from_bytes(&[4; 32]));
        scrubber.register(b"hunter22hunter22");
        scrubber
    }

    #[test]
    fn whatever_a_secret_holds_is_decoded_and_masked() {
        let scrubber = scrubber();
        let packed = json!({"kind": "Secret", "data": {"user": STANDARD.encode("bob"), "none": ""}});
        let plain = json!({"kind": "Secret", "stringData": {"user": "bob", "none": ""}});
        let (packed, plain) = (mask_object(&packed, &scrubber), mask_object(&plain, &scrubber));
        assert_eq!(packed, plain, "the same content, however it is written");
        assert_eq!(packed["data"]["user"], scrubber.mask(b"bob"));
        assert_eq!(packed["data"]["none"], "");
    }

    #[test]
    fn a_config_map_shows_neither_known_values_nor_keys_that_are_secret_by_name() {
        let scrubber = scrubber();
        let map = json!({"kind": "ConfigMap", "metadata": {"annotations": {LAST_APPLIED: "{PGPASSWORD: hunter22hunter22}"}},
            "data": {"PGPASSWORD": "x1", "url": "postgres://u@h/hunter22hunter22", "TZ": "UTC", "OPSCHAIN_VERSION": "2026-08-20",
                     "OPSCHAIN_DOCKER_USER": "bob"}});
        let masked = mask_object(&map, &scrubber);
        let text = masked.to_string();
        assert!(!text.contains("hunter22") && !text.contains("\"x1\"") && !text.contains("bob"), "{text}");
        assert_eq!((&masked["data"]["TZ"], &masked["data"]["OPSCHAIN_VERSION"]), (&json!("UTC"), &json!("2026-08-20")));
    }

    #[test]
    fn in_other_objects_variables_are_masked_and_pointers_stay() {
        let scrubber = scrubber();
        let deployment = json!({"kind": "Deployment", "spec": {"env": [
            {"name": "DB_PASSWORD", "value": "short"}, {"name": "A", "value": "has hunter22hunter22 inside"},
            {"name": "B", "valueFrom": {"secretKeyRef": {"name": "opschain-db-credentials", "key": "password"}}}],
            "affinity": {"topologyKey": "kubernetes.io/hostname"}, "automountServiceAccountToken": false}});
        let masked = mask_object(&deployment, &scrubber);
        let env = &masked["spec"]["env"];
        assert_eq!(env[0]["value"], scrubber.mask(b"short"));
        assert!(env[1]["value"].as_str().unwrap().starts_with("has ••••••••#"));
        assert_eq!(env[2], deployment["spec"]["env"][2]);
        assert_eq!(masked["spec"]["affinity"], deployment["spec"]["affinity"]);
        assert_eq!(masked["spec"]["automountServiceAccountToken"], false);
    }
}
