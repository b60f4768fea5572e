//! A port of a pod, through the API server's port forward. Fewer hands than exec: nothing is run in the pod, and neither the
//! container runtime's shim nor a pipe of its own is on the way.

use bytes::Bytes;
use k8s_openapi::api::core::v1::Pod;
use kube::api::Api;
use kube::core::Request;
use tokio::io::{AsyncRead, AsyncWrite};

use super::dial::Words;
use super::socket::{self, Channels, Taken};

/// What the port says.
const DATA: u8 = 0;
/// Why there is no connection to it.
const ERROR: u8 = 1;

/// A port of a pod's loopback.
#[derive(Clone)]
pub struct PodPort {
    pub pods: Api<Pod>,
    pub pod: String,
    pub port: u16,
}

impl PodPort {
    /// A connection to it. What goes wrong with it later is heard by `words`.
    ///
    /// # Errors
    /// The API server's.
    pub async fn open(&self, words: &Words) -> kube::Result<impl AsyncRead + AsyncWrite + Send + Unpin + use<>> {
        let request = Request::new(self.pods.resource_url()).portforward(&self.pod, &[self.port]);
        let request = request.map_err(kube::Error::BuildRequest)?;
        let socket = self.pods.clone().into_client().connect(request).await?.into_stream();
        let (reader, writer) = socket::split(socket, Port::new(words));
        Ok(tokio::io::join(reader, writer))
    }
}

/// The channels of one forwarded port. The first message of each only repeats the port.
struct Port {
    words: Words,
    begun: [bool; 2],
}

impl Port {
    fn new(words: &Words) -> Self {
        Self { words: words.clone(), begun: [false; 2] }
    }
}

impl Channels for Port {
    fn take(&mut self, channel: u8, bytes: Bytes) -> Taken {
        let Some(begun) = self.begun.get_mut(usize::from(channel)) else { return Taken::Nothing };
        match (std::mem::replace(begun, true), channel) {
            (true, DATA) => Taken::Piece(bytes),
            (true, ERROR) => {
                self.words.hear(&[&bytes, b"\n".as_slice()].concat());
                Taken::End
            }
            _ => Taken::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::SinkExt;
    use tokio::io::AsyncReadExt;

    use super::super::socket::testing::{message, sockets};
    use super::*;

    #[tokio::test]
    async fn the_port_itself_is_no_part_of_the_stream_and_its_error_ends_it() {
        let (near, mut far) = sockets().await;
        let words = Words::default();
        let (mut reader, _writer) = socket::split(near, Port::new(&words));
        let port = 7000u16.to_le_bytes();
        for (channel, bytes) in [(DATA, port.as_slice()), (ERROR, &port), (DATA, b"one "), (DATA, b"two")] {
            far.send(message(channel, bytes)).await.unwrap();
        }
        far.send(message(ERROR, b"connection refused")).await.unwrap();
        let mut read = String::new();
        reader.read_to_string(&mut read).await.unwrap();
        assert_eq!((read.as_str(), words.last().as_deref()), ("one two", Some("connection refused")));
    }
}
