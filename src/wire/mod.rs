//! Reliable, ordered messages over byte streams that break, lose their tail or lie about their end.
//!
//! [`frame`] is the codec, [`link`] the state machine that both sides run (both pure), [`conduit`] moves bytes
//! between a link and whatever stream there is at the moment. `docs/design/0002-streams-that-cannot-lie.md` has the
//! reasons.

pub mod conduit;
pub mod direct;
pub mod frame;
pub mod link;

pub use conduit::Conduit;
pub use frame::{Decoder, Frame, FrameKind};
pub use link::{Hello, Limits, Link, LinkError, Message};
