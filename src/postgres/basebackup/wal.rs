//! The tar of the WAL: whole segments of this database, one after the other, of which every page and record is read.

use serde::{Deserialize, Serialize};

use super::error::BaseBackupError;
use crate::postgres::records::RecordReader;
use crate::postgres::{BackupManifest, Lsn, WalSegment, wal};
use crate::ustar::{TarEntry, TarSink};

/// What was seen of the WAL so far.
pub struct WalCheck {
    system_identifier: u64,
    segment_bytes: u64,
    seen: Option<SeenWal>,
    /// A segment is passing.
    inside: bool,
}

struct SeenWal {
    first: WalSegment,
    last: WalSegment,
    records: RecordReader,
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

/// Where WAL is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WalEnd {
    /// Recovery replays up to here and nothing more: PostgreSQL replays whatever is there.
    At(Lsn),
    /// Up to here, and perhaps more: bundles before format 1.3.
    AtLeast(Lsn),
}

impl WalCheck {
    /// For the WAL of one database.
    pub fn new(system_identifier: u64, segment_bytes: u64) -> Self {
        Self { system_identifier, segment_bytes, seen: None, inside: false }
    }

    /// Whether all of the WAL is there that recovery needs from the backup of `manifest` to `end`, and nothing past it.
    ///
    /// # Errors
    /// The first segment that is missing, that the wanted end is too early, or where the WAL goes on to.
    pub fn finish(self, manifest: &BackupManifest, end: WalEnd) -> Result<WalSpan, BaseBackupError> {
        let (WalEnd::At(until) | WalEnd::AtLeast(until)) = end;
        if until < manifest.end {
            return Err(BaseBackupError::ShortWal { until, end: manifest.end });
        }
        let first = WalSegment::holding(manifest.start, manifest.timeline, self.segment_bytes)?;
        let last = WalSegment::needed_to_reach(until, manifest.timeline, self.segment_bytes)?;
        let seen = self.seen.ok_or(BaseBackupError::MissingWal(first))?;
        if seen.first > first || seen.first.timeline != first.timeline {
            return Err(BaseBackupError::MissingWal(first));
        }
        if seen.last < last {
            return Err(BaseBackupError::MissingWal(seen.last.next()));
        }
        let ends = seen.records.finish(matches!(end, WalEnd::At(_)))?;
        if let WalEnd::At(_) = end {
            let until = seen.records.end_before(until);
            if seen.last > last || ends.after > until {
                return Err(BaseBackupError::WalPast { until, found: ends.after.max(seen.last.start()) });
            }
            if ends.reach < until {
                return Err(BaseBackupError::ShortWal { until: ends.reach, end: until });
            }
        }
        Ok(WalSpan { first, last, segments: seen.last.number - seen.first.number + 1 })
    }

    /// A segment begins: the first, or the one that is due.
    fn turn(&mut self, segment: WalSegment) -> Result<(), BaseBackupError> {
        let Some(seen) = &mut self.seen else {
            let records = RecordReader::new(segment, self.system_identifier);
            self.seen = Some(SeenWal { first: segment, last: segment, records });
            return Ok(());
        };
        let due = seen.last.next();
        if segment == due {
            seen.last = segment;
            seen.records.turn();
            return Ok(());
        }
        if segment > due {
            return Err(BaseBackupError::MissingWal(due));
        }
        Err(BaseBackupError::WalFile { name: segment.to_string(), what: "which was there before" })
    }
}

impl TarSink for WalCheck {
    type Error = BaseBackupError;

    fn begin(&mut self, entry: &TarEntry) -> Result<(), BaseBackupError> {
        self.inside = false;
        let name = &entry.path;
        match WalSegment::from_name(name, self.segment_bytes) {
            Some(segment) if !entry.folder => {
                segment.check_size(entry.bytes)?;
                self.turn(segment)?;
                self.inside = true;
                Ok(())
            }
            None if !entry.folder && wal::is_history(name) => Ok(()),
            _ => Err(BaseBackupError::WalFile { name: name.clone(), what: "which is no WAL" }),
        }
    }

    fn data(&mut self, bytes: &[u8]) -> Result<(), BaseBackupError> {
        match &mut self.seen {
            Some(seen) if self.inside => Ok(seen.records.push(bytes)?),
            _ => Ok(()),
        }
    }

