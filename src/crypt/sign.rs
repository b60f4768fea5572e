//! Signing with SSH keys, and knowing whose signature it is.
//!
//! age does not say who wrote a file: whoever holds a public key can make one. So what must not be forged is signed,
//! in the form that `ssh-keygen -Y sign` writes and `ssh-keygen -Y verify` checks (OpenSSH's `PROTOCOL.sshsig`).
//! Keys are ed25519. Whom to trust stands in a file of OpenSSH's own kind (`ssh-keygen(1)`, ALLOWED SIGNERS).

use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rand::TryRngCore;
use ssh_key::private::Ed25519Keypair;
use ssh_key::{Algorithm, HashAlg, LineEnding, PrivateKey};
use zeroize::Zeroizing;

use crate::ownership::{FileUse, OthersCan, others_can};
use crate::{read, write};

/// What the signature of a commit of the config vault is made for, as git itself has it.
pub const COMMIT_NAMESPACE: &str = "git";

/// Why signing or checking failed. No variant holds key material.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The private key cannot be read.
    #[error("read signing key {path}")]
    ReadKey {
        path: String,
        #[source]
        source: io::Error,
    },
    /// The private key is none, or of a kind that `dr` does not sign with.
    #[error("signing key {path}: {reason}")]
    BadKey {
        path: String,
        /// What is wrong, without quoting the file.
        reason: String,
    },
    /// Others can read the private key, or put another in its place.
    #[error("signing key {path} {others}")]
    OpenKey { path: String, others: OthersCan },
    /// A new key cannot be written.
    #[error("write signing key {path}")]
    WriteKey {
        path: String,
        #[source]
        source: io::Error,
    },
    /// The random number generator or the signature code refused.
    #[error("make a signature: {0}")]
    Sign(String),
    /// The file of trusted signers cannot be read.
    #[error("read trusted signers {path}")]
    ReadSigners {
        path: String,
        #[source]
        source: io::Error,
    },
    /// The file of revoked signers cannot be read.
    #[error("read revoked signers {path}")]
    ReadRevoked {
        path: String,
        #[source]
        source: io::Error,
    },
    /// Others can write the file or replace it, and have themselves trusted.
    #[error("{path} {others}")]
    OpenSigners { path: String, others: OthersCan },
    /// A line of the file of revoked signers makes no sense.
    #[error("revoked signers {path}, line {line}: {reason}")]
    BadRevoked {
        path: String,
        /// Counted from 1.
        line: usize,
        reason: String,
    },
    /// The signature is not one.
    #[error("the signature cannot be read: {0}")]
    BadSignature(String),
    /// The signature is of a kind that is not taken, whoever made it.
    #[error("it was signed {0}")]
    OtherKind(String),
    /// The key that signed is not in the file of trusted signers.
    #[error("the key that signed it, {fingerprint}, is not among the trusted signers")]
    Unknown {
        /// `SHA256:...` of the key.
        fingerprint: String,
        /// The file of trusted signers.
        file: String,
    },
    /// The key is listed, but not for this use or not for this time.
    #[error("the key that signed it, {fingerprint} ({principal}), is not trusted here: {reason}")]
    NotForThis {
        /// `SHA256:...` of the key.
        fingerprint: String,
        /// Whose key the file says it is.
        principal: String,
        /// Which option of the line forbids it.
        reason: String,
    },
    /// The key was trusted once, and when it signed is not known.
    #[error(
        "the key that signed it, {fingerprint} ({principal}), is trusted until {until}, and when it signed is not known"
    )]
    Ended {
        /// `SHA256:...` of the key.
        fingerprint: String,
        principal: String,
        until: Timestamp,
    },
    /// The key was revoked.
    #[error("the key that signed it, {fingerprint}, was revoked")]
    Revoked {
        /// `SHA256:...` of the key.
        fingerprint: String,
    },
    /// The key is trusted, but the signature is not over these bytes.
    #[error("the signature of {principal} does not fit the signed bytes")]
    Mismatch {
        /// Whose signature it claims to be.
        principal: String,
    },
}

/// A private key that signs.
pub struct Signer(PrivateKey);

impl Signer {
    /// Makes a new ed25519 key; `comment` names its holder and is public.
    ///
    /// # Errors
    /// `Sign` when the machine gives no random bytes.
    pub fn generate(comment: &str) -> Result<Self, SignError> {
        let mut seed = Zeroizing::new([0u8; Ed25519Keypair::BYTE_SIZE / 2]);
        rand::rngs::OsRng.try_fill_bytes(seed.as_mut()).map_err(|e| SignError::Sign(e.to_string()))?;
        let pair = Ed25519Keypair::from_seed(&seed);
        PrivateKey::new(pair.into(), comment).map(Self).map_err(|e| SignError::Sign(e.to_string()))
    }

