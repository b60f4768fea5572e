//! `dr deploy upgrade`: what is live under a newer release, one release at a time, as OpsChain wants it.

use serde::{Deserialize, Serialize};

use super::facts;
use super::order;
use super::prepared::Prepared;
use super::report::DeployReport;
use super::request::{DeployOptions, DeployRequest};
use super::workers::{running_workers, with_workers};
use super::{chart, plan, version};
use crate::error::{CommandError, Exit, Result};
use crate::helm::ChartSource;
use crate::ops::Ctx;
use crate::ops::history::History;
use crate::opschain::Version;
use crate::opschain::values::VERSION;
use crate::opschain::version::{VersionGate, gate};
use crate::settings::Caution;
use crate::values::overlay::{Layer, LayerKind};

/// The releases that lead to the one that is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UpgradePath {
    pub namespace: String,
    pub release: String,
    /// The version that is live.
    pub from: String,
    /// The version that is wanted.
    pub to: String,
    /// Oldest first, the wanted one last; none where that is live.
    pub releases: Vec<UpgradeRelease>,
}

/// A release on the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpgradeRelease {
    pub version: String,
    /// What one must know of it, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// An upgrade that came to its end.
#[derive(Debug, Serialize)]
pub struct UpgradeReport {
    pub from: String,
    pub to: String,
    /// One a release, in order.
    pub deployments: Vec<DeployReport>,
}

/// The way from what is live to `to`, without those to be left out. Each chart on it is fetched once, so that nobody
/// finds out half-way that one is not to be had; nothing is changed.
///
/// # Errors
/// [`Exit::Usage`] for what is no version, [`Exit::NotFound`] where nothing is live, [`Exit::Version`] for one that is
/// older or cannot be compared, has another PostgreSQL, or is no release that a chart names; a chart that cannot be had.
pub async fn upgrade_path(
    ctx: &Ctx,
    to: &str,
    chart: Option<&str>,
    left_out: &[String],
    allow: &[String],
) -> Result<UpgradePath> {
    let history = facts::history(ctx).await?;
    let from = live_version(&history)?;
    let (namespace, release) = (ctx.install().namespace.to_string(), ctx.install().release.to_string());
    let mut releases = releases_between(&from, to, left_out)?;
    let refuses = ctx.settings()?.deploy.skipped_releases == Caution::Refuse;
    if refuses && !left_out.is_empty() && !allow.iter().any(|name| name == "skipped-releases") {
        let what = format!("{} would be left out, which the settings refuse", left_out.join(", "));
        return Err(CommandError::new(Exit::Version, what)
            .hint("If LimePoint has told you that it works, add --allow skipped-releases."));
    }
    releases.splice(0..0, unserved(&history, &from));
    let way_out = |version: &str| match parsed(to).is_ok_and(|to| to.tag() == version) {
        true => None,
        false => {
            Some(format!("Where this release is to be left out, though OpsChain wants each: --leave-out {version}."))
        }
    };
    require_charts(ctx, &releases, chart, way_out).await?;
    Ok(UpgradePath { namespace, release, from: from.tag(), to: parsed(to)?.tag(), releases })
}

/// Fetches the chart of each release once. `way_out` is the hint where that of a version is not to be had.
///
/// # Errors
/// One cannot be had, or is of another version.
pub async fn require_charts(
    ctx: &Ctx,
    releases: &[UpgradeRelease],
    chart: Option<&str>,
    way_out: impl Fn(&str) -> Option<String>,
) -> Result<()> {
    let source = ChartSource::parse(chart.unwrap_or(&ctx.install().chart));
    for step in releases {
        let wanted = step.version.parse::<Version>().ok();
        let number = wanted.as_ref().and_then(Version::chart);
        let fetched = chart::fetch(ctx, &source, number.as_deref()).await.map_err(|error| {
            let error = error.context(format!("the chart of {}", step.version));
            match way_out(&step.version) {
                Some(hint) => error.hint(hint),
                None => error,
            }
        })?;
        version::refuse_other_chart(&[], wanted.as_ref(), &fetched.facts)?;
    }
    Ok(())
}

/// What deploys the next release of a path: the values that are live, with its version over theirs.
///
/// # Errors
/// What is live was not deployed by `dr`, or no identity opens its values; else as [`plan`].
pub async fn plan_upgrade(ctx: &Ctx, version: &str, chart: Option<&str>, options: DeployOptions) -> Result<Prepared> {
    let history = facts::history(ctx).await?;
    let workers = running_workers(ctx).await?;
    let layers = live_layers(ctx, &history, version, workers)?;
    let (version, chart) = (Some(version.to_owned()), chart.map(str::to_owned));
    plan(ctx, DeployRequest { layers, version, chart, options }).await
}

