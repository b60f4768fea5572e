//! The backups that OpsChain makes itself: where they lie, and which of them are whole.
//!
//! Since 2026-07-09. A CronJob puts one a day below `periodic/`, a hook one before an upgrade below `pre-deploy/`, each in a
//! folder that its time names, in a volume of their own, which an uninstall leaves. Last of all it writes a marker; how a
//! folder is called until then is documented nowhere, so that every folder without a marker counts as not finished.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

/// The CronJob.
pub const BACKUP_JOB: &str = "opschain-db-backup";
/// The claim of the volume.
pub const BACKUP_CLAIM: &str = "opschain-db-backup";
/// What is written last.
const MARKER: &str = "opschain-backup.json";

/// How a backup was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BackupKind {
    /// By `pg_basebackup`: a bundle can be made of it.
    Physical,
    /// By `pg_dump`: it is restored into a fresh database.
    Logical,
    /// What is there is neither.
    Unknown,
}

impl BackupKind {
    pub fn word(self) -> &'static str {
        match self {
            Self::Physical => "physical",
            Self::Logical => "logical",
            Self::Unknown => "unknown",
        }
    }
}

/// A file of the volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupFile {
    /// Below the volume's root.
    pub path: String,
    pub bytes: u64,
    pub written: Timestamp,
}

/// A backup of OpsChain's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BuiltInBackup {
    /// Its folder, such as `periodic/20260820_020000`.
    pub name: String,
    pub kind: BackupKind,
    /// Whether OpsChain has said that it is whole.
    pub complete: bool,
    /// All its files together.
    pub bytes: u64,
    /// When its last file was written.
    pub written: Timestamp,
}

/// The backups that these files are, newest first.
pub fn backups(files: &[BackupFile]) -> Vec<BuiltInBackup> {
    let mut folders: BTreeMap<&str, Vec<(&str, &BackupFile)>> = BTreeMap::new();
    for file in files {
        // What lies in the root is in no backup.
        if let Some((folder, name)) = file.path.rsplit_once('/') {
            folders.entry(folder).or_default().push((name, file));
        }
    }
    let of = |(folder, files): (&str, Vec<(&str, &BackupFile)>)| {
        let has = |name: &str| files.iter().any(|(known, _)| *known == name);
        let kind = if has("backup_manifest") && (has("base.tar.gz") || has("base.tar")) {
            BackupKind::Physical
        } else if files.iter().any(|(name, _)| name.ends_with(".dump")) {
            BackupKind::Logical
        } else {
            BackupKind::Unknown
        };
        Some(BuiltInBackup {
            name: folder.to_owned(),
            kind,
            complete: has(MARKER),
            bytes: files.iter().fold(0, |sum: u64, (_, file)| sum.saturating_add(file.bytes)),
            written: files.iter().map(|(_, file)| file.written).max()?,
        })
    };
    let mut backups: Vec<BuiltInBackup> = folders.into_iter().filter_map(of).collect();
    backups.sort_by(|a, b| b.written.cmp(&a.written).then_with(|| b.name.cmp(&a.name)));
    backups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_is_a_folder_and_whole_only_with_its_marker() {
        let file = |path: &str, bytes, second| BackupFile {
            path: path.into(),
            bytes,
            written: Timestamp::from_second(second).unwrap(),
        };
        let found = backups(&[
            file("notes.txt", 5, 99),
            file("periodic/20260820_020000/base.tar.gz", 100, 10),
            file("periodic/20260820_020000/pg_wal.tar.gz", 20, 11),
            file("periodic/20260820_020000/backup_manifest", 3, 12),
            file("periodic/20260820_020000/opschain-backup.json", 1, 13),
            file("pre-deploy/20260821_090000/globals.sql", 7, 20),
            file("pre-deploy/20260821_090000/opschain.dump", 70, 21),
            file("pre-deploy/20260821_090000/opschain-backup.json", 1, 22),
            file("periodic/.20260822_020000.tmp/base.tar.gz", 50, 30),
        ]);
        let seen: Vec<_> =
            found.iter().map(|one| (one.name.as_str(), one.kind.word(), one.complete, one.bytes)).collect();
        assert_eq!(
            seen,
            [
                ("periodic/.20260822_020000.tmp", "unknown", false, 50),
                ("pre-deploy/20260821_090000", "logical", true, 78),
                ("periodic/20260820_020000", "physical", true, 124),
            ]
        );
        assert_eq!(found[2].written, Timestamp::from_second(13).unwrap());
        assert!(backups(&[]).is_empty());
    }
}
