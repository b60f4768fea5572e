//! With keys: every version opens, and is what was recorded.

use std::collections::{BTreeMap, HashMap, HashSet};

use git2::Oid;

use super::flaws::{Flaw, VaultFinding};
use super::verification::{Opened, OpenedBy, Verification};
use crate::crypt::Identities;
use crate::crypt::seal::SealError;
use crate::trace::{self, CallKind};
use crate::vault::error::VaultError;
use crate::vault::files::digest;
use crate::vault::git::Git;
use crate::vault::handle::Vault;
use crate::vault::layout::FINGERPRINT_FILE;
use crate::vault::record::{DeploymentRecord, Sealed};
use crate::vault::snapshot::effective_files;
use crate::vault::threads::on_threads;

/// A sealed content, and what it should be: a digest, or (`None`) the 32 bytes of the fingerprint key.
type Wanted = (Oid, Option<String>);

/// Which keys opened a content, and whether it was what was recorded.
struct Tried {
    by: Vec<usize>,
    right: bool,
    damaged: Option<String>,
}

fn path_of(record: &DeploymentRecord, sealed: &Sealed) -> String {
    format!("deployments/{}/{}/{}", record.install.folder(), record.id, sealed.file)
}

pub(super) fn check(
    vault: &Vault,
    git: &Git,
    identities: &Identities,
    found: &mut Verification,
) -> Result<(), VaultError> {
    let files = effective_files(git.files()?);
    let mut paths: BTreeMap<String, Wanted> = BTreeMap::new();
    if let Some(blob) = files.get(FINGERPRINT_FILE) {
        paths.insert(FINGERPRINT_FILE.into(), (*blob, None));
    }
    // A record that cannot be read has its finding, and nothing can be said of what it names.
    let deployments = vault.survey_in(git).map(|survey| survey.deployments).unwrap_or_default();
    for record in deployments.iter().map(|deployment| &deployment.record) {
        for sealed in record.layers.iter().map(|layer| &layer.sealed).chain(&record.chart_archive) {
            let path = path_of(record, sealed);
            if let Some(blob) = files.get(&path) {
                paths.insert(path, (*blob, Some(sealed.sha256.clone())));
            }
        }
    }
    let mut contents: Vec<Wanted> = paths.values().cloned().collect();
    contents.sort();
    contents.dedup();
    let (keys, names) = (identities.each(), identities.recipients());
    let tried = on_threads(git.path(), &contents, |objects, (blob, wanted)| {
        let mut tried = Tried { by: Vec::new(), right: true, damaged: None };
        let Ok(sealed) = objects.blob(*blob) else { return Ok(tried) };
        for (number, key) in keys.iter().enumerate() {
            let what = format!("open content {blob} with {}", names[number]);
            match trace::call_blocking(CallKind::Vault, what, || key.open(&sealed)) {
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
    let mut proved = HashSet::new();
    for (path, wanted) in &paths {
        let Some(tried) = tried.get(wanted) else { continue };
        tried.by.iter().for_each(|number| counts[*number] += 1);
        let what = format!("file {path}");
        let finding = match &tried.damaged {
            Some(reason) => Some(VaultFinding::new(Flaw::WrongPlaintext, what, reason)),
            None if tried.by.is_empty() => Some(VaultFinding::new(Flaw::NotOpened, what, "opens with no key at hand")),
            None if !tried.right => {
                Some(VaultFinding::new(Flaw::WrongPlaintext, what, "opens, and is not what was recorded"))
            }
            None => None,
        };
        if finding.is_none() {
            proved.insert(path.as_str());
        }
        found.findings.extend(finding);
    }
    opened.proved = proved.len();
    // Of values in several layers each is proved, and so is what Helm made of them.
    for deployment in deployments.iter().filter(|deployment| deployment.record.merged_sha256.is_some()) {
        let record = &deployment.record;
        let whole = record.layers.iter().all(|layer| proved.contains(path_of(record, &layer.sealed).as_str()));
        if let (true, Err(error)) = (whole, vault.values(deployment, identities)) {
            let what = format!("values of {}", record.id);
            found.findings.push(VaultFinding::new(Flaw::WrongPlaintext, what, error.to_string()));
        }
    }
    opened.by = names.into_iter().zip(counts).map(|(key, files)| OpenedBy { key, files }).collect();
    found.opened = Some(opened);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypt::TrustedSigners;
    use crate::values::overlay::{Layer, LayerKind};
    use crate::vault::git::Content;
    use crate::vault::tests::{fixture, intent};

    #[test]
    fn layers_that_do_not_come_to_what_was_deployed_are_found() {
        let f = fixture();
        let layer = |text: &'static str| Layer::new(LayerKind::Values, text.as_bytes());
        let at = |day: u32| intent(&format!("2026-08-{day}T10:00:00Z"), "2026-08-20");
        f.vault.record_layers(at(20), &[layer("a: 1\n"), layer("b: 2\n")], None).unwrap();
        let trusted = format!("ops {}", f.key.public_key().to_openssh().unwrap());
        let trusted = TrustedSigners::parse(&trusted, "test");
        let verify = || f.vault.verify(&trusted, Some(&f.identities)).unwrap();
        assert_eq!(verify().findings, []);
        // As somebody would write it who can sign: another whole than the layers make.
        let made = f.vault.record_layers(at(21), &[layer("a: 1\n"), layer("b: 3\n")], None).unwrap();
        let git = Git::open(f.vault.path()).unwrap();
        let known = f.vault.survey().unwrap().whole().unwrap();
        let mut record = known.iter().find(|deployment| *deployment.id() == made).unwrap().record.clone();
        let folder = |record: &DeploymentRecord| format!("deployments/{}/{}", record.install.folder(), record.id);
        let from = folder(&record);
        let before = known.iter().find(|deployment| *deployment.id() == made).unwrap();
        record.previous =
            Some(crate::vault::record::Previous { id: made, record_sha256: before.record_sha256.clone() });
        record.id = crate::vault::DeploymentId::parse("20260822T100000Z-0a0b0c").unwrap();
        record.at = "2026-08-22T10:00:00Z".parse().unwrap();
        record.merged_sha256 = Some(digest(b"{}\n"));
        let mut files: Vec<(String, Content)> = record
            .layers
            .iter()
            .map(|layer| {
                let blob = git.blob_id(&format!("{from}/{}", layer.sealed.file)).unwrap().unwrap();
                (format!("{}/{}", folder(&record), layer.sealed.file), Content::Blob(blob))
            })
            .collect();
        let text = crate::vault::files::json(&record).unwrap();
        files.push((format!("{}/record.json", folder(&record)), Content::Bytes(text)));
        git.add(&git.lock().unwrap(), files, "Forge", "ops@host", &f.vault.signer).unwrap();
        let found = verify();
        let said: Vec<(Flaw, &str)> = found.findings.iter().map(|found| (found.flaw, found.what.as_str())).collect();
        assert_eq!(said, [(Flaw::WrongPlaintext, "values of 20260822T100000Z-0a0b0c")]);
        let opened = found.opened.unwrap();
        assert_eq!(opened.proved, opened.files, "each layer by itself is what was recorded");
    }
}
