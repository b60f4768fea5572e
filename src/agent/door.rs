//! The door for streams that come straight to the pod's address, instead of through an exec session.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::callers::Callers;
use super::protocol::Failure;
use crate::wire::direct::{DirectKey, KeyHash};

/// How many may shake hands at once: a stranger who says nothing must not keep the client out.
const AT_ONCE: usize = 16;
/// The pause after the system has refused a connection, so that it is not asked all the time.
const PAUSE: Duration = Duration::from_millis(100);

/// An open door. It closes when this is dropped; streams that came through it go on.
pub struct Door {
    _listening: JoinSet<()>,
    /// Where it is.
    pub port: u16,
    /// The key that the agent is known by.
    pub key: KeyHash,
}

impl Door {
    /// Listens on a port of `address` that the system chooses, for whoever has the key of `peer`.
    ///
    /// # Errors
    /// There is no such address in the pod, or no key can be made.
    pub async fn open(address: IpAddr, peer: KeyHash, callers: Callers) -> Result<Self, Failure> {
        let key = DirectKey::generate().map_err(|error| Failure::io("make a key")(std::io::Error::other(error)))?;
        let listen = format!("listen on {address}");
        let listener = TcpListener::bind(SocketAddr::new(address, 0)).await.map_err(Failure::io(&listen))?;
        let port = listener.local_addr().map_err(Failure::io(&listen))?.port();
        let hash = key.hash();
        let mut listening = JoinSet::new();
        listening.spawn(listen_for(listener, key, peer, callers));
        Ok(Self { _listening: listening, port, key: hash })
    }
}

async fn listen_for(listener: TcpListener, key: DirectKey, peer: KeyHash, callers: Callers) {
    let room = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        let Ok(place) = room.clone().acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let (key, callers) = (key.clone(), callers.clone());
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            // A stranger learns nothing, and the client finds out by itself.
            if let Ok(stream) = key.accept(stream, peer).await {
                drop(place);
                callers.greet(Box::new(stream)).await;
            }
        });
    }
}
