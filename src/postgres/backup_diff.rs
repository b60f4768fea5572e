//! How the files of two base backups differ, by what their manifests list. Nothing of the files themselves is needed.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::AddAssign;

use serde::Serialize;

use super::control;
use super::label;
use super::manifest::{BackupManifest, ManifestFile};

/// What is another file in each backup, whatever happened in the database: where it begins stands in it.
const OF_THE_BACKUP: [&str; 2] = [label::NAME, control::NAME];

/// How many files, and their length in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct FilesTotal {
    pub files: u64,
    pub bytes: u64,
}

impl AddAssign<&ManifestFile> for FilesTotal {
    fn add_assign(&mut self, file: &ManifestFile) {
        self.files += 1;
        self.bytes += file.size;
    }
}

/// What became of a file or a relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FileChange {
    Added,
    Removed,
    /// Another size or another checksum.
    Changed,
}

/// A relation (its main file, forks and further segments), or another file, that is not the same in both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RelationDiff {
    /// The path of its first main file below the data directory.
    pub path: String,
    pub what: FileChange,
    pub old: FilesTotal,
    pub new: FilesTotal,
}

/// A folder of the data directory, such as that of one database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FolderDiff {
    /// `base/16384`, `global`, `pg_xact`; `.` for the files at the top.
    pub path: String,
    pub old: FilesTotal,
    pub new: FilesTotal,
    /// How many of its files are not the same.
    pub differing_files: u64,
}

/// The files of two backups. Those that are others in each backup count in the totals only.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct BackupDiff {
    pub old: FilesTotal,
    pub new: FilesTotal,
    /// Files that only the new one has.
    pub added: FilesTotal,
    /// Files that only the old one has.
    pub removed: FilesTotal,
    /// Files with another size or checksum, as long as they are in the new one.
    pub changed: FilesTotal,
    /// Files that are the same.
    pub same: FilesTotal,
    /// The folders in which something differs, by path.
    pub folders: Vec<FolderDiff>,
    /// The relations and files that differ, what grew or shrank most first.
    pub relations: Vec<RelationDiff>,
}

/// A relation on its way.
#[derive(Default)]
struct Seen {
    old: FilesTotal,
    new: FilesTotal,
    differing_files: u64,
}

impl Seen {
    fn add(&mut self, old: Option<&ManifestFile>, new: Option<&ManifestFile>, differs: bool) {
        old.into_iter().for_each(|file| self.old += file);
        new.into_iter().for_each(|file| self.new += file);
        self.differing_files += u64::from(differs);
    }
}

impl BackupDiff {
    pub fn between(old: &BackupManifest, new: &BackupManifest) -> Self {
        let mut diff = Self::default();
        let (mut folders, mut relations) = (BTreeMap::<&str, Seen>::new(), BTreeMap::<&str, Seen>::new());
        let paths: BTreeSet<&String> = old.files.keys().chain(new.files.keys()).collect();
        for path in paths {
            let (was, is) = (old.files.get(path), new.files.get(path));
            was.into_iter().for_each(|file| diff.old += file);
            is.into_iter().for_each(|file| diff.new += file);
            if OF_THE_BACKUP.contains(&path.as_str()) {
                continue;
            }
            match (was, is) {
                (None, Some(is)) => diff.added += is,
                (Some(was), None) => diff.removed += was,
                (Some(was), Some(is)) if was != is => diff.changed += is,
                (_, is) => is.into_iter().for_each(|file| diff.same += file),
            }
            folders.entry(folder_of(path)).or_default().add(was, is, was != is);
            relations.entry(relation_of(path)).or_default().add(was, is, was != is);
        }
        let differs = |seen: &Seen| seen.differing_files > 0;
        diff.folders = folders.into_iter().filter(|(_, seen)| differs(seen)).map(FolderDiff::of).collect();
        diff.relations = relations.into_iter().filter(|(_, seen)| differs(seen)).map(RelationDiff::of).collect();
        // What did not change its size comes last, in the order of paths.
        diff.relations.sort_by_key(|relation| Reverse(relation.old.bytes.abs_diff(relation.new.bytes)));
        diff
    }

    /// Whether every file is the same, but for those that are others in each backup.
    pub fn is_same(&self) -> bool {
        self.relations.is_empty()
    }
}

impl FolderDiff {
    fn of((path, seen): (&str, Seen)) -> Self {
        Self { path: path.to_owned(), old: seen.old, new: seen.new, differing_files: seen.differing_files }
    }
}

impl RelationDiff {
    fn of((path, seen): (&str, Seen)) -> Self {
        let what = match (seen.old.files, seen.new.files) {
            (0, _) => FileChange::Added,
            (_, 0) => FileChange::Removed,
            _ => FileChange::Changed,
        };
        Self { path: path.to_owned(), what, old: seen.old, new: seen.new }
    }
}

/// The folder whose sizes are of interest: that of one database, else the first one of the path.
fn folder_of(path: &str) -> &str {
    let Some((folder, rest)) = path.split_once('/') else { return "." };
    match (folder, rest.split_once('/')) {
        ("base", Some((database, _))) => &path[..folder.len() + 1 + database.len()],
        _ => folder,
    }
}

