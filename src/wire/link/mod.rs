//! The state of one link: two directions of numbered frames that outlive the sessions that carry them.
//!
//! Pure: time is passed in, bytes are moved by [`super::conduit`]. Each side keeps what it has sent until the other
//! calls it durable, and sends it again in the next session when the other says that it never came. A frame is taken
//! once, in order, or not at all.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::frame::{Frame, FrameError, FrameKind, HEADER};

/// The version of everything that goes over the wire. Both ends are the same program, so there is no older one to
/// speak with: any difference is refused.
pub const VERSION: u32 = 3;

/// The first frame of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hello {
    /// [`VERSION`] of the sender.
    pub version: u32,
    /// The run that the sender works for.
    pub run: String,
    /// The link: made up by the side that dials, new for each of its processes.
    pub link: String,
    /// The number of the last frame that the sender has received in order.
    pub received: u64,
}

/// Bounds and times of a link.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How many bytes may be sent and not yet durable on the far side.
    pub window: usize,
    /// The longest silence before a sign of life is sent.
    pub beat: Duration,
    /// The longest silence before the session counts as broken.
    pub deadline: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { window: 16 << 20, beat: Duration::from_secs(3), deadline: Duration::from_secs(20) }
    }
}

/// The least window for pieces of `bytes` that are called durable as a whole: one that is on its way, one that is being
/// made durable, and one that waits.
fn pieces(bytes: usize) -> usize {
    // Sealing adds some hundred bytes to what does not compress.
    bytes.saturating_add(64 << 10).saturating_mul(3)
}

/// What the far side sent, in order, each once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its number, to be named to [`Link::durable`].
    pub sequence: u64,
    /// `Control`, `Data`, or `Trailer` (whose totals have been checked).
    pub kind: FrameKind,
    pub payload: Bytes,
}

/// Why a session or the whole link is at an end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// The session brought bytes that cannot be right.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The stream ended or failed.
    #[error("the session ended: {0}")]
    Ended(String),
    /// Nothing was heard in time.
    #[error("nothing heard for {0} s")]
    Silent(u64),
    /// Frames are missing from the middle of the session.
    #[error("frames {expected} to {before} were lost on the way", before = .found - 1)]
    Gap {
        /// The next frame in order.
        expected: u64,
        /// The one that came.
        found: u64,
    },
    /// The far side works for another run.
    #[error("the agent serves run {theirs}, not {ours}")]
    OtherRun {
        /// This side's run.
        ours: String,
        /// The far side's.
        theirs: String,
    },
    /// The far side is another version.
    #[error("the other end speaks version {theirs} of the stream, this one {ours}")]
    OtherVersion {
        /// This side's version.
        ours: u32,
        /// The far side's.
        theirs: u32,
    },
    /// The far side knows nothing of this link: its process is another one than before.
    #[error("the agent is not the one that the work was begun with")]
    OtherLink,
    /// The far side refuses.
    #[error("the agent refuses: {0}")]
    Refused(String),
    /// The far side asks for what is no longer kept, or speaks of what was never sent.
    #[error("the two ends disagree about what was sent: {0}")]
    Disagreement(String),
    /// The totals in a trailer are not those of what was received.
    #[error("what was received is not what was sent: {0}")]
    Totals(String),
    /// Given up after many sessions.
    #[error("no session could be had again in {seconds} s; last: {last}")]
    GivenUp {
        /// How long it was tried.
        seconds: u64,
        /// Why the last attempt failed.
        last: String,
    },
}

impl LinkError {
    /// Whether only the session is lost, so that the next one goes on where this one stopped.
    pub fn ends_session_only(&self) -> bool {
        matches!(self, Self::Frame(_) | Self::Ended(_) | Self::Silent(_) | Self::Gap { .. })
    }
}

/// Count and running hash of the sequenced frames of one direction.
///
/// Control payloads are hashed whole. Data payloads enter with their length and CRC32C (both in the header): the
/// control message before them carries a SHA-256 of the bytes that they add up to, or of what those hold, so nothing is
/// hashed twice.
#[derive(Clone, Default)]
struct Totals {
    count: u64,
    hash: Sha256,
}

impl Totals {
    fn add(&mut self, frame: &Frame) {
        self.count += 1;
        self.hash.update(frame.header());
        if frame.kind == FrameKind::Control {
            self.hash.update(&frame.payload);
        }
    }

    fn trailer(&self) -> Bytes {
        let mut payload = self.count.to_be_bytes().to_vec();
        payload.extend_from_slice(&self.hash.clone().finalize());
        Bytes::from(payload)
    }
}

