//! Where a helper pod goes: where the database's own pods go, since its volume and its image may be nowhere else.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, LocalObjectReference, NodeAffinity, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodSpec,
    PreferredSchedulingTerm, Toleration,
};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use serde::{Deserialize, Serialize};

use super::database::DatabaseSpec;
use super::error::Result;
use super::kube::Cluster;

/// The scheduler of pods that name none.
pub(super) const DEFAULT_SCHEDULER: &str = "default-scheduler";
/// Kubernetes gives every pod a toleration of these taints by itself, for five minutes.
const TOLERATED_ANYWAY: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];

/// What decides on which node a pod may run, and what runs it there.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PodPlacement {
    pub node_selector: BTreeMap<String, String>,
    pub tolerations: Vec<Toleration>,
    pub node_affinity: Option<NodeAffinity>,
    /// The node that is preferred: the image is there.
    pub node: Option<String>,
    pub runtime_class: Option<String>,
    /// The scheduler, where it is not the usual one.
    pub scheduler: Option<String>,
    /// Names of the Secrets to pull the image with.
    pub pull_secrets: Vec<String>,
}

impl PodPlacement {
    /// That of a pod that runs, its node preferred.
    pub fn of_pod(pod: &Pod) -> Self {
        let Some(spec) = pod.spec.clone() else { return Self::default() };
        let anyway = |toleration: &Toleration| {
            toleration.key.as_deref().is_some_and(|key| TOLERATED_ANYWAY.contains(&key))
                && toleration.toleration_seconds.is_some()
        };
        Self {
            node_selector: spec.node_selector.unwrap_or_default(),
            tolerations: spec.tolerations.into_iter().flatten().filter(|toleration| !anyway(toleration)).collect(),
            node_affinity: spec.affinity.and_then(|affinity| affinity.node_affinity),
            node: spec.node_name,
            runtime_class: spec.runtime_class_name,
            scheduler: spec.scheduler_name.filter(|name| name != DEFAULT_SCHEDULER),
            pull_secrets: spec.image_pull_secrets.into_iter().flatten().map(|secret| secret.name).collect(),
        }
    }

    /// That which the operator will give the pods of a database.
    pub fn of_database(spec: &DatabaseSpec) -> Self {
        Self {
            node_selector: spec.affinity.node_selector.clone(),
            tolerations: spec.affinity.tolerations.clone(),
            node_affinity: spec.affinity.node_affinity.clone(),
            node: None,
            runtime_class: None,
            scheduler: spec.scheduler_name.clone().filter(|name| !name.is_empty()),
            pull_secrets: spec.image_pull_secrets.iter().map(|secret| secret.name.clone()).collect(),
        }
    }

    /// The same on its node and on no other: what the node has is nowhere else.
    #[must_use]
    pub fn on_its_node(mut self) -> Self {
        let Some(node) = self.node.clone() else { return self };
        let affinity = self.node_affinity.get_or_insert_default();
        let required = affinity.required_during_scheduling_ignored_during_execution.get_or_insert_default();
        if required.node_selector_terms.is_empty() {
            required.node_selector_terms.push(NodeSelectorTerm::default());
        }
        // One of the terms has to hold, and all of it.
        for term in &mut required.node_selector_terms {
            term.match_fields.get_or_insert_default().push(by_name(&node));
        }
        self
    }

    /// The same, with the Secrets that the image of a pod of `other` is pulled with.
    #[must_use]
    pub fn pulling_as(mut self, other: &Self) -> Self {
        for secret in &other.pull_secrets {
            if !self.pull_secrets.contains(secret) {
                self.pull_secrets.push(secret.clone());
            }
        }
        self
    }

