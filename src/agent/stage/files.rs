//! Writes the files of a tar into a folder of the stage.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::outline::Outline;
use crate::agent::protocol::Failure;
use crate::agent::swap::HELD_BACK;
use crate::agent::sync::FolderSize;
use crate::postgres::control;
use crate::ustar::{TarEntry, TarSink};

/// Makes a folder, and those that it is in, as PostgreSQL wants them: for their owner only. One that is there is left.
///
/// # Errors
/// When the volume refuses.
pub fn make_folders(path: &Path) -> Result<(), Failure> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(Failure::io(format!("make {}", path.display())))
}

/// The files of one tar on their way onto the volume. The control file gets another name, so that PostgreSQL cannot
/// start from what is not in place yet.
///
/// Contents that are [kept](Self::keep) pass without being written. Whatever else lies in the place of a file from an
/// earlier attempt is written over from where the new contents begin, and cut off there first.
pub struct StageFiles {
    stage: PathBuf,
    /// The folder below the stage that the tar belongs into, with a slash at its end; empty for the stage itself.
    below: &'static str,
    keep: bool,
    folders: BTreeSet<PathBuf>,
    current: Option<CurrentFile>,
    outline: Outline,
    size: FolderSize,
}

struct CurrentFile {
    /// Below the stage.
    name: String,
    path: PathBuf,
    /// Where its next bytes belong.
    at: u64,
    /// Opened when there is something to write.
    file: Option<File>,
}

impl CurrentFile {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let at = self.at;
        self.opened()?.write_all_at(bytes, at).map_err(Failure::io(format!("write {}", self.path.display())))
    }

    fn opened(&mut self) -> Result<&File, Failure> {
        let file = match self.file.take() {
            Some(file) => file,
            None => self.open().map_err(Failure::io(format!("make {}", self.path.display())))?,
        };
        Ok(self.file.insert(file))
    }

    fn open(&self) -> std::io::Result<File> {
        let file = OpenOptions::new().write(true).create(true).truncate(self.at == 0).mode(0o600).open(&self.path)?;
        if self.at > 0 {
            file.set_len(self.at)?;
        }
        Ok(file)
    }
}

impl StageFiles {
    /// Writes into `below` of the folder `stage`.
    pub fn new(stage: &Path, below: &'static str) -> Self {
        Self {
            stage: stage.to_owned(),
            below,
            keep: false,
            folders: BTreeSet::new(),
            current: None,
            outline: Outline::default(),
            size: FolderSize::default(),
        }
    }

    /// Whether the contents that come next are on the volume already.
    pub fn keep(&mut self, keep: bool) {
        self.keep = keep;
    }

    /// How many files there were, and their bytes.
    pub fn size(&self) -> FolderSize {
        self.size
    }

    /// Where the bytes have gone that came since this was asked last.
    pub fn take_outline(&mut self) -> Outline {
        std::mem::take(&mut self.outline)
    }

    fn make_folders(&mut self, path: &Path) -> Result<(), Failure> {
        if !self.folders.contains(path) {
            make_folders(path)?;
            self.folders.insert(path.to_owned());
        }
        Ok(())
    }
}

impl TarSink for StageFiles {
    type Error = Failure;

    fn begin(&mut self, entry: &TarEntry) -> Result<(), Failure> {
        self.current = None;
        let name = if entry.path == control::NAME { HELD_BACK } else { entry.path.as_str() };
        let name = format!("{}{name}", self.below);
        let path = self.stage.join(&name);
        if entry.folder {
            return self.make_folders(&path);
        }
        if let Some(parent) = path.parent() {
            self.make_folders(parent)?;
        }
        let mut file = CurrentFile { name, path, at: 0, file: None };
        // Nothing that is read back tells of an empty file: it is made in any case.
        if !self.keep || entry.bytes == 0 {
            file.opened()?;
        }
        self.size.files += 1;
        self.current = Some(file);
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let Some(file) = &mut self.current else { return Ok(()) };
        if !self.keep {
            file.write(bytes)?;
        }
        let length = bytes.len() as u64;
        self.outline.file(&file.name, file.at, length);
        file.at += length;
        self.size.bytes += length;
        Ok(())
    }

    fn around(&mut self, bytes: &[u8]) {
        self.outline.around(bytes);
    }

    fn end(&mut self) -> Result<(), Failure> {
        self.current = None;
        Ok(())
    }
}
