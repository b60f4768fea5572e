//! A pod that has its node pull images, and does nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use serde_json::{Value, json};

use super::pod::{self, HelperSite, PodError};

const TEMPLATE: &str = include_str!("../../templates/images-pod.yaml");
/// Waiting for these, a container has no image and will hardly get one.
const UNPULLED: [&str; 4] = ["ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"];
/// Waiting for these, a container could not be started, from an image that is there.
const UNSTARTED: [&str; 2] = ["CreateContainerError", "RunContainerError"];

/// A pod of one container for each image.
#[derive(Debug, Clone, PartialEq)]
pub struct ImagesPod {
    pub name: String,
    pub namespace: String,
    /// The run that it works for.
    pub run: String,
    pub images: Vec<String>,
    pub site: HelperSite,
    /// After so long Kubernetes ends it, whatever is pulled by then.
    pub deadline: Duration,
}

/// What became of the images, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PulledImages {
    /// How many there are to be.
    pub wanted: usize,
    /// How many are on the node.
    pub pulled: usize,
    /// Which cannot be pulled, and why.
    pub failed: Vec<String>,
}

impl ImagesPod {
    /// The manifest.
    ///
    /// # Errors
    /// See [`PodError`].
    pub fn manifest(&self) -> Result<Pod, PodError> {
        let containers: Vec<Value> = self.images.iter().enumerate().map(|(at, image)| container(at, image)).collect();
        let values = BTreeMap::from([
            ("name", json!(self.name)),
            ("namespace", json!(self.namespace)),
            ("run", json!(self.run)),
            ("deadline_seconds", json!(self.deadline.as_secs())),
            ("containers", json!(containers)),
        ]);
        Ok(self.site.applied_to(pod::filled("images-pod.yaml", TEMPLATE, &values)?))
    }
}

fn container(at: usize, image: &str) -> Value {
    json!({
        "name": format!("image-{at}"),
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["true"],
        "resources": {"requests": {"cpu": "1m", "memory": "8Mi"}, "limits": {"memory": "32Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
        },
    })
}

impl PulledImages {
    /// By what the pod's node says of its containers.
    pub fn of(pod: &Pod) -> Self {
        let statuses = || pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
        Self {
            wanted: pod.spec.as_ref().map_or(0, |spec| spec.containers.len()),
            pulled: statuses().filter(|status| is_pulled(status)).count(),
            failed: statuses().filter_map(unpulled).collect(),
        }
    }
}

/// Its container was made, whatever became of that.
fn is_pulled(status: &ContainerStatus) -> bool {
    let Some(state) = &status.state else { return false };
    let unstarted = waits_for(status).is_some_and(|reason| UNSTARTED.contains(&reason));
    state.running.is_some() || state.terminated.is_some() || unstarted
}

fn unpulled(status: &ContainerStatus) -> Option<String> {
    let reason = waits_for(status).filter(|reason| UNPULLED.contains(reason))?;
    Some(format!("{}: {reason}", status.image))
}

fn waits_for(status: &ContainerStatus) -> Option<&str> {
    status.state.as_ref()?.waiting.as_ref()?.reason.as_deref()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{PodPlacement, RUN_LABEL};

    fn pod(images: &[&str]) -> Pod {
        let placement = PodPlacement { pull_secrets: vec!["registry-pass".into()], ..PodPlacement::default() };
        let pod = ImagesPod {
            name: "dr-restore-1-images".into(),
            namespace: "opschain".into(),
            run: "restore-1".into(),
            images: images.iter().map(|image| (*image).to_owned()).collect(),
            site: HelperSite { placement, ..HelperSite::default() },
            deadline: Duration::from_secs(600),
        };
        pod.manifest().unwrap()
    }

    #[test]
    fn each_image_has_a_container_that_may_do_nothing() {
        let Pod { metadata, spec, .. } = pod(&["registry/a:1", "registry/b:2"]);
        assert_eq!(metadata.labels.unwrap()[RUN_LABEL], "restore-1", "whose end sweeps it");
        let spec = spec.unwrap();
        assert_eq!((spec.restart_policy.as_deref(), spec.active_deadline_seconds), (Some("Never"), Some(600)));
        assert_eq!(spec.termination_grace_period_seconds, Some(0), "deleting it waits for no pull");
        assert_eq!(spec.automount_service_account_token, Some(false));
        assert_eq!(spec.image_pull_secrets.unwrap()[0].name, "registry-pass");
        let security = spec.security_context.unwrap();
        assert_eq!(
            (security.run_as_non_root, security.seccomp_profile.unwrap().type_),
            (Some(true), "RuntimeDefault".into())
        );
        let images: Vec<_> = spec.containers.iter().map(|container| container.image.as_deref().unwrap()).collect();
        assert_eq!(images, ["registry/a:1", "registry/b:2"]);
        for container in spec.containers {
            let security = container.security_context.unwrap();
            assert_eq!((security.allow_privilege_escalation, security.privileged), (Some(false), None));
            assert_eq!(security.capabilities.unwrap().drop, Some(vec!["ALL".into()]));
        }
    }

    #[test]
    fn an_image_is_there_once_its_container_was_made_and_fails_when_the_node_says_so() {
        let status = |name: &str, state: Value| {
            json!({"name": name, "image": format!("registry/{name}"), "imageID": "", "ready": false, "restartCount": 0,
                   "state": state})
        };
        let seen = |states: Vec<Value>| {
            let mut pod = pod(&["registry/a", "registry/b"]);
            pod.status = Some(serde_json::from_value(json!({"containerStatuses": states})).unwrap());
            let PulledImages { wanted, pulled, failed } = PulledImages::of(&pod);
            (wanted, pulled, failed.join(", "))
        };
        let ended = json!({"terminated": {"exitCode": 128, "reason": "StartError"}});
        let waits = |reason: &str| json!({"waiting": {"reason": reason}});
        let none = String::new;
        assert_eq!(seen(vec![]), (2, 0, none()));
        assert_eq!(seen(vec![status("a", ended.clone()), status("b", waits("ContainerCreating"))]), (2, 1, none()));
        let failed = "registry/b: ErrImagePull".to_owned();
        assert_eq!(seen(vec![status("a", ended), status("b", waits("ErrImagePull"))]), (2, 1, failed));
        let made = |name| status(name, waits("RunContainerError"));
        assert_eq!(seen(vec![made("a"), made("b")]), (2, 2, none()));
    }
}
