//! The way out where a file or folder that somebody named cannot be read or written.

use std::io::{self, ErrorKind};
use std::path::Path;

use super::CommandError;

impl CommandError {
    /// Adds the cause and its way out, of a path that was to be read.
    pub fn unread(self, path: &Path, error: io::Error) -> Self {
        let hint = to_read(path, &error);
        hint.into_iter().fold(self.because(error), Self::hint)
    }

    /// The same of a path that was to be written.
    pub fn unwritten(self, path: &Path, error: io::Error) -> Self {
        let hint = to_write(path, &error);
        hint.into_iter().fold(self.because(error), Self::hint)
    }

    /// Where nothing leads on from a file that cannot be had, at least where to look.
    #[must_use]
    pub fn or_look(self) -> Self {
        match self.hints.is_empty() && self.open_run.is_none() && self.is_of_missing_file() {
            true => self.hint("Is the path right, and may this user read it? `ls -ld PATH` tells."),
            false => self,
        }
    }

    fn is_of_missing_file(&self) -> bool {
        let mut next = self.source.as_deref().map(|error| error as &(dyn std::error::Error + 'static));
        while let Some(cause) = next {
            let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
            if matches!(kind, Some(ErrorKind::NotFound | ErrorKind::PermissionDenied | ErrorKind::NotADirectory)) {
                return true;
            }
            next = cause.source();
        }
        false
    }
}

/// What to do about a path that cannot be read; nothing where the work was stopped.
pub(super) fn to_read(path: &Path, error: &io::Error) -> Option<String> {
    let shown = path.display();
    Some(match error.kind() {
        ErrorKind::Interrupted => return None,
        ErrorKind::NotFound | ErrorKind::NotADirectory => {
            format!("Is the path right? `ls {}` shows what is there.", nearest(path).display())
        }
        ErrorKind::PermissionDenied => format!("`ls -ld {shown}` shows who may read it."),
        ErrorKind::IsADirectory => format!("It is a folder: name a file in it (`ls {shown}`)."),
        _ => format!("Look at `ls -ld {shown}`, or name another one."),
    })
}

fn to_write(path: &Path, error: &io::Error) -> Option<String> {
    let folder = crate::write::folder(path).display();
    Some(match error.kind() {
        ErrorKind::Interrupted => return None,
        ErrorKind::AlreadyExists => "Name a file that is not there yet.".to_owned(),
        ErrorKind::NotFound => format!("Make the folder first (`mkdir -p {folder}`), or name another file."),
        _ => format!("Look at `ls -ld {folder}` and `df -h {folder}`, or name another file."),
    })
}

/// The folder above the path that is there.
fn nearest(path: &Path) -> &Path {
    let above = path.ancestors().skip(1).find(|above| above.is_dir());
    above.unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Exit;

    #[test]
    fn a_path_that_is_not_there_leads_to_what_is() {
        let folder = tempfile::tempdir().unwrap();
        let (above, missing) = (folder.path().display().to_string(), folder.path().join("a/b.yaml"));
        let new = || CommandError::new(Exit::NotFound, "read it");
        let error = || std::fs::read(&missing).unwrap_err();
        let read = new().unread(&missing, error());
        assert_eq!(read.hints(), [format!("Is the path right? `ls {above}` shows what is there.")]);
        let written = new().unwritten(&missing, error());
        assert!(written.hints()[0].contains(&format!("`mkdir -p {above}/a`")), "{written:?}");
        assert!(new().unread(Path::new("x"), ErrorKind::Interrupted.into()).hints().is_empty());
        assert_eq!(to_read(Path::new("x"), &ErrorKind::NotFound.into()).unwrap().split('`').nth(1), Some("ls ."));
    }

    #[test]
    fn what_leads_nowhere_leads_to_the_path_and_what_leads_on_stays() {
        let missing = || CommandError::new(Exit::Helm, "x").because(io::Error::from(ErrorKind::NotFound));
        assert_eq!(missing().or_look().hints().len(), 1);
        assert_eq!(missing().hint("do").or_look().hints(), ["do"]);
        assert!(CommandError::new(Exit::Helm, "x").or_look().hints().is_empty());
    }
}
