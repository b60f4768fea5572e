//! What the vault and helm know of a release: its deployments, its revisions, which of them is live, and its values.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Ctx, objects};
use crate::crypt::Identities;
use crate::error::Result;
use crate::helm::Revision;
use crate::values::{Scrubber, Secrets, Tree};
use crate::vault::{Deployment, DeploymentId, How};

/// Deployments and revisions, as they were read.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct History {
    /// helm's revisions, oldest first.
    pub revisions: Vec<Revision>,
    /// The vault's deployments, newest first.
    pub deployments: Vec<Deployment>,
}

impl History {
    /// Asks helm once, and reads the vault.
    ///
    /// # Errors
    /// Helm or the vault cannot be read.
    pub async fn read(ctx: &Ctx) -> Result<Self> {
        let source = ctx.config_source()?;
        let revisions = ctx.helm().await?.history(&ctx.install().release).await?;
        Ok(Self { revisions, deployments: source.deployments(&ctx.vault_install())? })
    }

    /// The same, its words without the secrets that are known by now: an error that helm quotes may hold one.
    #[must_use]
    pub fn scrubbed(mut self, secrets: &Secrets) -> Self {
        for revision in &mut self.revisions {
            revision.description = secrets.scrub(&revision.description).into_owned();
        }
        self
    }

    /// Helm's newest revision.
    pub fn newest(&self) -> Option<&Revision> {
        self.revisions.last()
    }

    /// The revision that helm holds to be deployed.
    pub fn deployed(&self) -> Option<&Revision> {
        self.revisions.iter().rfind(|revision| revision.status.is_deployed())
    }

    /// The newest revision where it failed above the one that is deployed.
    pub fn failed_above(&self) -> Option<&Revision> {
        let failed = self.newest().filter(|newest| newest.status.is_failed())?;
        self.deployed().is_none_or(|deployed| deployed.revision < failed.revision).then_some(failed)
    }

    /// The deployment that helm's deployed revision is, as far as the vault knows it.
    pub fn own(&self) -> Option<&Deployment> {
        let deployed = self.deployed()?;
        self.deployments.iter().find(|deployment| is_of(deployed, deployment))
    }

    /// Whether the release has never been more than deployments that did not go live: there is none of before `dr` either.
    pub fn is_first(&self) -> bool {
        let failed = |revision: &Revision| {
            // helm's word on one that failed is its error, not our name.
            let numbered = |one: &Deployment| revision.status.is_failed() && one.revision() == Some(revision.revision);
            self.deployments.iter().any(|one| !one.is_deployed() && (is_of(revision, one) || numbered(one)))
        };
        let is_whole = self.revisions.first().is_none_or(|first| first.revision == 1);
        let went_live = self.deployments.iter().any(Deployment::is_deployed);
        is_whole && !went_live && self.revisions.iter().all(failed)
    }

    /// The deployment that is live: the one that helm's deployed revision is; else the newest that went live.
    pub fn live(&self) -> Option<&Deployment> {
        self.own().or_else(|| self.deployments.iter().find(|deployment| deployment.is_deployed()))
    }
}

/// What `dr` has helm say of a revision. A failed one has helm's error in its place.
pub(super) fn description(id: &DeploymentId) -> String {
    format!("dr {id}")
}

/// What `dr` has helm say of a revision that a restore makes: a host that did not make it knows it by that.
pub(super) fn description_of_restore(bundle: &str, state: &str) -> String {
    format!("dr restore of bundle {bundle}: {state}")
}

/// The bundle that the revision restores, by helm's description.
pub(super) fn restored_bundle(revision: &Revision) -> Option<&str> {
    Some(revision.description.strip_prefix("dr restore of bundle ")?.split_once(": ")?.0)
}

/// The deployment that a `dr` on some host has made the revision for, by helm's description.
pub(super) fn named_deployment(revision: &Revision) -> Option<DeploymentId> {
    DeploymentId::parse(revision.description.strip_prefix("dr ")?)
}

/// Whether helm's description of the revision names the deployment.
pub(super) fn names(revision: &Revision, id: &DeploymentId) -> bool {
    revision.description == description(id)
}

/// Whether the revision is this deployment: by the name in helm's description. A restore and an import leave other words
/// there, so they are known by helm's number, as long as that revision is not younger than what was written down: after
/// a new installation the numbers begin anew.
pub(super) fn is_of(revision: &Revision, deployment: &Deployment) -> bool {
    let known =
        deployment.outcome.as_ref().map_or(deployment.record.at, |outcome| outcome.at.max(deployment.record.at));
    let numbered = || {
        matches!(deployment.record.how, How::Restore | How::Import)
            && deployment.revision() == Some(revision.revision)
            && revision.updated.parse::<jiff::Timestamp>().is_ok_and(|updated| updated <= known)
    };
    names(revision, deployment.id()) || numbered()
}

/// Values as helm has stored them: comments and layout are gone, and large numbers rounded.
pub(super) struct StoredValues {
    pub json: Arc<serde_json::Value>,
    pub tree: Tree,
}

/// The values that are live, each read once.
#[derive(Default)]
pub(super) struct LiveValues {
    /// What the vault has of the live deployment, where an identity opens it.
    pub recorded: Option<Tree>,
    /// What helm has stored of its deployed revision.
    pub stored: Option<StoredValues>,
    /// What helm has stored of a revision that failed above it.
    pub failed: Option<StoredValues>,
}

