//! Sealing (age), signing (SSH signatures) and digests.

mod allowed;
mod hashed;
pub mod seal;
pub mod sign;
pub mod trusted;

pub use hashed::Hashed;
pub use seal::{Identities, Recipients};
pub use sign::{COMMIT_NAMESPACE, Signer, trust_line};
pub use trusted::{SignedBy, TrustedSigners};
