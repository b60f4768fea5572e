//! Files of keys and of trust: who else could read them, or put others in their place.
//!
//! As with ssh, such a file belongs to its user or to root, and so does every folder on the way to it, where nobody else may
//! write unless the folder is sticky (as `/tmp` is): whoever may rename any of them puts another file in its place.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A mode's bits: who else may read or write, who else may write, and a folder where only owners remove.
const OTHERS: u32 = 0o077;
const OTHERS_WRITE: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// What a file is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileUse {
    /// A private key: nobody else may read it.
    Secret,
    /// It says whom or what to trust: nobody else may write it.
    Trust,
}

/// Why a file is neither secret nor to be trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OthersCan {
    #[error("can be read by others (mode {0:04o})")]
    Read(u32),
    #[error("can be written by others (mode {0:04o})")]
    Write(u32),
    #[error("belongs to user {0}, who is neither this one nor root")]
    Own(u32),
    #[error("is in folder {folder}, where others may put another in its place ({risk})")]
    Replace { folder: String, risk: FolderRisk },
}

/// Why others may put files into a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FolderRisk {
    #[error("it belongs to user {0}")]
    Owner(u32),
    #[error("mode {0:04o}")]
    Mode(u32),
}

/// Who else could read or replace the file, if anybody.
///
/// # Errors
/// There is no such file, or the system does not say.
pub fn others_can(path: &Path, file_use: FileUse) -> io::Result<Option<OthersCan>> {
    let me = rustix::process::geteuid().as_raw();
    let file = Owned::of(&std::fs::metadata(path)?);
    let real = path.canonicalize()?;
    if let Some(others) = file.others(file_use, me) {
        return Ok(Some(others));
    }
    for folder in real.ancestors().skip(1) {
        if let Some(risk) = Owned::of(&std::fs::metadata(folder)?).risk(me) {
            return Ok(Some(OthersCan::Replace { folder: folder.display().to_string(), risk }));
        }
    }
    Ok(None)
}

/// Who else may have written the file or put it into its folder, if anybody, and to which of the two. Whoever can only
/// replace that folder by one of his own is found as well: it is his. Whoever became root by `sudo` is nobody else.
///
/// # Errors
/// As [`others_can`].
pub fn others_wrote(path: &Path) -> io::Result<Option<(PathBuf, OthersCan)>> {
    let me = rustix::process::geteuid().as_raw();
    let before = std::env::var("SUDO_UID").ok().filter(|_| me == 0).and_then(|uid| uid.parse().ok());
    for path in [Some(path), path.parent()].into_iter().flatten() {
        match Owned::of(&std::fs::metadata(path)?).others(FileUse::Trust, me) {
            Some(OthersCan::Own(uid)) if Some(uid) == before => {}
            Some(others) => return Ok(Some((path.to_owned(), others))),
            None => {}
        }
    }
    Ok(None)
}

#[derive(Debug, Clone, Copy)]
struct Owned {
    uid: u32,
    mode: u32,
}

impl Owned {
    fn of(meta: &Metadata) -> Self {
        Self { uid: meta.uid(), mode: meta.mode() & 0o7777 }
    }

    fn is_foreign(self, me: u32) -> bool {
        self.uid != me && self.uid != 0
    }

    fn others(self, file_use: FileUse, me: u32) -> Option<OthersCan> {
        let mode = self.mode & 0o777;
        match file_use {
            FileUse::Secret if mode & OTHERS != 0 => Some(OthersCan::Read(mode)),
            FileUse::Trust if mode & OTHERS_WRITE != 0 => Some(OthersCan::Write(mode)),
            _ => self.is_foreign(me).then_some(OthersCan::Own(self.uid)),
        }
    }

    /// Why others may replace what is in the folder.
    fn risk(self, me: u32) -> Option<FolderRisk> {
        if self.is_foreign(me) {
            return Some(FolderRisk::Owner(self.uid));
        }
        let is_open = self.mode & OTHERS_WRITE != 0 && self.mode & STICKY == 0;
        is_open.then_some(FolderRisk::Mode(self.mode))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_its_users_or_roots_and_so_is_its_folder_or_it_is_sticky() {
        const ME: u32 = 1000;
        let file = |uid, mode, file_use| Owned { uid, mode }.others(file_use, ME);
        let (secret, trust) = (FileUse::Secret, FileUse::Trust);
        for uid in [ME, 0] {
            assert_eq!(file(uid, 0o600, secret), None);
            assert_eq!(file(uid, 0o644, trust), None);
            assert_eq!(file(uid, 0o640, secret), Some(OthersCan::Read(0o640)));
            assert_eq!(file(uid, 0o664, trust), Some(OthersCan::Write(0o664)));
        }
        assert_eq!(file(1001, 0o600, secret), Some(OthersCan::Own(1001)));
        assert_eq!(file(1001, 0o644, trust), Some(OthersCan::Own(1001)));
        for (uid, mode, is_safe) in [
            (ME, 0o755, true),
            (0, 0o755, true),
            (0, 0o1777, true),
            (ME, 0o775, false),
            (0, 0o777, false),
            (1001, 0o755, false),
            (1001, 0o1777, false),
        ] {
            assert_eq!(Owned { uid, mode }.risk(ME).is_none(), is_safe, "{uid} {mode:o}");
        }
    }

    #[test]
    fn the_folder_that_counts_is_the_one_that_a_link_leads_to() {
        let home = tempfile::tempdir().unwrap();
        let mode = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
        let (folder, link) = (home.path().join("open"), home.path().join("link"));
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("key"), "x").unwrap();
        mode(&folder.join("key"), 0o600);
        std::os::unix::fs::symlink(folder.join("key"), &link).unwrap();
        assert_eq!(others_can(&link, FileUse::Secret).unwrap(), None);
        mode(&folder, 0o777);
        let found = others_can(&link, FileUse::Secret).unwrap().unwrap().to_string();
        assert!(found.contains("/open, where others") && found.ends_with("(mode 0777)"), "{found}");
        assert!(others_can(&folder.join("none"), FileUse::Secret).is_err());
    }

    #[test]
    fn a_folder_far_above_that_others_may_write_is_named() {
        let home = tempfile::tempdir().unwrap();
        let mode = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
        let deep = home.path().join("a/b/c");
        std::fs::create_dir_all(&deep).unwrap();
        std::fs::write(deep.join("signers"), "x").unwrap();
        mode(&deep.join("signers"), 0o644);
        assert_eq!(others_can(&deep.join("signers"), FileUse::Trust).unwrap(), None);
        mode(&home.path().join("a"), 0o775);
        let found = others_can(&deep.join("signers"), FileUse::Trust).unwrap().unwrap().to_string();
        assert!(found.contains("/a, where others") && found.ends_with("(mode 0775)"), "{found}");
        mode(&home.path().join("a"), 0o1777);
        assert_eq!(others_can(&deep.join("signers"), FileUse::Trust).unwrap(), None);
    }
}
