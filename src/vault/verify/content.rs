//! The files: every sealed one the one that was recorded, every record where it belongs and in its place in the chain.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use git2::Oid;

use super::commits::lost;
use super::flaws::{Flaw, VaultFinding};
use super::history::HistoryStep;
use super::record_chain::{self, ChainedRecord};
use super::sealed::stanzas;
use super::verification::Verification;
use crate::vault::error::VaultError;
use crate::vault::files::{digest, parse};
use crate::vault::git::Git;
use crate::vault::layout::{ATTRIBUTES, FINGERPRINT_FILE, REKEY_FILE};
use crate::vault::object_fault::ObjectFault;
use crate::vault::objects::{GitObjects, entries};
use crate::vault::record::{
    BUNDLES, DeploymentId, DeploymentOutcome, DeploymentRecord, ListedBundle, RecipientsChange, RekeyList, Sealed,
    VaultHeader,
};
use crate::vault::threads::on_threads;

/// What is known of a file's bytes.
struct Facts {
    sha256: String,
    bytes: u64,
    /// How many keys it is sealed to; nothing where it is no age file.
    stanzas: Option<usize>,
    /// The bytes of a clear file.
    clear: Option<Vec<u8>>,
}

/// A file, where it stands and with which step it came.
struct File<'s> {
    path: &'s str,
    facts: &'s Facts,
    step: usize,
}

/// Looks at every file that the steps added.
pub(super) fn check(git: &Git, steps: &[HistoryStep], found: &mut Verification) -> Result<(), VaultError> {
    let facts = facts(git, steps, found)?;
    let mut files: BTreeMap<&str, File<'_>> = BTreeMap::new();
    for (number, step) in steps.iter().enumerate() {
        for added in &step.added {
            let Some(facts) = facts.get(&added.blob) else {
                found.lost.insert(added.path.clone());
                continue;
            };
            // The same file written on two branches is one file.
            files.entry(&added.path).or_insert(File { path: &added.path, facts, step: number });
        }
    }
    found.files = files.len();
    found.bytes = files.values().map(|file| file.facts.bytes).sum();
    let mut folders: BTreeMap<&str, BTreeMap<&str, &File<'_>>> = BTreeMap::new();
    let mut rekeyed: BTreeMap<&str, BTreeMap<&str, &File<'_>>> = BTreeMap::new();
    for file in files.values() {
        let parts: Vec<&str> = file.path.splitn(4, '/').collect();
        match parts.as_slice() {
            ["deployments", install, id, name] => {
                let folder = &file.path["deployments/".len()..][..install.len() + 1 + id.len()];
                folders.entry(folder).or_default().insert(name, file);
            }
            ["rekeyed", id, ..] if parts.len() > 2 => {
                let below = &file.path["rekeyed/".len() + id.len() + 1..];
                rekeyed.entry(id).or_default().insert(below, file);
            }
            _ => top(file, &steps[file.step], found),
        }
    }
    let lists = Lists::read(git, steps)?;
    let mut records: BTreeMap<DeploymentId, ChainedRecord> = BTreeMap::new();
    for (folder, files) in &folders {
        if let Some(known) = deployment(folder, files, steps, &lists, found) {
            records.insert(known.record.id.clone(), known);
        }
    }
    found.deployments = records.len();
    found.installs = records.values().map(|known| known.record.install.folder()).collect::<BTreeSet<_>>().len();
    record_chain::check(git, steps, &records, found)?;
    for (id, files) in &rekeyed {
        again(id, files, steps, &lists, found);
    }
    Ok(())
}

