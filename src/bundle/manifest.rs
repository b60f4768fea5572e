//! `manifest.json`: what every byte before it must be. Its signature makes the whole bundle signed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::postgres::Lsn;
use crate::postgres::basebackup::WalEnd;

use super::error::BundleFault;
use super::format::FormatVersion;
use super::header::{Header, OutOfScope};
use super::id::BundleId;
use super::json;
use super::layout::{Member, RAW_CHUNK_BYTES_LIMIT, Stream, digest};
use super::volume::{self, BundledVolume};

const NAME: &str = "manifest.json";

/// The proof of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The format, again: it is signed here.
    pub format: FormatVersion,
    /// The bundle's name, again.
    pub id: BundleId,
    pub database: BackupIdentity,
    /// The base backup as a whole.
    pub base: StreamTotal,
    /// The write-ahead log as a whole.
    pub wal: StreamTotal,
    /// SHA-256 of the bytes of `values.yaml`. They hold keys of at least 128 bits, so nobody can guess them from it.
    pub values_sha256: String,
    /// SHA-256 of the document that Helm had stored of them when the bundle was made, in one spelling (see
    /// [`overlay::document`](crate::values::overlay::document)). Who made the bundle need not have opened the values: this
    /// is what was live, and whoever opens them finds out whether they are that. Absent before format 1.2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub helm_values_sha256: Option<String>,
    /// Fingerprints of the keys that the data depends on, by path, under a key that is sealed in the bundle. Empty before
    /// format 1.5.
    pub key_fingerprints: BTreeMap<String, String>,
    /// How many of what is in it, for summaries: `secrets`, `tables`, ...
    pub counts: BTreeMap<String, u64>,
    /// What is not in it, as known at the end.
    pub scope: Vec<OutOfScope>,
    /// The other volumes whose files are in it. Since 1.8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<BundledVolume>,
    /// Every member before this one, in order.
    pub members: Vec<MemberEntry>,
}

/// The identity of the database and the span of log that makes it consistent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupIdentity {
    /// The system identifier, as decimal digits.
    pub system_identifier: String,
    /// The timeline of the backup.
    pub timeline: u32,
    /// Where replay begins.
    pub start_lsn: Lsn,
    /// Where the base backup itself becomes consistent.
    pub end_lsn: Lsn,
    /// Up to where all writers had finished; absent when nothing was quiesced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiesce_lsn: Option<Lsn>,
    /// Where the log ends: nothing past it is in the bundle, so nothing past it is replayed. Absent before format 1.3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wal_end_lsn: Option<Lsn>,
    pub wal_segment_bytes: u64,
}

impl BackupIdentity {
    /// The last position that the log in the bundle must reach.
    pub fn last_lsn(&self) -> Lsn {
        self.wal_end_lsn.or(self.quiesce_lsn).map_or(self.end_lsn, |last| last.max(self.end_lsn))
    }

    /// Where its log has to end.
    pub fn wal_end(&self) -> WalEnd {
        self.wal_end_lsn.map_or(WalEnd::AtLeast(self.last_lsn()), |_| WalEnd::At(self.last_lsn()))
    }
}

/// A stream before it was cut, compressed and sealed. The digests of its chunks, in their order, are its digest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawTotal {
    pub bytes: u64,
}

/// A stream as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamTotal {
    pub chunks: u32,
    /// Bytes of all chunks as stored.
    pub stored_bytes: u64,
    /// The stream itself.
    pub raw: RawTotal,
}

/// One member. The field names are what the README's `sed` looks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberEntry {
    /// Its name in the tar.
    pub name: String,
    /// Its length as stored.
    pub bytes: u64,
    /// SHA-256 of its stored bytes, as lower-case hex.
    pub sha256: String,
    /// Of a chunk: the length after opening and unpacking.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw_bytes: Option<u64>,
    /// Of a chunk: SHA-256 of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw_sha256: Option<String>,
}

impl Manifest {
    /// The bytes of `manifest.json`: one line a member.
    ///
    /// # Errors
    /// `Json`, which no manifest that the type can hold gives.
    pub fn to_bytes(&self) -> Result<Vec<u8>, BundleFault> {
        json::to_lines(self, NAME)
    }

    /// Reads `manifest.json` and checks it against itself and `header`. Check its signature first.
    ///
    /// # Errors
    /// `Json`, or `Damaged` with the contradiction.
    pub fn parse(bytes: &[u8], header: &Header) -> Result<Self, BundleFault> {
        let manifest: Self = json::parse(bytes, NAME)?;
        manifest.check(header).map_err(|reason| BundleFault::damaged(NAME, reason))?;
        Ok(manifest)
    }

