//! What a stage has been filled with so far, so that the next attempt need not have it sent again.
//!
//! The outline lies beside the stage. For each chunk that was written it has a record: the chunk's digest, what of it is
//! in no file (tar headers, padding), and which part of which file makes up the rest. Nothing in it is believed: a chunk
//! counts as kept when what is read back from those files has the digest. Records are appended and not synced; where a
//! crash has cut or lost some, the chunks after the last whole one are sent again.
//!
//! ```text
//! record   length (u32) | CRC32C (u32) | one zstd frame of: length (u32) | JSON | bytes that are in no file
//! ```
//! Numbers are big-endian.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::agent::protocol::{CHUNK_BOUNDS, Digest, Failure, StageChunkHead};

/// The most bytes that a record may have, and unpack to: headers of files without contents fill a chunk at most, and
/// their names once more.
const MOST: usize = 4 * CHUNK_BOUNDS.1 as usize;
const HEAD: usize = 8;

/// Where the bytes of a chunk are, in order.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outline {
    pieces: Vec<Piece>,
    /// Those of the outline itself, one after the other.
    #[serde(skip)]
    around: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Piece {
    /// So many bytes are in the outline itself.
    Around(u64),
    /// A part of a file.
    File {
        /// Below the stage.
        path: String,
        from: u64,
        bytes: u64,
    },
}

impl Outline {
    /// The next bytes are in no file.
    pub fn around(&mut self, bytes: &[u8]) {
        self.around.extend_from_slice(bytes);
        match self.pieces.last_mut() {
            Some(Piece::Around(before)) => *before += bytes.len() as u64,
            _ => self.pieces.push(Piece::Around(bytes.len() as u64)),
        }
    }

    /// The next bytes are these of a file.
    pub fn file(&mut self, path: &str, at: u64, length: u64) {
        match self.pieces.last_mut() {
            Some(Piece::File { path: same, from, bytes }) if same == path && *from + *bytes == at => *bytes += length,
            _ => self.pieces.push(Piece::File { path: path.to_owned(), from: at, bytes: length }),
        }
    }
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrittenChunk {
    pub head: StageChunkHead,
    outline: Outline,
}

impl WrittenChunk {
    pub fn new(head: StageChunkHead, outline: Outline) -> Self {
        Self { head, outline }
    }

    /// Puts the chunk together again, out of what is below `stage` by now. `false` when it is not what it was.
    pub fn read_back(&self, stage: &Path, raw: &mut Vec<u8>) -> bool {
        raw.clear();
        let sized = self.head.raw_bytes <= CHUNK_BOUNDS.1 * 2;
        sized
            && self.collect(stage, raw).is_ok()
            && raw.len() as u64 == self.head.raw_bytes
            && Digest(Sha256::digest(&raw).into()) == self.head.raw_sha256
    }

    fn collect(&self, stage: &Path, raw: &mut Vec<u8>) -> io::Result<()> {
        let most = self.head.raw_bytes as usize;
        let mut around = self.outline.around.as_slice();
        for piece in &self.outline.pieces {
            let (Piece::Around(bytes) | Piece::File { bytes, .. }) = piece;
            let (start, length) = (raw.len(), usize::try_from(*bytes).unwrap_or(usize::MAX));
            if length > most - start {
                return Err(io::ErrorKind::InvalidData.into());
            }
            raw.resize(start + length, 0);
            match piece {
                Piece::Around(_) => around.read_exact(&mut raw[start..])?,
                Piece::File { path, from, .. } => {
                    File::open(stage.join(path))?.read_exact_at(&mut raw[start..], *from)?;
                }
            }
        }
        Ok(())
    }

    fn to_record(&self) -> io::Result<Vec<u8>> {
        let json = serde_json::to_vec(self)?;
        let plain = [&(json.len() as u32).to_be_bytes()[..], &json, &self.outline.around].concat();
        let packed = zstd::bulk::compress(&plain, 1)?;
        let head = [(packed.len() as u32).to_be_bytes(), crc32c::crc32c(&packed).to_be_bytes()].concat();
        Ok([head, packed].concat())
    }

    fn from_packed(packed: &[u8]) -> Option<Self> {
        let size = zstd::zstd_safe::get_frame_content_size(packed).ok()??;
        let plain = zstd::bulk::decompress(packed, usize::try_from(size).ok()?.min(MOST)).ok()?;
        let (length, rest) = plain.split_first_chunk()?;
        let (json, around) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        let mut written: Self = serde_json::from_slice(json).ok()?;
        written.outline.around = around.to_vec();
        Some(written)
    }
}

/// The outline's file, to be appended to.
pub struct OutlineFile {
    file: File,
    name: String,
    end: u64,
}

impl OutlineFile {
    /// Opens the outline at `path`, and cuts off what is past its first `end` bytes.
    ///
    /// # Errors
    /// When the volume refuses.
    pub fn open(path: &Path, end: u64) -> Result<Self, Failure> {
        let name = path.display().to_string();
        let open = || {
            let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
            file.set_len(end)?;
            Ok(file)
        };
        Ok(Self { file: open().map_err(Failure::io(format!("make {name}")))?, name, end })
    }

