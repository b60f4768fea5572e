//! WAL segments: their names, and what the first page of each must say.

use std::fmt;

use super::lsn::Lsn;

/// One WAL segment, as its file name says it: `000000010000000000000006`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WalSegment {
    pub timeline: u32,
    /// Its number: position divided by segment size.
    pub number: u64,
    /// The segment size in bytes: a power of two from 1 MiB to 1 GiB.
    pub bytes: u64,
}

/// What is wrong with a WAL file.
#[derive(Debug, thiserror::Error)]
pub enum WalError {
    /// Not a size that PostgreSQL can have been built with.
    #[error("{0} bytes is no size of a WAL segment")]
    Size(u64),
    /// A segment that is not whole.
    #[error("WAL segment {segment} has {bytes} bytes, not {expected}", expected = .segment.bytes)]
    Length { segment: WalSegment, bytes: u64 },
    /// The first page is not that of this segment of this database.
    #[error("WAL segment {segment} is not what its name says: {what}")]
    Header {
        segment: WalSegment,
        /// What does not fit.
        what: String,
    },
    /// A page or a record is not the one that must be there.
    #[error("the WAL is damaged at {at}: {what}")]
    Record { at: Lsn, what: String },
}

/// What the first page of a segment says of the database that it is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WalOrigin {
    pub system_identifier: u64,
    /// The size of a segment.
    pub segment_bytes: u64,
}

impl WalOrigin {
    /// Reads the long page header that a segment begins with; `None` where there is none.
    pub fn of_page(page: &[u8]) -> Option<Self> {
        let header = page.first_chunk::<LONG_HEADER>()?;
        let number =
            |at: usize, len: usize| header[at..at + len].iter().rev().fold(0, |sum, b| sum << 8 | u64::from(*b));
        let origin = Self { system_identifier: number(24, 8), segment_bytes: number(32, 4) };
        (number(2, 2) & LONG != 0 && check_size(origin.segment_bytes).is_ok()).then_some(origin)
    }
}

impl WalSegment {
    /// The segment that holds the byte at `lsn`.
    ///
    /// # Errors
    /// `Size` when `bytes` is no segment size.
    pub fn holding(lsn: Lsn, timeline: u32, bytes: u64) -> Result<Self, WalError> {
        check_size(bytes)?;
        Ok(Self { timeline, number: lsn.0 / bytes, bytes })
    }

    /// The segment that holds the last byte of WAL before `lsn`: what is needed to replay up to `lsn`.
    ///
    /// # Errors
    /// `Size` when `bytes` is no segment size.
    pub fn needed_to_reach(lsn: Lsn, timeline: u32, bytes: u64) -> Result<Self, WalError> {
        Self::holding(Lsn(end_of_records(lsn, bytes)?.0.saturating_sub(1)), timeline, bytes)
    }

    /// Reads a file name of 24 hex digits; `None` for any other name (`.partial`, `.history`, folders).
    pub fn from_name(name: &str, bytes: u64) -> Option<Self> {
        check_size(bytes).ok()?;
        if name.len() != 24 || !name.bytes().all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b)) {
            return None;
        }
        let part = |range| u64::from_str_radix(name.get(range)?, 16).ok();
        let (timeline, high, low) = (part(0..8)?, part(8..16)?, part(16..24)?);
        let per_id = (1 << 32) / bytes;
        (low < per_id).then_some(Self { timeline: timeline as u32, number: high * per_id + low, bytes })
    }

    /// The segment after this one on the same timeline.
    pub fn next(self) -> Self {
        Self { number: self.number + 1, ..self }
    }

    /// The position of its first byte.
    pub fn start(self) -> Lsn {
        Lsn(self.number * self.bytes)
    }

    /// Checks the length of its file.
    ///
    /// # Errors
    /// `Length` when it is not whole.
    pub fn check_size(self, bytes: u64) -> Result<(), WalError> {
        if bytes == self.bytes { Ok(()) } else { Err(WalError::Length { segment: self, bytes }) }
    }

    /// Checks the long page header that every segment begins with (`XLogLongPageHeaderData` in PostgreSQL's
    /// `xlog_internal.h`): magic, flag, timeline, address, system identifier and segment size.
    ///
    /// # Errors
    /// `Header` with the first thing that does not fit.
    pub fn check_header(self, page: &[u8], system_identifier: u64) -> Result<(), WalError> {
        let wrong = |what: String| Err(WalError::Header { segment: self, what });
        let Some(header) = page.first_chunk::<LONG_HEADER>() else { return wrong("it is cut off".into()) };
        let number = |at: usize, len: usize| {
            header[at..at + len].iter().rev().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte))
        };
        let (magic, info) = (number(0, 2), number(2, 2));
        // Every version so far has D0xx or D1xx: 0xD110 is PostgreSQL 15.
        if !(0xD050..=0xD2FF).contains(&magic) {
            return wrong(format!("page magic {magic:04X}"));
        }
        if info & LONG == 0 {
            return wrong("no long page header".into());
        }
        // The first segment of a new timeline holds the pages of the old one up to the switch.
        if number(4, 4) > u64::from(self.timeline) {
            return wrong(format!("timeline {}", number(4, 4)));
        }
        if number(8, 8) != self.start().0 {
            return wrong(format!("its pages begin at {}", Lsn(number(8, 8))));
        }
        if number(24, 8) != system_identifier {
            return wrong(format!("it is of database {}, not {system_identifier}", number(24, 8)));
        }
        if number(32, 4) != self.bytes {
            return wrong(format!("segment size {}", number(32, 4)));
        }
        Ok(())
    }
}

