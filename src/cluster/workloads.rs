//! Deployments and stateful sets: how many run, scaled and put back, waited for.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ObjectMeta;
use serde::{Deserialize, Serialize};

use super::error::Result;
use super::kube::{Cluster, FIELD_MANAGER};
use super::obstacle::{Obstacle, Standing};
use super::podstate::PodState;
use super::wait::Wait;
use crate::event::Events;

/// The two kinds of workload that an OpsChain install is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum WorkloadKind {
    /// Pods that are all alike.
    Deployment,
    /// Pods with names and volumes of their own.
    StatefulSet,
}

impl fmt::Display for WorkloadKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
        })
    }
}

/// A Deployment or StatefulSet, as far as operations look at it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Workload {
    /// Which of the two.
    pub kind: WorkloadKind,
    pub name: String,
    /// The pods that it is to have.
    pub replicas: i32,
    /// The pods that are ready.
    pub ready: i32,
    /// The pods that are ready and of the newest template.
    pub updated: i32,
    /// All its pods, the ending ones of an older template included.
    pub existing: i32,
    /// Whether its controller has acted on the newest change.
    pub observed: bool,
    /// How often what it is to be was changed: another count, another template, not another annotation.
    pub generation: i64,
    /// The label selector of its pods, as the API server takes it.
    pub selector: String,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    /// Images of its containers as they are written in the template.
    pub images: Vec<String>,
    /// Why the controller says that it gives up, if it does.
    pub failure: Option<String>,
    /// Why the API server makes no pods of it, where it does not.
    pub refused: Option<String>,
    /// Who keeps its replicas by applying them on the server.
    pub applied_by: Option<String>,
    /// Whether somebody has deleted it, and something keeps it: its controller does nothing more with it.
    pub deleted: bool,
    /// Whether somebody has paused its rollout: another template stays without pods until it is resumed.
    pub paused: bool,
}

impl Workload {
    /// Whether it has all its pods, of the newest template, ready, and no other.
    pub fn is_settled(&self) -> bool {
        self.observed && self.updated == self.replicas && self.ready == self.replicas && self.existing == self.replicas
    }

    /// A tool that keeps objects as a repository says, and would undo a scaling: `Argo CD (opschain)`.
    ///
    /// Read from the labels and annotations that Argo CD, Flux and Rancher Fleet put on what they manage, and from whose
    /// the replicas are, where somebody applies them on the server.
    pub fn gitops(&self) -> Option<String> {
        const MARKS: &[(&str, &str)] = &[
            ("argocd.argoproj.io/tracking-id", "Argo CD"),
            ("argocd.argoproj.io/instance", "Argo CD"),
            ("helm.toolkit.fluxcd.io/name", "Flux"),
            ("kustomize.toolkit.fluxcd.io/name", "Flux"),
            ("objectset.rio.cattle.io/id", "Fleet"),
        ];
        let marked = MARKS.iter().find_map(|(mark, tool)| {
            let value = self.labels.get(*mark).or_else(|| self.annotations.get(*mark))?;
            Some(format!("{tool} ({})", value.split(':').next().unwrap_or(value)))
        });
        marked.or_else(|| Some(format!("{} (server-side apply)", self.applied_by.as_ref()?)))
    }

    fn line(&self) -> String {
        format!("{} {}/{} ready", self.name, self.ready, self.replicas)
    }
}

/// A container that runs, with the image that it really runs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RunningImage {
    /// The workload, or the pod itself where it has none: `Deployment opschain-api`.
    pub workload: String,
    /// The container's name.
    pub container: String,
    /// The image as it was asked for.
    pub image: String,
    /// The digest that was pulled, `sha256:...`, where the node knows one.
    pub digest: Option<String>,
}

impl Cluster {
    /// Reads a Deployment; `None` where there is none of the name.
    ///
    /// # Errors
    /// It may not be read.
    pub async fn deployment(&self, name: &str) -> Result<Option<Workload>> {
        Ok(self.here::<Deployment>().get_opt(name).await?.as_ref().map(Workload::from))
    }

    /// Reads a StatefulSet; `None` where there is none of the name.
    ///
    /// # Errors
    /// It may not be read.
    pub async fn stateful_set(&self, name: &str) -> Result<Option<Workload>> {
        Ok(self.here::<StatefulSet>().get_opt(name).await?.as_ref().map(Workload::from))
    }

