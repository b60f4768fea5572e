//! `backup_manifest`: PostgreSQL's own list of the files of a base backup.
//!
//! Source of the format: PostgreSQL's documentation, "Backup Manifest Format"; versions 1 (PostgreSQL 13 to 16) and 2
//! (from 17, which adds the system identifier).

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::label;
use super::lsn::Lsn;
use crate::ustar::is_inside;

/// The name of the file in a base backup.
pub const NAME: &str = "backup_manifest";

/// From the first that writes a manifest, to beyond the newest that its format is known of.
const MAJORS: RangeInclusive<u32> = 13..=20;

/// A manifest whose own checksum has been verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupManifest {
    /// 1 or 2.
    pub version: u32,
    /// The database's identity; version 2 only.
    pub system_identifier: Option<u64>,
    /// The files by their path below the data directory.
    pub files: BTreeMap<String, ManifestFile>,
    /// The timeline of the needed WAL.
    pub timeline: u32,
    /// Where recovery begins to read.
    pub start: Lsn,
    /// What recovery must reach before the database is consistent.
    pub end: Lsn,
}

/// One file of a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ManifestFile {
    /// Its length in bytes.
    pub size: u64,
    /// Its CRC32C.
    pub crc32c: u32,
}

/// Why a manifest is refused.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It is not the JSON that it should be, for example cut off.
    #[error("backup_manifest cannot be read: {0}")]
    Malformed(String),
    /// Its own checksum does not fit it.
    #[error("backup_manifest is damaged: its own checksum does not fit it")]
    Damaged,
    /// A version that is not known.
    #[error("backup_manifest has version {0}; versions 1 and 2 are known")]
    Version(u32),
    /// A file is listed without CRC32C.
    #[error("backup_manifest lists {path} with checksum algorithm {algorithm}, not CRC32C")]
    Algorithm {
        path: String,
        /// What it says.
        algorithm: String,
    },
    /// A path that leaves the data directory, or one that is listed twice.
    #[error("backup_manifest lists {0}, which is no path of a backup")]
    Path(String),
    /// The backup needs WAL of more than one timeline, as one from a standby may.
    #[error("backup_manifest needs {0} ranges of WAL, where one is expected: was the server promoted meanwhile?")]
    Ranges(usize),
}

#[derive(Deserialize)]
struct Raw {
    #[serde(rename = "PostgreSQL-Backup-Manifest-Version")]
    version: u32,
    #[serde(rename = "System-Identifier")]
    system_identifier: Option<u64>,
    #[serde(rename = "Files")]
    files: Vec<RawFile>,
    #[serde(rename = "WAL-Ranges")]
    ranges: Vec<RawRange>,
    #[serde(rename = "Manifest-Checksum")]
    checksum: String,
}

#[derive(Deserialize)]
struct RawFile {
    #[serde(rename = "Path")]
    path: Option<String>,
    #[serde(rename = "Encoded-Path")]
    encoded_path: Option<String>,
    #[serde(rename = "Size")]
    size: u64,
    #[serde(rename = "Checksum-Algorithm")]
    algorithm: Option<String>,
    #[serde(rename = "Checksum")]
    checksum: Option<String>,
    #[serde(rename = "Last-Modified")]
    modified: Option<String>,
}

#[derive(Deserialize)]
struct RawRange {
    #[serde(rename = "Timeline")]
    timeline: u32,
    #[serde(rename = "Start-LSN")]
    start: String,
    #[serde(rename = "End-LSN")]
    end: String,
}

impl BackupManifest {
    /// PostgreSQL's major version, told by the checksum of the file that says it; `None` for one that is not known.
    pub fn major(&self) -> Option<u32> {
        let file = self.files.get("PG_VERSION")?;
        MAJORS.into_iter().find(|major| crc32c::crc32c(format!("{major}\n").as_bytes()) == file.crc32c)
    }

    /// Reads a manifest and verifies its own checksum.
    ///
    /// # Errors
    /// See [`ManifestError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        let raw: Raw = serde_json::from_slice(bytes).map_err(|e| ManifestError::Malformed(e.to_string()))?;
        if !matches!(raw.version, 1 | 2) {
            return Err(ManifestError::Version(raw.version));
        }
        // The checksum covers everything before the line that holds it.
        let key = b"\"Manifest-Checksum\"";
        let covered = bytes.windows(key.len()).rposition(|window| window == key).ok_or(ManifestError::Damaged)?;
        if hex::encode(Sha256::digest(&bytes[..covered])) != raw.checksum {
            return Err(ManifestError::Damaged);
        }
        let [range] = raw.ranges.as_slice() else { return Err(ManifestError::Ranges(raw.ranges.len())) };
        let lsn = |text: &str| text.parse::<Lsn>().map_err(|e| ManifestError::Malformed(e.to_string()));
        let (start, end) = (lsn(&range.start)?, lsn(&range.end)?);
        let mut files = BTreeMap::new();
        for file in &raw.files {
            let (path, entry) = file.read()?;
            if files.insert(path.clone(), entry).is_some() {
                return Err(ManifestError::Path(path));
            }
        }
        Ok(Self {
            version: raw.version,
            system_identifier: raw.system_identifier,
            files,
            timeline: range.timeline,
            start,
            end,
        })
    }
}