/// The releases from the one of a bundle to the wanted one, where the two are known before anything is live.
///
/// # Errors
/// As [`upgrade_path`], but for the charts.
pub fn releases_between(from: &Version, to: &str, left_out: &[String]) -> Result<Vec<UpgradeRelease>> {
    let wanted = parsed(to)?;
    let refused = |why: String| CommandError::new(Exit::Version, format!("{from} is not upgraded to {wanted}: {why}"));
    let between = match gate(from, &wanted) {
        VersionGate::Exact => return Ok(Vec::new()),
        VersionGate::Newer { between, .. } => between,
        VersionGate::Older { .. } => {
            return Err(refused("it is older, and OpsChain does not run older over newer".into())
                .hint(format!("`dr bundle restore --version {wanted} --into-existing` puts the newest bundle that it made in the place of what is there.")));
        }
        VersionGate::Unknown { why } => {
            return Err(refused(why).hint("Deploy it by itself: `dr deploy -f FILE --version V`."));
        }
    };
    if let (Some(old), Some(new)) = (from.postgres_major(), wanted.postgres_major())
        && old != new
    {
        return Err(refused(format!("PostgreSQL {old} became {new} between them"))
            .hint("Follow the release notes of that change by hand; what is deployed then goes on from there."));
    }
    let named = |text: &String| parsed(text);
    let left_out = left_out.iter().map(named).collect::<Result<Vec<_>>>()?;
    let is_between = |version: &Version| between.iter().any(|release| release.date.to_string() == version.tag());
    if let Some(other) = left_out.iter().find(|version| **version == wanted || !is_between(version)) {
        return Err(CommandError::new(Exit::Usage, format!("{other} is not between {from} and {wanted}"))
            .hint("`dr deploy upgrade --version V --dry-run` names the releases on the way."));
    }
    let mut releases: Vec<UpgradeRelease> = Vec::new();
    for release in between {
        let version = parsed(&release.date.to_string())?;
        if version == wanted || !left_out.contains(&version) {
            releases.push(UpgradeRelease { version: version.tag(), note: release.restore_note.map(str::to_owned) });
        }
    }
    // A later build of a release, or one that this `dr` does not know.
    if releases.last().is_none_or(|last| last.version != wanted.tag()) {
        let note = wanted.release().is_none().then(|| "this dr does not know it: read its release notes".to_owned());
        releases.push(UpgradeRelease { version: wanted.tag(), note });
    }
    Ok(releases)
}

fn parsed(text: &str) -> Result<Version> {
    text.parse().map_err(|_| {
        CommandError::new(Exit::Usage, format!("`{text}` is not an OpsChain version"))
            .hint("Give it as a date, such as 2026-08-20.")
    })
}

fn live_version(history: &History) -> Result<Version> {
    order::live_version(history.live(), &[], history.deployed()).ok_or_else(|| {
        CommandError::new(Exit::NotFound, "nothing is live here that could be upgraded, or its version is not known")
            .hint(
                "`dr deploy -f FILE --version V` deploys one; `dr config record --from-helm` records what others did.",
            )
    })
}

/// What is live, where it was not seen to serve: helm calls a release deployed before its pods are up, and what came of it
/// stands in the vault.
fn unserved(history: &History, live: &Version) -> Option<UpgradeRelease> {
    history.own().filter(|own| !own.is_deployed())?;
    let note = "it is live, and was not seen to serve: it is deployed once more".to_owned();
    Some(UpgradeRelease { version: live.tag(), note: Some(note) })
}

/// The layers of what is live, the version over them.
fn live_layers(ctx: &Ctx, history: &History, version: &str, workers: i32) -> Result<Vec<Layer>> {
    let Some(live) = history.own() else {
        return Err(CommandError::new(Exit::NotFound, "the config vault does not know the values that are live")
            .hint("`dr config record --from-helm` records them; `dr deploy -f FILE --version V` deploys others."));
    };
    let identities = ctx.identities_if_set()?.ok_or_else(|| {
        CommandError::new(Exit::Keys, "an upgrade deploys the values of the vault, and this host has no identity")
            .hint("Set `[keys] identity` in dr.toml, or deploy a file: `dr deploy -f FILE --version V`.")
    })?;
    Ok(with_workers(with_version(ctx.vault()?.layers(live, &identities)?, version), workers))
}

