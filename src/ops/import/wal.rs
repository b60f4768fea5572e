//! The log of an imported backup, cut where the backup is consistent.
//!
//! `pg_basebackup` streams until it has what the backup needs, and a little more where the database goes on writing. A bundle
//! says exactly where its log ends, since PostgreSQL replays whatever is there: so what comes after that is left out.

use crate::agent::ChunkCutter;
use crate::agent::protocol::{Failure, FailureKind};
use crate::postgres::basebackup::{BaseBackupError, WalCheck};
use crate::postgres::wal::{self, WalOrigin};
use crate::postgres::{BackupManifest, Lsn, WalSegment};
use crate::ustar::{self, TarEntry, TarSink};

const ZEROS: [u8; 8192] = [0; 8192];

/// Takes the entries of `pg_wal.tar`, and puts those that are needed into a tar of its own.
pub struct WalTrim {
    cutter: ChunkCutter,
    check: WalCheck,
    until: Lsn,
    /// The one that holds the last byte before `until`.
    last: WalSegment,
    segment_bytes: u64,
    /// Of every file of the tar that is made.
    mtime: u64,
    owner: u64,
    passing: Passing,
}

/// What is made of the bytes that come.
enum Passing {
    /// Nothing.
    Nothing,
    /// A timeline's history, of so many bytes.
    History(u64),
    /// A segment, of which the next byte stands here.
    Segment(Lsn),
}

/// What was put into the tar.
pub struct TrimmedWal {
    /// How many bytes the tar has.
    pub bytes: u64,
    pub check: WalCheck,
    pub until: Lsn,
}

impl WalTrim {
    /// For the log that the backup of `manifest` needs, into `cutter`.
    ///
    /// # Errors
    /// The segments have no size that there is.
    pub fn new(
        manifest: &BackupManifest,
        origin: WalOrigin,
        (mtime, owner): (u64, u64),
        cutter: ChunkCutter,
    ) -> Result<Self, BaseBackupError> {
        Ok(Self {
            cutter,
            check: WalCheck::new(origin.system_identifier, origin.segment_bytes),
            until: manifest.end,
            last: WalSegment::needed_to_reach(manifest.end, manifest.timeline, origin.segment_bytes)?,
            segment_bytes: origin.segment_bytes,
            mtime,
            owner,
            passing: Passing::Nothing,
        })
    }

    /// Ends the tar.
    ///
    /// # Errors
    /// Nobody takes it any more.
    pub fn finish(mut self) -> Result<TrimmedWal, Failure> {
        self.cutter.write(&ustar::END)?;
        Ok(TrimmedWal { bytes: self.cutter.finish()?, check: self.check, until: self.until })
    }

    fn head(&mut self, entry: &TarEntry) -> Result<(), Failure> {
        let header = ustar::file_header(&entry.path, entry.bytes, self.mtime, self.owner);
        self.cutter.write(&header.map_err(Failure::io(format!("write {} into a tar", entry.path)))?)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.cutter.write(bytes)?;
        Ok(self.check.data(bytes)?)
    }
}

impl TarSink for WalTrim {
    type Error = Failure;

    fn begin(&mut self, entry: &TarEntry) -> Result<(), Failure> {
        self.passing = Passing::Nothing;
        // Which segments the archiver has seen says nothing of them.
        if entry.folder || entry.path.starts_with("archive_status/") {
            return Ok(());
        }
        if wal::is_history(&entry.path) {
            self.check.begin(entry)?;
            self.head(entry)?;
            self.passing = Passing::History(entry.bytes);
            return Ok(());
        }
        match WalSegment::from_name(&entry.path, self.segment_bytes) {
            Some(segment) if segment > self.last => Ok(()),
            Some(segment) => {
                self.check.begin(entry)?;
                self.head(entry)?;
                self.passing = Passing::Segment(segment.start());
                Ok(())
            }
            None => Err(Failure::new(FailureKind::Damaged, format!("{} is no WAL", entry.path))),
        }
    }

