//! A namespace: whether it is there, and what stands in it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use futures::future::try_join_all;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::{ApiResource, DeleteParams, DynamicObject, ObjectMeta};
use kube::core::GroupVersionKind;
use serde::{Deserialize, Serialize};

use super::RUN_LABEL;
use super::error::{ClusterError, Result};
use super::kube::Cluster;
use super::wait::Wait;
use crate::event::Events;

/// A kind of objects: group, version, kind, plural.
pub(super) type Kind = (&'static str, &'static str, &'static str, &'static str);

/// The kinds that make a namespace not empty.
///
/// A fixed list rather than discovery: it is the same on every cluster, needs no permission beyond its own, and holds
/// everything that an OpsChain install consists of. What only follows from these (endpoints, events, replica sets'
/// pods) is counted with its owner.
const KINDS: &[Kind] = &[
    ("postgresql.cnpg.io", "v1", "Cluster", "clusters"),
    ("postgresql.cnpg.io", "v1", "Pooler", "poolers"),
    ("postgresql.cnpg.io", "v1", "ScheduledBackup", "scheduledbackups"),
    ("apps", "v1", "Deployment", "deployments"),
    ("apps", "v1", "StatefulSet", "statefulsets"),
    ("apps", "v1", "DaemonSet", "daemonsets"),
    ("apps", "v1", "ReplicaSet", "replicasets"),
    ("batch", "v1", "CronJob", "cronjobs"),
    ("batch", "v1", "Job", "jobs"),
    ("", "v1", "Pod", "pods"),
    ("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
    ("", "v1", "Service", "services"),
    ("networking.k8s.io", "v1", "Ingress", "ingresses"),
    ("", "v1", "Secret", "secrets"),
    ("", "v1", "ConfigMap", "configmaps"),
    ("", "v1", "ServiceAccount", "serviceaccounts"),
    ("rbac.authorization.k8s.io", "v1", "Role", "roles"),
    ("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings"),
];

/// The labels that decide which pods the namespace admits.
const POD_SECURITY: &str = "pod-security.kubernetes.io/";

/// What Kubernetes, the database operator and widespread add-ons put into a namespace by themselves, and leave there.
pub(super) const EVERYWHERE: &[(&str, &str)] = &[
    ("ConfigMap", "cnpg-default-monitoring"),
    ("ServiceAccount", "default"),
    ("ConfigMap", "kube-root-ca.crt"),
    ("ConfigMap", "istio-ca-root-cert"),
    ("ConfigMap", "openshift-service-ca.crt"),
];

/// An object of the namespace by kind and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectRef {
    /// Such as `PersistentVolumeClaim`.
    pub kind: String,
    pub name: String,
}

impl ObjectRef {
    /// Names an object.
    pub fn new(kind: impl Into<String>, name: impl Into<String>) -> Self {
        Self { kind: kind.into(), name: name.into() }
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

/// An object that stands in the namespace, with the marks that tell who has made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandingObject {
    /// Kind and name.
    pub object: ObjectRef,
    /// When it was made.
    pub created: Option<jiff::Timestamp>,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
}

/// What is known of a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum NamespaceState {
    /// There is no such namespace.
    Absent,
    /// It is being deleted: nothing can be made in it until it is gone.
    Terminating,
    /// Nothing stands in it, `kept` left out.
    Empty {
        /// Leftovers that were expected.
        kept: Vec<ObjectRef>,
    },
    /// Something stands in it.
    Occupied {
        /// What makes it not empty.
        objects: Vec<ObjectRef>,
        /// Leftovers that were expected.
        kept: Vec<ObjectRef>,
    },
}

