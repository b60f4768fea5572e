//! The database as the CloudNativePG operator describes it: the parts of its `Cluster` object that operations look at.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{NodeAffinity, Toleration};
use kube::api::DynamicObject;
use serde::{Deserialize, Serialize};

use super::error::{ClusterError, Result};

/// The annotation that puts a database to sleep: `on` or `off`.
pub const HIBERNATION: &str = "cnpg.io/hibernation";
/// The label on everything that belongs to one database.
pub const CLUSTER_LABEL: &str = "cnpg.io/cluster";
/// The container of an instance's pod that runs PostgreSQL.
pub const POSTGRES_CONTAINER: &str = "postgres";
/// The operator's phase of a database that serves. It stays so while the database hibernates.
const HEALTHY: &str = "Cluster in healthy state";

/// The annotation with the restore that was aborted in the middle: nothing proves what is in the database since.
pub const UNPROVED_BY: &str = "dr.opschain/unproved-by";

/// The parts of a CloudNativePG `Cluster` that operations look at. After `postgresql.cnpg.io/v1` of operator 1.27.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Database {
    /// Its name; the prefix of its pods, volumes, secrets and services.
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub uid: String,
    /// Whether it is being deleted.
    #[serde(default)]
    pub deleting: bool,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    #[serde(default)]
    pub spec: DatabaseSpec,
    /// What the operator says it is.
    #[serde(default)]
    pub status: DatabaseStatus,
}

/// What a database is to be.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DatabaseSpec {
    pub instances: i32,
    /// The image, where it is given; the operator's own choice is in the status.
    pub image_name: Option<String>,
    /// The replica cluster's settings.
    pub replica: Option<ReplicaSpec>,
    /// How it is made: `initdb`, `recovery` or `pg_basebackup`, as written.
    pub bootstrap: Option<serde_json::Value>,
    /// PostgreSQL's settings.
    pub postgresql: PostgresqlSpec,
    /// Its volumes.
    pub storage: StorageSpec,
    /// The volume of the write-ahead log, where it has one of its own.
    pub wal_storage: Option<StorageSpec>,
    /// Tablespaces beside the default one, as written.
    pub tablespaces: Vec<serde_json::Value>,
    /// The Secret with the superuser's password, where one was given.
    pub superuser_secret: Option<NameRef>,
    /// The pull secrets of its pods.
    pub image_pull_secrets: Vec<NameRef>,
    /// Where its pods go.
    pub affinity: AffinitySpec,
    pub scheduler_name: Option<String>,
}

/// Where a database's pods go, as far as it is the nodes that decide.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AffinitySpec {
    pub node_selector: BTreeMap<String, String>,
    pub tolerations: Vec<Toleration>,
    pub node_affinity: Option<NodeAffinity>,
}

/// The replica part of a database's spec.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ReplicaSpec {
    /// Whether it follows another cluster. Absent where `primary` decides.
    pub enabled: Option<bool>,
    /// The name of the cluster that is the primary.
    pub primary: Option<String>,
    /// The external cluster that it follows.
    pub source: Option<String>,
    /// Its own name in the topology, where that is not the object's.
    #[serde(rename = "self")]
    pub own_name: Option<String>,
}

/// PostgreSQL's settings of a database.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PostgresqlSpec {
    /// Settings by name.
    pub parameters: BTreeMap<String, String>,
}

/// The volume part of a database's spec.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StorageSpec {
    /// A quantity, such as `10Gi`.
    pub size: Option<String>,
    pub storage_class: Option<String>,
}

/// A reference by name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NameRef {
    pub name: String,
}

