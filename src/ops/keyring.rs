//! The private keys that this process has opened, each file once, and the redactor that knows what they open.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use age::secrecy::{ExposeSecret, SecretString};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::crypt::Identities;
use crate::crypt::seal::SealError;
use crate::error::{CommandError, Exit, Result};
use crate::read;
use crate::values::Secrets;

/// How often a passphrase that was typed wrong is asked for again.
const SECOND_CHANCES: u8 = 2;

/// What is longer is no passphrase and no token.
const LONGEST_LINE: u64 = 4096;

/// The first line of a file that nobody else may read; a pipe (`/dev/fd/3`) is nobody's but ours. `what` it is, for people:
/// `passphrase file`.
///
/// # Errors
/// It cannot be read, others may read it, or it has no first line.
pub fn secret_line(path: &Path, what: &str, stop: &CancellationToken) -> Result<Zeroizing<String>> {
    let name = path.display();
    let failed = |e| CommandError::new(Exit::Keys, format!("read {what} {name}")).unread(path, e);
    let wrong = |why: &str| CommandError::new(Exit::Keys, format!("{what} {name} {why}"));
    let opened = path.to_owned();
    let file = read::until_stopped(stop, move || File::open(opened)).map_err(failed)?;
    let meta = file.metadata().map_err(failed)?;
    let mode = meta.permissions().mode() & 0o777;
    if meta.is_file() && mode & 0o077 != 0 {
        return Err(wrong(&format!("can be read by others (mode {mode:04o})"))
            .hint(format!("`chmod 600 {name}`, if nobody else has read it.")));
    }
    if meta.is_dir() || meta.file_type().is_block_device() {
        return Err(wrong("is no file").hint("Name a file whose first line it is."));
    }
    let bytes =
        read::until_stopped(stop, move || read::stream(file, LONGEST_LINE).map(Zeroizing::new)).map_err(failed)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| wrong("is not text"))?;
    let first = text.lines().next().filter(|line| !line.is_empty());
    first.map(|line| Zeroizing::new(line.to_owned())).ok_or_else(|| wrong("has no first line"))
}

/// What a passphrase is wanted for.
#[derive(Debug, Clone, Copy)]
pub enum PassphraseUse<'a> {
    /// To open an identity file; `again` counts the wrong ones.
    Open {
        path: &'a Path,
        /// How many were wrong.
        again: u8,
    },
    /// To protect an identity that is being made.
    New { path: &'a Path },
}

/// What came of asking for a passphrase.
pub enum Passphrase {
    /// A person typed it, and can try again.
    Typed(SecretString),
    /// It is from a file: a second try would bring the same.
    Kept(SecretString),
    /// Nobody can be asked.
    Unknown,
}

/// Where passphrases come from: a person, or a file that the person named.
pub type Asker = Box<dyn Fn(PassphraseUse<'_>) -> Result<Passphrase> + Send + Sync>;

/// Opens identity files. All clones share what was opened and registered: a passphrase is asked for once in the life of the
/// process, and whatever is opened with a key is known to every sink from then on.
#[derive(Clone, Default)]
pub struct Keyring(Arc<Inner>);

#[derive(Default)]
struct Inner {
    secrets: Secrets,
    asker: Option<Asker>,
    cancel: CancellationToken,
    opened: Mutex<HashMap<PathBuf, Identities>>,
}

/// Shows no key.
impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keyring")
    }
}

impl Keyring {
    /// A keyring that registers with `secrets` and asks `asker`, and waits for no key once `cancel` is.
    pub fn new(secrets: Secrets, asker: Asker, cancel: CancellationToken) -> Self {
        Self(Arc::new(Inner { secrets, asker: Some(asker), cancel, opened: Mutex::default() }))
    }

    /// What is not to be shown.
    pub fn secrets(&self) -> &Secrets {
        &self.0.secrets
    }

    /// The identities of a file, its passphrase asked for where it has one. Whatever they open is registered.
    ///
    /// # Errors
    /// See [`SealError`]; what asking fails with.
    pub fn open(&self, path: &Path) -> Result<Identities> {
        // Held while asking: two that need the same file ask one question.
        let mut opened = self.0.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = opened.get(path) {
            return Ok(known.clone());
        }
        let identities = self.load(path)?;
        for text in identities.private_texts() {
            self.secrets().register(text.as_bytes());
        }
        let secrets = self.secrets().clone();
        let identities = identities.witnessed(Arc::new(move |plaintext| secrets.register_document(plaintext)));
        opened.insert(path.to_owned(), identities.clone());
        Ok(identities)
    }

