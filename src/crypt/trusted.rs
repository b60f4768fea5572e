//! Whose signatures are believed.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use ssh_key::public::KeyData;
use ssh_key::{HashAlg, LineEnding, PublicKey, SshSig};

use super::allowed::{self, AllowedEntry};
use super::sign::SignError;

use crate::clock;
use crate::ownership::{FileUse, others_can};
use crate::read;

/// Who signed, as the file of trusted signers names them.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct SignedBy {
    /// The principal of the line that holds the key.
    pub principal: String,
    /// `SHA256:...` of the key.
    pub fingerprint: String,
}
/// Whose signatures are trusted.
#[derive(Debug, Clone, Default)]
pub struct TrustedSigners {
    entries: Vec<AllowedEntry>,
    /// Never believed, whenever they have signed.
    revoked: Vec<KeyData>,
    /// Lines that were not understood, for people.
    skipped: Vec<String>,
    /// `SHA256:...` of a key that a person vouches for, whatever the file says of it.
    vouched: Option<String>,
    /// When what has these SHA-256 was signed, where that is known otherwise.
    dates: HashMap<String, Timestamp>,
    /// SHA-256 of what was read.
    digest: String,
    /// What people call the file that was read.
    file: String,
}

impl TrustedSigners {
    /// Reads a file in OpenSSH's allowed-signers format: a line holds principals, options (`namespaces=`,
    /// `valid-after=`, `valid-before=`), and a key. As ssh-keygen does, it skips lines that it does not understand, and
    /// those marked `cert-authority`: they trust nobody here, and [`TrustedSigners::skipped`] tells of them.
    ///
    /// # Errors
    /// `ReadSigners`, or `OpenSigners` when others may write to it.
    pub fn load(path: &Path) -> Result<Self, SignError> {
        let failed = |source| SignError::ReadSigners { path: path.display().to_string(), source };
        Ok(Self::parse(&read_trusted(path, failed)?, &path.display().to_string()))
    }

    /// The same from `text`; `name` is what people call it.
    pub fn parse(text: &str, name: &str) -> Self {
        let (entries, skipped) = allowed::parse(text);
        let skipped = skipped.into_iter().map(|(line, reason)| format!("{name}, line {line}, trusts nobody: {reason}"));
        let (digest, file) = (hex::encode(Sha256::digest(text)), name.to_owned());
        Self { entries, skipped: skipped.collect(), digest, file, ..Self::default() }
    }

    /// The same without the keys of a file of revoked ones: one public key a line, as in an `authorized_keys` file.
    ///
    /// # Errors
    /// `ReadRevoked`, `OpenSigners`, or `BadRevoked` with the line that cannot be read: it may revoke anybody.
    pub fn without_revoked(mut self, path: &Path) -> Result<Self, SignError> {
        let name = path.display().to_string();
        let text = read_trusted(path, |source| SignError::ReadRevoked { path: name.clone(), source })?;
        let bad = |(line, reason)| SignError::BadRevoked { path: name, line, reason };
        self.revoked = allowed::parse_revoked(&text).map_err(bad)?;
        self.digest = hex::encode(Sha256::digest(format!("{}{text}", self.digest)));
        Ok(self)
    }

    /// The same, and the one key with this fingerprint (`SHA256:...`), for which a person vouches.
    #[must_use]
    pub fn vouching(self, fingerprint: Option<String>) -> Self {
        Self { vouched: fingerprint, ..self }
    }

    /// The same, knowing when what has these SHA-256 was signed: a key that has ended since was good then.
    #[must_use]
    pub fn dated(self, dates: HashMap<String, Timestamp>) -> Self {
        Self { dates, ..self }
    }

    /// Whether the key of some line has ended by now.
    pub fn has_ended(&self) -> bool {
        let now = clock::now();
        self.entries.iter().any(|entry| entry.ended(now).is_some())
    }

    /// Whether no line lets whoever signed do so in `namespace` any more, and nobody vouches for the key.
    pub fn is_over(&self, namespace: &str, by: &SignedBy) -> bool {
        let now = clock::now();
        let of_it = |entry: &&AllowedEntry| fingerprint_of(&entry.key) == by.fingerprint;
        let good = self.entries.iter().filter(of_it).any(|entry| entry.allows(namespace, now).is_ok());
        !good && self.vouched.as_ref() != Some(&by.fingerprint)
    }

    /// The lines that were not understood.
    pub fn skipped(&self) -> &[String] {
        &self.skipped
    }

