//! How long a message may take.

use std::time::Duration;

/// How long one message may take to one who gets it, all in all.
pub(super) const WITHIN: Duration = Duration::from_secs(10);

/// What is done, or that it took too long.
///
/// # Errors
/// Its own, or the limit.
pub(super) async fn in_time<E: From<String>>(sent: impl Future<Output = Result<(), E>>) -> Result<(), E> {
    let late = |_| E::from(format!("no answer within {} s", WITHIN.as_secs()));
    tokio::time::timeout(WITHIN, sent).await.map_err(late)?
}