    /// Lists all Deployments and StatefulSets of the namespace, by kind and name.
    ///
    /// # Errors
    /// They may not be listed.
    pub async fn workloads(&self) -> Result<Vec<Workload>> {
        let (deployments, sets) = (self.here::<Deployment>(), self.here::<StatefulSet>());
        let (deployments, sets) = tokio::try_join!(deployments.list(None), sets.list(None))?;
        let mut all: Vec<Workload> =
            deployments.iter().map(Workload::from).chain(sets.iter().map(Workload::from)).collect();
        all.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
        Ok(all)
    }

    /// Sets the number of replicas, through the scale subresource. Returns at once: the pods come or go after it.
    ///
    /// # Errors
    /// There is no such workload, or it may not be scaled.
    pub async fn scale(&self, kind: WorkloadKind, name: &str, replicas: i32) -> Result<()> {
        match kind {
            WorkloadKind::Deployment => self.here::<Deployment>().scale(name, replicas).await,
            WorkloadKind::StatefulSet => self.here::<StatefulSet>().scale(name, replicas).await,
        }
    }

    /// Sets annotations of a workload, `None` takes one away, and with them the number of replicas where one is given:
    /// in one request, so that no replica count is ever without its notes. Returns at once: pods come or go after it.
    /// Unless it stops the workload, nothing of it is ours afterwards, so that the next deployment may change it.
    ///
    /// # Errors
    /// There is no such workload, or it may not be changed.
    pub async fn adjust(
        &self,
        kind: WorkloadKind,
        name: &str,
        replicas: Option<i32>,
        annotations: &[(&str, Option<String>)],
    ) -> Result<Workload> {
        let mut change = annotation_change(annotations);
        if let Some(replicas) = replicas {
            change["spec"] = serde_json::json!({"replicas": replicas});
        }
        let keep = replicas == Some(0);
        Ok(match kind {
            WorkloadKind::Deployment => Workload::from(&self.here::<Deployment>().change(name, &change, keep).await?),
            WorkloadKind::StatefulSet => Workload::from(&self.here::<StatefulSet>().change(name, &change, keep).await?),
        })
    }

    /// Waits until each of the workloads has all its pods ready and no other. Zero replicas are at once.
    ///
    /// # Errors
    /// One is missing; its pods are not made, and no pod ends that may make room for them; or the limit is over: with the
    /// pod that holds it up and the last lines of its log. A crashing pod does not end the wait before the limit, for it
    /// may be waiting for another that comes up later.
    pub async fn wait_settled(
        &self,
        workloads: &[(WorkloadKind, &str)],
        limit: Duration,
        events: &Events,
    ) -> Result<Vec<Workload>> {
        let names: Vec<&str> = workloads.iter().map(|(_, name)| *name).collect();
        let mut wait = Wait::new(format!("{} to be ready", names.join(", ")), limit, events).within(self.namespace());
        let mut standing = Standing::default();
        loop {
            let mut seen = None;
            let mut slow = None;
            let looks = workloads.iter().map(|(kind, name)| self.must_have(*kind, name));
            if let Some(all) = wait.patient(futures::future::try_join_all(looks).await)? {
                let unsettled: Vec<&Workload> = all.iter().filter(|workload| !workload.is_settled()).collect();
                let Some(first) = unsettled.first() else {
                    return Ok(all);
                };
                let obstacle = self.unmade(&unsettled).await;
                if standing.is_permanent(obstacle.as_ref()) {
                    return Err(wait.given_up(obstacle.map(|obstacle| obstacle.text).unwrap_or_default()));
                }
                slow = wait.patient(self.slowest_pod(first).await)?.flatten();
                let mut parts: Vec<String> = unsettled.iter().map(|workload| workload.line()).collect();
                parts.extend(first.failure.clone());
                parts.extend(slow.as_ref().map(PodState::line));
                seen = Some(parts.join("; "));
            }
            if let Err(error) = wait.not_yet(seen).await {
                return Err(match &slow {
                    Some(pod) => error.with_log(self.telling_log(pod).await),
                    None => error,
                });
            }
        }
    }

