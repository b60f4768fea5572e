//! Work on many objects at once.

use std::path::Path;

use super::error::VaultError;
use super::git::Git;
use super::objects::GitObjects;

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
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
    if items.len() < WORTH_A_THREAD || threads < 2 {
        return run(items);
    }
    let parts: Vec<Result<Vec<R>, VaultError>> = std::thread::scope(|scope| {
        let handles: Vec<_> =
            items.chunks(items.len().div_ceil(threads)).map(|part| scope.spawn(|| run(part))).collect();
        handles
            .into_iter()
            .map(|handle| handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    let mut all = Vec::with_capacity(items.len());
    for part in parts {
        all.extend(part?);
    }
    Ok(all)
}
