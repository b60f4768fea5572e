//! The client's half of the streams into a helper pod.
//!
//! An [`Agent`] is a link to the agent in a pod. Underneath, exec sessions come and go: each that breaks is replaced,
//! and nothing is lost or doubled (see [`crate::wire`]). Whatever is handed out here has been checked.

mod agent;
mod backup;
mod dial;
mod error;
mod exec;
mod forward;
pub mod install;
mod pod;
mod socket;
mod stage;
mod straight;
mod volume;

pub use agent::{Agent, Patience};
pub use backup::{BackupHandle, BackupItem, BackupStream, ReceivedChunk, Ticket};
pub use dial::{AgentSession, Dial, DialError, Way, Words};
pub use error::TransportError;
pub use stage::{StageChunk, StageSink};
pub use volume::VolumeItem;