    /// Names the autoscalers of the namespace that would set the replicas of the named workloads back.
    ///
    /// # Errors
    /// They may not be listed.
    pub async fn autoscalers(&self, names: &[&str]) -> Result<Vec<(String, String)>> {
        let all = self.here::<HorizontalPodAutoscaler>().list(None).await?;
        let target = |scaler: HorizontalPodAutoscaler| {
            let target = scaler.spec?.scale_target_ref;
            let target = (target.kind == "Deployment").then_some(target.name)?;
            names.contains(&target.as_str()).then(|| (scaler.metadata.name.unwrap_or_default(), target))
        };
        Ok(all.into_iter().filter_map(target).collect())
    }

    /// Lists what runs in the namespace with the digests that the nodes pulled, each once, in order.
    ///
    /// # Errors
    /// The pods may not be listed.
    pub async fn running_images(&self) -> Result<Vec<RunningImage>> {
        let pods = self.pods(None).await?;
        let images: BTreeSet<RunningImage> = pods.iter().flat_map(images_of).collect();
        Ok(images.into_iter().collect())
    }

    async fn must_have(&self, kind: WorkloadKind, name: &str) -> Result<Workload> {
        Ok(match kind {
            WorkloadKind::Deployment => Workload::from(&self.here::<Deployment>().get(name).await?),
            WorkloadKind::StatefulSet => Workload::from(&self.here::<StatefulSet>().get(name).await?),
        })
    }

    /// Why pods of one of the workloads are not made. What may not be looked at is no obstacle, and while a pod of the
    /// namespace is ending there may be room in a moment.
    async fn unmade(&self, workloads: &[&Workload]) -> Option<Obstacle> {
        let (name, words) = workloads.iter().find_map(|one| Some((&one.name, one.refused.as_ref()?)))?;
        let pods = self.pods(None).await.ok()?;
        let ending = pods.iter().any(|pod| pod.metadata.deletion_timestamp.is_some());
        (!ending).then(|| Obstacle::no_pods(name, words))
    }

    /// The pod of a workload that says most of why it is not ready: one with a reason before one without.
    async fn slowest_pod(&self, workload: &Workload) -> Result<Option<PodState>> {
        let mut pods = self.pod_states(Some(&workload.selector)).await?;
        pods.retain(|pod| !pod.ready || pod.deleting);
        pods.sort_by_key(|pod| (pod.reason.is_none(), pod.deleting));
        Ok(pods.into_iter().next())
    }
}

/// The merge patch that sets and takes away annotations.
pub(super) fn annotation_change(annotations: &[(&str, Option<String>)]) -> serde_json::Value {
    let map: serde_json::Map<String, serde_json::Value> =
        annotations.iter().map(|(key, value)| ((*key).to_owned(), value.clone().into())).collect();
    serde_json::json!({"metadata": {"annotations": map}})
}

fn images_of(pod: &Pod) -> Vec<RunningImage> {
    let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    let workload = workload_of(&pod.metadata);
    let image = |status: &k8s_openapi::api::core::v1::ContainerStatus| RunningImage {
        workload: workload.clone(),
        container: status.name.clone(),
        image: status.image.clone(),
        digest: status.image_id.rfind("sha256:").map(|at| status.image_id[at..].to_owned()),
    };
    statuses.map(image).collect()
}

/// The workload that a pod belongs to. A Deployment's pods are owned by a replica set that is named after it and the
/// hash of the template, which the pods wear as a label.
pub(super) fn workload_of(pod: &ObjectMeta) -> String {
    let name = pod.name.as_deref().unwrap_or_default();
    let Some(owner) = pod.owner_references.iter().flatten().find(|owner| owner.controller == Some(true)) else {
        return format!("Pod {name}");
    };
    let hash = pod.labels.as_ref().and_then(|labels| labels.get("pod-template-hash"));
    match (owner.kind.as_str(), hash) {
        ("ReplicaSet", Some(hash)) => {
            format!("Deployment {}", owner.name.strip_suffix(&format!("-{hash}")).unwrap_or(&owner.name))
        }
        (kind, _) => format!("{kind} {}", owner.name),
    }
}

