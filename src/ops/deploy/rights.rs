//! Whether helm will be let do what a deployment takes, and could, asked before anything is recorded or changed.
//!
//! Asked of the API server for each object that helm would read, make, change or take away, and for the Secrets that it
//! keeps its revisions in. What is not certain to be needed is not asked for: helm's own refusal says it then.

use super::prepared::Prepared;
use crate::cluster::{Cluster, ObjectRight, WantedObject};
use crate::error::{CommandError, Exit, Result};
use crate::helm::Object;
use crate::ops::{Ctx, served};

/// How many rights are named; more say nothing new.
const NAMED: usize = 12;

/// Refuses a deployment that the access rules would stop half-way, or the want of a kind of objects.
///
/// # Errors
/// [`Exit::Cluster`] naming what is not allowed, or not served; what asking helm for the live objects fails with.
pub(super) async fn require(ctx: &Ctx, prepared: &Prepared, cluster: &Cluster) -> Result<()> {
    let (helm, release) = (ctx.helm().await?, &prepared.plan.release);
    let stored = stored(ctx, prepared).await?;
    let chart = prepared.subject.chart.file.path();
    // What is wrong with a chart that does not render, helm says when it is deployed.
    let (objects, hooks) = match helm.render(&prepared.upgrade(&chart, None)).await {
        Ok(rendered) => (rendered.objects, rendered.hooks),
        Err(_) => (Vec::new(), Vec::new()),
    };
    for object in objects.iter().chain(&hooks) {
        crate::ops::objects::register_secrets(ctx.secrets(), &object.fields);
    }
    served::require(ctx, objects.iter().chain(&hooks), &chart).await?;
    let rights = needed(release, &stored, &objects, &hooks);
    match cluster.denied_objects(&rights).await {
        Ok(denied) => refuse(denied, cluster.namespace()),
        // Not to be told is no refusal: what is not allowed, helm is told later.
        Err(error) => {
            ctx.events.note(format!("whether helm may do all of this cannot be asked: {error}"));
            Ok(())
        }
    }
}

/// The objects of the deployed revision, as helm has stored them. helm reads them first, even to render another.
///
/// # Errors
/// [`Exit::Cluster`]: helm could not, for the cluster does not serve all of their kinds; or helm cannot be asked.
pub(super) async fn stored(ctx: &Ctx, prepared: &Prepared) -> Result<Vec<Object>> {
    let Some(revision) = prepared.deployed else { return Ok(prepared.stored.clone().unwrap_or_default()) };
    let stored = match &prepared.stored {
        Some(stored) => stored.clone(),
        None => ctx.helm().await?.get_manifest(&prepared.plan.release, revision).await?,
    };
    served::require_stored(ctx, revision, &stored).await?;
    Ok(stored)
}

fn refuse(denied: Vec<String>, namespace: &str) -> Result<()> {
    if denied.is_empty() {
        return Ok(());
    }
    let more = denied.len().saturating_sub(NAMED);
    let mut named = denied.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    if more > 0 {
        named.push_str(&format!(", and {more} more"));
    }
    let text = format!("this deployment into namespace {namespace} needs what the access rules do not allow: {named}");
    Err(CommandError::new(Exit::Cluster, text)
        .hint("Have an administrator grant it: `dr rbac --for restore --subject user:NAME` prints the roles.")
        .hint("Nothing was recorded or changed."))
}

