//! What guards those who are told: the first lines of files that nobody else may read.

use std::path::Path;

use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::error::CommandError;
use crate::ops::keyring;

/// Why somebody is not told, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotifyFailure {
    pub what: String,
    pub way: Option<String>,
}

impl From<String> for NotifyFailure {
    fn from(what: String) -> Self {
        Self { what, way: None }
    }
}

impl From<CommandError> for NotifyFailure {
    fn from(error: CommandError) -> Self {
        Self { what: error.to_string(), way: error.hints().first().cloned() }
    }
}

/// Not stopped by a signal, whose end is to be told, too; and on a thread of its own, which nobody waits for too long.
pub(super) async fn secret(path: &Path, what: &'static str) -> Result<Zeroizing<String>, NotifyFailure> {
    let path = path.to_owned();
    let read = move || keyring::secret_line(&path, what, &CancellationToken::new());
    let read = tokio::task::spawn_blocking(read).await.map_err(|error| error.to_string())?;
    Ok(read?)
}