/// Who applies the replicas on the server and so sets them back. Helm does once, at a deployment, under the name of its
/// program; `dr` gives them up again.
fn applied_by(meta: &ObjectMeta) -> Option<String> {
    let ours =
        |manager: &str| manager == FIELD_MANAGER || (manager.starts_with("helm") && manager != "helm-controller");
    let applies = meta.managed_fields.iter().flatten().find(|entry| {
        let fields = entry.fields_v1.as_ref().map(|fields| &fields.0);
        entry.operation.as_deref() == Some("Apply")
            && fields.is_some_and(|fields| fields.pointer("/f:spec/f:replicas").is_some())
            && entry.manager.as_deref().is_some_and(|manager| !ours(manager))
    });
    applies.and_then(|entry| entry.manager.clone())
}

fn selector(labels: Option<&BTreeMap<String, String>>) -> String {
    labels.into_iter().flatten().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

impl From<&Deployment> for Workload {
    fn from(object: &Deployment) -> Self {
        let (meta, spec, status) = (&object.metadata, object.spec.as_ref(), object.status.as_ref());
        let replicas = spec.and_then(|s| s.replicas).unwrap_or(1);
        let containers = spec.and_then(|s| s.template.spec.as_ref()).map(|s| s.containers.as_slice());
        let conditions = status.and_then(|s| s.conditions.as_deref()).unwrap_or_default();
        let refused = conditions.iter().find(|c| c.type_ == "ReplicaFailure" && c.status == "True");
        let failure = refused.or_else(|| conditions.iter().find(|c| c.type_ == "Progressing" && c.status == "False"));
        Self {
            kind: WorkloadKind::Deployment,
            name: meta.name.clone().unwrap_or_default(),
            replicas,
            ready: status.and_then(|s| s.ready_replicas).unwrap_or(0),
            updated: status.and_then(|s| s.updated_replicas).unwrap_or(0),
            existing: status.and_then(|s| s.replicas).unwrap_or(0),
            observed: status.and_then(|s| s.observed_generation) >= meta.generation,
            generation: meta.generation.unwrap_or_default(),
            selector: selector(spec.and_then(|s| s.selector.match_labels.as_ref())),
            labels: meta.labels.clone().unwrap_or_default(),
            annotations: meta.annotations.clone().unwrap_or_default(),
            images: containers.unwrap_or_default().iter().filter_map(|c| c.image.clone()).collect(),
            failure: failure.and_then(|c| c.message.clone().or_else(|| c.reason.clone())),
            refused: refused.and_then(|c| c.message.clone()),
            applied_by: applied_by(meta),
            deleted: meta.deletion_timestamp.is_some(),
            paused: spec.and_then(|s| s.paused) == Some(true),
        }
    }
}

impl From<&StatefulSet> for Workload {
    fn from(object: &StatefulSet) -> Self {
        let (meta, spec, status) = (&object.metadata, object.spec.as_ref(), object.status.as_ref());
        let replicas = spec.and_then(|s| s.replicas).unwrap_or(1);
        let containers = spec.and_then(|s| s.template.spec.as_ref()).map(|s| s.containers.as_slice());
        let on_delete = spec.and_then(|s| s.update_strategy.as_ref()?.type_.as_deref()) == Some("OnDelete");
        let existing = status.map_or(0, |s| s.replicas);
        // With OnDelete the pods stay as they are until somebody deletes them: that is settled.
        let updated = if on_delete { existing } else { status.and_then(|s| s.updated_replicas).unwrap_or(0) };
        Self {
            kind: WorkloadKind::StatefulSet,
            name: meta.name.clone().unwrap_or_default(),
            replicas,
            ready: status.and_then(|s| s.ready_replicas).unwrap_or(0),
            updated,
            existing,
            observed: status.and_then(|s| s.observed_generation) >= meta.generation,
            generation: meta.generation.unwrap_or_default(),
            selector: selector(spec.and_then(|s| s.selector.match_labels.as_ref())),
            labels: meta.labels.clone().unwrap_or_default(),
            annotations: meta.annotations.clone().unwrap_or_default(),
            images: containers.unwrap_or_default().iter().filter_map(|c| c.image.clone()).collect(),
            failure: None,
            refused: None,
            applied_by: applied_by(meta),
            deleted: meta.deletion_timestamp.is_some(),
            paused: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(status: serde_json::Value) -> Workload {
        let object: Deployment = serde_json::from_value(serde_json::json!({
            "metadata": {
                "name": "opschain-api",
                "generation": 4,
                "annotations": {"argocd.argoproj.io/tracking-id": "opschain-prod:apps/Deployment:opschain/opschain-api"},
            },
            "spec": {
                "replicas": 2,
                "selector": {"matchLabels": {"app": "opschain-api"}},
                "template": {"spec": {"containers": [{"name": "api", "image": "limepoint/opschain-api:2026-08-20"}]}},
            },
            "status": status,
        }))
        .unwrap();
        Workload::from(&object)
    }

    #[test]
    fn a_rollout_is_settled_only_when_old_pods_are_gone_and_the_newest_change_was_seen() {
        let status = |replicas: i32, generation: i64| {
            serde_json::json!({
                "replicas": replicas, "readyReplicas": 2, "updatedReplicas": 2, "observedGeneration": generation,
            })
        };
        assert!(api(status(2, 4)).is_settled());
        assert!(!api(status(3, 4)).is_settled());
        assert!(!api(status(2, 3)).is_settled());
        assert!(!api(serde_json::json!({})).is_settled());
    }

    #[test]
    fn the_tool_that_would_undo_a_scaling_is_named() {
        assert_eq!(api(serde_json::json!({})).gitops().unwrap(), "Argo CD (opschain-prod)");
    }

    #[test]
    fn a_controller_that_gives_up_says_why() {
        let condition = serde_json::json!({
            "type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded",
            "message": "ReplicaSet \"opschain-api-7\" has timed out progressing.",
        });
        let workload = api(serde_json::json!({"conditions": [condition]}));
        assert_eq!(workload.failure.unwrap(), "ReplicaSet \"opschain-api-7\" has timed out progressing.");
        assert_eq!(workload.refused, None, "a slow one may come up yet");
        let message = "pods \"opschain-api-7-x\" is forbidden: exceeded quota: q";
        let condition = serde_json::json!({"type": "ReplicaFailure", "status": "True", "message": message});
        assert_eq!(api(serde_json::json!({"conditions": [condition]})).refused.unwrap(), message);
    }

    #[test]
    fn who_applies_the_replicas_on_the_server_is_named_and_whoever_set_them_once_is_not() {
        let by = |manager: &str, operation: &str, field: &str| {
            let entry = serde_json::json!({
                "manager": manager, "operation": operation, "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {field: {}}},
            });
            applied_by(&serde_json::from_value(serde_json::json!({"managedFields": [entry]})).unwrap())
        };
        assert_eq!(by("argocd-controller", "Apply", "f:replicas").unwrap(), "argocd-controller");
        assert_eq!(by("helm-controller", "Apply", "f:replicas").unwrap(), "helm-controller");
        assert_eq!(by("argocd-controller", "Apply", "f:template"), None);
        for (manager, operation) in [("helm", "Apply"), ("helm4", "Apply"), ("dr", "Apply"), ("kubectl", "Update")] {
            assert_eq!(by(manager, operation, "f:replicas"), None, "{manager}");
        }
        let mut workload = api(serde_json::json!({}));
        workload.annotations.clear();
        workload.applied_by = Some("argocd-controller".into());
        assert_eq!(workload.gitops().unwrap(), "argocd-controller (server-side apply)");
    }

    #[test]
    fn an_image_is_listed_with_the_digest_that_the_node_pulled() {
        let pod: Pod = serde_json::from_value(serde_json::json!({
            "metadata": {
                "name": "opschain-api-7d9-x",
                "labels": {"pod-template-hash": "7d9"},
                "ownerReferences": [
                    {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "opschain-api-7d9", "uid": "u", "controller": true},
                ],
            },
            "status": {"containerStatuses": [{
                "name": "api", "image": "limepoint/opschain-api:2026-08-20", "ready": true, "restartCount": 0,
                "imageID": "docker.io/limepoint/opschain-api@sha256:0a1b",
            }]},
        }))
        .unwrap();
        let image = images_of(&pod).remove(0);
        assert_eq!(
            (image.workload.as_str(), image.digest.as_deref()),
            ("Deployment opschain-api", Some("sha256:0a1b"))
        );
    }
}
