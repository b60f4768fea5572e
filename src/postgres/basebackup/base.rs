//! The tar of the data directory: every file against PostgreSQL's own manifest.

use std::collections::BTreeMap;

use super::error::BaseBackupError;
use crate::postgres::manifest::{self, ManifestFile};
use crate::postgres::{BackupLabel, BackupManifest, control, label};
use crate::ustar::{TarEntry, TarSink};

/// The files that say something of the backup itself, each with the most bytes that it may have: their contents are
/// kept.
const TELLING: [(&str, u64); 3] = [(label::NAME, 1 << 16), (control::NAME, 1 << 16), (manifest::NAME, 256 << 20)];

/// What was seen of a base backup so far.
#[derive(Default)]
pub struct BaseCheck {
    files: BTreeMap<String, ManifestFile>,
    contents: BTreeMap<&'static str, Vec<u8>>,
    current: Option<Current>,
}

struct Current {
    path: String,
    seen: ManifestFile,
    telling: Option<(&'static str, Vec<u8>)>,
}

/// A base backup of which every file is the one that PostgreSQL's manifest lists.
#[derive(Debug)]
pub struct BaseBackup {
    /// PostgreSQL's manifest.
    pub manifest: BackupManifest,
    pub manifest_bytes: Vec<u8>,
    /// The database's identity, from the control file.
    pub system_identifier: u64,
    /// The length of all files in bytes.
    pub bytes: u64,
}

impl BaseCheck {
    /// The backup's label, once it has passed: it is the first file.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn label(&self) -> Result<Option<BackupLabel>, BaseBackupError> {
        let text = |bytes: &Vec<u8>| BackupLabel::parse(&String::from_utf8_lossy(bytes));
        Ok(self.contents.get(label::NAME).map(text).transpose()?)
    }

    /// Compares everything that passed with PostgreSQL's manifest: the one at the tar's end, and `beside` when it was
    /// also kept by itself. One of the two must be there.
    ///
    /// # Errors
    /// The first file that is missing, extra or different, or two that contradict each other.
    pub fn finish(mut self, beside: Option<&[u8]>) -> Result<BaseBackup, BaseBackupError> {
        let manifest_bytes = match (self.contents.remove(manifest::NAME), beside) {
            (Some(inside), Some(beside)) if inside != beside => {
                return Err(BaseBackupError::file(manifest::NAME, "in the tar is not the one beside it"));
            }
            (Some(inside), _) => inside,
            (None, Some(beside)) => beside.to_vec(),
            (None, None) => return Err(BaseBackupError::file(manifest::NAME, "is missing from the base backup")),
        };
        let manifest = BackupManifest::parse(&manifest_bytes)?;
        compare(&manifest, &self.files)?;
        self.check_label(&manifest)?;
        let system_identifier = self
            .contents
            .get(control::NAME)
            .and_then(|bytes| control::system_identifier(bytes))
            .ok_or_else(BaseBackupError::no_control)?;
        if manifest.system_identifier.is_some_and(|other| other != system_identifier) {
            let message = "backup_manifest and pg_control are of different databases";
            return Err(BaseBackupError::Contradiction(message.into()));
        }
        let bytes = self.files.values().map(|file| file.size).sum();
        Ok(BaseBackup { manifest, manifest_bytes, system_identifier, bytes })
    }

    /// Without its label PostgreSQL would start from the wrong place.
    fn check_label(&self, manifest: &BackupManifest) -> Result<(), BaseBackupError> {
        let label = self.label()?.ok_or_else(|| BaseBackupError::file(label::NAME, "is missing"))?;
        if label.from_standby {
            return Err(BaseBackupError::Standby);
        }
        let timeline = label.timeline.unwrap_or(manifest.timeline);
        if (label.start, timeline) == (manifest.start, manifest.timeline) {
            return Ok(());
        }
        Err(BaseBackupError::Contradiction(format!(
            "backup_label begins at {} of timeline {timeline}, backup_manifest at {} of timeline {}",
            label.start, manifest.start, manifest.timeline
        )))
    }
}

impl BaseBackup {
    /// Whether it is of the database with this system identifier.
    ///
    /// # Errors
    /// `OtherDatabase` when it is not.
    pub fn check_database(&self, expected: u64) -> Result<(), BaseBackupError> {
        let found = self.system_identifier;
        if found == expected { Ok(()) } else { Err(BaseBackupError::OtherDatabase { found, expected }) }
    }
}