/// Reads each blob once.
fn facts(git: &Git, steps: &[HistoryStep], found: &mut Verification) -> Result<HashMap<Oid, Facts>, VaultError> {
    let mut seen = HashSet::new();
    let wanted: Vec<(Oid, &str, usize)> = steps
        .iter()
        .enumerate()
        .flat_map(|(number, step)| step.added.iter().map(move |file| (file.blob, file.path.as_str(), number)))
        .filter(|(blob, ..)| seen.insert(*blob))
        .collect();
    let read = on_threads(git.path(), &wanted, |objects, (blob, path, _)| Ok(inspect(objects, *blob, path)))?;
    let mut facts = HashMap::with_capacity(wanted.len());
    for ((blob, path, step), read) in wanted.into_iter().zip(read) {
        match read {
            Ok(read) => drop(facts.insert(blob, read)),
            Err(fault) => found.findings.push(lost(fault, &format!("file {path}")).at(steps[step].id)),
        }
    }
    Ok(facts)
}

fn inspect(objects: &GitObjects<'_>, blob: Oid, path: &str) -> Result<Facts, ObjectFault> {
    let bytes = objects.blob(blob)?;
    let clear = !path.ends_with(".age");
    Ok(Facts {
        sha256: digest(&bytes),
        bytes: bytes.len() as u64,
        stanzas: stanzas(&bytes),
        clear: clear.then_some(bytes),
    })
}

/// A file outside the deployments.
fn top(file: &File<'_>, step: &HistoryStep, found: &mut Verification) {
    let mut flaw = |flaw, says: &str| {
        found.findings.push(VaultFinding::new(flaw, format!("file {}", file.path), says).at(step.id));
    };
    let clear = file.facts.clear.as_deref().unwrap_or_default();
    match file.path {
        "vault.json" => {
            if let Err(error) = parse::<VaultHeader>(file.path, clear) {
                flaw(Flaw::Unreadable, &error.to_string());
            }
        }
        FINGERPRINT_FILE => {
            if file.facts.stanzas.is_none() {
                flaw(Flaw::NotSealed, "is no whole age file");
            }
        }
        ".gitattributes" => {
            // Its rules keep git from touching ciphertext; later ones may be added by a newer program.
            if clear != ATTRIBUTES.as_bytes() {
                found.notes.push(".gitattributes is not the one that this dr writes".into());
            }
        }
        "README.md" => {}
        path if path.split('/').next() == Some(BUNDLES) => match parse::<ListedBundle>(path, clear) {
            Err(error) => flaw(Flaw::Unreadable, &error.to_string()),
            Ok(listed) if listed.path() == path => {}
            Ok(listed) => flaw(Flaw::StrangeFile, &format!("is the entry of bundle {}", listed.bundle)),
        },
        path => match path.strip_prefix("recipients/") {
            Some(name) => {
                let named = name.strip_suffix(".json").is_some_and(|name| DeploymentId::parse(name).is_some());
                match parse::<RecipientsChange>(path, clear) {
                    _ if !named => flaw(Flaw::StrangeFile, "has no name that a change of recipients has"),
                    Err(error) => flaw(Flaw::Unreadable, &error.to_string()),
                    Ok(change) => {
                        let keys = change.add.iter().chain(&change.remove);
                        if let Some(bad) = keys.clone().find(|key| crate::crypt::Recipients::parse([key]).is_err()) {
                            flaw(Flaw::Unreadable, &format!("names `{bad}`, which is no age recipient"));
                        }
                    }
                }
            }
            None if path.starts_with("deployments/") || path.starts_with("rekeyed/") => {
                flaw(Flaw::StrangeFile, "stands where only folders of deployments do");
            }
            None => found.notes.push(format!("{path} is no file of the vault's own")),
        },
    }
}

