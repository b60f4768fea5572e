//! Pure facts about PostgreSQL: WAL positions, backup manifests, control data, command lines. No I/O.

pub mod argv;
pub mod backup_diff;
pub mod basebackup;
pub mod control;
pub mod image;
pub mod label;
pub mod lsn;
pub mod manifest;
pub mod records;
pub mod wal;

pub use control::ControlData;
pub use label::BackupLabel;
pub use lsn::Lsn;
pub use manifest::BackupManifest;
pub use wal::WalSegment;