/// What helm does to reach these objects and hooks from the `stored` ones.
fn needed(release: &str, stored: &[Object], objects: &[Object], hooks: &[Object]) -> Vec<ObjectRight> {
    let mut rights = Vec::new();
    let mut ask = |object: &WantedObject, verbs: &[&'static str]| {
        rights.extend(verbs.iter().map(|verb| ObjectRight { verb, object: object.clone() }));
    };
    let revisions = WantedObject {
        api_version: "v1".into(),
        kind: "Secret".into(),
        namespace: None,
        name: format!("sh.helm.release.v1.{release}.v1"),
    };
    ask(&revisions, &["list", "get", "create", "update"]);
    for object in objects {
        let before = stored.iter().find(|other| other.id.key() == object.id.key());
        ask(
            &wanted(object),
            match before {
                // What does not change may be left alone.
                Some(before) if before.fields == object.fields => &["get"],
                Some(_) => &["get", "patch"],
                None => &["get", "create"],
            },
        );
    }
    let stays = |object: &&Object| object.is_kept() || objects.iter().any(|other| other.id.key() == object.id.key());
    // Where the chart did not render, it is not known which ones go.
    for gone in stored.iter().filter(|object| !objects.is_empty() && !stays(object)) {
        ask(&wanted(gone), &["get", "delete"]);
    }
    let now = if stored.is_empty() { "-install" } else { "-upgrade" };
    for hook in hooks {
        // One that runs at another time is made then.
        if !hook.hooks.iter().any(|at| at.ends_with(now)) {
            continue;
        }
        ask(&wanted(hook), &["get", "create"]);
        let policy = hook.annotation("helm.sh/hook-delete-policy").unwrap_or("before-hook-creation");
        if policy.contains("before-hook-creation") || policy.contains("hook-succeeded") {
            ask(&wanted(hook), &["delete"]);
        }
        if matches!(hook.id.kind.as_str(), "Job" | "Pod") {
            ask(&wanted(hook), &["list", "watch"]);
        }
    }
    rights
}

fn wanted(object: &Object) -> WantedObject {
    WantedObject {
        api_version: object.id.api_version.clone(),
        kind: object.id.kind.clone(),
        namespace: object.id.namespace.clone(),
        name: object.id.name.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::helm::manifest::parse;

    fn asked(stored: &str, new: &str) -> Vec<String> {
        let (hooks, objects): (Vec<Object>, Vec<Object>) =
            parse(new).unwrap().into_iter().partition(|object| !object.hooks.is_empty());
        let rights = needed("opschain", &parse(stored).unwrap(), &objects, &hooks);
        rights
            .iter()
            .skip(4)
            .map(|right| format!("{} {} {}", right.verb, right.object.kind, right.object.name))
            .collect()
    }

    const OLD: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\napiVersion: v1\nkind: Service\nmetadata: {name: gone}\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: kept, annotations: {helm.sh/resource-policy: keep}}\n";

    #[test]
    fn each_object_is_asked_for_by_what_helm_does_to_it() {
        let new = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {b: c}\n---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: b}\n---\napiVersion: batch/v1\nkind: Job\nmetadata: {name: h, annotations: {helm.sh/hook: pre-upgrade}}\n---\napiVersion: batch/v1\nkind: Job\nmetadata: {name: t, annotations: {helm.sh/hook: test}}\n";
        assert_eq!(
            asked(OLD, new),
            [
                "get ConfigMap a",
                "patch ConfigMap a",
                "get Deployment b",
                "create Deployment b",
                "get Service gone",
                "delete Service gone",
                "get Job h",
                "create Job h",
                "delete Job h",
                "list Job h",
                "watch Job h"
            ]
        );
        assert_eq!(asked(OLD, ""), Vec::<String>::new(), "a chart that does not render takes nothing away");
        assert_eq!(asked(OLD, OLD).iter().filter(|right| !right.starts_with("get ")).count(), 0, "nothing changes");
        let of_version =
            |version| format!("apiVersion: policy/{version}\nkind: PodDisruptionBudget\nmetadata: {{name: p}}\n");
        let moved = asked(&of_version("v1beta1"), &of_version("v1"));
        assert_eq!(moved, ["get PodDisruptionBudget p", "patch PodDisruptionBudget p"]);
        assert!(!asked("", new).iter().any(|right| right.contains("Job")), "no hook of an upgrade");
    }

    #[test]
    fn what_is_not_allowed_is_named_and_a_long_list_is_cut() {
        assert!(refuse(Vec::new(), "ops").is_ok());
        let error = refuse(vec!["create deployments.apps".into()], "ops").unwrap_err();
        assert!(
            error.exit() == Exit::Cluster && error.message().ends_with("allow: create deployments.apps"),
            "{error}"
        );
        let many = refuse((0..20).map(|n| format!("get x{n}")).collect(), "ops").unwrap_err();
        assert!(many.message().ends_with("get x11, and 8 more"), "{many}");
    }
}