    /// Appends one record. To be called when the chunk has been written, and before it is acknowledged.
    ///
    /// # Errors
    /// When the volume refuses.
    pub fn append(&mut self, written: &WrittenChunk) -> Result<(), Failure> {
        let act = || Failure::io(format!("write {}", self.name));
        let record = written.to_record().map_err(act())?;
        self.file.write_all_at(&record, self.end).map_err(act())?;
        self.end += record.len() as u64;
        Ok(())
    }
}

/// The records of an outline, up to the first that is not whole, each with where it ends.
pub struct Records {
    from: BufReader<File>,
    end: u64,
}

impl Records {
    /// # Errors
    /// When there is no such file.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { from: BufReader::new(File::open(path)?), end: 0 })
    }
}

impl Iterator for Records {
    type Item = (WrittenChunk, u64);

    fn next(&mut self) -> Option<Self::Item> {
        let mut head = [0; HEAD];
        self.from.read_exact(&mut head).ok()?;
        let (length, sum) = head.split_first_chunk::<4>()?;
        let (length, sum) = (u32::from_be_bytes(*length) as usize, u32::from_be_bytes(sum.try_into().ok()?));
        if length > MOST {
            return None;
        }
        let mut packed = vec![0; length];
        self.from.read_exact(&mut packed).ok()?;
        if crc32c::crc32c(&packed) != sum {
            return None;
        }
        self.end += (HEAD + length) as u64;
        Some((WrittenChunk::from_packed(&packed)?, self.end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::protocol::BackupPart;

    /// A chunk of two files with a header each, and the folder that it was written into.
    fn written() -> (tempfile::TempDir, WrittenChunk, Vec<u8>) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("base")).unwrap();
        std::fs::write(folder.path().join("base/1"), [1; 3000]).unwrap();
        std::fs::write(folder.path().join("base/2"), [2; 500]).unwrap();
        let raw = [&[9; 512][..], &[1; 2000], &[8; 100], &[7; 412], &[2; 500]].concat();
        let mut outline = Outline::default();
        outline.around(&[9; 512]);
        outline.file("base/1", 1000, 1500);
        outline.file("base/1", 2500, 500);
        outline.around(&[8; 100]);
        outline.around(&[7; 412]);
        outline.file("base/2", 0, 500);
        assert_eq!(outline.pieces.len(), 4, "neighbours are one piece");
        let raw_sha256 = Digest(Sha256::digest(&raw).into());
        let head = StageChunkHead {
            part: BackupPart::Base,
            index: 3,
            frame_bytes: 1,
            raw_bytes: raw.len() as u64,
            raw_sha256,
        };
        (folder, WrittenChunk::new(head, outline), raw)
    }

    #[test]
    fn a_chunk_is_read_back_and_every_change_of_what_it_is_in_is_seen() {
        let (folder, written, raw) = written();
        let mut back = vec![5; 10];
        assert!(written.read_back(folder.path(), &mut back));
        assert!(back == raw);
        let changes: [&dyn Fn(&Path); 3] = [
            &|file| std::fs::write(file, [2; 499]).unwrap(),
            &|file| std::fs::write(file, [3; 500]).unwrap(),
            &|file| std::fs::remove_file(file).unwrap(),
        ];
        for change in changes {
            change(&folder.path().join("base/2"));
            assert!(!written.read_back(folder.path(), &mut back));
        }
    }

    #[test]
    fn records_are_read_up_to_the_first_that_is_cut_or_damaged() {
        let (folder, written, _) = written();
        let path = folder.path().join("outline");
        let mut file = OutlineFile::open(&path, 0).unwrap();
        (0..3).for_each(|_| file.append(&written).unwrap());
        let whole = std::fs::read(&path).unwrap();
        let ends: Vec<u64> = Records::open(&path)
            .unwrap()
            .map(|(read, end)| {
                assert_eq!(read, written);
                end
            })
            .collect();
        assert_eq!(ends, [1, 2, 3].map(|count| count * whole.len() as u64 / 3));
        for cut in 0..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            assert_eq!(Records::open(&path).unwrap().count(), cut * 3 / whole.len(), "cut at {cut}");
        }
        let mut damaged = whole.clone();
        damaged[whole.len() / 2] ^= 1;
        std::fs::write(&path, &damaged).unwrap();
        assert_eq!(Records::open(&path).unwrap().count(), 1);
        // What is past the last good one makes room.
        OutlineFile::open(&path, ends[0]).unwrap().append(&written).unwrap();
        assert_eq!(std::fs::read(&path).unwrap().len() as u64, ends[1]);
    }
}
