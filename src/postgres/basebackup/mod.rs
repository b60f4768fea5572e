//! What a base backup must be for PostgreSQL to start from it. The one check of its two tars, which pass by in pieces
//! of any length: when a backup is made, when a bundle is verified, and when it is restored.

mod base;
mod error;
mod wal;

pub use base::{BaseBackup, BaseCheck};
pub use error::BaseBackupError;
pub use wal::{WalCheck, WalEnd};
