//! Where the passphrase of an identity file comes from: a file that was named, else the person at the terminal.
//!
//! Never an argument, which every user of the host can read, nor the value of a variable, which every child inherits.

use std::path::{Path, PathBuf};

use age::secrecy::SecretString;
use zeroize::Zeroizing;

use crate::error::{CommandError, Exit, Result};
use crate::ops::keyring::{self, Asker, Passphrase, PassphraseUse};
use crate::ui::{Typed, Ui};

/// Asks the file if there is one, else the person; gives up when the work is stopped.
pub(super) fn asker(ui: Ui, file: Option<PathBuf>) -> Asker {
    Box::new(move |wanted| {
        if let Some(file) = &file {
            let phrase = keyring::secret_line(file, "passphrase file", ui.cancel())?;
            return Ok(Passphrase::Kept(SecretString::from(phrase.as_str())));
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