/// What the operator says of a database.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DatabaseStatus {
    /// A sentence, such as `Cluster in healthy state`. It says nothing of hibernation.
    pub phase: Option<String>,
    pub phase_reason: Option<String>,
    /// The image that its pods run.
    pub image: Option<String>,
    /// PostgreSQL's system identifier.
    #[serde(rename = "systemID")]
    pub system_id: Option<String>,
    #[serde(rename = "timelineID")]
    pub timeline_id: Option<u32>,
    /// The primary's pod.
    pub current_primary: Option<String>,
    /// The pod that is to be the primary.
    pub target_primary: Option<String>,
    /// How many instances are ready. Absent while it hibernates.
    pub ready_instances: Option<i32>,
    pub instance_names: Vec<String>,
    /// Claims that no instance uses.
    #[serde(rename = "danglingPVC")]
    pub dangling_claims: Vec<String>,
    /// Claims that are in use.
    #[serde(rename = "healthyPVC")]
    pub healthy_claims: Vec<String>,
    pub conditions: Vec<Condition>,
}

/// One condition of a database.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Condition {
    /// Such as `Ready` or `cnpg.io/hibernation`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// One word.
    pub reason: String,
    /// A sentence.
    pub message: String,
}

impl Database {
    /// That it has a volume for its WAL alone, in words, where it has.
    pub fn own_wal_volume(&self) -> Option<String> {
        let name = &self.name;
        self.spec
            .wal_storage
            .as_ref()
            .map(|_| format!("database {name} keeps its WAL on a volume of its own (walStorage)"))
    }

    /// Whether it follows another cluster and so must not be backed up.
    pub fn is_replica_cluster(&self) -> bool {
        let Some(replica) = &self.spec.replica else { return false };
        match (replica.enabled, &replica.primary) {
            (Some(enabled), _) => enabled,
            // Without `enabled`, the topology decides: it is a replica when the primary has another name.
            (None, Some(primary)) => primary != replica.own_name.as_ref().unwrap_or(&self.name),
            (None, None) => false,
        }
    }

    /// The aborted restore since which nothing proves what is in it.
    pub fn unproved_by(&self) -> Option<&str> {
        self.annotations.get(UNPROVED_BY).map(String::as_str)
    }

    /// Whether it was told to hibernate.
    pub fn is_hibernation_asked(&self) -> bool {
        self.annotations.get(HIBERNATION).is_some_and(|value| value == "on")
    }

    /// Whether the operator has put it to sleep. Its condition is the only proof: phase and `Ready` stay as they were,
    /// and an empty list of pods is also true a second after the install.
    pub fn is_hibernated(&self) -> bool {
        self.condition(HIBERNATION).is_some_and(|c| c.status == "True" && c.reason == "Hibernated")
    }

    /// Whether all instances serve and no sleep is asked for or under way.
    pub fn is_healthy(&self) -> bool {
        self.status.phase.as_deref() == Some(HEALTHY)
            && self.spec.instances > 0
            && self.status.ready_instances == Some(self.spec.instances)
            && self.condition(HIBERNATION).is_none()
            && !self.is_hibernation_asked()
    }

    /// A condition by type.
    pub fn condition(&self, kind: &str) -> Option<&Condition> {
        self.status.conditions.iter().find(|condition| condition.kind == kind)
    }

    /// The image that its pods run: the operator's word before the spec's.
    pub fn image(&self) -> Option<&str> {
        self.status.image.as_deref().or(self.spec.image_name.as_deref())
    }

    /// The claim of the instance that is or was the primary; `<name>-1` before there was any.
    pub fn primary_claim(&self) -> String {
        let primary = self.status.current_primary.as_ref().or(self.status.target_primary.as_ref());
        primary.cloned().unwrap_or_else(|| format!("{}-1", self.name))
    }

    /// A line for people: phase, ready instances, sleep.
    pub fn line(&self) -> String {
        let phase = self.status.phase.as_deref().unwrap_or("not yet seen by the operator");
        let ready = format!("{}/{} ready", self.status.ready_instances.unwrap_or(0), self.spec.instances);
        match self.condition(HIBERNATION) {
            Some(condition) if self.is_hibernated() => condition.reason.to_lowercase(),
            Some(condition) => format!("{phase}, {ready}, hibernation: {}", condition.reason),
            None => match &self.status.phase_reason {
                Some(reason) if !reason.is_empty() => format!("{phase} ({reason}), {ready}"),
                _ => format!("{phase}, {ready}"),
            },
        }
    }