    /// Gives it to a pod.
    pub(super) fn place(&self, spec: &mut PodSpec) {
        spec.node_selector = Some(self.node_selector.clone()).filter(|selector| !selector.is_empty());
        spec.tolerations = Some(self.tolerations.clone()).filter(|tolerations| !tolerations.is_empty());
        spec.runtime_class_name.clone_from(&self.runtime_class);
        spec.scheduler_name.clone_from(&self.scheduler);
        let secrets = self.pull_secrets.iter().map(|name| LocalObjectReference { name: name.clone() });
        spec.image_pull_secrets = Some(secrets.collect());
        let affinity = self.affinity();
        spec.affinity = affinity.map(|node| Affinity { node_affinity: Some(node), ..Affinity::default() });
    }

    fn affinity(&self) -> Option<NodeAffinity> {
        let Some(node) = &self.node else { return self.node_affinity.clone() };
        let preference = NodeSelectorTerm { match_fields: Some(vec![by_name(node)]), ..NodeSelectorTerm::default() };
        let mut affinity = self.node_affinity.clone().unwrap_or_default();
        affinity
            .preferred_during_scheduling_ignored_during_execution
            .get_or_insert_default()
            .push(PreferredSchedulingTerm { weight: 100, preference });
        Some(affinity)
    }
}

fn by_name(node: &str) -> NodeSelectorRequirement {
    NodeSelectorRequirement { key: "metadata.name".into(), operator: "In".into(), values: Some(vec![node.to_owned()]) }
}

impl Cluster {
    /// Whether the cluster has the priority class. Who may not ask goes without.
    ///
    /// # Errors
    /// The cluster does not answer.
    pub async fn has_priority_class(&self, name: &str) -> Result<bool> {
        match self.wide::<PriorityClass>().get_opt(name).await {
            Ok(class) => Ok(class.is_some()),
            Err(error) if error.is_forbidden() => Ok(false),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_helper_goes_where_the_live_pod_goes_and_prefers_its_node() {
        let pod: Pod = serde_json::from_value(json!({"spec": {
            "containers": [],
            "nodeName": "n7",
            "nodeSelector": {"disk": "fast"},
            "runtimeClassName": "kata",
            "schedulerName": "default-scheduler",
            "imagePullSecrets": [{"name": "of-the-account"}],
            "tolerations": [
                {"key": "db", "operator": "Exists"},
                {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
            ],
        }}))
        .unwrap();
        let placement = PodPlacement::of_pod(&pod);
        let mut placed = PodSpec::default();
        placement.place(&mut placed);
        let seen = serde_json::to_value(&placed).unwrap();
        assert_eq!(seen["nodeSelector"], json!({"disk": "fast"}));
        assert_eq!(seen["tolerations"], json!([{"key": "db", "operator": "Exists"}]));
        assert_eq!((&seen["runtimeClassName"], &seen["schedulerName"]), (&json!("kata"), &json!(null)));
        assert_eq!(seen["imagePullSecrets"], json!([{"name": "of-the-account"}]));
        let preferred = &seen["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"][0];
        assert_eq!(preferred["preference"]["matchFields"][0]["values"], json!(["n7"]));
        let kept: PodPlacement = serde_json::from_value(serde_json::to_value(&placement).unwrap()).unwrap();
        assert_eq!(kept, placement);
    }

    #[test]
    fn a_pod_that_fills_a_volume_goes_where_the_database_will() {
        let spec: DatabaseSpec = serde_json::from_value(json!({
            "affinity": {
                "nodeSelector": {"disk": "fast"},
                "tolerations": [{"key": "db", "operator": "Exists"}],
                "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}},
                "enablePodAntiAffinity": true,
            },
            "schedulerName": "mine",
            "imagePullSecrets": [{"name": "s"}],
        }))
        .unwrap();
        let mut placed = PodSpec::default();
        PodPlacement::of_database(&spec).place(&mut placed);
        let seen = serde_json::to_value(&placed).unwrap();
        assert_eq!((&seen["nodeSelector"]["disk"], &seen["schedulerName"]), (&json!("fast"), &json!("mine")));
        assert_eq!(seen["tolerations"][0]["key"], "db");
        assert!(seen["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"].is_object());
    }
}
