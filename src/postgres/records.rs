//! WAL as it passes by: every page is the one that its place asks for, every record is whole and follows the one before.
//!
//! The layout is that of `xlog_internal.h` and `xlogrecord.h`, the same from PostgreSQL 9.5 to 18. A record's checksum is
//! over its data and then its header, so nothing has to be kept of it but those 24 bytes.

use super::lsn::Lsn;
use super::wal::{LONG_HEADER, WalError, WalSegment};

/// The length of the header that each page but a segment's first begins with.
const SHORT_HEADER: usize = 24;
/// The length of a record's header.
const RECORD_HEADER: usize = 24;
/// Records begin at multiples of this.
const ALIGNMENT: u64 = 8;
/// `XLP_FIRST_IS_CONTRECORD`: the page begins in the middle of a record.
const CONTINUED: u16 = 1;
/// `XLP_FIRST_IS_OVERWRITE_CONTRECORD`: the record in whose middle it would begin was given up.
const OVERWRITTEN: u16 = 8;
/// Resource manager and kind of the record that ends a segment before it is full.
const SWITCH: (u8, u8) = (0, 0x40);

/// What was seen of the WAL so far.
pub struct RecordReader {
    system_identifier: u64,
    segment: WalSegment,
    /// Within the segment.
    offset: u64,
    page_bytes: u64,
    magic: [u8; 2],
    header: Vec<u8>,
    place: Place,
    /// Where the last whole record begins.
    previous: Option<Lsn>,
    ends: RecordsEnd,
    /// Where records stopped, though another segment came after it and none had said so.
    gap: Option<Lsn>,
}

/// How far whole records go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordsEnd {
    /// Just after the last one that carries anything: one that only ends its segment does not.
    pub after: Lsn,
    /// No record is missing before this.
    pub reach: Lsn,
}

enum Place {
    /// Nothing is known yet of what the first page begins with.
    Unknown,
    /// In a record that began before the first segment.
    Skip {
        left: u64,
    },
    /// A record may begin.
    Between,
    Record(PartialRecord),
    /// Only zeros may come up to the end of the segment.
    Tail {
        switched: bool,
    },
}

struct PartialRecord {
    start: Lsn,
    head: Vec<u8>,
    /// Its length, once the first four bytes are there.
    total: u64,
    taken: u64,
    checksum: u32,
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

impl RecordReader {
    /// Begins with `segment`.
    pub fn new(segment: WalSegment, system_identifier: u64) -> Self {
        let start = segment.start();
        Self {
            system_identifier,
            segment,
            offset: 0,
            page_bytes: 8192,
            magic: [0; 2],
            header: Vec::with_capacity(LONG_HEADER),
            place: Place::Unknown,
            previous: None,
            ends: RecordsEnd { after: start, reach: start },
            gap: None,
        }
    }

    /// The next segment begins.
    pub fn turn(&mut self) {
        if let Place::Tail { switched } = self.place {
            if !switched {
                self.gap.get_or_insert(self.ends.reach);
            }
            self.place = Place::Between;
        }
        self.segment = self.segment.next();
        self.offset = 0;
    }

    /// How far whole records go.
    ///
    /// # Errors
    /// With `whole`, where they stopped though more segments came.
    pub fn finish(&self, whole: bool) -> Result<RecordsEnd, WalError> {
        match self.gap {
            Some(at) if whole => {
                Err(WalError::Record { at, what: "records stop here in the middle of a segment".into() })
            }
            _ => Ok(self.ends),
        }
    }

    /// The end of the records before `lsn`: a server names the place of its next record, which may be behind the header
    /// of a page that holds none yet.
    pub fn end_before(&self, lsn: Lsn) -> Lsn {
        let (page, segment) = (lsn.0 % self.page_bytes, lsn.0 % self.segment.bytes);
        let header = if segment < self.page_bytes { LONG_HEADER } else { SHORT_HEADER };
        if page <= header as u64 { Lsn(lsn.0 - page) } else { lsn }
    }

