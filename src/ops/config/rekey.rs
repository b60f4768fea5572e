//! `dr config rekey`: every version sealed again to the recipients of today, and what must be changed besides.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::crypt::Identities;
use crate::error::{Exit, Result};
use crate::journal::fault;
use crate::ops::Ctx;
use crate::ops::guard;
use crate::redact;
use crate::values::{FingerprintKey, Tree};
use crate::vault::{Deployment, RekeyPlan, Unsealed, Vault};

/// A secret that is live, and that somebody who was taken from the list could have read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ToRotate {
    /// The install: `NAMESPACE.RELEASE`.
    pub install: String,
    /// The path in its live values.
    pub path: String,
    /// The secret's fingerprint.
    pub fingerprint: String,
    /// Whose keys could read it.
    pub readable_by: Vec<String>,
    /// The first deployment in which they could.
    pub since: String,
    /// Why it must keep its value all the same, where stored data depends on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guarded: Option<&'static str>,
}

/// What was done, or would be.
#[derive(Debug, Default, Serialize)]
pub struct RekeyReport {
    /// Whether nothing was written.
    pub dry_run: bool,
    /// To whom.
    pub recipients: Vec<String>,
    /// How many files are, or would be, sealed again.
    pub files: usize,
    /// How many different contents these have.
    pub contents: usize,
    /// How many of the new contents were opened again with a key of this host.
    pub reopened: usize,
    /// How many files were sealed to these recipients already.
    pub current: usize,
    /// What is live and could have been read by somebody who is no recipient any more.
    pub rotate: Vec<ToRotate>,
    /// What could not be opened or read, and stays as it is.
    pub unsealed: Vec<Unsealed>,
}

impl RekeyReport {
    /// 0 when everything could be read; otherwise whether it is a matter of keys or of damage.
    pub fn exit(&self) -> Exit {
        match (self.unsealed.is_empty(), self.unsealed.iter().all(|one| one.closed)) {
            (true, _) => Exit::Success,
            (false, true) => Exit::Keys,
            (false, false) => Exit::Damaged,
        }
    }
}

/// What there is to do: shown before it is asked for.
///
/// # Errors
/// The vault cannot be read.
pub fn plan(ctx: &Ctx) -> Result<RekeyReport> {
    Ok(planned(&ctx.vault()?.rekey_plan()?))
}

fn planned(plan: &RekeyPlan) -> RekeyReport {
    RekeyReport {
        dry_run: true,
        recipients: plan.recipients(),
        files: plan.files(),
        contents: plan.contents(),
        current: plan.current(),
        unsealed: plan.unread().to_vec(),
        ..RekeyReport::default()
    }
}

/// Seals again what is due, in batches that are each whole or not there, and lists what must be changed besides.
///
/// # Errors
/// There is no identity, or nothing can be written. Batches that are done stay done; run it again. A file that cannot be
/// opened is in the report, and keeps none of the others from being sealed.
pub fn rekey(ctx: &Ctx, dry_run: bool) -> Result<RekeyReport> {
    let vault = ctx.vault()?;
    // A thousand versions pass by here, and nothing of what is in them is shown.
    let identities = ctx.identities()?.unwitnessed();
    let mut plan = vault.rekey_plan()?;
    let mut report = planned(&plan);
    report.dry_run = dry_run;
    if !dry_run {
        report.contents = 0;
        report.files = 0;
        seal_all(ctx, vault, &mut plan, &identities, &mut report)?;
    }
    let (rotate, unread) = to_rotate(vault, &identities)?;
    report.rotate = rotate;
    report.unsealed.extend(unread);
    report.unsealed.sort_by(|a, b| (&a.path, &a.why).cmp(&(&b.path, &b.why)));
    report.unsealed.dedup_by(|a, b| a.path == b.path);
    Ok(report)
}

fn seal_all(
    ctx: &Ctx,
    vault: &Vault,
    plan: &mut RekeyPlan,
    identities: &Identities,
    report: &mut RekeyReport,
) -> Result<()> {
    let all = plan.files() as u64;
    fault::point("rekey.before")?;
    while plan.files() > 0 {
        ctx.check_cancelled()?;
        let made = vault.rekey_batch(plan, identities, &ctx.who)?;
        report.contents += made.contents;
        report.reopened += made.reopened;
        report.files += made.files;
        report.unsealed.extend(made.unsealed);
        let done = all - plan.files() as u64;
        ctx.events.emit(crate::event::Event::Progress {
            what: "sealed again".into(),
            done,
            total: Some(all),
            unit: "files".into(),
        });
        fault::point("rekey.batch")?;
    }
    Ok(())
}

