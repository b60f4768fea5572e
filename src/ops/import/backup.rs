//! The files of a backup that `pg_basebackup -Ft` has made, as the manual guide and OpsChain's own backups leave them.

use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use super::place::{BackupPlace, damaged, unreadable};
use crate::error::{CommandError, Exit, Result};
use crate::postgres::WalSegment;
use crate::postgres::wal::WalOrigin;
use crate::ustar::{TarEntry, TarError, TarReader, TarSink};

/// The most bytes of a manifest: a million files and more.
const MANIFEST_LIMIT: u64 = 256 << 20;
/// How much is read at a time.
const PIECE: usize = 256 << 10;
/// How many folders an error names.
const NAMED: usize = 5;

/// Which the three files are, each of the tars packed by gzip or not.
#[derive(Debug, Clone)]
pub struct BackupFiles<'p> {
    place: &'p BackupPlace,
    pub base: String,
    pub wal: String,
    manifest: String,
}

impl<'p> BackupFiles<'p> {
    /// Finds them in `place`.
    ///
    /// # Errors
    /// [`Exit::NotFound`] naming what is missing and where it may be instead; [`Exit::Usage`] for a backup of another kind.
    pub fn find(place: &'p BackupPlace) -> Result<Self> {
        let names = place.names()?;
        let tar = |stem: &str| {
            let packed = [format!("{stem}.tar.gz"), format!("{stem}.tar")];
            packed.into_iter().find(|name| names.contains(name))
        };
        let manifest = names.iter().find(|name| *name == "backup_manifest");
        match (tar("base"), tar("pg_wal"), manifest) {
            (Some(base), Some(wal), Some(manifest)) => Ok(Self { place, base, wal, manifest: manifest.clone() }),
            (base, wal, manifest) => {
                let missing = [
                    (base.is_none(), "base.tar.gz"),
                    (wal.is_none(), "pg_wal.tar.gz"),
                    (manifest.is_none(), "backup_manifest"),
                ];
                Err(none_here(&place.path(), &names, missing))
            }
        }
    }

    /// The length of all three in bytes.
    ///
    /// # Errors
    /// One cannot be looked at.
    pub fn bytes(&self) -> Result<u64> {
        let length = |name: &str| self.place.length(name);
        Ok(length(&self.base)? + length(&self.wal)? + length(&self.manifest)?)
    }

    /// PostgreSQL's manifest as it is.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn manifest_bytes(&self) -> Result<Vec<u8>> {
        self.place.bytes(&self.manifest, MANIFEST_LIMIT)
    }

    /// Where PostgreSQL's manifest is, for people.
    pub fn manifest_path(&self) -> PathBuf {
        self.path(&self.manifest)
    }

    /// Where one of them is, for people.
    pub fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// Begins to read a tar, unpacked.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(&self, name: &str) -> Result<Box<dyn Read + Send>> {
        let file = self.place.open(name)?;
        let packed = name.ends_with(".gz");
        Ok(if packed { Box::new(MultiGzDecoder::new(BufReader::with_capacity(PIECE, file))) } else { file })
    }

    /// Of which database the log is, told by its first segment.
    ///
    /// # Errors
    /// [`Exit::Damaged`] when it holds none.
    pub fn wal_origin(&self) -> Result<WalOrigin> {
        let (path, mut first) = (self.path(&self.wal), FirstPage::default());
        let mut tar = self.open(&self.wal)?;
        let (mut reader, mut piece) = (TarReader::new("the log"), vec![0; PIECE]);
        while first.page.len() < FirstPage::BYTES {
            let count = tar.read(&mut piece).map_err(unreadable(&path))?;
            if count == 0 {
                break;
            }
            reader.push(&piece[..count], &mut first).map_err(|error| damaged(&path, error))?;
        }
        WalOrigin::of_page(&first.page).ok_or_else(|| damaged(&path, "it holds no WAL segment"))
    }
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
