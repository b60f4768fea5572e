//! The link to the agent in a pod, and the sessions under it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::dial::{AgentSession, Dial, DialError, Way};
use super::error::{Result, TransportError};
use super::forward::PodPort;
use super::straight::{DoorAddress, Reach, Straight, TwoWays};
use crate::agent::protocol::{Digest, Envelope, PodFacts, Reply, Request, SwapReport, SwapRequest};
use crate::event::{Event, Events};
use crate::trace::{self, CallKind};
use crate::wire::direct::DirectKey;
use crate::wire::{Conduit, Decoder, FrameKind, Limits, Link, LinkError, Message};

/// How long a broken stream is tried to be taken up again.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Without any session for so long, the stream is given up.
    pub outage: Duration,
    /// The first pause between two attempts; it doubles up to `longest_pause`.
    pub first_pause: Duration,
    pub longest_pause: Duration,
    /// How long the straight way rests after a failure; each further one doubles it.
    pub straight_pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            outage: Duration::from_secs(180),
            first_pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(5),
            straight_pause: Duration::from_secs(15),
        }
    }
}

/// A session that lasted so long was a good one, whatever it carried, where the agent was heard in it at all: a pod that
/// stands still takes connections, too.
const GOOD_SESSION: Duration = Duration::from_secs(10);

/// A link to the agent in a helper pod. Dropping it ends the sessions; the agent ends itself when nobody comes back.
pub struct Agent {
    pub(super) conduit: Conduit,
    events: Events,
    pub(super) peer: String,
    id: u64,
    pub(super) unfinished: Option<&'static str>,
    straight: Arc<Straight>,
    end: Arc<AgentEnd>,
    keeper: JoinHandle<()>,
}

/// The end of an agent that was told to end: it goes away, which may be seen before its last words are read.
#[derive(Default)]
struct AgentEnd {
    /// Whether it was told. That the session breaks then is no news.
    told: AtomicBool,
    /// Whether it has answered. Then there is nothing to come back to.
    answered: CancellationToken,
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.keeper.abort();
        // Nobody carries the link any more: who waits for something of it must not wait for ever.
        self.conduit.close(LinkError::Ended("it was let go".into()));
    }
}

impl Agent {
    /// Attaches over whatever `dial` opens, as a new process of `run`: an agent that still works for an earlier one
    /// gives that up.
    pub fn over(dial: impl Dial, run: &str, limits: Limits, patience: Patience, events: Events) -> Self {
        let name = format!("{:032x}", rand::random::<u128>());
        let conduit = Conduit::new(Link::new(run, name, limits));
        let peer = dial.describe();
        let straight = Arc::new(Straight::new(patience.straight_pause));
        let dial = TwoWays { plain: dial, straight: straight.clone() };
        let end = Arc::<AgentEnd>::default();
        let keeper = tokio::spawn(keep(conduit.clone(), dial, patience, events.clone(), end.clone()).in_current_span());
        Self { conduit, events, peer, id: 0, unfinished: None, straight, end, keeper }
    }

    /// What the pod and its volume look like.
    ///
    /// # Errors
    /// The agent's, or the link's.
    pub async fn facts(&mut self) -> Result<PodFacts> {
        match self.ask("facts", Request::Facts).await? {
            Reply::Facts(facts) => Ok(*facts),
            _ => Err(self.odd()),
        }
    }

    /// Lets the stream go straight to the agent at its pod's `address`, where that can be reached from here, and waits
    /// until that is known. It goes back to the way that it came by when the straight one breaks, and tries again later.
    ///
    /// # Errors
    /// The link's. That the address cannot be reached is none: see [`Self::way`].
    pub async fn go_straight(&mut self, address: IpAddr) -> Result<()> {
        self.go_straight_by(address, |door| door).await
    }

    /// [`Self::go_straight`] where `reach` says under which address the agent's door is reached from here.
    ///
    /// # Errors
    /// The same.
    pub async fn go_straight_by(
        &mut self,
        address: IpAddr,
        reach: impl FnOnce(SocketAddr) -> SocketAddr,
    ) -> Result<()> {
        self.open_door(address, |door| Reach::Address(reach(door))).await
    }

    /// Lets the stream of the agent in `pod` go by a port that the API server forwards, where it goes by exec, and waits
    /// until it is known whether that can be had. A forwarded port is tried again later, too, and the pod's address no more.
    ///
    /// # Errors
    /// The link's. That nothing may be forwarded is none: see [`Self::way`].
    pub async fn go_forwarded(&mut self, pods: Api<Pod>, pod: &str) -> Result<()> {
        let Way::Exec { why } = self.way() else { return Ok(()) };
        let why = why.unwrap_or_else(|| "the pod has no address".to_owned());
        let to = |door: SocketAddr| Box::new(PodPort { pods, pod: pod.to_owned(), port: door.port() });
        self.open_door(Ipv4Addr::LOCALHOST.into(), |door| Reach::Forwarded { to: to(door), why }).await
    }

