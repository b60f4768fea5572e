//! What the faults of a bundle mean to the operator.

use crate::bundle::catalog::FindError;
use crate::bundle::{BundleError, BundleFault};
use crate::crypt::seal::SealError;
use crate::crypt::sign::SignError;

use super::{CommandError, Exit, crypt, store};

impl From<BundleError> for CommandError {
    fn from(error: BundleError) -> Self {
        let (exit, hints) = advice(&error.bundle, &error.fault);
        let command = Self::new(exit, error.to_string()).because(Cause(error));
        hints.into_iter().fold(command, Self::hint)
    }
}

/// Stands for the error in the chain of causes without saying its words again.
#[derive(Debug)]
struct Cause(BundleError);

impl std::fmt::Display for Cause {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Ok(())
    }
}

impl std::error::Error for Cause {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.0)
    }
}

fn advice(bundle: &str, fault: &BundleFault) -> (Exit, Vec<String>) {
    let other_copy = "Take another copy of this bundle, or an older one: `dr bundle list`.";
    match fault {
        BundleFault::TooNew { writer, .. } => (Exit::Format, vec![format!("Use dr {writer} or newer for this bundle.")]),
        BundleFault::NotABundle(_) => (
            Exit::Damaged,
            vec!["A bundle is the .tar file as `dr bundle create` published it, neither unpacked nor packed anew.".into()],
        ),
        BundleFault::Truncated(_) => (Exit::Damaged, vec![format!("The copy was probably interrupted: copy it again. {other_copy}")]),
        BundleFault::Layout { .. } => {
            (Exit::Damaged, vec![format!("dr did not write this; nothing of it was unpacked. {other_copy}")])
        }
        BundleFault::Damaged { .. } | BundleFault::Json { .. } | BundleFault::NoMember(_) => (Exit::Damaged, vec![other_copy.into()]),
        BundleFault::Database(_) => (
            Exit::Damaged,
            vec![format!("The bundle is whole, but PostgreSQL could not be restored from it. {other_copy}")],
        ),
        BundleFault::Unsigned => (
            Exit::Untrusted,
            vec!["Whoever holds a public key can make such a file, and restoring it runs what is in it. `--any-signer` takes it all the same.".into()],
        ),
        BundleFault::Untrusted(error) => {
            let (exit, mut hints) = crypt::sign_advice(error);
            match error {
                SignError::BadSignature(_) | SignError::Mismatch { .. } => hints.push(other_copy.into()),
                SignError::Unknown { fingerprint, file } => hints = crypt::unknown_signer(fingerprint, file),
                _ => {}
            }
            (exit, hints)
        }
        BundleFault::Sealed { source, .. } => {
            let (exit, mut hints) = crypt::seal_advice(source);
            if matches!(source, SealError::NoMatch) {
                hints.insert(0, format!("`dr bundle show {bundle}` lists the recipients that it opens for."));
            }
            (exit, hints)
        }
        BundleFault::Sign(error) => crypt::sign_advice(error),
        BundleFault::Store(error) => store::advice(error),
        BundleFault::Cancelled => (Exit::Interrupted, vec!["The same command begins anew.".into()]),
        BundleFault::NoItem(_) => (Exit::NotFound, Vec::new()),
        BundleFault::Output(_) => (Exit::Failure, vec!["Nothing of it is kept in a file. Give another place with --out.".into()]),
        BundleFault::Refused { .. } => (
            Exit::Stream,
            vec!["Nothing was published. Run it again; if it comes back, the stream from the cluster is at fault.".into()],
        ),
    }
}