    fn data(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let at = match &mut self.passing {
            Passing::Nothing => return Ok(()),
            Passing::History(_) => return self.put(bytes),
            Passing::Segment(next) => std::mem::replace(next, Lsn(next.0 + bytes.len() as u64)),
        };
        let wanted = self.until.0.saturating_sub(at.0).min(bytes.len() as u64) as usize;
        self.put(&bytes[..wanted])?;
        let mut left = bytes.len() - wanted;
        while left > 0 {
            let count = left.min(ZEROS.len());
            self.put(&ZEROS[..count])?;
            left -= count;
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), Failure> {
        let bytes = match self.passing {
            Passing::Nothing => return Ok(()),
            Passing::History(bytes) => bytes,
            Passing::Segment(_) => self.segment_bytes,
        };
        self.passing = Passing::Nothing;
        self.cutter.write(&ustar::END[..ustar::padding(bytes) as usize])?;
        Ok(self.check.end()?)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tokio::sync::mpsc;

    use super::*;
    use crate::agent::Cut;
    use crate::agent::protocol::BackupPart;
    use crate::postgres::basebackup::WalEnd;
    use crate::postgres::records::testing::{SEGMENT, SYSTEM, WalWriter};
    use crate::ustar::TarReader;

    /// Segments 2 to 4, and where a record ends in the middle of 3.
    fn log() -> (Vec<(String, Vec<u8>)>, Lsn) {
        let mut wal = WalWriter::new(2);
        wal.record(1000);
        wal.switch();
        let end = wal.record(500_000);
        wal.record(99);
        wal.switch();
        wal.record(10);
        wal.switch();
        let name = |number: u64| format!("0000000100000000{number:08X}");
        (wal.segments().into_iter().map(|(number, bytes)| (name(number), bytes)).collect(), end)
    }

    fn manifest(end: Lsn) -> BackupManifest {
        let start = Lsn(2 * SEGMENT + 40);
        BackupManifest { version: 1, system_identifier: None, files: BTreeMap::new(), timeline: 1, start, end }
    }

    fn tar(files: &[(String, Vec<u8>)]) -> Vec<u8> {
        let mut tar = Vec::new();
        for (name, bytes) in files {
            tar.extend(ustar::file_header(name, bytes.len() as u64, 0, 26).unwrap());
            tar.extend(bytes);
            tar.resize(tar.len().next_multiple_of(512), 0);
        }
        tar.extend(ustar::END);
        tar
    }

    /// What is made of a tar.
    fn trimmed(files: &[(String, Vec<u8>)], end: Lsn) -> Result<(TrimmedWal, Vec<u8>), Failure> {
        let (queue, mut cuts) = mpsc::channel(100);
        let cutter = ChunkCutter::new(BackupPart::Wal, 1 << 20, queue, Default::default());
        let origin = WalOrigin { system_identifier: SYSTEM, segment_bytes: SEGMENT };
        let mut trim = WalTrim::new(&manifest(end), origin, (0, 26), cutter).unwrap();
        let mut reader = TarReader::new("the log");
        tar(files).chunks(70_001).try_for_each(|piece| reader.push(piece, &mut trim))?;
        reader.finish()?;
        let wal = trim.finish()?;
        let mut made = Vec::new();
        while let Ok(Cut::Chunk { raw, .. }) = cuts.try_recv() {
            made.extend(raw);
        }
        Ok((wal, made))
    }

    #[test]
    fn what_comes_after_the_backups_end_is_left_out_and_all_before_stays_to_the_byte() {
        let (mut files, end) = log();
        let given = files.clone();
        files.insert(1, ("archive_status/000000010000000000000002.done".into(), Vec::new()));
        files.push(("00000002.history".into(), b"1\t0/3000000\tno recovery target\n".to_vec()));
        let (wal, made) = trimmed(&files, end).unwrap();
        assert_eq!((wal.until, wal.bytes), (end, made.len() as u64));
        wal.check.finish(&manifest(end), WalEnd::At(end)).unwrap();
        let mut kept = given[1].1.clone();
        kept[(end.0 - 3 * SEGMENT) as usize..].fill(0);
        let history = files.last().unwrap().clone();
        assert!(made == tar(&[given[0].clone(), (given[1].0.clone(), kept), history]));
    }

    #[test]
    fn a_log_that_is_too_short_damaged_or_no_log_is_refused() {
        let (files, end) = log();
        let verdict = |files: &[(String, Vec<u8>)]| match trimmed(files, end) {
            Ok((wal, _)) => wal.check.finish(&manifest(end), WalEnd::At(end)).map(drop).map_err(|e| e.to_string()),
            Err(failure) => Err(failure.to_string()),
        };
        assert!(verdict(&files[..1]).unwrap_err().contains("000000010000000000000003"));
        assert!(verdict(&files[1..]).unwrap_err().contains("000000010000000000000002"));
        let mut bad = files.clone();
        bad[1].1[100_000] ^= 1;
        assert!(verdict(&bad).is_err());
        assert!(verdict(&[("recovery.signal".into(), Vec::new())]).unwrap_err().contains("is no WAL"));
    }
}
