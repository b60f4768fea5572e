//! Where the passphrase of an identity file comes from: a file that was named, else the person at the terminal.
//!
//! Never an argument, which every user of the host can read, nor the value of a variable, which every child inherits.

use std::fs::File;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use age::secrecy::SecretString;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::error::{CommandError, Exit, Result};
use crate::ops::keyring::{Asker, Passphrase, PassphraseUse};
use crate::read;
use crate::ui::{Typed, Ui};

/// More is no passphrase.
const LONGEST: u64 = 4096;

/// Asks the file if there is one, else the person; gives up when the work is stopped.
pub(super) fn asker(ui: Ui, file: Option<PathBuf>) -> Asker {
    Box::new(move |wanted| {
        if let Some(file) = &file {
            return read(file, ui.cancel()).map(Passphrase::Kept);
        }
        let ask = |question: &str| match ui.ask_hidden(question)? {
            Typed::Line(line) => Ok(Some(line)),
            Typed::Stopped => Err(crate::ops::interrupted()),
            Typed::NoTerminal => Ok(None),
        };
        let phrase = match wanted {
            PassphraseUse::Open { path, again } => {
                let before = if again > 0 { "That does not open it. " } else { "" };
                ask(&format!("{before}Passphrase of {}: ", path.display()))?
            }
            PassphraseUse::New { path } => twice(path, &ask)?,
        };
        Ok(phrase.map_or(Passphrase::Unknown, |phrase| Passphrase::Typed(SecretString::from(phrase.as_str()))))
    })
}

type Line = Zeroizing<String>;

/// A new passphrase is typed twice: nobody sees what is typed.
fn twice(path: &Path, ask: &dyn Fn(&str) -> Result<Option<Line>>) -> Result<Option<Line>> {
    let Some(first) = ask(&format!("New passphrase for {}: ", path.display()))? else { return Ok(None) };
    if first.trim().is_empty() {
        return Err(refused("the passphrase is empty"));
    }
    let Some(second) = ask("The same again: ")? else { return Ok(None) };
    if first == second { Ok(Some(first)) } else { Err(refused("the two passphrases are not the same")) }
}

fn refused(why: &str) -> CommandError {
    CommandError::new(Exit::Keys, format!("{why}: nothing was written"))
}

/// The first line of the file, which nobody else may read; a pipe (`/dev/fd/3`) is nobody's but ours.
fn read(path: &Path, stop: &CancellationToken) -> Result<SecretString> {
    let name = path.display();
    let failed = |e| CommandError::new(Exit::Keys, format!("read passphrase file {name}")).because(e);
    let opened = path.to_owned();
    let file = read::until_stopped(stop, move || File::open(opened)).map_err(failed)?;
    let meta = file.metadata().map_err(failed)?;
    let mode = meta.permissions().mode() & 0o777;
    if meta.is_file() && mode & 0o077 != 0 {
        return Err(CommandError::new(
            Exit::Keys,
            format!("passphrase file {name} can be read by others (mode {mode:04o})"),
        )
        .hint(format!("`chmod 600 {name}`, if nobody else has read it.")));
    }
    if meta.is_dir() || meta.file_type().is_block_device() {
        return Err(CommandError::new(Exit::Keys, format!("passphrase file {name} is no file")));
    }
    let bytes = read::until_stopped(stop, move || read::stream(file, LONGEST).map(Zeroizing::new)).map_err(failed)?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| CommandError::new(Exit::Keys, format!("passphrase file {name} is not text")))?;
    match text.lines().next().filter(|line| !line.is_empty()) {
        Some(line) => Ok(SecretString::from(line)),
        None => Err(CommandError::new(Exit::Keys, format!("passphrase file {name} has no first line"))),
    }
}