impl From<FindError> for CommandError {
    fn from(error: FindError) -> Self {
        let hint = match &error {
            FindError::NoBundle { newest: Some(newest), .. } => {
                format!("The newest one is {newest}; `dr bundle list` shows all.")
            }
            FindError::NoBundle { newest: None, .. } => {
                "The store is empty: `dr bundle create` makes the first one.".into()
            }
            FindError::Ambiguous { .. } => "Give more of the name.".into(),
        };
        let exit = if matches!(error, FindError::Ambiguous { .. }) { Exit::Usage } else { Exit::NotFound };
        Self::new(exit, error.to_string()).hint(hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::FormatVersion;
    use crate::store::StoreError;

    fn command(fault: BundleFault) -> CommandError {
        fault.of("b-1").into()
    }

    fn unknown() -> SignError {
        SignError::Unknown { fingerprint: "SHA256:x".into(), file: "signers".into() }
    }

    #[test]
    fn each_fault_has_its_exit_code_and_a_way_out() {
        let member = || "db/base/000001.tar.zst.age".to_owned();
        let full = StoreError::Full { object: "b-1".into(), place: "/x".into(), written: 5 };
        for (fault, exit) in [
            (BundleFault::TooNew { found: FormatVersion { major: 2, minor: 0 }, writer: "9.9.9".into() }, Exit::Format),
            (BundleFault::NotABundle("x".into()), Exit::Damaged),
            (BundleFault::Truncated("in x".into()), Exit::Damaged),
            (BundleFault::Layout { member: member(), reason: "x".into() }, Exit::Damaged),
            (BundleFault::damaged(member(), "x"), Exit::Damaged),
            (BundleFault::Database("x".into()), Exit::Damaged),
            (BundleFault::Unsigned, Exit::Untrusted),
            (BundleFault::Untrusted(unknown()), Exit::Untrusted),
            (BundleFault::Sealed { member: member(), source: SealError::NoMatch }, Exit::Keys),
            (BundleFault::Sealed { member: member(), source: SealError::Damaged("x".into()) }, Exit::Damaged),
            (BundleFault::Store(full), Exit::Space),
            (BundleFault::Cancelled, Exit::Interrupted),
            (BundleFault::Refused { member: member(), reason: "x".into() }, Exit::Stream),
        ] {
            let command = command(fault);
            assert_eq!(command.exit(), exit, "{command}");
            assert!(command.message().starts_with("bundle b-1: "), "{command}");
            assert!(!command.hints().is_empty(), "{command}");
        }
    }

    #[test]
    fn a_signature_that_is_damaged_leads_to_another_copy_and_a_wrong_key_to_the_recipients_of_this_bundle() {
        let mismatch = SignError::Mismatch { principal: "ops".into() };
        for fault in [SignError::BadSignature("x".into()), mismatch] {
            let command = command(BundleFault::Untrusted(fault));
            assert_eq!(command.exit(), Exit::Untrusted);
            assert!(command.hints().iter().any(|hint| hint.contains("another copy")), "{:?}", command.hints());
        }
        let unknown = command(BundleFault::Untrusted(unknown()));
        assert!(!unknown.hints().iter().any(|hint| hint.contains("another copy")), "{:?}", unknown.hints());
        for flag in ["`keys.trusted_signers`", "namespaces=\"dr-bundle@v1", "--trusted-signers", "--trust-key SHA256:x"]
        {
            assert!(unknown.hints().iter().any(|hint| hint.contains(flag)), "{flag}: {:?}", unknown.hints());
        }
        let sealed = BundleFault::Sealed { member: "config/values.yaml.age".into(), source: SealError::NoMatch };
        assert!(command(sealed).hints()[0].contains("`dr bundle show b-1`"));
    }

    #[test]
    fn the_whole_chain_reads_as_one_sentence() {
        let fault = BundleFault::Sealed { member: "config/values.yaml.age".into(), source: SealError::NoMatch };
        let text = "bundle b-1: config/values.yaml.age cannot be opened: none of the identities at hand opens it";
        assert_eq!(command(fault).to_string(), text);
        let full = StoreError::Full { object: "b-1".into(), place: "/x".into(), written: 5 };
        let text = "bundle b-1: its store refused: store /x is full; b-1 was not stored (5 bytes were)";
        assert_eq!(command(BundleFault::Store(full)).to_string(), text);
    }
}
