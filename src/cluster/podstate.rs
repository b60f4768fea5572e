//! What a pod's status says, in the words that an operator looks for.

use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, Pod, PodStatus};
use serde::Serialize;

/// Reasons after which a pod does not start without somebody's help.
const STUCK: &[&str] =
    &["ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "CreateContainerConfigError", "CrashLoopBackOff"];

/// A pod, summed up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PodState {
    pub name: String,
    /// Pending, Running, Succeeded, Failed or Unknown.
    pub phase: String,
    /// Whether the pod's condition `Ready` holds.
    pub ready: bool,
    /// Whether the pod is being deleted.
    pub deleting: bool,
    /// Why it is not ready, such as `CrashLoopBackOff: back-off 40s restarting`.
    pub reason: Option<String>,
    /// Whether `reason` is one that does not pass by itself.
    pub stuck: bool,
    /// The container that `reason` is about, or that is not ready yet.
    pub container: Option<String>,
    /// Restarts of all its containers.
    pub restarts: i32,
}

impl PodState {
    /// Sums up a pod.
    pub fn of(pod: &Pod) -> Self {
        let status = pod.status.as_ref();
        let containers = status.map(|s| {
            let init = s.init_container_statuses.iter().flatten();
            init.chain(s.container_statuses.iter().flatten()).collect::<Vec<_>>()
        });
        let containers = containers.unwrap_or_default();
        let condition = |kind: &str| status?.conditions.iter().flatten().find(|c| c.type_ == kind);
        let ready = condition("Ready").is_some_and(|c| c.status == "True");
        let held_up = containers.iter().find_map(|c| trouble(c).map(|reason| (c.name.clone(), reason)));
        let unscheduled = condition("PodScheduled")
            .filter(|c| c.status == "False")
            .map(|c| shortened(c.reason.as_deref().unwrap_or("not scheduled"), c.message.as_deref()));
        let evicted = status.and_then(|s| s.reason.as_deref().map(|r| shortened(r, s.message.as_deref())));
        let (container, reason) = match (held_up, evicted.or(unscheduled)) {
            (Some((container, reason)), None) => (Some(container), Some(reason)),
            (_, Some(reason)) => (None, Some(reason)),
            (None, None) => (not_ready(status), None),
        };
        Self {
            name: pod.metadata.name.clone().unwrap_or_default(),
            phase: status.and_then(|s| s.phase.clone()).unwrap_or_else(|| "Unknown".into()),
            ready,
            deleting: pod.metadata.deletion_timestamp.is_some(),
            stuck: reason.as_deref().is_some_and(|r| STUCK.contains(&r.split(':').next().unwrap_or_default())),
            reason: if ready { None } else { reason },
            container,
            restarts: containers.iter().map(|c| c.restart_count).sum(),
        }
    }

    /// Whether its containers have all ended.
    pub fn ended(&self) -> bool {
        matches!(self.phase.as_str(), "Succeeded" | "Failed")
    }

    /// A line for people: `opschain-api-7d9 CrashLoopBackOff: back-off 40s`.
    pub fn line(&self) -> String {
        let state = match (&self.reason, self.deleting, self.ready) {
            (_, true, _) => "terminating",
            (Some(reason), ..) => reason,
            (None, _, true) => "ready",
            (None, _, false) if self.phase == "Running" => "running, not ready",
            (None, ..) => &self.phase,
        };
        format!("{} {state}", self.name)
    }
}

/// The first of its containers that runs and does not serve yet.
fn not_ready(status: Option<&PodStatus>) -> Option<String> {
    status?
        .container_statuses
        .iter()
        .flatten()
        .find(|container| !container.ready)
        .map(|container| container.name.clone())
}

/// What holds a container up, if anything does.
fn trouble(container: &ContainerStatus) -> Option<String> {
    let ContainerState { waiting, terminated, .. } = container.state.as_ref()?;
    if let Some(waiting) = waiting {
        let reason = waiting.reason.as_deref().unwrap_or("waiting");
        return (reason != "PodInitializing").then(|| shortened(reason, waiting.message.as_deref()));
    }
    let ended = terminated.as_ref()?;
    if ended.exit_code == 0 {
        return None;
    }
    let reason = ended.reason.as_deref().unwrap_or("Error");
    Some(shortened(&format!("{reason}: exit code {}", ended.exit_code), ended.message.as_deref()))
}

/// Reason and message on one line of bearable length.
pub(super) fn shortened(reason: &str, message: Option<&str>) -> String {
    const LONGEST: usize = 160;
    let message = message.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
    if message.is_empty() {
        return reason.to_owned();
    }
    match message.char_indices().nth(LONGEST) {
        Some((cut, _)) => format!("{reason}: {}...", &message[..cut]),
        None => format!("{reason}: {message}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(name: &str) -> Vec<PodState> {
        let text = std::fs::read_to_string(format!("{}/fixtures/kube/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        let list: serde_json::Value = serde_json::from_str(&text).unwrap();
        let pods = list["items"].as_array().unwrap().iter();
        pods.map(|pod| PodState::of(&serde_json::from_value(pod.clone()).unwrap())).collect()
    }

    #[test]
    fn each_pod_says_what_holds_it_up() {
        let lines: Vec<String> = recorded("pods.json").iter().map(PodState::line).collect();
        assert_eq!(
            lines,
            [
                "opschain-api-6f7c9d5b8-x2x4q CrashLoopBackOff: back-off 40s restarting failed container=api",
                "opschain-api-worker-5d4f-2k8zj ready",
                "opschain-db-1 running, not ready",
                "dr-helper ImagePullBackOff: Back-off pulling image \"limepoint/opschain-db:17.5\"",
                "change-81 Unschedulable: 0/1 nodes are available: 1 Insufficient memory.",
                "opschain-db-1-initdb-7xk2p Error: exit code 3",
                "opschain-api-6f7c9d5b8-old terminating",
            ]
        );
    }

    #[test]
    fn whose_log_to_read_is_known_of_what_fails_and_of_what_does_not_serve_yet() {
        let pods = recorded("pods.json");
        let containers: Vec<Option<&str>> = pods.iter().map(|pod| pod.container.as_deref()).collect();
        assert_eq!(
            containers,
            [Some("api"), None, Some("postgres"), Some("agent"), None, Some("initdb"), None],
            "{pods:?}"
        );
    }

    #[test]
    fn only_what_does_not_pass_by_itself_counts_as_stuck() {
        let stuck: Vec<bool> = recorded("pods.json").iter().map(|pod| pod.stuck).collect();
        assert_eq!(stuck, [true, false, false, true, false, false, false]);
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let text = shortened("Reason", Some(&"ä".repeat(400)));
        assert_eq!(text.chars().filter(|c| *c == 'ä').count(), 160);
    }
}
