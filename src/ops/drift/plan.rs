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
        half_done: None,
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
        let takes_fields = matches!(
            cause,
            Cause::DeployedOutside { .. }
                | Cause::DeployedElsewhere { .. }
                | Cause::Restored { .. }
                | Cause::RolledBack { .. }
        );
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Exit;

    const NONE: &str = include_str!("../../../fixtures/facts/drift-none.json");
    const BY_HAND: &str = include_str!("../../../fixtures/facts/drift-by-hand.json");
    const INTERRUPTED: &str = include_str!("../../../fixtures/facts/drift-interrupted.json");
    const BY_HELM: &str = include_str!("../../../fixtures/facts/drift-by-helm.json");
    const ROLLED_BACK: &str = include_str!("../../../fixtures/facts/drift-rolled-back.json");
    const FAILED: &str = include_str!("../../../fixtures/facts/drift-failed.json");

    fn recorded(text: &str) -> (History, DriftFacts) {
        serde_json::from_str(text).unwrap()
    }

    fn changed(text: &str, change: impl FnOnce(&mut History, &mut DriftFacts)) -> DriftReport {
        let (mut history, mut facts) = recorded(text);
        change(&mut history, &mut facts);
        report(&[], &history, &facts)
    }

    /// What is said of each object, once it ended with the exit code of drift.
    fn said(report: &DriftReport) -> Vec<String> {
        assert_eq!(report.exit(), Exit::Drift);
        report.drift.iter().map(|finding| format!("{}: {}", finding.object, finding.text)).collect()
    }

    #[track_caller]
    fn says(report: &DriftReport, beginnings: &[&str]) {
        let said = said(report);
        for beginning in beginnings {
            assert!(said.iter().any(|line| line.starts_with(beginning)), "`{beginning}` is not in {said:#?}");
        }
    }

    #[test]
    fn what_nobody_touched_is_no_drift() {
        let report = changed(NONE, |_, _| {});
        assert_eq!((report.exit(), &report.drift), (Exit::Success, &Vec::new()));
        assert_eq!((report.values, report.objects), (Extent::Whole { count: 41 }, Extent::Whole { count: 44 }));
        assert_eq!(report.vault.unwrap().revision, Some(report.helm.unwrap().revision));
    }

    #[test]
    fn what_was_done_by_hand_is_told_with_the_hand() {
        let report = changed(BY_HAND, |_, _| {});
        assert_eq!(report.drift.len(), 4, "{:#?}", report.drift);
        says(
            &report,
            &[
                "ConfigMap opschain-config: edited by hand with kubectl-patch, ",
                "Service opschain-ldap: missing in the cluster",
                "Deployment opschain-log-aggregator: scaled outside dr with kubectl",
                "Deployment opschain-build-service: edited by hand with kubectl-set, ",
            ],
        );
        let secret =
            &report.drift.iter().find(|finding| finding.object == "ConfigMap opschain-config").unwrap().fields[0];
        assert_eq!(secret.path.to_string(), "data.PGPASSWORD");
        assert!(secret.new.as_ref().unwrap().as_str().unwrap().starts_with(crate::redact::MASK), "{secret:?}");
    }

    #[test]
    fn what_the_settings_let_differ_is_no_drift() {
        let (history, facts) = recorded(BY_HAND);
        let rule =
            |object: &str, path: &str| DriftIgnore { object: object.into(), path: path.into(), reason: "x".into() };
        let one = super::report(&[rule("Deployment/opschain-log-aggregator", "spec.replicas")], &history, &facts);
        assert_eq!((one.drift.len(), one.ignored.len(), one.exit()), (3, 1, Exit::Drift));
        let all = super::report(&[rule("*", "*")], &history, &facts);
        assert_eq!((all.drift.len(), all.exit()), (0, Exit::Success));
    }

    #[test]
    fn what_helm_did_alone_is_told_with_its_revision() {
        let report = changed(BY_HELM, |_, _| {});
        says(&report, &["values: deployed outside dr with Helm: revision 4, "]);
        let fields = &report.drift.iter().find(|finding| finding.object == "values").unwrap().fields;
        assert_eq!(fields.iter().map(|field| field.path.to_string()).collect::<Vec<_>>(), ["env.PGPASSWORD"]);
        says(
            &changed(ROLLED_BACK, |_, _| {}),
            &["release: rolled back to revision 3 outside dr with Helm: revision 5, "],
        );
        says(
            &changed(FAILED, |_, _| {}),
            &[
                "release: an upgrade outside dr failed: revision 6, ",
                "Deployment opschain-api: written by the upgrade to revision 6, which failed half-way, ",
            ],
        );
        let never = changed(BY_HELM, |history, _| history.deployments.clear());
        says(&never, &["release: the vault knows nothing of this release: revision 4, "]);
        let gone = changed(NONE, |history, _| history.revisions.clear());
        says(&gone, &["release: the release is gone: uninstalled outside dr"]);
    }

    #[test]
    fn a_deployment_that_was_killed_is_told_with_what_helm_knows_of_it() {
        let report = changed(INTERRUPTED, |_, _| {});
        says(&report, &["release: deployment "]);
        assert!(said(&report)[0].ends_with(" was interrupted before its outcome was recorded; helm does not know it"));
        assert_eq!(report.notes, ["helm's newest revision, 3, is pending-upgrade"]);
    }

    #[test]
    fn a_column_that_was_not_compared_says_why() {
        let not = |report: &DriftReport| match (&report.values, &report.objects) {
            (Extent::Not { because }, _) | (_, Extent::Not { because }) => because.clone(),
            _ => panic!("{report:?}"),
        };
        let closed = changed(NONE, |_, facts| facts.values.recorded = None);
        assert_eq!(not(&closed), "no identity on this host opens the vault's values (`[keys] identity`)");
        let unknown = changed(NONE, |history, facts| {
            history.deployments.clear();
            facts.values.recorded = None;
        });
        assert_eq!(not(&unknown), "the vault has no deployment that went live");
        let gone = changed(NONE, |_, facts| facts.values.stored = false);
        assert_eq!(not(&gone), "helm has no deployed revision");
        let dumb = changed(NONE, |_, facts| facts.objects = Err("the cluster does not answer".into()));
        assert_eq!((not(&dumb).as_str(), dumb.exit()), ("the cluster does not answer", Exit::Success));
    }

    #[test]
    fn what_helm_read_otherwise_than_it_is_written_is_told() {
        let (_, other) = recorded(BY_HELM);
        let lost = |second_document, helm_major| {
            said(&changed(NONE, |_, facts| {
                facts.values.differ = other.values.differ.clone();
                facts.values.second_document = second_document;
                facts.helm_major = helm_major;
            }))
        };
        let otherwise = "values: helm read it otherwise than it is written: ";
        assert_eq!(
            lost(false, 4),
            [format!("{otherwise}the stored values are not those of the file that was recorded")]
        );
        assert_eq!(lost(true, 3), [format!("{otherwise}the file has a second document, which helm 3 ignores")]);
        let rounded = changed(NONE, |_, facts| facts.values.rounded = other.values.differ.clone());
        says(&rounded, &["values: helm read it otherwise than it is written: helm computes with 64-bit floats"]);
    }
}
