//! What guards those who are told: the first lines of files that nobody else may read.

use std::path::Path;

use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::ops::keyring;

/// Not stopped by a signal, whose end is to be told, too; and on a thread of its own, which nobody waits for too long.
pub(super) async fn secret(path: &Path, what: &'static str) -> Result<Zeroizing<String>, String> {
    let path = path.to_owned();
    let read = move || keyring::secret_line(&path, what, &CancellationToken::new());
    let read = tokio::task::spawn_blocking(read).await.map_err(|error| error.to_string())?;
    read.map_err(|error| error.to_string())
}
