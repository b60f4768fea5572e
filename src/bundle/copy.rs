//! A bundle on its way from one store into another: the same bytes, each member checked against the signed manifest as it
//! passes. What arrived is read back as that of a new bundle is: [`UnpublishedBundle::of_copy`].

use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use crate::store::{Draft, Stored};

use super::error::{BundleError, BundleFault};
use super::manifest::MemberEntry;
use super::places::{self, Place};
use super::reader::{OTHER_BYTES, Reader};

/// Called after each piece, with the draft and how many bytes of the bundle it was given in all.
pub type Passed<'a> = &'a mut dyn FnMut(&mut dyn Draft, u64);

impl Reader {
    /// Hands the bundle's bytes from `from` on to `draft`, which has those before. A member that `from` lies within is read
    /// from its beginning, so that all of it is checked. So many bytes as `piece` says go at once.
    ///
    /// # Errors
    /// `Damaged` with the first member that is not what the manifest lists, `Cancelled`, `Store` of either side. The draft
    /// then stays as far as it is.
    pub fn copy_to(
        &self,
        draft: &mut dyn Draft,
        from: u64,
        piece: u64,
        cancel: &CancellationToken,
        passed: Passed<'_>,
    ) -> Result<(), BundleError> {
        let mut copying = Copying { from: &*self.stored, draft, at: from, piece, cancel, passed, buffer: Vec::new() };
        let copied = self
            .listed()
            .filter(|(place, _)| place.end() > from)
            .try_for_each(|(place, entry)| copying.member(place, entry))
            .and_then(|()| copying.pass(copying.at..self.bytes(), |_, _| {}));
        copied.map_err(|fault| self.fault(fault))
    }
}

struct Copying<'a> {
    from: &'a dyn Stored,
    draft: &'a mut dyn Draft,
    /// Up to where the draft has the bundle's bytes.
    at: u64,
    piece: u64,
    cancel: &'a CancellationToken,
    passed: Passed<'a>,
    buffer: Vec<u8>,
}

impl Copying<'_> {
    fn member(&mut self, place: &Place, entry: &MemberEntry) -> Result<(), BundleFault> {
        // What is before the member is listed nowhere: it is checked when the copy is read back.
        self.pass(self.at..place.start(), |_, _| {})?;
        let mut hasher = Sha256::new();
        let (begins, ends) = (place.offset, place.offset + place.bytes);
        self.pass(place.start()..place.end(), |at, bytes| {
            let within = |offset: u64| (offset.clamp(at, at + bytes.len() as u64) - at) as usize;
            hasher.update(&bytes[within(begins)..within(ends)]);
        })?;
        match hex::encode(hasher.finalize()) == entry.sha256 {
            true => Ok(()),
            false => Err(BundleFault::damaged(&entry.name, OTHER_BYTES)),
        }
    }

    /// Reads a range, shows it to `seen` with where it is, and hands over what the draft has not yet.
    fn pass(&mut self, range: std::ops::Range<u64>, mut seen: impl FnMut(u64, &[u8])) -> Result<(), BundleFault> {
        let mut next = range.start;
        while next < range.end {
            if self.cancel.is_cancelled() {
                return Err(BundleFault::Cancelled);
            }
            let length = self.piece.min(range.end - next);
            self.buffer.resize(length as usize, 0);
            self.from.read_at(next, &mut self.buffer).map_err(places::cut_off)?;
            seen(next, &self.buffer);
            let known = self.at.saturating_sub(next).min(length);
            self.draft.append(&self.buffer[known as usize..])?;
            next += length;
            self.at = self.at.max(next);
            (self.passed)(self.draft, self.at);
        }
        Ok(())
    }
}
