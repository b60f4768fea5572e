//! What the columns say of each other. Nothing here asks anybody.

use super::cause::Cause;
use super::facts::{DriftFacts, ValuesFacts};
use super::report::{Between, DriftFinding, DriftReport, Extent, HelmSide, Ignored, VaultSide};
use super::{ignore, loss, objects, release};
use crate::ops::history::History;
use crate::ops::objects::{Act, Field};
use crate::settings::DriftIgnore;
use crate::values::{Path, Segment};

/// Says what differs and why, but for what `rules` let differ.
pub(super) fn report(rules: &[DriftIgnore], history: &History, facts: &DriftFacts) -> DriftReport {
    let mut judged = release::judge(&history.deployments, &history.revisions);
    for cause in &mut judged.causes {
        if let Cause::DeployedOutside { by, .. } | Cause::RolledBack { by, .. } = cause {
            by.clone_from(&facts.writer);
        }
    }
    let mut drift = Vec::new();
    let values = judge_values(&judged, &facts.values, facts.helm_major, &mut drift);
    let mut notes = judged.notes.clone();
    let mut meant = Vec::new();
    let objects = match &facts.objects {
        Err(because) => Extent::Not { because: because.clone() },
        Ok(seen) => {
            let failed = history.failed_above().filter(|_| judged.revision.is_some()).map(|failed| failed.revision);
            let found = objects::judge(seen, failed);
            drift.extend(found.findings);
            notes.extend(found.notes);
            meant = found.meant;
            Extent::Whole { count: found.compared }
        }
    };
    let (drift, mut ignored) = ignore::apply(drift, rules);
    ignored.splice(0..0, meant.into_iter().map(|(object, path, reason)| Ignored { object, path, reason }));
    DriftReport {
        namespace: facts.namespace.clone(),
        release: facts.release.clone(),
        vault: judged.deployment.map(|deployment| VaultSide {
            deployment: deployment.id().to_string(),
            at: deployment.record.at,
            version: deployment.record.opschain_version.clone(),
            revision: deployment.revision(),
        }),
        helm: judged.revision.map(|revision| HelmSide {
            revision: revision.revision,
            at: revision.updated.clone(),
            chart: revision.chart.clone(),
        }),
        values,
        objects,
        drift,
        ignored,
        notes,
    }
}

/// The vault's values against helm's, with the cause that helm's history gives.
fn judge_values(
    judged: &release::Judged<'_>,
    values: &ValuesFacts,
    helm_major: u64,
    drift: &mut Vec<DriftFinding>,
) -> Extent {
    let mut fields_left = values.differ.clone();
    // The chart is part of what was recorded.
    if let (Some(deployment), Some(revision)) = (judged.deployment, judged.revision) {
        let chart = &deployment.record.chart;
        let recorded = format!("{}-{}", chart.name, chart.version);
        if recorded != revision.chart {
            let path = Path(vec![Segment::Key("(chart)".into())]);
            let (old, new) = (Some(recorded.into()), Some(revision.chart.as_str().into()));
            fields_left.insert(0, Field { path, what: Act::Changed, old, new });
        }
    }
    for cause in &judged.causes {
        let takes_fields = matches!(cause, Cause::DeployedOutside { .. } | Cause::RolledBack { .. });
        let fields = if takes_fields { std::mem::take(&mut fields_left) } else { Vec::new() };
        let object = if fields.is_empty() { "release" } else { "values" };
        drift.push(DriftFinding::new(Between::VaultHelm, object.into(), cause.clone(), fields));
    }
    if !fields_left.is_empty() {
        let cause = match (judged.own, values.recorded) {
            (true, Some(_)) => loss_of(loss::read_otherwise(values.second_document, helm_major)),
            _ => Cause::Unknown,
        };
        drift.push(DriftFinding::new(Between::VaultHelm, "values".into(), cause, fields_left));
    }
    if !values.rounded.is_empty() {
        let cause = loss_of("helm computes with 64-bit floats, which cannot hold the number");
        drift.push(DriftFinding::new(Between::VaultHelm, "values".into(), cause, values.rounded.clone()));
    }
    let because = match (values.recorded, values.stored, judged.deployment) {
        (Some(count), true, _) => return Extent::Whole { count },
        (_, false, None) => "neither the vault nor helm has anything of this release",
        (_, false, _) => "helm has no deployed revision",
        (_, _, None) => "the vault has no deployment that went live",
        (None, _, Some(_)) => "no identity on this host opens the vault's values (`[keys] identity`)",
    };
    Extent::Not { because: because.into() }
}

fn loss_of(how: &str) -> Cause {
    Cause::ResolverLoss { how: how.into() }
}
