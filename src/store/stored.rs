//! Objects as they are read.

use super::error::StoreError;

/// The bytes of an object. Reads may come from many threads at once.
pub trait Stored: Send + Sync {
    /// What to call it in messages.
    fn name(&self) -> &str;

    /// Its length in bytes.
    fn len(&self) -> u64;

    /// Whether it has no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `buffer` from `offset` on.
    ///
    /// # Errors
    /// `Short` when the object ends before the buffer is full, `Failed`.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), StoreError>;
}