    /// What people call the file.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Tells the file that this was read from, as it was then, from any other.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Checks that `armored` is a signature over `bytes`, made for `namespace` by a key that is trusted for it now, or was
    /// at the date that is known of these bytes.
    ///
    /// # Errors
    /// `BadSignature`, `Unknown`, `NotForThis` or `Mismatch`.
    pub fn verify(&self, namespace: &str, bytes: &[u8], armored: &[u8]) -> Result<SignedBy, SignError> {
        match self.verify_at(namespace, bytes, armored, clock::now()) {
            Err(ended @ SignError::Ended { .. }) => match self.dates.get(&hex::encode(Sha256::digest(bytes))) {
                Some(signed) => self.verify_at(namespace, bytes, armored, *signed),
                None => Err(ended),
            },
            verified => verified,
        }
    }

    /// The same for a signature made at `now`: what git does with a commit, whose key may have been retired since.
    ///
    /// # Errors
    /// As [`TrustedSigners::verify`].
    pub fn verify_at(
        &self,
        namespace: &str,
        bytes: &[u8],
        armored: &[u8],
        now: Timestamp,
    ) -> Result<SignedBy, SignError> {
        let signature = decode(armored)?;
        let fingerprint = fingerprint_of(signature.public_key());
        if self.revoked.contains(signature.public_key()) {
            return Err(SignError::Revoked { fingerprint });
        }
        let vouched = self.vouched.as_ref() == Some(&fingerprint);
        let mut refused = None;
        for entry in self.entries.iter().filter(|entry| &entry.key == signature.public_key()) {
            let principal = entry.principals.clone();
            if let Err(reason) =
                entry.allows(namespace, now).or_else(|reason| if vouched { Ok(()) } else { Err(reason) })
            {
                let fingerprint = fingerprint.clone();
                refused = Some(match entry.ended(now) {
                    Some(until) if entry.allows(namespace, until).is_ok() => {
                        SignError::Ended { fingerprint, principal, until }
                    }
                    _ => SignError::NotForThis { fingerprint, principal, reason },
                });
                continue;
            }
            return fits(&signature, namespace, bytes, principal, fingerprint);
        }
        if vouched {
            return fits(&signature, namespace, bytes, fingerprint.clone(), fingerprint);
        }
        // One that is not even the named key's own is damaged: nobody is to be asked whether that key is to be trusted.
        let named = || fits(&signature, namespace, bytes, fingerprint.clone(), fingerprint.clone());
        let unknown = |by: SignedBy| SignError::Unknown { fingerprint: by.fingerprint, file: self.file.clone() };
        Err(refused.unwrap_or_else(|| named().map_or_else(|e| e, unknown)))
    }

    /// Checks that `armored` is a signature over `bytes` by the key that it names itself, whoever holds that, unless it is
    /// revoked. It proves that nothing was changed since, not who signed. Returns the key's `SHA256:...`.
    ///
    /// # Errors
    /// `BadSignature`, `Revoked` or `Mismatch`.
    pub fn verify_claimed(&self, namespace: &str, bytes: &[u8], armored: &[u8]) -> Result<String, SignError> {
        let fingerprint = fingerprint_of(decode(armored)?.public_key());
        self.clone().vouching(Some(fingerprint)).verify(namespace, bytes, armored).map(|by| by.fingerprint)
    }
}

/// Whether the signature is over these bytes; `principal` is whose key it is.
fn fits(
    signature: &SshSig,
    namespace: &str,
    bytes: &[u8],
    principal: String,
    fingerprint: String,
) -> Result<SignedBy, SignError> {
    match PublicKey::new(signature.public_key().clone(), "").verify(namespace, bytes, signature) {
        Ok(()) => Ok(SignedBy { principal, fingerprint }),
        Err(_) => Err(SignError::Mismatch { principal }),
    }
}

/// Reads a file that says whom to trust.
fn read_trusted(path: &Path, failed: impl Fn(io::Error) -> SignError) -> Result<String, SignError> {
    if let Some(others) = others_can(path, FileUse::Trust).map_err(&failed)? {
        return Err(SignError::OpenSigners { path: path.display().to_string(), others });
    }
    // A name that somebody wrote in another encoding is no reason to trust nobody; keys are ASCII.
    Ok(String::from_utf8_lossy(&read::file(path, read::SMALL).map_err(failed)?).into_owned())
}