    pub(super) fn parse(object: DynamicObject) -> Result<Self> {
        let meta = object.metadata;
        let name = meta.name.unwrap_or_default();
        let bad = |error: serde_json::Error| ClusterError::Unexpected {
            act: format!("read database {name}"),
            cause: error.to_string(),
        };
        let part = |key: &str| object.data.get(key).filter(|value| !value.is_null()).cloned();
        let spec = part("spec").map(serde_json::from_value).transpose().map_err(bad)?.unwrap_or_default();
        let status = part("status").map(serde_json::from_value).transpose().map_err(bad)?.unwrap_or_default();
        Ok(Self {
            uid: meta.uid.unwrap_or_default(),
            deleting: meta.deletion_timestamp.is_some(),
            labels: meta.labels.unwrap_or_default(),
            annotations: meta.annotations.unwrap_or_default(),
            spec,
            status,
            name,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(name: &str) -> Database {
        let path = format!("{}/fixtures/kube/{name}.json", env!("CARGO_MANIFEST_DIR"));
        let object: DynamicObject = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        Database::parse(object).unwrap()
    }

    #[test]
    fn a_database_that_serves_is_healthy_and_awake() {
        let database = recorded("database-healthy");
        assert!(database.is_healthy() && !database.is_hibernated() && !database.is_replica_cluster());
        assert_eq!(database.primary_claim(), "opschain-db-1");
        assert_eq!(database.line(), "Cluster in healthy state, 1/1 ready");
        assert_eq!(database.image(), Some("limepoint/opschain-db:15-lab"));
    }

    #[test]
    fn a_hibernated_database_is_not_healthy_whatever_its_phase_says() {
        let database = recorded("database-hibernated");
        assert_eq!(database.status.phase.as_deref(), Some(HEALTHY));
        assert!(database.is_hibernated() && !database.is_healthy());
        assert_eq!(database.line(), "hibernated");
    }

    #[test]
    fn a_database_on_its_way_to_sleep_is_neither() {
        let mut database = recorded("database-hibernated");
        database.status.conditions[0].status = "False".into();
        database.status.conditions[0].reason = "DeletingPods".into();
        assert!(!database.is_hibernated() && !database.is_healthy());
        assert_eq!(database.line(), "Cluster in healthy state, 0/1 ready, hibernation: DeletingPods");
    }

    #[test]
    fn a_database_that_follows_another_is_a_replica_however_it_says_so() {
        let database = |replica: serde_json::Value| -> Database {
            let object = serde_json::json!({"metadata": {"name": "opschain-db-b"}, "spec": {"replica": replica}});
            Database::parse(serde_json::from_value(object).unwrap()).unwrap()
        };
        assert!(database(serde_json::json!({"enabled": true, "source": "opschain-db"})).is_replica_cluster());
        assert!(database(serde_json::json!({"primary": "opschain-db", "source": "opschain-db"})).is_replica_cluster());
        assert!(!database(serde_json::json!({"primary": "opschain-db-b"})).is_replica_cluster());
        assert!(!database(serde_json::json!({"enabled": false, "primary": "opschain-db"})).is_replica_cluster());
        assert!(!database(serde_json::json!({"primary": "site-b", "self": "site-b"})).is_replica_cluster());
    }

    #[test]
    fn an_object_that_the_operator_has_not_seen_is_not_healthy() {
        let object = serde_json::json!({"metadata": {"name": "opschain-db"}, "spec": {"instances": 1}});
        let database = Database::parse(serde_json::from_value(object).unwrap()).unwrap();
        assert!(!database.is_healthy());
        assert_eq!(database.line(), "not yet seen by the operator, 0/1 ready");
    }
}
