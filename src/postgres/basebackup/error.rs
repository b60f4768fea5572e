//! What can be wrong with a base backup.

use crate::postgres::label::BadLabel;
use crate::postgres::manifest::ManifestError;
use crate::postgres::wal::WalError;
use crate::postgres::{Lsn, WalSegment, control};
use crate::ustar::TarError;

/// The first thing that is wrong with a base backup.
#[derive(Debug, thiserror::Error)]
pub enum BaseBackupError {
    /// A tar is not whole, or holds what PostgreSQL does not write.
    #[error(transparent)]
    Tar(#[from] TarError),
    /// PostgreSQL's manifest cannot be used.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The label cannot be used.
    #[error(transparent)]
    Label(#[from] BadLabel),
    /// A file is missing, extra or not the one that the manifest lists.
    #[error("{path} {what}")]
    File {
        /// Its path below the data directory.
        path: String,
        /// What is wrong with it.
        what: String,
    },
    /// Two files of the backup contradict each other.
    #[error("{0}")]
    Contradiction(String),
    /// The backup has a tablespace of its own.
    #[error("{0}: the backup has a tablespace of its own")]
    Tablespace(String),
    /// The server that it is from was a standby.
    #[error("the backup was made from a standby")]
    Standby,
    /// It is of another database than it should be.
    #[error("the data is of database {found}, not {expected}")]
    OtherDatabase {
        /// The system identifier in its control file.
        found: u64,
        expected: u64,
    },
    /// A WAL file is not what its name says.
    #[error(transparent)]
    Segment(#[from] WalError),
    /// The WAL holds what is no WAL, or a segment twice.
    #[error("pg_wal.tar holds {name}, {what}")]
    WalFile { name: String, what: &'static str },
    /// A segment that recovery would read is not there.
    #[error("WAL segment {0} is missing from pg_wal.tar")]
    MissingWal(WalSegment),
    /// The WAL would end before the database is consistent.
    #[error("the WAL ends at {until}, and is needed up to {end}")]
    ShortWal {
        /// How far it goes.
        until: Lsn,
        /// How far recovery must go.
        end: Lsn,
    },
    /// Recovery would replay what was written after the moment that the backup is to hold.
    #[error("the WAL goes on to {found}, past {until}, where it has to end")]
    WalPast {
        until: Lsn,
        /// Where its last record ends, or its last segment begins.
        found: Lsn,
    },
}

impl BaseBackupError {
    pub(super) fn file(path: &str, what: impl Into<String>) -> Self {
        Self::File { path: path.to_owned(), what: what.into() }
    }

    pub(super) fn no_control() -> Self {
        Self::file(control::NAME, "is missing or too short")
    }
}
