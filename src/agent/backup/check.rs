//! Checks a base backup while it passes by: every file against PostgreSQL's own manifest.

use std::collections::BTreeMap;

use crate::agent::protocol::{BaseDone, Failure, FailureKind};
use crate::agent::tarball::{Entry, Sink};
use crate::postgres::manifest::{self, File};
use crate::postgres::{BackupLabel, Manifest, control, label};

/// The most that is kept of a file that is read as well as passed on.
const KEPT: usize = 256 << 20;

/// What was seen of a base backup.
#[derive(Default)]
pub struct BaseCheck {
    files: BTreeMap<String, File>,
    current: Option<Current>,
    /// The files that say something about the backup itself.
    told: BTreeMap<String, Vec<u8>>,
}

struct Current {
    path: String,
    size: u64,
    crc32c: u32,
    keep: Option<Vec<u8>>,
}

impl BaseCheck {
    /// The backup's label, once its first file has passed.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn label(&self) -> Result<Option<BackupLabel>, Failure> {
        let Some(bytes) = self.told.get(label::NAME) else { return Ok(None) };
        BackupLabel::parse(&String::from_utf8_lossy(bytes)).map(Some).map_err(|error| damaged(error.to_string()))
    }

    /// Compares everything that passed with the manifest, and returns it with the manifest's bytes.
    ///
    /// # Errors
    /// Names the first file that is missing, extra or different.
    pub fn finish(mut self) -> Result<(BaseDone, Vec<u8>), Failure> {
        let text = self
            .told
            .remove(manifest::NAME)
            .ok_or_else(|| damaged("the base backup ends without backup_manifest".into()))?;
        let manifest = Manifest::parse(&text).map_err(|error| damaged(error.to_string()))?;
        compare(&manifest, &self.files)?;
        let label = self.label()?.ok_or_else(|| damaged("the base backup has no backup_label".into()))?;
        if (label.start, label.timeline) != (manifest.start, manifest.timeline) {
            return Err(damaged(format!(
                "backup_label begins at {} of timeline {}, backup_manifest at {} of timeline {}",
                label.start, label.timeline, manifest.start, manifest.timeline
            )));
        }
        if !label.from_primary {
            return Err(Failure::new(FailureKind::Standby, "the backup was made from a standby"));
        }
        let system_identifier = self
            .told
            .get(control::NAME)
            .and_then(|bytes| control::system_identifier(bytes))
            .ok_or_else(|| damaged(format!("the base backup has no {}", control::NAME)))?;
        if manifest.system_identifier.is_some_and(|other| other != system_identifier) {
            return Err(damaged("backup_manifest and pg_control are of different databases".into()));
        }
        let done = BaseDone {
            start: manifest.start,
            end: manifest.end,
            timeline: manifest.timeline,
            system_identifier,
            files: manifest.files.len() as u64,
        };
        Ok((done, text))
    }
}

/// Compares the files of a backup with its manifest. `backup_manifest` itself and WAL are never listed.
///
/// # Errors
/// Names the first file that is missing, extra or different.
pub fn compare(manifest: &Manifest, files: &BTreeMap<String, File>) -> Result<(), Failure> {
    for (path, listed) in &manifest.files {
        match files.get(path) {
            None => return Err(damaged(format!("{path} is listed in backup_manifest and missing from the backup"))),
            Some(found) if found.size != listed.size => {
                return Err(damaged(format!("{path} has {} bytes, backup_manifest says {}", found.size, listed.size)));
            }
            Some(found) if found.crc32c != listed.crc32c => {
                return Err(damaged(format!("{path} is damaged: its checksum is not the one in backup_manifest")));
            }
            Some(_) => {}
        }
    }
    match files.keys().find(|path| !manifest.files.contains_key(*path)) {
        Some(path) => Err(damaged(format!("{path} is in the backup and not listed in backup_manifest"))),
        None => Ok(()),
    }
}

fn damaged(message: String) -> Failure {
    Failure::new(FailureKind::Damaged, message)
}