/// Reads an armored signature that is written the one right way. The library lets some wrong lengths pass, so that a
/// changed signature could still be good; what it makes of the parsed one must be what was read, line breaks aside.
fn decode(armored: &[u8]) -> Result<SshSig, SignError> {
    let bad = |reason: String| SignError::BadSignature(reason);
    if let Some(kind) = [("PGP ", "with GPG"), ("SIGNED MESSAGE", "with a certificate (S/MIME)")].into_iter().find_map(
        |(mark, kind)| armored.trim_ascii_start().starts_with(format!("-----BEGIN {mark}").as_bytes()).then_some(kind),
    ) {
        return Err(SignError::OtherKind(format!("{kind}, and dr takes SSH signatures only")));
    }
    let signature = SshSig::from_pem(armored).map_err(|e| bad(e.to_string()))?;
    let again = signature.to_pem(LineEnding::LF).map_err(|e| bad(e.to_string()))?;
    let body = |bytes: &[u8]| bytes.iter().copied().filter(|b| !matches!(b, b'\n' | b'\r')).collect::<Vec<u8>>();
    if body(armored) != body(again.as_bytes()) {
        return Err(bad("it is not written as signatures are".into()));
    }
    match signature.public_key() {
        KeyData::Ed25519(_) | KeyData::SkEd25519(_) => Ok(signature),
        other => {
            let kind = other.algorithm();
            let text = format!("by {}, an {kind} key, and dr takes ssh-ed25519 keys only", fingerprint_of(other));
            Err(SignError::OtherKind(text))
        }
    }
}

