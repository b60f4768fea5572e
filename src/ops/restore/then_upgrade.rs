//! The upgrade that follows a restore: under the bundle's own version first, from there one release at a time.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::source::{RestoreRequest, parse_version};
use crate::error::{CommandError, Exit, Result};
use crate::ops::Ctx;
use crate::ops::deploy::{self, UpgradeRelease};
use crate::ops::given::quoted;
use crate::settings::Install;

/// Where an upgrade leads that follows a restore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThenUpgrade {
    pub to: String,
    /// Where its charts are, if not as the settings say.
    pub chart: Option<String>,
    pub releases: Vec<UpgradeRelease>,
}

impl ThenUpgrade {
    /// The command that does it later, for the install that was restored: another may be the one of the settings.
    pub fn command(&self, install: &Install) -> String {
        let chart = self.chart.as_ref().map(|chart| format!(" --chart {}", quoted(chart))).unwrap_or_default();
        let Install { namespace, release, .. } = install;
        format!("dr -n {namespace} --release {release} deploy upgrade --version {}{chart}", self.to)
    }
}

/// The upgrade that is asked for after the restore of a bundle that `made_by` made, and the request of the restore alone.
///
/// # Errors
/// As [`deploy::upgrade_path`] of the way; [`Exit::Settings`] where this host could not record it, [`Exit::Keys`] where it
/// could not open the values again.
pub(super) fn asked<'r>(
    request: &'r RestoreRequest,
    made_by: &str,
    has_vault: bool,
    has_identity: bool,
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
    if !has_identity {
        let what = "this host has no identity of its own, which the upgrade opens the restored values with";
        return Err(CommandError::new(Exit::Keys, what).hint(
            "Set `[keys] identity` in dr.toml: --identity is for the bundle only. Or restore without --then-upgrade.",
        ));
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
        Some(then) => {
            let way_out = |version: &str| {
                let leaving = format!("`dr deploy upgrade --version {} --leave-out {version}`", then.to);
                Some(format!("Or restore without --version and --then-upgrade, and go on with {leaving}."))
            };
            deploy::require_charts(ctx, &then.releases, then.chart.as_deref(), way_out).await
        }
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
        let (alone, then) = asked(&asking, "2026-08-20", true, true).unwrap();
        let then = then.unwrap();
        let command = "dr -n opschain --release opschain deploy upgrade --version 2026-09-14";
        assert_eq!((alone.version.as_deref(), then.command(&Install::default()).as_str()), (None, command));
        let names: Vec<&str> = then.releases.iter().map(|release| release.version.as_str()).collect();
        assert_eq!(names, ["2026-09-10", "2026-09-14"]);
        let same = request("2026.8.20", true);
        assert_eq!(asked(&same, "2026-08-20", true, true).unwrap().1, None, "there is nothing to upgrade");
        let plain = request("2026-09-14", false);
        let (kept, none) = asked(&plain, "2026-08-20", false, false).unwrap();
        assert_eq!((kept.version.as_deref(), none), (Some("2026-09-14"), None));
    }

    #[test]
    fn an_upgrade_that_could_not_be_done_is_refused_before_anything_is_restored() {
        for (asking, has_vault, has_identity, exit) in [
            (request("2026-09-14", true), false, true, Exit::Settings),
            (request("2026-09-14", true), true, false, Exit::Keys),
            (request("2026-07-28", true), true, true, Exit::Version),
            (request("edge", true), true, true, Exit::Version),
        ] {
            let error = asked(&asking, "2026-08-20", has_vault, has_identity).unwrap_err();
            assert!(error.exit() == exit && !error.hints().is_empty(), "{error}");
        }
    }
}
