//! Stores and files, opened by what settings, journals and people call them.

use std::path::Path;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::bucket::{BucketOptions, BucketStore, is_bucket};
use super::directory::{DirectoryStore, open_path};
use super::error::StoreError;
use super::notice::Notice;
use super::promise::Store;
use super::stored::Stored;
use super::traced::TracedStore;
use crate::redact::Secrets;

/// What is known of the buckets that may be opened, and what learns the secrets that open them.
#[derive(Debug, Clone, Default)]
pub struct StoreAccess {
    /// Each by what it is called.
    pub buckets: Vec<(String, BucketOptions)>,
    pub secrets: Secrets,
    /// Ends every wait for a server once it is cancelled; a store that is opened later is one to put back with.
    pub stop: CancellationToken,
    /// Hears what a store has to say in the middle of a call.
    pub notice: Notice,
}

/// Opens the store that is called `place`. Of a bucket, nothing is asked yet.
///
/// # Errors
/// `Unusable`.
pub fn open_at(place: &str, access: &StoreAccess) -> Result<Arc<dyn Store>, StoreError> {
    if !is_bucket(place) {
        return Ok(Arc::new(TracedStore(DirectoryStore::open_folder(Path::new(place))?)));
    }
    let of = |called: &str| called.trim_end_matches('/') == place.trim_end_matches('/');
    let known = access.buckets.iter().find(|(called, _)| of(called)).map(|(_, options)| options.clone());
    let options = known.unwrap_or_default();
    Ok(Arc::new(TracedStore(BucketStore::open(place, &options, &access.secrets, &access.stop, &access.notice)?)))
}

/// Opens a single file outside any store, such as a bundle that somebody carried over by hand.
///
/// # Errors
/// `NotFound`, `Failed`.
pub fn open_file(path: &Path) -> Result<Arc<dyn Stored>, StoreError> {
    open_path(path, path.display().to_string(), "the file system").map(|file| Arc::new(file) as Arc<dyn Stored>)
}