    async fn open_door(&mut self, address: IpAddr, reach: impl FnOnce(SocketAddr) -> Reach) -> Result<()> {
        let key = match DirectKey::generate() {
            Ok(key) => key,
            Err(error) => {
                self.straight.impossible(error.to_string());
                return Ok(());
            }
        };
        let listen = Request::Listen { address, key: Digest(key.hash()) };
        match self.ask("open a door", listen).await {
            Ok(Reply::Listening { port, key: agent }) => {
                let reach = reach(SocketAddr::new(address, port));
                let target = DoorAddress { reach, key, agent: agent.0 };
                self.straight.try_for(target).await;
            }
            Ok(_) => return Err(self.odd()),
            Err(TransportError::Agent { failure, .. }) => self.straight.impossible(failure.to_string()),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// How the bytes travel now.
    pub fn way(&self) -> Way {
        self.straight.way()
    }

    /// Sends `bytes`, at most [`ECHO_LIMIT`](crate::agent::protocol::ECHO_LIMIT), and has them sent back: whether the way
    /// carries them, and how long both directions take together.
    ///
    /// # Errors
    /// The link's; other bytes come back.
    pub async fn echo(&mut self, bytes: Bytes) -> Result<Duration> {
        let begun = Instant::now();
        let what = format!("echo of {} bytes, {}", bytes.len(), self.peer);
        trace::call(CallKind::Stream, what, async {
            let id = self.say(Request::Echo { bytes: bytes.len() as u64 }).await?;
            self.conduit.send_data(bytes.clone()).await.map_err(|source| self.broken(source))?;
            match self.answer(id).await? {
                Reply::Echoed => {}
                _ => return Err(self.odd()),
            }
            let mut come = BytesMut::with_capacity(bytes.len());
            while come.len() < bytes.len() {
                let message = self.message().await?;
                if message.kind != FrameKind::Data {
                    return Err(self.odd());
                }
                come.extend_from_slice(&message.payload);
            }
            if come != bytes {
                return Err(TransportError::Damaged(format!("{} sends other bytes back than it was sent", self.peer)));
            }
            Ok(begun.elapsed())
        })
        .await
    }

    /// Puts the stage in the place of the data directory. Safe to repeat: it goes on from whatever is there.
    ///
    /// # Errors
    /// The agent's, or the link's.
    pub async fn swap(&mut self, request: SwapRequest) -> Result<SwapReport> {
        match self.ask("swap", Request::Swap(request)).await? {
            Reply::Swapped(report) => Ok(report),
            _ => Err(self.odd()),
        }
    }

    /// Undoes a swap. Returns whether there was anything to undo. Safe to repeat.
    ///
    /// # Errors
    /// The agent's, or the link's.
    pub async fn put_back(&mut self) -> Result<bool> {
        match self.ask("put back", Request::PutBack).await? {
            Reply::Undone { moved } => Ok(moved),
            _ => Err(self.odd()),
        }
    }

    /// Ends the agent, and with it the pod's main process.
    ///
    /// # Errors
    /// The link's, when it cannot be said any more.
    pub async fn finish(mut self) -> Result<()> {
        self.end.told.store(true, Ordering::Relaxed);
        let id = self.say(Request::Finish).await?;
        match self.answer(id).await? {
            Reply::Finished => {
                self.end.answered.cancel();
                // The agent waits for this acknowledgement; it is polite to let it out, and no matter if it is lost.
                let trailer = async { while self.message().await.is_ok_and(|m| m.kind != FrameKind::Trailer) {} };
                let _ = tokio::time::timeout(Duration::from_secs(2), trailer).await;
                self.conduit.close(LinkError::Ended("it is done".into()));
                let _ = tokio::time::timeout(Duration::from_secs(2), &mut self.keeper).await;
                Ok(())
            }
            _ => Err(self.odd()),
        }
    }

    pub(super) async fn ask(&mut self, what: &str, request: Request) -> Result<Reply> {
        let what = format!("{what}, {}", self.peer);
        let answer = async {
            let id = self.say(request).await?;
            self.answer(id).await
        };
        trace::call(CallKind::Agent, what, answer).await
    }

    /// Sends a request under a new number.
    pub(super) async fn say(&mut self, request: Request) -> Result<u64> {
        if let Some(what) = self.unfinished {
            return Err(TransportError::Unfinished(what));
        }
        self.id += 1;
        self.say_in(self.id, request).await?;
        Ok(self.id)
    }

    /// Sends a request that belongs to the one numbered `id`.
    pub(super) async fn say_in(&self, id: u64, request: Request) -> Result<u64> {
        let json = serde_json::to_vec(&Envelope { id, body: request })
            .map_err(|error| TransportError::Damaged(format!("write a request: {error}")))?;
        self.conduit.send_control(json).await.map_err(|source| self.broken(source))
    }

    /// The next answer to request `id` that is no line of a log. May be dropped at any point without losing one.
    pub(super) async fn answer(&self, id: u64) -> Result<Reply> {
        loop {
            let message = self.message().await?;
            if message.kind == FrameKind::Control
                && let Some(reply) = self.reply(id, &message)?
            {
                return Ok(reply);
            }
        }
    }

    /// The next message; it counts as durable at once.
    async fn message(&self) -> Result<Message> {
        let message = self.conduit.receive().await.map_err(|source| self.broken(source))?;
        self.conduit.durable(message.sequence);
        Ok(message)
    }

    /// Reads a control message. `None` for a line of a log, which is passed on, and for what belongs to another
    /// request.
    pub(super) fn reply(&self, id: u64, message: &Message) -> Result<Option<Reply>> {
        let envelope: Envelope<Reply> = serde_json::from_slice(&message.payload)
            .map_err(|error| TransportError::Damaged(format!("{} answers oddly: {error}", self.peer)))?;
        match envelope.body {
            Reply::Log { source, line } => {
                self.events.emit(Event::Log { source, line });
                Ok(None)
            }
            _ if envelope.id != id => Ok(None),
            Reply::Failed(failure) => Err(TransportError::Agent { peer: self.peer.clone(), failure }),
            reply => Ok(Some(reply)),
        }
    }

    pub(super) fn odd(&self) -> TransportError {
        TransportError::Damaged(format!("{} gave the answer to another question", self.peer))
    }

    pub(super) fn broken(&self, source: LinkError) -> TransportError {
        TransportError::Link { peer: self.peer.clone(), source }
    }
}

/// Keeps a session under the link until the link is at an end; a better one takes the place of one that works.
async fn keep(conduit: Conduit, dial: impl Dial, patience: Patience, events: Events, end: Arc<AgentEnd>) {
    let mut good_until = Instant::now();
    let mut pause = patience.first_pause;
    let mut ever = false;
    let mut better = None;
    loop {
        let opened = match better.take() {
            Some(session) => Ok(session),
            None => {
                let dialing =
                    trace::call(CallKind::Agent, format!("open a session with {}", dial.describe()), dial.dial());
                tokio::select! {
                    opened = dialing => opened,
                    () = end.answered.cancelled() => break,
                }
            }
        };
        let last = match opened {
            Ok(session) => {
                let (before, heard, began) = (conduit.progress(), conduit.heard(), Instant::now());
                let AgentSession { reader, writer, words } = session;
                let ended = tokio::select! {
                    error = conduit.session(reader, writer, Decoder::default()) => Some(error),
                    session = dial.better() => {
                        better = Some(session);
                        None
                    }
                };
                if conduit.closed().is_some() {
                    return;
                }
                let moved = conduit.progress() != before;
                ever |= moved;
                if moved || (conduit.heard() > heard && began.elapsed() > GOOD_SESSION) {
                    (good_until, pause) = (Instant::now(), patience.first_pause);
                }
                match (ended, words.last()) {
                    (None, _) => continue,
                    (Some(error), Some(words)) => format!("{error}: {words}"),
                    (Some(error), None) => error.to_string(),
                }
            }
            Err(DialError { message, permanent: true }) => {
                let seconds = good_until.elapsed().as_secs();
                conduit.close(LinkError::GivenUp { seconds, last: message });
                return;
            }
            Err(DialError { message, .. }) => message,
        };
        if good_until.elapsed() > patience.outage {
            conduit.close(LinkError::GivenUp { seconds: good_until.elapsed().as_secs(), last });
            return;
        }
        // The first sessions come while the agent is still starting; that they fail is no news.
        if ever && !end.told.load(Ordering::Relaxed) {
            events.warn(format!("the session with {} broke and is taken up again: {last}", dial.describe()), None);
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = end.answered.cancelled() => break,
        }
        pause = (pause * 2).min(patience.longest_pause);
    }
    conduit.close(LinkError::Ended("it is done".into()));
}
