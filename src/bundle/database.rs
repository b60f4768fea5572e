//! What the two tars of a bundle must hold for PostgreSQL to start from them.

use std::collections::BTreeSet;
use std::io::Read;

use serde::Serialize;

use crate::postgres::{Lsn, Manifest, Segment, control, label, manifest, wal};

use super::manifest::DatabaseFacts;

/// How much is read at once.
const BUFFER: usize = 1 << 18;
/// A control file has 8 KiB, a label a few lines.
const SMALL_FILE_LIMIT: usize = 1 << 16;

/// What was seen of the base backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BaseProof {
    /// How many files have the size and CRC32C that `backup_manifest` lists: all of them.
    pub files: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// The system identifier in the control file: the bundle's.
    pub system_identifier: String,
}

/// What was seen of the write-ahead log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WalProof {
    /// How many segments, each with a header of this database.
    pub segments: u64,
    /// From where the log is there without a gap.
    pub from: Lsn,
    /// To where.
    pub to: Lsn,
}

/// Reads `base.tar` and holds every file against PostgreSQL's manifest, and that against the bundle's facts.
pub(super) fn check_base(tar: &mut dyn Read, listed: &Manifest, facts: &DatabaseFacts) -> Result<BaseProof, String> {
    check_span(listed, facts)?;
    let mut proof = BaseProof { files: 0, bytes: 0, system_identifier: facts.system_identifier.clone() };
    let (mut seen, mut control_seen, mut label_seen) = (BTreeSet::new(), false, false);
    each_file(tar, "base.tar", |path, size, content| {
        let (crc32c, head) = read_file(content, &path, size)?;
        match listed.files.get(&path) {
            Some(file) if (file.size, file.crc32c) == (size, crc32c) => {}
            Some(_) => return Err(format!("{path} is not the file that backup_manifest lists")),
            // A manifest does not list itself, nor the log.
            None if path == manifest::NAME || path.starts_with("pg_wal/") => return Ok(()),
            None => return Err(format!("{path} is not in backup_manifest")),
        }
        if path == control::NAME {
            control_seen = true;
            let found = control::system_identifier(&head).map(|id| id.to_string());
            if found.as_ref() != Some(&facts.system_identifier) {
                return Err("the control file is that of another database".into());
            }
        }
        label_seen |= path == label::NAME;
        proof.files += 1;
        proof.bytes += size;
        if seen.insert(path.clone()) { Ok(()) } else { Err(format!("{path} is there twice")) }
    })?;
    if let Some(missing) = listed.files.keys().find(|path| !seen.contains(*path)) {
        return Err(format!("{missing} is missing"));
    }
    match (control_seen, label_seen) {
        (true, true) => Ok(proof),
        (false, _) => Err(format!("{} is missing", control::NAME)),
        _ => Err(format!("{} is missing, so PostgreSQL would start from the wrong place", label::NAME)),
    }
}

/// Whether both manifests speak of the same backup.
fn check_span(listed: &Manifest, facts: &DatabaseFacts) -> Result<(), String> {
    if listed.system_identifier.is_some_and(|id| id.to_string() != facts.system_identifier) {
        return Err("backup_manifest is that of another database".into());
    }
    if (listed.timeline, listed.start, listed.end) != (facts.timeline, facts.start_lsn, facts.end_lsn) {
        return Err(format!(
            "backup_manifest speaks of timeline {} from {} to {}, and the bundle's manifest of timeline {} from {} to {}",
            listed.timeline, listed.start, listed.end, facts.timeline, facts.start_lsn, facts.end_lsn
        ));
    }
    Ok(())
}

/// Reads `pg_wal.tar`: every segment from the start of the backup to the last position that must be reached is there,
/// whole, and of this database.
pub(super) fn check_wal(tar: &mut dyn Read, facts: &DatabaseFacts) -> Result<WalProof, String> {
    let bytes = facts.wal_segment_bytes;
    let identifier: u64 = facts.system_identifier.parse().map_err(|_| "no system identifier".to_owned())?;
    let mut seen = BTreeSet::new();
    each_file(tar, "pg_wal.tar", |path, size, content| {
        let (_, head) = read_file(content, &path, size)?;
        let name = path.as_str();
        let Some(segment) = Segment::from_name(name, bytes) else {
            let known = wal::is_history(name) || name.starts_with("archive_status/");
            return if known { Ok(()) } else { Err(format!("{path} is no WAL segment")) };
        };
        if size != bytes {
            return Err(format!("WAL segment {name} has {size} bytes of {bytes}"));
        }
        segment.check_header(&head, identifier).map_err(|error| error.to_string())?;
        if seen.insert(segment) { Ok(()) } else { Err(format!("WAL segment {name} is there twice")) }
    })?;
    let holding = |result: Result<Segment, wal::WalError>| result.map_err(|error| error.to_string());
    let first = holding(Segment::holding(facts.start_lsn, facts.timeline, bytes))?;
    let last = holding(Segment::needed_to_reach(facts.last_lsn(), facts.timeline, bytes))?;
    let mut next = first;
    while next <= last {
        if !seen.contains(&next) {
            return Err(format!("WAL segment {next} is missing"));
        }
        next = next.next();
    }
    Ok(WalProof { segments: seen.len() as u64, from: facts.start_lsn, to: facts.last_lsn() })
}

/// Calls `check` with path, size and content of every plain file; folders pass, and anything else is refused.
fn each_file(
    tar: &mut dyn Read,
    name: &str,
    mut check: impl FnMut(String, u64, &mut dyn Read) -> Result<(), String>,
) -> Result<(), String> {
    let unreadable = |error: std::io::Error| format!("{name} cannot be read: {error}");
    let mut archive = tar::Archive::new(tar);
    for entry in archive.entries().map_err(unreadable)? {
        let mut entry = entry.map_err(unreadable)?;
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let path = path.strip_prefix("./").unwrap_or(&path).to_owned();
        match entry.header().entry_type() {
            tar::EntryType::Directory => {}
            tar::EntryType::Regular if manifest::is_inside(&path) => check(path, entry.size(), &mut entry)?,
            tar::EntryType::Regular => return Err(format!("{name} holds {path}, which leads out of it")),
            _ => return Err(format!("{name} holds {path}, which is neither a file nor a folder")),
        }
    }
    Ok(())
}

/// Reads a file of `size` bytes to its end: its CRC32C, and its first bytes.
fn read_file(content: &mut dyn Read, path: &str, size: u64) -> Result<(u32, Vec<u8>), String> {
    let (mut sum, mut head, mut seen) = (0, Vec::new(), 0);
    let mut buffer = vec![0; BUFFER.min(size as usize).max(1)];
    loop {
        match content.read(&mut buffer).map_err(|error| format!("{path} cannot be read: {error}"))? {
            // A tar that ends too early gives less than it announced, and no error.
            0 if seen != size => return Err(format!("{path} is cut off")),
            0 => return Ok((sum, head)),
            count => {
                seen += count as u64;
                sum = crc32c::crc32c_append(sum, &buffer[..count]);
                let room = SMALL_FILE_LIMIT - head.len();
                head.extend_from_slice(&buffer[..count.min(room)]);
            }
        }
    }
}
