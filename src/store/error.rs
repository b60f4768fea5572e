//! Why a store refused.

use std::error::Error;
use std::io;

/// What a store's own layer said: an I/O error of a folder, an answer of a server.
pub type Cause = Box<dyn Error + Send + Sync>;

/// Why a store refused. Every variant names the object or the store: the messages say what each field is.
#[allow(missing_docs)]
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store itself cannot be used.
    #[error("store {place}")]
    Unusable {
        place: String,
        /// Whether the same call may succeed in a while.
        transient: bool,
        #[source]
        source: Cause,
    },
    /// No such object, or no such note beside it.
    #[error("no {object} in store {place}")]
    NotFound { object: String, place: String },
    /// The name could lead out of the store or hide in it.
    #[error("`{0}` cannot be the name of a stored bundle")]
    BadName(String),
    /// An object of this name is there, and nothing is ever overwritten.
    #[error("{object} is already in store {place}")]
    Exists { object: String, place: String },
    /// Another process is writing an object of this name.
    #[error("{object} is being written by another process into store {place}")]
    Busy { object: String, place: String },
    /// No room left.
    #[error("store {place} is full; {object} was not stored ({written} bytes were)")]
    Full {
        object: String,
        place: String,
        /// How much of it fitted.
        written: u64,
    },
    /// The object ends before the bytes that were asked for.
    #[error("{object} ends before byte {wanted}")]
    Short {
        object: String,
        /// Where the reading was to end.
        wanted: u64,
    },
    /// Reading or writing an object failed.
    #[error("{act} {object}")]
    Failed {
        /// `read`, `write`, `sync`, `publish`, `remove`.
        act: &'static str,
        object: String,
        /// Whether the same call may succeed in a while.
        transient: bool,
        #[source]
        source: Cause,
    },
    /// The user has asked to stop while a server was waited for.
    #[error("stopped before store {place} answered")]
    Stopped { place: String },
    /// An earlier write failed, so nothing more is taken: after a failed sync nobody knows what is stored.
    #[error("{0} cannot be written to any more, since an earlier write of it failed")]
    Poisoned(String),
}

impl StoreError {
    /// Whether the same call may succeed in a while: a timeout, a server that is busy.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unusable { transient: true, .. } | Self::Failed { transient: true, .. })
    }

    pub(super) fn unusable(place: String, source: io::Error) -> Self {
        Self::Unusable { place, transient: is_transient(source.kind()), source: source.into() }
    }

    pub(super) fn failed(act: &'static str, object: &str, source: io::Error) -> Self {
        let transient = is_transient(source.kind());
        Self::Failed { act, object: object.to_owned(), transient, source: source.into() }
    }
}

/// What a network mount gives while its server is away for a moment.
fn is_transient(kind: io::ErrorKind) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        kind,
        Kind::Interrupted
            | Kind::TimedOut
            | Kind::WouldBlock
            | Kind::StaleNetworkFileHandle
            | Kind::NetworkDown
            | Kind::NetworkUnreachable
            | Kind::HostUnreachable
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_that_is_away_is_transient_and_a_broken_disk_is_not() {
        let error = |kind: io::ErrorKind| StoreError::failed("read", "a", kind.into());
        assert!(error(io::ErrorKind::TimedOut).is_transient());
        assert!(!error(io::ErrorKind::PermissionDenied).is_transient());
        assert!(StoreError::unusable("/x".into(), io::ErrorKind::StaleNetworkFileHandle.into()).is_transient());
        assert!(!StoreError::Busy { object: "a".into(), place: "/x".into() }.is_transient());
    }
}
