//! Sealing (age) and signing (SSH signatures).

mod allowed;
pub mod seal;
pub mod sign;

pub use seal::{Identities, Recipients};
pub use sign::{SignedBy, Signer, TrustedSigners};
