//! What is asked for.

use std::path::PathBuf;

use super::place::BackupPlace;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct ImportRequest {
    /// Where the three files of the backup are.
    pub place: BackupPlace,
    /// The deployment whose config belonged to it; what was live when the backup began, when absent.
    pub deployment: Option<String>,
    /// Secrets and ConfigMaps of the install, as kubectl shows them.
    pub secrets: Option<PathBuf>,
}
