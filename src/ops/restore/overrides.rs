//! What goes over the values for good, because the place is another one than they were written for. Nothing here asks
//! anybody.

use serde_json::Value;

use super::held::RestoreHold;
use crate::opschain::Version;
use crate::values::{self, Tree};

/// The key of the version that is to run, as `--set` takes it.
pub(super) const VERSION: &str = "env.OPSCHAIN_VERSION";
const NAMESPACE: &str = "env.OPSCHAIN_KUBERNETES_NAMESPACE";
const PROMOTION_TOKEN: &str = "db.cnpg.replica.promotionToken";
const WORKERS: &str = "apiWorker.replicas";

/// Keys with their values, as `--set` takes them, and what is to be said of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Overrides {
    pub sets: Vec<(String, String)>,
    pub warnings: Vec<String>,
}

/// What the values are held against.
pub(super) struct OverridePlace<'a> {
    pub source_namespace: &'a str,
    pub namespace: &'a str,
    /// The version that is to run.
    pub version: &'a Version,
    pub hold: Option<&'a RestoreHold>,
    /// How many workers ran when the bundle was made.
    pub workers: Option<i32>,
}

impl Overrides {
    /// Of these values in this place.
    pub fn of(values: &Tree, place: &OverridePlace<'_>) -> Self {
        let mut overrides = Self::default();
        let json = values.to_json();
        overrides.version(&json, place);
        overrides.namespace(values, &json, place);
        overrides.promotion_token(&json);
        overrides.workers(&json, place);
        overrides
    }

    fn set(&mut self, key: &str, value: impl ToString) {
        self.sets.push((key.to_owned(), value.to_string()));
    }

    /// What is named is what runs.
    fn version(&mut self, values: &Value, place: &OverridePlace<'_>) {
        let named = values["env"]["OPSCHAIN_VERSION"].as_str().and_then(|text| text.parse::<Version>().ok());
        if named.is_some_and(|named| named != *place.version) {
            self.set(VERSION, place.version.tag());
        }
    }

    fn namespace(&mut self, tree: &Tree, values: &Value, place: &OverridePlace<'_>) {
        let (from, to) = (place.source_namespace, place.namespace);
        if from == to {
            return;
        }
        match values["env"]["OPSCHAIN_KUBERNETES_NAMESPACE"].as_str() {
            Some(named) if named == to => {}
            Some(named) if named != from => self.warnings.push(format!(
                "the values name namespace {named} in {NAMESPACE}, and the restore goes to {to}: check it afterwards"
            )),
            _ => {
                self.set(NAMESPACE, to);
                self.warnings.push(format!("{NAMESPACE} will be {to}: the bundle is from namespace {from}"));
            }
        }
        let host = format!(".{from}.svc");
        let leaves = tree.leaves().into_iter();
        let named = leaves.filter(|(_, node)| {
            let text = node.scalar().map(|scalar| &scalar.value);
            matches!(text, Some(values::Value::String(text)) if text.contains(&host))
        });
        let named: Vec<String> = named.map(|(path, _)| path.to_string()).collect();
        if !named.is_empty() {
            self.warnings.push(format!(
                "{} still name hosts of namespace {from}: give values that fit with --config",
                named.join(", ")
            ));
        }
    }

    /// A token is for the database that it was made for once, and is not taken by one that was restored.
    fn promotion_token(&mut self, values: &Value) {
        let token = &values["db"]["cnpg"]["replica"]["promotionToken"];
        if token.as_str().is_some_and(|token| !token.is_empty()) {
            self.set(PROMOTION_TOKEN, "null");
            self.warnings.push(format!("{PROMOTION_TOKEN} is left out: it is spent; remove it from the values"));
        }
    }

    fn workers(&mut self, values: &Value, place: &OverridePlace<'_>) {
        // The values of an install that was held name no workers either.
        let none = values["apiWorker"]["replicas"].as_f64() == Some(0.0);
        match (place.hold, place.workers) {
            (Some(_), _) => self.set(WORKERS, 0),
            (None, Some(had @ 1..)) if none => {
                self.set(WORKERS, had);
                self.warnings.push(format!("{WORKERS} will be {had}, as many as ran: the values say 0"));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn over(text: &str, namespace: &str, hold: bool, workers: Option<i32>) -> Overrides {
        let hold = hold.then(|| RestoreHold {
            because: String::new(),
            original: crate::cluster::HeldOriginal::default(),
            workers: 1,
        });
        let version = "2026-08-20".parse().unwrap();
        let place =
            OverridePlace { source_namespace: "opschain", namespace, version: &version, hold: hold.as_ref(), workers };
        Overrides::of(&Tree::parse(text.as_bytes()).unwrap(), &place)
    }

    fn sets(overrides: &Overrides) -> Vec<String> {
        overrides.sets.iter().map(|(key, value)| format!("{key}={value}")).collect()
    }

    #[test]
    fn values_of_their_own_place_stay_as_they_are() {
        let text = "env: {OPSCHAIN_VERSION: \"2026-08-20\", OPSCHAIN_KUBERNETES_NAMESPACE: opschain}\n";
        assert_eq!(over(text, "opschain", false, Some(3)), Overrides::default());
        assert_eq!(over("{}", "opschain", false, None), Overrides::default());
    }

    #[test]
    fn the_namespace_follows_and_hosts_of_the_old_one_are_named() {
        let text = "env: {OPSCHAIN_KUBERNETES_NAMESPACE: opschain, LDAP: ldap.opschain.svc.cluster.local}\n";
        for text in [text, "env: {LDAP: ldap.opschain.svc}\n"] {
            let overrides = over(text, "copy", false, None);
            assert_eq!(sets(&overrides), ["env.OPSCHAIN_KUBERNETES_NAMESPACE=copy"]);
            assert!(overrides.warnings[1].starts_with("env.LDAP still name"), "{:?}", overrides.warnings);
        }
        let own = over("env: {OPSCHAIN_KUBERNETES_NAMESPACE: copy}\n", "copy", false, None);
        assert_eq!(own, Overrides::default());
        let third = over("env: {OPSCHAIN_KUBERNETES_NAMESPACE: third}\n", "copy", false, None);
        assert!(third.sets.is_empty() && third.warnings[0].contains("name namespace third"), "{third:?}");
    }

    #[test]
    fn a_spent_token_goes_and_another_version_gives_way_to_the_one_that_runs() {
        let text = "env: {OPSCHAIN_VERSION: \"2026-07-28\"}\ndb: {cnpg: {replica: {promotionToken: kToken}}}\n";
        let overrides = over(text, "opschain", false, None);
        assert_eq!(sets(&overrides), ["env.OPSCHAIN_VERSION=2026-08-20", "db.cnpg.replica.promotionToken=null"]);
        assert!(!overrides.warnings.join("").contains("kToken"));
    }

    #[test]
    fn a_held_install_has_no_workers_and_a_bundle_of_one_gets_those_that_ran() {
        assert_eq!(sets(&over("{}", "opschain", true, Some(3))), ["apiWorker.replicas=0"]);
        let none = "apiWorker: {replicas: 0}\n";
        assert_eq!(sets(&over(none, "opschain", false, Some(3))), ["apiWorker.replicas=3"]);
        assert!(over(none, "opschain", false, None).sets.is_empty(), "none ran");
        assert!(over("{}", "opschain", false, Some(3)).sets.is_empty());
    }
}