    /// Reads an OpenSSH private key file. As ssh does, it refuses one that others may read or replace.
    ///
    /// # Errors
    /// `ReadKey`, `OpenKey`, or `BadKey` when it is protected by a passphrase or not ed25519.
    pub fn load(path: &Path) -> Result<Self, SignError> {
        let name = path.display().to_string();
        let failed = |source| SignError::ReadKey { path: name.clone(), source };
        if let Some(others) = others_can(path, FileUse::Secret).map_err(failed)? {
            return Err(SignError::OpenKey { path: name, others });
        }
        let bytes = read::file(path, read::SMALL).map(Zeroizing::new).map_err(failed)?;
        Self::parse(&bytes, &name)
    }

    /// Reads an OpenSSH private key; `name` says in an error where it is from.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn parse(bytes: &[u8], name: &str) -> Result<Self, SignError> {
        let bad = |reason: String| SignError::BadKey { path: name.to_owned(), reason };
        let key = PrivateKey::from_openssh(bytes)
            .map_err(|_| bad("it is not an OpenSSH private key (-----BEGIN OPENSSH PRIVATE KEY-----)".into()))?;
        if key.is_encrypted() {
            return Err(bad("it is protected by a passphrase, and backups must sign without a person".into()));
        }
        if key.algorithm() != Algorithm::Ed25519 {
            return Err(bad(format!("it is of kind {}, and dr signs with ssh-ed25519", key.algorithm())));
        }
        Ok(Self(key))
    }

    /// The private key in OpenSSH's form.
    ///
    /// # Errors
    /// `Sign`.
    pub fn private_text(&self) -> Result<Zeroizing<String>, SignError> {
        self.0.to_openssh(LineEnding::LF).map_err(|e| SignError::Sign(e.to_string()))
    }

    /// Writes the private key (mode 0600) and, beside it, `<path>.pub` (mode 0644), both durable on return. It never
    /// overwrites. A crash leaves the private key without its public half at worst, and `ssh-keygen -y` makes that.
    ///
    /// # Errors
    /// `WriteKey`, also when one of the two exists.
    pub fn save_new(&self, path: &Path) -> Result<(), SignError> {
        let text = self.private_text()?;
        let public = public_half(path);
        if has_bytes(&public) {
            let source = io::ErrorKind::AlreadyExists.into();
            return Err(SignError::WriteKey { path: public.display().to_string(), source });
        }
        write_new(path, 0o600, text.as_bytes())?;
        self.save_public(path)
    }

    /// Writes `<path>.pub` where it is not there, or is empty.
    ///
    /// # Errors
    /// `WriteKey`.
    pub fn save_public(&self, path: &Path) -> Result<(), SignError> {
        let public = public_half(path);
        if has_bytes(&public) {
            return Ok(());
        }
        // One that is empty holds nothing that could be lost.
        let _ = std::fs::remove_file(&public);
        write_new(&public, 0o644, format!("{}\n", self.public_key()).as_bytes())
    }

    /// The public key as one line of an `authorized_keys` file: `ssh-ed25519 AAAA... comment`.
    pub fn public_key(&self) -> String {
        // An ed25519 key always has this text; the fingerprint stands in should the library ever refuse.
        self.0.public_key().to_openssh().unwrap_or_else(|_| self.fingerprint())
    }

    /// A line for a file of trusted signers that trusts this key in `namespaces` only.
    pub fn trust_line(&self, principal: &str, namespaces: &[&str]) -> String {
        trust_line(principal, namespaces, &self.public_key())
    }

    /// The key's comment, where it is one word, such as `ops@host`; else its fingerprint.
    pub fn name(&self) -> String {
        let comment = self.0.comment().to_string();
        let is_word =
            !comment.is_empty() && comment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"@._-".contains(&byte));
        if is_word { comment } else { self.fingerprint() }
    }

    /// `SHA256:...`, as `ssh-keygen -l` shows it.
    pub fn fingerprint(&self) -> String {
        self.0.fingerprint(HashAlg::Sha256).to_string()
    }

    /// Signs `bytes` for use in `namespace`, which keeps a signature made for one purpose from serving another.
    /// Returns the armored signature, ending in a newline.
    ///
    /// # Errors
    /// `Sign` when the library refuses, which it does for an empty namespace.
    pub fn sign(&self, namespace: &str, bytes: &[u8]) -> Result<String, SignError> {
        let failed = |e: ssh_key::Error| SignError::Sign(e.to_string());
        let signature = self.0.sign(namespace, HashAlg::Sha512, bytes).map_err(failed)?;
        signature.to_pem(LineEnding::LF).map_err(failed)
    }
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signer({})", self.fingerprint())
    }
}

