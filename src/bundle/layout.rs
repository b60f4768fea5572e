//! What may stand in a bundle, under which name, in which order, and how large.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
/// The most chunks that a stream can have: six digits.
const CHUNK_LIMIT: u32 = 1_000_000;
/// The largest stored chunk. A reader holds a few of them in memory.
pub const CHUNK_BYTES_LIMIT: u64 = 256 * MIB;
/// The largest chunk before compression. A frame that unpacks to more is refused while it unpacks.
pub const RAW_CHUNK_BYTES_LIMIT: u64 = 256 * MIB;

/// The config members without which a bundle is not one.
pub const REQUIRED_CONFIG: [&str; 3] = ["config/values.yaml.age", "config/release.json.age", "config/secrets.yaml.age"];

/// The two streams of database bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// The base backup: concatenated plaintexts are `base.tar`.
    Base,
    /// The write-ahead log: concatenated plaintexts are `pg_wal.tar`.
    Wal,
}

impl Stream {
    /// Its folder in the bundle, below `db/`.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Wal => "wal",
        }
    }

    /// The tar that the plaintexts of its chunks are, one after the other.
    pub fn tar(self) -> &'static str {
        match self {
            Self::Base => "base.tar",
            Self::Wal => "pg_wal.tar",
        }
    }
}

/// One member of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Member {
    /// `bundle.json`.
    Header,
    /// `README.md`.
    Readme,
    /// `config/<name>.age`; the text is the whole member name.
    Config(String),
    /// `chart/<name>.tgz.age`; the text is the whole member name.
    Chart(String),
    /// `db/<stream>/<index>.tar.zst.age`.
    Chunk(Stream, u32),
    /// `db/backup_manifest.age`.
    BackupManifest,
    /// `manifest.json`.
    Manifest,
    /// `manifest.json.sig`.
    Signature,
}

impl Member {
    /// Reads a member's name; the error says why it cannot stand in a bundle.
    ///
    /// # Errors
    /// The reason, without the name.
    pub fn parse(name: &str) -> Result<Self, &'static str> {
        match name {
            "bundle.json" => return Ok(Self::Header),
            "README.md" => return Ok(Self::Readme),
            "db/backup_manifest.age" => return Ok(Self::BackupManifest),
            "manifest.json" => return Ok(Self::Manifest),
            "manifest.json.sig" => return Ok(Self::Signature),
            _ => {}
        }
        if name.starts_with('/') {
            return Err("the name is absolute");
        }
        if name.split('/').any(|part| part == "..") {
            return Err("the name leads out of the bundle");
        }
        if let Some(rest) = name.strip_prefix("config/") {
            return if is_plain(rest, ".age") {
                Ok(Self::Config(name.to_owned()))
            } else {
                Err("no such config member")
            };
        }
        if let Some(rest) = name.strip_prefix("chart/") {
            return if is_plain(rest, ".tgz.age") {
                Ok(Self::Chart(name.to_owned()))
            } else {
                Err("no such chart member")
            };
        }
        for stream in [Stream::Base, Stream::Wal] {
            let index = name
                .strip_prefix("db/")
                .and_then(|rest| rest.strip_prefix(stream.folder()))
                .and_then(|rest| rest.strip_prefix('/'))
                .and_then(|rest| rest.strip_suffix(".tar.zst.age"));
            if let Some(index) = index {
                let digits = index.len() == 6 && index.bytes().all(|b| b.is_ascii_digit());
                return match index.parse() {
                    Ok(index) if digits => Ok(Self::Chunk(stream, index)),
                    _ => Err("a chunk's name is six digits"),
                };
            }
        }
        Err("the name is not part of the layout")
    }

    /// Whether the stored bytes are an age file.
    pub fn is_sealed(&self) -> bool {
        !matches!(self, Self::Header | Self::Readme | Self::Manifest | Self::Signature)
    }

    /// The most bytes that it may have as stored.
    pub fn bytes_limit(&self) -> u64 {
        match self {
            Self::Signature => 64 * KIB,
            Self::Header | Self::Readme => MIB,
            Self::Config(_) => 64 * MIB,
            Self::Chart(_) => 128 * MIB,
            Self::Chunk(..) | Self::BackupManifest => CHUNK_BYTES_LIMIT,
            // About 300 bytes a chunk, and a million chunks.
            Self::Manifest => 512 * MIB,
        }
    }

    /// Its place in the file: members come in ascending rank.
    fn rank(&self) -> u8 {
        match self {
            Self::Header => 0,
            Self::Readme => 1,
            Self::Config(_) => 2,
            Self::Chart(_) => 3,
            Self::Chunk(..) => 4,
            Self::BackupManifest => 5,
            Self::Manifest => 6,
            Self::Signature => 7,
        }
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header => f.write_str("bundle.json"),
            Self::Readme => f.write_str("README.md"),
            Self::Config(name) | Self::Chart(name) => f.write_str(name),
            Self::Chunk(stream, index) => write!(f, "db/{}/{index:06}.tar.zst.age", stream.folder()),
            Self::BackupManifest => f.write_str("db/backup_manifest.age"),
            Self::Manifest => f.write_str("manifest.json"),
            Self::Signature => f.write_str("manifest.json.sig"),
        }
    }
}

/// `[a-z0-9][A-Za-z0-9._+-]*<suffix>`, short enough for a tar header.
fn is_plain(name: &str, suffix: &str) -> bool {
    name.strip_suffix(suffix).is_some_and(|stem| {
        stem.len() <= 80
            && stem.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
            && stem.bytes().all(|b| b.is_ascii_alphanumeric() || b"._+-".contains(&b))
    })
}

