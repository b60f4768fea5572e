//! Whether some node would take a pod: its rules held against the nodes, as the scheduler does. Admission asks no
//! scheduler. The room on a node is not looked at: that of the pods of today is free once they are gone.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, NodeSelectorRequirement, NodeSelectorTerm, PodSpec, Taint, Toleration};
use serde::{Deserialize, Serialize};

use super::error::{ClusterError, Result};
use super::kube::Cluster;
use super::placement::DEFAULT_SCHEDULER;
use super::pods::PodRefusal;

/// The taint of a cordoned node.
const CORDONED: &str = "node.kubernetes.io/unschedulable";
/// How many nodes are named with one reason.
const NAMED: usize = 3;

/// What would keep pods of Deployments out that are stopped and started again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodsReturn {
    /// Deployments that the API server would not give their replicas again, or of which it would not make another pod.
    pub unadmitted: Vec<(String, PodRefusal)>,
    /// Deployments whose pods no node would take, and why.
    pub unplaceable: Vec<(String, String)>,
    /// Whether the nodes may not be listed, so that nobody knows whether one would take them.
    pub nodes_unseen: bool,
}

impl Cluster {
    /// Looks whether the pods of these Deployments would be made again, and a node be found for them. Nothing is made.
    ///
    /// # Errors
    /// A Deployment may not be read, or pods may not be made at all.
    pub async fn pods_return(&self, deployments: &[&str]) -> Result<PodsReturn> {
        let mut found = PodsReturn::default();
        let mut admitted = Vec::new();
        for name in deployments {
            if let Some(refusal) = self.scaling_refused(name).await? {
                found.unadmitted.push(((*name).to_owned(), refusal));
                continue;
            }
            match self.pod_as_made(name).await? {
                Ok(pod) => admitted.extend(pod.spec.map(|spec| ((*name).to_owned(), spec))),
                Err(refusal) => found.unadmitted.push(((*name).to_owned(), refusal)),
            }
        }
        if admitted.is_empty() {
            return Ok(found);
        }
        match self.wide::<Node>().list(None).await {
            Ok(nodes) => {
                let nowhere = |(name, spec): (String, PodSpec)| Some((name, nowhere(&spec, &nodes)?));
                found.unplaceable = admitted.into_iter().filter_map(nowhere).collect();
            }
            Err(ClusterError::Forbidden { .. }) => found.nodes_unseen = true,
            Err(error) => return Err(error),
        }
        Ok(found)
    }
}

/// Why none of the nodes would take the pod. Another scheduler than the usual one has rules of its own, and a pod that
/// names its node asks none.
fn nowhere(spec: &PodSpec, nodes: &[Node]) -> Option<String> {
    let other = spec.scheduler_name.as_deref().is_some_and(|name| name != DEFAULT_SCHEDULER);
    if other || spec.node_name.as_ref().is_some_and(|name| !name.is_empty()) {
        return None;
    }
    let mut reasons: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for node in nodes {
        let name = node.metadata.name.as_deref().unwrap_or_default();
        reasons.entry(unfit(spec, node)?).or_default().push(name);
    }
    let named = |(reason, nodes): (&String, &Vec<&str>)| {
        let more = match nodes.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        format!("{}{more}: {reason}", nodes.iter().take(NAMED).copied().collect::<Vec<_>>().join(", "))
    };
    let reasons: Vec<String> = reasons.iter().map(named).collect();
    Some(if reasons.is_empty() { "there is no node".to_owned() } else { reasons.join("; ") })
}

/// Why the node would not take the pod.
fn unfit(spec: &PodSpec, node: &Node) -> Option<String> {
    let no_labels = BTreeMap::new();
    let labels = node.metadata.labels.as_ref().unwrap_or(&no_labels);
    let mut asked = spec.node_selector.iter().flatten();
    if let Some((key, value)) = asked.find(|(key, value)| labels.get(*key) != Some(*value)) {
        return Some(format!("without the label {key}={value} of the nodeSelector"));
    }
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let required = affinity.and_then(|one| one.required_during_scheduling_ignored_during_execution.as_ref());
    if let Some(required) = required
        && !required.node_selector_terms.iter().any(|term| fits(term, labels, node))
    {
        return Some("not what the node affinity requires".to_owned());
    }
    let tolerations = spec.tolerations.as_deref().unwrap_or_default();
    let refuses = |taint: &&Taint| {
        matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute") && !tolerations.iter().any(|one| bears(one, taint))
    };
    let node = node.spec.as_ref()?;
    let cordoned = Taint { key: CORDONED.into(), effect: "NoSchedule".into(), ..Taint::default() };
    if node.unschedulable == Some(true) && refuses(&&cordoned) {
        return Some("cordoned".to_owned());
    }
    let taint = node.taints.iter().flatten().find(refuses)?;
    let value = taint.value.as_ref().filter(|value| !value.is_empty()).map(|value| format!("={value}"));
    Some(format!("taint {}{}:{}", taint.key, value.unwrap_or_default(), taint.effect))
}

/// An empty term fits no node.
fn fits(term: &NodeSelectorTerm, labels: &BTreeMap<String, String>, node: &Node) -> bool {
    let (expressions, fields) = (term.match_expressions.iter().flatten(), term.match_fields.iter().flatten());
    let name = node.metadata.name.as_deref();
    let is_empty = expressions.clone().next().is_none() && fields.clone().next().is_none();
    !is_empty
        && expressions.clone().all(|one| holds(one, labels.get(&one.key).map(String::as_str)))
        && fields.clone().all(|one| one.key == "metadata.name" && holds(one, name))
}

