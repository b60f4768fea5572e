//! With keys: every version opens, and is what was recorded.

use std::collections::{BTreeMap, HashMap};

use git2::Oid;
use serde::Serialize;

use super::Verification;
use super::flaws::{Finding, Flaw};
use crate::crypt::Identities;
use crate::crypt::seal::SealError;
use crate::vault::error::VaultError;
use crate::vault::files::digest;
use crate::vault::git::Git;
use crate::vault::objects::on_threads;
use crate::vault::read::effective_files;
use crate::vault::{FINGERPRINT_FILE, Vault};

/// What one key opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OpenedBy {
    /// The public key.
    pub key: String,
    /// How many of the files it opened.
    pub files: usize,
}

/// What the keys at hand opened.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Opened {
    /// How many sealed files there are; a file sealed again counts once.
    pub files: usize,
    /// How many of them opened and were what was recorded.
    pub proved: usize,
    /// How many different sealed contents that took.
    pub contents: usize,
    /// By which key.
    pub by: Vec<OpenedBy>,
}

/// A sealed content, and what it should be: a digest, or (`None`) the 32 bytes of the fingerprint key.
type Wanted = (Oid, Option<String>);

/// Which keys opened a content, and whether it was what was recorded.
struct Tried {
    by: Vec<usize>,
    right: bool,
    damaged: Option<String>,
}

pub(super) fn check(
    vault: &Vault,
    git: &Git,
    identities: &Identities,
    found: &mut Verification,
) -> Result<(), VaultError> {
    let files = effective_files(git)?;
    let mut paths: BTreeMap<String, Wanted> = BTreeMap::new();
    if let Some(blob) = files.get(FINGERPRINT_FILE) {
        paths.insert(FINGERPRINT_FILE.into(), (*blob, None));
    }
    // A record that cannot be read has its finding, and nothing can be said of what it names.
    for deployment in vault.all(git).unwrap_or_default() {
        let record = &deployment.record;
        for sealed in record.layers.iter().map(|layer| &layer.sealed).chain(&record.chart_archive) {
            let path = format!("deployments/{}/{}/{}", record.install.folder(), record.id, sealed.file);
            if let Some(blob) = files.get(&path) {
                paths.insert(path, (*blob, Some(sealed.sha256.clone())));
            }
        }
    }
    let mut contents: Vec<Wanted> = paths.values().cloned().collect();
    contents.sort();
    contents.dedup();
    let keys = identities.each();
    let tried = on_threads(git.path(), &contents, |objects, (blob, wanted)| {
        let mut tried = Tried { by: Vec::new(), right: true, damaged: None };
        let Ok(sealed) = objects.blob(*blob) else { return Ok(tried) };
        for (number, key) in keys.iter().enumerate() {
            match key.open(&sealed) {
                Ok(plaintext) => {
                    tried.by.push(number);
                    tried.right &= match wanted {
                        Some(sha256) => digest(&plaintext) == *sha256,
                        None => plaintext.len() == 32,
                    };
                }
                Err(SealError::NoMatch) => {}
                Err(other) => tried.damaged = Some(other.to_string()),
            }
        }
        Ok(tried)
    })?;
    let tried: HashMap<Wanted, Tried> = contents.into_iter().zip(tried).collect();
    let mut opened = Opened { files: paths.len(), contents: tried.len(), ..Opened::default() };
    let mut counts = vec![0; keys.len()];
    for (path, wanted) in &paths {
        let Some(tried) = tried.get(wanted) else { continue };
        tried.by.iter().for_each(|number| counts[*number] += 1);
        let what = format!("file {path}");
        let finding = match &tried.damaged {
            Some(reason) => Some(Finding::new(Flaw::WrongPlaintext, what, reason)),
            None if tried.by.is_empty() => Some(Finding::new(Flaw::NotOpened, what, "opens with no key at hand")),
            None if !tried.right => {
                Some(Finding::new(Flaw::WrongPlaintext, what, "opens, and is not what was recorded"))
            }
            None => None,
        };
        opened.proved += usize::from(finding.is_none());
        found.findings.extend(finding);
    }
    let names = identities.recipients();
    opened.by = names.into_iter().zip(counts).map(|(key, files)| OpenedBy { key, files }).collect();
    found.opened = Some(opened);
    Ok(())
}
