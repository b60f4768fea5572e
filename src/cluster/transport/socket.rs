//! The streams of a session of the API server's, taken off its WebSocket by ourselves: the library sends in 4 KiB
//! messages, and each of them costs the API server, the kubelet and the container runtime a wake-up.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use futures::stream::{SplitSink, SplitStream};
use futures::{Sink, Stream, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};

/// The most bytes in one message.
const PIECE: usize = 256 << 10;
/// What is sent is all of this channel: stdin of a command, the bytes for a port.
pub const OUTGOING: u8 = 0;

pub type Socket<S> = WebSocketStream<S>;

/// What the messages of a session's channels are. The first byte of each says which channel it is of
/// (`v4.channel.k8s.io`, `v5.channel.k8s.io`).
pub trait Channels: Send + Unpin {
    fn take(&mut self, channel: u8, bytes: Bytes) -> Taken;
}

/// What a message was.
pub enum Taken {
    /// A piece of the stream.
    Piece(Bytes),
    Nothing,
    /// The end of the stream.
    End,
}

/// Both ways of a session.
pub fn split<S, C>(socket: Socket<S>, channels: C) -> (Incoming<S, C>, Sending<S>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (sink, messages) = socket.split();
    (Incoming { messages, channels, rest: Bytes::new() }, Sending(sink))
}

pub struct Incoming<S, C> {
    messages: SplitStream<Socket<S>>,
    channels: C,
    rest: Bytes,
}

impl<S: AsyncRead + AsyncWrite + Unpin, C: Channels> AsyncRead for Incoming<S, C> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let this = self.get_mut();
        while this.rest.is_empty() {
            let mut message = match ready!(Pin::new(&mut this.messages).poll_next(cx)) {
                None | Some(Ok(Message::Close(_))) => return Poll::Ready(Ok(())),
                Some(Err(error)) => return Poll::Ready(Err(failure(error))),
                Some(Ok(Message::Binary(message))) if !message.is_empty() => message,
                Some(Ok(_)) => continue,
            };
            match this.channels.take(message.get_u8(), message) {
                Taken::Piece(piece) => this.rest = piece,
                Taken::Nothing => {}
                Taken::End => return Poll::Ready(Ok(())),
            }
        }
        let count = this.rest.len().min(buf.remaining());
        buf.put_slice(&this.rest.split_to(count));
        Poll::Ready(Ok(()))
    }
}

pub struct Sending<S>(SplitSink<Socket<S>, Message>);

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Sending<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        ready!(Pin::new(&mut self.0).poll_ready(cx)).map_err(failure)?;
        let count = buf.len().min(PIECE);
        let mut message = BytesMut::with_capacity(count + 1);
        message.extend_from_slice(&[OUTGOING]);
        message.extend_from_slice(&buf[..count]);
        Pin::new(&mut self.0).start_send(Message::Binary(message.freeze())).map_err(failure)?;
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx).map_err(failure)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx).map_err(failure)
    }
}

fn failure(error: SocketError) -> std::io::Error {
    match error {
        SocketError::Io(error) => error,
        other => std::io::Error::other(other),
    }
}

#[cfg(test)]
pub mod testing {
    use tokio::io::DuplexStream;
    use tokio_tungstenite::tungstenite::protocol::Role;

    use super::*;

    /// The two ends of a session.
    pub async fn sockets() -> (Socket<DuplexStream>, Socket<DuplexStream>) {
        let (near, far) = tokio::io::duplex(1 << 20);
        let near = WebSocketStream::from_raw_socket(near, Role::Client, None).await;
        (near, WebSocketStream::from_raw_socket(far, Role::Server, None).await)
    }

    pub fn message(channel: u8, bytes: &[u8]) -> Message {
        Message::binary([&[channel], bytes].concat())
    }
}
