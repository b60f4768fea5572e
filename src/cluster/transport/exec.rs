//! The streams of an exec session, taken off its WebSocket by ourselves: the library sends stdin in 4 KiB messages, and
//! each of them costs the API server, the kubelet and the container runtime a wake-up.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use futures::stream::{SplitSink, SplitStream};
use futures::{Sink, Stream, StreamExt};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::api::{Api, AttachParams};
use kube::core::Request;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};

use super::dial::{AgentSession, Words};

/// The most bytes of stdin in one message.
const PIECE: usize = 256 << 10;
/// The first byte of each message says which stream it is of (`v4.channel.k8s.io`, `v5.channel.k8s.io`).
const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
/// How the command ended, as a `Status`.
const VERDICT: u8 = 3;
/// The container of a helper pod; others may have been put beside it.
const CONTAINER: &str = "dr";

type Socket<S> = WebSocketStream<S>;

/// Runs `command` in a helper pod.
///
/// # Errors
/// The API server's.
pub(super) async fn open(pods: &Api<Pod>, pod: &str, command: &[&str]) -> kube::Result<AgentSession> {
    let params = AttachParams::default().stdin(true).stdout(true).stderr(true).container(CONTAINER);
    let request = Request::new(pods.resource_url()).exec(pod, command.iter().copied(), &params);
    let request = request.map_err(kube::Error::BuildRequest)?;
    let socket = pods.clone().into_client().connect(request).await?.into_stream();
    Ok(streams(socket))
}

fn streams<S>(socket: Socket<S>) -> AgentSession
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (sink, messages) = socket.split();
    let words = Words::default();
    let stdout = Stdout { messages, words: words.clone(), rest: Bytes::new() };
    AgentSession { reader: Box::new(stdout), writer: Box::new(Stdin(sink)), words }
}

struct Stdout<S> {
    messages: SplitStream<Socket<S>>,
    words: Words,
    rest: Bytes,
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stdout<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let this = self.get_mut();
        while this.rest.is_empty() {
            let mut message = match ready!(Pin::new(&mut this.messages).poll_next(cx)) {
                None | Some(Ok(Message::Close(_))) => return Poll::Ready(Ok(())),
                Some(Err(error)) => return Poll::Ready(Err(failure(error))),
                Some(Ok(Message::Binary(message))) if !message.is_empty() => message,
                Some(Ok(_)) => continue,
            };
            match message.get_u8() {
                STDOUT => this.rest = message,
                STDERR => this.words.hear(&message),
                VERDICT => {
                    if let Some(why) = failed(&message) {
                        this.words.hear(format!("{why}\n").as_bytes());
                    }
                    return Poll::Ready(Ok(()));
                }
                _ => {}
            }
        }
        let count = this.rest.len().min(buf.remaining());
        buf.put_slice(&this.rest.split_to(count));
        Poll::Ready(Ok(()))
    }
}

/// Why the command failed, where it did and the node says more than its exit code: stderr has its own words.
fn failed(verdict: &[u8]) -> Option<String> {
    let status: Status = serde_json::from_slice(verdict).ok()?;
    let ended = matches!(status.reason.as_deref(), Some("NonZeroExitCode"));
    status.message.filter(|_| !ended && status.status.as_deref() != Some("Success"))
}

struct Stdin<S>(SplitSink<Socket<S>, Message>);

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stdin<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        ready!(Pin::new(&mut self.0).poll_ready(cx)).map_err(failure)?;
        let count = buf.len().min(PIECE);
        let mut message = BytesMut::with_capacity(count + 1);
        message.extend_from_slice(&[STDIN]);
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
mod tests {
    use futures::SinkExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio_tungstenite::tungstenite::protocol::Role;

    use super::*;

    async fn session() -> (AgentSession, Socket<tokio::io::DuplexStream>) {
        let (near, far) = tokio::io::duplex(1 << 20);
        let near = WebSocketStream::from_raw_socket(near, Role::Client, None).await;
        (streams(near), WebSocketStream::from_raw_socket(far, Role::Server, None).await)
    }

    fn message(channel: u8, bytes: &[u8]) -> Message {
        Message::binary([&[channel], bytes].concat())
    }

    #[tokio::test]
    async fn stdout_comes_whole_and_stderr_beside_it() {
        let (mut session, mut far) = session().await;
        for (channel, bytes) in
            [(STDOUT, b"one ".as_slice()), (STDERR, b"a wo"), (STDERR, b"rd\nand"), (STDOUT, b"two")]
        {
            far.send(message(channel, bytes)).await.unwrap();
        }
        far.send(Message::Ping(Bytes::new())).await.unwrap();
        far.send(message(STDOUT, b"")).await.unwrap();
        far.send(message(STDOUT, b" three")).await.unwrap();
        let verdict = br#"{"status":"Failure","reason":"NonZeroExitCode","message":"exit status 3"}"#;
        far.send(message(VERDICT, verdict)).await.unwrap();
        let mut read = String::new();
        session.reader.read_to_string(&mut read).await.unwrap();
        assert_eq!((read.as_str(), session.words.last().as_deref()), ("one two three", Some("and")));
    }

    #[tokio::test]
    async fn a_verdict_that_says_more_than_an_exit_code_is_the_last_word() {
        let (mut session, mut far) = session().await;
        far.send(message(STDERR, b"a line\n")).await.unwrap();
        let verdict = br#"{"status":"Failure","reason":"InternalError","message":"container not found"}"#;
        far.send(message(VERDICT, verdict)).await.unwrap();
        session.reader.read_to_end(&mut Vec::new()).await.unwrap();
        assert_eq!(session.words.last().as_deref(), Some("container not found"));
    }

    #[tokio::test]
    async fn stdin_goes_out_in_large_messages() {
        let (mut session, mut far) = session().await;
        let sent: Vec<u8> = (0..600_000u32).map(|n| (n % 251) as u8).collect();
        let sending = async {
            session.writer.write_all(&sent).await.unwrap();
            session.writer.flush().await.unwrap();
        };
        let receiving = async {
            let (mut got, mut messages) = (Vec::new(), 0);
            while got.len() < sent.len() {
                let Some(Ok(Message::Binary(message))) = far.next().await else { panic!("the session ended") };
                assert_eq!(message[0], STDIN);
                got.extend_from_slice(&message[1..]);
                messages += 1;
            }
            (got, messages)
        };
        let ((), (got, messages)) = tokio::join!(sending, receiving);
        assert!(got == sent && messages == 3);
    }
}