    fn load(&self, path: &Path) -> Result<Identities> {
        let bytes = read::file_or_pipe(path, read::SMALL, &self.0.cancel);
        let bytes = bytes.map_err(|source| Identities::unread(path, source))?;
        let mut again = 0;
        loop {
            let mut last_chance = again == SECOND_CHANCES;
            let mut failed = None;
            let loaded = Identities::read(path, &bytes, || match self.ask(PassphraseUse::Open { path, again }) {
                Ok(Passphrase::Typed(phrase)) => Some(phrase),
                Ok(Passphrase::Kept(phrase)) => {
                    last_chance = true;
                    Some(phrase)
                }
                Ok(Passphrase::Unknown) => None,
                Err(error) => {
                    failed = Some(error);
                    None
                }
            });
            match (loaded, failed) {
                (_, Some(error)) => return Err(error),
                (Err(SealError::WrongPassphrase { .. }), None) if !last_chance => again += 1,
                (loaded, None) => return Ok(loaded?),
            }
        }
    }

    /// The identities of a file if they can be had without asking anybody: opened already, or without a passphrase.
    pub fn at_hand(&self, path: &Path) -> Option<Identities> {
        // Whoever holds it may be asking for a passphrase just now, and saying so is what led here.
        let opened = self.0.opened.try_lock().ok().and_then(|opened| opened.get(path).cloned());
        opened.or_else(|| Identities::load(path, || None).ok())
    }

    /// A passphrase for an identity that is being made.
    ///
    /// # Errors
    /// Nobody can be asked; what asking fails with.
    pub fn new_passphrase(&self, path: &Path) -> Result<SecretString> {
        match self.ask(PassphraseUse::New { path })? {
            Passphrase::Typed(phrase) | Passphrase::Kept(phrase) => Ok(phrase),
            Passphrase::Unknown => Err(SealError::Passphrase { path: path.display().to_string() }.into()),
        }
    }

    fn ask(&self, wanted: PassphraseUse<'_>) -> Result<Passphrase> {
        let Some(asker) = &self.0.asker else { return Ok(Passphrase::Unknown) };
        let answer = asker(wanted)?;
        if let Passphrase::Typed(phrase) | Passphrase::Kept(phrase) = &answer {
            self.secrets().register(phrase.expose_secret().as_bytes());
        }
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU8, Ordering};

    use super::*;
    use crate::error::Exit;

    /// A protected identity file and a keyring whose person types these, one after the other.
    fn keyring(folder: &Path, typed: &'static [&'static str]) -> (PathBuf, Keyring, Arc<AtomicU8>) {
        let path = folder.join("identity.age");
        let phrase = SecretString::from("open sesame".to_owned());
        std::fs::write(&path, Identities::generate().to_protected_file(phrase).unwrap()).unwrap();
        let asked = Arc::new(AtomicU8::new(0));
        let count = Arc::clone(&asked);
        let asker: Asker = Box::new(move |_| {
            let turn = usize::from(count.fetch_add(1, Ordering::Relaxed));
            Ok(typed.get(turn).map_or(Passphrase::Unknown, |text| Passphrase::Typed(SecretString::from(*text))))
        });
        (path, Keyring::new(Secrets::default(), asker, CancellationToken::new()), asked)
    }

    #[test]
    fn a_passphrase_is_asked_for_once_and_a_wrong_one_twice_again() {
        let folder = tempfile::tempdir().unwrap();
        let (path, keyring, asked) = keyring(folder.path(), &["no", "neither", "open sesame"]);
        let opened = keyring.open(&path).unwrap();
        assert_eq!(keyring.clone().open(&path).unwrap().recipients(), opened.recipients());
        assert_eq!(asked.load(Ordering::Relaxed), 3);
        assert!(!keyring.secrets().scrub("it was open sesame").contains("sesame"));
        assert!(!keyring.secrets().scrub(&opened.private_texts()[0]).contains("AGE-SECRET"));
    }

    #[test]
    fn three_wrong_ones_or_nobody_to_ask_end_it_as_a_matter_of_keys() {
        let folder = tempfile::tempdir().unwrap();
        let (path, ring, asked) = keyring(folder.path(), &["1", "2", "3", "open sesame"]);
        let error = ring.open(&path).err().unwrap();
        assert_eq!((error.exit(), asked.load(Ordering::Relaxed)), (Exit::Keys, 3));
        let (path, ring, _) = keyring(folder.path(), &[]);
        let error = ring.open(&path).err().unwrap();
        assert_eq!(error.exit(), Exit::Keys);
        assert!(error.hints()[0].contains("--passphrase-file"), "{error:?}");
    }

    #[test]
    fn what_is_opened_is_not_shown_again() {
        let folder = tempfile::tempdir().unwrap();
        let (path, ring, _) = keyring(folder.path(), &["open sesame"]);
        let opened = ring.open(&path).unwrap();
        let sealed = crate::crypt::Recipients::parse(opened.recipients()).unwrap();
        let sealed = sealed.seal(b"env: {PGPASSWORD: hunter2hunter2}\n").unwrap();
        opened.open(&sealed).unwrap();
        assert!(!ring.secrets().scrub("hunter2hunter2").contains("hunter"));
    }
}