impl LiveValues {
    /// Reads them; helm is asked only where `ask_helm` says so.
    ///
    /// # Errors
    /// No identity opens the vault's, they are damaged, or helm cannot be asked.
    pub async fn read(ctx: &Ctx, history: &History, identities: Option<&Identities>, ask_helm: bool) -> Result<Self> {
        let recorded = match (history.live(), identities) {
            (Some(live), Some(identities)) => Some(Tree::parse_or_keep(&ctx.values_of(live, identities)?)),
            _ => None,
        };
        let (mut stored, mut failed) = (None, None);
        if ask_helm {
            stored = stored_values(ctx, history.deployed()).await?;
            failed = stored_values(ctx, history.failed_above()).await?;
        }
        Ok(Self { recorded, stored, failed })
    }

    /// All that was read.
    pub fn trees(&self) -> impl Iterator<Item = &Tree> {
        let stored = [&self.stored, &self.failed].into_iter().flatten().map(|stored| &stored.tree);
        self.recorded.iter().chain(stored)
    }
}

impl Ctx {
    /// What helm has stored of a revision's values, asked once; what it has of one never changes.
    ///
    /// # Errors
    /// helm cannot be asked.
    pub(super) async fn stored_values(&self, revision: u32) -> Result<Option<Arc<serde_json::Value>>> {
        let mut stored = self.opened.stored.lock().await;
        if let Some(values) = stored.get(&revision) {
            return Ok(Some(Arc::clone(values)));
        }
        let values = self.helm().await?.get_values(&self.install().release, Some(revision)).await?.map(Arc::new);
        stored.extend(values.iter().map(|values| (revision, Arc::clone(values))));
        Ok(values)
    }
}

async fn stored_values(ctx: &Ctx, revision: Option<&Revision>) -> Result<Option<StoredValues>> {
    let Some(revision) = revision else { return Ok(None) };
    let Some(json) = ctx.stored_values(revision.revision).await? else { return Ok(None) };
    // helm says null of a release that was given no values.
    let text = Zeroizing::new(if json.is_null() { "{}".to_owned() } else { json.to_string() });
    let tree = Tree::parse(text.as_bytes())?;
    Ok(Some(StoredValues { json, tree }))
}

/// A scrubber that knows the secrets of these trees, with the vault's key where an identity opens it; else with one of
/// this run alone, which still tells same from changed. The process's redactor knows the same.
///
/// # Errors
/// The vault's key is damaged.
pub(super) fn scrubber_of<'t>(
    ctx: &Ctx,
    identities: Option<&Identities>,
    trees: impl IntoIterator<Item = &'t Tree>,
) -> Result<Scrubber> {
    let key = match identities {
        Some(identities) => Some(ctx.vault()?.fingerprint_key(identities)?),
        None => None,
    };
    let mut scrubber = objects::comparing_scrubber(key)?;
    for tree in trees {
        scrubber.register_tree(tree);
        ctx.secrets().register_tree(tree);
    }
    Ok(scrubber)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A deployment as the vault has it; without a status its outcome is open.
    pub(in crate::ops) fn deployment(id: &str, by: &str, status: Option<&str>, revision: Option<u32>) -> Deployment {
        let at: jiff::Timestamp =
            jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", &id[..16]).unwrap().in_tz("UTC").unwrap().timestamp();
        let record = serde_json::json!({"format": 1, "id": id, "install": {"namespace": "n", "release": "r"}, "at": at,
            "by": by, "how": "deploy", "chart": {"name": "c", "version": "1", "reference": "r"}, "layers": [],
            "recipients": [], "dr": "0"});
        let outcome = status.map(|status| {
            serde_json::json!({"format": 1, "id": id, "at": at, "status": status, "seconds": 1.0, "helm_revision": revision})
        });
        Deployment {
            record: serde_json::from_value(record).unwrap(),
            outcome: outcome.map(|outcome| serde_json::from_value(outcome).unwrap()),
            record_sha256: String::new(),
        }
    }

    pub(in crate::ops) fn revision(number: u32, updated: &str, status: &str, description: &str) -> Revision {
        serde_json::from_value(serde_json::json!({"revision": number, "updated": updated, "status": status,
            "chart": "c-1", "description": description}))
        .unwrap()
    }

    #[test]
    fn what_is_live_is_what_helm_says_by_name() {
        let (old, new) = ("20260820T100000Z-000001", "20260821T100000Z-000002");
        let deployments = vec![deployment(new, "x", None, None), deployment(old, "x", Some("deployed"), None)];
        let at = "2026-08-22T10:00:00Z";
        let live = |revisions: Vec<Revision>| {
            let history = History { revisions, deployments: deployments.clone() };
            (history.live().map(|live| live.id().to_string()), history.own().is_some())
        };
        let named = |id: &str| format!("dr {id}");
        let (superseded, deployed) =
            (revision(1, at, "superseded", &named(old)), revision(2, at, "deployed", &named(new)));
        assert_eq!(live(vec![superseded, deployed]), (Some(new.to_owned()), true), "killed before it could say so");
        let failed = vec![revision(1, at, "deployed", &named(old)), revision(2, at, "failed", "boom")];
        assert_eq!(live(failed), (Some(old.to_owned()), true));
        assert_eq!(live(vec![revision(1, at, "deployed", "by hand")]), (Some(old.to_owned()), false));
    }
}
