//! A reader that takes pieces of any length, so that bytes can be checked, written and passed on while they come.

use super::header::{BLOCK, Block, header_in, is_inside, padding};

/// A tar entry's name and length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TarEntry {
    /// Relative, inside, without a slash at its end.
    pub path: String,
    pub folder: bool,
    /// The length of a file in bytes.
    pub bytes: u64,
}

/// What is wrong with a tar.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{tar}: {what} (last entry: {last})")]
pub struct TarError {
    pub tar: &'static str,
    pub what: String,
    /// The path of the entry that it is in, or that came before; `none` at the start.
    pub last: String,
}

/// What the contents of a tar are given to. Each error ends the reading.
pub trait TarSink {
    /// Why the reading ended: the sink's own reason, or the tar's.
    type Error: From<TarError>;
    /// An entry begins.
    ///
    /// # Errors
    /// The sink's.
    fn begin(&mut self, entry: &TarEntry) -> Result<(), Self::Error>;
    /// The next bytes of a file.
    ///
    /// # Errors
    /// The sink's.
    fn data(&mut self, bytes: &[u8]) -> Result<(), Self::Error>;
    /// The next bytes that are of no file: headers, padding, the end mark. All bytes of a tar come to this or to
    /// [`TarSink::data`], in their order.
    fn around(&mut self, _bytes: &[u8]) {}
    /// The entry is whole.
    ///
    /// # Errors
    /// The sink's.
    fn end(&mut self) -> Result<(), Self::Error>;
}

/// Gives everything to two sinks: the first may refuse what then never reaches the second.
pub struct Both<'a, A, B>(pub &'a mut A, pub &'a mut B);

impl<A: TarSink, B: TarSink<Error: From<A::Error>>> TarSink for Both<'_, A, B> {
    type Error = B::Error;

    fn begin(&mut self, entry: &TarEntry) -> Result<(), B::Error> {
        self.0.begin(entry)?;
        self.1.begin(entry)
    }

    fn data(&mut self, bytes: &[u8]) -> Result<(), B::Error> {
        self.0.data(bytes)?;
        self.1.data(bytes)
    }

    fn around(&mut self, bytes: &[u8]) {
        self.0.around(bytes);
        self.1.around(bytes);
    }

    fn end(&mut self) -> Result<(), B::Error> {
        self.0.end()?;
        self.1.end()
    }
}

enum State {
    /// Collecting a header.
    Header,
    /// In a file, with so many bytes and then so much padding to come.
    Body { left: u64, padding: u64 },
    /// After the end mark began: only zeros may come.
    End { zeros: u64 },
}

/// A tar that is read in pieces.
pub struct TarReader {
    tar: &'static str,
    state: State,
    header: Vec<u8>,
    last: String,
}

impl TarReader {
    /// `tar` stands in errors.
    pub fn new(tar: &'static str) -> Self {
        Self { tar, state: State::Header, header: Vec::with_capacity(BLOCK as usize), last: "none".into() }
    }

