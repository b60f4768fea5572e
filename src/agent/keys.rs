//! Keys out of a mounted Secret, which a group may read, to files that only this user may.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use zeroize::Zeroizing;

use crate::{read, write};

/// Copies each file of the folder `from` into the folder `to`, which is made.
///
/// # Errors
/// One cannot be read or written.
pub fn take_keys(from: &Path, to: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        // Kubernetes' own are `..data` and the folder that it leads to.
        if entry.file_name().to_string_lossy().starts_with("..") {
            continue;
        }
        let bytes = Zeroizing::new(read::file(&entry.path(), read::SMALL)?);
        write::replace_file(&to.join(entry.file_name()), 0o600, &bytes)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn files_of_a_mounted_secret_come_to_be_this_users_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("given"), folder.path().join("own"));
        std::fs::create_dir_all(from.join("..2026")).unwrap();
        std::fs::write(from.join("..2026/signing_key"), b"key").unwrap();
        symlink("..2026", from.join("..data")).unwrap();
        symlink("..data/signing_key", from.join("signing_key")).unwrap();
        for _ in 0..2 {
            take_keys(&from, &to).unwrap();
        }
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&to), mode(&to.join("signing_key"))), (0o700, 0o600));
        assert_eq!(std::fs::read(to.join("signing_key")).unwrap(), b"key");
        assert_eq!(std::fs::read_dir(&to).unwrap().count(), 1);
    }
}
