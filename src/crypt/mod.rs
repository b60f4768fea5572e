//! Sealing (age) and signing (SSH signatures).

pub mod seal;

pub use seal::{Identities, Recipients};
