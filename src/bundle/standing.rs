//! What the entry of a catalog is worth. The record beside a bundle is not signed, and anybody who can write to a store can
//! put a bundle there: before one is counted, or passed over for what its record says, it is held against itself.

use std::collections::HashSet;

use crate::crypt::sign::SignError;
use crate::parallel;
use crate::store::Store;

use super::catalog::{Catalog, CatalogEntry};
use super::error::BundleFault;
use super::reader::Trust;

/// How many bundles are opened side by side: where the store is far away, each costs some round trips.
const AT_ONCE: usize = 32;

/// The digests of the manifests that a config vault lists, signed.
pub type ListedManifests = HashSet<String>;

/// What an entry is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It opens, its record is right, and who made it is trusted; or the vault lists this very bundle.
    Ours { is_listed: bool },
    /// It opens, and nobody who is trusted here has signed it; how that was seen.
    Stranger(String),
    /// It does not open, or its record is not its own.
    Broken(String),
}

impl CatalogEntry {
    /// Opens it, of the store whose catalog it is of. No member's bytes are read but the header's, which is held against
    /// the signed manifest.
    pub fn standing(&self, store: &dyn Store, trust: &Trust, listed: &ListedManifests) -> Standing {
        if let Err(reason) = &self.header {
            return Standing::Broken(reason.clone());
        }
        let is_listed = |digest: &str| listed.contains(digest);
        let error = match self.open(store, trust) {
            Ok(reader) => return Standing::Ours { is_listed: is_listed(reader.manifest_sha256()) },
            Err(error) => error,
        };
        let reason = error.fault.in_words();
        if !is_of_a_stranger(&error.fault) {
            return Standing::Broken(reason);
        }
        // The key may have been taken off the list of trusted ones since; what the vault lists was ours then.
        match self.open(store, &Trust::Anyone(Default::default())) {
            Ok(reader) if is_listed(reader.manifest_sha256()) && !is_revoked(&error.fault) => {
                Standing::Ours { is_listed: true }
            }
            Ok(_) => Standing::Stranger(reason),
            Err(error) => Standing::Broken(error.fault.in_words()),
        }
    }
}

impl Catalog {
    /// What those entries are worth that `wanted` picks, each with its place, newest first.
    pub fn standings(
        &self,
        store: &dyn Store,
        trust: &Trust,
        listed: &ListedManifests,
        wanted: impl Fn(usize, &CatalogEntry) -> bool,
    ) -> Vec<(usize, Standing)> {
        let picked: Vec<_> = self.entries.iter().enumerate().filter(|(at, entry)| wanted(*at, entry)).collect();
        let open = |(at, entry): &(usize, &CatalogEntry)| (*at, entry.standing(store, trust, listed));
        parallel::in_order(picked.iter(), AT_ONCE.min(picked.len()), open, Iterator::collect)
    }
}

/// Whether the signature is good as far as it goes, and is nobody's who is trusted.
fn is_of_a_stranger(fault: &BundleFault) -> bool {
    match fault {
        BundleFault::Unsigned => true,
        BundleFault::Untrusted(error) => !matches!(error, SignError::BadSignature(_) | SignError::Mismatch { .. }),
        _ => false,
    }
}

fn is_revoked(fault: &BundleFault) -> bool {
    matches!(fault, BundleFault::Untrusted(SignError::Revoked { .. }))
}
