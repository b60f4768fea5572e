//! What is asked for.

use crate::error::{CommandError, Exit, Result};
use crate::ops::Ctx;
use crate::ops::bundles::{BundleRequest, KeyFiles, key_files};

/// Which bundles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopySelection {
    /// The one whose name is this or begins with it, or a file.
    One(String),
    /// All that this OpsChain version has made.
    Version(String),
    /// All that are not marked as gone.
    All,
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct CopyRequest {
    pub selection: CopySelection,
    /// The store that they come from; that of the settings when absent.
    pub from: Option<String>,
    pub to: String,
    /// The most that may go a second.
    pub bytes_a_second: Option<u64>,
    /// Whose bundles are believed.
    pub trust: BundleRequest,
}

impl CopyRequest {
    pub(super) fn keys(&self, ctx: &Ctx) -> Result<KeyFiles> {
        key_files(ctx, &self.trust, false)
    }
}

/// The error of a copy that the user has stopped.
pub(super) fn stopped() -> CommandError {
    CommandError::new(Exit::Interrupted, "interrupted").hint("The same command goes on with what is not copied yet.")
}
