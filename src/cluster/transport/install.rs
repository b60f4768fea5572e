//! Copies this program into a helper pod, where it becomes the agent.

use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::Api;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::agent::{Agent, Patience};
use super::dial::AgentSession;
use super::error::{Result, TransportError};
use super::exec;
use super::pod::ExecDial;
use crate::cluster::error::{innermost, plain};
use crate::cluster::pod::AGENT;
use crate::event::Events;
use crate::program::StaticProgram;
use crate::trace::{self, CallKind};
use crate::wire::Limits;

/// How often the copy is tried.
const ATTEMPTS: u32 = 4;
/// How long one copy may take.
const COPY: Duration = Duration::from_secs(180);

/// The running program's own file.
///
/// # Errors
/// When the system does not say.
pub fn own_binary() -> Result<PathBuf> {
    std::env::current_exe()
        .map_err(|error| TransportError::Binary { path: "the running program".into(), reason: error.to_string() })
}

impl Agent {
    /// Copies `binary` into a pod that waits for it, verifies it there, and attaches to the agent that it becomes.
    /// Safe to repeat: a pod that has it already is only attached to.
    ///
    /// # Errors
    /// When the file cannot run in a pod, or the copy does not arrive whole.
    pub async fn install(
        pods: Api<Pod>,
        pod: &str,
        binary: &Path,
        run: &str,
        limits: Limits,
        events: Events,
    ) -> Result<Self> {
        let program = StaticProgram::open(binary)
            .map_err(|reason| TransportError::Binary { path: binary.display().to_string(), reason })?;
        let mut cause = String::new();
        for attempt in 1..=ATTEMPTS {
            let copying = copy(&pods, pod, &program);
            match trace::call(CallKind::Exec, format!("copy dr into pod {pod}"), copying).await {
                Ok(()) => {
                    let dial = ExecDial::new(pods, pod);
                    return Ok(Self::over(dial, run, limits, Patience::default(), events));
                }
                Err(error) => cause = error,
            }
            if attempt < ATTEMPTS {
                events.warn(format!("copying dr into pod {pod} failed and is tried again: {cause}"), None);
                tokio::time::sleep(Duration::from_secs(u64::from(attempt))).await;
            }
        }
        Err(TransportError::Install { pod: pod.to_owned(), cause })
    }
}

/// What the pod says when the program is in place. An exit code is no proof, and the end of stdin may never arrive:
/// the length is given, and the sum is made in the pod from what lies there.
const PLACED: &str = "dr-is-in-place";
/// What it says when it has to be sent.
const SEND: &str = "dr-is-wanted";

async fn copy(pods: &Api<Pod>, pod: &str, program: &StaticProgram) -> std::result::Result<(), String> {
    let (length, digest) = (program.length(), program.digest());
    // Length and sum are ours; nothing of the operator's enters the script.
    let script = format!(
        "set -e; if [ ! -x {AGENT} ]; then echo {SEND}; head -c {length} > {AGENT}.tmp; \
         echo '{digest}  {AGENT}.tmp' | sha256sum -c - >/dev/null; chmod 0755 {AGENT}.tmp; mv {AGENT}.tmp {AGENT}; fi; \
         echo '{digest}  {AGENT}' | sha256sum -c - >/dev/null; echo {PLACED}"
    );
    let work = async {
        let opened = exec::open(pods, pod, &["/bin/sh", "-c", &script]).await;
        let AgentSession { reader: mut stdout, writer: mut stdin, words } =
            opened.map_err(|error| innermost(&error))?;
        let (ask, asked) = tokio::sync::oneshot::channel();
        let mut ask = Some(ask);
        let listen = async {
            let mut said = String::new();
            let mut piece = [0; 256];
            while !said.contains(PLACED) {
                match stdout.read(&mut piece).await {
                    Ok(0) => return Err("the session ended before the copy was whole".to_owned()),
                    Ok(count) => said.push_str(&String::from_utf8_lossy(&piece[..count])),
                    Err(error) => return Err(plain(&error)),
                }
                if said.contains(SEND)
                    && let Some(ask) = ask.take()
                {
                    let _ = ask.send(());
                }
            }
            Ok(())
        };
        let feed = async {
            // Bytes that nobody reads would fill the session until it carries nothing any more, its answer included.
            let _ = asked.await;
            let _ = send(program, &mut stdin).await;
            // Held open: closing it may end the session before the answer comes.
            std::future::pending::<()>().await;
        };
        tokio::select! {
            heard = listen => heard.map_err(|said: String| words.last().unwrap_or(said)),
            () = feed => Err("the session ended".to_owned()),
        }
    };
    tokio::time::timeout(COPY, work).await.unwrap_or_else(|_| Err(format!("it took longer than {} s", COPY.as_secs())))
}

async fn send(program: &StaticProgram, to: &mut (impl AsyncWrite + Unpin)) -> std::io::Result<()> {
    for piece in program.pieces() {
        to.write_all(&piece?).await?;
    }
    to.flush().await
}
