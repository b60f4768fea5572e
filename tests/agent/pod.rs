//! What stands in for a pod: an agent served in this process, and ways to it that break.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use dr::internals::agent::{AgentError, PodFiles, ServeOptions, Watchdog, serve};
use dr::internals::cluster::transport::{Agent, AgentSession, Dial, DialError, Patience, Words};
use dr::internals::event::{Event, Events};
use dr::internals::wire::Limits;
use futures::future::BoxFuture;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::JoinHandle;

/// Short times, so that a broken session is noticed within a test.
pub const LIMITS: Limits =
    Limits { window: 8 << 20, beat: Duration::from_millis(200), deadline: Duration::from_secs(3) };
const PATIENCE: Patience = Patience {
    outage: Duration::from_secs(20),
    first_pause: Duration::from_millis(5),
    longest_pause: Duration::from_millis(100),
    straight_pause: Duration::from_millis(50),
};

/// A pod with an agent in it.
pub struct Pod {
    pub folder: tempfile::TempDir,
    pub agent: JoinHandle<Result<(), AgentError>>,
    pub warnings: Arc<Mutex<Vec<String>>>,
    pub logs: Arc<Mutex<Vec<String>>>,
}

impl Pod {
    pub fn start(run: &str) -> Self {
        Self::start_with(run, Duration::from_secs(60))
    }

    pub fn start_with(run: &str, idle: Duration) -> Self {
        Self::watched(run, idle, None)
    }

    pub fn watched(run: &str, idle: Duration, watchdog: Option<Watchdog>) -> Self {
        let folder = folder();
        let agent = tokio::spawn(serve(options(folder.path(), run, idle), watchdog));
        Self { folder, agent, warnings: Arc::default(), logs: Arc::default() }
    }

    /// A pod without an agent yet: see [`AgentProcess`].
    pub fn empty() -> Self {
        let agent = tokio::spawn(async { Ok(()) });
        Self { folder: folder(), agent, warnings: Arc::default(), logs: Arc::default() }
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("agent.sock")
    }

    pub fn pgdata(&self) -> PathBuf {
        self.folder.path().join("volume/pgdata")
    }

    fn events(&self) -> Events {
        let (warnings, logs) = (self.warnings.clone(), self.logs.clone());
        Events::to(move |event| match event {
            Event::Warning { message, .. } => warnings.lock().unwrap().push(message),
            Event::Log { line, .. } => logs.lock().unwrap().push(line),
            _ => {}
        })
    }

    /// Waits, on a thread that may block, for what its folder shows.
    pub fn wait(&self, mut condition: impl FnMut() -> bool) {
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        while !condition() {
            assert!(std::time::Instant::now() < deadline, "it did not come true");
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }

    pub fn attach(&self, run: &str) -> Agent {
        self.attach_by(SocketDial(self.socket()), run)
    }

    /// With another bound to how long a session may be silent.
    pub fn attach_silent(&self, run: &str, deadline: Duration) -> Agent {
        let limits = Limits { deadline, ..LIMITS };
        Agent::over(SocketDial(self.socket()), run, limits, PATIENCE, self.events())
    }

    pub fn attach_by(&self, dial: impl Dial, run: &str) -> Agent {
        Agent::over(dial, run, LIMITS, PATIENCE, self.events())
    }

    /// Attaches over sessions of which the first `bad` are cut or damaged after a random number of bytes.
    pub fn attach_badly(&self, run: &str, bad: u32, most_bytes: u64, seed: u64) -> Agent {
        let dial = BadDial {
            inner: SocketDial(self.socket()),
            bad: AtomicU32::new(bad),
            most_bytes,
            random: Mutex::new(StdRng::seed_from_u64(seed)),
        };
        self.attach_by(dial, run)
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.agent.abort();
    }
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["volume", "spool", "backlog", "claimed"] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
    }
    folder
}

fn options(folder: &Path, run: &str, idle: Duration) -> ServeOptions {
    ServeOptions {
        socket: folder.join("agent.sock"),
        run: run.into(),
        idle,
        files: PodFiles {
            spool: folder.join("spool"),
            backlog: folder.join("backlog"),
            volume: folder.join("volume"),
            pgdata: "pgdata".into(),
            claimed: folder.join("claimed"),
            watchdog_fails: None,
        },
        limits: LIMITS,
    }
}

/// An agent for run `run-1` in a process of its own, killed without a warning when dropped.
pub struct AgentProcess(std::process::Child);

const POD_FOLDER: &str = "DR_TEST_POD";

