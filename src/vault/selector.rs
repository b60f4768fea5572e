//! How an operator names a deployment.

use std::sync::Arc;

use jiff::civil::{Date, DateTime};
use jiff::{Timestamp, tz::TimeZone};

use super::error::VaultError;
use super::handle::Vault;
use super::record::{Deployment, DeploymentId, RecordedInstall};
use super::survey::{Survey, UnreadRecord};

/// The shortest beginning of a name that is taken for one.
const SHORTEST_PREFIX: usize = 4;

impl Vault {
    /// The deployment of the install that `selector` names: `latest`, `live`, `rev:7`, a name or its beginning or its
    /// last six characters, an OpsChain version, or a time (what was live then). Where the install's cluster is known,
    /// those of another cluster count only if there is no other: a restored cluster is another one, and its history
    /// goes on.
    ///
    /// # Errors
    /// `NotFound`, `Ambiguous`, or what reading fails with.
    pub fn resolve(&self, install: &RecordedInstall, selector: &str) -> Result<Deployment, VaultError> {
        let Survey { deployments, unread } = self.survey_of(install)?;
        let deployments: Vec<Deployment> = deployments.into_iter().map(Arc::unwrap_or_clone).collect();
        // A name needs one record only. Whatever is asked for in other words may be the one that cannot be read.
        let is_named = |id: &DeploymentId| names(selector, id);
        let named = deployments.iter().any(|deployment| is_named(deployment.id()));
        let stands_in_the_way = |one: &UnreadRecord| !named || one.id.as_ref().is_some_and(is_named);
        match unread.into_iter().find(stands_in_the_way) {
            Some(unread) => Err(unread.error),
            None => {
                let here = of_this_cluster(&deployments, install);
                resolve(&here, selector).or_else(|_| resolve(&deployments, selector)).cloned()
            }
        }
    }

    /// The cluster that a host has reached an install in: that of the newest record which it made by the same context.
    /// `who` is `user@host`.
    pub fn cluster_of_host(&self, install: &RecordedInstall, who: &str) -> Option<String> {
        let host = |who: &str| who.rsplit_once('@').map_or(who, |(_, host)| host).to_owned();
        let deployments = self.survey_of(install).ok()?.deployments;
        let own = deployments
            .iter()
            .map(|deployment| &deployment.record)
            .filter(|record| record.install.context == install.context && host(&record.by) == host(who));
        own.into_iter().find_map(|record| record.install.cluster.clone())
    }

    /// What was live at a time, written `2026-08-20T10:00` (UTC), `2026-08-20` (the end of that day) or with an offset:
    /// of the deployments that had gone live by then, the one that did so last.
    ///
    /// # Errors
    /// `NotFound` when it is no time, or nothing was live then; what reading fails with.
    pub fn live_at(&self, install: &RecordedInstall, time: &str) -> Result<Deployment, VaultError> {
        let not_found = || VaultError::NotFound { selector: time.to_owned() };
        let then = moment(time).ok_or_else(not_found)?;
        let deployments = self.deployments(install)?;
        let here = of_this_cluster(&deployments, install);
        live_at(&here, then).or_else(|| live_at(&deployments, then)).cloned().ok_or_else(not_found)
    }
}

/// Those that are not known to be of another cluster.
fn of_this_cluster(deployments: &[Deployment], install: &RecordedInstall) -> Vec<Deployment> {
    deployments.iter().filter(|one| !one.record.install.is_in_another_cluster(install)).cloned().collect()
}

/// Finds the deployment that `selector` names among `deployments` (newest first).
///
/// In this order: `latest` (the newest, whatever came of it), `live` (the newest that went live), `rev:7` (Helm's
/// revision), a name, its beginning or its last six characters, an OpsChain version (the newest deployment of it), a
/// time (`2026-08-20T10:00`, UTC, or `2026-08-20` for the end of that day): what was live then.
///
/// # Errors
/// `NotFound`, or `Ambiguous` with the names that fit.
fn resolve<'d>(deployments: &'d [Deployment], selector: &str) -> Result<&'d Deployment, VaultError> {
    let not_found = || VaultError::NotFound { selector: selector.to_owned() };
    match selector {
        "latest" => return deployments.first().ok_or_else(not_found),
        "live" => return deployments.iter().find(|deployment| deployment.is_deployed()).ok_or_else(not_found),
        _ => {}
    }
    if let Some(revision) = selector.strip_prefix("rev:") {
        let revision: u32 = revision.parse().map_err(|_| not_found())?;
        return deployments.iter().find(|deployment| deployment.revision() == Some(revision)).ok_or_else(not_found);
    }
    let named: Vec<&Deployment> = deployments.iter().filter(|deployment| names(selector, deployment.id())).collect();
    match named.as_slice() {
        [] => {}
        [one] => return Ok(one),
        several => {
            let matches = several.iter().map(|deployment| deployment.id().to_string()).collect();
            return Err(VaultError::Ambiguous { selector: selector.to_owned(), matches });
        }
    }
    let versioned = deployments.iter().find(|deployment| {
        deployment.record.opschain_version.as_deref() == Some(selector) || deployment.record.chart.version == selector
    });
    if let Some(deployment) = versioned {
        return Ok(deployment);
    }
    let then = moment(selector).ok_or_else(not_found)?;
    live_at(deployments, then).ok_or_else(not_found)
}

