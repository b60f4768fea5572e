//! Which keys a database's data is written with: fingerprints that tell whether others fit, and not what they are.
//!
//! They are made under a random key that is sealed into the bundle, so that nobody without an identity can try keys; and
//! over the database's identity, so that those of one database say nothing of another's.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::error::{CommandError, Exit, Result};
use crate::opschain::values::data_keys;
use crate::redact::FingerprintKey;
use crate::values::overlay;

/// Fingerprints by the key's path; a key that is not set has none.
pub type KeyFingerprints = BTreeMap<String, String>;

/// A key for the fingerprints of one bundle.
pub fn new_key() -> Result<FingerprintKey> {
    let bytes = rand::random::<[u8; 32]>();
    FingerprintKey::from_bytes(&bytes).ok_or_else(|| CommandError::new(Exit::Failure, "make a key for fingerprints"))
}

/// Of all keys in `values` that the data of this database depends on.
pub fn fingerprints(key: &FingerprintKey, system_identifier: &str, values: &Value) -> KeyFingerprints {
    // In the spelling in which Helm's memory of values and a file of the same are alike.
    let values: &Value = &serde_json::from_slice(&overlay::document(values)).unwrap_or_default();
    let of = |path: &[&str]| {
        let text = match path.iter().fold(values, |value, key| &value[*key]) {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            // A key that YAML took for a number is what Helm made of it.
            other => other.to_string(),
        };
        let name = path.join(".");
        let fingerprint = key.fingerprint(format!("{system_identifier}\0{name}\0{text}").as_bytes());
        (!text.is_empty()).then_some((name, fingerprint))
    };
    data_keys().filter_map(|immutable| of(immutable.path)).collect()
}

/// The paths of the keys that differ, are missing or are there in addition.
pub fn unfit(of_data: &KeyFingerprints, given: &KeyFingerprints) -> Vec<String> {
    let paths: BTreeSet<&String> = of_data.keys().chain(given.keys()).collect();
    paths.into_iter().filter(|path| of_data.get(*path) != given.get(*path)).cloned().collect()
}

/// Refuses values, called `name`, whose keys do not open the data of `bundle`.
///
/// # Errors
/// [`Exit::Guard`] naming each key and what it is for.
pub fn refuse_unfit(name: &str, bundle: &str, paths: &[String]) -> Result<()> {
    if paths.is_empty() {
        return Ok(());
    }
    let why = |path: &String| data_keys().find(|key| key.path.join(".") == *path).map_or("", |key| key.why);
    let named: Vec<String> = paths.iter().map(|path| format!("{path} ({})", why(path))).collect();
    let what = format!("{name} does not fit the data of bundle {bundle}: other keys at {}", named.join("; "));
    Err(CommandError::new(Exit::Guard, what)
        .hint(format!("Set them as in the bundle's own values: `dr bundle extract {bundle} values` has them. The application could not read the data with others.")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn values(primary: &str) -> Value {
        json!({"env": {"OPSCHAIN_PRIMARY_KEY": primary, "PGPASSWORD": 90210, "TZ": "UTC"}, "secretVault": {"unsealKey": "kVaultVault"}})
    }

    #[test]
    fn keys_of_the_same_data_fit_and_others_are_named_with_what_they_are_for() {
        let key = new_key().unwrap();
        let data = fingerprints(&key, "7", &values("kOne"));
        assert_eq!(
            data.keys().collect::<Vec<_>>(),
            ["env.OPSCHAIN_PRIMARY_KEY", "env.PGPASSWORD", "secretVault.unsealKey"]
        );
        let mut elsewhere = values("kOne");
        elsewhere["env"]["TZ"] = json!("CET");
        assert!(unfit(&data, &fingerprints(&key, "7", &elsewhere)).is_empty(), "what no data depends on may differ");
        let other = unfit(&data, &fingerprints(&key, "7", &values("kTwo")));
        assert_eq!(other, ["env.OPSCHAIN_PRIMARY_KEY"]);
        let error = refuse_unfit("new.yaml", "b-1", &other).unwrap_err();
        assert_eq!(error.exit(), Exit::Guard);
        let what = "new.yaml does not fit the data of bundle b-1: other keys at env.OPSCHAIN_PRIMARY_KEY (data in the database is encrypted with it)";
        assert_eq!(error.message(), what);
        assert!(!error.to_string().contains("kTwo"));
    }

    #[test]
    fn a_key_that_is_missing_or_added_is_none_that_fits_and_an_empty_one_is_no_key() {
        let key = new_key().unwrap();
        let data = fingerprints(&key, "7", &values("kOne"));
        let gone = fingerprints(&key, "7", &json!({"env": {"OPSCHAIN_PRIMARY_KEY": "kOne", "PGPASSWORD": "90210"}}));
        assert_eq!(unfit(&data, &gone), ["secretVault.unsealKey"]);
        let mut added = values("kOne");
        added["mintPressTransportableKey"] = json!("");
        assert!(unfit(&data, &fingerprints(&key, "7", &added)).is_empty());
        added["mintPressTransportableKey"] = json!("kNew");
        assert_eq!(unfit(&data, &fingerprints(&key, "7", &added)), ["mintPressTransportableKey"]);
    }

    #[test]
    fn fingerprints_of_another_database_or_under_another_key_tell_nothing() {
        let key = new_key().unwrap();
        let here = fingerprints(&key, "7", &values("kOne"));
        assert_ne!(here, fingerprints(&key, "8", &values("kOne")));
        assert_ne!(here, fingerprints(&new_key().unwrap(), "7", &values("kOne")));
    }
}
