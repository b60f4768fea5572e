//! Notes of a reader: what was worked out from sealed values and is worth keeping, on this host alone.
//!
//! A note lies in the git folder (`dr/NAME.age`), is in no commit and goes to no remote. It is sealed to the very
//! identities that opened the values, so it tells nobody anything new; and it is signed with the vault's fingerprint
//! key, so that nobody else can have written it. It may be deleted at any time: it is worked out again.

use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::error::VaultError;
use super::git::Git;
use super::handle::Vault;
use crate::crypt::{Identities, Recipients};

/// How many bytes of a note are its proof.
const PROOF: usize = 32;

impl Vault {
    /// The note of that name; nothing when there is none that these identities open and somebody who holds the vault's
    /// fingerprint key wrote.
    pub fn note(&self, name: &str, identities: &Identities) -> Option<Zeroizing<Vec<u8>>> {
        let sealed = std::fs::read(self.note_path(name).ok()?).ok()?;
        let opened = identities.open(&sealed).ok()?;
        let (proof, note) = opened.split_at_checked(PROOF)?;
        self.proof(name, note, identities).ok()?.verify_slice(proof).ok()?;
        Some(Zeroizing::new(note.to_vec()))
    }

    /// Keeps a note in the place of an earlier one. A crash leaves the one or the other.
    ///
    /// # Errors
    /// It cannot be sealed or written, or the fingerprint key does not open.
    pub fn keep_note(&self, name: &str, note: &[u8], identities: &Identities) -> Result<(), VaultError> {
        let path = self.note_path(name)?;
        let failed = || VaultError::io(format!("write {}", path.display()));
        let proof = self.proof(name, note, identities)?.finalize().into_bytes();
        let proved = Zeroizing::new([proof.as_slice(), note].concat());
        let own = Recipients::parse(identities.recipients()).map_err(VaultError::seal("seal a note"))?;
        let sealed = own.seal(&proved).map_err(VaultError::seal("seal a note"))?;
        let Some(folder) = path.parent() else { return Ok(()) };
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed())?;
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed())?;
        file.write_all(&sealed).map_err(failed())?;
        file.persist(&path).map_err(|error| failed()(error.error))?;
        Ok(())
    }

    fn note_path(&self, name: &str) -> Result<PathBuf, VaultError> {
        Ok(Git::open(&self.path)?.repo().commondir().join("dr").join(format!("{name}.age")))
    }

    fn proof(&self, name: &str, note: &[u8], identities: &Identities) -> Result<Hmac<Sha256>, VaultError> {
        let key = self.fingerprint_key(&identities.unwitnessed())?;
        let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes())
            .map_err(|error| VaultError::Damaged { what: "fingerprint key".into(), reason: error.to_string() })?;
        // Fingerprints of secrets are made with the same key, and are never of a text that begins so.
        mac.update(b"dr note\0");
        mac.update(name.as_bytes());
        mac.update(b"\0");
        mac.update(note);
        Ok(mac)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::tests::fixture;

    #[test]
    fn a_note_comes_back_to_who_wrote_it_and_a_forged_or_damaged_or_foreign_one_does_not() {
        let f = fixture();
        assert!(f.vault.note("log", &f.identities).is_none());
        f.vault.keep_note("log", b"what was seen", &f.identities).unwrap();
        assert_eq!(f.vault.note("log", &f.identities).unwrap().as_slice(), b"what was seen");
        assert!(f.vault.note("log", &Identities::generate()).is_none(), "sealed");
        let path = f.vault.path().join(".git/dr/log.age");
        let whole = std::fs::read(&path).unwrap();
        assert!(!String::from_utf8_lossy(&whole).contains("seen"));
        std::fs::copy(&path, f.vault.path().join(".git/dr/other.age")).unwrap();
        assert!(f.vault.note("other", &f.identities).is_none(), "under another name");
        let own = Recipients::parse(f.identities.recipients()).unwrap();
        // Anybody can seal to a public key.
        std::fs::write(&path, own.seal(&[&[0; PROOF][..], b"nothing changed"].concat()).unwrap()).unwrap();
        assert!(f.vault.note("log", &f.identities).is_none(), "forged");
        for bad in [&whole[..whole.len() - 1], b"", b"age-encryption.org/v1\n"] {
            std::fs::write(&path, bad).unwrap();
            assert!(f.vault.note("log", &f.identities).is_none());
        }
    }
}
