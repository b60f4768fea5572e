//! What the errors of keys and signatures mean to the operator.

use std::io::ErrorKind;

use crate::bundle::HOST_NAMESPACES;
use crate::crypt::seal::SealError;
use crate::crypt::sign::SignError;
use crate::crypt::trust_line;
use crate::ownership::{FolderRisk, OthersCan};

use super::{CommandError, Exit};

impl From<SealError> for CommandError {
    fn from(error: SealError) -> Self {
        let (exit, hints) = seal_advice(&error);
        let mut command = Self::new(exit, error.to_string());
        if let SealError::ReadIdentity { source, .. } | SealError::Seal(source) = error {
            command = command.because(source);
        }
        hints.into_iter().fold(command, Self::hint)
    }
}

impl From<SignError> for CommandError {
    fn from(error: SignError) -> Self {
        let (exit, hints) = sign_advice(&error);
        let mut command = Self::new(exit, error.to_string());
        if let SignError::ReadKey { source, .. }
        | SignError::WriteKey { source, .. }
        | SignError::ReadSigners { source, .. }
        | SignError::ReadRevoked { source, .. } = error
        {
            command = command.because(source);
        }
        hints.into_iter().fold(command, Self::hint)
    }
}

/// How another key is named, also to verbs that have no flag for it.
const OTHER_FILE: &str =
    "Another file is named with --identity, where the verb has it, else as `identity` under [keys] in dr.toml.";

/// The exit code and the ways out of a failure to seal or open.
pub(super) fn seal_advice(error: &SealError) -> (Exit, Vec<String>) {
    let hint = match error {
        SealError::ReadIdentity { source, .. } if source.kind() == ErrorKind::Interrupted => {
            return (Exit::Interrupted, Vec::new());
        }
        SealError::BadRecipient(_) => "A recipient is the public key that `age-keygen -y KEYFILE` prints.".to_owned(),
        SealError::NoRecipient => "Name at least one recipient in dr.toml; two (operator and escrow) are better.".to_owned(),
        SealError::ReadIdentity { path, .. } => format!("Look at `ls -l {path}`. {OTHER_FILE}"),
        SealError::BadIdentity { .. } => "An identity file is what `age-keygen -o KEYFILE` writes.".to_owned(),
        SealError::OpenIdentity { path, others } => make_own(path, others),
        SealError::Passphrase { .. } => {
            "Run it at a terminal, where it is asked for, or put it into a file of yours alone and name that with --passphrase-file.".to_owned()
        }
        SealError::WrongPassphrase { .. } => "Nothing was opened. Try again; letters, spaces and case count.".to_owned(),
        SealError::TooMuchWork { path } => {
            format!("Protect the identity anew: `age -d {path} | age -p` on a machine of your own, or `dr init --passphrase`.")
        }
        SealError::NoMatch => {
            format!("`age-keygen -y KEYFILE` tells which key you hold. {OTHER_FILE}")
        }
        SealError::Damaged(_) => return (Exit::Damaged, vec!["Take another copy; this one is not what was written.".into()]),
        SealError::Seal(_) => return (Exit::Failure, Vec::new()),
    };
    (Exit::Keys, vec![hint])
}

/// How to make a file of keys or of trust one's own.
pub fn make_own(path: &str, others: &OthersCan) -> String {
    match others {
        OthersCan::Read(_) => format!("`chmod 600 {path}`, if nobody else has read it."),
        OthersCan::Write(_) => format!("Look at what is in it, whoever wrote it; then `chmod go-w {path}`."),
        OthersCan::Own(_) => format!(
            "Look at what is in it, whoever wrote it; then, as root, `chown USER {path}` to the user of this command, or name a copy of your own: `install -m 600 {path} COPY`."
        ),
        OthersCan::Replace { folder, risk } => {
            let close = match risk {
                FolderRisk::Owner(_) => format!("as root, `chown root {folder}`"),
                FolderRisk::Mode(_) => format!("`chmod go-w {folder}`"),
            };
            format!(
                "Look at what is in it, whoever put it there; then {close}, or name a copy in a folder of yours alone."
            )
        }
    }
}

/// What a line of a file of trusted signers looks like.
pub fn trust_form() -> String {
    trust_line("NAME", HOST_NAMESPACES, "ssh-ed25519 AAAA...")
}

/// The command by which this host trusts another one, in words that follow "If ...: ".
pub fn trust_command(file: &str) -> String {
    let line = trust_line("NAME", HOST_NAMESPACES, "KEY");
    format!("`echo '{line}' >> {file}`, with NAME for that host and the KEY of its `signing_key.pub`")
}

/// The ways out of a bundle that a key has signed which is not trusted here.
pub(super) fn unknown_signer(fingerprint: &str, file: &str) -> Vec<String> {
    vec![
        format!(
            "If {fingerprint} is the key of one of your hosts: --trusted-signers FILE names that host's `allowed_signers`; or trust it in this host's file (`keys.trusted_signers` in dr.toml): {}.",
            trust_command(file)
        ),
        format!("For this time only: --trust-key {fingerprint} takes this one key's signature, too."),
    ]
}

