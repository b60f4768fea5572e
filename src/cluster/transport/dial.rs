//! How a session with an agent is opened: by exec into its pod, or over a local socket.

use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, AttachParams, AttachedProcess};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, BufReader};

use crate::cluster::error::innermost;
use crate::cluster::pod::{AGENT, SOCKET};

/// The library's own buffers are 1 KiB, which makes every kilobyte a wake-up.
const BUFFER: usize = 1 << 20;

/// One open session.
pub struct AgentSession {
    /// What the agent sends.
    pub reader: Box<dyn AsyncRead + Send + Unpin>,
    /// What is sent to it.
    pub writer: Box<dyn AsyncWrite + Send + Unpin>,
    /// What was said beside the stream.
    pub words: Words,
    /// Ends the session when dropped.
    pub keep: Option<AttachedProcess>,
}

/// What a session's program wrote to stderr: its last line tells why a session ended.
#[derive(Clone, Default)]
pub struct Words(Arc<Mutex<Option<String>>>);

impl Words {
    /// The last line.
    pub fn last(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn say(&self, line: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(line);
    }
}

/// Why no session could be opened.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct DialError {
    /// Lower-case, for people.
    pub message: String,
    /// Whether trying again is of no use.
    pub permanent: bool,
}

/// Opens sessions with one agent.
pub trait Dial: Send + Sync + 'static {
    fn dial(&self) -> BoxFuture<'_, Result<AgentSession, DialError>>;
    /// Whom it speaks to, for people: `the agent in pod opschain/dr-backup-1`.
    fn describe(&self) -> String;
}

/// Opens sessions by exec into a pod.
pub struct ExecDial {
    pods: Api<Pod>,
    pod: String,
}

impl ExecDial {
    /// Sessions with the agent in `pod`.
    pub fn new(pods: Api<Pod>, pod: impl Into<String>) -> Self {
        Self { pods, pod: pod.into() }
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
        let params = AttachParams::default()
            .stdin(true)
            .stdout(true)
            .stderr(true)
            .max_stdin_buf_size(BUFFER)
            .max_stdout_buf_size(BUFFER)
            .max_stderr_buf_size(64 << 10);
        let command = [AGENT, "agent", "attach", "--socket", SOCKET];
        let mut process = self.pods.exec(&self.pod, command, &params).await.map_err(|error| refusal(&error))?;
        let streams = (process.stdin(), process.stdout(), process.stderr());
        let (Some(writer), Some(reader), Some(stderr)) = streams else {
            return Err(DialError { message: "the exec session has no streams".into(), permanent: false });
        };
        let words = Words::default();
        let heard = words.clone();
        // One task of the library serves all streams of a session: stderr is drained at all times, or stdout stalls.
        tokio::spawn(async move {
            let mut lines = BufReader::new(stderr).split(b'\n');
            while let Ok(Some(line)) = lines.next_segment().await {
                let line = String::from_utf8_lossy(&line).trim().to_owned();
                if !line.is_empty() {
                    heard.say(line);
                }
            }
        });
        Ok(AgentSession { reader: Box::new(reader), writer: Box::new(writer), words, keep: Some(process) })
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
    let terminated = status.container_statuses.iter().flatten().find_map(|container| {
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
