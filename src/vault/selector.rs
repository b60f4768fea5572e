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
    /// last six characters, an OpsChain version, or a time (what was live then).
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
            None => resolve(&deployments, selector).cloned(),
        }
    }

    /// What was live at a time, written `2026-08-20T10:00` (UTC), `2026-08-20` (the end of that day) or with an offset:
    /// of the deployments that had gone live by then, the one that did so last.
    ///
    /// # Errors
    /// `NotFound` when it is no time, or nothing was live then; what reading fails with.
    pub fn live_at(&self, install: &RecordedInstall, time: &str) -> Result<Deployment, VaultError> {
        let not_found = || VaultError::NotFound { selector: time.to_owned() };
        let then = moment(time).ok_or_else(not_found)?;
        live_at(&self.deployments(install)?, then).cloned().ok_or_else(not_found)
    }
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
    deployments.iter().filter(went_live).filter(|d| when(d).is_some_and(|at| at <= then)).max_by_key(|d| when(d))
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

    #[test]
    fn moments_are_read_in_utc_and_a_day_means_its_end() {
        let text = |selector: &str| moment(selector).map(|at| at.to_string());
        assert_eq!(text("2026-08-20T10:00").as_deref(), Some("2026-08-20T10:00:00Z"));
        assert_eq!(text("2026-08-20T10:00:00+02:00").as_deref(), Some("2026-08-20T08:00:00Z"));
        assert_eq!(text("2026-08-20").as_deref(), Some("2026-08-20T23:59:59.999999999Z"));
        assert_eq!(text("yesterday"), None);
    }
}
