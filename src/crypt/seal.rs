//! Sealing with age to several recipients, and opening again.
//!
//! The sealing side holds public keys only. What is sealed is always one whole age file, so the `age` program opens it.

use std::io::{self, Read, Write};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use age::secrecy::{ExposeSecret, SecretString};
use age::x25519;
use zeroize::Zeroizing;

use crate::ownership::{FileUse, OthersCan, others_can};
use crate::read;

/// The largest scrypt work factor that an identity file may ask for: what the Go implementation accepts.
const MAX_SCRYPT_WORK_FACTOR: u8 = 22;
/// The work factor for identity files that we write. Pinned: the library would measure this host, and a slower host
/// would then refuse the file (seen in age 0.12).
const SCRYPT_WORK_FACTOR: u8 = 18;

/// Why sealing or opening failed. No variant holds key material.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The text is not an age X25519 recipient.
    #[error("`{0}` is not an age recipient (age1...)")]
    BadRecipient(String),
    /// Nothing to seal to.
    #[error("no recipient to seal to")]
    NoRecipient,
    /// The identity file cannot be read.
    #[error("read identity file {path}")]
    ReadIdentity {
        path: String,
        #[source]
        source: io::Error,
    },
    /// The identity file holds no age identity. Its lines are not quoted.
    #[error("identity file {path} holds no age identity (AGE-SECRET-KEY-1...): {reason}")]
    BadIdentity {
        path: String,
        /// What is wrong, without quoting the file.
        reason: String,
    },
    /// Others can read the identity file, which no passphrase protects, or put another in its place.
    #[error("identity file {path} {others}")]
    OpenIdentity { path: String, others: OthersCan },
    /// The identity file is protected by a passphrase, and none was given.
    #[error("identity file {path} needs its passphrase")]
    Passphrase { path: String },
    /// The passphrase does not open the identity file.
    #[error("the passphrase of identity file {path} is wrong")]
    WrongPassphrase { path: String },
    /// The identity file asks for more work than anybody should do to open it.
    #[error("identity file {path} asks for too much work (scrypt, more than 2^{MAX_SCRYPT_WORK_FACTOR})")]
    TooMuchWork { path: String },
    /// None of the identities opens it.
    #[error("none of the identities at hand opens it")]
    NoMatch,
    /// The sealed bytes are damaged or cut off.
    #[error("sealed bytes are damaged: {0}")]
    Damaged(String),
    /// The sealing itself failed.
    #[error("seal")]
    Seal(#[source] io::Error),
}

/// Whom to seal to.
#[derive(Clone)]
pub struct Recipients(Vec<x25519::Recipient>);

impl Recipients {
    /// Parses `age1...` texts; the same one twice counts once.
    ///
    /// # Errors
    /// `BadRecipient` names the text that is none; `NoRecipient` when the list is empty.
    pub fn parse<S: AsRef<str>>(texts: impl IntoIterator<Item = S>) -> Result<Self, SealError> {
        let mut names: Vec<String> = Vec::new();
        let mut recipients = Vec::new();
        for text in texts {
            let text = text.as_ref().trim();
            let recipient = x25519::Recipient::from_str(text).map_err(|_| SealError::BadRecipient(text.to_owned()))?;
            if !names.contains(&recipient.to_string()) {
                names.push(recipient.to_string());
                recipients.push(recipient);
            }
        }
        if recipients.is_empty() { Err(SealError::NoRecipient) } else { Ok(Self(recipients)) }
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The public keys as texts, in the order given.
    pub fn to_strings(&self) -> Vec<String> {
        self.0.iter().map(ToString::to_string).collect()
    }

    /// Seals `plaintext` into one whole age file.
    ///
    /// # Errors
    /// `Seal` when the library refuses.
    pub fn seal(&self, plaintext: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut sealed = Vec::new();
        self.seal_into(plaintext, &mut sealed)?;
        Ok(sealed)
    }

    /// The same in the place of what `sealed` held, in memory that was used before.
    ///
    /// # Errors
    /// As [`Self::seal`].
    pub fn seal_into(&self, plaintext: &[u8], sealed: &mut Vec<u8>) -> Result<(), SealError> {
        sealed.clear();
        // Header and stanzas take about 100 bytes a recipient; every 64 KiB gets a 16-byte tag.
        sealed.reserve_exact(plaintext.len() + plaintext.len() / 4096 + 256 + 128 * self.0.len());
        let mut writer = self.seal_to(&mut *sealed)?;
        writer.write_all(plaintext).map_err(SealError::Seal)?;
        writer.finish().map_err(SealError::Seal)?;
        Ok(())
    }

    /// A writer that seals into `output`. `finish` must be called on it, or the file is cut off and will be refused.
    ///
    /// # Errors
    /// `Seal` when `output` refuses the header.
    pub fn seal_to<W: Write>(&self, output: W) -> Result<age::stream::StreamWriter<W>, SealError> {
        age::Encryptor::with_recipients(self.0.iter().map(|r| r as &dyn age::Recipient))
            .map_err(|e| SealError::Seal(io::Error::other(e)))?
            .wrap_output(output)
            .map_err(SealError::Seal)
    }
}

/// Sees every plaintext that is opened, so that it can be kept out of sight later.
pub type Witness = Arc<dyn Fn(&[u8]) + Send + Sync>;

/// The private keys at hand.
#[derive(Clone)]
pub struct Identities {
    keys: Vec<x25519::Identity>,
    witness: Option<Witness>,
}

impl Identities {
    /// Makes a new identity.
    pub fn generate() -> Self {
        Self { keys: vec![x25519::Identity::generate()], witness: None }
    }

