//! What `dr deploy` does about drift: it would go over what others have changed.

use std::time::Duration;

use super::{Cause, Compared, DriftReport, Sources, look};
use crate::crypt::Identities;
use crate::error::{CommandError, Exit, Result};
use crate::helm::{Helm, Revision};
use crate::ops::Ctx;
use crate::settings::{OnDrift, Settings};
use crate::vault::{Deployment, Vault};

/// How long a deployment looks at the objects before it goes on without.
const OBJECTS_LIMIT: Duration = Duration::from_secs(20);
/// How many findings are told one by one.
const TOLD: usize = 8;

/// What a deployment knows already.
pub struct Known<'a> {
    /// The settings.
    pub settings: &'a Settings,
    /// helm.
    pub helm: &'a Helm,
    /// The vault.
    pub vault: &'a Vault,
    /// The keys of this host, where it has some.
    pub identities: Option<&'a Identities>,
    /// The install's deployments, newest first.
    pub deployments: &'a [Deployment],
    /// helm's revisions, oldest first.
    pub history: &'a [Revision],
}

/// Warns of drift or refuses it, as the settings say. `--allow drift` turns a refusal into a warning.
///
/// # Errors
/// [`Exit::Drift`] when the settings say `refuse`; what the vault or helm fail with.
pub async fn before_deploy(ctx: &Ctx, known: &Known<'_>, allow: &[String]) -> Result<()> {
    let on_drift = known.settings.drift.on_deploy;
    if on_drift == OnDrift::Ignore {
        return Ok(());
    }
    let sources = Sources {
        settings: known.settings,
        helm: known.helm,
        vault: known.vault,
        identities: known.identities,
        deployments: known.deployments,
        history: known.history,
        limit: Some(OBJECTS_LIMIT),
    };
    let mut report = look(ctx, &sources).await?;
    // What was interrupted is explained and settled by the deployment itself.
    report.drift.retain(|finding| !matches!(finding.cause, Cause::Interrupted { .. }));
    if report.helm.is_some()
        && let Compared::Not { because } = &report.objects
    {
        ctx.events.note(format!("the live objects were not compared with helm's: {because}"));
    }
    if report.drift.is_empty() {
        return Ok(());
    }
    if on_drift == OnDrift::Refuse && !allow.iter().any(|id| id == "drift") {
        return Err(refusal(&report));
    }
    let last = report.drift.len().min(TOLD) - 1;
    for (place, finding) in report.drift.iter().take(TOLD).enumerate() {
        let hint = (place == last).then(|| "`dr config drift` shows it all; this deployment goes over it.".to_owned());
        ctx.events.warn(line(finding), hint);
    }
    if report.drift.len() > TOLD {
        ctx.events.note(format!("and {} more differences", report.drift.len() - TOLD));
    }
    Ok(())
}

fn line(finding: &super::Finding) -> String {
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
