//! Programs that need nothing of the system that they run on: what can be put into a pod or an image as it is.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::read;

/// How much of a program is looked at and handed on at once: all of it would be most of the memory that `dr` ever has.
pub const PIECE: usize = 256 << 10;

/// What a program runs on, in the words of container images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    Amd64,
    Arm64,
}

impl Architecture {
    pub fn word(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }
}

/// A file with a static program, held open: what is read of it is one and the same file to the end.
#[derive(Debug)]
pub struct StaticProgram {
    file: Arc<File>,
    length: u64,
    digest: String,
    architecture: Option<Architecture>,
}

impl StaticProgram {
    /// Opens it and sums it up.
    ///
    /// # Errors
    /// Why it is none, or why it cannot be read, in words.
    pub fn open(path: &Path) -> Result<Self, String> {
        let words = |error: io::Error| error.to_string();
        let file = OpenOptions::new().read(true).custom_flags(read::AT_ONCE).open(path).map_err(words)?;
        let length = file.metadata().map_err(words)?.len();
        let mut head = Vec::new();
        (&file).take(PIECE as u64).read_to_end(&mut head).map_err(words)?;
        let architecture = static_elf(&head)?;
        let mut program = Self { file: Arc::new(file), length, digest: String::new(), architecture };
        let mut digest = Sha256::new();
        for piece in program.pieces() {
            digest.update(piece.map_err(words)?);
        }
        program.digest = hex::encode(digest.finalize());
        Ok(program)
    }

    /// How many bytes it has.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Its SHA-256, as hex.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// What it runs on, where that is a machine that is known here.
    pub fn architecture(&self) -> Option<Architecture> {
        self.architecture
    }

    /// Its bytes, from the beginning. One that has become shorter ends in an error.
    pub fn pieces(&self) -> impl Iterator<Item = io::Result<Vec<u8>>> + Send + use<> {
        let (file, length) = (Arc::clone(&self.file), self.length);
        (0..length).step_by(PIECE).map(move |at| {
            let mut piece = vec![0; usize::try_from(length - at).unwrap_or(PIECE).min(PIECE)];
            file.read_exact_at(&mut piece, at)?;
            Ok(piece)
        })
    }
}

/// Reads an ELF header (64 bit, little-endian) and its program headers, as `elf.h` describes them.
fn static_elf(bytes: &[u8]) -> Result<Option<Architecture>, &'static str> {
    const PT_INTERP: u64 = 3;
    const EM_X86_64: u64 = 62;
    const EM_AARCH64: u64 = 183;
    let cut = "it is cut off";
    let number = |at: usize, len: usize| {
        let field = bytes.get(at..at + len).ok_or(cut)?;
        Ok::<u64, &str>(field.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    };
    if !bytes.starts_with(b"\x7fELF\x02\x01") {
        return Err("it is no 64-bit ELF program");
    }
    let (table, entry, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    for place in 0..count {
        let at = usize::try_from(table + place * entry).map_err(|_| cut)?;
        if number(at, 4)? == PT_INTERP {
            return Err("it is not static: it needs the libraries of the system that it was built for");
        }
    }
    Ok(match number(18, 2)? {
        EM_X86_64 => Some(Architecture::Amd64),
        EM_AARCH64 => Some(Architecture::Arm64),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(path: &str) -> String {
        StaticProgram::open(Path::new(path)).unwrap_err()
    }

    #[test]
    fn this_very_program_is_static_and_read_whole_and_the_systems_shell_is_not() {
        let program = StaticProgram::open(&std::env::current_exe().unwrap()).unwrap();
        assert!(program.architecture().is_some());
        for _ in 0..2 {
            let read: Vec<u8> = program.pieces().flat_map(|piece| piece.unwrap()).collect();
            assert_eq!(
                (read.len() as u64, hex::encode(Sha256::digest(&read))),
                (program.length, program.digest.clone())
            );
        }
        assert!(refused("/bin/sh").contains("not static"));
        assert!(refused("/etc/passwd").contains("no 64-bit ELF"));
        assert!(refused("/etc").contains("directory"));
    }

    #[test]
    fn a_cut_header_is_refused() {
        let bytes = std::fs::read("/bin/sh").unwrap();
        assert!(static_elf(&bytes[..60]).is_err());
        assert!(static_elf(&bytes[..80]).is_err());
    }
}
