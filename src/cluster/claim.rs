//! The volume claim of a database's first instance, made before there is a database: with the marks by which the operator
//! knows its own.
//!
//! The operator looks for such claims once, when it first meets a database: with the label of the database, a serial and no
//! owner (`internal/controller/cluster_restore.go`, the same in 1.27.0 and 1.28.0). It takes the highest serial for the
//! primary's, becomes their owner, and makes no database anew. A claim of the right name without these marks is given to
//! initdb instead, which moves the data in it aside: therefore they are looked at again before a database is made.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::{DeleteParams, Preconditions};
use serde_json::json;

use super::RUN_LABEL;
use super::database::CLUSTER_LABEL;
use super::error::{ClusterError, Result};
use super::kube::Cluster;
use super::wait::Wait;
use crate::event::Events;

/// The annotation with an instance's number, without which the operator passes a claim over.
const SERIAL: &str = "cnpg.io/nodeSerial";

/// The claim to be made for the first instance of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedClaim<'a> {
    pub database: &'a str,
    /// A quantity, such as `10Gi`.
    pub size: &'a str,
    /// The storage class; the cluster's default one when absent.
    pub storage_class: Option<&'a str>,
    /// The run that makes it.
    pub run: &'a str,
}

/// A claim that is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StandingClaim {
    pub name: String,
    pub uid: String,
    pub deleting: bool,
    /// The uids of the objects that it goes with.
    pub owners: Vec<String>,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
}

/// The name of the first instance of a database, and of its claim.
pub fn first_instance(database: &str) -> String {
    format!("{database}-1")
}

impl StandingClaim {
    /// The run that has made it.
    pub fn run(&self) -> Option<&str> {
        self.labels.get(RUN_LABEL).map(String::as_str)
    }

    /// The first of the operator's marks that it lacks, in words; `None` when a database of this name takes it up.
    pub fn lacks(&self, database: &str) -> Option<String> {
        let wrong = |marks: &BTreeMap<String, String>, (key, value): (&'static str, String)| {
            (marks.get(key) != Some(&value)).then(|| format!("`{key}` is not `{value}`"))
        };
        let label = labels(database).into_iter().find_map(|mark| wrong(&self.labels, mark));
        label.or_else(|| annotations().into_iter().find_map(|mark| wrong(&self.annotations, mark)))
    }
}

fn labels(database: &str) -> [(&'static str, String); 4] {
    [
        (CLUSTER_LABEL, database.to_owned()),
        ("cnpg.io/instanceName", first_instance(database)),
        ("cnpg.io/instanceRole", "primary".to_owned()),
        ("cnpg.io/pvcRole", "PG_DATA".to_owned()),
    ]
}

fn annotations() -> [(&'static str, String); 2] {
    [(SERIAL, "1".to_owned()), ("cnpg.io/pvcStatus", "ready".to_owned())]
}

fn object(wanted: &WantedClaim<'_>) -> serde_json::Value {
    let mut labels = BTreeMap::from(labels(wanted.database));
    labels.insert(RUN_LABEL, wanted.run.to_owned());
    json!({
        "metadata": {
            "name": first_instance(wanted.database),
            "labels": labels,
            "annotations": BTreeMap::from(annotations()),
        },
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": wanted.storage_class,
            "resources": {"requests": {"storage": wanted.size}},
        },
    })
}

fn claim_of(wanted: &WantedClaim<'_>) -> Result<PersistentVolumeClaim> {
    serde_json::from_value(object(wanted)).map_err(|error| ClusterError::Unexpected {
        act: format!("make a volume for {}", wanted.database),
        cause: error.to_string(),
    })
}

impl Cluster {
    /// Makes the claim of a database's first instance. `false`: one of the name is there, and is left as it is.
    ///
    /// # Errors
    /// It may not be made, or the API server refuses it.
    pub async fn create_claim(&self, wanted: &WantedClaim<'_>) -> Result<bool> {
        match self.here::<PersistentVolumeClaim>().create(&claim_of(wanted)?).await {
            Ok(_) => Ok(true),
            Err(ClusterError::Conflict { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Why the API server would not make the claim, where it would not: quota, limit range, policies and webhooks are asked,
    /// and nothing is made.
    ///
    /// # Errors
    /// Claims may not be made at all, or the namespace is not there.
    pub async fn claim_refusal(&self, wanted: &WantedClaim<'_>) -> Result<Option<String>> {
        match self.here::<PersistentVolumeClaim>().create_dry(&claim_of(wanted)?).await {
            Ok(_) | Err(ClusterError::Conflict { .. }) => Ok(None),
            Err(ClusterError::Refused { code: 403 | 422, message, .. }) => Ok(Some(message)),
            Err(error) => Err(error),
        }
    }

    /// Reads a claim; `None` where there is none of the name.
    ///
    /// # Errors
    /// It may not be read.
    pub async fn claim(&self, name: &str) -> Result<Option<StandingClaim>> {
        Ok(self.here::<PersistentVolumeClaim>().get_opt(name).await?.map(|claim| {
            let meta = claim.metadata;
            StandingClaim {
                name: meta.name.unwrap_or_default(),
                uid: meta.uid.unwrap_or_default(),
                deleting: meta.deletion_timestamp.is_some(),
                owners: meta.owner_references.into_iter().flatten().map(|owner| owner.uid).collect(),
                labels: meta.labels.unwrap_or_default(),
                annotations: meta.annotations.unwrap_or_default(),
            }
        }))
    }

    /// Deletes this very claim, and waits until it is gone. One of the same name that was made since stays.
    ///
    /// # Errors
    /// It may not be deleted, or is not gone within `limit`: a pod may still use it.
    pub async fn delete_claim(&self, claim: &StandingClaim, limit: Duration, events: &Events) -> Result<()> {
        let only = Preconditions { uid: Some(claim.uid.clone()), resource_version: None };
        let params = DeleteParams::background().preconditions(only);
        match self.here::<PersistentVolumeClaim>().delete(&claim.name, &params).await {
            Ok(_) | Err(ClusterError::Conflict { .. }) => {}
            Err(error) => return Err(error),
        }
        let mut wait = Wait::new(format!("volume {} to be gone", claim.name), limit, events).within(self.namespace());
        while let Some(found) = wait.patient(self.claim(&claim.name).await)?.flatten().filter(|f| f.uid == claim.uid) {
            let users = self.mounters(&found.name).await?;
            wait.not_yet((!users.is_empty()).then(|| format!("used by {}", users.join(", ")))).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_that_is_made_has_every_mark_of_the_operator_s_and_one_without_is_told_by_name() {
        let wanted = WantedClaim { database: "opschain-db", size: "10Gi", storage_class: None, run: "r" };
        let made: PersistentVolumeClaim = serde_json::from_value(object(&wanted)).unwrap();
        let spec = made.spec.unwrap();
        assert_eq!((spec.storage_class_name, spec.access_modes), (None, Some(vec!["ReadWriteOnce".to_owned()])));
        let meta = made.metadata;
        assert_eq!(meta.name.as_deref(), Some("opschain-db-1"));
        let claim = StandingClaim {
            labels: meta.labels.unwrap(),
            annotations: meta.annotations.unwrap(),
            ..StandingClaim::default()
        };
        assert_eq!((claim.lacks("opschain-db"), claim.run()), (None, Some("r")));
        assert_eq!(claim.lacks("other").unwrap(), "`cnpg.io/cluster` is not `other`");
        let mut bare = claim.clone();
        bare.annotations.remove(SERIAL);
        assert_eq!(bare.lacks("opschain-db").unwrap(), "`cnpg.io/nodeSerial` is not `1`");
    }
}