impl AgentProcess {
    /// This program again: it runs the one test that serves.
    pub fn start(pod: &Pod) -> Self {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "pod::an_agent_alone", "--ignored"]).env(POD_FOLDER, pod.folder.path());
        Self(command.stdout(std::process::Stdio::null()).spawn().unwrap())
    }
}

impl Drop for AgentProcess {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "what AgentProcess runs"]
async fn an_agent_alone() {
    if let Some(folder) = std::env::var_os(POD_FOLDER) {
        serve(options(Path::new(&folder), "run-1", Duration::from_secs(60)), None).await.unwrap();
    }
}

/// Opens sessions over the agent's unix socket.
pub struct SocketDial(pub PathBuf);

impl Dial for SocketDial {
    fn dial(&self) -> BoxFuture<'_, Result<AgentSession, DialError>> {
        Box::pin(async {
            let stream = tokio::net::UnixStream::connect(&self.0).await.map_err(|error| DialError {
                message: format!("connect to {}: {error}", self.0.display()),
                permanent: false,
            })?;
            let (reader, writer) = stream.into_split();
            let (reader, writer) = (Box::new(reader), Box::new(writer));
            Ok(AgentSession { reader, writer, words: Words::default() })
        })
    }

    fn describe(&self) -> String {
        format!("the agent at {}", self.0.display())
    }
}

struct BadDial {
    inner: SocketDial,
    bad: AtomicU32,
    most_bytes: u64,
    random: Mutex<StdRng>,
}

impl Dial for BadDial {
    fn dial(&self) -> BoxFuture<'_, Result<AgentSession, DialError>> {
        Box::pin(async {
            let mut session = self.inner.dial().await?;
            let left = self.bad.load(Ordering::Relaxed);
            if left > 0 {
                self.bad.store(left - 1, Ordering::Relaxed);
                let mut random = self.random.lock().unwrap();
                let after = random.random_range(0..self.most_bytes);
                let harm = [Harm::End, Harm::Flip, Harm::Skip][random.random_range(0..3)];
                session.reader = Box::new(BadReader { inner: session.reader, left: after, harm });
                let after = random.random_range(0..self.most_bytes);
                session.writer = Box::new(BadWriter { inner: session.writer, left: after });
            }
            Ok(session)
        })
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }
}

#[derive(Clone, Copy)]
enum Harm {
    /// The stream ends, as if all had been said.
    End,
    /// One bit is another.
    Flip,
    /// Some bytes are missing from the middle.
    Skip,
}

/// A stream that goes wrong after so many bytes.
struct BadReader {
    inner: Box<dyn AsyncRead + Send + Unpin>,
    left: u64,
    harm: Harm,
}

impl AsyncRead for BadReader {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        if self.left == 0 && matches!(self.harm, Harm::End) {
            return Poll::Ready(Ok(()));
        }
        let mut bytes = vec![0; buf.remaining()];
        let mut piece = ReadBuf::new(&mut bytes);
        std::task::ready!(Pin::new(&mut self.inner).poll_read(cx, &mut piece))?;
        let mut read = piece.filled().to_vec();
        let reached = read.len() as u64 > self.left;
        if reached {
            let at = self.left as usize;
            match self.harm {
                Harm::End => read.truncate(at),
                Harm::Flip => read[at] ^= 4,
                Harm::Skip if read.len() > 1 => drop(read.drain(at..(at + 1000).min(read.len()).max(at + 1))),
                Harm::Skip => {}
            }
            if !matches!(self.harm, Harm::End) {
                // Once is enough: the session must be noticed to be broken by this one.
                self.left = u64::MAX;
            } else {
                self.left = 0;
            }
        } else {
            self.left -= read.len() as u64;
        }
        if read.is_empty() && reached && !matches!(self.harm, Harm::End) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        buf.put_slice(&read);
        Poll::Ready(Ok(()))
    }
}

/// A stream that damages one byte after so many.
struct BadWriter {
    inner: Box<dyn AsyncWrite + Send + Unpin>,
    left: u64,
}

impl AsyncWrite for BadWriter {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        let mut bytes = bytes.to_vec();
        if let Some(byte) = usize::try_from(self.left).ok().and_then(|at| bytes.get_mut(at)) {
            *byte ^= 32;
        }
        let written = std::task::ready!(Pin::new(&mut self.inner).poll_write(cx, &bytes))?;
        self.left = self.left.checked_sub(written as u64).unwrap_or(u64::MAX);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
