//! Why a stream into a pod fails.

use crate::agent::protocol::Failure;
use crate::wire::LinkError;

/// Why a stream into a pod failed.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The program cannot run inside the pod.
    #[error("{path} cannot run in the helper pod: {reason}")]
    Binary { path: String, reason: String },
    /// The program could not be copied into the pod.
    #[error("copy dr into pod {pod}: {cause}")]
    Install { pod: String, cause: String },
    /// The link is at an end.
    #[error("the stream with {peer} broke for good")]
    Link {
        /// The agent and its pod.
        peer: String,
        #[source]
        source: LinkError,
    },
    /// The agent could not do what was asked.
    #[error("{peer}: {failure}")]
    Agent {
        /// The agent and its pod.
        peer: String,
        failure: Failure,
    },
    /// What came is not what was announced.
    #[error("{0}")]
    Damaged(String),
    /// The caller gave up a backup or a stage half-way and then asked for something else.
    #[error("the {0} before was left half-way: attach anew")]
    Unfinished(&'static str),
}

/// The result of a call here.
pub type Result<T> = std::result::Result<T, TransportError>;
