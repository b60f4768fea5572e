//! What is asked for.

use std::path::PathBuf;

use jiff::Timestamp;
use zeroize::Zeroizing;

use crate::vault::DeploymentStatus;

/// Where the values to be recorded are.
pub enum Origin {
    /// One file, already read.
    File {
        /// What it is called.
        name: String,
        bytes: Zeroizing<Vec<u8>>,
        /// Its own time, where it is a file on a disk.
        changed: Option<Timestamp>,
    },
    /// Every `.yaml` and `.yml` file of a folder, without the folders in it.
    Folder(PathBuf),
    /// What helm has stored of the release.
    Release {
        /// Every revision that helm remembers, not only the one that is deployed.
        all: bool,
    },
}

/// What the operator asks for.
pub struct RecordRequest {
    /// Where the values are.
    pub origin: Origin,
    /// When it was deployed; else the date in the file's name.
    pub at: Option<String>,
    /// Where a file's name holds no date, its own time is taken.
    pub use_mtime: bool,
    /// The OpsChain version, if not the one that the values name.
    pub version: Option<String>,
    /// The chart's version, if not the one that belongs to the OpsChain version.
    pub chart_version: Option<String>,
    /// The chart, to be kept with the values: an archive, a folder, or a reference in a registry.
    pub chart: Option<String>,
    pub revision: Option<u32>,
    pub why: Option<String>,
    /// Who deployed it, if not the one who asks.
    pub by: Option<String>,
    /// Whether what cannot be read is recorded as it is.
    pub keep_unread: bool,
    /// Whether values of one version are recorded as one of another, or with its chart.
    pub any_version: bool,
    /// Whether the record names no cluster.
    pub no_cluster: bool,
    /// What came of it.
    pub status: DeploymentStatus,
}
