//! Who comes to the agent: each new stream says for which run and link it is, before it is let near any work.

use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use crate::wire::{Decoder, Frame, FrameKind, Hello, Limits, Link, LinkError};

/// How long a stream may take to say who it is.
const GREETING: Duration = Duration::from_secs(10);

/// A stream of whatever kind.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

/// A stream that has said who it is.
pub struct Caller {
    pub stream: Box<dyn Duplex>,
    /// What was read behind the greeting.
    pub decoder: Decoder,
    pub greeting: Frame,
    pub hello: Hello,
}

/// Where callers of one run arrive.
#[derive(Clone)]
pub struct Callers {
    run: String,
    arrive: mpsc::Sender<Caller>,
}

impl Callers {
    /// Those of `run`, and where they are taken up.
    pub fn of(run: &str) -> (Self, mpsc::Receiver<Caller>) {
        let (arrive, arrived) = mpsc::channel(4);
        (Self { run: run.to_owned(), arrive }, arrived)
    }

    /// Reads the greeting of a new stream, and refuses it or passes it on.
    pub async fn greet(self, mut stream: Box<dyn Duplex>) {
        let mut decoder = Decoder::default();
        let Ok(Some(greeting)) = tokio::time::timeout(GREETING, first_frame(&mut stream, &mut decoder)).await else {
            return;
        };
        let refusal = match serde_json::from_slice::<Hello>(&greeting.payload) {
            _ if greeting.kind != FrameKind::Hello => return,
            Err(error) => error.to_string(),
            Ok(hello) => match Link::new(self.run, &hello.link, Limits::default()).check_hello(&hello) {
                Err(LinkError::OtherRun { ours, theirs }) => format!("it serves run {ours}, not {theirs}"),
                Err(LinkError::OtherVersion { ours, theirs }) => format!("it speaks version {ours}, not {theirs}"),
                Err(error) => error.to_string(),
                Ok(()) => {
                    let _ = self.arrive.send(Caller { stream, decoder, greeting, hello }).await;
                    return;
                }
            },
        };
        refuse(stream, refusal).await;
    }
}

/// Tells a caller that it will never be served, and why.
pub async fn refuse(mut stream: Box<dyn Duplex>, why: String) {
    if let Ok(frame) = Frame::new(FrameKind::Refusal, 0, Bytes::from(why)) {
        let _ = stream.write_all(&[&frame.header()[..], &frame.payload[..]].concat()).await;
        let _ = stream.shutdown().await;
    }
}

async fn first_frame(stream: &mut Box<dyn Duplex>, decoder: &mut Decoder) -> Option<Frame> {
    loop {
        if let Some(frame) = decoder.next_frame().ok()? {
            return Some(frame);
        }
        decoder.buffer().reserve(4096);
        if stream.read_buf(decoder.buffer()).await.ok()? == 0 {
            return None;
        }
    }
}
