//! Making a whole folder durable.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::protocol::Failure;
use crate::parallel;

/// Filesystems of which `syncfs` writes out everything, and says so when it could not.
const VOUCHING: [u64; 3] = [0xEF53, 0x5846_5342, 0x9123_683E]; // ext2 to ext4, XFS, Btrfs
/// The kernel since which `syncfs` reports what could not be written.
const REPORTING_KERNEL: (u32, u32) = (5, 8);

/// A folder that is being filled, on its filesystem. To be opened before the first byte is written: what cannot be
/// written out from then on is an error of the next sync, whoever wrote it.
pub struct FolderSync {
    root: PathBuf,
    volume: File,
}

/// What is in a folder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FolderSize {
    pub files: u64,
    /// The length of all files.
    pub bytes: u64,
}

fn act(path: &Path) -> impl FnOnce(std::io::Error) -> Failure {
    Failure::io(format!("write {} to disk", path.display()))
}

impl FolderSync {
    /// # Errors
    /// When there is no such folder.
    pub fn open(root: &Path) -> Result<Self, Failure> {
        Ok(Self { root: root.to_owned(), volume: File::open(root).map_err(act(root))? })
    }

    /// Writes out what is there by now, so that the end has less to wait for.
    ///
    /// # Errors
    /// Something could not be written: all that was written before must then count as lost.
    pub fn flush(&self) -> Result<(), Failure> {
        rustix::fs::syncfs(&self.volume).map_err(|error| act(&self.root)(error.into()))
    }

    /// Makes every file and folder below the root, and the root itself, durable. Returns what is there.
    ///
    /// One pass over the whole filesystem; a sync of each file would flush the disk's own cache each time. Where that
    /// pass may keep an error to itself, each file is synced besides, and finds nothing to wait for.
    ///
    /// # Errors
    /// As [`Self::flush`].
    pub fn finish(&self) -> Result<FolderSize, Failure> {
        self.flush()?;
        let tree = self.walk()?;
        if !self.vouches() {
            sync_each(&tree.files)?;
            sync_each(&tree.folders)?;
        }
        Ok(FolderSize { files: tree.files.len() as u64, bytes: tree.bytes })
    }

    /// Makes these files, which are somewhere below the root, durable with all that is around them.
    ///
    /// # Errors
    /// As [`Self::flush`].
    pub fn settle(&self, files: &[PathBuf]) -> Result<(), Failure> {
        self.flush()?;
        if !self.vouches() {
            sync_each(files)?;
        }
        Ok(())
    }

    fn vouches(&self) -> bool {
        let kernel = rustix::system::uname();
        let known = rustix::fs::fstatfs(&self.volume).is_ok_and(|facts| VOUCHING.contains(&(facts.f_type as u64)));
        known && reports(&kernel.release().to_string_lossy())
    }

    fn walk(&self) -> Result<Tree, Failure> {
        let (mut tree, mut next) = (Tree { folders: vec![self.root.clone()], files: Vec::new(), bytes: 0 }, 0);
        while let Some(folder) = tree.folders.get(next).cloned() {
            for entry in fs::read_dir(&folder).map_err(act(&folder))? {
                let entry = entry.map_err(act(&folder))?;
                let (path, facts) = (entry.path(), entry.metadata().map_err(act(&entry.path()))?);
                if facts.is_dir() {
                    tree.folders.push(path);
                } else {
                    tree.files.push(path);
                    tree.bytes += facts.len();
                }
            }
            next += 1;
        }
        Ok(tree)
    }
}

fn sync_each(paths: &[PathBuf]) -> Result<(), Failure> {
    let sync = |paths: &[PathBuf]| {
        let each = |path: &PathBuf| File::open(path).and_then(|file| file.sync_all()).map_err(act(path));
        paths.iter().try_for_each(each).map(|()| Vec::<()>::new())
    };
    parallel::in_parts(paths, parallel::threads(), sync).map(drop)
}

/// Everything below a folder, and the folder itself.
struct Tree {
    folders: Vec<PathBuf>,
    files: Vec<PathBuf>,
    /// The length of all files.
    bytes: u64,
}

/// Whether the kernel of that release (`6.1.0-18-amd64`) reports what `syncfs` could not write.
fn reports(release: &str) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|number| number.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    version >= REPORTING_KERNEL
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_kernel_is_not_believed() {
        for (release, believed) in
            [("5.8.0", true), ("6.18.44-fc-v657", true), ("5.7.19-1", false), ("4.18.0-553.el8", false), ("odd", false)]
        {
            assert_eq!(reports(release), believed, "{release}");
        }
    }

    #[test]
    fn every_file_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("base/1")).unwrap();
        fs::write(folder.path().join("base/1/2"), [0; 100]).unwrap();
        fs::write(folder.path().join("PG_VERSION"), "15\n").unwrap();
        let sync = FolderSync::open(folder.path()).unwrap();
        sync.flush().unwrap();
        assert_eq!(sync.finish().unwrap(), FolderSize { files: 2, bytes: 103 });
    }
}
