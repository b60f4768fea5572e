//! Which deployment is live, told without a key.
//!
//! Helm's history names the deployment. That its values are the live ones is told by a digest: what Helm has stored stands
//! in the clear in the cluster, for whoever may read Secrets there, and the record has the digest of the same document in
//! the same spelling. What cannot be told is that the vault's sealed file is what was recorded: whoever opens the bundle
//! finds that out, because the digest of what Helm had goes into its signed manifest.

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::error::{CommandError, Exit, Result};
use crate::helm::Revision;
use crate::ops::history::is_of;
use crate::values::overlay;
use crate::vault::Deployment;

/// The release in question, for messages.
pub(in crate::ops) struct Named<'a> {
    pub(in crate::ops) release: &'a str,
    pub(in crate::ops) namespace: &'a str,
}

/// The deployment that Helm's newest revision is, and the revision's number. It must be deployed: a bundle of anything
/// else would not start.
///
/// # Errors
/// [`Exit::NotFound`] without a release, [`Exit::Helm`] when it is not deployed, [`Exit::Drift`] when the vault does not
/// know it.
pub(in crate::ops) fn live_deployment<'d>(
    named: &Named<'_>,
    newest: Option<&Revision>,
    known: &'d [Deployment],
) -> Result<(&'d Deployment, u32)> {
    let Named { release, namespace } = named;
    let newest = newest.ok_or_else(|| {
        CommandError::new(Exit::NotFound, format!("there is no Helm release {release} in namespace {namespace}"))
            .hint("Name another with --release or -n, or deploy first: `dr deploy -f values.yaml --version V`.")
    })?;
    if !newest.status.is_deployed() {
        let what = format!("Helm release {release} is {}, not deployed", newest.status.word());
        return Err(
            CommandError::new(Exit::Helm, what).hint("Bring the release into order first: `dr deploy -f values.yaml`.")
        );
    }
    let live = known.iter().find(|deployment| is_of(newest, deployment));
    live.map(|live| (live, newest.revision)).ok_or_else(|| {
        drift(format!(
            "revision {} of release {release} is not in the config vault: it was not deployed by dr",
            newest.revision
        ))
    })
}

/// The digest of what Helm has stored of its values, which must be the one that was recorded.
///
/// # Errors
/// [`Exit::Drift`] when it is another, or none was recorded.
pub(in crate::ops) fn stored_digest(deployment: &Deployment, stored: &Value) -> Result<String> {
    let id = deployment.id();
    let recorded = deployment
        .document_sha256()
        .ok_or_else(|| drift(format!("the record of deployment {id} has no digest by which it could be recognised")))?;
    let found = hex::encode(Sha256::digest(&*overlay::document(stored)));
    if found == recorded {
        return Ok(found);
    }
    Err(drift(format!("the values that Helm has are not those that the vault has of deployment {id}")))
}

fn drift(what: String) -> CommandError {
    CommandError::new(Exit::Drift, what).hint(
        "A bundle must hold the values that opened the data: deploy once through dr, `dr deploy -f values.yaml`, and try again.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ID: &str = "20260820T100000Z-000001";
    const NAMED: Named<'static> = Named { release: "opschain", namespace: "ops" };

    fn revision(status: &str, description: &str) -> Revision {
        let updated = "2026-08-20T10:00:01Z";
        serde_json::from_value(
            json!({"revision": 3, "updated": updated, "status": status, "chart": "c-1", "description": description}),
        )
        .unwrap()
    }

    fn deployment(how: &str, document_sha256: Option<String>) -> Deployment {
        let record = json!({"format": 1, "id": ID, "install": {"namespace": "ops", "release": "opschain"},
            "at": "2026-08-20T10:00:00Z", "by": "x", "how": how, "chart": {"name": "c", "version": "1", "reference": "r"},
            "layers": [], "recipients": [], "dr": "0", "document_sha256": document_sha256});
        let outcome = json!({"format": 1, "id": ID, "at": "2026-08-20T10:00:02Z", "status": "deployed", "helm_revision": 3,
            "seconds": 1.0});
        Deployment {
            record: serde_json::from_value(record).unwrap(),
            outcome: Some(serde_json::from_value(outcome).unwrap()),
            record_sha256: String::new(),
        }
    }

    fn refused(newest: Option<&Revision>, known: &[Deployment]) -> (Exit, String) {
        let error = live_deployment(&NAMED, newest, known).unwrap_err();
        assert!(!error.hints().is_empty(), "{error}");
        (error.exit(), error.to_string())
    }

    #[test]
    fn the_live_deployment_is_the_one_that_helm_names_or_that_a_restore_numbered() {
        for (how, description) in [("deploy", format!("dr {ID}")), ("restore", "restored".to_owned())] {
            let known = [deployment(how, None)];
            let (live, number) = live_deployment(&NAMED, Some(&revision("deployed", &description)), &known).unwrap();
            assert_eq!((live.id().as_str(), number), (ID, 3));
        }
    }

    #[test]
    fn what_is_not_there_not_deployed_or_not_of_dr_is_refused_each_with_its_exit_code() {
        let known = [deployment("deploy", None)];
        let (exit, text) = refused(None, &known);
        assert_eq!((exit, text.as_str()), (Exit::NotFound, "there is no Helm release opschain in namespace ops"));
        let (exit, text) = refused(Some(&revision("failed", &format!("dr {ID}"))), &known);
        assert_eq!((exit, text.as_str()), (Exit::Helm, "Helm release opschain is failed, not deployed"));
        // The number alone is no name: after a new installation the numbers begin anew.
        let (exit, text) = refused(Some(&revision("deployed", "Upgrade complete")), &known);
        assert_eq!(exit, Exit::Drift);
        assert!(text.contains("revision 3 of release opschain is not in the config vault"), "{text}");
        assert_eq!(refused(Some(&revision("deployed", &format!("dr {ID}"))), &[]).0, Exit::Drift);
    }

    #[test]
    fn values_are_recognised_by_what_helm_has_stored_of_them() {
        let stored = json!({"env": {"KEY": "k", "COUNT": 1.0}});
        let digest = |text: &str| hex::encode(Sha256::digest(&*overlay::document_of_file(text.as_bytes()).unwrap()));
        let recorded = digest("# ours\nenv: {COUNT: 1, KEY: k}\n");
        let known = deployment("deploy", Some(recorded.clone()));
        assert_eq!(stored_digest(&known, &stored).unwrap(), recorded);
        let error = stored_digest(&known, &json!({"env": {"KEY": "other", "COUNT": 1}})).unwrap_err();
        assert_eq!(error.exit(), Exit::Drift);
        assert!(!error.to_string().contains("other"), "{error}");
        let error = stored_digest(&deployment("deploy", None), &stored).unwrap_err();
        assert_eq!(error.exit(), Exit::Drift);
        assert!(error.to_string().contains("no digest"), "{error}");
    }
}