    /// The same, each plaintext that they open shown to `witness` first.
    #[must_use]
    pub fn witnessed(self, witness: Witness) -> Self {
        Self { witness: Some(witness), ..self }
    }

    /// The same without a witness: for work that opens a thousand versions and shows nothing of what is in them.
    #[must_use]
    pub fn unwitnessed(&self) -> Self {
        Self { keys: self.keys.clone(), witness: None }
    }

    /// Reads an identity file as `age-keygen` writes it (comments allowed), or one that `age -p` has protected;
    /// `passphrase` is asked only for the latter.
    ///
    /// # Errors
    /// See [`SealError`]; no line of the file is ever quoted.
    pub fn load(path: &Path, passphrase: impl FnOnce() -> Option<SecretString>) -> Result<Self, SealError> {
        let bytes = read::file(path, read::SMALL).map(Zeroizing::new);
        Self::read(path, &bytes.map_err(|source| Self::unread(path, source))?, passphrase)
    }

    /// The refusal of an identity file that cannot be read.
    pub fn unread(path: &Path, source: io::Error) -> SealError {
        SealError::ReadIdentity { path: path.display().to_string(), source }
    }

    /// As [`Identities::load`], of bytes that were read from `path`.
    ///
    /// # Errors
    /// As [`Identities::load`].
    pub fn read(
        path: &Path,
        bytes: &[u8],
        passphrase: impl FnOnce() -> Option<SecretString>,
    ) -> Result<Self, SealError> {
        let name = path.display().to_string();
        if !bytes.starts_with(b"age-encryption.org/") {
            return Self::parse(bytes, &name);
        }
        let phrase = passphrase().ok_or_else(|| SealError::Passphrase { path: name.clone() })?;
        let mut key = age::scrypt::Identity::new(phrase);
        key.set_max_work_factor(MAX_SCRYPT_WORK_FACTOR);
        let mut text = Zeroizing::default();
        let opened = unseal(std::iter::once(&key as &dyn age::Identity), bytes, &mut text);
        opened.map_err(|error| match error {
            age::DecryptError::ExcessiveWork { .. } => SealError::TooMuchWork { path: name.clone() },
            other => match refusal(other) {
                SealError::NoMatch => SealError::WrongPassphrase { path: name.clone() },
                other => other,
            },
        })?;
        Self::parse(&text, &name)
    }

