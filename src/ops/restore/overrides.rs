//! What goes over the values for good, because the place is another one than they were written for. Nothing here asks
//! anybody.

use serde_json::Value;

use super::held::RestoreHold;
use crate::error::{CommandError, Exit, Result};
use crate::names::ObjectName;
use crate::opschain::Version;
use crate::opschain::workloads::DATABASE_CLUSTER;
use crate::values::{self, Tree};

/// The key of the version that is to run, as `--set` takes it.
pub(super) const VERSION: &str = "env.OPSCHAIN_VERSION";
const NAMESPACE: &str = "env.OPSCHAIN_KUBERNETES_NAMESPACE";
const DATABASE: &str = "db.cnpg.clusterName";
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
    /// How the database was called that the bundle was made of, and how the restored one will be.
    pub source_database: &'a str,
    pub database: &'a str,
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
        overrides.database(values, &json, place);
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

    /// What the chart makes of the name follows by itself; what the values say of the old one is changed where it is the name,
    /// and named where it is a part of something else.
    fn database(&mut self, tree: &Tree, values: &Value, place: &OverridePlace<'_>) {
        let (from, to) = (place.source_database, place.database);
        if database_named(values) != to {
            self.set(DATABASE, to);
        }
        if from == to {
            return;
        }
        self.warnings.push(format!(
            "the database will be called {to}, and the bundle's is called {from}: afterwards set `cluster = \"{to}\"` under [database] in dr.toml"
        ));
        let follow =
            ["primary", "source"].map(|key| (format!("db.cnpg.replica.{key}"), &values["db"]["cnpg"]["replica"][key]));
        for (key, value) in &follow {
            if value.as_str() == Some(from) {
                self.set(key, to);
            }
        }
        let parts = ["rw", "ro", "r", "ca", "server", "replication"].map(|part| format!("{from}-{part}"));
        let stale = |path: &str, text: &str| {
            let changed = path == DATABASE || follow.iter().any(|(key, _)| key == path);
            let is_part = |part: &String| {
                text.strip_prefix(part.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', ':']))
            };
            !changed && (text == from || parts.iter().any(is_part) || text.contains(&format!("@{from}-rw")))
        };
        let mut named = Vec::new();
        for (path, node) in tree.leaves() {
            let path = path.to_string();
            if let Some(values::Value::String(text)) = node.scalar().map(|scalar| &scalar.value)
                && stale(&path, text)
            {
                named.push(path);
            }
        }
        if !named.is_empty() {
            self.warnings.push(format!(
                "{} still name database {from}, or what belongs to it: give values that fit with --config",
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

/// How the restored database is called: as was asked for, else as the values that will be deployed call it. `from` is the
/// bundle's name of it.
///
/// # Errors
/// [`Exit::Usage`]: it is no name, or other sites know it by its own.
pub(super) fn database(asked: Option<ObjectName>, values: &Tree, from: &str) -> Result<ObjectName> {
    let values = values.to_json();
    let by_values = || {
        database_named(&values).parse::<ObjectName>().map_err(|error| {
            CommandError::new(Exit::Usage, "the values give the database a name that is none").because(error)
        })
    };
    let database = asked.map_or_else(by_values, Ok)?;
    refuse_not_a_cluster_name(&database)?;
    refuse_known_elsewhere(&values, from, &database)?;
    Ok(database)
}

/// The operator's webhook takes a DNS label of at most 50 characters, which begins with a letter (CloudNativePG,
/// `validateName` of its Cluster). It would say so only once all data is in place.
///
/// # Errors
/// [`Exit::Usage`].
fn refuse_not_a_cluster_name(name: &ObjectName) -> Result<()> {
    const MOST: usize = 50;
    if name.len() <= MOST && !name.contains('.') && name.starts_with(|c: char| c.is_ascii_lowercase()) {
        return Ok(());
    }
    let what = format!("the database operator takes no cluster that is called {name}");
    Err(CommandError::new(Exit::Usage, what).hint(format!(
        "Lower-case letters, digits and hyphens, a letter first, at most {MOST} characters, such as opschain-db."
    )))
}

/// How values call the database.
fn database_named(values: &Value) -> &str {
    values["db"]["cnpg"]["clusterName"].as_str().filter(|name| !name.is_empty()).unwrap_or(DATABASE_CLUSTER)
}

/// Refuses another name for a database that other sites know by its own.
///
/// # Errors
/// [`Exit::Usage`].
fn refuse_known_elsewhere(values: &Value, from: &str, to: &str) -> Result<()> {
    if from == to || values["db"]["cnpg"]["replica"]["enabled"].as_bool() != Some(true) {
        return Ok(());
    }
    let what = format!(
        "the database cannot be called {to}: by these values it is one of several sites (db.cnpg.replica.enabled), and the others know it as {from}"
    );
    Err(CommandError::new(Exit::Usage, what).hint(
        "Restore it under its own name. A copy that stands alone: give values without db.cnpg.replica with --config.",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a database that is called otherwise than the bundle's.
    fn renamed(text: &str, database: &str) -> Overrides {
        let version = "2026-08-20".parse().unwrap();
        let place = OverridePlace {
            source_namespace: "opschain",
            namespace: "opschain",
            source_database: "opschain-db",
            database,
            version: &version,
            hold: None,
            workers: None,
        };
        Overrides::of(&Tree::parse(text.as_bytes()).unwrap(), &place)
    }

    #[test]
    fn another_name_of_the_database_follows_and_what_else_names_the_old_one_is_listed() {
        let text = "\
db:
  forcePgHost: opschain-db-rw.opschain.svc
  cnpg:
    database: {secretName: opschain-db-credentials}
    replica: {primary: opschain-db, source: other}
    externalClusters: [{name: opschain-db, connectionParameters: {host: opschain-db-rw}}]
env: {PGURL: \"postgres://u@opschain-db-rw/x\", NOTE: opschain-db-backup}
";
        let overrides = renamed(text, "copy-db");
        assert_eq!(sets(&overrides), ["db.cnpg.clusterName=copy-db", "db.cnpg.replica.primary=copy-db"]);
        assert!(overrides.warnings[0].contains("`cluster = \"copy-db\"` under [database]"), "{overrides:?}");
        let named = &overrides.warnings[1];
        for path in ["db.forcePgHost", "externalClusters", "connectionParameters.host", "env.PGURL"] {
            assert!(named.contains(path), "{path}: {named}");
        }
        assert!(!named.contains("secretName") && !named.contains("NOTE") && !named.contains("replica."), "{named}");
        // Values that name it themselves need no change; and its own name is nothing to speak of.
        let own = renamed("db: {cnpg: {clusterName: copy-db}}\n", "copy-db");
        assert_eq!((own.sets.len(), own.warnings.len()), (0, 1));
        assert_eq!(renamed("{}", "opschain-db"), Overrides::default());
    }

    #[test]
    fn a_name_that_the_operator_would_refuse_is_refused_before_anything_is_made() {
        let values = Tree::parse(b"{}").unwrap();
        let named = |name: &str| database(Some(name.parse().unwrap()), &values, "opschain-db");
        for name in ["opschain-db", "copy-2", &"a".repeat(50)] {
            assert_eq!(*named(name).unwrap(), *name);
        }
        for name in ["my.long.db", "0db", &"a".repeat(51)] {
            let error = named(name).unwrap_err();
            assert!(error.exit() == Exit::Usage && !error.hints().is_empty(), "{name}: {error}");
        }
    }

    #[test]
    fn a_database_that_other_sites_know_keeps_its_name() {
        let site = serde_json::json!({"db": {"cnpg": {"replica": {"enabled": true}}}});
        assert!(refuse_known_elsewhere(&site, "a", "a").is_ok());
        assert!(refuse_known_elsewhere(&serde_json::json!({}), "a", "b").is_ok());
        let error = refuse_known_elsewhere(&site, "a", "b").unwrap_err();
        assert_eq!(error.exit(), Exit::Usage);
        assert!(error.message().contains("cannot be called b") && error.message().ends_with("know it as a"), "{error}");
    }

    fn over(text: &str, namespace: &str, hold: bool, workers: Option<i32>) -> Overrides {
        let hold = hold.then(|| RestoreHold {
            because: String::new(),
            original: crate::cluster::HeldOriginal::default(),
            workers: 1,
        });
        let version = "2026-08-20".parse().unwrap();
        let place = OverridePlace {
            source_namespace: "opschain",
            namespace,
            source_database: "opschain-db",
            database: "opschain-db",
            version: &version,
            hold: hold.as_ref(),
            workers,
        };
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