/// The version of an earlier upgrade makes room for this one.
fn with_version(mut layers: Vec<Layer>, version: &str) -> Vec<Layer> {
    let key = format!("{}=", VERSION.join("."));
    let is_version = |layer: &Layer| {
        let sets = matches!(layer.kind, LayerKind::Set | LayerKind::SetString);
        sets && layer.bytes.starts_with(key.as_bytes()) && !layer.bytes.contains(&b',')
    };
    layers.retain(|layer| !is_version(layer));
    // As text, which helm applies after `--set`; in the order in which records have the kinds.
    let place = layers.partition_point(|layer| layer.kind <= LayerKind::SetString);
    layers.insert(place, Layer::new(LayerKind::SetString, format!("{key}{version}")));
    layers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::Tree;
    use crate::values::overlay;

    fn way(from: &str, to: &str, left_out: &[&str]) -> Result<Vec<String>> {
        let left_out: Vec<String> = left_out.iter().map(|version| (*version).to_owned()).collect();
        let releases = releases_between(&from.parse().unwrap(), to, &left_out)?;
        Ok(releases.into_iter().map(|release| release.version).collect())
    }

    #[test]
    fn each_release_on_the_way_is_deployed_and_only_what_is_named_is_left_out() {
        assert_eq!(way("2026-08-20", "2026-10-08", &[]).unwrap(), ["2026-09-10", "2026-09-14", "2026-10-08"]);
        assert_eq!(way("2026-08-20", "2026.10.8", &["2026-09-10"]).unwrap(), ["2026-09-14", "2026-10-08"]);
        assert!(way("2026-09-14", "2026-09-14", &[]).unwrap().is_empty(), "it is live");
        assert_eq!(way("2026-09-14", "2026-11-01", &[]).unwrap(), ["2026-10-08", "2026-11-01"]);
    }

    #[test]
    fn what_each_release_asks_of_a_person_is_said() {
        let releases = releases_between(&"2026-08-20".parse().unwrap(), "2026-11-01", &[]).unwrap();
        let note = |version: &str| releases.iter().find(|r| r.version == version).unwrap().note.clone();
        assert!(note("2026-09-10").unwrap().starts_with("the LDAP server must be reachable"));
        assert_eq!(note("2026-09-14"), None);
        assert!(note("2026-11-01").unwrap().contains("does not know it"));
    }

    #[test]
    fn no_way_leads_back_or_to_another_postgresql_or_to_a_build_that_moves() {
        for (from, to, exit) in [
            ("2026-09-14", "2026-08-20", Exit::Version),
            ("2024-06-17", "2025-01-23", Exit::Version),
            ("2026-09-14", "edge", Exit::Version),
            ("2026-09-14", "?", Exit::Usage),
        ] {
            let error = way(from, to, &[]).unwrap_err();
            assert!(error.exit() == exit && !error.hints().is_empty(), "{from} {to}: {error}");
        }
        // Neither the end of the way nor what is not on it is left out.
        for left_out in ["2026-09-14", "2026-10-08"] {
            assert_eq!(way("2026-08-20", "2026-09-14", &[left_out]).unwrap_err().exit(), Exit::Usage, "{left_out}");
        }
    }

    #[test]
    fn a_release_that_was_not_seen_to_serve_is_deployed_once_more() {
        let facts = include_str!("../../../fixtures/facts/deploy-upgrade.json");
        let mut history = serde_json::from_str::<facts::DeployFacts>(facts).unwrap().history;
        let live: Version = "2026-08-20".parse().unwrap();
        assert_eq!(unserved(&history, &live), None, "it served");
        let own = history.own().unwrap().id().clone();
        let own = history.deployments.iter_mut().find(|deployment| *deployment.id() == own).unwrap();
        own.outcome.as_mut().unwrap().status = crate::vault::DeploymentStatus::Failed;
        assert_eq!(unserved(&history, &live).unwrap().version, "2026-08-20");
    }

    #[test]
    fn the_version_goes_over_whatever_named_another_one_and_replaces_that_of_an_earlier_upgrade() {
        let layer = |kind, text: &str| Layer::new(kind, text);
        let layers = with_version(
            vec![
                layer(LayerKind::Values, "env: {OPSCHAIN_VERSION: \"2026-08-20\", A: b}\n"),
                layer(LayerKind::Set, "env.OPSCHAIN_VERSION=2026-08-20,env.C=d"),
                layer(LayerKind::SetString, "env.OPSCHAIN_VERSION=2026-09-10"),
            ],
            "2026-09-14",
        );
        assert_eq!(layers.len(), 3, "what sets other keys too stays");
        let merged = Tree::parse(&overlay::merge(&layers).unwrap()).unwrap().to_json();
        assert_eq!(merged["env"], serde_json::json!({"OPSCHAIN_VERSION": "2026-09-14", "A": "b", "C": "d"}));
    }
}