/// What belongs to the stream of the moment.
struct Session {
    hello_sent: bool,
    hello_received: bool,
    /// The next of the kept frames to be put on this session.
    next: u64,
    ack_sent: u64,
    heard: Instant,
    spoke: Instant,
}

/// One end of a link.
pub struct Link {
    run: String,
    link: String,
    limits: Limits,
    session: Option<Session>,
    kept: VecDeque<Frame>,
    kept_bytes: usize,
    /// The number of the last frame made.
    made: u64,
    /// The number of the last frame that the far side calls durable.
    acknowledged: u64,
    sent: Totals,
    /// The number of the last frame taken.
    received: u64,
    /// The number of the last frame that the consumer calls durable.
    durable: u64,
    taken: Totals,
    heard: u64,
}

impl Link {
    /// A link of `run`, named `link`, without a session yet.
    pub fn new(run: impl Into<String>, link: impl Into<String>, limits: Limits) -> Self {
        Self {
            run: run.into(),
            link: link.into(),
            limits,
            session: None,
            kept: VecDeque::new(),
            kept_bytes: 0,
            made: 0,
            acknowledged: 0,
            sent: Totals::default(),
            received: 0,
            durable: 0,
            taken: Totals::default(),
            heard: 0,
        }
    }

    /// The bounds and times in force.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Makes the window wide enough for a few pieces of `bytes`, of which each is called durable as a whole, while the far
    /// side holds back as many as `held_back` more before any is durable.
    pub fn widen(&mut self, bytes: usize, held_back: usize) {
        let working = if held_back > 0 { Limits::default().window } else { 0 };
        self.limits.window = self.limits.window.max(pieces(bytes).max(working).saturating_add(held_back));
    }

