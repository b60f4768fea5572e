//! The first process of the helper pod: it keeps the link while sessions come and go.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Mutex;
use tokio::task::{JoinHandle, JoinSet};

use super::callers::{Caller, Callers, refuse};
use super::host::PodFiles;
use super::watchdog::{Heard, Watchdog};
use super::worker::{Worker, WorkerEnd};
use crate::wire::{Conduit, Decoder, Limits, Link, LinkError};

/// Why the agent, or an attachment to it, failed.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The socket cannot be made.
    #[error("listen on {socket}")]
    Listen {
        socket: String,
        #[source]
        source: std::io::Error,
    },
    /// There is no agent to attach to.
    #[error("connect to the agent at {socket}")]
    Connect {
        socket: String,
        #[source]
        source: std::io::Error,
    },
    /// Carrying bytes failed.
    #[error("carry bytes between the session and the agent")]
    Carry(#[source] std::io::Error),
    /// Signals cannot be listened for.
    #[error("listen for signals")]
    Signals(#[source] std::io::Error),
    /// Nobody was attached for so long that the run must be dead.
    #[error("nobody was attached for {0} minutes")]
    Abandoned(u64),
}

/// How an agent is to serve.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// Where it listens: a unix socket that only its own user may use.
    pub socket: PathBuf,
    /// The run that it works for; sessions of any other are refused.
    pub run: String,
    /// How long it waits for somebody to attach before it ends itself.
    pub idle: Duration,
    /// Where things are in the pod.
    pub files: PodFiles,
    /// Bounds and times of the link.
    pub limits: Limits,
}

/// The link that is being worked for.
struct Current {
    name: String,
    conduit: Conduit,
    worker: JoinHandle<WorkerEnd>,
}

impl Drop for Current {
    fn drop(&mut self) {
        self.conduit.close(LinkError::Ended("a newer process of the run has taken over".into()));
        self.worker.abort();
    }
}

/// Serves until the client says that it is done, TERM comes, or nobody is attached for too long. A session of the link
/// at work goes on with it; one of a new link (a new process of the same run) ends the old work and begins anew.
///
/// A watchdog acts when nothing was heard of any link for too long; it ends with this.
///
/// TERM ends the process at once, whatever its threads do: nothing that it holds is needed by the next run.
///
/// # Errors
/// When the socket cannot be made, or the agent was abandoned.
pub async fn serve(options: ServeOptions, watchdog: Option<Watchdog>) -> Result<(), AgentError> {
    let listener = listen(&options)?;
    let heard = Heard::now();
    let mut watching = JoinSet::new();
    if let Some(watchdog) = watchdog {
        watching.spawn(watchdog.watch(heard.clone()));
    }
    let mut term = signal(SignalKind::terminate()).map_err(AgentError::Signals)?;
    let volume = Arc::new(Mutex::new(()));
    let (callers, mut arrived) = Callers::of(&options.run);
    let (attached, sessions) = (Arc::new(()), Instant::now());
    let mut current: Option<Current> = None;
    // Links whose work was given up: a process that still holds one must not take the work back from its successor.
    let mut retired: Vec<String> = Vec::new();
    let mut last_attached = sessions;
    let mut tick = tokio::time::interval(Duration::from_secs(1).min(options.idle));
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    tokio::spawn(callers.clone().greet(Box::new(stream)));
                }
            }
            Some(caller) = arrived.recv() => {
                if retired.contains(&caller.hello.link) {
                    tokio::spawn(refuse(caller.stream, "a newer process of the run has taken over".into()));
                    continue;
                }
                let link = match &current {
                    Some(link) if link.name == caller.hello.link => link,
                    _ => {
                        retired.extend(current.take().map(|old| old.name.clone()));
                        current.insert(begin(&options, &caller.hello.link, volume.clone(), callers.clone()))
                    }
                };
                let (conduit, attached, heard) = (link.conduit.clone(), attached.clone(), heard.clone());
                tokio::spawn(async move {
                    carry(conduit, caller, &heard).await;
                    drop(attached);
                });
            }
            ended = finished(&mut current) => {
                retired.extend(current.take().map(|old| old.name.clone()));
                if ended == Some(WorkerEnd::Finished) {
                    break;
                }
            }
            _ = term.recv() => end_at_once(),
            _ = tick.tick() => {
                if Arc::strong_count(&attached) > 1 {
                    last_attached = Instant::now();
                } else if last_attached.elapsed() > options.idle {
                    return Err(AgentError::Abandoned(options.idle.as_secs() / 60));
                }
            }
        }
    }
    // The socket's file would only mislead a late session.
    let _ = std::fs::remove_file(&options.socket);
    Ok(())
}

/// Ends the process. Its threads may be in the middle of a chunk or a sync, which the runtime would wait for; and as
/// first process of a pod it is only killed by force after the grace period.
#[expect(clippy::exit, clippy::disallowed_methods, reason = "TERM must end the pod at once, see above")]
fn end_at_once() {
    std::process::exit(143);
}

fn listen(options: &ServeOptions) -> Result<UnixListener, AgentError> {
    let bind = || {
        match std::fs::remove_file(&options.socket) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&options.socket)?;
        std::fs::set_permissions(&options.socket, std::fs::Permissions::from_mode(0o600))?;
        Ok(listener)
    };
    bind().map_err(|source| AgentError::Listen { socket: options.socket.display().to_string(), source })
}

fn begin(options: &ServeOptions, name: &str, volume: Arc<Mutex<()>>, callers: Callers) -> Current {
    let conduit = Conduit::new(Link::new(&options.run, name, options.limits));
    let (end, files, run) = (conduit.clone(), options.files.clone(), options.run.clone());
    let worker = tokio::spawn(async move {
        // Waits until threads of an earlier worker have let go of the folders.
        let guard = Arc::new(volume.lock_owned().await);
        Worker::new(end, files, run, guard, callers).work().await
    });
    Current { name: name.to_owned(), conduit, worker }
}

/// Waits for the worker's end; for ever while there is none.
async fn finished(current: &mut Option<Current>) -> Option<WorkerEnd> {
    match current {
        Some(link) => (&mut link.worker).await.ok(),
        None => std::future::pending().await,
    }
}

async fn carry(conduit: Conduit, caller: Caller, heard: &Heard) {
    let Caller { stream, decoder, greeting, .. } = caller;
    let (reader, writer) = tokio::io::split(stream);
    // The greeting was read to know the link; the link itself wants to see it too.
    let mut rest = Decoder::default();
    rest.buffer().extend_from_slice(&greeting.header());
    rest.buffer().extend_from_slice(&greeting.payload);
    let mut read = decoder;
    let unread = std::mem::take(read.buffer());
    rest.buffer().extend_from_slice(&unread);
    conduit.session(heard.listen(reader), writer, rest).await;
}
