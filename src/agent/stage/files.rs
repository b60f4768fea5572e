//! Writes the files of a tar into a folder of the stage.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::agent::protocol::Failure;
use crate::agent::swap::HELD_BACK;
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
pub struct StageFiles {
    root: PathBuf,
    folders: BTreeSet<PathBuf>,
    current: Option<(PathBuf, File)>,
    bytes: u64,
}

impl StageFiles {
    /// Writes below `root`.
    pub fn new(root: PathBuf) -> Self {
        Self { root, folders: BTreeSet::new(), current: None, bytes: 0 }
    }

    /// How many bytes were written.
    pub fn bytes(&self) -> u64 {
        self.bytes
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
        let path = self.root.join(name);
        if entry.folder {
            return self.make_folders(&path);
        }
        if let Some(parent) = path.parent() {
            self.make_folders(parent)?;
        }
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(Failure::io(format!("make {}", path.display())))?;
        self.current = Some((path, file));
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if let Some((path, file)) = &mut self.current {
            file.write_all(bytes).map_err(Failure::io(format!("write {}", path.display())))?;
            self.bytes += bytes.len() as u64;
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), Failure> {
        self.current = None;
        Ok(())
    }
}
