//! What a run has proved, as one document that outlives it: beside its journal, and beside the bundle where the store has a
//! place for that.
//!
//! It is signed where this host has a key, over the exact bytes of the file, so that `ssh-keygen -Y verify` checks it. The
//! signature is for the same namespace as a bundle's: neither is ever taken for the other, since a manifest has no
//! [`FORMAT`] in its `format`, and evidence has no members.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Ctx;
use crate::bundle::{BundleReference, PROOF_NAMESPACE, proved_by};
use crate::crypt::sign::SignError;
use crate::error::{CommandError, Exit, Result};
use crate::store::StoreError;
use crate::{read, write};

/// What the document says that it is.
pub const FORMAT: &str = "dr-evidence@v1";
const FILE: &str = "evidence.json";
const SIGNATURE: &str = "evidence.json.sig";

/// The document. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// [`FORMAT`].
    pub format: String,
    pub run: String,
    /// Its verb's word, such as `restore`.
    pub verb: String,
    pub bundle: String,
    /// SHA-256 of the manifest of that bundle: nothing is proved of another one of its name.
    pub manifest_sha256: String,
    /// Who had signed it, if somebody trusted had.
    pub bundle_signer: Option<String>,
    pub opschain_version: String,
    /// The UID of the cluster's `kube-system` namespace.
    pub cluster_uid: String,
    pub namespace: String,
    pub release: String,
    /// How the data came to its place.
    pub strategy: String,
    /// Who ran it, as `user@host`.
    pub by: String,
    pub dr_version: String,
    pub begun: Timestamp,
    /// What was seen, each with what it was held against.
    pub proofs: Vec<ProvedFact>,
    /// What was not seen, in words.
    pub not_proved: Vec<String>,
    /// What the bundle does not hold, so that nothing of it is proved.
    pub not_in_bundle: Vec<String>,
}

/// A thing that was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProvedFact {
    pub what: String,
    /// What it had to be, where it had to be anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wanted: Option<String>,
    pub seen: String,
    /// The step that saw it.
    pub step: String,
    /// When that step was done.
    pub at: Option<Timestamp>,
}

/// The document with where it is and what its signature is worth here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeptEvidence {
    /// Its file on this host, where runs have folders.
    pub file: Option<PathBuf>,
    /// SHA-256 of the file.
    pub sha256: String,
    /// Whose good signature it has, of those that are trusted here.
    pub signed_by: Option<String>,
    /// Why it counts as unsigned, where it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unsigned: Option<String>,
    #[serde(flatten)]
    pub document: Evidence,
}

/// How its notes beside a bundle begin.
const PREFIX: &str = "evidence.";