    /// Refuses an identity file that others may replace, or read where no passphrase protects it.
    ///
    /// # Errors
    /// `OpenIdentity`.
    pub fn require_private(path: &Path) -> Result<(), SealError> {
        let Ok(meta) = std::fs::metadata(path) else { return Ok(()) };
        if !meta.is_file() {
            return Ok(());
        }
        let mut start = [0; 19];
        let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut start));
        let is_sealed = read.is_ok() && start.starts_with(b"age-encryption.org/");
        let found = others_can(path, if is_sealed { FileUse::Trust } else { FileUse::Secret });
        match found.map_err(|source| Self::unread(path, source))? {
            Some(others) => Err(SealError::OpenIdentity { path: path.display().to_string(), others }),
            None => Ok(()),
        }
    }

    fn parse(bytes: &[u8], path: &str) -> Result<Self, SealError> {
        let bad = |reason: String| SealError::BadIdentity { path: path.to_owned(), reason };
        let text = std::str::from_utf8(bytes).map_err(|_| bad("it is not text".into()))?;
        let mut identities = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            identities.push(x25519::Identity::from_str(line).map_err(|_| bad(format!("line {} is none", index + 1)))?);
        }
        if identities.is_empty() {
            return Err(bad("it has no key line".into()));
        }
        Ok(Self { keys: identities, witness: None })
    }

    /// The text of an identity file, in the form that `age-keygen` writes.
    pub fn to_file_text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::new());
        for identity in &self.keys {
            text.push_str(&format!("# public key: {}\n", identity.to_public()));
            text.push_str(identity.to_string().expose_secret());
            text.push('\n');
        }
        text
    }

    /// The same, protected by `passphrase` (scrypt, work factor 18).
    ///
    /// # Errors
    /// `Seal` when the library refuses.
    pub fn to_protected_file(&self, passphrase: SecretString) -> Result<Vec<u8>, SealError> {
        let mut recipient = age::scrypt::Recipient::new(passphrase);
        recipient.set_work_factor(SCRYPT_WORK_FACTOR);
        age::encrypt(&recipient, self.to_file_text().as_bytes()).map_err(|e| SealError::Seal(io::Error::other(e)))
    }

    /// The public keys that belong to them.
    pub fn recipients(&self) -> Vec<String> {
        self.keys.iter().map(|identity| identity.to_public().to_string()).collect()
    }

    /// The private keys as texts: what must never be shown.
    pub fn private_texts(&self) -> Vec<Zeroizing<String>> {
        self.keys.iter().map(|identity| Zeroizing::new(identity.to_string().expose_secret().to_owned())).collect()
    }

    /// These and the others.
    pub fn and(mut self, others: Self) -> Self {
        self.keys.extend(others.keys);
        self
    }

    /// Each of them alone, in the order of [`Identities::recipients`]: to tell which one opens a file.
    pub fn each(&self) -> Vec<Self> {
        let one = |key: &x25519::Identity| Self { keys: vec![key.clone()], witness: self.witness.clone() };
        self.keys.iter().map(one).collect()
    }

    /// Opens one whole age file. The plaintext is wiped when dropped.
    ///
    /// # Errors
    /// `NoMatch` when no identity fits, `Damaged` when a byte was changed or the end is missing.
    pub fn open(&self, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let mut plaintext = Zeroizing::default();
        self.open_into(sealed, &mut plaintext)?;
        Ok(plaintext)
    }

    /// The same in the place of what `plaintext` held, in memory that was used before.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_into(&self, sealed: &[u8], plaintext: &mut Zeroizing<Vec<u8>>) -> Result<(), SealError> {
        let keys = self.keys.iter().map(|identity| identity as &dyn age::Identity);
        unseal(keys, sealed, plaintext).map_err(refusal)?;
        if let Some(witness) = &self.witness {
            witness(plaintext);
        }
        Ok(())
    }
}

fn unseal<'a>(
    identities: impl Iterator<Item = &'a dyn age::Identity>,
    sealed: &[u8],
    plaintext: &mut Zeroizing<Vec<u8>>,
) -> Result<(), age::DecryptError> {
    let mut reader = age::Decryptor::new_buffered(sealed)?.decrypt(identities)?;
    make_room(plaintext, sealed.len());
    reader.read_to_end(plaintext)?;
    Ok(())
}

/// Empties `buffer` and sees to room for `bytes`. One that is too small is wiped and replaced: if it grew, its old bytes
/// would stay in memory.
pub fn make_room(buffer: &mut Zeroizing<Vec<u8>>, bytes: usize) {
    buffer.clear();
    if buffer.capacity() < bytes {
        *buffer = Zeroizing::new(Vec::with_capacity(bytes));
    }
}