    fn damaged(&self, what: impl Into<String>) -> TarError {
        TarError { tar: self.tar, what: what.into(), last: self.last.clone() }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// What is wrong with them, or what `sink` answered.
    pub fn push<S: TarSink>(&mut self, mut bytes: &[u8], sink: &mut S) -> Result<(), S::Error> {
        while !bytes.is_empty() {
            match &mut self.state {
                State::Header => {
                    let take = (BLOCK as usize - self.header.len()).min(bytes.len());
                    let piece;
                    (piece, bytes) = bytes.split_at(take);
                    sink.around(piece);
                    self.header.extend_from_slice(piece);
                    if let Ok(block) = Block::try_from(self.header.as_slice()) {
                        self.header.clear();
                        self.begin(&block, sink)?;
                    }
                }
                State::Body { left, padding } if *left > 0 => {
                    let (data, rest) = bytes.split_at(at_most(bytes, *left));
                    sink.data(data)?;
                    *left -= data.len() as u64;
                    bytes = rest;
                    if *left == 0 {
                        sink.end()?;
                        if *padding == 0 {
                            self.state = State::Header;
                        }
                    }
                }
                State::Body { padding, .. } => {
                    let (skipped, rest) = bytes.split_at(at_most(bytes, *padding));
                    sink.around(skipped);
                    *padding -= skipped.len() as u64;
                    bytes = rest;
                    if *padding == 0 {
                        self.state = State::Header;
                    }
                }
                State::End { zeros } => {
                    sink.around(bytes);
                    *zeros += bytes.len() as u64;
                    if bytes.iter().any(|byte| *byte != 0) {
                        return Err(self.damaged("data after its end").into());
                    }
                    bytes = &[];
                }
            }
        }
        Ok(())
    }

    fn begin<S: TarSink>(&mut self, block: &Block, sink: &mut S) -> Result<(), S::Error> {
        if block.iter().all(|byte| *byte == 0) {
            self.state = State::End { zeros: BLOCK };
            return Ok(());
        }
        let entry = entry_in(block).map_err(|what| self.damaged(what))?;
        self.last.clone_from(&entry.path);
        sink.begin(&entry)?;
        if entry.bytes == 0 {
            sink.end()?;
        } else {
            self.state = State::Body { left: entry.bytes, padding: padding(entry.bytes) };
        }
        Ok(())
    }

    /// Says that no more bytes will come.
    ///
    /// # Errors
    /// When the end mark (two empty blocks) is missing: the tar was cut off.
    pub fn finish(&self) -> Result<(), TarError> {
        match self.state {
            State::End { zeros } if zeros >= 2 * BLOCK => Ok(()),
            _ => Err(self.damaged("it is cut off")),
        }
    }
}

/// The entry that the block is the header of.
///
/// # Errors
/// What is wrong with it: damage, a link or a device, a name that leads out.
pub fn entry_in(block: &Block) -> Result<TarEntry, String> {
    let header = header_in(block).ok_or("a header is damaged")?;
    let path = header.path_bytes();
    let path = std::str::from_utf8(&path).map_err(|_| "a name that is no text")?;
    let kind = header.entry_type();
    let folder = kind.is_dir();
    if !folder && !kind.is_file() {
        return Err(format!("{path} is neither a file nor a folder"));
    }
    let plain = if folder { path.strip_suffix('/').unwrap_or(path) } else { path };
    // PostgreSQL writes one name of its own like that: `./pg_wal/archive_status/`.
    let plain = plain.strip_prefix("./").unwrap_or(plain);
    if !is_inside(plain) {
        return Err(format!("the name `{path}` leads out of it"));
    }
    let bytes = header.entry_size().map_err(|_| format!("the size of {path}"))?;
    if folder && bytes != 0 {
        return Err(format!("the folder {path} has contents of its own"));
    }
    Ok(TarEntry { path: plain.to_owned(), folder, bytes })
}

/// How many of `bytes` belong to what `left` more are to come of.
fn at_most(bytes: &[u8], left: u64) -> usize {
    usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ustar::{END, file_header};

    #[derive(Default)]
    struct Seen {
        names: Vec<String>,
        bytes: Vec<u8>,
        /// What came both ways.
        all: Vec<u8>,
    }

    impl TarSink for Seen {
        type Error = TarError;

        fn begin(&mut self, entry: &TarEntry) -> Result<(), TarError> {
            self.names.push(format!("{}{}", entry.path, if entry.folder { "/" } else { "" }));
            Ok(())
        }
        fn data(&mut self, bytes: &[u8]) -> Result<(), TarError> {
            self.bytes.extend_from_slice(bytes);
            self.all.extend_from_slice(bytes);
            Ok(())
        }
        fn around(&mut self, bytes: &[u8]) {
            self.all.extend_from_slice(bytes);
        }
        fn end(&mut self) -> Result<(), TarError> {
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
            let header = file_header(name, bytes.len() as u64, 0, 26).unwrap();
            builder.get_mut().extend_from_slice(&header);
            builder.get_mut().extend_from_slice(bytes);
            let zeros = vec![0; padding(bytes.len() as u64) as usize];
            builder.get_mut().extend_from_slice(&zeros);
        }
        builder.into_inner().unwrap()
    }

    fn read(bytes: &[u8], piece: usize) -> Result<Seen, TarError> {
        let (mut reader, mut seen) = (TarReader::new("base.tar"), Seen::default());
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
            assert!(seen.all == good(), "every byte comes once, in order");
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