/// Whether a note of that name beside a bundle is evidence, or its signature.
pub(super) fn is_note(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// Keeps the document beside the run's journal and beside the bundle. May be repeated.
///
/// # Errors
/// The run's folder cannot be written to. Not that the store does not take it, nor that there is no key: both are said.
pub(super) fn keep(ctx: &Ctx, bundle: &BundleReference, document: &Evidence) -> Result<()> {
    let failed = |what: &str, error: std::io::Error| CommandError::new(Exit::Failure, what.to_owned()).because(error);
    let mut bytes = serde_json::to_vec_pretty(document).map_err(|error| failed("write the evidence", error.into()))?;
    bytes.push(b'\n');
    let signature = match ctx.signer() {
        Ok(signer) => Some(signer.sign(PROOF_NAMESPACE, &bytes)?),
        Err(error) => {
            ctx.events.note(format!("the evidence of this run is not signed: {error}"));
            None
        }
    };
    if let Some(folder) = ctx.runs.folder(&document.run) {
        let put = |name: &str, bytes: &[u8]| {
            let path = folder.join(name);
            write::replace_file(&path, 0o600, bytes)
                .map_err(|error| failed(&format!("write the evidence {}", path.display()), error))
        };
        // A crash in between leaves a signature that does not fit: the step is done again then, and both are written.
        put(FILE, &bytes)?;
        if let Some(signature) = &signature {
            put(SIGNATURE, signature.as_bytes())?;
        }
    }
    if let BundleReference::Stored { store, id } = bundle {
        let beside = |suffix: &str, bytes: &[u8]| -> Result<()> {
            match ctx.store_at(store)?.add_note(id, &format!("{PREFIX}{}.{suffix}", document.run), bytes) {
                // By an earlier process of this run.
                Ok(()) | Err(StoreError::Exists { .. }) => Ok(()),
                Err(error) => Err(error.into()),
            }
        };
        let signed = |text: &String| beside("json.sig", text.as_bytes());
        let kept = beside("json", &bytes).and_then(|()| signature.as_ref().map_or(Ok(()), signed));
        if let Err(error) = kept {
            ctx.events.warn(
                format!("the store did not keep the evidence of this run: {error}"),
                error.hints().first().cloned(),
            );
        }
    }
    Ok(())
}

/// The evidence of a run, as its folder has it; nothing where there is none.
pub(super) fn of_run(ctx: &Ctx, run: &str) -> Option<KeptEvidence> {
    let folder = ctx.runs.folder(run)?;
    let path = folder.join(FILE);
    let unreadable = |why: String| {
        ctx.events.warn(format!("the evidence {} cannot be read: {why}", path.display()), None);
    };
    let bytes = match read::file(&path, read::SMALL) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => {
            unreadable(error.to_string());
            return None;
        }
    };
    let document: Evidence = match serde_json::from_slice(&bytes) {
        Ok(Evidence { format, .. }) if format != FORMAT => {
            unreadable(format!("it is of format {format}, and this dr reads {FORMAT}"));
            return None;
        }
        Ok(document) if document.run != run => {
            unreadable(format!("it is of run {}", document.run));
            return None;
        }
        Ok(document) => document,
        Err(error) => {
            unreadable(error.to_string());
            return None;
        }
    };
    let (signed_by, unsigned) = match signer_of(ctx, &bytes, read::file(&folder.join(SIGNATURE), read::SMALL)) {
        Ok(signer) => (Some(signer), None),
        Err(why) => (None, Some(why)),
    };
    let sha256 = hex::encode(Sha256::digest(&bytes));
    Some(KeptEvidence { file: Some(path), sha256, signed_by, unsigned, document })
}

