//! What the columns say of each other. Nothing here asks anybody.

use super::cause::Cause;
use super::facts::DriftFacts;
use super::report::{Between, DriftFinding, DriftReport, Extent, HelmSide, Ignored, VaultSide};
use super::{ignore, loss, objects, release};
use crate::ops::history::{History, LiveValues};
use crate::ops::objects::{Act, Field, compare, mask_values};
use crate::settings::{DriftIgnore, Install};
use crate::values::{Path, Scrubber, Segment};

/// Compares.
pub(super) fn report(
    install: &Install,
    ignore: &[DriftIgnore],
    history: &History,
    values: &LiveValues,
    facts: &DriftFacts,
    scrubber: &Scrubber,
) -> DriftReport {
    let mut judged = release::judge(&history.deployments, &history.revisions, scrubber);
    for cause in &mut judged.causes {
        if let Cause::DeployedOutside { by, .. } | Cause::RolledBack { by, .. } = cause {
            by.clone_from(&facts.writer);
        }
    }
    let mut drift = Vec::new();
    let values = compare_values(&judged, values, facts.helm_major, scrubber, &mut drift);
    let mut notes = judged.notes.clone();
    let mut meant = Vec::new();
    let objects = match &facts.seen {
        Err(because) => Extent::Not { because: scrubber.scrub(because).into_owned() },
        Ok(seen) => {
            let failed = history.failed_above().filter(|_| judged.revision.is_some()).map(|failed| failed.revision);
            let found = objects::compare_all(facts.stored.as_deref().unwrap_or_default(), seen, failed, scrubber);
            drift.extend(found.findings);
            notes.extend(found.notes);
            meant = found.meant;
            Extent::Whole { count: found.compared }
        }
    };
    let (drift, mut ignored) = ignore::apply(drift, ignore);
    ignored.splice(0..0, meant.into_iter().map(|(object, path, reason)| Ignored { object, path, reason }));
    DriftReport {
        namespace: install.namespace.clone(),
        release: install.release.clone(),
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
fn compare_values(
    judged: &release::Judged<'_>,
    values: &LiveValues,
    helm_major: u64,
    scrubber: &Scrubber,
    drift: &mut Vec<DriftFinding>,
) -> Extent {
    let (recorded, stored) = (values.recorded.as_ref(), values.stored.as_ref().map(|stored| &stored.json));
    let empty = serde_json::json!({});
    let fields = match (recorded, stored) {
        (Some(tree), Some(stored)) => {
            let stored = if stored.is_null() { &empty } else { stored };
            Some(compare(&mask_values(&tree.to_json(), scrubber), &mask_values(stored, scrubber)))
        }
        _ => None,
    };
    let mut fields_left = fields.clone().unwrap_or_default();
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
        let how = match (judged.own, recorded) {
            (true, Some(tree)) => Cause::ResolverLoss { how: loss::read_otherwise(tree, helm_major) },
            _ => Cause::Unknown,
        };
        drift.push(DriftFinding::new(Between::VaultHelm, "values".into(), how, fields_left));
    }
    if let Some(tree) = recorded.filter(|_| stored.is_some()) {
        let rounded = loss::rounded(tree, scrubber);
        if !rounded.is_empty() {
            let cause =
                Cause::ResolverLoss { how: "helm computes with 64-bit floats, which cannot hold the number".into() };
            drift.push(DriftFinding::new(Between::VaultHelm, "values".into(), cause, rounded));
        }
    }
    match (recorded, stored, judged.deployment) {
        (Some(tree), Some(_), _) => Extent::Whole { count: tree.leaves().len() },
        (_, None, None) => Extent::Not { because: "neither the vault nor helm has anything of this release".into() },
        (_, None, _) => Extent::Not { because: "helm has no deployed revision".into() },
        (_, _, None) => Extent::Not { because: "the vault has no deployment that went live".into() },
        (None, _, Some(_)) => {
            Extent::Not { because: "no identity on this host opens the vault's values (`[keys] identity`)".into() }
        }
    }
}