/// One deployment's folder; its record, where it can be read.
fn deployment(
    folder: &str,
    files: &BTreeMap<&str, &File<'_>>,
    steps: &[HistoryStep],
    lists: &Lists,
    found: &mut Verification,
) -> Option<ChainedRecord> {
    let path = |name: &str| format!("file deployments/{folder}/{name}");
    if let Some(outcome) = files.get("outcome.json") {
        let at = steps[outcome.step].id;
        let bytes = outcome.facts.clear.as_deref().unwrap_or_default();
        let finding = match parse::<DeploymentOutcome>("outcome.json", bytes) {
            Ok(outcome) if folder.ends_with(&format!("/{}", outcome.id)) => None,
            Ok(outcome) => Some((Flaw::ForeignOutcome, format!("is the outcome of {}", outcome.id))),
            Err(error) => Some((Flaw::Unreadable, error.to_string())),
        };
        found.outcomes += usize::from(finding.is_none());
        found.findings.extend(finding.map(|(flaw, says)| VaultFinding::new(flaw, path("outcome.json"), says).at(at)));
    }
    let Some(file) = files.get("record.json") else {
        // In part of a history, or behind a gap in it, the record may have come before.
        if found.lost.contains(&format!("deployments/{folder}/record.json")) {
            return None;
        }
        if (found.whole && !found.has_gap) || files.keys().any(|name| *name != "outcome.json") {
            let at = files.values().next().map(|file| steps[file.step].id);
            let finding = VaultFinding::new(Flaw::MissingRecord, path("record.json"), "is missing");
            found.findings.push(at.map_or(finding.clone(), |id| finding.at(id)));
        }
        return None;
    };
    let at = steps[file.step].id;
    let lost = &found.lost;
    let mut flaw = |flaw, what: String, says: String| found.findings.push(VaultFinding::new(flaw, what, says).at(at));
    let record: DeploymentRecord =
        match parse(&format!("deployments/{folder}/record.json"), file.facts.clear.as_deref()?) {
            Ok(record) => record,
            Err(error) => {
                flaw(Flaw::Unreadable, path("record.json"), error.to_string());
                return None;
            }
        };
    let own = format!("{}/{}", record.install.folder(), record.id);
    if own != folder || !record.id.as_str().starts_with(&record.at.strftime("%Y%m%dT%H%M%SZ").to_string()) {
        flaw(Flaw::Misplaced, path("record.json"), format!("belongs to deployments/{own}, and says {}", record.at));
        return None;
    }
    let listed: Vec<&Sealed> = record.layers.iter().map(|layer| &layer.sealed).chain(&record.chart_archive).collect();
    for sealed in &listed {
        let Some(stored) = files.get(sealed.file.as_str()) else {
            if lost.contains(&format!("deployments/{folder}/{}", sealed.file)) {
                continue;
            }
            flaw(Flaw::MissingSealed, path(&sealed.file), "is missing, though its record names it".into());
            continue;
        };
        if stored.facts.sha256 != sealed.sealed_sha256 {
            flaw(Flaw::SwappedSealed, path(&sealed.file), "is not the one that was recorded".into());
        } else if stored.facts.stanzas.is_none() {
            flaw(Flaw::NotSealed, path(&sealed.file), "is no whole age file".into());
        } else if stored.facts.stanzas != Some(record.recipients.len()) {
            let says = format!(
                "is sealed to {} keys, and its record names {}",
                stored.facts.stanzas.unwrap_or_default(),
                record.recipients.len()
            );
            flaw(Flaw::WrongRecipients, path(&sealed.file), says);
        }
    }
    for name in files.keys() {
        if !matches!(*name, "record.json" | "outcome.json") && !listed.iter().any(|sealed| sealed.file == *name) {
            flaw(Flaw::StrangeFile, path(name), "is not named by its record".into());
        }
    }
    let list = lists.at(&steps[file.step]);
    if !list.is_empty() && !same_keys(&list, &record.recipients) {
        flaw(Flaw::WrongRecipients, path("record.json"), "names other recipients than the list had then".into());
    }
    Some(ChainedRecord { record, sha256: file.facts.sha256.clone(), step: file.step })
}

