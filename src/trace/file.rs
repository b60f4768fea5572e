//! A log file that stays within its bound.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::read;

/// A file that is appended to. With a bound, the older half of what it holds goes to `<name>.1`, and what was there before
/// goes: the two are never longer than the bound. A crash loses at most what the system had not written out.
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    bytes: u64,
    half: u64,
}

impl LogFile {
    /// Opens or makes the file, for its owner only. A pipe that nobody reads is refused.
    pub(super) fn open(path: &Path, bound: Option<u64>) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(read::AT_ONCE).open(path)?;
        // Who reads slowly is waited for.
        rustix::fs::fcntl_setfl(&file, OFlags::APPEND)?;
        let bytes = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, bytes, half: bound.map_or(u64::MAX, |bound| bound / 2) })
    }

    /// Appends a line. One that would not fit the bound by itself is cut.
    pub(super) fn write(&mut self, line: &[u8]) -> io::Result<()> {
        let line = &line[..line.len().min(usize::try_from(self.half).unwrap_or(usize::MAX))];
        if self.bytes + line.len() as u64 > self.half {
            let mut older = self.path.clone().into_os_string();
            older.push(".1");
            fs::rename(&self.path, older)?;
            *self = Self { half: self.half, ..Self::open(&self.path, None)? };
        }
        self.file.write_all(line)?;
        self.bytes += line.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_newest_lines_are_kept_within_the_bound_by_one_process_or_several() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.log");
        for begun in 0..10 {
            let mut file = LogFile::open(&path, Some(1000)).unwrap();
            for line in 0..10 {
                file.write(format!("line {begun}{line} {}\n", "x".repeat(40)).as_bytes()).unwrap();
            }
        }
        let (old, new) =
            (fs::read_to_string(folder.path().join("run.log.1")).unwrap(), fs::read_to_string(&path).unwrap());
        assert!(old.len() + new.len() <= 1000 && old.len() + new.len() > 500, "{} and {}", old.len(), new.len());
        let numbers: Vec<u32> = (old + &new).lines().map(|line| line[5..7].parse().unwrap()).collect();
        assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{numbers:?}");
        assert_eq!(numbers.last(), Some(&99));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_line_longer_than_the_bound_is_cut_and_without_a_bound_all_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        LogFile::open(&path, Some(100)).unwrap().write(&[b'x'; 5000]).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), 50);
        let mut whole = LogFile::open(&folder.path().join("whole"), None).unwrap();
        (0..100).for_each(|_| whole.write(&[b'x'; 5000]).unwrap());
        assert_eq!(fs::metadata(folder.path().join("whole")).unwrap().len(), 500_000);
    }
}
