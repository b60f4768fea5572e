//! Why something is not what the vault says, as far as helm's history and the objects' managed fields tell.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::cluster::Manager;

/// Why something differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Cause {
    /// There is a release, and the vault has no deployment of it.
    NeverRecorded {
        revision: u32,
        /// When it was made.
        at: String,
    },
    /// helm deployed a revision that no `dr` asked for.
    DeployedOutside {
        revision: u32,
        /// When it was made.
        at: String,
        /// What helm says of it, scrubbed.
        description: String,
        /// The program that wrote it.
        by: Option<String>,
    },
    /// Another host's `dr`, or one without this vault, restored a bundle.
    Restored {
        revision: u32,
        /// When it was made.
        at: String,
        bundle: String,
    },
    /// Another host's `dr` deployed, and this vault has not heard of it.
    DeployedElsewhere {
        revision: u32,
        /// When it was made.
        at: String,
        deployment: String,
    },
    /// helm went back to an older revision.
    RolledBack {
        revision: u32,
        /// The revision that it took again.
        to: u32,
        at: String,
        /// The program that wrote it.
        by: Option<String>,
    },
    /// An upgrade that no `dr` asked for failed, perhaps half-way.
    FailedOutside {
        revision: u32,
        at: String,
        /// helm's error, scrubbed.
        description: String,
    },
    /// The release is gone, and the vault has a deployment that went live.
    Uninstalled,
    /// A deployment was interrupted before its outcome was written down.
    Interrupted {
        deployment: String,
        /// helm's revision, where it came so far.
        revision: Option<u32>,
        /// helm's state of that revision.
        status: Option<String>,
    },
    /// helm read something else from the file than what stands in it.
    ResolverLoss { how: String },
    /// A failed upgrade came so far.
    HalfUpgraded {
        /// helm's revision, which failed.
        revision: u32,
        at: Option<Timestamp>,
    },
    /// The object is not there.
    Missing,
    /// Somebody set the number of replicas.
    Scaled { by: String, at: Option<Timestamp> },
    /// Somebody changed fields with a tool for people.
    HandEdited { by: String, at: Option<Timestamp> },
    /// Another program changed fields.
    ChangedBy { by: String, at: Option<Timestamp> },
    /// The cluster does not say who.
    Unknown,
}

/// Programs that people change objects with. A desktop client's name is that of its web engine.
const HANDS: &[&str] =
    &["kubectl", "oc", "k9s", "lens", "openlens", "freelens", "headlamp", "dashboard", "node-fetch", "mozilla"];