/// A folder of files sealed again.
fn again(id: &str, files: &BTreeMap<&str, &File<'_>>, steps: &[HistoryStep], lists: &Lists, found: &mut Verification) {
    let path = |name: &str| format!("file rekeyed/{id}/{name}");
    let is_lost = |name: &str, found: &Verification| found.lost.contains(&format!("rekeyed/{id}/{name}"));
    let Some(head) = files.get(REKEY_FILE) else {
        if is_lost(REKEY_FILE, found) {
            return;
        }
        let at = files.values().next().map(|file| steps[file.step].id);
        let finding = VaultFinding::new(Flaw::MissingRecord, path(REKEY_FILE), "is missing");
        return found.findings.push(at.map_or(finding.clone(), |id| finding.at(id)));
    };
    let step = &steps[head.step];
    let lost = &found.lost;
    let mut flaw =
        |flaw, what: String, says: String| found.findings.push(VaultFinding::new(flaw, what, says).at(step.id));
    let named = DeploymentId::parse(id).is_some();
    let list: RekeyList = match parse(REKEY_FILE, head.facts.clear.as_deref().unwrap_or_default()) {
        Ok(list) if named => list,
        Ok(_) => return flaw(Flaw::StrangeFile, path(REKEY_FILE), "is in a folder of another name".into()),
        Err(error) => return flaw(Flaw::Unreadable, path(REKEY_FILE), error.to_string()),
    };
    if !same_keys(&lists.at(step), &list.recipients) {
        flaw(Flaw::WrongRecipients, path(REKEY_FILE), "names other recipients than the list had then".into());
    }
    for listed in &list.files {
        match files.get(listed.path.as_str()).map(|file| file.facts) {
            None if lost.contains(&format!("rekeyed/{id}/{}", listed.path)) => {}
            None => flaw(Flaw::MissingSealed, path(&listed.path), "is missing, though rekey.json names it".into()),
            Some(facts) if facts.sha256 != listed.sealed_sha256 => {
                flaw(Flaw::SwappedSealed, path(&listed.path), "is not the one that rekey.json names".into());
            }
            Some(facts) if facts.stanzas != Some(list.recipients.len()) => {
                flaw(Flaw::NotSealed, path(&listed.path), "is no whole age file for the recipients named".into());
            }
            Some(_) => {}
        }
    }
    for name in files.keys() {
        if *name != REKEY_FILE && !list.files.iter().any(|listed| listed.path == *name) {
            flaw(Flaw::StrangeFile, path(name), "is not named by rekey.json".into());
        }
    }
    found.rekeyed += list.files.len();
}

fn same_keys(a: &[String], b: &[String]) -> bool {
    let set = |keys: &[String]| keys.iter().cloned().collect::<BTreeSet<_>>();
    set(a) == set(b)
}

/// The list of recipients at each state of its folder.
struct Lists(HashMap<Oid, Vec<String>>);

impl Lists {
    fn read(git: &Git, steps: &[HistoryStep]) -> Result<Self, VaultError> {
        let objects = git.objects()?;
        let mut lists = HashMap::new();
        for folder in steps.iter().filter_map(|step| step.recipients) {
            // What cannot be read has a finding where it was added.
            lists.entry(folder).or_insert_with(|| Self::list(&objects, folder).unwrap_or_default());
        }
        Ok(Self(lists))
    }

    fn list(objects: &GitObjects<'_>, folder: Oid) -> Option<Vec<String>> {
        let tree = objects.tree(folder).ok()?;
        let mut keys: Vec<String> = Vec::new();
        for file in entries(&tree) {
            let change: RecipientsChange = parse("recipients", &objects.blob(file.id).ok()?).ok()?;
            keys.retain(|key| !change.remove.contains(key));
            keys.extend(change.add);
        }
        Some(keys)
    }

    /// The list as a step found it; empty where it cannot be told.
    fn at(&self, step: &HistoryStep) -> Vec<String> {
        step.recipients.and_then(|folder| self.0.get(&folder)).cloned().unwrap_or_default()
    }
}
