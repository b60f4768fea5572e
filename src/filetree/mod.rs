//! A folder with all that is in it, as one tar: out of a volume, past a check, and onto a volume again.
//!
//! The tar is a plain one, which any tar program unpacks. Its last file, [`LISTING`], lists everything in it with owner, mode,
//! time and the SHA-256 of every file: what is put back is held against that, and owner, mode and time are taken from it.

mod check;
mod fill;
mod listing;
mod pack;
mod pieces;

use std::fmt;
use std::io;

pub use check::check;
pub use fill::{TreeDifferences, fill, hold_against, place};
pub use listing::{ListedEntry, TreeKind, TreeListing, TreeTotals};
pub use pack::{list, pack};
pub use pieces::TreePieces;

/// The name of the last file of the tar.
pub const LISTING: &str = ".dr-listing";
/// What a filesystem puts into its own root.
const OF_THE_FILESYSTEM: &str = "lost+found";

/// Why a folder cannot be packed, checked or filled.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// The system, or whoever takes the tar.
    #[error("{act}: {source}")]
    Io {
        /// What was tried on which file.
        act: String,
        /// Why it failed.
        source: io::Error,
    },
    /// The tar, or what lies in the folder, is not what the listing says.
    #[error("{0}")]
    Damaged(String),
}

impl TreeError {
    /// For `map_err`.
    fn io(act: impl fmt::Display) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { act: act.to_string(), source }
    }

    fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged(what.into())
    }
}

type Result<T> = std::result::Result<T, TreeError>;

#[cfg(test)]
mod tests;
