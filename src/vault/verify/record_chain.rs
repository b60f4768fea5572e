//! The chain: every record names the one that was written before it.
//!
//! The rule. A record names, as `previous` and `joins`, records of its own install that were in the history when it was
//! written, with the digests that they have. No other record that was already there may have named the same ones: then
//! it would leave that one out. So two records name the same one only if neither was there when the other was written:
//! two hosts, merged later. That is a fork, and no flaw.

use std::collections::{BTreeMap, HashMap, HashSet};

use git2::Oid;

use super::flaws::{Flaw, VaultFinding};
use super::history::HistoryStep;
use super::verification::{Fork, Verification};
use crate::vault::error::VaultError;
use crate::vault::files::digest;
use crate::vault::git::Git;
use crate::vault::object_fault::ObjectFault;
use crate::vault::objects::{GitObjects, entry};
use crate::vault::record::{DeploymentId, DeploymentRecord};

/// A place in the chain: an install, and the record behind which one stands; none for the beginning.
type Place<'r> = (String, Option<&'r DeploymentId>);

/// A record, and with which step it came.
pub(super) struct ChainedRecord {
    pub(super) record: DeploymentRecord,
    pub(super) sha256: String,
    pub(super) step: usize,
}

pub(super) fn check(
    git: &Git,
    steps: &[HistoryStep],
    records: &BTreeMap<DeploymentId, ChainedRecord>,
    found: &mut Verification,
) -> Result<(), VaultError> {
    let order = Order::new(steps);
    let objects = git.objects()?;
    // Behind a gap lies what the newest commit still has: nothing is ever taken away.
    let newest = found.newest.as_deref().filter(|_| found.has_gap).and_then(|id| Oid::from_str(id).ok());
    let older = found.base.into_iter().chain(newest.and_then(|newest| git.tree_of(newest).ok())).collect::<Vec<_>>();
    let mut named: BTreeMap<Place<'_>, Vec<(&DeploymentRecord, usize)>> = BTreeMap::new();
    for ChainedRecord { record, step, .. } in records.values() {
        let step = *step;
        let folder = record.install.folder();
        let what = format!("record of {}", record.id);
        let mut flaws = Vec::new();
        let mut flaw = |flaw, says: String| flaws.push(VaultFinding::new(flaw, what.clone(), says).at(steps[step].id));
        let names: Vec<_> = record.previous.iter().chain(&record.joins).collect();
        if names.is_empty() {
            named.entry((folder.clone(), None)).or_default().push((record, step));
        }
        for previous in names {
            named.entry((folder.clone(), Some(&previous.id))).or_default().push((record, step));
            let sha256 = match records.get(&previous.id) {
                Some(other) if other.record.install.folder() != folder => {
                    flaw(Flaw::BrokenChain, format!("names {}, which is of another install", previous.id));
                    continue;
                }
                Some(other) if !order.is_before(other.step, step) => {
                    flaw(Flaw::Reordered, format!("names {}, which was recorded only later", previous.id));
                    continue;
                }
                Some(other) => Some(other.sha256.clone()),
                None => {
                    let mut known = older.iter().map(|tree| older_record(&objects, *tree, &folder, &previous.id));
                    match known.find(|known| !matches!(known, Ok(None))) {
                        // It is there, and which bytes it has is signed: whoever reads it is told that nobody can.
                        Some(Err(_)) => continue,
                        known => known.and_then(Result::ok).flatten(),
                    }
                }
            };
            match sha256 {
                None if found.has_lost_record(&folder, previous.id.as_str()) => {}
                None => {
                    flaw(Flaw::BrokenChain, format!("names {} as the one before it, which is missing", previous.id))
                }
                Some(sha256) if sha256 != previous.record_sha256 => {
                    flaw(Flaw::AlteredRecord, format!("names {} with another digest than its record has", previous.id));
                }
                Some(_) => {}
            }
        }
        found.findings.append(&mut flaws);
    }
    for ((_, previous), mut by) in named {
        by.sort_by_key(|(_, step)| *step);
        for (place, (record, step)) in by.iter().enumerate() {
            let skipped = by[..place].iter().find(|(_, earlier)| order.is_before(*earlier, *step));
            if let Some((skipped, _)) = skipped {
                let says = format!("leaves out {}, which had been recorded before it", skipped.id);
                let what = format!("record of {}", record.id);
                found.findings.push(VaultFinding::new(Flaw::SkippedRecord, what, says).at(steps[*step].id));
            }
        }
        if by.len() > 1 {
            found.forks.push(Fork {
                after: previous.map(DeploymentId::to_string),
                records: by.iter().map(|(record, _)| record.id.to_string()).collect(),
            });
        }
    }
    Ok(())
}