/// When the backup of a manifest began, to the second: the server writes `backup_label` for it then, and the manifest has
/// the time of each file, in GMT. `None` where it does not say.
pub fn begun(bytes: &[u8]) -> Option<Timestamp> {
    let raw: Raw = serde_json::from_slice(bytes).ok()?;
    let label = raw.files.iter().find(|file| file.path.as_deref() == Some(label::NAME))?;
    let civil = label.modified.as_deref()?.strip_suffix(" GMT")?;
    let moment = jiff::civil::DateTime::strptime("%Y-%m-%d %H:%M:%S", civil).ok()?;
    moment.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

impl RawFile {
    fn read(&self) -> Result<(String, ManifestFile), ManifestError> {
        let path = match (&self.path, &self.encoded_path) {
            (Some(path), None) => path.clone(),
            // Bytes that are no UTF-8 are given in hex; no file of PostgreSQL's own has such a name.
            (None, Some(encoded)) => hex::decode(encoded)
                .ok()
                .and_then(|bytes| String::from_utf8(bytes).ok())
                .ok_or_else(|| ManifestError::Path(encoded.clone()))?,
            _ => return Err(ManifestError::Malformed("a file without a path".into())),
        };
        if !is_inside(&path) {
            return Err(ManifestError::Path(path));
        }
        if self.algorithm.as_deref() != Some("CRC32C") {
            let algorithm = self.algorithm.clone().unwrap_or_else(|| "none".into());
            return Err(ManifestError::Algorithm { path, algorithm });
        }
        // The four bytes stand in memory order of the server, which is little-endian everywhere it runs for us.
        let sum = self.checksum.as_deref().and_then(|text| hex::decode(text).ok());
        let sum: [u8; 4] = sum
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or_else(|| ManifestError::Malformed(format!("the checksum of {path}")))?;
        Ok((path, ManifestFile { size: self.size, crc32c: u32::from_le_bytes(sum) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REAL: &[u8] = include_bytes!("../../fixtures/pg/backup_manifest-15.json");

    /// A manifest with a checksum that fits.
    fn with_checksum(body: &str) -> Vec<u8> {
        format!("{body}\"Manifest-Checksum\": \"{}\"}}\n", hex::encode(Sha256::digest(body))).into_bytes()
    }

    fn manifest(files: &str, ranges: &str) -> Vec<u8> {
        with_checksum(&format!(
            "{{ \"PostgreSQL-Backup-Manifest-Version\": 2,\n\"System-Identifier\": 7711272386700096654,\n\
             \"Files\": [{files}],\n\"WAL-Ranges\": [{ranges}],\n"
        ))
    }

    const RANGE: &str = r#"{ "Timeline": 3, "Start-LSN": "0/2000028", "End-LSN": "0/2000100" }"#;

    #[test]
    fn reads_what_postgresql_15_wrote() {
        let manifest = BackupManifest::parse(REAL).unwrap();
        assert_eq!((manifest.version, manifest.timeline), (1, 1));
        assert_eq!((manifest.start.to_string(), manifest.end.to_string()), ("0/6000028".into(), "0/6000100".into()));
        assert_eq!(manifest.files["PG_VERSION"], ManifestFile { size: 3, crc32c: crc32c::crc32c(b"15\n") });
        assert_eq!(
            (manifest.major(), begun(REAL).map(|at| at.to_string())),
            (Some(15), Some("2026-11-23T07:55:15Z".into()))
        );
        assert_eq!(manifest.files["tablespace_map"], ManifestFile { size: 0, crc32c: 0 });
    }

    #[test]
    fn reads_version_2_with_its_system_identifier_and_encoded_paths() {
        let file = r#"{ "Encoded-Path": "6162", "Size": 1, "Checksum-Algorithm": "CRC32C", "Checksum": "01020304" }"#;
        let manifest = BackupManifest::parse(&manifest(file, RANGE)).unwrap();
        assert_eq!((manifest.version, manifest.system_identifier), (2, Some(7_711_272_386_700_096_654)));
        assert_eq!(manifest.files["ab"].crc32c, 0x0403_0201);
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_refused() {
        for at in (0..REAL.len() - 2).step_by(13) {
            let mut bad = REAL.to_vec();
            bad[at] ^= 1;
            assert!(BackupManifest::parse(&bad).is_err(), "bit at {at}");
            assert!(BackupManifest::parse(&REAL[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn refuses_paths_that_lead_out_other_algorithms_and_split_ranges() {
        let file = |path: &str, algorithm: &str| {
            format!(r#"{{ "Path": "{path}", "Size": 1, "Checksum-Algorithm": "{algorithm}", "Checksum": "01020304" }}"#)
        };
        for path in ["../x", "/etc/passwd", "a/../../b", "a//b", "./a", ""] {
            let error = BackupManifest::parse(&manifest(&file(path, "CRC32C"), RANGE)).unwrap_err();
            assert!(matches!(error, ManifestError::Path(_)), "{path}: {error}");
        }
        let error = BackupManifest::parse(&manifest(&file("a", "SHA256"), RANGE)).unwrap_err();
        assert!(matches!(error, ManifestError::Algorithm { .. }));
        let error = BackupManifest::parse(&manifest("", &format!("{RANGE}, {RANGE}"))).unwrap_err();
        assert!(matches!(error, ManifestError::Ranges(2)));
        let twice = [file("a", "CRC32C"), file("a", "CRC32C")].join(",");
        assert!(matches!(BackupManifest::parse(&manifest(&twice, RANGE)), Err(ManifestError::Path(_))));
    }
}