/// The path without what forks (`_fsm`, `_vm`, `_init`) and further segments (`.1`) of a relation have behind its number.
fn relation_of(path: &str) -> &str {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let start = path.rfind('/').map_or(0, |slash| slash + 1);
    if !(path.starts_with("base/") || path.starts_with("global/")) {
        return path;
    }
    let name = &path[start..];
    let first = name.rsplit_once('.').filter(|(_, segment)| is_number(segment)).map_or(name, |(first, _)| first);
    let fork = ["_fsm", "_vm", "_init"].iter().find_map(|fork| first.strip_suffix(fork));
    let number = fork.unwrap_or(first);
    if is_number(number) { &path[..start + number.len()] } else { path }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::postgres::Lsn;

    fn manifest<P: Into<String>>(files: impl IntoIterator<Item = (P, u64, u32)>) -> BackupManifest {
        let files = files.into_iter().map(|(path, size, crc32c)| (path.into(), ManifestFile { size, crc32c }));
        BackupManifest {
            version: 2,
            system_identifier: None,
            files: files.collect(),
            timeline: 1,
            start: Lsn(1),
            end: Lsn(2),
        }
    }

    #[test]
    fn forks_and_segments_are_parts_of_their_relation_and_nothing_else_is() {
        for (path, relation, folder) in [
            ("base/16384/2619", "base/16384/2619", "base/16384"),
            ("base/16384/2619.12", "base/16384/2619", "base/16384"),
            ("base/16384/2619_fsm", "base/16384/2619", "base/16384"),
            ("base/16384/2619_vm.1", "base/16384/2619", "base/16384"),
            ("base/16384/PG_VERSION", "base/16384/PG_VERSION", "base/16384"),
            ("base/16384/pg_filenode.map", "base/16384/pg_filenode.map", "base/16384"),
            ("global/1262_init", "global/1262", "global"),
            ("global/pg_control", "global/pg_control", "global"),
            ("pg_xact/0000.1", "pg_xact/0000.1", "pg_xact"),
            ("PG_VERSION", "PG_VERSION", "."),
        ] {
            assert_eq!((relation_of(path), folder_of(path)), (relation, folder), "{path}");
        }
    }

    #[test]
    fn what_came_went_and_changed_is_told_with_the_largest_first() {
        let old = manifest([
            ("backup_label", 200, 1),
            ("base/5/1", 10, 1),
            ("base/5/2", 100, 1),
            ("base/5/2_vm", 8, 1),
            ("base/5/3", 50, 1),
            ("base/5/4", 7, 1),
            ("pg_xact/0000", 8, 1),
        ]);
        let new = manifest([
            ("backup_label", 201, 2),
            ("base/5/1", 10, 2),
            ("base/5/2", 1000, 3),
            ("base/5/2.1", 500, 1),
            ("base/5/2_vm", 8, 1),
            ("base/5/4", 7, 1),
            ("base/6/1", 30, 1),
            ("pg_xact/0000", 8, 1),
        ]);
        let diff = BackupDiff::between(&old, &new);
        let total = |files, bytes| FilesTotal { files, bytes };
        assert_eq!((diff.old, diff.new), (total(7, 383), total(8, 1764)));
        assert_eq!(
            (diff.added, diff.removed, diff.changed, diff.same),
            (total(2, 530), total(1, 50), total(2, 1010), total(3, 23))
        );
        let relations: Vec<_> = diff.relations.iter().map(|found| (found.path.as_str(), found.what)).collect();
        assert_eq!(
            relations,
            [
                ("base/5/2", FileChange::Changed),
                ("base/5/3", FileChange::Removed),
                ("base/6/1", FileChange::Added),
                ("base/5/1", FileChange::Changed),
            ]
        );
        let folders: Vec<_> =
            diff.folders.iter().map(|folder| (folder.path.as_str(), folder.differing_files)).collect();
        assert_eq!(folders, [("base/5", 4), ("base/6", 1)]);
    }

    #[test]
    fn only_what_is_another_file_in_each_backup_is_no_difference() {
        let one = manifest([("backup_label", 200, 1), ("global/pg_control", 8192, 1), ("base/5/1", 10, 1)]);
        let two = manifest([("backup_label", 210, 2), ("global/pg_control", 8192, 2), ("base/5/1", 10, 1)]);
        assert!(BackupDiff::between(&one, &two).is_same());
    }

    fn files() -> impl Strategy<Value = BackupManifest> {
        let path = prop_oneof![
            (0u8..3, 0u8..6, prop_oneof![Just(""), Just("_vm"), Just(".1")])
                .prop_map(|(database, relation, end)| format!("base/{database}/{relation}{end}")),
            Just("global/pg_control".to_owned()),
            Just("PG_VERSION".to_owned()),
        ];
        proptest::collection::vec((path, 0u64..1 << 40, 0u32..3), 0..20).prop_map(manifest)
    }

    proptest! {
        /// Nothing is counted twice or left out, and the other way round the other way round is told.
        #[test]
        fn the_parts_are_the_whole(old in files(), new in files()) {
            let (diff, back) = (BackupDiff::between(&old, &new), BackupDiff::between(&new, &old));
            let grown = |old: FilesTotal, new: FilesTotal| new.bytes as i128 - old.bytes as i128;
            let relations: i128 = diff.relations.iter().map(|found| grown(found.old, found.new)).sum();
            let control = |of: &BackupManifest| of.files.get("global/pg_control").map_or(0, |file| i128::from(file.size));
            prop_assert_eq!(relations + control(&new) - control(&old), grown(diff.old, diff.new));
            let folders: i128 = diff.folders.iter().map(|found| grown(found.old, found.new)).sum();
            prop_assert_eq!(folders, relations);
            let differing: u64 = diff.folders.iter().map(|found| found.differing_files).sum();
            prop_assert_eq!(differing, diff.added.files + diff.removed.files + diff.changed.files);
            prop_assert_eq!((diff.old, diff.added, diff.relations.len()), (back.new, back.removed, back.relations.len()));
            prop_assert!(BackupDiff::between(&old, &old).is_same());
        }
    }
}