fn public_half(path: &Path) -> PathBuf {
    PathBuf::from(format!("{}.pub", path.display()))
}

fn has_bytes(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|meta| meta.len() > 0)
}

fn write_new(path: &Path, mode: u32, bytes: &[u8]) -> Result<(), SignError> {
    write::new_file(path, mode, bytes)
        .map_err(|source| SignError::WriteKey { path: path.display().to_string(), source })
}

/// A line for a file of trusted signers, by which `key` (`ssh-ed25519 AAAA...`) is trusted in `namespaces` only.
pub fn trust_line(principal: &str, namespaces: &[&str], key: &str) -> String {
    format!("{principal} namespaces=\"{}\" {key}", namespaces.join(","))
}

#[cfg(test)]
mod tests {
    use super::super::trusted::TrustedSigners;
    use super::*;
    use std::fs::Permissions;
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;
    use std::process::{Command, Stdio};

    const SPACE: &str = "dr-bundle@v1";

    fn ssh_keygen(args: &[&str], stdin: &[u8]) -> (bool, String) {
        let mut child = Command::new("ssh-keygen")
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(stdin).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        (output.status.success(), text)
    }

    fn trusting(signer: &Signer) -> TrustedSigners {
        TrustedSigners::parse(&signer.trust_line("backup@host", &[SPACE]), "test")
    }

    #[test]
    fn the_real_ssh_keygen_accepts_our_signature() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let signer = Signer::generate("backup@host").unwrap();
        std::fs::write(at("allowed"), signer.trust_line("backup@host", &[SPACE])).unwrap();
        std::fs::write(at("sig"), signer.sign(SPACE, b"manifest").unwrap()).unwrap();
        let args = ["-Y", "verify", "-f", &at("allowed"), "-I", "backup@host", "-n", SPACE, "-s", &at("sig")];
        let (good, text) = ssh_keygen(&args, b"manifest");
        assert!(good, "{text}");
        assert!(!ssh_keygen(&args, b"manifesT").0);
    }

    #[test]
    fn we_accept_a_signature_of_the_real_ssh_keygen_and_read_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let made = ssh_keygen(&["-q", "-t", "ed25519", "-N", "", "-C", "someone", "-f", &at("key")], b"");
        assert!(made.0, "{}", made.1);
        std::fs::write(at("data"), b"manifest").unwrap();
        let signed = ssh_keygen(&["-Y", "sign", "-q", "-f", &at("key"), "-n", SPACE, &at("data")], b"");
        assert!(signed.0, "{}", signed.1);
        let signature = std::fs::read(at("data.sig")).unwrap();
        let trusted = trusting(&Signer::load(Path::new(&at("key"))).unwrap());
        assert_eq!(trusted.verify(SPACE, b"manifest", &signature).unwrap().principal, "backup@host");
        assert!(matches!(trusted.verify(SPACE, b"manifesT", &signature), Err(SignError::Mismatch { .. })));
    }

    #[test]
    fn a_saved_key_is_private_is_read_back_and_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let signer = Signer::generate("me").unwrap();
        signer.save_new(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Signer::load(&path).unwrap().public_key(), signer.public_key());
        assert!(std::fs::read_to_string(folder.path().join("key.pub")).unwrap().ends_with(" me\n"));
        assert!(matches!(signer.save_new(&path), Err(SignError::WriteKey { .. })));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(signer.save_new(&path), Err(SignError::WriteKey { .. })), "another's public half is there");
        assert!(!path.exists(), "no private key beside another's public half");
        std::fs::write(public_half(&path), "").unwrap();
        signer.save_new(&path).unwrap();
        assert!(has_bytes(&public_half(&path)));
    }

    #[test]
    fn a_key_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        Signer::generate("me").unwrap().save_new(&path).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        assert_eq!(
            Signer::load(&path).unwrap_err().to_string().split_once("can be").unwrap().1,
            " read by others (mode 0640)"
        );
    }

    #[test]
    fn a_protected_key_and_a_stranger_kind_are_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        assert!(ssh_keygen(&["-q", "-t", "ed25519", "-N", "secret", "-f", &at("locked")], b"").0);
        assert!(Signer::load(Path::new(&at("locked"))).unwrap_err().to_string().contains("passphrase"));
        // Not ecdsa: once in hundreds of runs such a key was refused in other words.
        assert!(ssh_keygen(&["-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", &at("rsa")], b"").0);
        let error = Signer::load(Path::new(&at("rsa"))).unwrap_err().to_string();
        assert!(error.contains("ssh-ed25519"), "{error}");
    }
}
