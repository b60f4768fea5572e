//! `dr config log`: the deployments, newest first.

use jiff::Timestamp;
use serde::Serialize;

use crate::crypt::Identities;
use crate::error::Result;
use crate::ops::{Ctx, open};
use crate::values::diff::diff;
use crate::values::{Scrubber, Tree};
use crate::vault::{Deployment, Vault};

/// A deployment in a line.
#[derive(Debug, Serialize)]
pub struct LogLine {
    /// Its name.
    pub id: String,
    /// When.
    pub at: Timestamp,
    /// `deployed`, `failed`, `interrupted`, or `unknown` when `dr` was killed before it knew.
    pub state: String,
    /// Whether it is what is live, as far as the vault knows.
    pub live: bool,
    /// The OpsChain version, or the chart's.
    pub version: String,
    /// helm's revision.
    pub revision: Option<u32>,
    /// What made it.
    pub how: String,
    /// Who.
    pub by: String,
    /// Why.
    pub why: Option<String>,
    /// What changed in the values against the deployment before it; nothing without an identity.
    pub changes: Option<String>,
}

/// The deployments of the install, newest first.
#[derive(Debug, Serialize)]
pub struct Log {
    /// The namespace.
    pub namespace: String,
    /// The Helm release.
    pub release: String,
    /// How many there are in the vault.
    pub total: usize,
    /// The newest of them.
    pub deployments: Vec<LogLine>,
}

/// Lists the newest deployments of the install, with what changed where an identity is at hand.
///
/// # Errors
/// The vault cannot be read.
pub fn log(ctx: &Ctx, limit: usize) -> Result<Log> {
    let settings = ctx.settings()?;
    let vault = open::vault(settings)?;
    let install = open::vault_install(settings);
    let all = vault.deployments(&install)?;
    let live = all.iter().find(|deployment| deployment.is_deployed()).map(Deployment::id);
    let identities = super::open_identities(settings)?;
    let mut lines = Vec::new();
    for (place, deployment) in all.iter().enumerate().take(limit) {
        let before = all.get(place + 1);
        let record = &deployment.record;
        lines.push(LogLine {
            id: record.id.to_string(),
            at: record.at,
            state: deployment.state().into(),
            live: live == Some(&record.id),
            version: record.opschain_version.clone().unwrap_or_else(|| record.chart.version.clone()),
            revision: deployment.revision(),
            how: record.how.word().into(),
            by: record.by.clone(),
            why: record.why.clone(),
            changes: changes(&vault, before, deployment, identities.as_ref())?,
        });
    }
    Ok(Log { namespace: install.namespace, release: install.release, total: all.len(), deployments: lines })
}

fn changes(
    vault: &Vault,
    before: Option<&Deployment>,
    deployment: &Deployment,
    identities: Option<&Identities>,
) -> Result<Option<String>> {
    let Some(before) = before else { return Ok(Some("first".into())) };
    if before.values_sha256().is_some() && before.values_sha256() == deployment.values_sha256() {
        return Ok(Some("same values".into()));
    }
    let Some(identities) = identities else { return Ok(None) };
    let old = Tree::parse(&vault.values(before, identities)?)?;
    let new = Tree::parse(&vault.values(deployment, identities)?)?;
    Ok(Some(diff(&old, &new, &Scrubber::new(None)).summary()))
}
