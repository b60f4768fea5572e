//! What in a namespace a restore has made. Nothing here asks anybody.

use super::plan::RestorePlan;
use crate::cluster::database::CLUSTER_LABEL;
use crate::cluster::{NamespaceState, RUN_LABEL, StandingObject};
use crate::opschain::workloads::PREFIX;

/// The annotation by which helm knows its own.
const HELM_RELEASE: &str = "meta.helm.sh/release-name";
/// The annotation of what helm's hooks make, which an uninstall leaves.
const HELM_HOOK: &str = "helm.sh/hook";
/// The annotation of Secrets that cert-manager makes.
const CERTIFICATE: &str = "cert-manager.io/certificate-name";

/// Whether the object was made by the run: it was not there before, and it bears a mark of the release, of its database
/// or of the run. Whatever else somebody has put into the namespace is not the run's to remove.
pub(super) fn is_made_by(standing: &StandingObject, plan: &RestorePlan, run: &str) -> bool {
    if let NamespaceState::Empty { kept } = &plan.found
        && kept.contains(&standing.object)
    {
        return false;
    }
    let label = |name: &str| standing.labels.get(name).map(String::as_str);
    let annotation = |name: &str| standing.annotations.get(name).map(String::as_str);
    let of_application =
        |name: &str| label(name).is_some_and(|value| value == PREFIX || value.starts_with("opschain-"));
    annotation(HELM_RELEASE) == Some(&plan.release)
        || annotation(HELM_HOOK).is_some()
        || annotation(CERTIFICATE).is_some()
        || label(CLUSTER_LABEL) == Some(&plan.database)
        || label(RUN_LABEL) == Some(run)
        // The claims of a StatefulSet bear its pods' label and nothing of helm.
        || of_application("app")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::ObjectRef;
    use crate::ops::restore::testing::plan;

    fn object(name: &str, labels: &[(&str, &str)], annotations: &[(&str, &str)]) -> StandingObject {
        let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        StandingObject {
            object: ObjectRef::new("Secret", name),
            created: None,
            labels: map(labels),
            annotations: map(annotations),
        }
    }

    #[test]
    fn only_what_bears_a_mark_of_the_run_and_was_not_there_before_is_its_own() {
        let mut plan = plan();
        let found = object("opschain-vault-config", &[], &[(HELM_RELEASE, "opschain")]);
        assert!(is_made_by(&found, &plan, "r"));
        plan.found = NamespaceState::Empty { kept: vec![found.object.clone()] };
        assert!(!is_made_by(&found, &plan, "r"), "it was there before");
        for own in [
            object("a", &[], &[(HELM_HOOK, "pre-upgrade")]),
            object("a", &[], &[(CERTIFICATE, "opschain-ca")]),
            object("a", &[(CLUSTER_LABEL, "opschain-db")], &[]),
            object("a", &[(RUN_LABEL, "r")], &[]),
            object("data-vol-opschain-image-registry-0", &[("app", "opschain-image-registry")], &[]),
        ] {
            assert!(is_made_by(&own, &plan, "r"), "{own:?}");
        }
        for other in [
            object("pull", &[], &[]),
            object("a", &[("app", "opschainlike")], &[]),
            object("a", &[], &[(HELM_RELEASE, "other")]),
            object("a", &[(CLUSTER_LABEL, "other-db")], &[]),
            object("a", &[(RUN_LABEL, "other")], &[]),
        ] {
            assert!(!is_made_by(&other, &plan, "r"), "{other:?}");
        }
    }
}