impl fmt::Display for WalSegment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per_id = (1 << 32) / self.bytes;
        write!(f, "{:08X}{:08X}{:08X}", self.timeline, self.number / per_id, self.number % per_id)
    }
}

/// Where the last record before `lsn` ends. An idle server that has just switched segments names the place of its next
/// record, which is behind the header of a segment that does not exist yet: nothing before that is missing.
fn end_of_records(lsn: Lsn, bytes: u64) -> Result<Lsn, WalError> {
    check_size(bytes)?;
    let inside = lsn.0 % bytes;
    Ok(if inside <= LONG_HEADER as u64 { Lsn(lsn.0 - inside) } else { lsn })
}

/// The length of the header that each segment begins with, in bytes.
pub const LONG_HEADER: usize = 40;
/// `XLP_LONG_HEADER`: the page begins with that header.
const LONG: u64 = 2;

/// Whether the name is that of a timeline's history, such as `00000002.history`.
pub fn is_history(name: &str) -> bool {
    name.strip_suffix(".history").is_some_and(|id| id.len() == 8 && id.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn check_size(bytes: u64) -> Result<(), WalError> {
    if bytes.is_power_of_two() && (1 << 20..=1 << 30).contains(&bytes) { Ok(()) } else { Err(WalError::Size(bytes)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB16: u64 = 16 << 20;
    /// The first 64 bytes of segment 000000010000000000000007 as PostgreSQL 15 wrote it.
    const REAL: &[u8] = include_bytes!("../../fixtures/pg/wal-15-000000010000000000000007.head");
    const SYSTEM: u64 = 7_711_272_386_700_096_654;

    fn segment(number: u64) -> WalSegment {
        WalSegment { timeline: 1, number, bytes: MIB16 }
    }

    #[test]
    fn names_are_read_and_written_as_postgresql_does() {
        for (name, number, bytes) in [
            ("000000010000000000000006", 6, MIB16),
            ("0000000100000000000000FF", 255, MIB16),
            ("000000010000000100000000", 256, MIB16),
            ("0000000A0000000200000003", 11, 1 << 30),
        ] {
            let segment = WalSegment::from_name(name, bytes).unwrap();
            assert_eq!((segment.number, segment.to_string()), (number, name.to_owned()));
        }
        for name in
            ["", "00000001000000000000000G", "00000001000000000000000a", "000000010000000000000100", "00000002.history"]
        {
            assert_eq!(WalSegment::from_name(name, MIB16), None, "{name}");
        }
        assert!(is_history("00000002.history") && !is_history("2.history"));
    }

    #[test]
    fn a_position_on_the_edge_needs_only_the_segment_before_it() {
        let needed = |lsn| WalSegment::needed_to_reach(Lsn(lsn), 1, MIB16).unwrap().number;
        assert_eq!((needed(7 * MIB16), needed(7 * MIB16 + 41)), (6, 7));
        assert_eq!(needed(7 * MIB16 + 40), 6, "only the header of a segment that is not begun");
        assert_eq!(end_of_records(Lsn(7 * MIB16 + 40), MIB16).unwrap(), Lsn(7 * MIB16));
        assert_eq!(WalSegment::holding(Lsn(7 * MIB16), 1, MIB16).unwrap().number, 7);
        assert!(WalSegment::holding(Lsn(0), 1, 3 << 20).is_err());
    }

    #[test]
    fn the_header_of_a_real_segment_fits_and_any_other_does_not() {
        segment(7).check_header(REAL, SYSTEM).unwrap();
        assert!(segment(8).check_header(REAL, SYSTEM).is_err());
        assert!(segment(7).check_header(REAL, SYSTEM + 1).is_err());
        assert!(segment(7).check_header(&REAL[..30], SYSTEM).is_err());
        assert!(segment(7).check_header(&[0; 64], SYSTEM).is_err());
    }
}
