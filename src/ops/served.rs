//! Whether the cluster serves the kinds that a chart is made of. Kubernetes takes old versions of them away, and what an
//! add-on brings is there only with the add-on: helm says so in the middle of its work.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::Ctx;
use crate::error::{CommandError, Exit, Result};
use crate::helm::Object;

/// How many objects of a kind are named.
const NAMED: usize = 3;

/// A kind that the cluster does not serve in the version that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
struct UnservedKind {
    /// Such as `policy/v1beta1`.
    api_version: String,
    kind: String,
    /// The objects that are of it.
    objects: Vec<String>,
    /// The versions of its group in which the cluster does serve it.
    served: Vec<String>,
}

/// Refuses a chart of which the cluster could not make all objects; `objects` are those that it renders to, its hooks with
/// them, and `chart` is asked for the kinds that it brings itself, where one is missing.
///
/// # Errors
/// [`Exit::Cluster`] naming each kind with its objects. That the cluster cannot be asked is noted only.
pub(super) async fn require<'o>(ctx: &Ctx, objects: impl Iterator<Item = &'o Object>, chart: &Path) -> Result<()> {
    let mut unserved = unserved(ctx, objects).await?;
    if !unserved.is_empty() {
        let own: BTreeSet<(String, String)> = ctx.helm().await?.kinds_of_chart(chart).await?.into_iter().collect();
        unserved.retain(|one| {
            let group = one.api_version.split_once('/').map_or("", |(group, _)| group);
            !own.contains(&(group.to_owned(), one.kind.clone()))
        });
    }
    match unserved.is_empty() {
        true => Ok(()),
        false => Err(refused(&unserved, ctx.cluster().await?.server_version())),
    }
}

/// Refuses an upgrade over a revision that names kinds which the cluster serves no more: helm reads it first.
///
/// # Errors
/// As [`require`].
pub(super) async fn require_stored(ctx: &Ctx, revision: u32, stored: &[Object]) -> Result<()> {
    let unserved = unserved(ctx, stored.iter()).await?;
    match unserved.is_empty() {
        true => Ok(()),
        false => Err(refused_stored(&unserved, ctx.cluster().await?.server_version(), revision, ctx)),
    }
}

async fn unserved(ctx: &Ctx, objects: impl Iterator<Item = &Object>) -> Result<Vec<UnservedKind>> {
    let mut kinds: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for object in objects {
        let kind = (object.id.api_version.clone(), object.id.kind.clone());
        kinds.entry(kind).or_default().push(object.id.name.clone());
    }
    // That there is no cluster to ask, helm says itself.
    let Ok(cluster) = ctx.cluster().await else { return Ok(Vec::new()) };
    let wanted: BTreeSet<(&str, &str)> =
        kinds.keys().map(|(version, kind)| (version.as_str(), kind.as_str())).collect();
    let missing = match cluster.unserved(&wanted).await {
        Ok(missing) => missing,
        Err(error) => {
            ctx.events
                .note(format!("whether the cluster serves all that the chart is made of cannot be asked: {error}"));
            return Ok(Vec::new());
        }
    };
    let mut unserved = Vec::new();
    for (api_version, kind) in missing {
        let objects = kinds.get(&(api_version.clone(), kind.clone())).cloned().unwrap_or_default();
        // It only helps whoever reads it.
        let served = cluster.served_versions(&api_version, &kind).await.unwrap_or_default();
        unserved.push(UnservedKind { api_version, kind, objects, served });
    }
    Ok(unserved)
}

fn refused(unserved: &[UnservedKind], kubernetes: &str) -> CommandError {
    let what =
        format!("this cluster (Kubernetes {kubernetes}) does not serve what the chart is made of: {}", words(unserved));
    CommandError::new(Exit::Cluster, what)
        .hint("What an add-on brings, such as cert-manager or an operator, comes with it: install that first.")
        .hint("What Kubernetes has taken away is in a newer release's chart under another version, or in none: name one with --version or --chart, or take a cluster that still serves it.")
        .hint("Nothing was changed.")
}

fn refused_stored(unserved: &[UnservedKind], kubernetes: &str, revision: u32, ctx: &Ctx) -> CommandError {
    let install = ctx.install();
    let (release, namespace) = (&install.release, &install.namespace);
    let what = format!(
        "revision {revision} of {release}, as helm has stored it, is made of what this cluster (Kubernetes {kubernetes}) does not serve, and helm upgrades nothing over it: {}",
        words(unserved)
    );
    CommandError::new(Exit::Cluster, what)
        .hint(format!(
            "helm's plugin mapkubeapis rewrites what is stored: `helm mapkubeapis {release} --namespace {namespace}`."
        ))
        .hint("Nothing was changed.")
}

fn words(unserved: &[UnservedKind]) -> String {
    let one = |one: &UnservedKind| {
        let UnservedKind { api_version, kind, objects, served } = one;
        let more = objects.len().saturating_sub(NAMED);
        let mut named = objects[..objects.len() - more].join(", ");
        if more > 0 {
            named.push_str(&format!(" and {more} more"));
        }
        let instead = if served.is_empty() { String::new() } else { format!("; served is {}", served.join(", ")) };
        format!("{kind} of {api_version} ({named}{instead})")
    };
    unserved.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::testing::MemoryRuns;

    fn budget(objects: &[&str], served: &[&str]) -> UnservedKind {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        UnservedKind {
            api_version: "policy/v1beta1".into(),
            kind: "PodDisruptionBudget".into(),
            objects: owned(objects),
            served: owned(served),
        }
    }

    #[test]
    fn what_is_not_served_is_named_by_kind_version_and_object_with_what_is() {
        let other = UnservedKind {
            api_version: "cert-manager.io/v1".into(),
            kind: "Certificate".into(),
            objects: ["a", "b", "c", "d", "e"].map(str::to_owned).into(),
            served: Vec::new(),
        };
        let error = refused(&[budget(&["opschain-api"], &["policy/v1"]), other], "v1.34.1");
        assert_eq!(error.exit(), Exit::Cluster);
        assert_eq!(
            error.message(),
            "this cluster (Kubernetes v1.34.1) does not serve what the chart is made of: PodDisruptionBudget of \
             policy/v1beta1 (opschain-api; served is policy/v1), Certificate of cert-manager.io/v1 (a, b, c and 2 more)"
        );
    }

    #[test]
    fn a_stored_revision_that_helm_cannot_read_any_more_leads_to_what_rewrites_it() {
        let ctx = crate::ops::testing::ctx(&MemoryRuns::default());
        let error = refused_stored(&[budget(&["opschain-api"], &[])], "v1.34.1", 7, &ctx);
        assert!(error.message().starts_with("revision 7 of opschain, as helm has stored it"), "{error:?}");
        assert!(error.hints()[0].to_string().contains("helm mapkubeapis opschain --namespace opschain"), "{error:?}");
    }
}