    fn end(&mut self) -> Result<(), BaseBackupError> {
        self.inside = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::postgres::records::testing::{SEGMENT, SYSTEM, WalWriter};

    /// Segments 2 to 4, of which 3 ends at the returned position.
    fn wal() -> (Vec<(u64, Vec<u8>)>, Lsn) {
        let mut wal = WalWriter::new(2);
        wal.record(1000);
        wal.switch();
        wal.record(500_000);
        let end = wal.switch();
        wal.record(10);
        wal.switch();
        (wal.segments(), end)
    }

    /// A backup that begins in segment 2 and is consistent in segment 3.
    fn manifest() -> BackupManifest {
        let (timeline, start, end) = (1, Lsn(2 * SEGMENT + 40), Lsn(3 * SEGMENT + 100));
        BackupManifest { version: 1, system_identifier: None, files: BTreeMap::new(), timeline, start, end }
    }

    fn entry(name: &str, bytes: u64) -> TarEntry {
        TarEntry { path: name.into(), folder: false, bytes }
    }

    fn file(check: &mut WalCheck, number: u64, bytes: &[u8]) -> Result<(), BaseBackupError> {
        check.begin(&entry(&format!("0000000100000000{number:08X}"), SEGMENT))?;
        bytes.chunks(7000).try_for_each(|piece| check.data(piece))?;
        check.end()
    }

    fn seen(numbers: &[u64]) -> Result<WalCheck, BaseBackupError> {
        let mut check = WalCheck::new(SYSTEM, SEGMENT);
        let all = wal().0;
        numbers.iter().try_for_each(|number| file(&mut check, *number, &all[*number as usize - 2].1))?;
        Ok(check)
    }

    fn verdict(numbers: &[u64], end: WalEnd) -> Result<WalSpan, String> {
        seen(numbers).and_then(|check| check.finish(&manifest(), end)).map_err(|error| error.to_string())
    }

    #[test]
    fn wal_that_ends_where_it_should_is_good_and_a_segment_that_is_missing_is_named() {
        let (_, until) = wal();
        // On the switch, before it, and where an idle server would place its next record.
        for end in [until, Lsn(until.0 - 24), Lsn(4 * SEGMENT), Lsn(4 * SEGMENT + 40)] {
            let span = verdict(&[2, 3], WalEnd::At(end)).unwrap();
            assert_eq!((span.first.number, span.last.number, span.segments), (2, 3, 2));
        }
        let missing = [
            (&[3][..], "000000010000000000000002"),
            (&[2], "000000010000000000000003"),
            (&[2, 4], "000000010000000000000003"),
            (&[], "000000010000000000000002"),
        ];
        for (numbers, missing) in missing {
            assert!(verdict(numbers, WalEnd::At(until)).unwrap_err().contains(missing), "{numbers:?}");
        }
        assert!(verdict(&[2, 3], WalEnd::At(Lsn(3 * SEGMENT + 50))).unwrap_err().contains("the WAL ends at 0/300032"));
    }

    #[test]
    fn wal_that_goes_on_is_refused_for_recovery_would_replay_it() {
        let (_, until) = wal();
        assert!(verdict(&[2, 3, 4], WalEnd::At(until)).unwrap_err().contains("goes on to"));
        assert!(verdict(&[2, 3], WalEnd::At(Lsn(until.0 - 32))).unwrap_err().contains("goes on to"));
        assert_eq!(verdict(&[2, 3, 4], WalEnd::AtLeast(until)).unwrap().last.number, 3, "bundles before 1.3");
    }

    #[test]
    fn another_timelines_segments_do_not_count() {
        let other = BackupManifest { timeline: 2, ..manifest() };
        let error = seen(&[2, 3]).unwrap().finish(&other, WalEnd::At(wal().1)).unwrap_err();
        assert!(error.to_string().contains("000000020000000000000002"), "{error}");
    }

    #[test]
    fn what_is_no_segment_of_this_database_is_refused() {
        let all = wal().0;
        let mut check = seen(&[2]).unwrap();
        check.begin(&entry("00000002.history", 50)).unwrap();
        check.data(b"1\t0/3000000\tno recovery target\n").unwrap();
        check.end().unwrap();
        let refused = |error: Result<(), BaseBackupError>| error.unwrap_err().to_string();
        assert!(refused(file(&mut check, 2, &all[0].1)).contains("which was there before"));
        assert!(refused(file(&mut check, 3, &all[2].1)).contains("its pages begin at"));
        assert!(refused(check.begin(&entry("recovery.signal", 0))).contains("which is no WAL"));
        assert!(refused(check.begin(&entry("000000010000000000000003", 5))).contains("has 5 bytes"));
        let folder = TarEntry { path: "000000010000000000000003".into(), folder: true, bytes: 0 };
        assert!(refused(check.begin(&folder)).contains("which is no WAL"));
    }
}