fn holds(requirement: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let is_named = || value.is_some_and(|value| values.iter().any(|one| one == value));
    let numbers = || -> Option<(i64, i64)> { Some((value?.parse().ok()?, values.first()?.parse().ok()?)) };
    match requirement.operator.as_str() {
        "In" => is_named(),
        "NotIn" => !is_named(),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => numbers().is_some_and(|(has, asked)| has > asked),
        "Lt" => numbers().is_some_and(|(has, asked)| has < asked),
        // One that is not known here is the scheduler's to judge.
        _ => true,
    }
}

/// Whether the toleration bears the taint.
fn bears(toleration: &Toleration, taint: &Taint) -> bool {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let (key, effect) = (text(&toleration.key), text(&toleration.effect));
    let operator = toleration.operator.as_deref().filter(|operator| !operator.is_empty()).unwrap_or("Equal");
    (effect.is_empty() || effect == taint.effect)
        && match operator {
            "Exists" => key.is_empty() || key == taint.key,
            "Equal" => key == taint.key && text(&toleration.value) == text(&taint.value),
            // As above.
            _ => key == taint.key,
        }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn node(name: &str, labels: Value, spec: Value) -> Node {
        serde_json::from_value(json!({"metadata": {"name": name, "labels": labels}, "spec": spec})).unwrap()
    }

    fn why(spec: Value, nodes: &[Node]) -> Option<String> {
        let mut pod = json!({"containers": [], "schedulerName": "default-scheduler"});
        pod.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        nowhere(&serde_json::from_value(pod).unwrap(), nodes)
    }

    #[test]
    fn a_pod_that_no_node_would_take_is_told_by_what_each_of_them_lacks() {
        let selector = json!({"nodeSelector": {"disk": "fast"}});
        let fast = node("a", json!({"disk": "fast"}), json!({}));
        let slow = |name: &str| node(name, json!({"disk": "slow"}), json!({}));
        assert_eq!(why(selector.clone(), &[slow("b"), fast.clone()]), None);
        let said = why(selector.clone(), &[slow("b"), slow("c"), slow("d"), slow("e")]).unwrap();
        assert_eq!(said, "b, c, d and 1 more: without the label disk=fast of the nodeSelector");
        let mut cordoned = fast;
        cordoned.spec.as_mut().unwrap().unschedulable = Some(true);
        let said = why(selector.clone(), &[cordoned.clone(), slow("b")]).unwrap();
        assert_eq!(said, "a: cordoned; b: without the label disk=fast of the nodeSelector");
        assert_eq!(why(json!({}), &[]).unwrap(), "there is no node");
        let bears = json!({"tolerations": [{"key": CORDONED, "operator": "Exists"}]});
        assert_eq!(why(bears, &[cordoned.clone()]), None);
        assert_eq!(why(json!({"schedulerName": "mine"}), &[cordoned.clone()]), None, "its rules are not known");
        assert_eq!(why(json!({"nodeName": "a"}), &[cordoned]), None, "no scheduler is asked");
    }

    #[test]
    fn a_taint_that_is_not_tolerated_keeps_a_pod_out() {
        let tainted = |effect: &str| {
            [node("a", json!({}), json!({"taints": [{"key": "gpu", "value": "yes", "effect": effect}]}))]
        };
        for (toleration, is_borne) in [
            (json!({"key": "gpu", "value": "yes"}), true),
            (json!({"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}), true),
            (json!({"operator": "Exists"}), true),
            (json!({"key": "gpu", "value": "no"}), false),
            (json!({"key": "gpu", "operator": "Exists", "effect": "NoExecute"}), false),
            (json!({"key": "other", "operator": "Exists"}), false),
        ] {
            let said = why(json!({"tolerations": [toleration]}), &tainted("NoSchedule"));
            assert_eq!(said.is_none(), is_borne, "{toleration}: {said:?}");
        }
        assert_eq!(why(json!({}), &tainted("NoExecute")).unwrap(), "a: taint gpu=yes:NoExecute");
        assert_eq!(why(json!({}), &tainted("PreferNoSchedule")), None);
    }

    #[test]
    fn of_the_terms_of_an_affinity_one_has_to_hold_whole() {
        let nodes = [node("a", json!({"zone": "z1", "cores": "8"}), json!({}))];
        let fits = |terms: Value| {
            let required = json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}});
            why(json!({"affinity": {"nodeAffinity": required}}), &nodes).is_none()
        };
        let term =
            |key: &str, operator: &str, values: Value| json!({"key": key, "operator": operator, "values": values});
        let (z1, z2) = (term("zone", "In", json!(["z1"])), term("zone", "In", json!(["z2"])));
        assert!(fits(json!([{"matchExpressions": [z2]}, {"matchExpressions": [z1]}])));
        assert!(!fits(json!([{"matchExpressions": [z1, z2]}])));
        assert!(!fits(json!([{}])), "an empty term fits no node");
        for (requirement, holds) in [
            (term("zone", "NotIn", json!(["z1"])), false),
            (term("rack", "NotIn", json!(["r1"])), true),
            (term("zone", "Exists", json!(null)), true),
            (term("zone", "DoesNotExist", json!(null)), false),
            (term("cores", "Gt", json!(["4"])), true),
            (term("cores", "Lt", json!(["4"])), false),
            (term("zone", "Gt", json!(["4"])), false),
        ] {
            assert_eq!(fits(json!([{"matchExpressions": [requirement]}])), holds, "{requirement}");
        }
        assert!(fits(json!([{"matchFields": [term("metadata.name", "In", json!(["a"]))]}])));
        assert!(!fits(json!([{"matchFields": [term("metadata.name", "In", json!(["b"]))]}])));
    }
}