/// Whose signature it is.
///
/// # Errors
/// Why it counts as none.
fn signer_of(ctx: &Ctx, bytes: &[u8], signature: std::io::Result<Vec<u8>>) -> std::result::Result<String, String> {
    let signature = signature.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => "it is not signed".to_owned(),
        _ => format!("read its signature: {error}"),
    })?;
    let signers = ctx.trusted_signers(None).map_err(|error| format!("nobody is trusted here: {error}"))?;
    let signed = proved_by(&signers, bytes, &signature);
    signed.map(|by| by.principal).map_err(|error: SignError| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypt::Signer;
    use crate::ops::testing;
    use crate::store::{DirectoryStore, Store};

    fn document() -> Evidence {
        Evidence {
            format: FORMAT.into(),
            run: "restore-20260820T101500Z-0a1b2c".into(),
            verb: "restore".into(),
            bundle: "b".into(),
            manifest_sha256: "0".repeat(64),
            bundle_signer: None,
            opschain_version: "2026-08-20".into(),
            cluster_uid: "c".into(),
            namespace: "opschain".into(),
            release: "opschain".into(),
            strategy: "adopt".into(),
            by: "op@host".into(),
            dr_version: "0.1.0".into(),
            begun: Timestamp::UNIX_EPOCH,
            proofs: vec![ProvedFact {
                what: "system identifier".into(),
                wanted: Some("7".into()),
                seen: "7".into(),
                step: "prove-identity".into(),
                at: Some(Timestamp::UNIX_EPOCH),
            }],
            not_proved: Vec::new(),
            not_in_bundle: Vec::new(),
        }
    }

    /// A host with or without a key, its store with a bundle in it, and a run with a folder.
    fn host(folder: &std::path::Path, with_key: bool) -> (Ctx, BundleReference) {
        let config = folder.join("config");
        std::fs::create_dir_all(&config).unwrap();
        let keys = if with_key {
            let signer = Signer::generate("ops@host").unwrap();
            signer.save_new(&config.join("key")).unwrap();
            write::new_file(&config.join("signers"), 0o644, signer.trust_line("ops", &[PROOF_NAMESPACE]).as_bytes())
                .unwrap();
            "[keys]\nsigning_key = \"key\"\ntrusted_signers = \"signers\"\n"
        } else {
            ""
        };
        std::fs::write(config.join("dr.toml"), keys).unwrap();
        let ctx = testing::ctx_in(folder);
        std::fs::create_dir_all(ctx.runs.folder(&document().run).unwrap()).unwrap();
        let place = folder.join("store");
        let store = DirectoryStore::create(&place).unwrap();
        store.begin("b", 0).unwrap().complete().unwrap().publish(b"{}").unwrap();
        (ctx, BundleReference::Stored { store: place.display().to_string(), id: "b".into() })
    }

    fn notes(folder: &std::path::Path) -> Vec<String> {
        DirectoryStore::create(&folder.join("store")).unwrap().list().unwrap().remove(0).notes
    }

    #[test]
    fn what_was_proved_is_kept_signed_beside_run_and_bundle_and_may_be_kept_again() {
        let folder = tempfile::tempdir().unwrap();
        let (ctx, bundle) = host(folder.path(), true);
        assert_eq!(of_run(&ctx, &document().run), None);
        for _ in 0..2 {
            keep(&ctx, &bundle, &document()).unwrap();
        }
        let kept = of_run(&ctx, &document().run).unwrap();
        assert_eq!((&kept.document, kept.signed_by.as_deref(), &kept.unsigned), (&document(), Some("ops"), &None));
        let name = format!("evidence.{}.json", document().run);
        assert_eq!(notes(folder.path()), [name.clone(), format!("{name}.sig")]);
        // One word is changed afterwards.
        let path = kept.file.unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("\"seen\": \"7\"", "\"seen\": \"8\"")).unwrap();
        let altered = of_run(&ctx, &document().run).unwrap();
        assert_eq!(altered.document.proofs[0].seen, "8");
        assert_eq!(altered.signed_by, None);
        assert_eq!(altered.unsigned.as_deref(), Some("the signature of ops does not fit the signed bytes"));
    }

    #[test]
    fn without_a_key_it_is_kept_and_counts_as_unsigned() {
        let folder = tempfile::tempdir().unwrap();
        let (ctx, bundle) = host(folder.path(), false);
        keep(&ctx, &bundle, &document()).unwrap();
        let kept = of_run(&ctx, &document().run).unwrap();
        assert_eq!((kept.signed_by, kept.unsigned.as_deref()), (None, Some("it is not signed")));
        assert_eq!(notes(folder.path()), [format!("evidence.{}.json", document().run)]);
        // That of another run proves nothing of this one.
        let other = ctx.runs.folder("restore-2").unwrap();
        std::fs::create_dir_all(&other).unwrap();
        std::fs::copy(kept.file.as_ref().unwrap(), other.join(FILE)).unwrap();
        assert_eq!(of_run(&ctx, "restore-2"), None);
        // Another form is not guessed at.
        let text = std::fs::read_to_string(kept.file.as_ref().unwrap()).unwrap();
        std::fs::write(kept.file.unwrap(), text.replace(FORMAT, "dr-evidence@v2")).unwrap();
        assert_eq!(of_run(&ctx, &document().run), None);
    }
}
