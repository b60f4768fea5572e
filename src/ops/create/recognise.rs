//! Which deployment is live, told without a key.
//!
//! Helm's history names the deployment ([`crate::ops::history`]). That its values are the live ones is told by a digest:
//! what Helm has stored stands in the clear in the cluster, for whoever may read Secrets there, and the record has the
//! digest of the same document in the same spelling. What cannot be told is that the vault's sealed file is what was
//! recorded: whoever opens the bundle finds that out, because the digest of what Helm had goes into its signed manifest.

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::error::{CommandError, Exit, Result};
use crate::helm::Revision;
use crate::ops::history::named_deployment;
use crate::opschain::Version;
use crate::values::overlay;
use crate::vault::Deployment;

/// The digest of what Helm has stored of values.
pub(super) fn digest(stored: &Value) -> String {
    hex::encode(Sha256::digest(&*overlay::document(stored)))
}

/// Refuses what Helm has stored, by its digest, when it is not what was recorded of the deployment.
///
/// # Errors
/// [`Exit::Drift`] when it is another, or none was recorded.
pub(super) fn refuse_other_values(deployment: &Deployment, found: &str) -> Result<()> {
    let id = deployment.id();
    let recorded = deployment
        .document_sha256()
        .ok_or_else(|| drift(format!("the record of deployment {id} has no digest by which it could be recognised")))?;
    if found == recorded {
        return Ok(());
    }
    Err(drift(format!("the values that Helm has are not those that the vault has of deployment {id}")))
}

/// The error of a live revision that this host's vault has not.
pub(super) fn not_recorded(newest: &Revision, release: &str) -> CommandError {
    let what = format!("revision {} of release {release} is not in this host's config vault", newest.revision);
    match named_deployment(newest) {
        Some(id) => CommandError::new(Exit::Drift, format!("{what}: another host's dr deployed it, as {id}"))
            .hint("`dr config sync` fetches what other hosts have recorded; `dr config log` then shows it."),
        None => drift(what),
    }
}

/// The OpsChain version of a deployment.
///
/// # Errors
/// [`Exit::Version`] when none of what was recorded is one.
pub(super) fn opschain_version(deployment: &Deployment) -> Result<String> {
    let recorded = deployment.record.opschain_version.as_ref().or(deployment.record.chart.app_version.as_ref());
    let text = recorded.unwrap_or(&deployment.record.chart.version);
    let version: Version = text.parse().map_err(|e| {
        CommandError::new(Exit::Version, format!("deployment {} has no OpsChain version", deployment.id()))
            .because(e)
            .hint("Deploy once with the version named: `dr deploy -f values.yaml --version V`.")
    })?;
    Ok(version.tag())
}

/// The error of values or releases that are not what was deployed.
pub(super) fn drift(what: String) -> CommandError {
    CommandError::new(Exit::Drift, what).hint(
        "A bundle must hold the values that opened the data. If what is live is right, write it down as it is: `dr config record --from-helm --chart REF`, REF being the chart that was deployed.",
    )
    .hint("Or deploy once through dr, `dr deploy -f values.yaml`, and try again.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn deployment(document_sha256: Option<String>) -> Deployment {
        let record = json!({"format": 1, "id": "20260820T100000Z-000001", "at": "2026-08-20T10:00:00Z", "by": "x",
            "install": {"namespace": "ops", "release": "opschain"}, "how": "deploy", "layers": [], "recipients": [],
            "chart": {"name": "c", "version": "1", "reference": "r"}, "dr": "0", "document_sha256": document_sha256});
        Deployment { record: serde_json::from_value(record).unwrap(), outcome: None, record_sha256: String::new() }
    }

    #[test]
    fn values_are_recognised_by_what_helm_has_stored_of_them() {
        let stored = json!({"env": {"KEY": "k", "COUNT": 1.0}});
        let of_file = |text: &str| hex::encode(Sha256::digest(&*overlay::document_of_file(text.as_bytes()).unwrap()));
        let recorded = of_file("# ours\nenv: {COUNT: 1, KEY: k}\n");
        assert_eq!(digest(&stored), recorded);
        let known = deployment(Some(recorded));
        refuse_other_values(&known, &digest(&stored)).unwrap();
        let other = digest(&json!({"env": {"KEY": "other", "COUNT": 1}}));
        assert_eq!(refuse_other_values(&known, &other).unwrap_err().exit(), Exit::Drift);
        let error = refuse_other_values(&deployment(None), &other).unwrap_err();
        assert_eq!(error.exit(), Exit::Drift);
        assert!(error.to_string().contains("no digest"), "{error}");
    }
}
