//! What the entry of a catalog is worth. The record beside a bundle is not signed, and anybody who can write to a store can
//! put a bundle there: before one is counted, or passed over for what its record says, it is held against itself.

use std::collections::HashSet;

use crate::crypt::sign::SignError;

use super::error::BundleFault;

/// The digests of the manifests that a config vault lists, signed.
pub type ListedManifests = HashSet<String>;

/// What an entry is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BundleStanding {
    /// It opens, its record is right, and who made it is trusted; or the vault lists this very bundle.
    Ours { is_listed: bool },
    /// It opens, and nobody who is trusted here has signed it; how that was seen.
    Stranger(String),
    /// It does not open, or its record is not its own.
    Broken(String),
}

/// Whether the signature is good as far as it goes, and is nobody's who is trusted.
pub(super) fn is_of_a_stranger(fault: &BundleFault) -> bool {
    match fault {
        BundleFault::Unsigned => true,
        BundleFault::Untrusted(error) => !matches!(error, SignError::BadSignature(_) | SignError::Mismatch { .. }),
        _ => false,
    }
}

pub(super) fn is_revoked(fault: &BundleFault) -> bool {
    matches!(fault, BundleFault::Untrusted(SignError::Revoked { .. }))
}
