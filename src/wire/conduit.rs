//! Moves the messages of a link over the stream of the moment.
//!
//! A [`Conduit`] is the caller's end: it sends and receives whatever happens to the streams below. Streams come and go
//! through [`Conduit::session`]. Received bytes are always taken off the stream at once (the window of the sender
//! bounds them), so a slow consumer never stalls a session: it only slows the sender.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;

use super::frame::{Decoder, Frame, FrameKind};
use super::link::{Link, LinkError, Message};

/// How many bytes are asked of a stream at once.
const READ: usize = 256 << 10;
/// The size of the pieces that long data is cut into, in bytes: small enough for a heartbeat to get between them.
pub const PIECE: usize = 256 << 10;

/// A cheap, cloneable handle to one end of a link.
#[derive(Clone)]
pub struct Conduit(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// Something changed that a sender, a receiver or a session may wait for.
    changed: Notify,
}

struct State {
    link: Link,
    inbox: VecDeque<Message>,
    closed: Option<LinkError>,
    /// Counts sessions, so that an old one notices that it was replaced.
    session: u64,
}

impl Conduit {
    /// Takes charge of `link`.
    pub fn new(link: Link) -> Self {
        let state = State { link, inbox: VecDeque::new(), closed: None, session: 0 };
        Self(Arc::new(Shared { state: Mutex::new(state), changed: Notify::new() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves the state whole: nothing is called under the lock that could panic half-way.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `ready` has an answer. It is asked again after each change.
    async fn until<T>(&self, mut ready: impl FnMut(&mut State) -> Option<T>) -> T {
        loop {
            let mut changed = std::pin::pin!(self.0.changed.notified());
            changed.as_mut().enable();
            if let Some(answer) = ready(&mut self.state()) {
                return answer;
            }
            changed.await;
        }
    }

    async fn send(&self, kind: FrameKind, payload: Bytes) -> Result<u64, LinkError> {
        let sequence = self
            .until(|state| match &state.closed {
                Some(error) => Some(Err(error.clone())),
                None => state.link.has_room(payload.len()).then(|| state.link.send(kind, payload.clone())),
            })
            .await?;
        self.0.changed.notify_waiters();
        Ok(sequence)
    }

    /// See [`Link::widen`].
    pub fn widen(&self, bytes: usize, held_back: usize) {
        self.state().link.widen(bytes, held_back);
        self.0.changed.notify_waiters();
    }

    /// Sends one control message. Waits while the window is full.
    ///
    /// # Errors
    /// Why the link is at an end.
    pub async fn send_control(&self, json: Vec<u8>) -> Result<u64, LinkError> {
        self.send(FrameKind::Control, Bytes::from(json)).await
    }

    /// Sends bytes of any length, cut into frames. Waits while the window is full. Returns the last number.
    ///
    /// # Errors
    /// Why the link is at an end.
    pub async fn send_data(&self, mut bytes: Bytes) -> Result<u64, LinkError> {
        let mut last = 0;
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(PIECE));
            last = self.send(FrameKind::Data, piece).await?;
        }
        Ok(last)
    }

    /// Queues a short control message without regard to the window: for a line of a log, which must not make its
    /// teller wait.
    ///
    /// # Errors
    /// Why the link is at an end.
    pub fn post_control(&self, json: Vec<u8>) -> Result<u64, LinkError> {
        self.post(|link| link.send(FrameKind::Control, Bytes::from(json)))
    }

    /// Queues the totals of this direction, without regard to the window: they are 40 bytes.
    ///
    /// # Errors
    /// Why the link is at an end.
    pub fn send_trailer(&self) -> Result<u64, LinkError> {
        self.post(Link::send_trailer)
    }

    fn post(&self, send: impl FnOnce(&mut Link) -> Result<u64, LinkError>) -> Result<u64, LinkError> {
        let sequence = {
            let mut state = self.state();
            match &state.closed {
                Some(error) => return Err(error.clone()),
                None => send(&mut state.link)?,
            }
        };
        self.0.changed.notify_waiters();
        Ok(sequence)
    }

    /// The next message of the far side.
    ///
    /// # Errors
    /// Why the link is at an end, once everything received before has been taken.
    pub async fn receive(&self) -> Result<Message, LinkError> {
        self.until(|state| match (state.inbox.pop_front(), &state.closed) {
            (Some(message), _) => Some(Ok(message)),
            (None, Some(error)) => Some(Err(error.clone())),
            (None, None) => None,
        })
        .await
    }

    /// Says that everything up to `sequence` is where it has to be.
    pub fn durable(&self, sequence: u64) {
        self.state().link.durable(sequence);
        self.0.changed.notify_waiters();
    }

    /// Waits until the far side has called everything durable that was sent so far.
    ///
    /// # Errors
    /// Why the link is at an end.
    pub async fn all_durable(&self) -> Result<(), LinkError> {
        self.until(|state| match &state.closed {
            Some(error) => Some(Err(error.clone())),
            None => state.link.all_durable().then_some(Ok(())),
        })
        .await
    }

    /// How far the link has come: frames received and frames of this side that are durable.
    pub fn progress(&self) -> (u64, u64) {
        self.state().link.progress()
    }

    /// How often the far side was heard.
    pub fn heard(&self) -> u64 {
        self.state().link.heard()
    }

    /// Ends the link for good.
    pub fn close(&self, error: LinkError) {
        self.state().closed.get_or_insert(error);
        self.0.changed.notify_waiters();
    }

    /// Whether, and why, the link is at an end.
    pub fn closed(&self) -> Option<LinkError> {
        self.state().closed.clone()
    }

    /// Carries the link over one stream until that breaks, another session takes over, or the link is closed.
    /// `decoder` may hold bytes of `reader` that were read before. Returns why it ended; an error that is more than the
    /// session's end has closed the link.
    pub async fn session<R, W>(&self, reader: R, writer: W, decoder: Decoder) -> LinkError
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let number = {
            let mut state = self.state();
            if let Some(error) = &state.closed {
                return error.clone();
            }
            state.session += 1;
            state.link.attach(Instant::now());
            state.session
        };
        self.0.changed.notify_waiters();
        let error = tokio::select! {
            error = self.read(reader, decoder, number) => error,
            error = self.write(writer, number) => error,
            error = self.watch(number) => error,
        };
        {
            let mut state = self.state();
            if state.session == number {
                state.link.detach();
            }
            if !error.ends_session_only() {
                state.closed.get_or_insert(error.clone());
            }
        }
        self.0.changed.notify_waiters();
        error
    }

    async fn read<R: AsyncRead + Unpin>(&self, mut reader: R, mut decoder: Decoder, number: u64) -> LinkError {
        loop {
            loop {
                match decoder.next_frame() {
                    Ok(None) => break,
                    Ok(Some(frame)) => {
                        if let Err(error) = self.take(frame, number) {
                            return error;
                        }
                    }
                    Err(error) => return error.into(),
                }
            }
            decoder.buffer().reserve(READ);
            match reader.read_buf(decoder.buffer()).await {
                Ok(0) => return LinkError::Ended("the stream is at its end".into()),
                Ok(_) => {}
                Err(error) => return LinkError::Ended(why(&error)),
            }
        }
    }

    fn take(&self, frame: Frame, number: u64) -> Result<(), LinkError> {
        {
            let mut state = self.state();
            if state.session != number {
                return Err(replaced());
            }
            if let Some(message) = state.link.take(frame, Instant::now())? {
                state.inbox.push_back(message);
            }
        }
        self.0.changed.notify_waiters();
        Ok(())
    }

    async fn write<W: AsyncWrite + Unpin>(&self, mut writer: W, number: u64) -> LinkError {
        let beat = self.state().link.limits().beat;
        loop {
            let next = self.until(|state| {
                if state.session != number {
                    return Some(Err(replaced()));
                }
                // What was queued before the link was closed (a last answer, an acknowledgement) still goes out.
                match (state.link.output(Instant::now()), &state.closed) {
                    (Some(frame), _) => Some(Ok(frame)),
                    (None, Some(error)) => Some(Err(error.clone())),
                    (None, None) => None,
                }
            });
            let frame = match tokio::time::timeout(beat, next).await {
                Ok(Ok(frame)) => frame,
                Ok(Err(error)) => return error,
                Err(_) => continue,
            };
            let written = async {
                let header = frame.header();
                if frame.payload.len() < 4096 {
                    writer.write_all(&[&header[..], &frame.payload[..]].concat()).await?;
                } else {
                    writer.write_all(&header).await?;
                    writer.write_all(&frame.payload).await?;
                }
                writer.flush().await
            };
            if let Err(error) = written.await {
                return LinkError::Ended(why(&error));
            }
        }
    }

    async fn watch(&self, number: u64) -> LinkError {
        let mut tick = tokio::time::interval(self.state().link.limits().beat);
        loop {
            tick.tick().await;
            let state = self.state();
            if state.session != number {
                return replaced();
            }
            if let Err(error) = state.link.check(Instant::now()) {
                return error;
            }
        }
    }
}

fn replaced() -> LinkError {
    LinkError::Ended("another session has taken over".into())
}

/// Why a stream broke. What it says of an end without a farewell is the library's advice to programmers.
fn why(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "the other end went away".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::wire::Limits;

    fn ends(window: usize) -> (Conduit, Conduit) {
        let limits = Limits { window, beat: Duration::from_millis(50), deadline: Duration::from_millis(400) };
        let end = || Conduit::new(Link::new("run", "a", limits));
        (end(), end())
    }

    /// One session over a pipe that is cut after `bytes` from `a` to `b`; `None` lets it live.
    async fn meet(a: &Conduit, b: &Conduit, bytes: Option<u64>) {
        let (near, far) = tokio::io::duplex(8 << 10);
        let (near_read, near_write) = tokio::io::split(near);
        let (far_read, far_write) = tokio::io::split(far);
        let cut = far_read.take(bytes.unwrap_or(u64::MAX));
        tokio::join!(
            a.session(near_read, near_write, Decoder::default()),
            b.session(cut, far_write, Decoder::default())
        );
    }

    #[tokio::test]
    async fn sessions_cut_at_any_byte_lose_and_double_nothing() {
        let (a, b) = ends(64 << 10);
        let sent: Vec<u8> = (0..600_000u32).map(|i| ((i * 31) >> 3) as u8).collect();
        let (sender, bytes) = (a.clone(), Bytes::from(sent.clone()));
        let sending = tokio::spawn(async move {
            for piece in bytes.chunks(10_000) {
                sender.send_data(Bytes::copy_from_slice(piece)).await.unwrap();
            }
            sender.send_trailer().unwrap();
            sender.all_durable().await.unwrap();
            sender.close(LinkError::Ended("done".into()));
        });
        let receiver = b.clone();
        let receiving = tokio::spawn(async move {
            let mut got = Vec::new();
            loop {
                let message = receiver.receive().await.unwrap();
                got.extend_from_slice(&message.payload);
                receiver.durable(message.sequence);
                if message.kind == FrameKind::Trailer {
                    got.truncate(got.len() - message.payload.len());
                    return got;
                }
            }
        });
        for cut in 0..60u64 {
            meet(&a, &b, Some(cut * 977)).await;
        }
        meet(&a, &b, None).await;
        sending.await.unwrap();
        assert!(receiving.await.unwrap() == sent);
    }

    #[tokio::test]
    async fn a_consumer_that_is_slower_than_the_deadline_breaks_nothing() {
        let (a, b) = ends(20_000);
        let (c, d) = (a.clone(), b.clone());
        let session = tokio::spawn(async move { meet(&c, &d, None).await });
        let sender = a.clone();
        let sending = tokio::spawn(async move {
            for byte in 0..6u8 {
                sender.send_data(Bytes::from(vec![byte; 10_000])).await.unwrap();
            }
        });
        for byte in 0..6u8 {
            // Longer than the deadline in all: only heartbeats keep the session.
            tokio::time::sleep(Duration::from_millis(150)).await;
            let message = b.receive().await.unwrap();
            assert!(message.payload.iter().all(|b| *b == byte));
            b.durable(message.sequence);
        }
        sending.await.unwrap();
        assert!(!session.is_finished());
        session.abort();
    }

    #[tokio::test]
    async fn a_peer_that_falls_silent_ends_the_session_and_not_the_link() {
        let (a, _) = ends(1000);
        let (near, _far) = tokio::io::duplex(1000);
        let (reader, writer) = tokio::io::split(near);
        let error = a.session(reader, writer, Decoder::default()).await;
        assert!(matches!(error, LinkError::Silent(_)), "{error}");
        assert_eq!(a.closed(), None);
    }
}
