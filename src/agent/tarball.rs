//! Reads and writes the tar that PostgreSQL speaks: plain headers, files and folders, nothing else.
//!
//! The reader takes pieces of any length, so that bytes can be checked while they pass. Whatever PostgreSQL does not
//! write (links, devices, extension headers, absolute names, `..`, data after the end) is refused: a bundle may have
//! been made by somebody else.

use super::protocol::{Failure, FailureKind};
use crate::postgres::manifest::is_inside;

const BLOCK: usize = 512;

/// A tar entry's name and length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Relative, inside, without a slash at its end.
    pub path: String,
    /// Whether it is a folder.
    pub folder: bool,
    /// The length of a file in bytes.
    pub bytes: u64,
}

/// What the contents of a tar are given to.
pub trait Sink {
    /// An entry begins.
    ///
    /// # Errors
    /// Ends the reading.
    fn begin(&mut self, entry: &Entry) -> Result<(), Failure>;
    /// The next bytes of a file.
    ///
    /// # Errors
    /// Ends the reading.
    fn data(&mut self, bytes: &[u8]) -> Result<(), Failure>;
    /// The entry is whole.
    ///
    /// # Errors
    /// Ends the reading.
    fn end(&mut self) -> Result<(), Failure>;
}

enum State {
    /// Collecting a header.
    Header,
    /// In a file, with so many bytes and then so much padding to come.
    Body { left: u64, padding: usize },
    /// After the end mark began: only zeros may come.
    End { zeros: u64 },
}

/// A tar that is read in pieces.
pub struct Reader {
    name: &'static str,
    state: State,
    header: Vec<u8>,
    entries: u64,
}

impl Reader {
    /// `name` stands in errors.
    pub fn new(name: &'static str) -> Self {
        Self { name, state: State::Header, header: Vec::with_capacity(BLOCK), entries: 0 }
    }

    fn damaged(&self, what: impl std::fmt::Display) -> Failure {
        Failure::new(FailureKind::Damaged, format!("{}: {what} (after {} entries)", self.name, self.entries))
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// What is wrong with them, or what `sink` answered.
    pub fn push(&mut self, mut bytes: &[u8], sink: &mut impl Sink) -> Result<(), Failure> {
        while !bytes.is_empty() {
            match &mut self.state {
                State::Header => {
                    let take = (BLOCK - self.header.len()).min(bytes.len());
                    self.header.extend_from_slice(&bytes[..take]);
                    bytes = &bytes[take..];
                    if self.header.len() == BLOCK {
                        self.begin(sink)?;
                    }
                }
                State::Body { left, padding } if *left > 0 => {
                    let take = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    sink.data(&bytes[..take])?;
                    *left -= take as u64;
                    bytes = &bytes[take..];
                    if *left == 0 {
                        sink.end()?;
                        if *padding == 0 {
                            self.state = State::Header;
                        }
                    }
                }
                State::Body { padding, .. } => {
                    let take = (*padding).min(bytes.len());
                    *padding -= take;
                    bytes = &bytes[take..];
                    if *padding == 0 {
                        self.state = State::Header;
                    }
                }
                State::End { zeros } => {
                    if bytes.iter().any(|byte| *byte != 0) {
                        return Err(self.damaged("data after its end"));
                    }
                    *zeros += bytes.len() as u64;
                    bytes = &[];
                }
            }
        }
        Ok(())
    }

    fn begin(&mut self, sink: &mut impl Sink) -> Result<(), Failure> {
        if self.header.iter().all(|byte| *byte == 0) {
            self.state = State::End { zeros: BLOCK as u64 };
            return Ok(());
        }
        let entry = self.entry()?;
        self.header.clear();
        self.entries += 1;
        sink.begin(&entry)?;
        if entry.bytes == 0 {
            sink.end()?;
            self.state = State::Header;
        } else {
            let padding = (BLOCK - (entry.bytes % BLOCK as u64) as usize) % BLOCK;
            self.state = State::Body { left: entry.bytes, padding };
        }
        Ok(())
    }

    fn entry(&self) -> Result<Entry, Failure> {
        let mut header = tar::Header::new_old();
        header.as_mut_bytes().copy_from_slice(&self.header);
        let sum: u32 =
            self.header.iter().enumerate().map(|(i, b)| if (148..156).contains(&i) { 32 } else { u32::from(*b) }).sum();
        if header.cksum().ok() != Some(sum) {
            return Err(self.damaged("a header is damaged"));
        }
        let path = header.path_bytes();
        let path = std::str::from_utf8(&path).map_err(|_| self.damaged("a name that is no text"))?;
        let kind = header.entry_type();
        let folder = kind.is_dir();
        if !folder && !kind.is_file() {
            return Err(self.damaged(format!("{path} is neither a file nor a folder")));
        }
        let plain = if folder { path.strip_suffix('/').unwrap_or(path) } else { path };
        // PostgreSQL writes one name of its own like that: `./pg_wal/archive_status/`.
        let plain = plain.strip_prefix("./").unwrap_or(plain);
        if !is_inside(plain) {
            return Err(self.damaged(format!("the name `{path}` leads out of the data directory")));
        }
        let bytes = header.entry_size().map_err(|_| self.damaged(format!("the size of {path}")))?;
        if folder && bytes != 0 {
            return Err(self.damaged(format!("the folder {path} has contents of its own")));
        }
        Ok(Entry { path: plain.to_owned(), folder, bytes })
    }

    /// Says that no more bytes will come.
    ///
    /// # Errors
    /// When the end mark (two empty blocks) is missing: the tar was cut off.
    pub fn finish(&self) -> Result<(), Failure> {
        match self.state {
            State::End { zeros } if zeros >= 2 * BLOCK as u64 => Ok(()),
            _ => Err(self.damaged("it is cut off")),
        }
    }
}

/// The header of a file as PostgreSQL's own programs would write it.
///
/// # Errors
/// When the name is too long for a plain header.
pub fn file_header(name: &str, bytes: u64, modified: u64) -> Result<[u8; BLOCK], Failure> {
    let mut header = tar::Header::new_ustar();
    header.set_path(name).map_err(Failure::io(format!("write {name} into a tar")))?;
    header.set_size(bytes);
    header.set_mode(0o600);
    header.set_uid(26);
    header.set_gid(26);
    header.set_mtime(modified);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_cksum();
    Ok(*header.as_bytes())
}

/// How many zero bytes follow a file of this length.
pub fn padding(bytes: u64) -> usize {
    (BLOCK - (bytes % BLOCK as u64) as usize) % BLOCK
}

/// What stands at the end of a tar.
pub const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Seen {
        names: Vec<String>,
        bytes: Vec<u8>,
    }

