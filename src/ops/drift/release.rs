//! What helm's history says of the vault's: pure, so that every story of a release can be told in a test.

use super::cause::Cause;
use crate::helm::Revision;
use crate::ops::history::{is_of, named_deployment, names, restored_bundle};
use crate::vault::Deployment;

/// The longest that is quoted of helm's words.
const LONGEST: usize = 300;

/// How vault and helm stand to each other, before any value is compared.
#[derive(Debug, PartialEq)]
pub(super) struct Judged<'a> {
    /// The deployment that the vault holds to be live.
    pub deployment: Option<&'a Deployment>,
    /// The revision that helm holds to be deployed.
    pub revision: Option<&'a Revision>,
    /// Whether that revision is that deployment.
    pub own: bool,
    /// What is wrong, without looking at any value.
    pub causes: Vec<Cause>,
    /// What is worth saying and no drift.
    pub notes: Vec<String>,
}

/// Judges. `deployments` come newest first, `history` oldest first.
pub(super) fn judge<'a>(deployments: &'a [Deployment], history: &'a [Revision]) -> Judged<'a> {
    let revision = history.iter().rfind(|revision| revision.status.is_deployed());
    let newest = history.last();
    let named = |revision: &Revision| deployments.iter().find(|deployment| is_of(revision, deployment));
    let went_live = deployments.iter().find(|deployment| deployment.is_deployed());
    let mut judged = Judged { deployment: went_live, revision, own: false, causes: Vec::new(), notes: Vec::new() };
    match (revision, went_live) {
        (Some(revision), _) if named(revision).is_some() => {
            judged.deployment = named(revision);
            judged.own = true;
        }
        (Some(revision), Some(_)) => judged.causes.push(outside(revision)),
        (Some(revision), None) => {
            judged.causes.push(Cause::NeverRecorded { revision: revision.revision, at: revision.updated.clone() });
        }
        (None, Some(_)) if newest.is_none_or(|newest| newest.status.word().starts_with("uninstall")) => {
            judged.causes.push(Cause::Uninstalled);
        }
        _ => {}
    }
    // What stands above the deployed revision is a failure, or something in the middle.
    if let Some(newest) = newest.filter(|newest| revision.is_none_or(|revision| revision.revision < newest.revision)) {
        if newest.status.is_failed() && named(newest).is_none() && !is_failure_of_ours(deployments, newest) {
            judged.causes.push(Cause::FailedOutside {
                revision: newest.revision,
                at: newest.updated.clone(),
                description: said(newest),
            });
        } else if !newest.status.word().starts_with("uninstall") {
            judged.notes.push(format!("helm's newest revision, {}, is {}", newest.revision, newest.status.word()));
        }
    }
    for deployment in deployments.iter().filter(|deployment| deployment.outcome.is_none()) {
        let known = history.iter().find(|revision| names(revision, deployment.id()));
        // An old one that something newer went over is history.
        let is_newest = deployments.first().is_some_and(|first| first.id() == deployment.id());
        if is_newest || known.is_some_and(|known| Some(known.revision) == judged.revision.map(|r| r.revision)) {
            judged.causes.push(Cause::Interrupted {
                deployment: deployment.id().to_string(),
                revision: known.map(|known| known.revision),
                status: known.map(|known| known.status.word().to_owned()),
            });
        }
    }
    judged
}

/// A failed revision has helm's error in the place of `dr`'s name; so it is known by its number.
fn is_failure_of_ours(deployments: &[Deployment], newest: &Revision) -> bool {
    deployments.iter().any(|deployment| deployment.revision() == Some(newest.revision) && !deployment.is_deployed())
}

fn outside(revision: &Revision) -> Cause {
    let at = revision.updated.clone();
    if let Some(deployment) = named_deployment(revision) {
        return Cause::DeployedElsewhere { revision: revision.revision, at, deployment: deployment.to_string() };
    }
    match (rolled_back_to(revision), restored_bundle(revision)) {
        (Some(to), _) => Cause::RolledBack { revision: revision.revision, to, at, by: None },
        (None, Some(bundle)) => Cause::Restored { revision: revision.revision, at, bundle: bundle.to_owned() },
        (None, None) => {
            Cause::DeployedOutside { revision: revision.revision, at, description: said(revision), by: None }
        }
    }
}

/// helm's words, cut: an error may quote whole objects.
fn said(revision: &Revision) -> String {
    let mut text = revision.description.clone();
    if let Some((cut, _)) = text.char_indices().nth(LONGEST) {
        text.truncate(cut);
        text.push_str("...");
    }
    text
}