impl Sink for BaseCheck {
    fn begin(&mut self, entry: &Entry) -> Result<(), Failure> {
        if entry.folder {
            self.current = None;
            return Ok(());
        }
        if entry.path.starts_with("pg_tblspc/") {
            let message = format!("{}: the backup has a tablespace of its own", entry.path);
            return Err(Failure::new(FailureKind::Tablespaces, message));
        }
        let told = [label::NAME, manifest::NAME, control::NAME].contains(&entry.path.as_str());
        if told && entry.bytes > KEPT as u64 {
            return Err(damaged(format!("{} has {} bytes", entry.path, entry.bytes)));
        }
        let known = self.files.contains_key(&entry.path) || self.told.contains_key(&entry.path);
        if known {
            return Err(damaged(format!("{} comes twice", entry.path)));
        }
        self.current = Some(Current { path: entry.path.clone(), size: 0, crc32c: 0, keep: told.then(Vec::new) });
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if let Some(current) = &mut self.current {
            current.size += bytes.len() as u64;
            current.crc32c = crc32c::crc32c_append(current.crc32c, bytes);
            if let Some(keep) = &mut current.keep {
                keep.extend_from_slice(bytes);
            }
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), Failure> {
        let Some(current) = self.current.take() else { return Ok(()) };
        if let Some(keep) = current.keep {
            self.told.insert(current.path.clone(), keep);
        }
        if current.path != manifest::NAME && !current.path.starts_with("pg_wal/") {
            self.files.insert(current.path, File { size: current.size, crc32c: current.crc32c });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::Lsn;

    const LABEL: &str = include_str!("../../../fixtures/pg/backup_label-15.txt");

    fn file(check: &mut BaseCheck, path: &str, bytes: &[u8]) -> Result<(), Failure> {
        check.begin(&Entry { path: path.into(), folder: false, bytes: bytes.len() as u64 })?;
        check.data(bytes)?;
        check.end()
    }

    fn listed(files: &[(&str, &[u8])]) -> Manifest {
        let entry = |bytes: &[u8]| File { size: bytes.len() as u64, crc32c: crc32c::crc32c(bytes) };
        Manifest {
            version: 1,
            system_identifier: None,
            files: files.iter().map(|(path, bytes)| ((*path).to_owned(), entry(bytes))).collect(),
            timeline: 1,
            start: Lsn(0),
            end: Lsn(1),
        }
    }

    #[test]
    fn the_label_is_known_as_soon_as_it_has_passed() {
        let mut check = BaseCheck::default();
        assert!(check.label().unwrap().is_none());
        file(&mut check, "backup_label", LABEL.as_bytes()).unwrap();
        assert_eq!(check.label().unwrap().unwrap().start, Lsn(0x600_0028));
    }

    #[test]
    fn a_file_that_is_missing_extra_or_different_is_named() {
        let manifest = listed(&[("PG_VERSION", b"15\n"), ("base/1/2", b"abc")]);
        let verdict = |files: &[(&str, &[u8])]| {
            let mut check = BaseCheck::default();
            files.iter().for_each(|(path, bytes)| file(&mut check, path, bytes).unwrap());
            compare(&manifest, &check.files).map_err(|failure| failure.message)
        };
        let good: [(&str, &[u8]); 2] = [("PG_VERSION", b"15\n"), ("base/1/2", b"abc")];
        verdict(&good).unwrap();
        verdict(&[good[0], good[1], ("pg_wal/000000010000000000000001", b"x"), ("backup_manifest", b"{}")]).unwrap();
        assert!(verdict(&good[..1]).unwrap_err().contains("base/1/2 is listed"));
        assert!(verdict(&[good[0], good[1], ("evil", b"")]).unwrap_err().contains("evil is in the backup"));
        assert!(verdict(&[good[0], ("base/1/2", b"abd")]).unwrap_err().contains("base/1/2 is damaged"));
        assert!(verdict(&[good[0], ("base/1/2", b"ab")]).unwrap_err().contains("base/1/2 has 2 bytes"));
    }

    #[test]
    fn a_tablespace_and_a_file_that_comes_twice_are_refused() {
        let mut check = BaseCheck::default();
        let failure = file(&mut check, "pg_tblspc/16400/x", b"").unwrap_err();
        assert_eq!(failure.kind, FailureKind::Tablespaces);
        file(&mut check, "a", b"1").unwrap();
        assert!(file(&mut check, "a", b"1").is_err());
    }

    #[test]
    fn a_base_backup_without_its_manifest_is_refused() {
        let mut check = BaseCheck::default();
        file(&mut check, "backup_label", LABEL.as_bytes()).unwrap();
        assert!(check.finish().unwrap_err().message.contains("without backup_manifest"));
    }
}
