//! Files that a later call of the same verb writes anew, for others to read: whole, and never over what is not ours.

use std::path::Path;

use crate::error::{CommandError, Exit, Result};
use crate::{read, write};

/// What a file is, and how one of ours begins.
pub(super) struct OwnFile {
    /// What it holds: `metrics`.
    pub(super) what: &'static str,
    pub(super) begins: &'static str,
}

impl OwnFile {
    /// Puts it in the place of what an earlier call has written there. Its readers are other users. Anything else that is
    /// there stays: a device, a link, another's file.
    pub(super) fn replace(&self, path: &Path, text: &str) -> Result<()> {
        if !self.is_ours(path) {
            let text = format!("{} is there and is no file of {}", path.display(), self.what);
            return Err(CommandError::new(Exit::Usage, text).hint("Name another file, or remove that one."));
        }
        write::replace_file(path, 0o644, text.as_bytes()).map_err(|error| {
            CommandError::new(Exit::Failure, format!("write the {} to {}", self.what, path.display()))
                .because(error)
                .hint("What was there before is still there.")
        })
    }

    /// Whether nothing is there, or a file that begins as this one does.
    fn is_ours(&self, path: &Path) -> bool {
        let Ok(facts) = path.symlink_metadata() else { return true };
        facts.is_file() && read::file(path, read::RECORDS).is_ok_and(|text| text.starts_with(self.begins.as_bytes()))
    }
}
