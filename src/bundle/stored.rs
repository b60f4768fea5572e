//! Verifying what is stored: every byte against the signed manifest. It needs no key.

use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use crate::event::Events;
use crate::parallel;

use super::error::{BundleError, Fault};
use super::manifest::MemberEntry;
use super::reader::{Place, Reader, SignatureState, cut_off};
use super::tarball;

/// How much is read at once.
const BUFFER: usize = 1 << 20;

/// Every stored byte was read and is what the manifest lists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StoredProof {
    /// How many members were hashed.
    pub members: usize,
    /// The length of the bundle in bytes.
    pub bytes: u64,
    /// What is known of the signature over the manifest.
    pub signature: SignatureState,
}

impl Reader {
    /// Reads every byte of the bundle and checks it. Tar headers, signature and manifest were checked when it was
    /// opened; here come the members and the padding between them, so no byte of the file is left out.
    ///
    /// # Errors
    /// `Damaged` with the first member that is wrong, `Cancelled`, `Store`.
    pub fn verify_stored(&self, events: &Events, cancel: &CancellationToken) -> Result<StoredProof, BundleError> {
        let mut done = 0;
        self.hash_members(
            &mut |_, entry| {
                done += entry.bytes;
                events.bytes("verified", done, Some(self.bytes()));
            },
            cancel,
            &|_| true,
        )
        .and_then(|()| self.check_tail_padding())
        .map_err(|fault| self.fault(fault))?;
        events.bytes("verified", self.bytes(), Some(self.bytes()));
        Ok(StoredProof { members: self.places.len(), bytes: self.bytes(), signature: self.signature.clone() })
    }

    /// Hashes the listed members that `wanted` picks, several at a time, and tells `seen` of each in order.
    pub(super) fn hash_members(
        &self,
        seen: &mut dyn FnMut(&Place, &MemberEntry),
        cancel: &CancellationToken,
        wanted: &dyn Fn(&Place) -> bool,
    ) -> Result<(), Fault> {
        let pieces: Vec<_> = self.listed().filter(|(place, _)| wanted(place)).collect();
        let work = |&(place, entry): &(&Place, &MemberEntry)| self.hash_member(place, entry, cancel);
        parallel::in_order(pieces.iter(), parallel::threads(), work, |results| {
            for (result, (place, entry)) in results.zip(&pieces) {
                result?;
                seen(place, entry);
            }
            Ok(())
        })
    }

    fn hash_member(&self, place: &Place, entry: &MemberEntry, cancel: &CancellationToken) -> Result<(), Fault> {
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; BUFFER.min(place.bytes as usize)];
        let mut left = place.bytes;
        while left > 0 {
            if cancel.is_cancelled() {
                return Err(Fault::Cancelled);
            }
            let part = &mut buffer[..left.min(BUFFER as u64) as usize];
            self.stored.read_at(place.offset + place.bytes - left, part).map_err(cut_off)?;
            hasher.update(&*part);
            left -= part.len() as u64;
        }
        if hex::encode(hasher.finalize()) != entry.sha256 {
            return Err(Fault::damaged(&entry.name, "its stored bytes are not those that the manifest lists"));
        }
        self.check_padding(place)
    }

    /// The padding of the manifest and the signature, which the manifest cannot list.
    pub(super) fn check_tail_padding(&self) -> Result<(), Fault> {
        self.places[self.manifest.members.len()..].iter().try_for_each(|place| self.check_padding(place))
    }

    pub(super) fn check_padding(&self, place: &Place) -> Result<(), Fault> {
        let mut padding = vec![0; tarball::padding(place.bytes) as usize];
        self.stored.read_at(place.offset + place.bytes, &mut padding).map_err(cut_off)?;
        if padding.iter().any(|byte| *byte != 0) {
            return Err(Fault::damaged(&place.member, "the padding after it is not empty"));
        }
        Ok(())
    }
}
