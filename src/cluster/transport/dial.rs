//! What a session with an agent is, and what opens one.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};

/// One open session. It ends when both streams are dropped.
pub struct AgentSession {
    /// What the agent sends.
    pub reader: Box<dyn AsyncRead + Send + Unpin>,
    /// What is sent to it.
    pub writer: Box<dyn AsyncWrite + Send + Unpin>,
    /// What was said beside the stream.
    pub words: Words,
}

/// What a session's program wrote to stderr: its last line tells why a session ended.
#[derive(Clone, Default)]
pub struct Words(Arc<Mutex<Heard>>);

#[derive(Default)]
struct Heard {
    /// The last whole line.
    last: Option<String>,
    /// What came after it.
    begun: Vec<u8>,
}

impl Words {
    /// The last line.
    pub fn last(&self) -> Option<String> {
        let heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        line(&heard.begun).or_else(|| heard.last.clone())
    }

    pub(super) fn hear(&self, bytes: &[u8]) {
        /// A line that never ends is no reason to remember it all.
        const MOST: usize = 4096;
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = MOST.saturating_sub(heard.begun.len());
            heard.begun.extend_from_slice(&piece[..piece.len().min(room)]);
            if piece.ends_with(b"\n") {
                let begun = std::mem::take(&mut heard.begun);
                heard.last = line(&begun).or_else(|| heard.last.take());
            }
        }
    }
}

fn line(bytes: &[u8]) -> Option<String> {
    let line = String::from_utf8_lossy(bytes).trim().to_owned();
    (!line.is_empty()).then_some(line)
}

/// How the bytes of a session travel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// Through the API server and the node, and why not straight, where that was tried.
    Exec { why: Option<String> },
    /// Straight to the pod.
    Address(SocketAddr),
    /// Through the API server to a port of the pod, and why not straight.
    Forwarded { why: String },
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exec { why: None } => f.write_str("by exec"),
            Self::Exec { why: Some(why) } => write!(f, "by exec, since {why}"),
            Self::Address(address) => write!(f, "straight to {}", address.ip()),
            Self::Forwarded { why } => write!(f, "by a forwarded port, since {why}"),
        }
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

    /// Waits for a session on a better way than that of the session that was opened last. May be dropped at any point.
    fn better(&self) -> BoxFuture<'_, AgentSession> {
        Box::pin(std::future::pending())
    }

    /// Whom it speaks to, for people: `the agent in pod opschain/dr-backup-1`.
    fn describe(&self) -> String;
}
