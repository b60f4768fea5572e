//! The tar of the WAL: whole segments of this database, each once, without a gap.

use std::collections::BTreeSet;

use super::error::BaseBackupError;
use crate::postgres::{BackupManifest, Lsn, WalSegment, wal};
use crate::ustar::{TarEntry, TarSink};

/// What was seen of the WAL so far.
pub struct WalCheck {
    system_identifier: u64,
    segment_bytes: u64,
    seen: BTreeSet<WalSegment>,
    current: Option<(WalSegment, Vec<u8>)>,
}

/// WAL that is there without a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WalSpan {
    /// The segment that recovery begins in.
    pub first: WalSegment,
    /// The one that holds the last byte that it must reach.
    pub last: WalSegment,
    pub segments: u64,
}

impl WalCheck {
    /// For the WAL of one database.
    pub fn new(system_identifier: u64, segment_bytes: u64) -> Self {
        Self { system_identifier, segment_bytes, seen: BTreeSet::new(), current: None }
    }

    /// Takes the first bytes of a whole segment.
    ///
    /// # Errors
    /// When they are not those of this segment of this database, or it comes twice.
    pub fn see(&mut self, segment: WalSegment, head: &[u8]) -> Result<(), BaseBackupError> {
        segment.check_header(head, self.system_identifier)?;
        if self.seen.insert(segment) {
            return Ok(());
        }
        Err(BaseBackupError::WalFile { name: segment.to_string(), what: "which was there before" })
    }

    /// Whether all of the WAL is there that recovery needs from the backup of `manifest` to `until`.
    ///
    /// # Errors
    /// The first segment that is missing, or that the wanted end is too early.
    pub fn finish(self, manifest: &BackupManifest, until: Lsn) -> Result<WalSpan, BaseBackupError> {
        if until < manifest.end {
            return Err(BaseBackupError::ShortWal { until, end: manifest.end });
        }
        let first = WalSegment::holding(manifest.start, manifest.timeline, self.segment_bytes)?;
        let last = WalSegment::needed_to_reach(until, manifest.timeline, self.segment_bytes)?;
        let mut due = (first.number..=last.number).map(|number| WalSegment { number, ..first });
        match due.find(|segment| !self.seen.contains(segment)) {
            Some(missing) => Err(BaseBackupError::MissingWal(missing)),
            None => Ok(WalSpan { first, last, segments: self.seen.len() as u64 }),
        }
    }
}

impl TarSink for WalCheck {
    type Error = BaseBackupError;

    fn begin(&mut self, entry: &TarEntry) -> Result<(), BaseBackupError> {
        self.current = None;
        let name = &entry.path;
        match WalSegment::from_name(name, self.segment_bytes) {
            Some(segment) if !entry.folder => {
                segment.check_size(entry.bytes)?;
                self.current = Some((segment, Vec::with_capacity(wal::LONG_HEADER)));
                Ok(())
            }
            None if !entry.folder && wal::is_history(name) => Ok(()),
            _ => Err(BaseBackupError::WalFile { name: name.clone(), what: "which is no WAL" }),
        }
    }

    fn data(&mut self, bytes: &[u8]) -> Result<(), BaseBackupError> {
        if let Some((_, head)) = &mut self.current {
            let room = wal::LONG_HEADER - head.len();
            head.extend_from_slice(&bytes[..room.min(bytes.len())]);
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), BaseBackupError> {
        self.current.take().map_or(Ok(()), |(segment, head)| self.see(segment, &head))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const SEGMENT: u64 = 1 << 20;
    const SYSTEM: u64 = 7_711_272_386_700_096_654;

    /// The header of a segment, as PostgreSQL 15 writes it.
    fn head(number: u64) -> Vec<u8> {
        let mut bytes = vec![0; 40];
        bytes[0..2].copy_from_slice(&0xD110u16.to_le_bytes());
        bytes[2..4].copy_from_slice(&2u16.to_le_bytes());
        bytes[4..8].copy_from_slice(&1u32.to_le_bytes());
        bytes[8..16].copy_from_slice(&(number * SEGMENT).to_le_bytes());
        bytes[24..32].copy_from_slice(&SYSTEM.to_le_bytes());
        bytes[32..36].copy_from_slice(&(SEGMENT as u32).to_le_bytes());
        bytes
    }

    /// A backup that begins in segment 2 and needs segments 2 and 3.
    fn manifest() -> BackupManifest {
        BackupManifest {
            version: 1,
            system_identifier: None,
            files: BTreeMap::new(),
            timeline: 1,
            start: Lsn(2 * SEGMENT + 40),
            end: Lsn(3 * SEGMENT + 100),
        }
    }

    fn entry(name: &str, bytes: u64) -> TarEntry {
        TarEntry { path: name.into(), folder: false, bytes }
    }

    fn file(check: &mut WalCheck, number: u64, head: &[u8]) -> Result<(), BaseBackupError> {
        check.begin(&entry(&format!("0000000100000000{number:08X}"), SEGMENT))?;
        head.chunks(7).try_for_each(|piece| check.data(piece))?;
        check.data(&[0; 100])?;
        check.end()
    }

    fn seen(numbers: &[u64]) -> WalCheck {
        let mut check = WalCheck::new(SYSTEM, SEGMENT);
        numbers.iter().for_each(|number| file(&mut check, *number, &head(*number)).unwrap());
        check
    }

    #[test]
    fn a_segment_that_is_missing_is_named_and_more_than_needed_is_good() {
        let span = seen(&[2, 3, 4]).finish(&manifest(), Lsn(3 * SEGMENT + 200)).unwrap();
        assert_eq!((span.first.number, span.last.number, span.segments), (2, 3, 3));
        for (numbers, missing) in [(&[3][..], "000000010000000000000002"), (&[2], "000000010000000000000003")] {
            let error = seen(numbers).finish(&manifest(), Lsn(3 * SEGMENT + 200)).unwrap_err();
            assert!(error.to_string().contains(missing), "{error}");
        }
        let error = seen(&[2, 3]).finish(&manifest(), Lsn(3 * SEGMENT + 50)).unwrap_err();
        assert!(matches!(error, BaseBackupError::ShortWal { .. }), "{error}");
    }

    #[test]
    fn another_timelines_segments_do_not_count() {
        let other = BackupManifest { timeline: 2, ..manifest() };
        let error = seen(&[2, 3]).finish(&other, Lsn(3 * SEGMENT + 200)).unwrap_err();
        assert!(error.to_string().contains("000000020000000000000002"), "{error}");
    }

    #[test]
    fn what_is_no_segment_of_this_database_is_refused() {
        let mut check = seen(&[2]);
        check.begin(&entry("00000002.history", 50)).unwrap();
        check.data(b"1\t0/3000000\tno recovery target\n").unwrap();
        check.end().unwrap();
        let refused = |error: Result<(), BaseBackupError>| error.unwrap_err().to_string();
        assert!(refused(file(&mut check, 2, &head(2))).contains("which was there before"));
        assert!(refused(file(&mut check, 3, &head(4))).contains("its pages begin at"));
        assert!(refused(check.begin(&entry("recovery.signal", 0))).contains("which is no WAL"));
        assert!(refused(check.begin(&entry("000000010000000000000003", 5))).contains("has 5 bytes"));
        let folder = TarEntry { path: "000000010000000000000003".into(), folder: true, bytes: 0 };
        assert!(refused(check.begin(&folder)).contains("which is no WAL"));
    }
}