fn refusal(error: age::DecryptError) -> SealError {
    match error {
        age::DecryptError::NoMatchingKeys | age::DecryptError::KeyDecryptionFailed => SealError::NoMatch,
        age::DecryptError::DecryptionFailed => SealError::NoMatch,
        other => SealError::Damaged(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one() -> (Identities, Recipients) {
        let identities = Identities::generate();
        let recipients = Recipients::parse(identities.recipients()).unwrap();
        (identities, recipients)
    }

    #[test]
    fn each_of_several_recipients_opens_what_was_sealed() {
        let (a, b) = (Identities::generate(), Identities::generate());
        let both = Recipients::parse([a.recipients(), b.recipients()].concat()).unwrap();
        let sealed = both.seal(b"values").unwrap();
        assert_eq!(a.open(&sealed).unwrap().as_slice(), b"values");
        assert_eq!(b.open(&sealed).unwrap().as_slice(), b"values");
    }

    #[test]
    fn a_stranger_and_a_cut_and_a_flipped_bit_are_refused() {
        let (owner, recipients) = one();
        let sealed = recipients.seal(&[7; 200_000]).unwrap();
        assert!(matches!(Identities::generate().open(&sealed), Err(SealError::NoMatch)));
        for cut in [0, 10, 150, sealed.len() / 2, sealed.len() - 1] {
            assert!(owner.open(&sealed[..cut]).is_err(), "cut at {cut}");
        }
        let mut flipped = sealed.clone();
        let last = flipped.len() - 1;
        flipped[last] ^= 1;
        assert!(matches!(owner.open(&flipped), Err(SealError::Damaged(_))));
    }

    #[test]
    fn an_identity_file_is_read_back_and_never_quoted_when_bad() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.txt");
        let identities = Identities::generate();
        std::fs::write(&path, identities.to_file_text().as_bytes()).unwrap();
        assert_eq!(Identities::load(&path, || None).unwrap().recipients(), identities.recipients());
        std::fs::write(&path, "AGE-SECRET-KEY-1QQQ").unwrap();
        let error = Identities::load(&path, || None).err().unwrap().to_string();
        assert!(error.contains("line 1") && !error.contains("1QQQ"), "{error}");
    }

    #[test]
    fn a_protected_identity_file_asks_for_pinned_work_and_tells_wrong_from_missing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.age");
        let identities = Identities::generate();
        let sealed = identities.to_protected_file(SecretString::from("open sesame".to_owned())).unwrap();
        let header = String::from_utf8_lossy(&sealed[..120]).into_owned();
        let stanza = header.lines().find(|line| line.starts_with("-> scrypt")).unwrap();
        assert!(stanza.ends_with(&format!(" {SCRYPT_WORK_FACTOR}")), "{stanza}");
        std::fs::write(&path, &sealed).unwrap();
        let with = |phrase: &str| Identities::load(&path, || Some(SecretString::from(phrase.to_owned())));
        assert_eq!(with("open sesame").unwrap().recipients(), identities.recipients());
        assert!(matches!(with("open says me"), Err(SealError::WrongPassphrase { .. })));
        assert!(matches!(Identities::load(&path, || None), Err(SealError::Passphrase { .. })));
        // More work than the limit is refused before any of it is done.
        let heavy = header.replace(stanza, &stanza.replace(" 18", " 23"));
        std::fs::write(&path, [heavy.as_bytes(), &sealed[120..]].concat()).unwrap();
        assert!(matches!(with("open sesame"), Err(SealError::TooMuchWork { .. })));
    }

    #[test]
    fn what_is_opened_is_shown_to_the_witness_and_to_no_other() {
        let (owner, recipients) = one();
        let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
        let ears = Arc::clone(&seen);
        let owner = owner.witnessed(Arc::new(move |bytes| ears.lock().unwrap().push(bytes.to_vec())));
        let sealed = recipients.seal(b"values").unwrap();
        owner.unwitnessed().open(&sealed).unwrap();
        assert!(seen.lock().unwrap().is_empty());
        owner.open(&sealed).unwrap();
        assert_eq!(*seen.lock().unwrap(), [b"values".to_vec()]);
    }

    #[test]
    fn a_duplicate_recipient_counts_once_and_none_is_an_error() {
        let name = Identities::generate().recipients().remove(0);
        assert_eq!(Recipients::parse([&name, &name]).unwrap().count(), 1);
        assert!(matches!(Recipients::parse(Vec::<String>::new()), Err(SealError::NoRecipient)));
    }
}
