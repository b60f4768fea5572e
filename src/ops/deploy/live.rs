//! What helm and the vault say of each other: which deployment is live, and whether something else deployed.

use crate::helm::Revision;
use crate::ops::Ctx;
use crate::vault::{Deployment, DeploymentId, How};

/// What `dr` has helm say of a revision. A failed one has helm's error in its place.
pub(super) fn description(id: &DeploymentId) -> String {
    format!("dr {id}")
}

pub(in crate::ops) fn names(revision: &Revision, id: &DeploymentId) -> bool {
    revision.description == description(id)
}

/// Whether the revision is this deployment: by the name in helm's description. A restore and an import leave other words
/// there, so they are known by helm's number, as long as that revision is not younger than what was written down: after
/// a new installation the numbers begin anew.
pub(in crate::ops) fn is_of(revision: &Revision, deployment: &Deployment) -> bool {
    let known =
        deployment.outcome.as_ref().map_or(deployment.record.at, |outcome| outcome.at.max(deployment.record.at));
    let numbered = || {
        matches!(deployment.record.how, How::Restore | How::Import)
            && deployment.revision() == Some(revision.revision)
            && revision.updated.parse::<jiff::Timestamp>().is_ok_and(|updated| updated <= known)
    };
    names(revision, deployment.id()) || numbered()
}

/// The deployment that is live: the one that helm's deployed revision names; else the newest that went live.
pub(super) fn live_deployment<'d>(deployments: &'d [Deployment], history: &[Revision]) -> Option<&'d Deployment> {
    let named = history
        .iter()
        .rev()
        .find(|revision| revision.status.is_deployed())
        .and_then(|revision| deployments.iter().find(|deployment| names(revision, deployment.id())));
    named.or_else(|| deployments.iter().find(|deployment| deployment.is_deployed()))
}

/// Says when there is nothing but a failed first installation.
pub(super) fn warn_of_failed_install(ctx: &Ctx, newest: Option<&Revision>) {
    if newest.is_some_and(|newest| newest.revision == 1 && newest.status.is_failed()) {
        ctx.events.warn(
            "the first installation failed, and a failed first installation can often not be upgraded",
            Some("If this fails too, run `helm uninstall` for the release and deploy again.".into()),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_live_is_what_helm_says_by_name() {
        let deployment = |id: &str, status: Option<&str>| -> Deployment {
            let mut json = serde_json::json!({
                "record": {"format": 1, "id": id, "install": {"namespace": "n", "release": "r"}, "at": "2026-08-20T10:00:00Z",
                    "by": "x", "how": "deploy", "chart": {"name": "c", "version": "1", "reference": "r"}, "layers": [],
                    "recipients": [], "dr": "0"}
            });
            let record = serde_json::from_value(json["record"].take()).unwrap();
            let outcome = status.map(|status| {
                serde_json::from_value(
                    serde_json::json!({"format": 1, "id": id, "at": "2026-08-20T10:00:00Z", "status": status,
                    "seconds": 1.0}),
                )
                .unwrap()
            });
            Deployment { record, outcome, record_sha256: String::new() }
        };
        let revision = |number: u32, status: &str, description: &str| -> Revision {
            serde_json::from_value(
                serde_json::json!({"revision": number, "updated": "t", "status": status, "chart": "c-1",
                "description": description}),
            )
            .unwrap()
        };
        let (old, new) = ("20260820T100000Z-000001", "20260821T100000Z-000002");
        let deployments = [deployment(new, None), deployment(old, Some("deployed"))];
        let live = |history: &[Revision]| live_deployment(&deployments, history).map(|live| live.id().to_string());
        let deployed = [revision(1, "superseded", &format!("dr {old}")), revision(2, "deployed", &format!("dr {new}"))];
        assert_eq!(live(&deployed).as_deref(), Some(new), "killed before it could say so");
        let failed = [revision(1, "deployed", &format!("dr {old}")), revision(2, "failed", "boom")];
        assert_eq!(live(&failed).as_deref(), Some(old));
        assert_eq!(live(&[revision(1, "deployed", "by hand")]).as_deref(), Some(old));
    }
}
