//! Verifying what is stored: every byte against the signed manifest. It needs no key.

use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use crate::event::Events;
use crate::parallel;

use super::error::{BundleError, BundleFault};
use super::manifest::MemberEntry;
use super::places::{self, Place};
use super::reader::{OTHER_BYTES, Reader, SignatureState};
use super::tarball::BLOCK;

/// How much is read at once: a request each, where the store is far away.
const BUFFER: u64 = 4 << 20;

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
    /// Reads every byte of the bundle and checks it. Manifest, signature and the end were checked when it was opened;
    /// here come the members with their tar headers and the padding between them, so no byte of the file is left out.
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
        Ok(StoredProof { members: self.members(), bytes: self.bytes(), signature: self.signature.clone() })
    }

    /// Hashes the listed members that `wanted` picks, several at a time, and tells `seen` of each in order.
    pub(super) fn hash_members(
        &self,
        seen: &mut dyn FnMut(&Place, &MemberEntry),
        cancel: &CancellationToken,
        wanted: &dyn Fn(&Place) -> bool,
    ) -> Result<(), BundleFault> {
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

    fn hash_member(&self, place: &Place, entry: &MemberEntry, cancel: &CancellationToken) -> Result<(), BundleFault> {
        let mut hasher = Sha256::new();
        let (total, content_end) = (place.end() - place.start(), BLOCK + place.bytes);
        let mut buffer = vec![0; BUFFER.min(total) as usize];
        let mut at = 0;
        while at < total {
            if cancel.is_cancelled() {
                return Err(BundleFault::Cancelled);
            }
            let length = BUFFER.min(total - at);
            let part = &mut buffer[..length as usize];
            self.stored.read_at(place.start() + at, part).map_err(places::cut_off)?;
            // What is before `from` is the tar header, what is after `to` is padding.
            let from = BLOCK.saturating_sub(at);
            let to = content_end.saturating_sub(at).clamp(from, length);
            if at == 0 {
                places::check_block(place, &part[..from as usize], self.mtime)?;
            }
            hasher.update(&part[from as usize..to as usize]);
            places::check_padding(place, &part[to as usize..])?;
            at += length;
        }
        if hex::encode(hasher.finalize()) == entry.sha256 {
            Ok(())
        } else {
            Err(BundleFault::damaged(&entry.name, OTHER_BYTES))
        }
    }

    /// The padding of the manifest and the signature, which the manifest cannot list.
    pub(super) fn check_tail_padding(&self) -> Result<(), BundleFault> {
        [Some(&self.tail.manifest), self.tail.signature.as_ref()].into_iter().flatten().try_for_each(|place| {
            let mut padding = vec![0; (place.end() - place.offset - place.bytes) as usize];
            if padding.is_empty() {
                return Ok(());
            }
            self.stored.read_at(place.offset + place.bytes, &mut padding).map_err(places::cut_off)?;
            places::check_padding(place, &padding)
        })
    }
}