    fn check(&self, header: &Header) -> Result<(), String> {
        if self.format != header.format || self.id != header.id {
            return Err(format!("it belongs to bundle {} of format {}", self.id, self.format));
        }
        let database = &self.database;
        if database.system_identifier != header.postgresql.system_identifier {
            return Err("its system identifier is not that of bundle.json".into());
        }
        if database.start_lsn > database.end_lsn {
            return Err("the backup ends before it starts".into());
        }
        if database.wal_end_lsn.is_some_and(|end| end < database.end_lsn || database.quiesce_lsn > Some(end)) {
            return Err("its log ends before the moment that it is to hold".into());
        }
        let segment = database.wal_segment_bytes;
        if !segment.is_power_of_two() || !(1 << 20..=1 << 30).contains(&segment) {
            return Err(format!("{segment} is not a size of WAL segments"));
        }
        digest("values_sha256", &self.values_sha256)?;
        if let Some(text) = &self.helm_values_sha256 {
            digest("helm_values_sha256", text)?;
        }
        for entry in &self.members {
            entry.check()?;
        }
        volume::check(&self.volumes, self.members.iter().map(|entry| entry.name.as_str()))?;
        self.check_total(Stream::Base, &self.base)?;
        self.check_total(Stream::Wal, &self.wal)
    }

    fn check_total(&self, stream: Stream, total: &StreamTotal) -> Result<(), String> {
        let (mut chunks, mut stored, mut raw) = (0u32, 0u64, 0u64);
        for entry in &self.members {
            if matches!(Member::parse(&entry.name), Ok(Member::Chunk(of, _)) if of == stream) {
                chunks += 1;
                stored = stored.saturating_add(entry.bytes);
                raw = raw.saturating_add(entry.raw_bytes.unwrap_or_default());
            }
        }
        if (chunks, stored, raw) != (total.chunks, total.stored_bytes, total.raw.bytes) {
            return Err(format!("the sums of db/{} are not those of its chunks", stream.folder()));
        }
        Ok(())
    }
}

impl MemberEntry {
    fn check(&self) -> Result<(), String> {
        let member = Member::parse(&self.name).map_err(|reason| format!("{}: {reason}", self.name))?;
        digest(&self.name, &self.sha256)?;
        match (&member, self.raw_bytes, &self.raw_sha256) {
            (Member::Chunk(..), Some(bytes), Some(sha256)) if bytes <= RAW_CHUNK_BYTES_LIMIT => {
                digest(&self.name, sha256)
            }
            (Member::Chunk(..), ..) => Err(format!("{} has no raw size and digest, or is too large", self.name)),
            (_, None, None) => Ok(()),
            _ => Err(format!("{} has a raw size and is no chunk", self.name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::testing;

    fn refused(change: impl FnOnce(&mut Manifest)) -> String {
        let (_, mut manifest) = testing::manifest();
        change(&mut manifest);
        Manifest::parse(&manifest.to_bytes().unwrap(), &testing::header()).unwrap_err().to_string()
    }

    #[test]
    fn a_manifest_is_read_back_and_has_one_line_a_member() {
        let (header, manifest) = testing::manifest();
        let bytes = manifest.to_bytes().unwrap();
        assert_eq!(Manifest::parse(&bytes, &header).unwrap(), manifest);
        let text = String::from_utf8(bytes).unwrap();
        let lines = text.lines().filter(|line| line.trim_start().starts_with("{\"name\":\"")).count();
        assert_eq!(lines, manifest.members.len());
    }

    #[test]
    fn contradictions_are_named() {
        assert!(refused(|m| m.base.raw.bytes += 1).contains("sums of db/base"));
        assert!(refused(|m| m.wal.chunks += 1).contains("sums of db/wal"));
        assert!(refused(|m| m.format.minor = 99).contains("belongs to bundle"));
        assert!(refused(|m| m.database.system_identifier = "9".into()).contains("system identifier"));
        assert!(refused(|m| m.database.end_lsn = Lsn(0)).contains("ends before it starts"));
        assert!(refused(|m| m.database.wal_end_lsn = Some(Lsn(0))).contains("log ends before"));
        assert!(refused(|m| m.database.quiesce_lsn = Some(Lsn(1 << 40))).contains("log ends before"));
        assert!(refused(|m| m.database.wal_segment_bytes = 3 << 20).contains("size of WAL segments"));
        assert!(refused(|m| m.values_sha256 = "A".repeat(64)).contains("not a SHA-256"));
        assert!(refused(|m| m.helm_values_sha256 = Some("x".into())).contains("not a SHA-256"));
        assert!(refused(|m| m.members[0].name = "../x".into()).contains("leads out"));
        assert!(refused(|m| m.members[0].raw_bytes = Some(1)).contains("no chunk"));
        let chunk = |m: &Manifest| m.members.iter().position(|e| e.raw_bytes.is_some()).unwrap();
        assert!(
            refused(|m| {
                let i = chunk(m);
                m.members[i].raw_sha256 = None
            })
            .contains("no raw size and digest")
        );
    }
}
