//! The release that was there before a restore over it: deployed again when the restore is given up.
//!
//! Not by helm's own rollback: it refuses where a chart renders an object only while that is not there, as OpsChain's does
//! with the Secrets that it keeps.

use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::chart::{self, HELM_LIMIT};
use super::existing::ExistingInstall;
use super::release;
use super::work::RestoreWork;
use crate::error::{CommandError, Exit, Result};
use crate::helm::{ChartFile, ChartSource, Revision, UpgradeRequest};
use crate::ops::{history, settle};

/// Deploys chart and values of the revision that was there, where this run has deployed others since. Safe to repeat.
///
/// # Errors
/// Helm does not know the revision any more, its chart cannot be had, or helm's own error.
pub(super) async fn put_back(work: &RestoreWork, existing: &ExistingInstall) -> Result<()> {
    settle::settle_release(&work.ctx, false, &work.helms, HELM_LIMIT).await?;
    let (release, number) = (&work.plan.release, existing.revision);
    let revisions = work.ctx.helm().await?.history(release).await?;
    let Some(newest) = revisions.last().filter(|newest| newest.revision != number) else { return Ok(()) };
    let was = revisions.iter().find(|revision| revision.revision == number).ok_or_else(|| {
        CommandError::new(Exit::Helm, format!("helm does not know revision {number} of release {release} any more"))
            .hint("Deploy what was there: `dr config log` shows it, `dr deploy rollback DEPLOYMENT` takes it.")
    })?;
    let description = description(was, &work.run);
    if newest.description == description && newest.status.is_deployed() {
        return Ok(());
    }
    let values = work.ctx.stored_values(number).await?;
    let values = values.filter(|values| !values.is_null()).map_or_else(|| "{}".to_owned(), |values| values.to_string());
    let values = Zeroizing::new(values.into_bytes());
    let chart = chart_of(work, was).await?;
    let path = chart.path();
    let request = UpgradeRequest {
        release,
        chart: &path,
        values: &values,
        sets: &[],
        timeout: HELM_LIMIT,
        wait: false,
        create_namespace: false,
        description: Some(&description),
        debug: false,
    };
    // What an abort has begun goes on through Ctrl-C.
    let helm = release::over_others(work).await?;
    let begun = |process| work.note_helm(process);
    helm.upgrade_install(&request, &work.ctx.events, &CancellationToken::new(), Some(&begun)).await?;
    Ok(())
}

/// What helm is to say of it: of a deployment of `dr` the same, so that it is known for that one again.
fn description(was: &Revision, run: &str) -> String {
    match was.description.starts_with("dr ") && history::restored_bundle(was).is_none() {
        true => was.description.clone(),
        false => format!("revision {} again, by {run}", was.revision),
    }
}

/// The chart of the revision: the bundle's, where that is of the same version; else the vault's; else that of the registry.
async fn chart_of(work: &RestoreWork, was: &Revision) -> Result<ChartFile> {
    if let Some(chart) = of_bundle(work, was).await {
        return Ok(chart);
    }
    if let Some(bytes) = of_vault(work, was) {
        return Ok(ChartFile::from_bytes(&bytes)?);
    }
    let install = work.ctx.install();
    let fetched = work.ctx.helm().await?.fetch(&ChartSource::parse(&install.chart), version_of(&was.chart)).await;
    fetched.map_err(|error| {
        CommandError::from(error).context(format!("chart {} of the release that was there", was.chart)).hint(format!(
            "Make it available as `install.chart` in dr.toml, a file perhaps; then `dr run abort {}`.",
            work.run
        ))
    })
}

async fn of_bundle(work: &RestoreWork, was: &Revision) -> Option<ChartFile> {
    let chart = chart::chart(&work.ctx, work.bundle().ok()?, &work.plan).await.ok()?;
    let facts = work.ctx.helm().await.ok()?.chart_facts(&chart.path()).await.ok()?;
    (format!("{}-{}", facts.name, facts.version) == was.chart).then_some(chart)
}

fn of_vault(work: &RestoreWork, was: &Revision) -> Option<Zeroizing<Vec<u8>>> {
    let vault = work.ctx.vault().ok()?;
    let deployments = vault.deployments(&work.ctx.vault_install()).ok()?;
    let own = deployments.iter().find(|deployment| history::is_of(was, deployment))?;
    let identities = work.ctx.identities_of(work.plan.keys.identity.as_deref()).ok()?;
    vault.chart(own, &identities).ok().flatten()
}

/// The version in helm's `name-version` of a chart, both of which may hold hyphens: it begins with a digit.
fn version_of(chart: &str) -> Option<&str> {
    let is_version = |(at, _): &(usize, &str)| chart[at + 1..].starts_with(|first: char| first.is_ascii_digit());
    chart.match_indices('-').find(is_version).map(|(at, _)| &chart[at + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_a_deployment_is_called_so_again_and_nothing_is_taken_for_a_restore() {
        let revision = |said: &str| -> Revision {
            let text = serde_json::json!({"revision": 3, "updated": "t", "status": "superseded", "chart": "c-1", "description": said});
            serde_json::from_value(text).unwrap()
        };
        let deployed = "dr 20260820T101500Z-0a1b2c";
        assert_eq!(description(&revision(deployed), "restore-1"), deployed);
        for said in ["Upgrade complete", "dr restore of bundle b-1: done"] {
            assert_eq!(description(&revision(said), "restore-1"), "revision 3 again, by restore-1");
        }
    }

    #[test]
    fn the_version_of_a_chart_is_told_from_its_name() {
        assert_eq!(version_of("opschain-2026.8.20-rc.1"), Some("2026.8.20-rc.1"));
        assert_eq!(version_of("my-chart-1.0.0"), Some("1.0.0"));
        assert_eq!(version_of("chart"), None);
    }
}
