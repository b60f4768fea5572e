//! `dr config log`: the deployments, newest first.

mod summary;
mod unread;

use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use super::when;
use crate::clock;
use crate::crypt::SignedBy;
use crate::error::{CommandError, Exit, Result};
use crate::ops::Ctx;
use crate::opschain::Version;
use crate::vault::{Deployment, RecordedInstall, Survey, UnreadRecord, Vault};
pub use summary::Changes;
use summary::{Before, LogKeys, Pair};
pub use unread::Unread;

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

/// A deployment in a line. Of one that cannot be read, only its place and the reason are known.
#[derive(Debug, Serialize)]
pub struct LogLine {
    pub id: String,
    /// `NAMESPACE.RELEASE`.
    pub install: String,
    /// The kubeconfig context that the host which made it reached the cluster by: its own word for the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// The uid of the cluster, where the record names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// Nothing where not even its name tells.
    pub at: Option<Timestamp>,
    /// `deployed`, `failed`, `interrupted`, `unknown` when `dr` was killed before it knew, or `unreadable`.
    pub state: String,
    /// Whether it is the newest of its install and cluster that went live: whether it still is, only the cluster knows.
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
    /// Why its record or its values cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unread: Option<Unread>,
}

/// The deployments, newest first.
#[derive(Debug, Serialize)]
pub struct Log {
    /// The install, or `all`.
    pub install: String,
    /// How many are recorded, whatever was asked for.
    pub recorded: usize,
    /// How many fit what was asked for.
    pub total: usize,
    /// The newest of them.
    pub deployments: Vec<LogLine>,
    /// How many of these could not be read.
    pub unread: usize,
}

impl Log {
    /// 0 when all that is listed was read; else what the gravest reason says.
    pub fn exit(&self) -> Exit {
        unread::gravest(self.deployments.iter().filter_map(|line| line.unread.as_ref()))
    }
}

/// Lists deployments, with what changed where an identity is at hand. What cannot be read is a line of its own.
///
/// # Errors
/// The vault cannot be read at all; a time, version or install that is none.
pub fn log(ctx: &Ctx, request: &LogRequest) -> Result<Log> {
    let vault = ctx.vault_to_read()?;
    let wanted = Wanted::read(request)?;
    let own = install_name(&ctx.vault_install());
    let name = request.install.clone().unwrap_or(own);
    let mut all = vault.survey()?;
    if !request.all_installs {
        if request.install.is_some() {
            refuse_unknown(&name, &all)?;
        }
        all.deployments.retain(|deployment| install_name(&deployment.record.install) == name);
        all.unread.retain(|unread| unread.install == name);
    }
    let recorded = all.deployments.len() + all.unread.len();
    let mut pairs = pairs(&all);
    let last = deployed_last(&all);
    pairs.retain(|(deployment, _)| wanted.lets_through(deployment));
    // What was asked for may be in those that cannot be read: only by their time are they left out.
    let unread: Vec<&UnreadRecord> = all.unread.iter().filter(|unread| wanted.may_let_through(unread)).collect();
    let total = pairs.len() + unread.len();
    let rows = newest(&pairs, &unread, if request.limit == 0 { total } else { request.limit });
    let pairs: Vec<Pair<'_>> = rows.iter().filter_map(|row| row.as_ref().ok().copied()).collect();
    let mut read = lines(ctx, &vault, &pairs, &last)?.into_iter();
    let deployments: Vec<LogLine> = rows
        .into_iter()
        .filter_map(|row| row.map_or_else(|unread| Some(unreadable(unread)), |_| read.next()))
        .collect();
    let unread = deployments.iter().filter(|line| line.unread.is_some()).count();
    let install = if request.all_installs { "all".into() } else { name };
    Ok(Log { install, recorded, total, deployments, unread })
}

/// Each deployment beside the one before it in the same install, not in another cluster.
fn pairs(all: &Survey) -> Vec<Pair<'_>> {
    let before = |place: usize, deployment: &Arc<Deployment>| {
        let install = install_name(&deployment.record.install);
        let is_of_it = |other: &&Arc<Deployment>| {
            let there = &other.record.install;
            install_name(there) == install && !there.is_in_another_cluster(&deployment.record.install)
        };
        let before = all.deployments[place + 1..].iter().find(is_of_it);
        let between = all.unread.iter().filter(|unread| unread.install == install).any(|unread| {
            let at = unread.id.as_ref().and_then(|id| id.moment());
            at.is_none_or(|at| at <= deployment.record.at && before.is_none_or(|before| at >= before.record.at))
        });
        match before {
            _ if between => Before::Unread,
            Some(before) => Before::Read(before),
            None => Before::None,
        }
    };
    let each = all.deployments.iter().enumerate();
    each.map(|(place, deployment)| (&**deployment, before(place, deployment))).collect()
}

