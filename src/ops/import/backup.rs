//! The files of a backup that `pg_basebackup -Ft` has made, as the manual guide and OpsChain's own backups leave them.

use std::fs::{self, OpenOptions};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use crate::error::{CommandError, Exit, Result};
use crate::postgres::WalSegment;
use crate::postgres::wal::WalOrigin;
use crate::read;
use crate::ustar::{TarEntry, TarError, TarReader, TarSink};

/// The most bytes of a manifest: a million files and more.
const MANIFEST_LIMIT: u64 = 256 << 20;
/// How much is read at a time.
const PIECE: usize = 256 << 10;
/// How many folders an error names.
const NAMED: usize = 5;

/// Where the three files are, each of the tars packed by gzip or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupFiles {
    pub base: PathBuf,
    pub wal: PathBuf,
    pub manifest: PathBuf,
}

impl BackupFiles {
    /// Finds them in `folder`.
    ///
    /// # Errors
    /// [`Exit::NotFound`] naming what is missing and where it may be instead; [`Exit::Usage`] for a backup of another kind.
    pub fn find(folder: &Path) -> Result<Self> {
        let names = names(folder)?;
        let tar = |stem: &str| {
            let packed = [format!("{stem}.tar.gz"), format!("{stem}.tar")];
            packed.into_iter().find(|name| names.contains(name))
        };
        let manifest = names.iter().find(|name| *name == "backup_manifest");
        match (tar("base"), tar("pg_wal"), manifest) {
            (Some(base), Some(wal), Some(manifest)) => {
                let path = |name: &str| folder.join(name);
                Ok(Self { base: path(&base), wal: path(&wal), manifest: path(manifest) })
            }
            (base, wal, manifest) => {
                let missing = [
                    (base.is_none(), "base.tar.gz"),
                    (wal.is_none(), "pg_wal.tar.gz"),
                    (manifest.is_none(), "backup_manifest"),
                ];
                Err(none_here(folder, &names, missing))
            }
        }
    }

    /// The length of all three in bytes.
    ///
    /// # Errors
    /// One cannot be looked at.
    pub fn bytes(&self) -> Result<u64> {
        let length = |path: &PathBuf| path.metadata().map(|facts| facts.len()).map_err(unreadable(path));
        Ok(length(&self.base)? + length(&self.wal)? + length(&self.manifest)?)
    }

    /// PostgreSQL's manifest as it is.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn manifest_bytes(&self) -> Result<Vec<u8>> {
        read::file(&self.manifest, MANIFEST_LIMIT).map_err(unreadable(&self.manifest))
    }

    /// Of which database the log is, told by its first segment.
    ///
    /// # Errors
    /// [`Exit::Damaged`] when it holds none.
    pub fn wal_origin(&self) -> Result<WalOrigin> {
        let (mut tar, mut first) = (open(&self.wal)?, FirstPage::default());
        let (mut reader, mut piece) = (TarReader::new("the log"), vec![0; PIECE]);
        while first.page.len() < FirstPage::BYTES {
            let count = tar.read(&mut piece).map_err(unreadable(&self.wal))?;
            if count == 0 {
                break;
            }
            reader.push(&piece[..count], &mut first).map_err(|error| damaged(&self.wal, error))?;
        }
        WalOrigin::of_page(&first.page).ok_or_else(|| damaged(&self.wal, "it holds no WAL segment"))
    }
}

fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder).map_err(unreadable(folder))?;
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry.map_err(unreadable(folder))?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn none_here(folder: &Path, names: &[String], missing: [(bool, &str); 3]) -> CommandError {
    let shown = folder.display();
    if names.iter().any(|name| name.ends_with(".dump") || name == "globals.sql") {
        let what = format!("{shown} holds a logical backup, and a bundle is made of a physical one");
        return CommandError::new(Exit::Usage, what).hint(
            "Restore a logical one by hand: `psql -f globals.sql` and `pg_restore` into a fresh database, under `stopped=true`; then `dr bundle create`.",
        );
    }
    let lacking: Vec<&str> = missing.into_iter().filter_map(|(gone, name)| gone.then_some(name)).collect();
    let error = CommandError::new(Exit::NotFound, format!("folder {shown} has no {}", lacking.join(", no ")));
    let below = names.iter().rev().filter(|name| folder.join(name).join("backup_manifest").is_file()).take(NAMED);
    let error =
        below.fold(error, |error, name| error.hint(format!("There is a backup in {}.", folder.join(name).display())));
    error.hint(
        "A backup is the three files that `pg_basebackup -Ft` leaves: base.tar.gz, pg_wal.tar.gz and backup_manifest.",
    )
}

/// Begins to read a tar, unpacked.
///
/// # Errors
/// It cannot be opened.
pub fn open(path: &Path) -> Result<Box<dyn Read + Send>> {
    // A pipe would be waited for, whatever is asked for meanwhile.
    let file = OpenOptions::new().read(true).custom_flags(read::AT_ONCE).open(path).map_err(unreadable(path))?;
    if !file.metadata().map_err(unreadable(path))?.is_file() {
        let what = format!("{} is not a regular file", path.display());
        return Err(CommandError::new(Exit::Damaged, what).hint("A backup is three files, and not read from a pipe."));
    }
    let file = BufReader::with_capacity(PIECE, file);
    let packed = path.extension().is_some_and(|ending| ending == "gz");
    Ok(if packed { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) })
}

/// For `map_err`.
pub fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> CommandError {
    let shown = path.display().to_string();
    move |error| {
        // What a packed file is damaged by comes as these.
        let damaged = matches!(
            error.kind(),
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof
        );
        let exit = match error.kind() {
            io::ErrorKind::NotFound => Exit::NotFound,
            _ if damaged => Exit::Damaged,
            _ => Exit::Failure,
        };
        CommandError::new(exit, format!("read {shown}")).because(error)
    }
}

pub fn damaged(path: &Path, why: impl std::fmt::Display) -> CommandError {
    CommandError::new(Exit::Damaged, format!("{} is not what a backup holds: {why}", path.display()))
        .hint("Take another copy of it, from where it was first put.")
}

/// Keeps what the first segment of a tar begins with.
#[derive(Default)]
struct FirstPage {
    page: Vec<u8>,
    inside: bool,
}

impl FirstPage {
    const BYTES: usize = 40;
}

impl TarSink for FirstPage {
    type Error = TarError;

    fn begin(&mut self, entry: &TarEntry) -> Result<(), TarError> {
        // Of segments of the smallest size there are the most names.
        let segment = !entry.folder && WalSegment::from_name(&entry.path, 1 << 20).is_some();
        self.inside = self.page.is_empty() && segment;
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> Result<(), TarError> {
        if self.inside {
            let wanted = Self::BYTES - self.page.len();
            self.page.extend_from_slice(&bytes[..wanted.min(bytes.len())]);
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), TarError> {
        self.inside = false;
        Ok(())
    }
}
