//! Why a git object cannot be had.

use std::io;

use super::error::VaultError;

/// Why an object cannot be had.
#[derive(Debug)]
pub(super) enum ObjectFault {
    /// It is not in the repository.
    Missing,
    /// It is there, and is not what its name says.
    Broken(String),
    /// It is there, and the system does not let it be read: whether it is whole, nobody knows.
    Unread(io::Error),
}

impl ObjectFault {
    /// The error of a reader that cannot go on without it.
    pub(super) fn of(self, what: &str) -> VaultError {
        let damaged = |reason: String| VaultError::Damaged { what: what.to_owned(), reason };
        match self {
            Self::Missing => damaged("the object is missing".to_owned()),
            Self::Broken(reason) => damaged(reason),
            Self::Unread(source) => VaultError::Io { act: format!("read {what} in the vault"), source },
        }
    }
}
