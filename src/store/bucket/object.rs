//! The bytes of an object in a bucket, as they are read: a range a request.

use std::sync::Arc;

use object_store::path::Path as Key;

use super::client::BucketClient;
use crate::store::error::StoreError;
use crate::store::stored::Stored;

/// The most bytes that one request asks for: so much is in memory twice for a moment, and read again when it breaks.
const AT_ONCE: u64 = 16 << 20;

pub(super) struct BucketObject {
    client: Arc<BucketClient>,
    name: String,
    key: Key,
    bytes: u64,
}

impl BucketObject {
    /// Opens the bytes of `name` that lie in the file `file`; the server is asked how many there are.
    pub fn open(client: &Arc<BucketClient>, name: &str, file: &str) -> Result<Self, StoreError> {
        let key = client.address.file(name, file);
        let bytes = client.length(&key, name)?.ok_or_else(|| client.not_found(name))?;
        Ok(Self { client: Arc::clone(client), name: name.to_owned(), key, bytes })
    }
}

impl Stored for BucketObject {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> u64 {
        self.bytes
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), StoreError> {
        let wanted = offset.saturating_add(buffer.len() as u64);
        let short = || StoreError::Short { object: self.name.clone(), wanted };
        if wanted > self.bytes {
            return Err(short());
        }
        let mut at = offset;
        for piece in buffer.chunks_mut(AT_ONCE as usize) {
            let end = at + piece.len() as u64;
            let found = self.client.range(&self.key, &self.name, at..end)?;
            if found.len() != piece.len() {
                return Err(short());
            }
            piece.copy_from_slice(&found);
            at = end;
        }
        Ok(())
    }
}
