//! Stores and files, opened by what settings, journals and people call them.

use std::path::Path;
use std::sync::Arc;

use super::directory::{DirectoryStore, open_path};
use super::error::StoreError;
use super::promise::Store;
use super::stored::Stored;
use super::traced::TracedStore;

/// Opens the store that is called `place`.
///
/// # Errors
/// `Unusable`.
pub fn open_at(place: &str) -> Result<Arc<dyn Store>, StoreError> {
    Ok(Arc::new(TracedStore(DirectoryStore::open_folder(Path::new(place))?)))
}

/// Opens a single file outside any store, such as a bundle that somebody carried over by hand.
///
/// # Errors
/// `NotFound`, `Failed`.
pub fn open_file(path: &Path) -> Result<Arc<dyn Stored>, StoreError> {
    open_path(path, path.display().to_string(), "the file system").map(|file| Arc::new(file) as Arc<dyn Stored>)
}
