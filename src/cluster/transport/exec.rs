//! The streams of an exec session.

use bytes::Bytes;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::api::{Api, AttachParams};
use kube::core::Request;
use tokio::io::{AsyncRead, AsyncWrite};

use super::super::pod::CONTAINER;
use super::dial::{AgentSession, Words};
use super::socket::{self, Channels, Socket, Taken};

const STDOUT: u8 = 1;
const STDERR: u8 = 2;
/// How the command ended, as a `Status`.
const VERDICT: u8 = 3;

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
    let words = Words::default();
    let (reader, writer) = socket::split(socket, Command { words: words.clone() });
    AgentSession { reader: Box::new(reader), writer: Box::new(writer), words }
}

/// The channels of a command: stdout is the stream, and the rest are words beside it.
struct Command {
    words: Words,
}

impl Channels for Command {
    fn take(&mut self, channel: u8, bytes: Bytes) -> Taken {
        match channel {
            STDOUT => return Taken::Piece(bytes),
            STDERR => self.words.hear(&bytes),
            VERDICT => {
                if let Some(why) = failed(&bytes) {
                    self.words.hear(format!("{why}\n").as_bytes());
                }
                return Taken::End;
            }
            _ => {}
        }
        Taken::Nothing
    }
}

/// Why the command failed, where it did and the node says more than its exit code: stderr has its own words.
fn failed(verdict: &[u8]) -> Option<String> {
    let status: Status = serde_json::from_slice(verdict).ok()?;
    let ended = matches!(status.reason.as_deref(), Some("NonZeroExitCode"));
    status.message.filter(|_| !ended && status.status.as_deref() != Some("Success"))
}

#[cfg(test)]
mod tests {
    use futures::{SinkExt, StreamExt};
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
    use tokio_tungstenite::tungstenite::Message;

    use super::super::socket::OUTGOING;
    use super::super::socket::testing::{message, sockets};
    use super::*;

    async fn session() -> (AgentSession, Socket<DuplexStream>) {
        let (near, far) = sockets().await;
        (streams(near), far)
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
                assert_eq!(message[0], OUTGOING);
                got.extend_from_slice(&message[1..]);
                messages += 1;
            }
            (got, messages)
        };
        let ((), (got, messages)) = tokio::join!(sending, receiving);
        assert!(got == sent && messages == 3);
    }
}
