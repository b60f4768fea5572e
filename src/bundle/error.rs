//! Why a bundle was refused, or could not be written.

use std::fmt;

use crate::crypt::seal::SealError;
use crate::crypt::sign::SignError;
use crate::postgres::basebackup::BaseBackupError;
use crate::store::StoreError;
use crate::text;

use super::format::{FORMAT, FormatVersion};

/// A fault of a named bundle.
#[derive(Debug)]
pub struct BundleError {
    /// The bundle's name, or the path it was opened by.
    pub bundle: String,
    pub fault: Box<BundleFault>,
}

impl fmt::Display for BundleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bundle {}: {}", self.bundle, self.fault)
    }
}

impl std::error::Error for BundleError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // The fault's own words are in ours; the chain goes on with its cause.
        self.fault.source()
    }
}

/// What is wrong with a bundle. A member is named wherever one is at fault.
#[derive(Debug, thiserror::Error)]
pub enum BundleFault {
    /// The file is something else.
    #[error("it is not a bundle: {0}")]
    NotABundle(String),
    /// The format's major version is not known.
    #[error("its format {found} is newer than the {FORMAT} that this dr reads; dr {writer} wrote it")]
    TooNew {
        /// The bundle's format.
        found: FormatVersion,
        /// The version of the program that wrote it.
        writer: String,
    },
    /// The end is missing.
    #[error("it is cut off {0}")]
    Truncated(String),
    /// Something may not stand where it stands, or not at all.
    #[error("{member} must not be in it: {reason}")]
    Layout {
        /// The member's name as found.
        member: String,
        reason: String,
    },
    /// Bytes are not what was written.
    #[error("{member} is damaged: {reason}")]
    Damaged {
        member: String,
        /// How that was seen.
        reason: String,
    },
    /// There is no signature.
    #[error("it is not signed")]
    Unsigned,
    /// The signature is nobody's that is trusted, or does not fit.
    #[error("its signature is not to be trusted")]
    Untrusted(#[source] SignError),
    /// A JSON member cannot be understood; the cause has line and column.
    #[error("{member} cannot be read")]
    Json {
        member: String,
        /// What, at which line and column.
        #[source]
        source: serde_json::Error,
    },
    /// A member cannot be opened with the identities at hand.
    #[error("{member} cannot be opened")]
    Sealed {
        member: String,
        #[source]
        source: SealError,
    },
    /// There is no such member.
    #[error("it has no member {0}")]
    NoMember(String),
    /// Nothing of this kind that was asked for is in it. That is no damage: all that must be in it is there.
    #[error("it has no {0} to take out")]
    NoItem(String),
    /// What is taken out of it cannot be written where it goes.
    #[error("what is taken out of it cannot be written")]
    Output(#[source] std::io::Error),
    /// The plaintext does not fit what the manifest or PostgreSQL's own manifest says.
    #[error("its database is not whole: {0}")]
    Database(String),
    /// The store refused.
    #[error("its store refused")]
    Store(#[source] StoreError),
    /// Signing failed.
    #[error("it cannot be signed")]
    Sign(#[source] SignError),
    /// Somebody asked to stop.
    #[error("stopped before the end")]
    Cancelled,
    /// What was handed to the writer does not fit: a fault of the program or of the stream that fed it.
    #[error("{member} cannot be written: {reason}")]
    Refused { member: String, reason: String },
}

impl BundleFault {
    /// Gives the fault the name of its bundle.
    pub fn of(self, bundle: &str) -> BundleError {
        BundleError { bundle: bundle.to_owned(), fault: Box::new(self) }
    }

    /// The fault and its causes on one line, for lists in which a bad bundle is an entry and not an error.
    pub fn in_words(&self) -> String {
        text::chain(self)
    }

    pub(crate) fn damaged(member: impl fmt::Display, reason: impl Into<String>) -> Self {
        Self::Damaged { member: member.to_string(), reason: reason.into() }
    }
}

impl From<BaseBackupError> for BundleFault {
    fn from(error: BaseBackupError) -> Self {
        Self::Database(error.to_string())
    }
}

impl From<StoreError> for BundleFault {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}
