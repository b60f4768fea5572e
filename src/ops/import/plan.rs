//! Decides what the bundle is, or why there is none. No I/O.

use jiff::Timestamp;
use serde::Serialize;

use super::facts::ImportFacts;
use crate::bundle::{BundleId, OutOfScope};
use crate::error::{CommandError, Exit, Result};
use crate::opschain::scope::{LeftOut, ScopeFacts, left_out};
use crate::postgres::Lsn;

/// What would be imported, and what nobody has checked of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ImportPlan {
    pub bundle: BundleId,
    pub folder: String,
    /// The length of the backup's files.
    pub bytes: u64,
    /// When the backup was begun.
    pub created: Timestamp,
    pub postgresql_major: u32,
    pub system_identifier: String,
    /// The length of the database's files.
    pub database_bytes: u64,
    /// Where the log ends: the database is as it was then.
    pub until: Lsn,
    /// The deployment whose config goes into it, and when that was deployed.
    pub deployment: String,
    pub deployed: Timestamp,
    pub opschain_version: String,
    /// The chart's name and version.
    pub chart: String,
    pub chart_version: String,
    /// The Secrets and ConfigMaps that were given.
    pub kept: Vec<String>,
    pub store: String,
    pub recipients: Vec<String>,
    pub scope: Vec<OutOfScope>,
}

pub(super) fn decide(facts: ImportFacts) -> Result<ImportPlan> {
    let ImportFacts { manifest, origin, deployment, begun, .. } = &facts;
    let folder = facts.folder.display().to_string();
    let system_identifier = origin.system_identifier;
    if let Some(other) = manifest.system_identifier.filter(|other| *other != system_identifier) {
        let what = format!("{folder}: the log is of database {system_identifier}, and the backup of {other}");
        return Err(CommandError::new(Exit::Identity, what).hint("Put the three files of one backup into a folder."));
    }
    let postgresql_major = manifest.major().ok_or_else(|| {
        CommandError::new(Exit::Damaged, format!("{folder}: no PostgreSQL that is known has made this backup"))
            .hint("It may be newer than this dr is: see whether there is a newer one.")
    })?;
    // A moment that only the named deployment tells is still one at which that was live.
    let created = begun.unwrap_or(deployment.record.at);
    let created = Timestamp::from_second(created.as_second()).unwrap_or(created);
    let salt = u32::from_be_bytes([0, facts.manifest_sha256[0], facts.manifest_sha256[1], facts.manifest_sha256[2]]);
    let bundle = BundleId::salted(&facts.release, created, salt)
        .map_err(|e| CommandError::new(Exit::Failure, "name the bundle").because(e))?;
    if facts.listed.iter().any(|name| name == bundle.as_str()) {
        return Err(CommandError::new(Exit::Usage, format!("this backup was imported before, as bundle {bundle}"))
            .hint(format!("`dr bundle show {bundle}`.")));
    }
    let record = &deployment.record;
    if record.chart_archive.is_none() {
        let what = format!("deployment {} was recorded without its chart", deployment.id());
        return Err(CommandError::new(Exit::Vault, what).hint(
            "Record its values once more, with the chart: `dr config record values.yaml --at TIME --chart REF`.",
        ));
    }
    let opschain_version = record.opschain_version.clone().ok_or_else(|| {
        CommandError::new(Exit::Vault, format!("deployment {} does not say its OpsChain version", deployment.id()))
            .hint("Record its values once more, with --version.")
    })?;
    Ok(ImportPlan {
        bundle,
        folder,
        bytes: facts.bytes,
        created,
        postgresql_major,
        system_identifier: system_identifier.to_string(),
        database_bytes: manifest.files.values().map(|file| file.size).sum(),
        until: manifest.end,
        deployment: deployment.id().to_string(),
        deployed: record.at,
        opschain_version,
        chart: format!("{}-{}", record.chart.name, record.chart.version),
        chart_version: record.chart.version.clone(),
        scope: scope(&facts),
        kept: facts.kept,
        store: facts.store,
        recipients: facts.recipients,
    })
}

/// What the bundle does not hold, and what nobody has seen who made it.
fn scope(facts: &ImportFacts) -> Vec<OutOfScope> {
    let item = |what: &str, why: String, whereabouts: &str| OutOfScope {
        what: what.into(),
        why,
        whereabouts: whereabouts.into(),
    };
    let named = if facts.named { "it was named" } else { "it was live then, by the config vault" };
    let mut list = vec![
        item(
            "what was looked at when the backup was made",
            "it was made without dr: whether the application was stopped, and what wrote meanwhile, nobody knows"
                .into(),
            "Changes of that moment may be half done: look at them in OpsChain before anything else.",
        ),
        item(
            "proof that these values open the data",
            format!("they are of deployment {}: {named}", facts.deployment.id()),
            "Should OpsChain not read its data, import the backup again with another deployment: --deployment ID.",
        ),
    ];
    if facts.kept.is_empty() {
        list.push(item(
            "Secrets and ConfigMaps that an install cannot make again",
            "none was given".into(),
            "Have them at hand before it is restored: the secret vault's token and seal key first. `dr bundle import FOLDER --secrets FILE` takes them in.",
        ));
    }
    let stock = left_out(ScopeFacts { own_ldap: true, ..ScopeFacts::default() });
    list.extend(stock.into_iter().map(|LeftOut { what, why, after }| OutOfScope { what, why, whereabouts: after }));
    list
}
