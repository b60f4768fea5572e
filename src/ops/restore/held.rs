//! Whether a restored install is held: its original may still live, and both would run what is scheduled.
//!
//! Schedules, notifications and pushes are in the database, so a copy of it starts them all. A held install has no
//! workers until `dr server start`.

use serde::{Deserialize, Serialize};

use crate::bundle::SourceInstall;
use crate::cluster::HeldOriginal;

/// That a restored install is held, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreHold {
    /// In words that follow a colon.
    pub because: String,
    /// What may still live.
    pub original: HeldOriginal,
    /// How many workers the original had.
    pub workers: i32,
}

/// Where the bundle was made, and where it is restored to.
pub(super) struct HoldFacts<'a> {
    pub source: &'a SourceInstall,
    /// The identity of the cluster that it was made in, as far as the bundle says it.
    pub source_cluster: Option<&'a str>,
    pub target_cluster: &'a str,
    pub target_namespace: &'a str,
    /// How many workers ran when it was made.
    pub workers: Option<i32>,
}

/// Decides, by what was `asked` for, or else by whether the original is known to be gone: the namespace of that name in
/// that cluster is the one that is restored into, and it was found empty.
pub(super) fn decide(facts: &HoldFacts<'_>, asked: Option<bool>) -> Option<RestoreHold> {
    let namespace = &facts.source.namespace;
    let may_live = match facts.source_cluster {
        None => Some("the bundle does not say in which cluster its original is, which may still live".to_owned()),
        Some(cluster) if cluster != facts.target_cluster => {
            Some("its original is in another cluster, and may still live".to_owned())
        }
        Some(_) if **namespace != *facts.target_namespace => {
            Some(format!("its original is in namespace {namespace} of this cluster, and may still live"))
        }
        Some(_) => None,
    };
    let because = match asked {
        Some(false) => return None,
        Some(true) => may_live.unwrap_or_else(|| "--held".to_owned()),
        None => may_live?,
    };
    let original = HeldOriginal {
        cluster: facts.source_cluster.map(str::to_owned),
        namespace: namespace.to_string(),
        database: facts.source.database_cluster.to_string(),
        uid: facts.source.database_cluster_uid.clone(),
    };
    Some(RestoreHold { because, original, workers: facts.workers.unwrap_or(1) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_held_unless_its_original_is_known_to_be_gone_or_somebody_says_so() {
        let source = crate::bundle::testing::header().install;
        let namespace = source.namespace.to_string();
        let held = |cluster: Option<&str>, target_namespace: &str, asked| {
            let facts = HoldFacts {
                source: &source,
                source_cluster: cluster,
                target_cluster: "here",
                target_namespace,
                workers: Some(3),
            };
            decide(&facts, asked).map(|hold| (hold.because, hold.workers))
        };
        assert_eq!(held(Some("here"), &namespace, None), None, "the namespace is empty: nothing lives there");
        for (cluster, target, why) in [
            (None, namespace.as_str(), "does not say in which cluster"),
            (Some("there"), namespace.as_str(), "in another cluster"),
            (Some("here"), "copy", "of this cluster"),
        ] {
            let (because, workers) = held(cluster, target, None).unwrap();
            assert!(because.contains(why) && workers == 3, "{because}");
            assert_eq!(held(cluster, target, Some(false)), None, "--not-held");
        }
        assert_eq!(held(Some("here"), &namespace, Some(true)).unwrap().0, "--held");
    }
}