impl Cause {
    /// The cause of fields that the manager wrote last.
    pub(super) fn of_manager(manager: Option<Manager>) -> Self {
        let Some(Manager { name, subresource, at }) = manager else { return Self::Unknown };
        if subresource.as_deref() == Some("scale") {
            return Self::Scaled { by: name, at };
        }
        let small = name.to_ascii_lowercase();
        let hand = HANDS.iter().any(|hand| {
            small.strip_prefix(hand).is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_lowercase()))
        });
        if hand { Self::HandEdited { by: name, at } } else { Self::ChangedBy { by: name, at } }
    }

    /// The cause in a clause: `rolled back to revision 2 by helm: revision 5, 2026-08-20 10:00:05Z`.
    pub fn text(&self) -> String {
        match self {
            Self::NeverRecorded { revision, at } => {
                format!("the vault knows nothing of this release: revision {revision}, {}", time(at))
            }
            Self::DeployedOutside { revision, at, description, by } => {
                let said = if description.is_empty() { String::new() } else { format!(" (\"{description}\")") };
                format!("deployed outside dr{}: revision {revision}, {}{said}", with(by), time(at))
            }
            Self::DeployedElsewhere { revision, at, deployment } => {
                format!(
                    "deployed by another host's dr as {deployment}, which this vault has not: revision {revision}, {}; `dr config sync` fetches it",
                    time(at)
                )
            }
            Self::Restored { revision, at, bundle } => {
                format!(
                    "restored by dr from bundle {bundle}, not recorded in this vault: revision {revision}, {}",
                    time(at)
                )
            }
            Self::RolledBack { revision, to, at, by } => {
                format!("rolled back to revision {to} outside dr{}: revision {revision}, {}", with(by), time(at))
            }
            Self::FailedOutside { revision, at, description } => {
                format!("an upgrade outside dr failed: revision {revision}, {}: {description}", time(at))
            }
            Self::Uninstalled => "the release is gone: uninstalled outside dr".into(),
            Self::Interrupted { deployment, revision, status } => {
                let how = match (revision, status) {
                    (Some(revision), Some(status)) => format!("; helm has it as revision {revision}, {status}"),
                    _ => "; helm does not know it".into(),
                };
                format!("deployment {deployment} was interrupted before its outcome was recorded{how}")
            }
            Self::ResolverLoss { how } => format!("helm read it otherwise than it is written: {how}"),
            Self::HalfUpgraded { revision, at } => {
                format!("written by the upgrade to revision {revision}, which failed half-way{}", when(at))
            }
            Self::Missing => "missing in the cluster: deleted by hand, or never made".into(),
            Self::Scaled { by, at } => format!("scaled outside dr{}{}", with(&Some(by.clone())), when(at)),
            Self::HandEdited { by, at } => format!("edited by hand{}{}", with(&Some(by.clone())), when(at)),
            Self::ChangedBy { by, at } => format!("changed by {by}{}", when(at)),
            Self::Unknown => "the cluster does not say by whom".into(),
        }
    }
}

fn with(by: &Option<String>) -> String {
    by.as_ref().map(|by| format!(" with {by}")).unwrap_or_default()
}

fn when(at: &Option<Timestamp>) -> String {
    at.map(|at| at.strftime(", %Y-%m-%d %H:%M:%SZ").to_string()).unwrap_or_default()
}

/// helm's time, in UTC where it can be read.
fn time(at: &str) -> String {
    at.parse::<Timestamp>().map_or_else(|_| at.to_owned(), |at| at.strftime("%Y-%m-%d %H:%M:%SZ").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hands_controllers_and_scaling_are_told_apart() {
        let cause = |name: &str, part: Option<&str>| {
            Cause::of_manager(Some(Manager { name: name.into(), subresource: part.map(str::to_owned), at: None }))
        };
        for hand in ["kubectl-edit", "kubectl", "kubectl-client-side-apply", "Mozilla", "k9s", "oc"] {
            assert!(matches!(cause(hand, None), Cause::HandEdited { .. }), "{hand}");
        }
        for program in ["manager", "kube-controller-manager", "octopus", "argocd-controller", "helm"] {
            assert!(matches!(cause(program, None), Cause::ChangedBy { .. }), "{program}");
        }
        assert!(matches!(cause("kubectl", Some("scale")), Cause::Scaled { .. }));
        assert_eq!(Cause::of_manager(None), Cause::Unknown);
    }

    #[test]
    fn causes_read_as_clauses_with_when() {
        let at = "2026-08-20T12:00:05.123456789+02:00".to_owned();
        let outside = Cause::DeployedOutside {
            revision: 4,
            at: at.clone(),
            description: "Upgrade complete".into(),
            by: Some("helm".into()),
        };
        assert_eq!(
            outside.text(),
            "deployed outside dr with helm: revision 4, 2026-08-20 10:00:05Z (\"Upgrade complete\")"
        );
        let back = Cause::RolledBack { revision: 5, to: 2, at, by: None };
        assert_eq!(back.text(), "rolled back to revision 2 outside dr: revision 5, 2026-08-20 10:00:05Z");
        let scaled = Cause::Scaled { by: "kubectl".into(), at: Some("2026-08-20T10:00:05Z".parse().unwrap()) };
        assert_eq!(scaled.text(), "scaled outside dr with kubectl, 2026-08-20 10:00:05Z");
    }
}
