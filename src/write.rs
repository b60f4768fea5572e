//! New files, whole or not at all: neither a full disk nor a killed process leaves half a key.

use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use tempfile::NamedTempFile;

/// Writes a file that is not there yet, with this mode whatever the umask is; durable on return.
///
/// # Errors
/// It is there already, or it cannot be written; then nothing is.
pub fn new_file(path: &Path, mode: u32, bytes: &[u8]) -> io::Result<()> {
    let mut file = NewFile::create(path, mode)?;
    file.write_all(bytes)?;
    file.finish()
}

/// Writes a file in place of the one that may be there, with this mode: readers see the old one or the new one, whole.
///
/// # Errors
/// It cannot be written; then what was there stays.
pub fn replace_file(path: &Path, mode: u32, bytes: &[u8]) -> io::Result<()> {
    let mut file = temporary(path)?;
    file.as_file().set_permissions(Permissions::from_mode(mode))?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error).map(drop)
}

/// The same; a file that is there keeps its owner, its group and what these may do with it. Others may do nothing.
///
/// # Errors
/// It cannot be written, or not given to that owner; then what was there stays.
pub fn replace_owned(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = temporary(path)?;
    let mode = match path.metadata() {
        Ok(old) => {
            fchown(file.as_file(), Some(old.uid()), Some(old.gid()))?;
            (old.mode() & 0o770) | 0o600
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0o600,
        Err(error) => return Err(error),
    };
    file.as_file().set_permissions(Permissions::from_mode(mode))?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error).map(drop)
}

/// A file on its way. It has its name once it is finished; dropped before, or its process killed, it is gone. Only where a
/// file system knows no files without a name, a killed process leaves one whose name begins with `.dr-`.
pub struct NewFile {
    file: Unnamed,
    path: PathBuf,
}

enum Unnamed {
    /// Open, and in no folder.
    Nameless(File),
    Temporary(NamedTempFile),
}

impl NewFile {
    /// Begins a file that is not there yet, with this mode whatever the umask is.
    ///
    /// # Errors
    /// It is there already, or its folder cannot be written to.
    pub fn create(path: &Path, mode: u32) -> io::Result<Self> {
        // Before much is written; whether it came meanwhile is seen at the end.
        if path.symlink_metadata().is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = match rustix::fs::open(folder(path), flags, Mode::RUSR | Mode::WUSR) {
            Ok(file) => Unnamed::Nameless(file.into()),
            // What a file system or a kernel says that does not know the flag.
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => Unnamed::Temporary(temporary(path)?),
            Err(error) => return Err(error.into()),
        };
        file.as_file().set_permissions(Permissions::from_mode(mode))?;
        Ok(Self { file, path: path.to_owned() })
    }

    /// Makes it durable and gives it its name.
    ///
    /// # Errors
    /// It is there already, or it cannot be written; then nothing is.
    pub fn finish(self) -> io::Result<()> {
        self.file.as_file().sync_all()?;
        match self.file {
            Unnamed::Nameless(file) => {
                let nameless = format!("/proc/self/fd/{}", file.as_raw_fd());
                rustix::fs::linkat(CWD, nameless, CWD, &self.path, AtFlags::SYMLINK_FOLLOW)?;
            }
            Unnamed::Temporary(file) => drop(file.persist_noclobber(&self.path).map_err(|error| error.error)?),
        }
        File::open(folder(&self.path))?.sync_all()
    }
}

impl Unnamed {
    fn as_file(&self) -> &File {
        match self {
            Self::Nameless(file) => file,
            Self::Temporary(file) => file.as_file(),
        }
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.as_file().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file of a passing name beside `path`. Why there can be none is said without that name, which nobody has given.
fn temporary(path: &Path) -> io::Result<NamedTempFile> {
    let made = tempfile::Builder::new().prefix(".dr-").tempfile_in(folder(path));
    made.map_err(|error| error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error))
}

/// Where a file is, for its path.
pub fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_file_has_its_mode_and_one_that_is_there_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        new_file(&path, 0o644, b"whole").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        assert_eq!(new_file(&path, 0o600, b"other").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&path).unwrap(), b"whole");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing half is left");
    }

    #[test]
    fn a_file_in_place_of_another_is_as_open_as_that_one_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("values.yaml");
        for (before, after) in [(None, 0o600), (Some(0o644), 0o640), (Some(0o660), 0o660), (Some(0o400), 0o600)] {
            if let Some(mode) = before {
                std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            }
            replace_owned(&path, b"whole").unwrap();
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, after);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing half is left");
    }

    #[test]
    fn a_file_that_is_not_finished_has_no_name_that_a_killed_process_could_leave() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("values.yaml");
        let mut file = NewFile::create(&path, 0o600).unwrap();
        file.write_all(b"whole").unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        file.finish().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"whole");
    }

    #[test]
    fn a_file_that_came_while_one_was_written_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("values.yaml");
        let mut file = NewFile::create(&path, 0o600).unwrap();
        file.write_all(b"late").unwrap();
        std::fs::write(&path, b"first").unwrap();
        assert_eq!(file.finish().unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&path).unwrap(), b"first");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
