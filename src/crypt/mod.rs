//! Sealing (age), signing (SSH signatures) and digests.

mod allowed;
mod hashed;
pub mod seal;
pub mod sign;

pub use hashed::Hashed;
pub use seal::{Identities, Recipients};
pub use sign::{SignedBy, Signer, TrustedSigners};
