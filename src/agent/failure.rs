//! Why the agent could not do what was asked.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::filetree::TreeError;
use crate::postgres::basebackup::BaseBackupError;
use crate::ustar::TarError;

/// Why the agent could not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What sort of obstacle it is.
    pub kind: FailureKind,
    /// Lower-case, names the object.
    pub message: String,
}

/// What sort of obstacle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// The request makes no sense.
    Request,
    /// A PostgreSQL program failed or is missing.
    Postgres,
    /// The server has tablespaces of its own.
    Tablespaces,
    /// The server is a standby, or was promoted meanwhile.
    Standby,
    /// Bytes are not what they should be.
    Damaged,
    /// The server found pages whose checksum is wrong.
    Pages,
    /// WAL is missing.
    Wal,
    /// A volume is full.
    Space,
    /// The data directory is in use.
    Running,
    /// What was found on the volume is not what any step of this run leaves.
    Unexpected,
    /// The data is of another database.
    Identity,
    /// The operating system refused.
    System,
}

impl Failure {
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// Bytes are not what they should be.
    pub fn damaged(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Damaged, message)
    }

    /// Whoever waited for `what` has gone.
    pub fn given_up(what: &str) -> Self {
        Self::new(FailureKind::System, format!("{what} was given up"))
    }

    /// For `map_err` on I/O: what was tried on which file, and why it failed. A full volume has a kind of its own.
    pub fn io(act: impl fmt::Display) -> impl FnOnce(std::io::Error) -> Self {
        move |error| {
            let full = matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded);
            let kind = if full { FailureKind::Space } else { FailureKind::System };
            Self::new(kind, format!("{act}: {error}"))
        }
    }
}

impl From<TarError> for Failure {
    fn from(error: TarError) -> Self {
        Self::new(FailureKind::Damaged, error.to_string())
    }
}

impl From<TreeError> for Failure {
    fn from(error: TreeError) -> Self {
        match error {
            TreeError::Io { act, source } => Self::io(act)(source),
            TreeError::Damaged(what) => Self::damaged(what),
        }
    }
}

impl From<BaseBackupError> for Failure {
    fn from(error: BaseBackupError) -> Self {
        use BaseBackupError as Error;
        let kind = match &error {
            Error::Tablespace(_) => FailureKind::Tablespaces,
            Error::Standby => FailureKind::Standby,
            Error::OtherDatabase { .. } => FailureKind::Identity,
            Error::MissingWal(_) | Error::ShortWal { .. } | Error::WalPast { .. } => FailureKind::Wal,
            Error::Tar(_)
            | Error::Manifest(_)
            | Error::Label(_)
            | Error::File { .. }
            | Error::Contradiction(_)
            | Error::Segment(_)
            | Error::WalFile { .. } => FailureKind::Damaged,
        };
        Self::new(kind, error.to_string())
    }
}
