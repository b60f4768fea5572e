//! What is asked for.

use std::path::PathBuf;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct ImportRequest {
    /// The folder with the three files of the backup.
    pub folder: PathBuf,
    /// The deployment whose config belonged to it; what was live when the backup began, when absent.
    pub deployment: Option<String>,
    /// Secrets and ConfigMaps of the install, as kubectl shows them.
    pub secrets: Option<PathBuf>,
}