/// The live secrets that a key which is no recipient any more could have read, in any version that it opened; and what
/// could not be looked through for them.
fn to_rotate(vault: &Vault, identities: &Identities) -> Result<(Vec<ToRotate>, Vec<Unsealed>)> {
    let past: BTreeSet<String> = vault.holders()?.past.into_iter().map(|past| past.key).collect();
    if past.is_empty() {
        return Ok(Default::default());
    }
    let vault = vault.snapshot()?;
    let fingerprints = match vault.fingerprint_key(identities) {
        Ok(fingerprints) => fingerprints,
        Err(error) => return Ok((Vec::new(), vec![Unsealed::new("fingerprint.key.age".into(), &error)])),
    };
    let readers = vault.readers()?;
    let mut installs: BTreeMap<String, Vec<Arc<Deployment>>> = BTreeMap::new();
    for deployment in vault.survey()?.deployments {
        let install = &deployment.record.install;
        installs.entry(format!("{}.{}", install.namespace, install.release)).or_default().push(deployment);
    }
    // A secret may be shared by installs: what was read in one is known in all.
    let mut seen = Seen::default();
    let mut unread = Vec::new();
    for deployment in installs.values().flatten() {
        let keys: Vec<&String> =
            readers.get(deployment.id()).into_iter().flatten().filter(|key| past.contains(*key)).collect();
        if !keys.is_empty() {
            match vault.values(deployment, identities) {
                Ok(values) => seen.read(&values, deployment, &keys),
                Err(error) => unread.push(Unsealed::new(format!("values of {}", deployment.id()), &error)),
            }
        }
    }
    let mut rotate = Vec::new();
    for (install, deployments) in &installs {
        if let Some(live) = deployments.iter().find(|deployment| deployment.is_deployed()) {
            let Ok(values) = vault.values(live, identities) else { continue };
            rotate.extend(seen.live(install, &Tree::parse_or_keep(&values), &fingerprints));
        }
    }
    Ok((rotate, unread))
}

/// Which secrets each past key could read, by a digest that never leaves this process.
#[derive(Default)]
struct Seen {
    by: HashMap<[u8; 32], (BTreeSet<String>, String)>,
    done: HashSet<(String, String)>,
}

impl Seen {
    fn read(&mut self, values: &[u8], of: &Deployment, keys: &[&String]) {
        // Newest first: what an earlier one has in common with a later one is written over by it.
        let digests: Vec<String> = of.record.layers.iter().map(|layer| layer.sealed.sha256.clone()).collect();
        let known = (digests.join(" "), keys.iter().map(|key| key.as_str()).collect::<Vec<_>>().join(" "));
        let first = self.done.insert(known);
        let tree = Tree::parse_or_keep(values);
        for (_, node, _) in redact::secrets(&tree) {
            let Some(scalar) = node.scalar() else { continue };
            let entry = self.by.entry(Sha256::digest(scalar.value.text().as_bytes()).into()).or_default();
            if first {
                entry.0.extend(keys.iter().map(|key| (*key).clone()));
            }
            entry.1 = of.id().to_string();
        }
    }

    fn live(&self, install: &str, tree: &Tree, fingerprints: &FingerprintKey) -> Vec<ToRotate> {
        let found = redact::secrets(tree).into_iter().filter_map(|(path, node, _)| {
            let text = node.scalar()?.value.text();
            let digest: [u8; 32] = Sha256::digest(text.as_bytes()).into();
            let (keys, since) = self.by.get(&digest)?;
            Some(ToRotate {
                install: install.to_owned(),
                path: path.to_string(),
                fingerprint: fingerprints.fingerprint(text.as_bytes()),
                readable_by: keys.iter().cloned().collect(),
                since: since.clone(),
                guarded: guard::guarded_for(&path),
            })
        });
        found.collect()
    }
}
