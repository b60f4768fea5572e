//! What `dr deploy` does about drift: it would overwrite what others have changed.

use super::cause::Cause;
use super::report::{Between, DriftFinding, DriftReport, Extent};
use crate::error::{CommandError, Exit, Result};
use crate::settings::OnDrift;

/// How many findings are told one by one.
const TOLD: usize = 8;

/// What was interrupted is explained and settled by the deployment itself.
fn told(report: &DriftReport) -> impl Iterator<Item = &DriftFinding> {
    report.drift.iter().filter(|finding| !matches!(finding.cause, Cause::Interrupted { .. }))
}

/// Whether the release would write fields that others have set since. Only helm 4 refuses that, and only of objects that
/// are there.
pub(in crate::ops) fn touches_fields(report: &DriftReport) -> bool {
    told(report).any(|finding| finding.between == Between::HelmCluster && !finding.fields.is_empty())
}

/// What is said of drift before a deployment, each with what to do about it. `helm_refuses` to go over it; `allowed`
/// turns a refusal into a warning.
///
/// # Errors
/// [`Exit::Drift`] when the settings say `refuse`.
pub(in crate::ops) fn before_deploy(
    report: &DriftReport,
    on_drift: OnDrift,
    helm_refuses: bool,
    allowed: bool,
) -> Result<Vec<(String, Option<String>)>> {
    let mut warnings = Vec::new();
    if report.helm.is_some()
        && let Extent::Not { because } = &report.objects
    {
        warnings.push((format!("the live objects were not compared with helm's: {because}"), None));
    }
    let count = told(report).count();
    if count > 0 && on_drift == OnDrift::Refuse && !allowed {
        return Err(refusal(report));
    }
    let way = match (helm_refuses, allowed) {
        (true, false) => "helm refuses to overwrite what others have set: --allow drift makes it do so.",
        _ => "This deployment overwrites it.",
    };
    warnings.extend(told(report).take(TOLD).map(|finding| (line(finding), None)));
    if let Some((_, hint)) = warnings.last_mut().filter(|_| count > 0) {
        let more = if count > TOLD { format!(", and {} more differences", count - TOLD) } else { String::new() };
        *hint = Some(format!("`dr config drift` shows it all{more}. {way}"));
    }
    Ok(warnings)
}

fn line(finding: &DriftFinding) -> String {
    let count = match finding.fields.len() {
        0 => String::new(),
        1 => format!(" ({})", finding.fields[0].path),
        count => format!(" ({count} fields)"),
    };
    format!("{}: {}{count}", finding.object, finding.text)
}

fn refusal(report: &DriftReport) -> CommandError {
    let first = told(report).next().map(line).unwrap_or_default();
    let mut error = CommandError::new(Exit::Drift, format!("the install is not what the vault says: {first}"));
    for finding in told(report).skip(1).take(TOLD) {
        error = error.hint(format!("Also {}.", line(finding)));
    }
    error
        .hint("`dr config drift` shows it all. Bring what is intended into the values, or put the install back.")
        .hint("Intended differences go into `[[drift.ignore]]` in dr.toml, with its reason.")
        .hint("Add --allow drift to overwrite it.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(findings: usize) -> DriftReport {
        let finding = || DriftFinding::new(Between::HelmCluster, "Deployment api".into(), Cause::Missing, Vec::new());
        DriftReport {
            namespace: "n".into(),
            release: "r".into(),
            vault: None,
            helm: None,
            values: Extent::Whole { count: 1 },
            objects: Extent::Whole { count: 1 },
            drift: (0..findings).map(|_| finding()).collect(),
            ignored: Vec::new(),
            half_done: None,
            notes: Vec::new(),
        }
    }

    fn said(report: &DriftReport, helm_refuses: bool, allowed: bool) -> Vec<(String, Option<String>)> {
        before_deploy(report, OnDrift::Warn, helm_refuses, allowed).unwrap()
    }

    #[test]
    fn drift_is_refused_only_where_the_settings_say_so_and_nobody_has_allowed_it() {
        let refused = |report: &DriftReport, allowed| before_deploy(report, OnDrift::Refuse, false, allowed);
        let error = refused(&report(2), false).unwrap_err();
        assert_eq!(error.exit(), Exit::Drift);
        assert!(error.hints().last().unwrap().contains("--allow drift"), "{error:?}");
        assert_eq!(refused(&report(2), true).unwrap().len(), 2);
        assert!(refused(&report(0), false).unwrap().is_empty());
        let cause = Cause::Interrupted { deployment: "d".into(), revision: None, status: None };
        let interrupted = DriftFinding::new(Between::VaultHelm, "release".into(), cause, Vec::new());
        let settled = DriftReport { drift: vec![interrupted], ..report(0) };
        assert!(refused(&settled, false).unwrap().is_empty(), "the deployment settles that itself");
    }

    #[test]
    fn the_last_warning_says_what_becomes_of_it() {
        assert!(said(&report(0), false, false).is_empty());
        let told = said(&report(20), true, false);
        assert_eq!(told.iter().filter(|(_, hint)| hint.is_some()).count(), 1);
        assert_eq!(told.len(), TOLD);
        let last = told.last().unwrap().1.as_deref().unwrap();
        assert!(last.contains("and 12 more differences") && last.contains("--allow drift"), "{last}");
        assert!(!said(&report(1), true, true)[0].1.as_deref().unwrap().contains("--allow"), "it was allowed");
    }
}
