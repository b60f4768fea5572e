//! The frames that the transport and the agent speak.
