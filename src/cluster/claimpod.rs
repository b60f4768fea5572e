//! Claims beside the database's: what they are, who uses them, and the pod that reads or fills one.

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, PodTemplateSpec};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::error::Result;
use super::kube::Cluster;
use super::placement::PodPlacement;
use super::pod::{self, HelperPod, PodError};
use super::podrules::MIB;
use super::volumes::mounts;
use super::workloads::workload_of;

const TEMPLATE: &str = include_str!("../../templates/volume-pod.yaml");
/// What the agent may use: chunks in the making, the stream's window, the listing.
const MEMORY_MIB: f64 = 768.0;
/// Whoever the files belong to.
const TO_READ: [&str; 1] = ["DAC_OVERRIDE"];
/// What gives files the owners, modes and times that they had.
const TO_FILL: [&str; 4] = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID"];

/// A pod that has the volume of a claim.
#[derive(Debug, Clone, PartialEq)]
pub struct ClaimPod {
    /// What every helper pod has.
    pub pod: HelperPod,
    pub claim: String,
    /// Whether it may write.
    pub fills: bool,
}

impl ClaimPod {
    /// The manifest.
    ///
    /// # Errors
    /// See [`PodError`].
    pub fn manifest(&self) -> std::result::Result<Pod, PodError> {
        let mut values = self.pod.values(&self.pod.claims(0.0, 0.0, MEMORY_MIB * MIB));
        values.insert("claim", json!(self.claim));
        values.insert("read_only", json!(!self.fills));
        values.insert("capabilities", if self.fills { json!(TO_FILL) } else { json!(TO_READ) });
        Ok(self.pod.site.applied_to(pod::filled("volume-pod.yaml", TEMPLATE, &values)?))
    }
}

/// A pod that mounts a claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimUser {
    pub pod: String,
    /// What made it: `Deployment opschain-api`.
    pub workload: String,
}

/// A claim, and who uses its volume.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ClaimUse {
    pub claim: String,
    /// How much it asks for, as a quantity.
    pub size: String,
    pub storage_class: Option<String>,
    pub access_modes: Vec<String>,
    /// Whether it has a volume.
    pub is_bound: bool,
    /// The pods that mount it and have not ended.
    pub users: Vec<ClaimUser>,
    /// Where a pod that is to mount it goes, where it is in use.
    pub placement: Option<PodPlacement>,
}

impl Cluster {
    /// The claims of these names that there are, in their order.
    ///
    /// # Errors
    /// Claims or pods may not be read.
    pub async fn claims_in_use(&self, names: &[&str]) -> Result<Vec<ClaimUse>> {
        let pods = self.here::<Pod>().list(None).await?;
        let mut found = Vec::new();
        for name in names {
            if let Some(claim) = self.here::<PersistentVolumeClaim>().get_opt(name).await? {
                found.push(in_use(claim, name, &pods));
            }
        }
        Ok(found)
    }

    /// Where the pods will go that mount the claim, once their Deployment or StatefulSet runs.
    ///
    /// # Errors
    /// They may not be listed.
    pub async fn placement_of_users(&self, claim: &str) -> Result<Option<PodPlacement>> {
        let (deployments, sets) = (self.here::<Deployment>(), self.here::<StatefulSet>());
        let (deployments, sets) = tokio::try_join!(deployments.list(None), sets.list(None))?;
        let of_deployment = |found: Deployment| template_placement(None, found.spec?.template, &[], claim);
        let of_set = |found: StatefulSet| {
            let spec = found.spec?;
            let made = spec.volume_claim_templates.unwrap_or_default();
            template_placement(found.metadata.name.as_deref(), spec.template, &made, claim)
        };
        Ok(deployments.into_iter().find_map(of_deployment).or_else(|| sets.into_iter().find_map(of_set)))
    }
}

/// Where the workload's pods go, where they mount the claim.
fn template_placement(
    name: Option<&str>,
    template: PodTemplateSpec,
    of_set: &[PersistentVolumeClaim],
    claim: &str,
) -> Option<PodPlacement> {
    let pod = Pod { spec: template.spec, ..Pod::default() };
    let own = |made: &PersistentVolumeClaim| {
        // `<template>-<set>-<number>`
        let begin = format!("{}-{}-", made.metadata.name.as_deref()?, name?);
        claim.strip_prefix(&begin)?.parse::<u32>().ok()
    };
    let uses = mounts(&pod, claim) || of_set.iter().any(|made| own(made).is_some());
    uses.then(|| PodPlacement::of_pod(&pod))
}

