//! Storage classes: which there are, and what shows that somebody makes volumes of them.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::PersistentVolume;
use k8s_openapi::api::storage::v1::{CSIDriver, StorageClass};
use serde::{Deserialize, Serialize};

use super::error::Result;
use super::kube::Cluster;

const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";
/// The annotation of a volume with the provisioner that has made it.
const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";

/// What a cluster has to make volumes of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageFacts {
    /// The classes; `None` where nobody here may list them.
    pub classes: Option<Vec<ClassFacts>>,
    /// The classes of volumes that were made beforehand and are free.
    pub free_volumes: BTreeSet<String>,
    /// The provisioners that a CSI driver, or a volume that one has made, shows to be there; `None` where that cannot be
    /// looked at.
    pub provisioners: Option<BTreeSet<String>>,
}

/// One storage class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassFacts {
    pub name: String,
    pub provisioner: String,
    /// Whether a volume is made only when a pod uses it, near that pod.
    pub waits_for_pod: bool,
    /// Whether it is marked as the default one.
    pub is_default: bool,
    pub created: Option<Timestamp>,
}

impl StorageFacts {
    /// The class of a claim that names none: of several that are marked, Kubernetes takes the newest.
    pub fn default_class(&self) -> Option<&ClassFacts> {
        self.defaults().max_by_key(|class| class.created)
    }

    /// The classes that are marked as the default one.
    pub fn defaults(&self) -> impl Iterator<Item = &ClassFacts> {
        self.classes.iter().flatten().filter(|class| class.is_default)
    }

    /// The class that a claim gets which names this one, or none.
    pub fn class(&self, name: Option<&str>) -> Option<&ClassFacts> {
        match name {
            Some(name) => self.classes.iter().flatten().find(|class| class.name == name),
            None => self.default_class(),
        }
    }
}

impl ClassFacts {
    fn of(class: &StorageClass) -> Self {
        let annotations = class.metadata.annotations.as_ref();
        Self {
            name: class.metadata.name.clone().unwrap_or_default(),
            provisioner: class.provisioner.clone(),
            waits_for_pod: class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer"),
            is_default: annotations.and_then(|all| all.get(DEFAULT_CLASS)).is_some_and(|value| value == "true"),
            created: class.metadata.creation_timestamp.as_ref().map(|time| time.0),
        }
    }
}

impl Cluster {
    /// Looks at classes, volumes and drivers.
    ///
    /// # Errors
    /// The cluster does not answer.
    pub async fn storage(&self) -> Result<StorageFacts> {
        let classes = allowed(self.wide::<StorageClass>().list(None).await)?;
        let volumes = allowed(self.wide::<PersistentVolume>().list(None).await)?;
        let drivers = allowed(self.wide::<CSIDriver>().list(None).await)?;
        let phase = |volume: &PersistentVolume| volume.status.as_ref()?.phase.clone();
        let free = volumes.iter().flatten().filter(|volume| phase(volume).as_deref() == Some("Available"));
        Ok(StorageFacts {
            classes: classes.map(|classes| classes.iter().map(ClassFacts::of).collect()),
            free_volumes: free.filter_map(|volume| volume.spec.as_ref()?.storage_class_name.clone()).collect(),
            provisioners: volumes.zip(drivers).map(|(volumes, drivers)| {
                let made = volumes.into_iter().filter_map(|volume| volume.metadata.annotations?.remove(PROVISIONED_BY));
                made.chain(drivers.into_iter().filter_map(|driver| driver.metadata.name)).collect()
            }),
        })
    }
}

fn allowed<T>(listed: Result<Vec<T>>) -> Result<Option<Vec<T>>> {
    match listed {
        Err(error) if error.is_forbidden() => Ok(None),
        listed => listed.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_default_classes_the_newer_one_is_taken() {
        let class = |name: &str, created: &str, marked: &str| {
            ClassFacts::of(
                &serde_json::from_value(serde_json::json!({
                    "metadata": {"name": name, "creationTimestamp": created, "annotations": {DEFAULT_CLASS: marked}},
                    "provisioner": "p", "volumeBindingMode": "WaitForFirstConsumer",
                }))
                .unwrap(),
            )
        };
        let classes = vec![
            class("new", "2026-02-01T00:00:00Z", "true"),
            class("old", "2026-01-01T00:00:00Z", "true"),
            class("newest", "2026-03-01T00:00:00Z", "false"),
        ];
        let facts = StorageFacts { classes: Some(classes), ..StorageFacts::default() };
        assert_eq!(facts.class(None).unwrap().name, "new");
        assert!(facts.class(Some("old")).unwrap().waits_for_pod && facts.class(Some("none")).is_none());
    }
}
