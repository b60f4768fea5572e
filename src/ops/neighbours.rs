//! Another OpsChain in the cluster, and what a deleted one has left.
//!
//! A cluster holds one: objects that live in no namespace have the same names in every install. Helm marks each with the
//! release that it belongs to, and refuses to make it for another, in the middle of an install.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::Ctx;
use crate::cluster::{LiveObject, WantedObject};
use crate::error::{CommandError, Exit, Result};
use crate::helm::Object;
use crate::settings::Install;

/// The kinds of a chart that live in no namespace.
const CLUSTER_KINDS: [&str; 8] = [
    "ClusterRole",
    "ClusterRoleBinding",
    "PriorityClass",
    "IngressClass",
    "StorageClass",
    "ValidatingWebhookConfiguration",
    "MutatingWebhookConfiguration",
    "CustomResourceDefinition",
];

/// An object of the chart that is in the cluster already.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StandingNeighbour {
    /// Such as `rbac.authorization.k8s.io/v1`.
    pub api_version: String,
    /// Such as `ClusterRole`.
    pub kind: String,
    /// Its name, which is the same in every install.
    pub name: String,
    /// The namespace and the name of the release that it belongs to.
    pub owner: Option<(String, String)>,
}

/// What stands of the chart's objects that live in no namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct NeighbourFacts {
    pub standing: Vec<StandingNeighbour>,
    /// Those of the owners' namespaces that are there, or of which nobody here may know.
    pub namespaces: BTreeSet<String>,
    /// Why one could not be looked at.
    pub unread: Option<String>,
}

/// Looks for the objects of the chart that live in no namespace.
///
/// # Errors
/// The cluster does not answer.
pub(super) async fn gather(ctx: &Ctx, rendered: &[Object]) -> Result<NeighbourFacts> {
    let wanted: Vec<WantedObject> =
        rendered.iter().filter(|object| CLUSTER_KINDS.contains(&object.id.kind.as_str())).map(wanted).collect();
    let mut facts = NeighbourFacts::default();
    if wanted.is_empty() {
        return Ok(facts);
    }
    let cluster = ctx.cluster().await?;
    for (wanted, live) in wanted.iter().zip(cluster.live_objects(&wanted).await?) {
        match live {
            LiveObject::There { fields, .. } => facts.standing.push(StandingNeighbour {
                api_version: wanted.api_version.clone(),
                kind: wanted.kind.clone(),
                name: wanted.name.clone(),
                owner: owner(&fields),
            }),
            LiveObject::Absent => {}
            LiveObject::Unreadable(why) => facts.unread = Some(why),
        }
    }
    let owners: BTreeSet<&String> =
        facts.standing.iter().filter_map(|one| one.owner.as_ref()).map(|(namespace, _)| namespace).collect();
    for namespace in owners.into_iter().cloned().collect::<Vec<_>>() {
        match cluster.in_namespace(&namespace).namespace_uid().await {
            Ok(None) => continue,
            Err(error) if !error.is_forbidden() => return Err(error.into()),
            // Without permission to read namespaces, assume that it exists: then nothing is taken from it.
            _ => facts.namespaces.insert(namespace),
        };
    }
    Ok(facts)
}

fn wanted(object: &Object) -> WantedObject {
    WantedObject {
        api_version: object.id.api_version.clone(),
        kind: object.id.kind.clone(),
        namespace: None,
        name: object.id.name.clone(),
    }
}

fn owner(fields: &serde_json::Value) -> Option<(String, String)> {
    let annotation = |name: &str| fields["metadata"]["annotations"][name].as_str().map(str::to_owned);
    annotation("meta.helm.sh/release-namespace").zip(annotation("meta.helm.sh/release-name"))
}

impl StandingNeighbour {
    /// The object in the cluster.
    fn wanted(&self) -> WantedObject {
        let (api_version, kind, name) = (self.api_version.clone(), self.kind.clone(), self.name.clone());
        WantedObject { api_version, kind, namespace: None, name }
    }
}

/// What is taken over from a deleted namespace, and what is to be warned of.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct NeighbourVerdict {
    pub taken: Vec<StandingNeighbour>,
    pub warning: Option<String>,
}

/// Judges by whose the objects are. `take_over` is the deleted namespace whose leftovers may be taken over.
///
/// # Errors
/// [`Exit::NotEmpty`]: another OpsChain lives in the cluster; or a deleted one has left objects that nobody said are to be
/// taken over; or some belong to nobody.
pub(super) fn judge(
    facts: NeighbourFacts,
    namespace: &str,
    release: &str,
    take_over: Option<&str>,
) -> Result<NeighbourVerdict> {
    let mut others: BTreeMap<Option<(String, String)>, Vec<StandingNeighbour>> = BTreeMap::new();
    for one in facts.standing {
        others.entry(one.owner.clone()).or_default().push(one);
    }
    others.remove(&Some((namespace.to_owned(), release.to_owned())));
    let mut verdict = NeighbourVerdict::default();
    for (owner, objects) in others {
        let names = names(&objects);
        let Some((of, other)) = owner else { return Err(of_nobody(&names)) };
        if facts.namespaces.contains(&of) && of != namespace {
            return Err(two(&of, &other, namespace, release, &names));
        }
        if take_over != Some(of.as_str()) {
            return Err(left(&of, &other, &names));
        }
        verdict.taken.extend(objects);
    }
    verdict.warning =
        facts.unread.map(|why| format!("whether another OpsChain is in the cluster cannot be told: {why}"));
    Ok(verdict)
}

