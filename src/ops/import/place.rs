//! Where the files of a backup are: in a folder, or in the volume that OpsChain keeps its own in.

use std::fs::{self, OpenOptions};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use tokio::runtime::Handle;

use crate::cluster::{Cluster, VolumeFile};
use crate::error::{CommandError, Exit, Result};
use crate::read;

/// How much is read at a time.
const PIECE: usize = 256 << 10;

/// Where the files are.
#[derive(Debug, Clone)]
pub enum BackupPlace {
    /// A folder of this host.
    Folder(PathBuf),
    /// A folder of a volume, which a pod reads.
    Volume(Box<VolumeFolder>),
}

/// A folder of a volume, which a pod reads.
#[derive(Debug, Clone)]
pub struct VolumeFolder {
    pub(super) cluster: Cluster,
    pub(super) runtime: Handle,
    pub(super) pod: String,
    /// The claim of the volume.
    pub(super) claim: String,
    /// The folder below the volume's root.
    pub(super) name: String,
    /// Its files.
    pub(super) files: Vec<VolumeFile>,
}

impl VolumeFolder {
    fn file(&self, name: &str) -> Option<&VolumeFile> {
        self.files
            .iter()
            .find(|file| file.path.strip_prefix(&self.name).and_then(|rest| rest.strip_prefix('/')) == Some(name))
    }
}

impl BackupPlace {
    /// For people.
    pub(super) fn path(&self) -> PathBuf {
        match self {
            Self::Folder(folder) => folder.clone(),
            Self::Volume(volume) => PathBuf::from(format!("volume {}", volume.claim)).join(&volume.name),
        }
    }

    /// The names of what is in it, ascending.
    ///
    /// # Errors
    /// The folder cannot be listed.
    pub(super) fn names(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        match self {
            Self::Folder(folder) => {
                for entry in fs::read_dir(folder).map_err(unreadable(folder))? {
                    names.push(entry.map_err(unreadable(folder))?.file_name().to_string_lossy().into_owned());
                }
            }
            Self::Volume(volume) => {
                let VolumeFolder { name, files, .. } = &**volume;
                let inside = files.iter().filter_map(|file| file.path.strip_prefix(name)?.strip_prefix('/'));
                names.extend(inside.filter(|name| !name.contains('/')).map(str::to_owned));
            }
        }
        names.sort();
        Ok(names)
    }

    /// The length of a file.
    ///
    /// # Errors
    /// It cannot be looked at.
    pub(super) fn length(&self, name: &str) -> Result<u64> {
        let path = self.path().join(name);
        match self {
            Self::Folder(_) => path.metadata().map(|facts| facts.len()).map_err(unreadable(&path)),
            Self::Volume(volume) => Ok(volume.file(name).ok_or_else(|| gone(&path))?.bytes),
        }
    }

    /// All of a small file.
    ///
    /// # Errors
    /// It cannot be read, or is larger than `limit`.
    pub(super) fn bytes(&self, name: &str, limit: u64) -> Result<Vec<u8>> {
        let path = self.path().join(name);
        match self {
            Self::Folder(_) => read::file(&path, limit).map_err(unreadable(&path)),
            Self::Volume(_) => read::stream(self.open(name)?, limit).map_err(unreadable(&path)),
        }
    }

    /// Begins to read a file.
    ///
    /// # Errors
    /// It cannot be opened.
    pub(super) fn open(&self, name: &str) -> Result<Box<dyn Read + Send>> {
        let path = self.path().join(name);
        if let Self::Volume(volume) = self {
            let file = volume.file(name).ok_or_else(|| gone(&path))?;
            return Ok(Box::new(volume.cluster.volume_file(&volume.runtime, &volume.pod, file)));
        }
        // A pipe would be waited for, whatever is asked for meanwhile.
        let file = OpenOptions::new().read(true).custom_flags(read::AT_ONCE).open(&path).map_err(unreadable(&path))?;
        if !file.metadata().map_err(unreadable(&path))?.is_file() {
            let what = format!("{} is not a regular file", path.display());
            return Err(
                CommandError::new(Exit::Damaged, what).hint("A backup is three files, and not read from a pipe.")
            );
        }
        Ok(Box::new(BufReader::with_capacity(PIECE, file)))
    }
}

fn gone(path: &Path) -> CommandError {
    CommandError::new(Exit::NotFound, format!("there is no {}", path.display()))
}

/// For `map_err`.
pub fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> CommandError {
    let path = path.to_owned();
    move |error: io::Error| {
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
        CommandError::new(exit, format!("read {}", path.display())).unread(&path, error)
    }
}

pub fn damaged(path: &Path, why: impl std::fmt::Display) -> CommandError {
    CommandError::new(Exit::Damaged, format!("{} is not what a backup holds: {why}", path.display()))
        .hint("Take another copy of it, from where it was first put.")
}
