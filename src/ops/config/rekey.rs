//! `dr config rekey`: every version sealed again to the recipients of today, and what must be changed besides.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::crypt::Identities;
use crate::error::Result;
use crate::journal::fault;
use crate::ops::Ctx;
use crate::redact;
use crate::values::{FingerprintKey, Tree};
use crate::vault::{Deployment, RekeyPlan, Vault};

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
        ..RekeyReport::default()
    }
}

/// Seals again what is due, in batches that are each whole or not there, and lists what must be changed besides.
///
/// # Errors
/// No identity opens a file, or one is not what was recorded. Batches that are done stay done; run it again.
pub fn rekey(ctx: &Ctx, dry_run: bool) -> Result<RekeyReport> {
    let vault = ctx.vault()?;
    // A thousand versions pass by here, and nothing of what is in them is shown.
    let identities = ctx.identities()?.unwitnessed();
    let mut plan = vault.rekey_plan()?;
    let mut report = planned(&plan);
    report.dry_run = dry_run;
    if !dry_run {
        report.contents = 0;
        seal_all(ctx, vault, &mut plan, &identities, &mut report)?;
    }
    report.rotate = to_rotate(vault, &identities)?;
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

/// The live secrets that a key which is no recipient any more could have read, in any version that it opened.
fn to_rotate(vault: &Vault, identities: &Identities) -> Result<Vec<ToRotate>> {
    let past: BTreeSet<String> = vault.holders()?.past.into_iter().map(|past| past.key).collect();
    if past.is_empty() {
        return Ok(Vec::new());
    }
    let vault = vault.snapshot()?;
    let fingerprints = vault.fingerprint_key(identities)?;
    let readers = vault.readers()?;
    let mut installs: BTreeMap<String, Vec<Deployment>> = BTreeMap::new();
    for deployment in vault.every_deployment()? {
        let install = &deployment.record.install;
        installs.entry(format!("{}.{}", install.namespace, install.release)).or_default().push(deployment);
    }
    // A secret may be shared by installs: what was read in one is known in all.
    let mut seen = Seen::default();
    for deployment in installs.values().flatten() {
        let keys: Vec<&String> =
            readers.get(deployment.id()).into_iter().flatten().filter(|key| past.contains(*key)).collect();
        if !keys.is_empty() {
            seen.read(&vault, deployment, identities, &keys)?;
        }
    }
    let mut rotate = Vec::new();
    for (install, deployments) in &installs {
        if let Some(live) = deployments.iter().find(|deployment| deployment.is_deployed()) {
            let values = vault.values(live, identities)?;
            rotate.extend(seen.live(install, &Tree::parse_or_keep(&values), &fingerprints));
        }
    }
    Ok(rotate)
}

/// Which secrets each past key could read, by a digest that never leaves this process.
#[derive(Default)]
struct Seen {
    by: HashMap<[u8; 32], (BTreeSet<String>, String)>,
    done: HashSet<(String, String)>,
}

impl Seen {
    fn read(&mut self, vault: &Vault, of: &Deployment, identities: &Identities, keys: &[&String]) -> Result<()> {
        // Newest first: what an earlier one has in common with a later one is written over by it.
        let digests: Vec<String> = of.record.layers.iter().map(|layer| layer.sealed.sha256.clone()).collect();
        let known = (digests.join(" "), keys.iter().map(|key| key.as_str()).collect::<Vec<_>>().join(" "));
        let first = self.done.insert(known);
        let values = vault.values(of, identities)?;
        let tree = Tree::parse_or_keep(&values);
        for (_, node, _) in redact::secrets(&tree) {
            let Some(scalar) = node.scalar() else { continue };
            let entry = self.by.entry(Sha256::digest(scalar.value.text().as_bytes()).into()).or_default();
            if first {
                entry.0.extend(keys.iter().map(|key| (*key).clone()));
            }
            entry.1 = of.id().to_string();
        }
        Ok(())
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
            })
        });
        found.collect()
    }
}