/// SHA-256 of a record that was there before the steps at hand; nothing where there was none.
fn older_record(
    objects: &GitObjects<'_>,
    tree: Oid,
    folder: &str,
    id: &DeploymentId,
) -> Result<Option<String>, ObjectFault> {
    let mut at = tree;
    for name in ["deployments", folder, id.as_str(), "record.json"] {
        let Some(found) = entry(&objects.tree(at)?, name).map(|entry| entry.id) else { return Ok(None) };
        at = found;
    }
    objects.blob(at).map(|bytes| Some(digest(&bytes)))
}

/// Which step lies behind which.
struct Order<'s> {
    steps: &'s [HistoryStep],
    numbers: HashMap<Oid, usize>,
    /// The first step of the unbranched run that a step belongs to.
    run: Vec<usize>,
}

impl<'s> Order<'s> {
    fn new(steps: &'s [HistoryStep]) -> Self {
        let numbers: HashMap<Oid, usize> = steps.iter().enumerate().map(|(number, step)| (step.id, number)).collect();
        let mut run: Vec<usize> = Vec::with_capacity(steps.len());
        for (number, step) in steps.iter().enumerate() {
            let follows = number > 0 && step.parents.as_slice() == [steps[number - 1].id];
            run.push(if follows { run[number - 1] } else { number });
        }
        Self { steps, numbers, run }
    }

    /// Whether the step `early` was there when the step `late` was made. Parents come before children in the list.
    fn is_before(&self, early: usize, late: usize) -> bool {
        if early >= late || self.run[late] <= early {
            return early < late;
        }
        let mut seen = HashSet::new();
        let mut ahead = vec![self.run[late]];
        while let Some(step) = ahead.pop() {
            for parent in &self.steps[step].parents {
                let Some(&parent) = self.numbers.get(parent) else { continue };
                let start = self.run[parent];
                if (start..=parent).contains(&early) {
                    return true;
                }
                if start > early && seen.insert(start) {
                    ahead.push(start);
                }
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_behind_is_found_across_merges_and_what_lies_beside_is_not() {
        let id = |n: u8| Oid::from_bytes(&[n + 1; 20]).unwrap();
        // 0 - 1 - 2 - 5 - 6, and 1 - 3 - 4 - 5: 5 merges.
        let parents: [&[u8]; 7] = [&[], &[0], &[1], &[1], &[3], &[2, 4], &[5]];
        let steps: Vec<HistoryStep> = parents
            .iter()
            .enumerate()
            .map(|(number, parents)| HistoryStep {
                id: id(number as u8),
                parents: parents.iter().map(|parent| id(*parent)).collect(),
                added: Vec::new(),
                recipients: None,
                findings: Vec::new(),
            })
            .collect();
        let order = Order::new(&steps);
        for late in 0..7 {
            for early in 0..7 {
                let beside = [(2, 3), (2, 4)].contains(&(early, late));
                assert_eq!(order.is_before(early, late), early < late && !beside, "{early} before {late}");
            }
        }
    }

    /// Behind the end of a shallow clone, and behind a commit that is damaged.
    #[test]
    fn a_record_behind_a_gap_in_the_history_is_not_called_missing() {
        use super::super::tests::{three, trusting};
        use crate::vault::Vault;
        use crate::vault::tests::{git, intent, outcome, signer};

        let f = three();
        // Its outcome comes when the record lies behind the gap.
        let id = f.vault.record_intent(intent("2026-08-08T10:00:00Z", "2026-08-01"), b"y: 1\n", None).unwrap();
        let shallow = f.folder.path().join("shallow");
        let source = format!("file://{}", f.vault.path().display());
        git(&f, &["clone", "-q", "--depth", "1", &source, shallow.to_str().unwrap()]);
        let clone = Vault::open(&shallow, signer(&f.key)).unwrap();
        let before = git(&f, &["rev-parse", "main"]);
        for vault in [&clone, &f.vault] {
            let status = crate::vault::DeploymentStatus::Deployed;
            vault.record_outcome(outcome(&id, "2026-08-08T10:05:00Z", status, 8), "ops@host").unwrap();
            vault.record_intent(intent("2026-08-09T10:00:00Z", "2026-08-01"), b"x: 1\n", None).unwrap();
        }
        let file = f.vault.path().join(".git/objects").join(&before[..2]).join(before[2..].trim());
        std::fs::remove_file(&file).unwrap();
        std::fs::write(&file, "x").unwrap();
        for (vault, flaw) in [(&clone, Flaw::Shallow), (&f.vault, Flaw::DamagedObject)] {
            let found = vault.verify(&trusting(&f), None).unwrap();
            let flaws: Vec<Flaw> = found.findings.iter().map(|finding| finding.flaw).collect();
            assert_eq!(flaws, [flaw], "{:?}", found.findings);
        }
        let damaged = clone.damaged_files().unwrap();
        assert!(matches!(damaged[..], [VaultError::Shallow { .. }]), "{damaged:?}");
    }
}