impl Cluster {
    /// Looks at the namespace. `may_stay` names what does not count against it, such as the Secrets that an uninstall
    /// leaves behind on purpose. Objects labelled as `dr`'s own do not count either.
    ///
    /// # Errors
    /// Objects of some kind may not be listed. Kinds unknown to the cluster are no error.
    pub async fn namespace_state(&self, may_stay: &[ObjectRef]) -> Result<NamespaceState> {
        let Some(namespace) = self.wide::<Namespace>().get_opt(self.namespace()).await? else {
            return Ok(NamespaceState::Absent);
        };
        if namespace.metadata.deletion_timestamp.is_some() {
            return Ok(NamespaceState::Terminating);
        }
        let standing = self.standing_objects().await?.into_iter().map(|standing| standing.object);
        let (kept, objects): (Vec<_>, Vec<_>) = standing.partition(|object| may_stay.contains(object));
        Ok(if objects.is_empty() { NamespaceState::Empty { kept } } else { NamespaceState::Occupied { objects, kept } })
    }

    /// When the namespace was made, where it is there.
    ///
    /// # Errors
    /// It may not be read.
    pub async fn namespace_created(&self) -> Result<Option<Timestamp>> {
        let namespace = self.wide::<Namespace>().get_opt(self.namespace()).await?;
        Ok(namespace.and_then(|namespace| Some(namespace.metadata.creation_timestamp?.0)))
    }

    /// The labels of the namespace that decide which pods it admits.
    ///
    /// # Errors
    /// It may not be read.
    pub async fn pod_security(&self) -> Result<BTreeMap<String, String>> {
        let namespace = self.wide::<Namespace>().get_opt(self.namespace()).await?;
        let mut labels = namespace.and_then(|namespace| namespace.metadata.labels).unwrap_or_default();
        labels.retain(|label, _| label.starts_with(POD_SECURITY));
        Ok(labels)
    }

