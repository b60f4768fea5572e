//! `dr config log`: the deployments, newest first.

mod summary;

use jiff::Timestamp;
use serde::Serialize;

use super::when;
use crate::crypt::SignedBy;
use crate::error::{CommandError, Exit, Result};
use crate::ops::Ctx;
use crate::opschain::Version;
use crate::vault::{Deployment, RecordedInstall};
pub use summary::Changes;

/// Which deployments are to be listed. What is not given lets all through.
#[derive(Debug, Clone, Default)]
pub struct LogRequest {
    /// The most to list; 0 lists all.
    pub limit: usize,
    /// `NAMESPACE.RELEASE`; the install of the settings otherwise.
    pub install: Option<String>,
    /// Every install of the vault.
    pub all_installs: bool,
    /// Not before this time.
    pub since: Option<String>,
    /// Not after this time; a day counts to its end.
    pub until: Option<String>,
    /// The OpsChain version, or the chart's.
    pub version: Option<String>,
    /// `deployed`, `failed`, `interrupted` or `unknown`.
    pub state: Option<String>,
    /// A text that stands in who or why, in any case.
    pub grep: Option<String>,
}

/// A deployment in a line.
#[derive(Debug, Serialize)]
pub struct LogLine {
    pub id: String,
    /// `NAMESPACE.RELEASE`.
    pub install: String,
    pub at: Timestamp,
    /// `deployed`, `failed`, `interrupted`, or `unknown` when `dr` was killed before it knew.
    pub state: String,
    /// Whether it is the newest of its install that went live: whether it still is, only the cluster knows.
    pub deployed_last: bool,
    /// The OpsChain version, or the chart's.
    pub version: String,
    pub revision: Option<u32>,
    /// What made it.
    pub how: String,
    /// Who, as the record says.
    pub by: String,
    /// Who signed it.
    pub signed_by: Option<SignedBy>,
    pub why: Option<String>,
    /// What changed in the values against the deployment before it in time; nothing without an identity.
    pub changes: Option<Changes>,
}

/// The deployments, newest first.
#[derive(Debug, Serialize)]
pub struct Log {
    /// The install, or `all`.
    pub install: String,
    /// How many fit what was asked for.
    pub total: usize,
    /// The newest of them.
    pub deployments: Vec<LogLine>,
}

/// Lists deployments, with what changed where an identity is at hand.
///
/// # Errors
/// The vault cannot be read; a time, version or install that is none.
pub fn log(ctx: &Ctx, request: &LogRequest) -> Result<Log> {
    let vault = ctx.vault()?;
    let wanted = Wanted::read(request)?;
    let own = ctx.vault_install();
    let name = match &request.install {
        Some(name) => name.clone(),
        None => install_name(&own),
    };
    let mut all = if request.all_installs || request.install.is_some() {
        vault.every_deployment()?
    } else {
        vault.deployments(&own)?
    };
    if let (Some(name), false) = (&request.install, request.all_installs) {
        refuse_unknown(name, &all)?;
        all.retain(|deployment| install_name(&deployment.record.install) == *name);
    }
    // Each beside the one before it in the same install.
    let mut pairs = Vec::with_capacity(all.len());
    for (place, deployment) in all.iter().enumerate() {
        let install = install_name(&deployment.record.install);
        let same = |other: &&Deployment| install_name(&other.record.install) == install;
        pairs.push((deployment, all[place + 1..].iter().find(same)));
    }
    let last: Vec<&Deployment> = deployed_last(&all);
    pairs.retain(|(deployment, _)| wanted.lets_through(deployment));
    let total = pairs.len();
    pairs.truncate(if request.limit == 0 { total } else { request.limit });
    // What is shown of the versions is counts and paths, so their secrets need not be registered.
    let identities = ctx.identities_if_set()?.map(|identities| identities.unwitnessed());
    let changes = summary::of_pairs(vault, identities.as_ref(), &pairs)?;
    let mut signers = vault.signers_of(&pairs.iter().map(|(deployment, _)| *deployment).collect::<Vec<_>>())?;
    let lines = pairs.iter().zip(changes).map(|((deployment, _), changes)| {
        let record = &deployment.record;
        LogLine {
            id: record.id.to_string(),
            install: install_name(&record.install),
            at: record.at,
            state: deployment.state().into(),
            deployed_last: last.iter().any(|last| last.id() == deployment.id()),
            version: version_of(deployment).to_owned(),
            revision: deployment.revision(),
            how: record.how.word().into(),
            by: record.by.clone(),
            signed_by: signers.remove(&record.id),
            why: record.why.clone(),
            changes,
        }
    });
    let install = if request.all_installs { "all".into() } else { name };
    Ok(Log { install, total, deployments: lines.collect() })
}

fn install_name(install: &RecordedInstall) -> String {
    format!("{}.{}", install.namespace, install.release)
}

fn version_of(deployment: &Deployment) -> &str {
    deployment.record.opschain_version.as_deref().unwrap_or(&deployment.record.chart.version)
}

/// Of each install the newest that went live.
fn deployed_last(all: &[Deployment]) -> Vec<&Deployment> {
    let mut last: Vec<&Deployment> = Vec::new();
    for deployment in all.iter().filter(|deployment| deployment.is_deployed()) {
        let install = install_name(&deployment.record.install);
        if !last.iter().any(|known| install_name(&known.record.install) == install) {
            last.push(deployment);
        }
    }
    last
}

fn refuse_unknown(name: &str, all: &[Deployment]) -> Result<()> {
    let mut known: Vec<String> = all.iter().map(|deployment| install_name(&deployment.record.install)).collect();
    known.sort_unstable();
    known.dedup();
    if known.iter().any(|known| known == name) {
        return Ok(());
    }
    let hint = match known.as_slice() {
        [] => "Nothing is recorded yet: `dr deploy` or `dr config record` does it.".into(),
        known => format!("It knows {}.", known.join(", ")),
    };
    Err(CommandError::new(Exit::NotFound, format!("the vault knows no install `{name}`")).hint(hint))
}

/// What was asked for, read.
struct Wanted {
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    version: Option<(String, Option<Version>)>,
    state: Option<String>,
    grep: Option<String>,
}

impl Wanted {
    fn read(request: &LogRequest) -> Result<Self> {
        let (since, until) = when::range(request.since.as_deref(), request.until.as_deref(), Timestamp::now())?;
        Ok(Self {
            since,
            until,
            version: request.version.as_ref().map(|text| (text.clone(), text.parse().ok())),
            state: request.state.clone(),
            grep: request.grep.as_ref().map(|text| text.to_lowercase()),
        })
    }

    fn lets_through(&self, deployment: &Deployment) -> bool {
        let record = &deployment.record;
        let holds = |text: &str, wanted: &str| text.to_lowercase().contains(wanted);
        self.since.is_none_or(|since| record.at >= since)
            && self.until.is_none_or(|until| record.at <= until)
            && self.state.as_ref().is_none_or(|state| deployment.state() == state)
            && self.version.as_ref().is_none_or(|(text, version)| {
                [version_of(deployment), &record.chart.version].into_iter().any(|known| {
                    known == text || version.as_ref().is_some_and(|v| known.parse::<Version>().is_ok_and(|k| k == *v))
                })
            })
            && self.grep.as_ref().is_none_or(|wanted| {
                holds(&record.by, wanted) || record.why.as_ref().is_some_and(|why| holds(why, wanted))
            })
    }
}
