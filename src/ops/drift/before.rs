//! What `dr deploy` does about drift: it would go over what others have changed.

use std::time::Duration;

use super::cause::Cause;
use super::facts;
use super::plan::report;
use super::report::{Between, DriftFinding, DriftReport, Extent};
use crate::error::{CommandError, Exit, Result};
use crate::helm::Object;
use crate::ops::Ctx;
use crate::ops::history::{History, LiveValues};
use crate::settings::OnDrift;
use crate::values::Scrubber;

/// How long a deployment looks at the objects before it goes on without.
const OBJECTS_LIMIT: Duration = Duration::from_secs(20);
/// How many findings are told one by one.
const TOLD: usize = 8;

/// What a deployment learns from looking for drift.
#[derive(Default)]
pub(in crate::ops) struct BeforeDeploy {
    /// Whether helm must be told to go over what others have set, since it would refuse else and the operator has agreed.
    pub goes_over: bool,
    /// The objects of helm's deployed revision, where they were read.
    pub stored: Option<Vec<Object>>,
}

/// Warns of drift or refuses it, as the settings say. `--allow drift` turns a refusal into a warning.
///
/// # Errors
/// [`Exit::Drift`] when the settings say `refuse`; what the vault or helm fail with.
pub(in crate::ops) async fn before_deploy(
    ctx: &Ctx,
    history: &History,
    values: &LiveValues,
    scrubber: &Scrubber,
    allow: &[String],
) -> Result<BeforeDeploy> {
    let settings = &ctx.settings()?.drift;
    let (on_drift, allowed) = (settings.on_deploy, allow.iter().any(|id| id == "drift"));
    let (helm, release) = (ctx.helm().await?, &ctx.install().release);
    if on_drift == OnDrift::Ignore {
        let goes_over = allowed && helm.applies_on_server(release).await?;
        return Ok(BeforeDeploy { goes_over, stored: None });
    }
    let facts = facts::gather(ctx, history, Some(OBJECTS_LIMIT)).await?;
    let mut report = report(ctx.install(), &settings.ignore, history, values, &facts, scrubber);
    // What was interrupted is explained and settled by the deployment itself.
    report.drift.retain(|finding| !matches!(finding.cause, Cause::Interrupted { .. }));
    if report.helm.is_some()
        && let Extent::Not { because } = &report.objects
    {
        ctx.events.note(format!("the live objects were not compared with helm's: {because}"));
    }
    refuse(&report, on_drift, allowed)?;
    // Only helm 4 refuses it, and only objects that are there and say otherwise.
    let touched =
        report.drift.iter().any(|finding| finding.between == Between::HelmCluster && !finding.fields.is_empty());
    let refuses = touched && helm.applies_on_server(release).await?;
    for (warning, hint) in warnings(&report, refuses, allowed) {
        ctx.events.warn(warning, hint);
    }
    if report.drift.len() > TOLD {
        ctx.events.note(format!("and {} more differences", report.drift.len() - TOLD));
    }
    Ok(BeforeDeploy { goes_over: refuses && allowed, stored: facts.stored })
}

/// Refuses drift where the settings say so and nobody has allowed it.
///
/// # Errors
/// [`Exit::Drift`].
fn refuse(report: &DriftReport, on_drift: OnDrift, allowed: bool) -> Result<()> {
    let refuses = !report.drift.is_empty() && on_drift == OnDrift::Refuse && !allowed;
    if refuses { Err(refusal(report)) } else { Ok(()) }
}

/// What is said of drift that is let through, each with what to do about it. `refuses`: helm refuses to go over it.
fn warnings(report: &DriftReport, refuses: bool, allowed: bool) -> Vec<(String, Option<String>)> {
    let way = match (refuses, allowed) {
        (true, false) => "helm refuses to go over what others have set: --allow drift has it do so.",
        _ => "This deployment goes over it.",
    };
    let mut lines: Vec<(String, Option<String>)> =
        report.drift.iter().take(TOLD).map(|finding| (line(finding), None)).collect();
    if let Some((_, hint)) = lines.last_mut() {
        *hint = Some(format!("`dr config drift` shows it all. {way}"));
    }
    lines
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
    let first = report.drift.first().map(line).unwrap_or_default();
    let mut error = CommandError::new(Exit::Drift, format!("the install is not what the vault says: {first}"));
    for finding in report.drift.iter().skip(1).take(TOLD) {
        error = error.hint(format!("Also {}.", line(finding)));
    }
    error
        .hint("`dr config drift` shows it all. Bring what is meant into the values, or put the install back.")
        .hint("What is meant to differ goes into `[[drift.ignore]]` in dr.toml, with its reason.")
        .hint("Add --allow drift to go over it.")
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
            notes: Vec::new(),
        }
    }

    #[test]
    fn drift_is_refused_only_where_the_settings_say_so_and_nobody_has_allowed_it() {
        let error = refuse(&report(2), OnDrift::Refuse, false).unwrap_err();
        assert_eq!(error.exit(), Exit::Drift);
        assert!(error.hints().last().unwrap().contains("--allow drift"), "{error:?}");
        assert!(refuse(&report(2), OnDrift::Refuse, true).is_ok());
        assert!(refuse(&report(2), OnDrift::Warn, false).is_ok());
        assert!(refuse(&report(0), OnDrift::Refuse, false).is_ok());
    }

    #[test]
    fn the_last_warning_says_what_becomes_of_it() {
        assert!(warnings(&report(0), false, false).is_empty());
        let told = warnings(&report(20), true, false);
        assert_eq!(told.iter().filter(|(_, hint)| hint.is_some()).count(), 1);
        assert_eq!(told.len(), TOLD);
        assert!(told.last().unwrap().1.as_deref().unwrap().contains("--allow drift"), "helm would refuse");
        assert!(!warnings(&report(1), true, true)[0].1.as_deref().unwrap().contains("--allow"), "it was allowed");
    }
}