    /// Takes the next bytes of the segment.
    ///
    /// # Errors
    /// The first page or record that is not what it must be.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<(), WalError> {
        while !bytes.is_empty() {
            let inside = (self.offset % self.page_bytes) as usize;
            let header = if self.offset < self.page_bytes { LONG_HEADER } else { SHORT_HEADER };
            let end = if inside < header { header } else { self.page_bytes as usize };
            let (piece, rest) = bytes.split_at((end - inside).min(bytes.len()));
            let at = Lsn(self.segment.start().0 + self.offset);
            self.offset += piece.len() as u64;
            bytes = rest;
            if inside < header {
                self.header.extend_from_slice(piece);
                if self.header.len() == header {
                    let page = std::mem::take(&mut self.header);
                    self.page(&page, Lsn(at.0 - inside as u64))?;
                    self.header = page;
                    self.header.clear();
                }
            } else {
                self.contents(piece, at)?;
            }
        }
        Ok(())
    }

    fn page(&mut self, page: &[u8], at: Lsn) -> Result<(), WalError> {
        let wrong = |what: String| Err(WalError::Record { at, what });
        if matches!(self.place, Place::Tail { .. }) {
            return self.zeros(page, at);
        }
        if page.len() == LONG_HEADER {
            self.segment.check_header(page, self.system_identifier)?;
            self.magic = [page[0], page[1]];
            self.page_bytes = number(&page[36..40]);
            if !self.page_bytes.is_power_of_two() || !(1 << 10..=1 << 16).contains(&self.page_bytes) {
                return wrong(format!("pages of {} bytes", self.page_bytes));
            }
        } else if page[..2] != self.magic || number(&page[4..8]) > u64::from(self.segment.timeline) {
            return wrong("no page of this WAL begins here".into());
        } else if number(&page[8..16]) != at.0 {
            return wrong(format!("the page of {} is here", Lsn(number(&page[8..16]))));
        }
        let (flags, remaining) = (number(&page[2..4]) as u16, number(&page[16..20]));
        if flags & OVERWRITTEN != 0 && matches!(self.place, Place::Record(_)) {
            self.place = Place::Between;
        }
        let expected = match &self.place {
            Place::Skip { left } => Some(*left),
            Place::Record(record) => Some(record.total - record.taken),
            _ => None,
        };
        let said = (flags & CONTINUED != 0).then_some(remaining);
        if matches!(self.place, Place::Unknown) {
            self.place = said.map_or(Place::Between, |left| Place::Skip { left });
        } else if said != expected {
            return wrong("the page does not continue what the one before it began".into());
        }
        Ok(())
    }

    /// What stands between headers.
    fn contents(&mut self, mut bytes: &[u8], mut at: Lsn) -> Result<(), WalError> {
        while !bytes.is_empty() {
            let taken = match &mut self.place {
                Place::Unknown => return Err(WalError::Record { at, what: "contents before a header".into() }),
                Place::Tail { .. } => {
                    self.zeros(bytes, at)?;
                    bytes.len()
                }
                Place::Skip { left } => {
                    let taken = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= taken as u64;
                    if *left == 0 {
                        self.place = Place::Between;
                    }
                    taken
                }
                Place::Between if !at.0.is_multiple_of(ALIGNMENT) => {
                    bytes.len().min((ALIGNMENT - at.0 % ALIGNMENT) as usize)
                }
                Place::Between => {
                    let head = Vec::with_capacity(RECORD_HEADER);
                    self.place = Place::Record(PartialRecord { start: at, head, total: 0, taken: 0, checksum: 0 });
                    0
                }
                Place::Record(record) => {
                    let taken = record.take(bytes)?;
                    let end = Lsn(at.0 + taken as u64);
                    if record.taken >= 4 && record.total == 0 {
                        self.place = Place::Tail { switched: false };
                    } else if record.total > 0 && record.taken == record.total {
                        self.record_ends(end)?;
                    }
                    taken
                }
            };
            bytes = &bytes[taken..];
            at.0 += taken as u64;
        }
        Ok(())
    }

    fn record_ends(&mut self, end: Lsn) -> Result<(), WalError> {
        let Place::Record(record) = std::mem::replace(&mut self.place, Place::Between) else { return Ok(()) };
        let PartialRecord { start, head, checksum, .. } = record;
        let wrong = |what: &str| Err(WalError::Record { at: start, what: what.into() });
        if u64::from(crc32c::crc32c_append(checksum, &head[..20])) != number(&head[20..24]) {
            return wrong("a record is damaged: its checksum is another");
        }
        if self.previous.is_some_and(|previous| previous.0 != number(&head[8..16])) {
            return wrong("a record does not follow the one before it");
        }
        self.previous = Some(start);
        let end = Lsn(end.0.next_multiple_of(ALIGNMENT));
        if (head[17], head[16] & 0xf0) == SWITCH {
            self.place = Place::Tail { switched: true };
            self.ends.reach = self.segment.next().start();
        } else {
            self.ends = RecordsEnd { after: end, reach: end };
        }
        Ok(())
    }

