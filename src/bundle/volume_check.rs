//! Reading the volumes of a bundle: every file of them is held against the listing that is sealed with it.

use tokio_util::sync::CancellationToken;

use crate::crypt::seal::Identities;
use crate::filetree::{self, TreePieces, TreeTotals};

use super::error::BundleFault;
use super::reader::{Reader, StoredChunk};
use super::volume::{BundledVolume, VolumeProof, chunk_of};

/// How many pieces wait for whoever reads the tar.
const WAITING_PIECES: usize = 2;

impl Reader {
    /// What the bundle holds of other volumes.
    pub fn volumes(&self) -> &[BundledVolume] {
        &self.manifest.volumes
    }

    /// The chunks of a volume's tar in order; none where the bundle does not hold it.
    pub fn volume_chunks(&self, volume: &str) -> Vec<StoredChunk> {
        let Some(said) = self.manifest.volumes.iter().find(|said| said.volume == volume) else { return Vec::new() };
        let stored = self.listed().filter_map(|(place, entry)| {
            let (of, index) = chunk_of(&place.member)?;
            let raw = said.chunks.get(index as usize)?;
            (of == volume).then(|| StoredChunk {
                member: place.member.clone(),
                index,
                offset: place.offset,
                stored_bytes: place.bytes,
                sha256: entry.sha256.clone(),
                raw_bytes: raw.raw_bytes,
                raw_sha256: raw.raw_sha256.clone(),
            })
        });
        stored.collect()
    }

    /// Reads the tar of each volume, and holds every file against the tar's own listing, and the listing against the manifest.
    pub(super) fn check_volumes(
        &self,
        identities: &Identities,
        cancel: &CancellationToken,
        mut read: impl FnMut(u64),
    ) -> Result<Vec<VolumeProof>, BundleFault> {
        let check = |said: &BundledVolume| self.check_volume(said, identities, cancel, &mut read);
        self.manifest.volumes.iter().map(check).collect()
    }

    fn check_volume(
        &self,
        said: &BundledVolume,
        identities: &Identities,
        cancel: &CancellationToken,
        read: &mut impl FnMut(u64),
    ) -> Result<VolumeProof, BundleFault> {
        let (chunks, damaged) = (self.volume_chunks(&said.volume), |reason: String| {
            BundleFault::damaged(format!("volume {}", said.volume), reason)
        });
        let (send, pieces) = std::sync::mpsc::sync_channel::<Vec<u8>>(WAITING_PIECES);
        let listing = std::thread::scope(|scope| {
            let checking = scope.spawn(move || filetree::check(TreePieces::new(pieces)));
            let passed = self.unpack_each(&chunks, identities, cancel, |chunk, raw| {
                read(chunk.stored_bytes);
                // Where nobody takes it, its own error says why.
                drop(send.send(raw.to_vec()));
                Ok(())
            });
            drop(send);
            let checked = checking.join();
            passed?;
            match checked {
                Ok(checked) => checked.map_err(|error| damaged(error.to_string())),
                Err(_) => Err(damaged("the check of it stopped".to_owned())),
            }
        })?;
        let TreeTotals { left_out, moving, .. } = said.totals;
        if (TreeTotals { left_out, moving, ..listing.totals() }) != said.totals {
            return Err(damaged("it does not hold as much as the manifest says".to_owned()));
        }
        Ok(VolumeProof { volume: said.volume.clone(), files: said.totals.files, bytes: said.totals.bytes })
    }
}