/// Compares the files of a backup with its manifest, which lists neither itself nor WAL.
fn compare(manifest: &BackupManifest, files: &BTreeMap<String, ManifestFile>) -> Result<(), BaseBackupError> {
    let wrong = |path: &str, what: String| Err(BaseBackupError::file(path, what));
    for (path, listed) in &manifest.files {
        match files.get(path) {
            None => return wrong(path, "is listed in backup_manifest and missing from the backup".into()),
            Some(found) if found.size != listed.size => {
                return wrong(path, format!("has {} bytes, backup_manifest says {}", found.size, listed.size));
            }
            Some(found) if found.crc32c != listed.crc32c => {
                return wrong(path, "is damaged: its checksum is not the one in backup_manifest".into());
            }
            Some(_) => {}
        }
    }
    match files.keys().find(|path| !manifest.files.contains_key(*path)) {
        Some(path) => wrong(path, "is in the backup and not listed in backup_manifest".into()),
        None => Ok(()),
    }
}

impl TarSink for BaseCheck {
    type Error = BaseBackupError;

    fn begin(&mut self, entry: &TarEntry) -> Result<(), BaseBackupError> {
        self.current = None;
        if entry.folder {
            return Ok(());
        }
        if entry.path.starts_with("pg_tblspc/") {
            return Err(BaseBackupError::Tablespace(entry.path.clone()));
        }
        // A backup without WAL has no file there; whatever came that way would escape every check.
        if entry.path.starts_with("pg_wal/") {
            return Err(BaseBackupError::file(&entry.path, "belongs into pg_wal.tar"));
        }
        let telling = TELLING.into_iter().find(|(name, _)| *name == entry.path);
        if telling.is_some_and(|(_, most)| entry.bytes > most) {
            return Err(BaseBackupError::file(&entry.path, format!("has {} bytes", entry.bytes)));
        }
        if self.files.contains_key(&entry.path) || self.contents.contains_key(entry.path.as_str()) {
            return Err(BaseBackupError::file(&entry.path, "comes twice"));
        }
        let telling = telling.map(|(name, _)| (name, Vec::with_capacity(entry.bytes as usize)));
        self.current = Some(Current { path: entry.path.clone(), seen: ManifestFile { size: 0, crc32c: 0 }, telling });
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> Result<(), BaseBackupError> {
        if let Some(Current { seen, telling, .. }) = &mut self.current {
            seen.size += bytes.len() as u64;
            seen.crc32c = crc32c::crc32c_append(seen.crc32c, bytes);
            if let Some((_, content)) = telling {
                content.extend_from_slice(bytes);
            }
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), BaseBackupError> {
        let Some(Current { path, seen, telling }) = self.current.take() else { return Ok(()) };
        self.contents.extend(telling);
        if path != manifest::NAME {
            self.files.insert(path, seen);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::Lsn;

    const LABEL: &str = include_str!("../../../fixtures/pg/backup_label-15.txt");
    const SYSTEM: u64 = 7_711_272_386_700_096_654;

    fn file(check: &mut BaseCheck, path: &str, bytes: &[u8]) -> Result<(), BaseBackupError> {
        check.begin(&TarEntry { path: path.into(), folder: false, bytes: bytes.len() as u64 })?;
        check.data(bytes)?;
        check.end()
    }

    /// A small backup that is good: what each test changes a part of.
    fn good() -> Vec<(&'static str, Vec<u8>)> {
        let control = [SYSTEM.to_le_bytes().as_slice(), &[0; 100]].concat();
        vec![
            ("backup_label", LABEL.into()),
            ("PG_VERSION", b"15\n".into()),
            ("base/1/2", b"abc".into()),
            ("global/pg_control", control),
        ]
    }

    fn listing(files: &[(&str, Vec<u8>)], start: &str, system: u64) -> Vec<u8> {
        let entry = |(path, bytes): &(&str, Vec<u8>)| {
            let (size, sum) = (bytes.len(), hex::encode(crc32c::crc32c(bytes).to_le_bytes()));
            format!(r#"{{ "Path": "{path}", "Size": {size}, "Checksum-Algorithm": "CRC32C", "Checksum": "{sum}" }}"#)
        };
        let body = format!(
            "{{ \"PostgreSQL-Backup-Manifest-Version\": 2,\n\"System-Identifier\": {system},\n\"Files\": [{}],\n\
             \"WAL-Ranges\": [{{ \"Timeline\": 1, \"Start-LSN\": \"{start}\", \"End-LSN\": \"0/6000100\" }}],\n",
            files.iter().map(entry).collect::<Vec<_>>().join(",")
        );
        let sum = {
            use sha2::Digest as _;
            hex::encode(sha2::Sha256::digest(&body))
        };
        format!("{body}\"Manifest-Checksum\": \"{sum}\"}}\n").into_bytes()
    }

    fn verdict(files: &[(&str, Vec<u8>)], beside: Option<&[u8]>) -> Result<BaseBackup, String> {
        let mut check = BaseCheck::default();
        for (path, bytes) in files {
            file(&mut check, path, bytes).map_err(|error| error.to_string())?;
        }
        check.finish(beside).map_err(|error| error.to_string())
    }

    fn with(
        mut files: Vec<(&'static str, Vec<u8>)>,
        path: &'static str,
        bytes: Vec<u8>,
    ) -> Vec<(&'static str, Vec<u8>)> {
        match files.iter_mut().find(|(name, _)| *name == path) {
            Some(file) => file.1 = bytes,
            None => files.push((path, bytes)),
        }
        files
    }

    #[test]
    fn the_label_is_known_as_soon_as_it_has_passed() {
        let mut check = BaseCheck::default();
        assert!(check.label().unwrap().is_none());
        file(&mut check, "backup_label", LABEL.as_bytes()).unwrap();
        assert_eq!(check.label().unwrap().unwrap().start, Lsn(0x600_0028));
    }

    #[test]
    fn a_backup_is_good_with_its_manifest_inside_beside_or_both() {
        let listing = listing(&good(), "0/6000028", SYSTEM);
        let whole = with(good(), "backup_manifest", listing.clone());
        for (files, beside) in [(&whole, None), (&good(), Some(&listing[..])), (&whole, Some(&listing))] {
            let base = verdict(files, beside).unwrap();
            assert_eq!((base.manifest.files.len(), base.system_identifier), (4, SYSTEM));
            assert_eq!(base.bytes, good().iter().map(|(_, bytes)| bytes.len() as u64).sum::<u64>());
            assert!(base.manifest_bytes == listing);
            base.check_database(SYSTEM).unwrap();
            assert!(base.check_database(7).unwrap_err().to_string().contains("not 7"));
        }
        assert!(verdict(&good(), None).unwrap_err().contains("backup_manifest is missing"));
        assert!(verdict(&whole, Some(b"{}")).unwrap_err().contains("not the one beside it"));
    }

    #[test]
    fn a_file_that_is_missing_extra_or_different_is_named() {
        let listing = listing(&good(), "0/6000028", SYSTEM);
        let refused = |files: &[(&str, Vec<u8>)]| verdict(files, Some(&listing)).unwrap_err();
        let mut short = good();
        short.retain(|(path, _)| *path != "base/1/2");
        assert!(refused(&short).contains("base/1/2 is listed"));
        assert!(refused(&with(good(), "evil", vec![])).contains("evil is in the backup"));
        assert!(refused(&with(good(), "base/1/2", b"abd".into())).contains("base/1/2 is damaged"));
        assert!(refused(&with(good(), "base/1/2", b"ab".into())).contains("base/1/2 has 2 bytes"));
        assert!(refused(&[good(), good()].concat()).contains("backup_label comes twice"));
        assert!(refused(&with(good(), "pg_wal/000000010000000000000001", vec![1])).contains("belongs into pg_wal.tar"));
        assert!(refused(&with(good(), "pg_tblspc/16400/x", vec![])).contains("a tablespace of its own"));
        assert!(refused(&with(good(), "backup_label", vec![0; 1 << 17])).contains("has 131072 bytes"));
    }

    #[test]
    fn files_that_contradict_each_other_are_refused() {
        let refused = |files: Vec<(&str, Vec<u8>)>, start: &str, system: u64| {
            verdict(&files, Some(&listing(&files, start, system))).unwrap_err()
        };
        assert!(refused(good(), "0/6000030", SYSTEM).contains("backup_label begins at 0/6000028"));
        assert!(refused(good(), "0/6000028", 7).contains("of different databases"));
        let other = LABEL.replace("START TIMELINE: 1", "START TIMELINE: 2");
        assert!(refused(with(good(), "backup_label", other.into()), "0/6000028", SYSTEM).contains("timeline 2"));
        let standby = LABEL.replace("BACKUP FROM: primary", "BACKUP FROM: standby");
        assert!(refused(with(good(), "backup_label", standby.into()), "0/6000028", SYSTEM).contains("from a standby"));
        let cut = with(good(), "global/pg_control", vec![0; 5]);
        assert!(refused(cut, "0/6000028", SYSTEM).contains("global/pg_control is missing or too short"));
        assert!(refused(good()[1..].to_vec(), "0/6000028", SYSTEM).contains("backup_label is missing"));
    }
}