/// The newest of both, newest first; what has no time comes first, so that no limit hides it.
fn newest<'a>(
    pairs: &[Pair<'a>],
    unread: &[&'a UnreadRecord],
    limit: usize,
) -> Vec<std::result::Result<Pair<'a>, &'a UnreadRecord>> {
    let at = |row: &std::result::Result<Pair<'a>, &'a UnreadRecord>| match row {
        Ok((deployment, _)) => Some(deployment.record.at),
        Err(unread) => unread.id.as_ref().and_then(|id| id.moment()),
    };
    let mut rows: Vec<_> = pairs.iter().copied().map(Ok).chain(unread.iter().copied().map(Err)).collect();
    // The order of those of one moment is that of the chain, and stays.
    rows.sort_by_key(|row| std::cmp::Reverse(at(row).unwrap_or(Timestamp::MAX)));
    rows.truncate(limit);
    rows
}

fn lines(ctx: &Ctx, vault: &Vault, pairs: &[Pair<'_>], last: &[&Deployment]) -> Result<Vec<LogLine>> {
    // What is shown of the versions is counts and paths, so their secrets need not be registered.
    let keys = LogKeys::of(ctx, vault);
    let changes = summary::of_pairs(vault, &keys, pairs)?;
    let signed = vault.signers_of(&pairs.iter().map(|(deployment, _)| *deployment).collect::<Vec<_>>());
    let mut signers = signed.unwrap_or_else(|error| {
        ctx.events.warn(
            format!("who signed what cannot be told: {error}"),
            Some("`dr config verify` shows what is wrong.".into()),
        );
        Default::default()
    });
    let lines = pairs.iter().zip(changes).map(|((deployment, _), changes)| {
        let record = &deployment.record;
        let (changes, unread) = match changes {
            Ok(changes) => (changes, None),
            Err(unread) => (None, Some(unread)),
        };
        LogLine {
            id: record.id.to_string(),
            install: install_name(&record.install),
            context: record.install.context.clone(),
            cluster: record.install.cluster.clone(),
            at: Some(record.at),
            state: deployment.state().into(),
            deployed_last: last.iter().any(|last| last.id() == deployment.id()),
            version: version_of(deployment).to_owned(),
            revision: deployment.revision(),
            how: record.how.word().into(),
            by: record.by.clone(),
            signed_by: signers.remove(&record.id),
            why: record.why.clone(),
            changes,
            unread,
        }
    });
    Ok(lines.collect())
}

/// The line of what cannot be read.
fn unreadable(unread: &UnreadRecord) -> LogLine {
    let id = unread.id.as_ref();
    LogLine {
        id: id.map_or_else(|| unread.folder.clone(), ToString::to_string),
        install: unread.install.clone(),
        context: None,
        cluster: None,
        at: id.and_then(|id| id.moment()),
        state: "unreadable".into(),
        deployed_last: false,
        version: String::new(),
        revision: None,
        how: String::new(),
        by: String::new(),
        signed_by: None,
        why: None,
        changes: None,
        unread: Some(Unread::of_record(&unread.error)),
    }
}

fn install_name(install: &RecordedInstall) -> String {
    format!("{}.{}", install.namespace, install.release)
}

fn version_of(deployment: &Deployment) -> &str {
    deployment.record.opschain_version.as_deref().unwrap_or(&deployment.record.chart.version)
}

/// Of each install, in each cluster, the newest that went live; nothing where a newer one cannot be read.
fn deployed_last(all: &Survey) -> Vec<&Deployment> {
    let mut seen: Vec<(String, Option<&str>)> = Vec::new();
    let mut last: Vec<&Deployment> = Vec::new();
    for deployment in all.deployments.iter().filter(|deployment| deployment.is_deployed()) {
        let (install, cluster) =
            (install_name(&deployment.record.install), deployment.record.install.cluster.as_deref());
        // A record without a cluster is older than those that have one, and may be of any.
        if seen.iter().any(|(other, at)| *other == install && (cluster.is_none() || at.is_none() || *at == cluster)) {
            continue;
        }
        let is_newer = |unread: &UnreadRecord| {
            let at = unread.id.as_ref().and_then(|id| id.moment());
            unread.install == install && at.is_none_or(|at| at >= deployment.record.at)
        };
        if !all.unread.iter().any(is_newer) {
            last.push(deployment);
        }
        seen.push((install, cluster));
    }
    last
}

fn refuse_unknown(name: &str, all: &Survey) -> Result<()> {
    let mut known: Vec<String> =
        all.deployments.iter().map(|deployment| install_name(&deployment.record.install)).collect();
    known.extend(all.unread.iter().map(|unread| unread.install.clone()));
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
        let (since, until) = when::range(request.since.as_deref(), request.until.as_deref(), clock::now())?;
        Ok(Self {
            since,
            until,
            version: request.version.as_ref().map(|text| (text.clone(), text.parse().ok())),
            state: request.state.clone(),
            grep: request.grep.as_ref().map(|text| text.to_lowercase()),
        })
    }

    fn may_let_through(&self, unread: &UnreadRecord) -> bool {
        let Some(at) = unread.id.as_ref().and_then(|id| id.moment()) else { return true };
        self.since.is_none_or(|since| at >= since) && self.until.is_none_or(|until| at <= until)
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