/// The exit code and the ways out of a failure to sign or to trust.
pub(super) fn sign_advice(error: &SignError) -> (Exit, Vec<String>) {
    match error {
        SignError::ReadKey { path, .. } | SignError::WriteKey { path, .. } => {
            (Exit::Keys, vec![format!("Look at `ls -l {path}`; `dr init` makes a signing key where there is none.")])
        }
        SignError::BadKey { path, .. } => {
            (Exit::Keys, vec![format!("`ssh-keygen -t ed25519 -N '' -f {path}` makes a key that fits.")])
        }
        SignError::ReadSigners { path, source } => {
            let form =
                format!("{path} is in the format of ssh-keygen(1), ALLOWED SIGNERS; a line is `{}`.", trust_form());
            let made = "`dr init` makes the file of the settings again, with this host's own key in it.".to_owned();
            (Exit::Keys, if source.kind() == ErrorKind::NotFound { vec![made, form] } else { vec![form] })
        }
        SignError::OpenKey { path, others } | SignError::OpenSigners { path, others } => {
            (Exit::Keys, vec![make_own(path, others)])
        }
        SignError::ReadRevoked { .. } | SignError::BadRevoked { .. } => (
            Exit::Keys,
            vec!["The file of `keys.revoked_signers` holds one public key a line: `ssh-ed25519 AAAA...`; no other kind of list is read.".into()],
        ),
        SignError::Revoked { .. } => (
            Exit::Untrusted,
            vec!["Whoever has that key may have made it. `keys.revoked_signers` names the file that says so.".into()],
        ),
        SignError::Ended { fingerprint, .. } => (
            Exit::Untrusted,
            vec![format!(
                "If you know that it was made before that day: --trust-key {fingerprint} takes this one key's signature."
            )],
        ),
        SignError::Sign(_) => (Exit::Failure, Vec::new()),
        SignError::OtherKind(_) | SignError::BadSignature(_) | SignError::Mismatch { .. } => {
            (Exit::Untrusted, vec!["Do not use it: it was changed after it was signed, or on its way here.".into()])
        }
        SignError::Unknown { fingerprint, file } => (
            Exit::Untrusted,
            vec![format!(
                "If you know that {fingerprint} is the key of one of your hosts: {}.",
                trust_command(file)
            )],
        ),
        SignError::NotForThis { .. } => {
            (Exit::Untrusted, vec!["The options of its line in the trusted signers say what it is trusted for.".into()])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn a_wrong_key_is_a_matter_of_keys_and_a_cut_file_of_damage() {
        assert_eq!(CommandError::from(SealError::NoMatch).exit(), Exit::Keys);
        assert_eq!(CommandError::from(SealError::Damaged("x".into())).exit(), Exit::Damaged);
        let slow = SealError::TooMuchWork { path: "/k/escrow".into() };
        assert!(CommandError::from(slow).hints()[0].contains("`age -d /k/escrow | age -p`"));
    }

    #[test]
    fn a_wrong_owner_is_changed_by_chown_and_a_wrong_mode_by_chmod() {
        let folder = |risk| OthersCan::Replace { folder: "/f".into(), risk };
        for (others, has, has_not) in [
            (OthersCan::Read(0o644), "chmod 600 k", "chown"),
            (OthersCan::Write(0o664), "chmod go-w k", "chown"),
            (OthersCan::Own(1001), "chown USER k", "chmod"),
            (folder(FolderRisk::Owner(1001)), "chown root /f", "chmod"),
            (folder(FolderRisk::Mode(0o777)), "chmod go-w /f", "chown"),
        ] {
            let hint = make_own("k", &others);
            assert!(hint.contains(has) && !hint.contains(has_not), "{hint}");
        }
    }

    #[test]
    fn a_foreign_signature_is_untrusted_and_says_whose_it_would_be() {
        let command =
            CommandError::from(SignError::Unknown { fingerprint: "SHA256:abc".into(), file: "/c/signers".into() });
        assert_eq!(command.exit(), Exit::Untrusted);
        let line = "echo 'NAME namespaces=\"dr-bundle@v1,dr-proof@v1,git\" KEY' >> /c/signers";
        assert!(command.hints()[0].contains("SHA256:abc") && command.hints()[0].contains(line), "{command:?}");
        assert_eq!(
            CommandError::from(SignError::OpenKey { path: "k".into(), others: OthersCan::Read(0o644) }).exit(),
            Exit::Keys
        );
        let read = SignError::ReadKey { path: "k".into(), source: io::Error::other("gone") };
        assert_eq!(CommandError::from(read).to_string(), "read signing key k: gone");
    }
}