    impl Sink for Seen {
        fn begin(&mut self, entry: &Entry) -> Result<(), Failure> {
            self.names.push(format!("{}{}", entry.path, if entry.folder { "/" } else { "" }));
            Ok(())
        }
        fn data(&mut self, bytes: &[u8]) -> Result<(), Failure> {
            self.bytes.extend_from_slice(bytes);
            Ok(())
        }
        fn end(&mut self) -> Result<(), Failure> {
            self.names.push(".".into());
            Ok(())
        }
    }

    fn good() -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        let mut folder = tar::Header::new_ustar();
        folder.set_entry_type(tar::EntryType::Directory);
        folder.set_size(0);
        builder.append_data(&mut folder, "base/", &[][..]).unwrap();
        for (name, bytes) in [("base/1", &[5; 1000][..]), ("PG_VERSION", b"15\n"), ("empty", b"")] {
            let header = file_header(name, bytes.len() as u64, 0).unwrap();
            builder.get_mut().extend_from_slice(&header);
            builder.get_mut().extend_from_slice(bytes);
            let zeros = vec![0; padding(bytes.len() as u64)];
            builder.get_mut().extend_from_slice(&zeros);
        }
        builder.into_inner().unwrap()
    }

    fn read(bytes: &[u8], piece: usize) -> Result<Seen, Failure> {
        let (mut reader, mut seen) = (Reader::new("base.tar"), Seen::default());
        for part in bytes.chunks(piece) {
            reader.push(part, &mut seen)?;
        }
        reader.finish()?;
        Ok(seen)
    }

    #[test]
    fn entries_come_out_whatever_the_pieces() {
        for piece in [1, 100, 511, 512, 513, 1 << 20] {
            let seen = read(&good(), piece).unwrap();
            assert_eq!(seen.names, ["base/", ".", "base/1", ".", "PG_VERSION", ".", "empty", "."]);
            assert_eq!(seen.bytes.len(), 1003);
        }
    }

    #[test]
    fn a_tar_cut_anywhere_is_refused() {
        let bytes = good();
        for cut in 0..bytes.len() {
            assert!(read(&bytes[..cut], 4096).is_err(), "cut at {cut} of {}", bytes.len());
        }
    }

    #[test]
    fn data_after_the_end_and_damaged_headers_are_refused() {
        let mut longer = good();
        longer.extend_from_slice(&[0; 600]);
        read(&longer, 4096).unwrap();
        longer.extend_from_slice(b"x");
        assert!(read(&longer, 4096).is_err());
        let mut damaged = good();
        damaged[3] ^= 1;
        assert!(read(&damaged, 4096).is_err());
    }

    #[test]
    fn links_devices_and_names_that_lead_out_are_refused() {
        let one = |name: &[u8], kind: tar::EntryType| {
            let mut header = tar::Header::new_ustar();
            header.as_mut_bytes()[..name.len()].copy_from_slice(name);
            header.set_size(0);
            header.set_entry_type(kind);
            header.set_cksum();
            [&header.as_bytes()[..], &END[..]].concat()
        };
        assert!(read(&one(b"fine", tar::EntryType::Regular), 4096).is_ok());
        assert!(read(&one(b"./pg_wal/archive_status/", tar::EntryType::Directory), 4096).is_ok());
        for name in [&b"/etc/passwd"[..], b"../x", b"a/../../x", b"a//b", b"././a", b".//a", b"./../a", b"x/"] {
            assert!(read(&one(name, tar::EntryType::Regular), 4096).is_err(), "{}", String::from_utf8_lossy(name));
        }
        for kind in [
            tar::EntryType::Symlink,
            tar::EntryType::Link,
            tar::EntryType::Char,
            tar::EntryType::Block,
            tar::EntryType::Fifo,
            tar::EntryType::GNULongName,
            tar::EntryType::XHeader,
            tar::EntryType::GNUSparse,
        ] {
            assert!(read(&one(b"a", kind), 4096).is_err(), "{kind:?}");
        }
    }
}