/// `Rollback to 3`; helm 4 says the number in a field of its own, too.
pub(super) fn rolled_back_to(revision: &Revision) -> Option<u32> {
    revision.rollback_revision.or_else(|| revision.description.strip_prefix("Rollback to ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::history::description_of_restore;
    use crate::vault::How;
    use serde_json::json;

    const OLD: &str = "20260820T100000Z-000001";
    const NEW: &str = "20260821T100000Z-000002";

    fn deployment(id: &str, status: Option<&str>, revision: Option<u32>) -> Deployment {
        let record = serde_json::from_value(json!({"format": 1, "id": id, "install": {"namespace": "n", "release": "r"},
            "at": "2026-08-20T10:00:00Z", "by": "x", "how": "deploy", "chart": {"name": "c", "version": "1", "reference": "r"},
            "layers": [], "recipients": [], "dr": "0"}))
        .unwrap();
        let outcome = status.map(|status| {
            serde_json::from_value(json!({"format": 1, "id": id, "at": "2026-08-20T10:00:00Z", "status": status,
                "helm_revision": revision, "seconds": 1.0}))
            .unwrap()
        });
        Deployment { record, outcome, record_sha256: String::new() }
    }

    fn revision(number: u32, status: &str, description: &str) -> Revision {
        serde_json::from_value(
            json!({"revision": number, "updated": "t", "status": status, "chart": "c-1", "description": description}),
        )
        .unwrap()
    }

    fn own(id: &str) -> String {
        format!("dr {id}")
    }

    fn causes(deployments: &[Deployment], history: &[Revision]) -> Vec<String> {
        judge(deployments, history).causes.iter().map(Cause::text).collect()
    }

    #[test]
    fn what_dr_deployed_and_nobody_touched_is_no_drift() {
        let deployments = [deployment(NEW, Some("deployed"), Some(2)), deployment(OLD, Some("deployed"), Some(1))];
        let history = [revision(1, "superseded", &own(OLD)), revision(2, "deployed", &own(NEW))];
        let judged = judge(&deployments, &history);
        assert!(judged.causes.is_empty() && judged.own && judged.notes.is_empty(), "{judged:?}");
        assert_eq!(judged.deployment.unwrap().id().to_string(), NEW);
        assert!(causes(&[], &[]).is_empty());
    }

    #[test]
    fn each_story_has_its_name() {
        let live = [deployment(OLD, Some("deployed"), Some(1))];
        let first = || revision(1, "superseded", &own(OLD));
        let by_hand = [first(), revision(2, "deployed", "Upgrade complete")];
        assert!(causes(&live, &by_hand)[0].starts_with("deployed outside dr: revision 2"));
        let back = [first(), revision(2, "superseded", "Upgrade complete"), revision(3, "deployed", "Rollback to 1")];
        assert!(causes(&live, &back)[0].starts_with("rolled back to revision 1 outside dr: revision 3"));
        let elsewhere = [first(), revision(2, "deployed", &description_of_restore("b-1", "done"))];
        assert!(causes(&live, &elsewhere)[0].starts_with("restored by dr from bundle b-1, not recorded in this vault"));
        assert!(causes(&[], &by_hand)[0].starts_with("the vault knows nothing"));
        assert!(causes(&live, &[])[0].contains("uninstalled"));
        assert!(causes(&live, &[revision(1, "uninstalled", "")])[0].contains("uninstalled"));
        let by_another_host = [first(), revision(2, "deployed", &own(NEW))];
        assert!(causes(&live, &by_another_host)[0].starts_with(&format!("deployed by another host's dr as {NEW}")));
        let failed = [revision(1, "deployed", &own(OLD)), revision(2, "failed", "boom")];
        assert!(causes(&live, &failed)[0].starts_with("an upgrade outside dr failed: revision 2"));
        // The number of a burnt release's revision says nothing: helm's description names nobody.
        let again = [revision(1, "deployed", "Install complete")];
        assert!(causes(&live, &again)[0].starts_with("deployed outside dr: revision 1"));
    }

    #[test]
    fn a_restore_is_known_by_its_number_and_its_time() {
        let mut restored = deployment(OLD, Some("deployed"), Some(3));
        restored.record.how = How::Restore;
        let at = |updated: &str| Revision { updated: updated.into(), ..revision(3, "deployed", "restored") };
        assert!(causes(std::slice::from_ref(&restored), &[at("2026-08-20T09:59:00Z")]).is_empty());
        assert!(causes(&[restored], &[at("2026-08-25T09:59:00Z")])[0].starts_with("deployed outside"));
    }

    #[test]
    fn a_failure_of_ours_is_a_note_and_an_interruption_is_named() {
        let history = [revision(1, "deployed", &own(OLD)), revision(2, "failed", "timed out")];
        let deployments = [deployment(NEW, Some("failed"), Some(2)), deployment(OLD, Some("deployed"), Some(1))];
        let judged = judge(&deployments, &history);
        assert!(judged.causes.is_empty(), "{judged:?}");
        assert_eq!(judged.notes, ["helm's newest revision, 2, is failed"]);
        let killed = [deployment(NEW, None, None), deployment(OLD, Some("deployed"), Some(1))];
        let done = [revision(1, "superseded", &own(OLD)), revision(2, "deployed", &own(NEW))];
        assert!(causes(&killed, &done)[0].contains("helm has it as revision 2, deployed"));
        assert!(causes(&killed, &[revision(1, "deployed", &own(OLD))])[0].contains("helm does not know it"));
        let over = [deployment(NEW, Some("deployed"), Some(2)), deployment(OLD, None, None)];
        assert!(causes(&over, &[revision(2, "deployed", &own(NEW))]).is_empty(), "what went over is history");
    }
}