    /// Makes the namespace with the given labels. `false`: it is there already, and is left as it is.
    ///
    /// # Errors
    /// The namespace may not be made.
    pub async fn create_namespace(&self, labels: &[(&str, &str)]) -> Result<bool> {
        let object = Namespace {
            metadata: ObjectMeta {
                name: Some(self.namespace().to_owned()),
                labels: Some(labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()),
                ..ObjectMeta::default()
            },
            ..Namespace::default()
        };
        match self.wide::<Namespace>().create(&object).await {
            Ok(_) => Ok(true),
            Err(ClusterError::Conflict { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Waits until the account that pods have by default is there: a moment after the namespace. Who may not read it goes on.
    ///
    /// # Errors
    /// It is not there in time.
    pub async fn wait_default_account(&self, limit: Duration, events: &Events) -> Result<()> {
        let mut wait =
            Wait::new("the account of the namespace's pods to be there", limit, events).within(self.namespace());
        loop {
            match self.here::<ServiceAccount>().get_opt("default").await {
                Err(error) if error.is_forbidden() => return Ok(()),
                account => match wait.patient(account)?.flatten() {
                    Some(_) => return Ok(()),
                    None => wait.not_yet(None).await?,
                },
            }
        }
    }

    /// The run that has made the namespace, where one did; nothing where there is no namespace.
    ///
    /// # Errors
    /// The namespace may not be read.
    pub async fn maker_of_namespace(&self) -> Result<Option<String>> {
        let namespace = self.wide::<Namespace>().get_opt(self.namespace()).await?;
        Ok(namespace.and_then(|namespace| namespace.metadata.labels?.remove(RUN_LABEL)))
    }

    /// Deletes the namespace and waits until it is gone.
    ///
    /// # Errors
    /// It may not be deleted, or is not gone in time.
    pub async fn delete_namespace(&self, limit: Duration, events: &Events) -> Result<()> {
        self.wide::<Namespace>().delete(self.namespace(), &DeleteParams::background()).await?;
        let mut wait =
            Wait::new(format!("namespace {} to be gone", self.namespace()), limit, events).within(self.namespace());
        while wait.patient(self.namespace_uid().await)?.flatten().is_some() {
            wait.not_yet(None).await?;
        }
        Ok(())
    }

    /// Everything that makes the namespace not empty.
    ///
    /// # Errors
    /// Objects of some kind may not be listed. Kinds unknown to the cluster are no error.
    pub async fn standing_objects(&self) -> Result<Vec<StandingObject>> {
        let lists = try_join_all(KINDS.iter().map(|kind| self.objects_of(kind))).await?;
        Ok(lists.into_iter().flatten().collect())
    }

    /// Deletes an object of a kind that makes a namespace not empty. Gone already is well.
    ///
    /// # Errors
    /// It may not be deleted, or is of another kind.
    pub async fn delete_standing(&self, object: &ObjectRef) -> Result<()> {
        let types = KINDS.iter().find(|(.., kind, _)| *kind == object.kind).map(types_of);
        let types = types.ok_or_else(|| ClusterError::Unexpected {
            act: format!("delete {object}"),
            cause: "its kind is not known".into(),
        })?;
        self.dynamic(types).delete(&object.name, &DeleteParams::background()).await.map(drop)
    }

    async fn objects_of(&self, kind: &Kind) -> Result<Vec<StandingObject>> {
        match self.dynamic(types_of(kind)).list(None).await {
            Ok(list) => {
                let (.., kind, _) = kind;
                let counting = list.into_iter().filter(|object| counts(kind, object));
                Ok(counting.map(|object| standing(kind, object)).collect())
            }
            Err(ClusterError::NotFound { .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}

pub(super) fn types_of((group, version, kind, plural): &Kind) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
}

fn standing(kind: &str, object: DynamicObject) -> StandingObject {
    let meta = object.metadata;
    StandingObject {
        object: ObjectRef::new(kind, meta.name.unwrap_or_default()),
        created: meta.creation_timestamp.map(|at| at.0),
        labels: meta.labels.unwrap_or_default(),
        annotations: meta.annotations.unwrap_or_default(),
    }
}

/// Whether the object says something of its own: not there by itself, not `dr`'s, not owned by another that counts.
fn counts(kind: &str, object: &DynamicObject) -> bool {
    let name = object.metadata.name.as_deref().unwrap_or_default();
    let labels = object.metadata.labels.as_ref();
    let own = labels.and_then(|l| l.get(super::MANAGED_BY)).is_some_and(|by| by == super::MANAGER);
    let token = kind == "Secret" && object.data["type"] == "kubernetes.io/service-account-token";
    !(own || token || is_owned(&object.metadata, KINDS) || EVERYWHERE.contains(&(kind, name)))
}

/// Whether an object of one of the kinds owns it.
pub(super) fn is_owned(meta: &ObjectMeta, kinds: &[Kind]) -> bool {
    meta.owner_references.iter().flatten().any(|owner| {
        kinds.iter().any(|(group, _, kind, _)| {
            *kind == owner.kind && owner.api_version.split_once('/').map_or("", |(group, _)| group) == *group
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: serde_json::Value) -> DynamicObject {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn what_kubernetes_puts_everywhere_does_not_count() {
        assert!(!counts("ServiceAccount", &object(serde_json::json!({"metadata": {"name": "default"}}))));
        assert!(!counts("ConfigMap", &object(serde_json::json!({"metadata": {"name": "kube-root-ca.crt"}}))));
        let token = serde_json::json!({"metadata": {"name": "t"}, "type": "kubernetes.io/service-account-token"});
        assert!(!counts("Secret", &object(token)));
    }

    #[test]
    fn what_is_owned_counts_with_its_owner_and_a_bare_pod_counts_itself() {
        let owner = serde_json::json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "u"});
        let owned = serde_json::json!({"metadata": {"name": "p", "ownerReferences": [owner]}});
        assert!(!counts("Pod", &object(owned)));
        let node = serde_json::json!({"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "u"});
        assert!(counts("Pod", &object(serde_json::json!({"metadata": {"name": "p", "ownerReferences": [node]}}))));
        assert!(counts("Pod", &object(serde_json::json!({"metadata": {"name": "change-1"}}))));
    }

    #[test]
    fn what_dr_left_behind_does_not_count() {
        let ours = serde_json::json!({"metadata": {"name": "p", "labels": {"app.kubernetes.io/managed-by": "dr"}}});
        assert!(!counts("Pod", &object(ours)));
    }
}
