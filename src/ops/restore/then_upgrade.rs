//! The upgrade that follows a restore: under the bundle's own version first, from there one release at a time.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::source::{RestoreRequest, parse_version};
use crate::error::{CommandError, Exit, Result};
use crate::ops::Ctx;
use crate::ops::deploy::{self, UpgradeRelease};

/// Where an upgrade leads that follows a restore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThenUpgrade {
    pub to: String,
    /// Where its charts are, if not as the settings say.
    pub chart: Option<String>,
    pub releases: Vec<UpgradeRelease>,
}

impl ThenUpgrade {
    /// The command that does it later.
    pub fn command(&self) -> String {
        let chart = self.chart.as_ref().map(|chart| format!(" --chart {chart}")).unwrap_or_default();
        format!("dr deploy upgrade --version {}{chart}", self.to)
    }
}

/// The upgrade that is asked for after the restore of a bundle that `made_by` made, and the request of the restore alone.
///
/// # Errors
/// As [`deploy::upgrade_path`] of the way; [`Exit::Settings`] where this host could not record it.
pub(super) fn asked<'r>(
    request: &'r RestoreRequest,
    made_by: &str,
    has_vault: bool,
) -> Result<(Cow<'r, RestoreRequest>, Option<ThenUpgrade>)> {
    let Some(to) = request.version.as_ref().filter(|_| request.then_upgrade) else {
        return Ok((Cow::Borrowed(request), None));
    };
    if !has_vault {
        let what = "this host has no config vault, which the upgrade takes the restored values from";
        return Err(
            CommandError::new(Exit::Settings, what).hint("`dr init` makes one. Or restore without --then-upgrade.")
        );
    }
    let releases = deploy::releases_between(&parse_version(made_by)?, to, &[])?;
    let alone = RestoreRequest { version: None, chart: None, ..request.clone() };
    let chart = request.chart.clone();
    let then = ThenUpgrade { to: parse_version(to)?.tag(), chart, releases };
    Ok((Cow::Owned(alone), Some(then).filter(|then| !then.releases.is_empty())))
}

/// Sees that each chart on the way is to be had, before anything is restored.
///
/// # Errors
/// One is not.
pub(super) async fn require_charts(ctx: &Ctx, then: Option<&ThenUpgrade>) -> Result<()> {
    match then {
        Some(then) => deploy::require_charts(ctx, &then.releases, then.chart.as_deref()).await,
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(version: &str, then_upgrade: bool) -> RestoreRequest {
        RestoreRequest { version: Some(version.into()), then_upgrade, ..RestoreRequest::default() }
    }

    #[test]
    fn the_restore_is_of_the_bundles_version_and_the_upgrade_leads_to_the_wanted_one() {
        let asking = request("2026-09-14", true);
        let (alone, then) = asked(&asking, "2026-08-20", true).unwrap();
        let then = then.unwrap();
        assert_eq!(
            (alone.version.as_deref(), then.command().as_str()),
            (None, "dr deploy upgrade --version 2026-09-14")
        );
        let names: Vec<&str> = then.releases.iter().map(|release| release.version.as_str()).collect();
        assert_eq!(names, ["2026-09-10", "2026-09-14"]);
        let same = request("2026.8.20", true);
        assert_eq!(asked(&same, "2026-08-20", true).unwrap().1, None, "there is nothing to upgrade");
        let plain = request("2026-09-14", false);
        let (kept, none) = asked(&plain, "2026-08-20", false).unwrap();
        assert_eq!((kept.version.as_deref(), none), (Some("2026-09-14"), None));
    }

    #[test]
    fn an_upgrade_that_could_not_be_done_is_refused_before_anything_is_restored() {
        for (asking, has_vault, exit) in [
            (request("2026-09-14", true), false, Exit::Settings),
            (request("2026-07-28", true), true, Exit::Version),
            (request("edge", true), true, Exit::Version),
        ] {
            let error = asked(&asking, "2026-08-20", has_vault).unwrap_err();
            assert!(error.exit() == exit && !error.hints().is_empty(), "{error}");
        }
    }
}
