//! What the vault's own git settings say, so that plain `git` shows and merges what is in it.

use std::fs::OpenOptions;
use std::io::Write;

use git2::{ConfigLevel, Repository};
use serde::Serialize;

use super::error::VaultError;
use super::handle::Vault;

use crate::read;

const BEGIN: &str = "# dr: begin";
const END: &str = "# dr: end";

/// A setting of the vault's repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GitSetting {
    /// Its name in `.git/config`, or the file that it stands in.
    pub key: String,
    pub value: String,
    /// Whether it was that already.
    pub kept: bool,
}

impl Vault {
    /// Sets `settings` (names and values) in the vault's `.git/config`, and `attributes` in its `.git/info/attributes`,
    /// between two marks; what else stands there is kept. `write` off changes nothing. Neither is part of the vault's
    /// history: each clone has its own.
    ///
    /// # Errors
    /// `Git` or `Io`. A crash leaves some set; the next call sets the rest.
    pub fn set_up_git(
        &self,
        settings: &[(String, String)],
        attributes: &str,
        write: bool,
    ) -> Result<Vec<GitSetting>, VaultError> {
        let failed = || VaultError::git(format!("read the git settings of the config vault {}", self.path.display()));
        let repo = Repository::open(&self.path).map_err(failed())?;
        let mut local = repo.config().and_then(|all| all.open_level(ConfigLevel::Local)).map_err(failed())?;
        let mut done = Vec::new();
        for (key, value) in settings {
            let kept = local.get_string(key).is_ok_and(|there| there == *value);
            if write && !kept {
                local.set_str(key, value).map_err(VaultError::git(format!("set {key} in the vault's .git/config")))?;
            }
            done.push(GitSetting { key: key.clone(), value: value.clone(), kept });
        }
        let folder = repo.path().join("info");
        let path = folder.join("attributes");
        let name = path.display().to_string();
        let there = match read::text_file(&path, read::SMALL) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(source) => return Err(VaultError::Io { act: format!("read {name}"), source }),
        };
        let wanted = with_block(&there, attributes);
        let kept = wanted == there;
        if write && !kept {
            let io = || VaultError::io(format!("write {name}"));
            std::fs::create_dir_all(&folder).map_err(io())?;
            let mut file = tempfile::NamedTempFile::new_in(&folder).map_err(io())?;
            file.write_all(wanted.as_bytes()).and_then(|()| file.as_file().sync_all()).map_err(io())?;
            file.persist(&path).map_err(|e| VaultError::Io { act: format!("write {name}"), source: e.error })?;
            // The name is on the disk only when the folder is.
            OpenOptions::new().read(true).open(&folder).and_then(|folder| folder.sync_all()).map_err(io())?;
        }
        done.push(GitSetting { key: ".git/info/attributes".into(), value: attributes.trim().to_owned(), kept });
        Ok(done)
    }
}

/// The text with our lines between our marks, whatever stood between them before.
fn with_block(text: &str, ours: &str) -> String {
    let mut out = String::new();
    let mut inside = false;
    for line in text.lines() {
        match line.trim() {
            BEGIN => inside = true,
            END => inside = false,
            _ if !inside => {
                out.push_str(line);
                out.push('\n');
            }
            _ => {}
        }
    }
    out.push_str(&format!("{BEGIN}\n{}\n{END}\n", ours.trim_end()));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_lines_are_replaced_and_those_of_others_stay() {
        let once = with_block("*.md text\n", "*.age diff=dr\n");
        assert_eq!(once, "*.md text\n# dr: begin\n*.age diff=dr\n# dr: end\n");
        assert_eq!(with_block(&once, "*.age diff=dr\n"), once);
        assert_eq!(with_block(&once, "x\n"), "*.md text\n# dr: begin\nx\n# dr: end\n");
    }
}
