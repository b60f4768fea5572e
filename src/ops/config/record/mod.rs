//! `dr config record`: deployments of the past, written down now.
//!
//! Find what is to be recorded, look at each (nothing is changed), write each down, with its outcome. A record carries
//! the time of what it describes; the order of writing is the chain's (`docs/reference/vault-format.md`).

mod candidates;
mod place;
mod plan;
mod planner;
mod request;

pub use plan::{PreparedRecords, RecordAction, RecordItem, RecordPlan};
pub use request::{Origin, RecordRequest};

use jiff::Timestamp;
use serde::Serialize;

use crate::error::{CommandError, Exit, Result};
use crate::event::Event;
use crate::helm::{ChartFacts, ChartFile, ChartSource};
use crate::ops::Ctx;
use crate::settings::Install;
use crate::values::Tree;
use crate::values::lint::LintFinding;
use crate::vault::{DeploymentId, Ended};

/// One deployment that was written down.
#[derive(Debug, Serialize)]
pub struct RecordedOne {
    /// The deployment's name.
    pub id: DeploymentId,
    /// When it was deployed.
    pub at: Timestamp,
    /// The file, or helm's revision.
    pub from: String,
    /// Why its cluster is not in the record, where it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_cluster: Option<&'static str>,
    /// What lint found in its values.
    pub findings: Vec<LintFinding>,
}

/// What was written down.
#[derive(Debug, Serialize)]
pub struct RecordReport {
    /// The deployments, oldest first.
    pub recorded: Vec<RecordedOne>,
    /// What was in the vault before, and under which name.
    pub present: Vec<(String, String)>,
    /// What could not be recorded, and why.
    pub refused: Vec<(String, String)>,
}

impl RecordReport {
    /// A failure when something could not be recorded, though the rest was.
    pub fn exit(&self) -> Exit {
        if self.refused.is_empty() { Exit::Success } else { Exit::Failure }
    }
}

/// Finds what is to be recorded, and looks at each. Changes nothing.
///
/// # Errors
/// The vault, the folder, helm or the chart cannot be read; a single file that cannot be recorded.
pub async fn plan_records(ctx: &Ctx, request: RecordRequest) -> Result<PreparedRecords> {
    let vault = ctx.vault()?;
    // Why and by whom are written in the clear: they quote no secret of what was deployed.
    ctx.register_newest_deployments();
    let single = matches!(request.origin, Origin::File { .. });
    let (request, mut candidates) = candidates::find(ctx, request).await?;
    let archive = fetch_archive(ctx, &request, candidates.first().and_then(|one| one.chart.as_ref())).await?;
    candidates
        .sort_by(|a, b| (a.at.as_ref().ok(), a.revision, &a.name).cmp(&(b.at.as_ref().ok(), b.revision, &b.name)));
    let place = place::RecordPlace::find(ctx, &request).await;
    let facts = archive.as_ref().map(|(_, facts)| facts);
    let mut planner = planner::RecordPlanner::new(ctx, &request, facts, (vault, place))?;
    let (mut items, mut drafts) = (Vec::new(), Vec::new());
    for candidate in candidates {
        let mut hint = "`dr config record --help` shows how the date and the version are given.";
        if let Ok(bytes) = &candidate.bytes {
            ctx.secrets().register_document(bytes);
            if !request.keep_unread && Tree::parse_or_keep(bytes).unread().is_some() {
                hint = "Fix the file at that place, or record the one that was deployed.";
            }
        }
        let (item, draft) = planner.plan(candidate);
        if let (true, RecordAction::Refused { reason, exit }) = (single, &item.action) {
            return Err(CommandError::new(*exit, format!("{}: {reason}", item.from)).hint(hint));
        }
        items.push(item);
        drafts.push(draft);
    }
    let Install { namespace, release, .. } = ctx.install().clone();
    let plan = RecordPlan { namespace: namespace.into(), release: release.into(), items };
    Ok(PreparedRecords { plan, drafts, archive: archive.map(|(file, _)| file) })
}

/// The chart that was named. Where helm knows name and version of the one that it `deployed`, it must be that.
async fn fetch_archive(
    ctx: &Ctx,
    request: &RecordRequest,
    deployed: Option<&(String, String)>,
) -> Result<Option<(ChartFile, ChartFacts)>> {
    let Some(reference) = &request.chart else { return Ok(None) };
    let helm = ctx.helm().await?;
    let version = deployed.map(|(_, version)| version.as_str());
    let chart = helm.fetch(&ChartSource::parse(reference), version).await?;
    let facts = helm.chart_facts(&chart.path()).await?;
    if let Some((name, version)) = deployed.filter(|(name, version)| (name, version) != (&facts.name, &facts.version)) {
        let found =
            format!("{reference} is chart {} {}, and helm deployed {name} {version}", facts.name, facts.version);
        return Err(CommandError::new(Exit::Usage, found)
            .hint(format!("Name the chart that was deployed: `helm pull` gets {name} {version}.")));
    }
    Ok(Some((chart, facts)))
}

/// Writes each down, with its outcome.
///
/// Between two of them it may be interrupted, and a crash leaves those that were written; the same command then goes on
/// with the rest, since what is there is not written again.
///
/// # Errors
/// What the vault fails with, or [`Exit::Interrupted`].
pub fn execute_records(ctx: &Ctx, prepared: PreparedRecords) -> Result<RecordReport> {
    let PreparedRecords { plan, drafts, archive } = prepared;
    let vault = ctx.vault()?;
    let total = plan.to_write() as u64;
    let mut report = RecordReport { recorded: Vec::new(), present: Vec::new(), refused: Vec::new() };
    for (item, draft) in plan.items.into_iter().zip(drafts) {
        match item.action {
            RecordAction::Present { by } => {
                report.present.push((item.from, by));
                continue;
            }
            RecordAction::Refused { reason, .. } => {
                report.refused.push((item.from, reason));
                continue;
            }
            RecordAction::Record => {}
        }
        let Some(intent) = draft.intent else { continue };
        ctx.check_cancelled()?;
        let at = intent.at;
        let ended = Ended { status: draft.status, helm_revision: item.revision };
        let id = vault.record_past(intent, &draft.bytes, archive.as_ref().map(ChartFile::bytes), ended)?;
        let (from, no_cluster, findings) = (item.from, item.no_cluster, item.findings);
        report.recorded.push(RecordedOne { id, at, from, no_cluster, findings });
        let done = report.recorded.len() as u64;
        if total > 1 {
            let (what, unit) = ("recorded".into(), "deployments".into());
            ctx.events.emit(Event::Progress { what, done, total: Some(total), unit });
        }
    }
    Ok(report)
}
