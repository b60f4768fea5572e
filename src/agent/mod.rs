//! The half of `dr` that runs inside the helper pod: base backup out, PGDATA in, the application back.
//!
//! [`serve`] is the pod's first process; [`attach`] only carries bytes between an exec session and its socket, so that
//! the work outlives the session; where its address can be reached, streams also come straight to it. What is said between the two ends is in [`protocol`]; each request is safe to repeat.

pub mod protocol;

mod attach;
mod backup;
mod callers;
mod door;
mod facts;
mod failure;
mod folders;
mod host;
mod keys;
mod replies;
mod serve;
mod stage;
mod swap;
mod sync;
mod volume;
mod watchdog;
mod worker;

pub use attach::attach;
pub use backup::{ChunkCutter, ChunkSealer, Cut, Outgoing, ZstdLevel};
pub use host::PodFiles;
pub use keys::take_keys;
pub use serve::{AgentError, ServeOptions, serve};
pub use watchdog::{PutBack, SILENCE, Watchdog};