fn in_use(claim: PersistentVolumeClaim, name: &str, pods: &[Pod]) -> ClaimUse {
    let spec = claim.spec.unwrap_or_default();
    let access_modes = spec.access_modes.unwrap_or_default();
    let size = spec.resources.and_then(|resources| resources.requests?.get("storage").cloned());
    let users: Vec<&Pod> = pods.iter().filter(|pod| mounts(pod, name)).collect();
    // What one node has is on no other.
    let is_shared = access_modes.iter().any(|mode| matches!(mode.as_str(), "ReadWriteMany" | "ReadOnlyMany"));
    let on_a_node = users.iter().find(|pod| pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some()));
    let placement = on_a_node.map(|pod| {
        let placement = PodPlacement::of_pod(pod);
        if is_shared { placement } else { placement.on_its_node() }
    });
    ClaimUse {
        claim: name.to_owned(),
        size: size.map(|size| size.0).unwrap_or_default(),
        storage_class: spec.storage_class_name,
        access_modes,
        is_bound: claim.status.and_then(|status| status.phase).is_some_and(|phase| phase == "Bound"),
        users: users.iter().filter_map(|pod| user(pod)).collect(),
        placement,
    }
}

fn user(pod: &Pod) -> Option<ClaimUser> {
    Some(ClaimUser { pod: pod.metadata.name.clone()?, workload: workload_of(&pod.metadata) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(fills: bool) -> Pod {
        let pod =
            ClaimPod { pod: super::super::pod::testing::helper(), claim: "opschain-step-data-claim".into(), fills };
        pod.manifest().unwrap()
    }

    #[test]
    fn the_pod_has_one_volume_and_no_secret_and_writes_only_where_it_is_to() {
        for fills in [false, true] {
            let spec = pod(fills).spec.unwrap();
            let volumes = serde_json::to_value(&spec.volumes).unwrap();
            let claim = json!({"claimName": "opschain-step-data-claim", "readOnly": !fills});
            assert_eq!(volumes[1], json!({"name": "volume", "persistentVolumeClaim": claim}));
            assert_eq!(volumes.as_array().unwrap().len(), 2);
            let container = &spec.containers[0];
            let mounts = serde_json::to_value(&container.volume_mounts).unwrap();
            assert_eq!(mounts[1], json!({"name": "volume", "mountPath": "/volume", "readOnly": !fills}));
            let context = serde_json::to_value(&container.security_context).unwrap();
            assert_eq!(context["capabilities"]["drop"], json!(["ALL"]));
            assert_eq!(context["capabilities"]["add"], if fills { json!(TO_FILL) } else { json!(TO_READ) });
            assert_eq!(
                (&context["allowPrivilegeEscalation"], &context["readOnlyRootFilesystem"]),
                (&json!(false), &json!(true))
            );
            let of_pod = serde_json::to_value(&spec.security_context).unwrap();
            // With a group for the volume, Kubernetes would give all files to it.
            assert_eq!((&of_pod["runAsUser"], &of_pod["fsGroup"]), (&json!(0), &json!(null)));
            assert_eq!(spec.automount_service_account_token, Some(false));
        }
    }

    #[test]
    fn the_pods_that_will_use_a_claim_are_found_by_their_templates() {
        let template: PodTemplateSpec = serde_json::from_value(json!({"spec": {
            "containers": [], "nodeSelector": {"disk": "fast"},
            "volumes": [{"name": "d", "persistentVolumeClaim": {"claimName": "c"}}],
        }}))
        .unwrap();
        let made: PersistentVolumeClaim = serde_json::from_value(json!({"metadata": {"name": "data-vol"}})).unwrap();
        let of = |claim: &str| template_placement(Some("reg"), template.clone(), std::slice::from_ref(&made), claim);
        assert_eq!(of("c").unwrap().node_selector.len(), 1);
        assert!(of("data-vol-reg-0").is_some());
        for other in ["data-vol-reg-x", "data-vol-other-0", "d"] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn a_claim_of_one_node_is_mounted_there_and_one_that_is_shared_anywhere() {
        let used: Pod = serde_json::from_value(json!({
            "metadata": {"name": "api"},
            "spec": {"containers": [], "nodeName": "n7", "nodeSelector": {"disk": "fast"},
                "volumes": [{"name": "d", "persistentVolumeClaim": {"claimName": "c"}}]},
            "status": {"phase": "Running"},
        }))
        .unwrap();
        let claim = |mode: &str| -> PersistentVolumeClaim {
            serde_json::from_value(json!({
                "spec": {"accessModes": [mode], "storageClassName": "fast", "resources": {"requests": {"storage": "5Gi"}}},
                "status": {"phase": "Bound"},
            }))
            .unwrap()
        };
        let required = |found: &ClaimUse| {
            let affinity = found.placement.clone().unwrap().node_affinity;
            affinity.and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution)
        };
        let own = in_use(claim("ReadWriteOnce"), "c", std::slice::from_ref(&used));
        assert_eq!((own.size.as_str(), own.storage_class.as_deref(), own.is_bound), ("5Gi", Some("fast"), true));
        assert_eq!(
            (own.users[0].workload.as_str(), own.placement.as_ref().unwrap().node_selector.len()),
            ("Pod api", 1)
        );
        let terms = serde_json::to_value(required(&own)).unwrap();
        assert_eq!(terms["nodeSelectorTerms"][0]["matchFields"][0]["values"], json!(["n7"]));
        let shared = in_use(claim("ReadWriteMany"), "c", std::slice::from_ref(&used));
        assert!(required(&shared).is_none() && shared.placement.is_some());
        assert_eq!(in_use(claim("ReadWriteOnce"), "other", &[used]).placement, None);
    }
}