    /// Whether `bytes` more may be sent now. An empty window takes one frame of any size, so that a narrow one cannot
    /// stand still.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.kept.is_empty() || self.kept_bytes + HEADER + bytes <= self.limits.window
    }

    /// Frames received, and frames of this side that the far side calls durable.
    pub fn progress(&self) -> (u64, u64) {
        (self.received, self.acknowledged)
    }

    /// Frames of whatever kind that the far side was heard with: one that only beats is there, too.
    pub fn heard(&self) -> u64 {
        self.heard
    }

    /// Whether the far side has called everything durable.
    pub fn all_durable(&self) -> bool {
        self.kept.is_empty()
    }

    /// Queues one frame and returns its number. The caller asks [`Self::has_room`] first.
    ///
    /// # Errors
    /// `TooLong` for a payload over the bound.
    pub fn send(&mut self, kind: FrameKind, payload: Bytes) -> Result<u64, LinkError> {
        let frame = Frame::new(kind, self.made + 1, payload)?;
        self.made += 1;
        self.sent.add(&frame);
        self.kept_bytes += HEADER + frame.payload.len();
        self.kept.push_back(frame);
        Ok(self.made)
    }

    /// Queues a trailer: the count and hash of everything sent in this direction so far. More may follow it.
    ///
    /// # Errors
    /// None in practice: a trailer is short.
    pub fn send_trailer(&mut self) -> Result<u64, LinkError> {
        let payload = self.sent.trailer();
        self.send(FrameKind::Trailer, payload)
    }

    /// Says that everything up to `sequence` is where it has to be; the far side may forget it.
    pub fn durable(&mut self, sequence: u64) {
        self.durable = self.durable.max(sequence.min(self.received));
    }

    /// Begins a session on a new stream. Whatever the last one had not delivered is sent again.
    pub fn attach(&mut self, now: Instant) {
        self.session =
            Some(Session { hello_sent: false, hello_received: false, next: 0, ack_sent: 0, heard: now, spoke: now });
    }

    /// Ends the session; the link waits for the next one.
    pub fn detach(&mut self) {
        self.session = None;
    }

    /// Takes one frame of the current session. Returns the message in it, unless it is a duplicate or only concerns
    /// the link itself.
    ///
    /// # Errors
    /// [`LinkError::ends_session_only`] tells whether the next session can go on.
    pub fn take(&mut self, frame: Frame, now: Instant) -> Result<Option<Message>, LinkError> {
        let Some(session) = &mut self.session else { return Ok(None) };
        session.heard = now;
        self.heard += 1;
        match frame.kind {
            FrameKind::Hello => return self.greet(&frame.payload).map(|()| None),
            FrameKind::Refusal => return Err(LinkError::Refused(String::from_utf8_lossy(&frame.payload).into_owned())),
            _ if !session.hello_received => {
                return Err(LinkError::Ended("it did not begin with a greeting".into()));
            }
            FrameKind::Ack => return self.acknowledge(frame.sequence).map(|()| None),
            FrameKind::Beat => return Ok(None),
            FrameKind::Control | FrameKind::Data | FrameKind::Trailer => {}
        }
        if frame.sequence <= self.received {
            return Ok(None);
        }
        if frame.sequence != self.received + 1 {
            return Err(LinkError::Gap { expected: self.received + 1, found: frame.sequence });
        }
        if frame.kind == FrameKind::Trailer && frame.payload != self.taken.trailer() {
            return Err(LinkError::Totals(format!("the totals after frame {} differ", self.received)));
        }
        self.received = frame.sequence;
        self.taken.add(&frame);
        Ok(Some(Message { sequence: frame.sequence, kind: frame.kind, payload: frame.payload }))
    }

    fn greet(&mut self, payload: &[u8]) -> Result<(), LinkError> {
        let hello: Hello =
            serde_json::from_slice(payload).map_err(|e| LinkError::Disagreement(format!("the greeting: {e}")))?;
        self.check_hello(&hello)?;
        if hello.link != self.link {
            return Err(LinkError::OtherLink);
        }
        if hello.received > self.made {
            return Err(LinkError::Disagreement(format!(
                "the other end has frame {}, the last one sent is {}",
                hello.received, self.made
            )));
        }
        if hello.received < self.acknowledged {
            return Err(LinkError::Disagreement(format!(
                "the other end has frame {}, and called {} durable before",
                hello.received, self.acknowledged
            )));
        }
        if let Some(session) = &mut self.session {
            session.hello_received = true;
            session.next = hello.received + 1;
        }
        Ok(())
    }

    /// Whether a greeting is one of this run and version.
    ///
    /// # Errors
    /// `OtherVersion`, `OtherRun`.
    pub fn check_hello(&self, hello: &Hello) -> Result<(), LinkError> {
        if hello.version != VERSION {
            return Err(LinkError::OtherVersion { ours: VERSION, theirs: hello.version });
        }
        if hello.run != self.run {
            return Err(LinkError::OtherRun { ours: self.run.clone(), theirs: hello.run.clone() });
        }
        Ok(())
    }

    fn acknowledge(&mut self, sequence: u64) -> Result<(), LinkError> {
        if sequence > self.made {
            return Err(LinkError::Disagreement(format!("frame {sequence} is called durable and was never sent")));
        }
        while self.kept.front().is_some_and(|frame| frame.sequence <= sequence) {
            if let Some(frame) = self.kept.pop_front() {
                self.kept_bytes -= HEADER + frame.payload.len();
            }
        }
        self.acknowledged = self.acknowledged.max(sequence);
        Ok(())
    }

    /// The next frame to be put on the current session, if any is due.
    pub fn output(&mut self, now: Instant) -> Option<Frame> {
        let frame = self.due(now)?;
        if let Some(session) = &mut self.session {
            session.spoke = now;
        }
        Some(frame)
    }

    fn due(&mut self, now: Instant) -> Option<Frame> {
        let session = self.session.as_mut()?;
        if !session.hello_sent {
            session.hello_sent = true;
            let hello =
                Hello { version: VERSION, run: self.run.clone(), link: self.link.clone(), received: self.received };
            // A struct of texts and numbers always becomes JSON, and a short one.
            return Frame::new(FrameKind::Hello, 0, Bytes::from(serde_json::to_vec(&hello).unwrap_or_default())).ok();
        }
        if !session.hello_received {
            return None;
        }
        if self.durable > session.ack_sent {
            session.ack_sent = self.durable;
            return Some(Frame::bare(FrameKind::Ack, self.durable));
        }
        if let Some(first) = self.kept.front().map(|frame| frame.sequence) {
            let next = session.next.max(first);
            if let Some(frame) = usize::try_from(next - first).ok().and_then(|place| self.kept.get(place)) {
                session.next = next + 1;
                return Some(frame.clone());
            }
        }
        (now.duration_since(session.spoke) >= self.limits.beat).then(|| Frame::bare(FrameKind::Beat, 0))
    }

    /// Whether the far side was heard in time.
    ///
    /// # Errors
    /// `Silent` when it was not.
    pub fn check(&self, now: Instant) -> Result<(), LinkError> {
        match &self.session {
            Some(session) if now.duration_since(session.heard) > self.limits.deadline => {
                Err(LinkError::Silent(self.limits.deadline.as_secs()))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
