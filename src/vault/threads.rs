//! Work on many objects at once.

use std::path::Path;

use super::error::VaultError;
use super::git::Git;
use super::objects::GitObjects;
use crate::parallel;

/// Fewer things than this are not worth a second thread with a repository of its own.
const WORTH_A_THREAD: usize = 64;
/// More threads than this only wait for the disk.
const MOST_THREADS: usize = 4;

/// Does something to each of `items`, in order, on several threads where that is worth it. Each thread has a
/// repository of its own: libgit2's must not be shared.
///
/// # Errors
/// The first that `work` fails with.
pub(super) fn on_threads<T: Sync, R: Send>(
    path: &Path,
    items: &[T],
    work: impl Fn(&GitObjects<'_>, &T) -> Result<R, VaultError> + Sync,
) -> Result<Vec<R>, VaultError> {
    let run = |items: &[T]| -> Result<Vec<R>, VaultError> {
        let git = Git::open(path)?;
        let objects = git.objects()?;
        items.iter().map(|item| work(&objects, item)).collect()
    };
    let threads = if items.len() < WORTH_A_THREAD { 1 } else { parallel::threads().min(MOST_THREADS) };
    parallel::in_parts(items, threads, run)
}