/// Whether the selector is the name, its beginning or its last six characters.
fn names(selector: &str, id: &DeploymentId) -> bool {
    id.short() == selector || (selector.len() >= SHORTEST_PREFIX && id.as_str().starts_with(selector))
}

/// What was live at a moment: of those that went live before it, the one that did so last.
fn live_at(deployments: &[Deployment], then: Timestamp) -> Option<&Deployment> {
    let went_live = |deployment: &&Deployment| deployment.is_deployed();
    let when = |deployment: &Deployment| deployment.outcome.as_ref().map(|outcome| outcome.at);
    // Of one moment the last that is met: they come newest first, and what was recorded later counts.
    deployments.iter().rev().filter(went_live).filter(|d| when(d).is_some_and(|at| at <= then)).max_by_key(|d| when(d))
}

/// Reads a time as `live_at` takes it.
pub(super) fn moment(text: &str) -> Option<Timestamp> {
    if let Ok(exact) = text.parse::<Timestamp>() {
        return Some(exact);
    }
    let civil = match text.parse::<Date>() {
        Ok(date) if text.len() == 10 => date.at(23, 59, 59, 999_999_999),
        _ => text.parse::<DateTime>().ok()?,
    };
    civil.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::record::{DeploymentStatus, Ended};
    use crate::vault::tests::{fixture, install, intent};

    #[test]
    fn sites_of_one_name_are_told_apart_by_their_clusters() {
        let f = fixture();
        let at = |cluster: Option<&str>| RecordedInstall { cluster: cluster.map(str::to_owned), ..install() };
        let record = |time: &str, cluster: Option<&str>, by: &str| {
            let mut intent = intent(time, "2026-08-20");
            (intent.install, intent.by) = (at(cluster), by.to_owned());
            let ended = Ended { status: DeploymentStatus::Deployed, helm_revision: Some(1) };
            f.vault.record_past(intent, b"a: 1\n", None, ended).unwrap()
        };
        let old = record("2026-08-19T10:00:00Z", None, "ana@one");
        let north = record("2026-08-20T10:00:00Z", Some("north"), "ana@one");
        let south = record("2026-08-21T10:00:00Z", Some("south"), "bob@two");
        let live = |cluster: Option<&str>, word: &str| f.vault.resolve(&at(cluster), word).unwrap().id().clone();
        for word in ["live", "latest", "rev:1", "2026-08-20"] {
            assert_eq!(live(Some("north"), word), north, "{word}");
        }
        assert_eq!((live(Some("south"), "live"), live(None, "live")), (south.clone(), south.clone()));
        assert_eq!(live(Some("north"), south.as_str()), south, "by its name, any can be had");
        assert_eq!(live(Some("south"), "2026-08-19"), old, "an old record may be of any cluster");
        assert_eq!(f.vault.live_at(&at(Some("north")), "2026-08-22").unwrap().id(), &north);
        let of_host = |who: &str| f.vault.cluster_of_host(&install(), who);
        assert_eq!((of_host("eve@one").as_deref(), of_host("eve@two").as_deref()), (Some("north"), Some("south")));
        assert_eq!(of_host("eve@three"), None);
    }

    #[test]
    fn a_restored_cluster_goes_on_with_the_history_of_the_one_before() {
        let f = fixture();
        let mut gone = intent("2026-08-20T10:00:00Z", "2026-08-20");
        gone.install.cluster = Some("gone".into());
        let ended = Ended { status: DeploymentStatus::Deployed, helm_revision: Some(1) };
        let id = f.vault.record_past(gone, b"a: 1\n", None, ended).unwrap();
        let here = RecordedInstall { cluster: Some("new".into()), ..install() };
        assert_eq!(f.vault.resolve(&here, "live").unwrap().id(), &id);
    }

    #[test]
    fn moments_are_read_in_utc_and_a_day_means_its_end() {
        let text = |selector: &str| moment(selector).map(|at| at.to_string());
        assert_eq!(text("2026-08-20T10:00").as_deref(), Some("2026-08-20T10:00:00Z"));
        assert_eq!(text("2026-08-20T10:00:00+02:00").as_deref(), Some("2026-08-20T08:00:00Z"));
        assert_eq!(text("2026-08-20").as_deref(), Some("2026-08-20T23:59:59.999999999Z"));
        assert_eq!(text("yesterday"), None);
    }
}