fn fingerprint_of(key: &KeyData) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::sign::Signer;
    use super::*;

    const SPACE: &str = "dr-bundle@v1";

    fn trusting(signer: &Signer) -> TrustedSigners {
        TrustedSigners::parse(&signer.trust_line("backup@host", &[SPACE]), "test")
    }

    #[test]
    fn a_good_signature_of_another_kind_is_not_called_forged() {
        let ecdsa = "-----BEGIN SSH SIGNATURE-----
U1NIU0lHAAAAAQAAAGgAAAATZWNkc2Etc2hhMi1uaXN0cDI1NgAAAAhuaXN0cDI1NgAAAE
EE4kO8YqWmIVIYGTeRtd453/NxuMxIia3Bq5DQxmeBJkKumf5El5BKF83vqv08A9MXt8fD
Qsfs9RkWv+Ty7DhaUQAAAAxkci1idW5kbGVAdjEAAAAAAAAABnNoYTUxMgAAAGMAAAATZW
Nkc2Etc2hhMi1uaXN0cDI1NgAAAEgAAAAgUjpk3mjwnzH2f5Y7Vnpx5zSt/PUdPHm64dkZ
YddyuU4AAAAgDykRn8g6j2moBsDxcaOuL4Vt76lQBB3aawIu29El/UU=
-----END SSH SIGNATURE-----
";
        let gpg = "-----BEGIN PGP SIGNATURE-----\n\niHUEABYK\n-----END PGP SIGNATURE-----\n";
        for (signature, said) in
            [(ecdsa, "ecdsa-sha2-nistp256 key, and dr takes ssh-ed25519 keys only"), (gpg, "with GPG, and dr takes")]
        {
            for text in [TrustedSigners::default().verify(SPACE, b"x", signature.as_bytes()).map(drop)]
                .into_iter()
                .chain([TrustedSigners::default().verify_claimed(SPACE, b"x", signature.as_bytes()).map(drop)])
            {
                let text = text.unwrap_err().to_string();
                assert!(text.starts_with("it was signed ") && text.contains(said), "{text}");
            }
        }
    }

    #[test]
    fn another_key_another_namespace_and_another_time_are_not_trusted() {
        let (signer, stranger) = (Signer::generate("a").unwrap(), Signer::generate("b").unwrap());
        let trusted = trusting(&signer);
        let foreign = stranger.sign(SPACE, b"x").unwrap();
        assert!(matches!(trusted.verify(SPACE, b"x", foreign.as_bytes()), Err(SignError::Unknown { .. })));
        let damaged = trusted.verify(SPACE, b"y", foreign.as_bytes());
        assert!(matches!(damaged, Err(SignError::Mismatch { .. })), "no stranger's, but damaged: {damaged:?}");
        let elsewhere = signer.sign("git", b"x").unwrap();
        assert!(matches!(trusted.verify("git", b"x", elsewhere.as_bytes()), Err(SignError::NotForThis { .. })));
        assert!(matches!(trusted.verify(SPACE, b"x", elsewhere.as_bytes()), Err(SignError::Mismatch { .. })));
        let line = format!("a valid-before=\"20260101Z\" {}", signer.public_key());
        let dated = TrustedSigners::parse(&line, "test");
        let signature = signer.sign(SPACE, b"x").unwrap();
        let check = |time: &str| dated.verify_at(SPACE, b"x", signature.as_bytes(), time.parse().unwrap());
        assert!(check("2025-12-31T23:59:59Z").is_ok());
        assert!(check("2026-01-01T00:00:01Z").unwrap_err().to_string().contains("until 2026-01-01"));
    }

    #[test]
    fn no_text_that_is_not_a_signature_is_taken_for_one() {
        let signer = Signer::generate("a").unwrap();
        let good = signer.sign(SPACE, b"x").unwrap().into_bytes();
        let trusted = trusting(&signer);
        for at in 0..good.len() - 1 {
            let mut bad = good.clone();
            bad[at] ^= 0x20;
            assert!(trusted.verify(SPACE, b"x", &bad).is_err(), "flipped byte {at}");
            assert!(trusted.verify(SPACE, b"x", &good[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_key_that_has_ended_is_believed_when_a_person_vouches_for_it_and_a_revoked_one_never() {
        let signer = Signer::generate("backup@host").unwrap();
        let line = format!("backup@host namespaces=\"{SPACE}\",valid-before=\"20260101Z\" {}", signer.public_key());
        let trusted = TrustedSigners::parse(&line, "test");
        let signature = signer.sign(SPACE, b"manifest").unwrap();
        let verify = |trusted: &TrustedSigners| trusted.verify(SPACE, b"manifest", signature.as_bytes());
        let error = verify(&trusted).unwrap_err();
        assert!(matches!(error, SignError::Ended { .. }), "{error}");
        let known = |of: &[u8], at: &str| HashMap::from([(hex::encode(Sha256::digest(of)), at.parse().unwrap())]);
        assert!(verify(&trusted.clone().dated(known(b"manifest", "2025-12-31T00:00:00Z"))).is_ok(), "good then");
        for (of, at) in [(&b"manifest"[..], "2026-01-02T00:00:00Z"), (b"other", "2025-12-31T00:00:00Z")] {
            let error = verify(&trusted.clone().dated(known(of, at))).unwrap_err();
            assert!(matches!(error, SignError::Ended { .. }), "{error}");
        }
        assert!(verify(&trusted.clone().vouching(Some(signer.fingerprint()))).is_ok());
        assert!(verify(&trusted.clone().vouching(Some("SHA256:other".into()))).is_err());
        let nobody = TrustedSigners::default().vouching(Some(signer.fingerprint()));
        assert_eq!(verify(&nobody).unwrap().principal, signer.fingerprint());
        assert!(
            nobody.verify(SPACE, b"manifesT", signature.as_bytes()).is_err(),
            "its signature must fit all the same"
        );
        let folder = tempfile::tempdir().unwrap();
        let revoked = folder.path().join("revoked");
        std::fs::write(&revoked, format!("# stolen\n{}\n", signer.public_key())).unwrap();
        let error = verify(&nobody.without_revoked(&revoked).unwrap()).unwrap_err();
        assert!(matches!(error, SignError::Revoked { .. }), "nobody vouches for a revoked key: {error}");
        let anybody = |who: &TrustedSigners| who.verify_claimed(SPACE, b"manifest", signature.as_bytes());
        assert_eq!(anybody(&TrustedSigners::default()).unwrap(), signer.fingerprint());
        let error = anybody(&TrustedSigners::default().without_revoked(&revoked).unwrap()).unwrap_err();
        assert!(matches!(error, SignError::Revoked { .. }), "anybody's but a revoked key's: {error}");
        let missing = trusted.clone().without_revoked(&folder.path().join("nothing")).unwrap_err();
        assert!(missing.to_string().starts_with("read revoked signers "), "{missing}");
        std::fs::write(&revoked, "stolen\n").unwrap();
        assert!(matches!(trusted.without_revoked(&revoked), Err(SignError::BadRevoked { line: 1, .. })));
    }

    #[test]
    fn a_file_of_trust_that_others_may_write_to_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("allowed");
        std::fs::write(&path, "").unwrap();
        for (mode, fits) in [(0o644, true), (0o600, true), (0o664, false), (0o646, false)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let loaded = TrustedSigners::load(&path);
            assert_eq!(loaded.is_ok(), fits, "{mode:o}");
            assert!(fits || matches!(loaded, Err(SignError::OpenSigners { .. })));
        }
    }
}