/// Whether `text`, which is said to be the digest of `of`, can be one.
///
/// # Errors
/// It is no SHA-256 in lower-case hex.
pub(super) fn digest(of: &str, text: &str) -> Result<(), String> {
    let good = text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if good {
        Ok(())
    } else {
        Err(format!("{of}: `{}` is not a SHA-256 digest", text.chars().take(80).collect::<String>()))
    }
}

/// Follows the members of a bundle as they come, and refuses what is out of order, doubled or missing.
#[derive(Debug, Default)]
pub struct Order {
    rank: Option<u8>,
    config: BTreeSet<String>,
    base: u32,
    wal: u32,
}

impl Order {
    /// Takes the next member.
    ///
    /// # Errors
    /// Why it must not stand here.
    pub fn admit(&mut self, member: &Member) -> Result<(), String> {
        let rank = member.rank();
        let last = self.rank;
        let many = matches!(member, Member::Config(_) | Member::Chunk(..));
        match last {
            None if rank != 0 => return Err("a bundle begins with bundle.json".into()),
            Some(last) if rank < last => return Err("it stands in the wrong place".into()),
            Some(last) if rank == last && !many => return Err("it is there twice".into()),
            _ => {}
        }
        match member {
            Member::Config(name) if !self.config.insert(name.clone()) => return Err("it is there twice".into()),
            Member::Chunk(stream, index) => {
                let next = match stream {
                    Stream::Base => &mut self.base,
                    Stream::Wal => &mut self.wal,
                };
                if index != next || *next >= CHUNK_LIMIT {
                    return Err(format!("chunk {next:06} of {} should come next", stream.folder()));
                }
                *next += 1;
            }
            _ => {}
        }
        if rank >= 1 && last.is_none_or(|last| last == 0) && rank != 1 {
            return Err("README.md should come next".into());
        }
        if rank >= Member::BackupManifest.rank() {
            self.complete_before(member)?;
        }
        self.rank = Some(rank);
        Ok(())
    }

    /// What must be there before the last members.
    fn complete_before(&self, member: &Member) -> Result<(), String> {
        if let Some(missing) = REQUIRED_CONFIG.iter().find(|name| !self.config.contains(**name)) {
            return Err(format!("{missing} is missing"));
        }
        if self.base == 0 || self.wal == 0 {
            let missing = if self.base == 0 { Stream::Base } else { Stream::Wal };
            return Err(format!("the chunks of db/{} are missing", missing.folder()));
        }
        match (member, self.rank) {
            (Member::Manifest, Some(5)) | (Member::Signature, Some(6)) | (Member::BackupManifest, _) => Ok(()),
            (Member::Manifest, _) => Err("db/backup_manifest.age is missing".into()),
            _ => Err("manifest.json is missing".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: [&str; 13] = [
        "bundle.json",
        "README.md",
        "config/values.yaml.age",
        "config/release.json.age",
        "config/secrets.yaml.age",
        "chart/opschain-2026.8.20.tgz.age",
        "db/base/000000.tar.zst.age",
        "db/wal/000000.tar.zst.age",
        "db/base/000001.tar.zst.age",
        "db/wal/000001.tar.zst.age",
        "db/backup_manifest.age",
        "manifest.json",
        "manifest.json.sig",
    ];

    fn walk(names: &[&str]) -> Result<Order, String> {
        let mut order = Order::default();
        for name in names {
            let member = Member::parse(name).map_err(|reason| format!("{name}: {reason}"))?;
            order.admit(&member).map_err(|reason| format!("{name}: {reason}"))?;
        }
        Ok(order)
    }

    #[test]
    fn the_layout_reads_and_writes_its_own_names() {
        for name in GOOD {
            assert_eq!(Member::parse(name).unwrap().to_string(), name);
        }
        assert_eq!(walk(&GOOD).unwrap().rank, Some(7));
    }

    #[test]
    fn foreign_names_are_refused_with_the_reason() {
        for (name, reason) in [
            ("/etc/passwd", "absolute"),
            ("../x", "leads out"),
            ("config/../x.age", "leads out"),
            ("config/a/b.age", "config"),
            ("config/.age", "config"),
            ("config/values.yaml", "config"),
            ("chart/x.tar", "chart"),
            ("db/base/0.tar.zst.age", "six digits"),
            ("db/base/+00000.tar.zst.age", "six digits"),
            ("db/basement/000000.tar.zst.age", "layout"),
            ("extra", "layout"),
            ("", "layout"),
            ("./bundle.json", "layout"),
        ] {
            assert!(Member::parse(name).unwrap_err().contains(reason), "{name}");
        }
    }

    #[test]
    fn any_two_members_swapped_or_one_doubled_or_left_out_is_refused() {
        for (i, name) in GOOD.iter().enumerate() {
            let mut doubled = GOOD.to_vec();
            doubled.insert(i, name);
            assert!(walk(&doubled).is_err(), "{name} twice");
            let mut without = GOOD.to_vec();
            without.remove(i);
            // The chart and the last WAL chunk may be left out; without the signature the bundle is merely unsigned.
            let optional = name.starts_with("chart/") || name.ends_with("1.tar.zst.age") || i == GOOD.len() - 1;
            assert_eq!(walk(&without).is_ok(), optional, "without {name}");
        }
        for (i, j) in [(0, 1), (1, 2), (4, 5), (5, 6), (6, 8), (7, 9), (9, 10), (10, 11), (11, 12)] {
            let mut swapped = GOOD.to_vec();
            swapped.swap(i, j);
            assert!(walk(&swapped).is_err(), "{} and {} swapped", GOOD[i], GOOD[j]);
        }
    }
}
