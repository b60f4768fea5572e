//! Sessions by exec into a pod.

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::api::Api;

use super::dial::{AgentSession, Dial, DialError};
use super::exec;
use crate::cluster::error::innermost;
use crate::cluster::pod::{AGENT, CONTAINER, SOCKET};

/// Opens sessions by exec into a pod.
pub(super) struct ExecDial {
    pods: Api<Pod>,
    pod: String,
}

impl ExecDial {
    /// Sessions with the agent in `pod`.
    pub fn new(pods: Api<Pod>, pod: &str) -> Self {
        Self { pods, pod: pod.to_owned() }
    }

    async fn open(&self) -> Result<AgentSession, DialError> {
        let permanent = |message: String| DialError { message, permanent: true };
        match self.pods.get_opt(&self.pod).await {
            Ok(None) => return Err(permanent(format!("pod {} is gone", self.pod))),
            Ok(Some(pod)) => {
                if let Some(end) = ended(&pod) {
                    return Err(permanent(format!("pod {} {end}", self.pod)));
                }
            }
            Err(error) => return Err(refusal(&error)),
        }
        let command = [AGENT, "agent", "attach", "--socket", SOCKET];
        exec::open(&self.pods, &self.pod, &command).await.map_err(|error| refusal(&error))
    }
}

/// How a pod has ended, if it has: its agent will not come back.
fn ended(pod: &Pod) -> Option<String> {
    if pod.metadata.deletion_timestamp.is_some() {
        return Some("is being deleted".into());
    }
    let status = pod.status.as_ref()?;
    let phase = status.phase.as_deref()?;
    if !matches!(phase, "Failed" | "Succeeded") {
        return None;
    }
    let own = |container: &&ContainerStatus| container.name == CONTAINER;
    let terminated = status.container_statuses.iter().flatten().find(own).and_then(|container| {
        container.state.as_ref()?.terminated.as_ref().map(|end| match (&end.reason, &end.message) {
            (Some(reason), Some(message)) => format!("{reason}, {}", message.trim()),
            (Some(reason), None) => format!("{reason}, exit code {}", end.exit_code),
            _ => format!("exit code {}", end.exit_code),
        })
    });
    let why = status.message.clone().or_else(|| status.reason.clone()).or(terminated);
    Some(format!("has ended ({})", why.unwrap_or_else(|| phase.to_lowercase())))
}

fn refusal(error: &kube::Error) -> DialError {
    let permanent = matches!(error, kube::Error::Api(status) if matches!(status.code, 401 | 403));
    DialError { message: innermost(error), permanent }
}

impl Dial for ExecDial {
    fn dial(&self) -> BoxFuture<'_, Result<AgentSession, DialError>> {
        Box::pin(self.open())
    }

    fn describe(&self) -> String {
        format!("the agent in pod {}", self.pod)
    }
}
