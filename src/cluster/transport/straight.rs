//! Straight to the agent: TLS to the address of its pod, where that can be reached from here, and else to a port of it that
//! the API server forwards.
//!
//! Exec moves every byte through the API server, the kubelet and the container runtime; the address is the network alone,
//! and a forwarded port costs a third of exec. Either is tried at the start, dropped when it breaks, and tried again later:
//! the link loses nothing by going over.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;

use super::dial::{AgentSession, Dial, DialError, Way, Words};
use super::forward::PodPort;
use crate::cluster::error::innermost;
use crate::trace::{self, CallKind};
use crate::wire::direct::{DirectKey, KeyHash, PROBE_LIMIT};

/// How long a connection may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);
/// The same through the API server.
const FORWARD_LIMIT: Duration = Duration::from_secs(4);
/// Within this, beside the connection, it is known whether the way can be had.
const TRY_LIMIT: Duration = PROBE_LIMIT.saturating_add(Duration::from_millis(500));

/// How an agent's door is reached from here.
#[derive(Clone)]
pub enum Reach {
    /// At the pod's own address.
    Address(SocketAddr),
    /// Through the API server, to a port of the pod's loopback; and why not at its address.
    Forwarded { to: Box<PodPort>, why: String },
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Forwarded { .. } => f.write_str("the forwarded port"),
        }
    }
}

impl Reach {
    fn way(&self) -> Way {
        match self {
            Self::Address(address) => Way::Address(*address),
            Self::Forwarded { why, .. } => Way::Forwarded { why: why.clone() },
        }
    }

    /// The way that is left after `why`.
    fn exec(&self, why: &str) -> Way {
        let why = match self {
            Self::Address(_) => format!("{self} {why}"),
            Self::Forwarded { why: first, .. } => format!("{first}, and {self} {why}"),
        };
        Way::Exec { why: Some(why) }
    }
}

/// Where an agent listens, and how the two ends know each other.
#[derive(Clone)]
pub struct DoorAddress {
    pub reach: Reach,
    /// This end's key.
    pub key: DirectKey,
    /// The agent's.
    pub agent: KeyHash,
}

impl DoorAddress {
    /// # Errors
    /// Why it cannot be had, in a few words.
    async fn open(&self) -> Result<AgentSession, String> {
        match &self.reach {
            Reach::Address(address) => {
                let stream = within(CONNECT_LIMIT, TcpStream::connect(address)).await?;
                stream.set_nodelay(true).map_err(|error| error.to_string())?;
                self.greeted(stream, Words::default()).await
            }
            Reach::Forwarded { to, .. } => {
                let words = Words::default();
                let stream = within(FORWARD_LIMIT, to.open(&words)).await?;
                self.greeted(stream, words).await
            }
        }
    }

    async fn greeted<S>(&self, stream: S, words: Words) -> Result<AgentSession, String>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let stream = self
            .key
            .connect(stream, self.agent)
            .await
            .map_err(|error| words.last().unwrap_or_else(|| error.to_string()))?;
        let (reader, writer) = tokio::io::split(stream);
        Ok(AgentSession { reader: Box::new(reader), writer: Box::new(writer), words })
    }
}

async fn within<S, E: std::error::Error>(
    limit: Duration,
    connecting: impl Future<Output = Result<S, E>>,
) -> Result<S, String> {
    match tokio::time::timeout(limit, connecting).await {
        Ok(connected) => connected.map_err(|error| innermost(&error)),
        Err(_) => Err(format!("no connection within {} s", limit.as_secs())),
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
        let connecting = match target.reach {
            Reach::Address(_) => CONNECT_LIMIT,
            Reach::Forwarded { .. } => FORWARD_LIMIT,
        };
        self.do_not_rest();
        self.target.send_replace(Some(target));
        // Silence is an answer: the link goes on by exec.
        let _ = tokio::time::timeout(connecting + TRY_LIMIT, way.changed()).await;
    }

    /// Gives it up before it was tried: there is nothing to connect to.
    pub fn impossible(&self, why: String) {
        self.way.send_replace(Way::Exec { why: Some(why) });
    }

    /// Waits until a session can be had, where none is in use.
    pub async fn wait(&self) -> AgentSession {
        if !matches!(self.way(), Way::Exec { .. }) {
            return std::future::pending().await;
        }
        let mut targets = self.target.subscribe();
        loop {
            let at = self.next().at;
            tokio::select! {
                () = tokio::time::sleep_until(at) => {}
                // A new target is tried at once.
                changed = targets.changed() => if changed.is_ok() { continue },
            }
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
        let what = format!("open a stream to {}", target.reach);
        match trace::call(CallKind::Agent, what, target.open()).await {
            Ok(session) => {
                self.next().taken = Instant::now();
                self.way.send_replace(target.reach.way());
                Some(session)
            }
            Err(why) => {
                self.rest(target.reach.exec(&format!("does not answer ({why})")));
                None
            }
        }
    }

    /// Takes note that the session in use, if it was a straight one, is over.
    pub fn broke(&self) {
        let target = self.target.borrow().clone();
        if let (false, Some(target)) = (matches!(self.way(), Way::Exec { .. }), target) {
            let mut next = self.next();
            if next.taken.elapsed() > next.pause * 4 {
                // It was of use for long: what has cut it now has nothing to do with what did before.
                next.pause = self.first_pause;
            }
            drop(next);
            self.rest(target.reach.exec("broke"));
        }
    }

    /// What another way has failed at is no reason to.
    fn do_not_rest(&self) {
        let mut next = self.next();
        (next.at, next.pause) = (Instant::now(), self.first_pause);
    }

    fn rest(&self, meanwhile: Way) {
        let mut next = self.next();
        next.at = Instant::now() + next.pause;
        next.pause = (next.pause * 2).min(MOST_PAUSE);
        drop(next);
        self.way.send_replace(meanwhile);
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
