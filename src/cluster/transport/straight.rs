//! Straight to the agent: TLS to the address of its pod, where that can be reached from here.
//!
//! Exec moves every byte through the API server, the kubelet and the container runtime; this is the network alone. It is
//! tried at once, dropped when it breaks, and tried again later: the link loses nothing by going over.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;

use super::dial::{AgentSession, Dial, DialError, Way, Words};
use crate::trace::{self, CallKind};
use crate::wire::direct::{DirectKey, KeyHash, PROBE_LIMIT};

/// How long a connection may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);
/// Within this it is known whether the way can be had.
const TRY_LIMIT: Duration = CONNECT_LIMIT.saturating_add(PROBE_LIMIT).saturating_add(Duration::from_millis(500));

/// Where an agent listens, and how the two ends know each other.
#[derive(Clone)]
pub struct DoorAddress {
    pub address: SocketAddr,
    /// This end's key.
    pub key: DirectKey,
    /// The agent's.
    pub agent: KeyHash,
}

impl DoorAddress {
    async fn open(&self) -> Result<AgentSession, String> {
        let Self { address, key, agent } = self;
        let no_answer = |why: String| format!("{address} does not answer ({why})");
        let connecting = tokio::time::timeout(CONNECT_LIMIT, TcpStream::connect(address)).await;
        let stream = match connecting {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(no_answer(error.to_string())),
            Err(_) => return Err(no_answer(format!("no connection within {} s", CONNECT_LIMIT.as_secs()))),
        };
        stream.set_nodelay(true).map_err(|error| no_answer(error.to_string()))?;
        let stream = key.connect(stream, *agent).await.map_err(|error| no_answer(error.to_string()))?;
        let (reader, writer) = tokio::io::split(stream);
        Ok(AgentSession { reader: Box::new(reader), writer: Box::new(writer), words: Words::default() })
    }
}

/// The straight way to one agent, whether it is in use, and when it is tried next.
pub struct Straight {
    target: watch::Sender<Option<DoorAddress>>,
    way: watch::Sender<Way>,
    next: Mutex<Next>,
    first_pause: Duration,
}

/// When it is tried next.
struct Next {
    at: Instant,
    /// How long it rests after the next failure.
    pause: Duration,
    /// When it was taken last.
    taken: Instant,
}

/// A pause grows no longer than this.
const MOST_PAUSE: Duration = Duration::from_secs(240);

impl Straight {
    /// One that nothing is known of yet; after a failure it rests for `pause`.
    pub fn new(pause: Duration) -> Self {
        let way = watch::Sender::new(Way::Exec { why: None });
        let now = Instant::now();
        let next = Mutex::new(Next { at: now, pause, taken: now });
        Self { target: watch::Sender::new(None), way, next, first_pause: pause }
    }

    /// How bytes travel now.
    pub fn way(&self) -> Way {
        self.way.borrow().clone()
    }

    /// Lets it be tried, and waits until it is known how that went.
    pub async fn try_for(&self, target: DoorAddress) {
        let mut way = self.way.subscribe();
        way.mark_unchanged();
        self.target.send_replace(Some(target));
        // Silence is an answer: the link goes on by exec.
        let _ = tokio::time::timeout(TRY_LIMIT, way.changed()).await;
    }

    /// Gives it up before it was tried: there is nothing to connect to.
    pub fn impossible(&self, why: String) {
        self.way.send_replace(Way::Exec { why: Some(why) });
    }

    /// Waits until a session can be had, where none is in use.
    pub async fn wait(&self) -> AgentSession {
        if matches!(self.way(), Way::Address(_)) {
            return std::future::pending().await;
        }
        let mut targets = self.target.subscribe();
        loop {
            let at = self.next().at;
            tokio::time::sleep_until(at).await;
            let Ok(target) = targets.wait_for(Option::is_some).await.map(|target| target.clone()) else {
                return std::future::pending().await;
            };
            if let Some(session) = self.open(target).await {
                return session;
            }
        }
    }

    /// A session at once, if it can be had.
    pub async fn now(&self) -> Option<AgentSession> {
        let target = self.target.borrow().clone();
        self.open(target).await
    }

    async fn open(&self, target: Option<DoorAddress>) -> Option<AgentSession> {
        let target = target?;
        let what = format!("open a stream to {}", target.address);
        match trace::call(CallKind::Agent, what, target.open()).await {
            Ok(session) => {
                self.next().taken = Instant::now();
                self.way.send_replace(Way::Address(target.address));
                Some(session)
            }
            Err(why) => {
                self.rest(why);
                None
            }
        }
    }

    /// Takes note that the session in use, if it was a straight one, is over.
    pub fn broke(&self) {
        if let Way::Address(address) = self.way() {
            let mut next = self.next();
            if next.taken.elapsed() > next.pause * 4 {
                // It was of use for long: what has cut it now has nothing to do with what did before.
                next.pause = self.first_pause;
            }
            drop(next);
            self.rest(format!("the stream to {address} broke"));
        }
    }

    fn rest(&self, why: String) {
        let mut next = self.next();
        next.at = Instant::now() + next.pause;
        next.pause = (next.pause * 2).min(MOST_PAUSE);
        drop(next);
        self.way.send_replace(Way::Exec { why: Some(why) });
    }

    fn next(&self) -> std::sync::MutexGuard<'_, Next> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sessions of `plain`, and straight ones where those can be had.
pub struct TwoWays<D> {
    pub plain: D,
    pub straight: Arc<Straight>,
}

impl<D: Dial> Dial for TwoWays<D> {
    fn dial(&self) -> BoxFuture<'_, Result<AgentSession, DialError>> {
        Box::pin(async {
            self.straight.broke();
            match self.plain.dial().await {
                // Where the API server is away the pod may still be there.
                Err(error) if !error.permanent => self.straight.now().await.ok_or(error),
                opened => opened,
            }
        })
    }

    fn better(&self) -> BoxFuture<'_, AgentSession> {
        Box::pin(self.straight.wait())
    }

    fn describe(&self) -> String {
        self.plain.describe()
    }
}