/// Gives leftovers to a release. Safe to repeat.
///
/// # Errors
/// One is gone, or may not be changed.
pub(super) async fn take_over(ctx: &Ctx, taken: &[StandingNeighbour]) -> Result<()> {
    let Install { namespace, release, .. } = ctx.install();
    for left in taken {
        ctx.cluster().await?.give_to_release(&left.wanted(), namespace, release).await?;
    }
    Ok(())
}

/// What is said of leftovers that are taken over.
pub(super) fn taken_words(taken: &[StandingNeighbour], namespace: &str, release: &str) -> Option<String> {
    let words = || format!("--take-over: {} will belong to release {release} of namespace {namespace}", names(taken));
    (!taken.is_empty()).then(words)
}

/// Their kinds and names.
fn names(objects: &[StandingNeighbour]) -> String {
    objects.iter().map(|one| format!("{} {}", one.kind, one.name)).collect::<Vec<_>>().join(", ")
}

fn two(of: &str, other: &str, namespace: &str, release: &str, names: &str) -> CommandError {
    let what = format!(
        "a cluster holds one OpsChain: release {other} in namespace {of} has {names}, which release {release} in namespace {namespace} needs, too"
    );
    CommandError::new(Exit::NotEmpty, what)
        .hint("Use another cluster: --context.")
        .hint(format!("Or, when nothing of that install is needed any more, remove it first: `helm uninstall {other} -n {of}`, `kubectl delete namespace {of}`."))
}

fn left(of: &str, other: &str, names: &str) -> CommandError {
    let what = format!("release {other} of namespace {of}, which is deleted, has left {names} in the cluster");
    CommandError::new(Exit::NotEmpty, what)
        .hint(format!("If that install is gone for good, `--take-over {of}` gives them to this one."))
}

fn of_nobody(names: &str) -> CommandError {
    CommandError::new(
        Exit::NotEmpty,
        format!("{names} in the cluster bear no mark of Helm's, which would refuse to make them"),
    )
    .hint("Find out who has made them; when nobody needs them, remove them with kubectl and try again.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(owner: Option<(&str, &str)>, alive: &[&str]) -> NeighbourFacts {
        let owner = owner.map(|(namespace, release)| (namespace.to_owned(), release.to_owned()));
        let standing = vec![StandingNeighbour {
            api_version: "rbac.authorization.k8s.io/v1".into(),
            kind: "ClusterRole".into(),
            name: "opschain-api-cluster-role".into(),
            owner,
        }];
        let namespaces = alive.iter().map(|name| (*name).to_owned()).collect();
        NeighbourFacts { standing, namespaces, unread: None }
    }

    fn refused(facts: NeighbourFacts, take_over: Option<&str>) -> CommandError {
        let error = judge(facts, "opschain", "opschain", take_over).unwrap_err();
        assert_eq!(error.exit(), Exit::NotEmpty);
        error
    }

    #[test]
    fn a_second_opschain_is_refused_with_both_named_whatever_is_typed() {
        let error = refused(facts(Some(("other", "prod")), &["other"]), Some("other"));
        let what = "a cluster holds one OpsChain: release prod in namespace other has ClusterRole opschain-api-cluster-role, which release opschain in namespace opschain needs, too";
        assert_eq!(error.message(), what);
    }

    #[test]
    fn what_a_deleted_namespace_has_left_is_taken_over_on_its_name_only() {
        let gone = || facts(Some(("gone", "opschain")), &[]);
        let error = refused(gone(), Some("another"));
        assert!(
            error.message().starts_with("release opschain of namespace gone, which is deleted, has left ClusterRole")
        );
        assert!(error.hints()[0].contains("`--take-over gone`"), "{:?}", error.hints());
        assert_eq!(judge(gone(), "opschain", "opschain", Some("gone")).unwrap().taken, gone().standing);
        let own_name = facts(Some(("opschain", "older")), &["opschain"]);
        assert!(refused(own_name, None).message().contains("release older of namespace opschain"));
    }

    #[test]
    fn ones_own_are_no_hindrance_those_of_nobody_are_and_what_is_unseen_is_said() {
        let own = facts(Some(("opschain", "opschain")), &["opschain"]);
        assert_eq!(judge(own, "opschain", "opschain", None).unwrap(), NeighbourVerdict::default());
        assert!(refused(facts(None, &[]), None).message().contains("bear no mark of Helm's"));
        let unseen = NeighbourFacts { unread: Some("not allowed".into()), ..NeighbourFacts::default() };
        let warning = judge(unseen, "opschain", "opschain", None).unwrap().warning.unwrap();
        assert!(warning.ends_with("cannot be told: not allowed"), "{warning}");
    }
}