    fn zeros(&self, bytes: &[u8], at: Lsn) -> Result<(), WalError> {
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(());
        }
        Err(WalError::Record { at, what: "something follows the end of the records".into() })
    }
}

impl PartialRecord {
    /// Takes what belongs to it: up to its header's end, else up to its own.
    fn take(&mut self, bytes: &[u8]) -> Result<usize, WalError> {
        let wanted = match self.taken {
            0..4 => 4 - self.taken,
            4..24 => RECORD_HEADER as u64 - self.taken,
            _ => self.total - self.taken,
        };
        let taken = bytes.len().min(usize::try_from(wanted).unwrap_or(usize::MAX));
        if self.taken < RECORD_HEADER as u64 {
            self.head.extend_from_slice(&bytes[..taken]);
        } else {
            self.checksum = crc32c::crc32c_append(self.checksum, &bytes[..taken]);
        }
        self.taken += taken as u64;
        if self.taken == 4 {
            self.total = number(&self.head);
            if (1..RECORD_HEADER as u64).contains(&self.total) {
                return Err(WalError::Record { at: self.start, what: format!("a record of {} bytes", self.total) });
            }
        }
        Ok(taken)
    }
}

/// WAL of our own making, as PostgreSQL 15 writes it.
#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    pub const SEGMENT: u64 = 1 << 20;
    pub const SYSTEM: u64 = 7_711_272_386_700_096_654;

    /// Writes records from the beginning of a segment on.
    pub struct WalWriter {
        first: u64,
        bytes: Vec<u8>,
        previous: u64,
    }

    impl WalWriter {
        pub fn new(first: u64) -> Self {
            Self { first, bytes: Vec::new(), previous: 0 }
        }

        pub fn at(&self) -> Lsn {
            Lsn(self.first * SEGMENT + self.bytes.len() as u64)
        }

        fn header(&mut self, remaining: usize) {
            let at = self.at();
            let first = at.0.is_multiple_of(SEGMENT);
            let mut page = vec![0; if first { LONG_HEADER } else { SHORT_HEADER }];
            page[0..2].copy_from_slice(&0xD110u16.to_le_bytes());
            page[2] = u8::from(first) << 1 | u8::from(remaining > 0);
            page[4] = 1;
            page[8..16].copy_from_slice(&at.0.to_le_bytes());
            page[16..20].copy_from_slice(&(remaining as u32).to_le_bytes());
            if first {
                page[24..32].copy_from_slice(&SYSTEM.to_le_bytes());
                page[32..36].copy_from_slice(&(SEGMENT as u32).to_le_bytes());
                page[36..40].copy_from_slice(&8192u32.to_le_bytes());
            }
            self.bytes.extend(page);
        }

        fn write(&mut self, kind: u8, data: &[u8]) -> Lsn {
            if self.bytes.len().is_multiple_of(8192) {
                self.header(0);
            }
            let start = self.at();
            let mut head = [0; RECORD_HEADER];
            head[0..4].copy_from_slice(&((RECORD_HEADER + data.len()) as u32).to_le_bytes());
            head[8..16].copy_from_slice(&self.previous.to_le_bytes());
            head[16] = kind;
            let sum = crc32c::crc32c_append(crc32c::crc32c(data), &head[..20]);
            head[20..24].copy_from_slice(&sum.to_le_bytes());
            let record = [&head[..], data].concat();
            let mut left = &record[..];
            while !left.is_empty() {
                if self.bytes.len().is_multiple_of(8192) {
                    self.header(left.len());
                }
                let (now, rest) = left.split_at(left.len().min(8192 - self.bytes.len() % 8192));
                self.bytes.extend(now);
                left = rest;
            }
            self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
            self.previous = start.0;
            self.at()
        }

        /// A record with so many bytes of data. Returns where it ends.
        pub fn record(&mut self, bytes: usize) -> Lsn {
            self.write(0x10, &vec![7; bytes])
        }

        /// Ends the segment. Returns where the record that does so ends.
        pub fn switch(&mut self) -> Lsn {
            let end = self.write(SWITCH.1, &[]);
            self.bytes.resize(self.bytes.len().next_multiple_of(SEGMENT as usize), 0);
            end
        }

        /// Whole segments with their numbers.
        pub fn segments(&self) -> Vec<(u64, Vec<u8>)> {
            (self.first..).zip(self.bytes.chunks_exact(SEGMENT as usize).map(<[u8]>::to_vec)).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::*;
    use super::*;

    fn read(segments: &[(u64, Vec<u8>)], piece: usize) -> Result<RecordReader, WalError> {
        let first = WalSegment { timeline: 1, number: segments[0].0, bytes: SEGMENT };
        let mut reader = RecordReader::new(first, SYSTEM);
        for (place, (_, bytes)) in segments.iter().enumerate() {
            if place > 0 {
                reader.turn();
            }
            bytes.chunks(piece).try_for_each(|piece| reader.push(piece))?;
        }
        Ok(reader)
    }

    /// Records of many lengths over pages and segments, the second segment ended before it is full.
    fn wal() -> (WalWriter, Lsn) {
        let mut wal = WalWriter::new(2);
        for n in 0..400 {
            wal.record(n * 11 % 4000);
        }
        wal.record(20_000);
        while wal.at().0 < 3 * SEGMENT - 4000 {
            wal.record(3000);
        }
        wal.record(30_000);
        let end = wal.record(5);
        wal.switch();
        (wal, end)
    }

    #[test]
    fn records_are_read_to_their_end_whatever_the_pieces() {
        let (wal, end) = wal();
        for piece in [1, 7, 24, 8191, 8192, 1 << 20] {
            let reader = read(&wal.segments(), piece).unwrap();
            assert_eq!(reader.finish(true).unwrap(), RecordsEnd { after: end, reach: Lsn(4 * SEGMENT) });
        }
        // From the middle of a record on: what began before is not looked at.
        let reader = read(&wal.segments()[1..], 4096).unwrap();
        assert_eq!(reader.finish(true).unwrap().after, end);
    }

    #[test]
    fn every_byte_that_matters_is_seen() {
        let (wal, end) = wal();
        let used = (end.0 - 2 * SEGMENT) as usize;
        for at in (0..used).step_by(977).chain([0, 9, 33, 36, 8192, 8192 + 9, 8192 + 17]) {
            let mut bad = wal.segments();
            bad[at / SEGMENT as usize].1[at % SEGMENT as usize] ^= 4;
            let found = read(&bad, 4096).and_then(|reader| reader.finish(true)).is_err();
            // Padding behind a record is covered by nothing.
            assert!(found || wal.segments()[at / SEGMENT as usize].1[at % SEGMENT as usize] == 0, "byte {at}");
        }
        let mut lost = wal.segments();
        lost[0].1[40_960..49_152].fill(0);
        assert!(read(&lost, 4096).err().unwrap().to_string().contains("no page of this WAL"));
        let mut repeated = wal.segments();
        repeated[0].1.copy_within(40_960..49_152, 49_152);
        assert!(read(&repeated, 4096).err().unwrap().to_string().contains("is here"));
    }

    #[test]
    fn records_that_stop_in_the_middle_or_go_on_behind_the_end_are_seen() {
        let (wal, _) = wal();
        let mut cut = wal.segments();
        let tail = cut[1].1.len() - 8192;
        cut[1].1[tail + 100] = 1;
        assert!(read(&cut, 4096).err().unwrap().to_string().contains("follows the end"));
        let mut following = WalWriter::new(2);
        following.switch();
        following.switch();
        let mut segments = following.segments();
        segments[0].1[LONG_HEADER..].fill(0);
        let reader = read(&segments, 4096).unwrap();
        assert!(reader.finish(true).unwrap_err().to_string().contains("stop here"));
        assert!(reader.finish(false).is_ok(), "bundles before format 1.3 are not so exact");
    }

    #[test]
    fn the_place_of_a_record_that_is_not_there_yet_is_the_end_of_the_last_one() {
        let reader = read(&wal().0.segments(), 4096).unwrap();
        for (named, end) in [(40, 0), (41, 41), (8192 + 24, 8192), (8192 + 25, 8192 + 25), (8192, 8192)] {
            assert_eq!(reader.end_before(Lsn(3 * SEGMENT + named)), Lsn(3 * SEGMENT + end));
        }
    }
}
