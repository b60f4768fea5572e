//! `dr rbac`: what a verb needs of the cluster, and no more, as roles for `kubectl apply`.
//!
//! The live tests make a bundle and restore it under exactly these.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::Ctx;
use super::quiesce::WRITERS;
use crate::cluster::{MANAGED_BY, MANAGER, Permission};
use crate::error::{CommandError, Exit, Result};
use crate::helm::Object;
use crate::opschain::Names;
use crate::opschain::workloads::BACKUP_PRIORITY;

/// For what somebody is to have the rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum RightsFor {
    /// Looking: doctor, server status, config drift, every dry run but for the pods
    Look,
    /// bundle create, server stop and start
    Create,
    /// bundle restore and deploy: all that helm makes, too
    Restore,
}

/// Who is to have them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RightsSubject {
    User(String),
    Group(String),
    ServiceAccount { namespace: String, name: String },
}

impl std::str::FromStr for RightsSubject {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let what = || format!("`{text}` is none of user:NAME, group:NAME, serviceaccount:NAMESPACE/NAME");
        let (kind, name) = text.split_once(':').filter(|(_, name)| !name.is_empty()).ok_or_else(what)?;
        match (kind, name.split_once('/')) {
            ("user", _) => Ok(Self::User(name.to_owned())),
            ("group", _) => Ok(Self::Group(name.to_owned())),
            ("serviceaccount", Some((namespace, name))) => {
                Ok(Self::ServiceAccount { namespace: namespace.to_owned(), name: name.to_owned() })
            }
            _ => Err(what()),
        }
    }
}

impl RightsSubject {
    /// As a part of the name of a binding, which may hold neither of two characters. No two subjects share it.
    fn in_a_name(&self) -> String {
        let text = match self {
            Self::User(name) => format!("user:{name}"),
            Self::Group(name) => format!("group:{name}"),
            Self::ServiceAccount { namespace, name } => format!("serviceaccount:{namespace}:{name}"),
        };
        match text.replace(['/', '%'], "-") {
            plain if plain == text => text,
            plain => format!("{plain}:{}", &hex::encode(Sha256::digest(text.as_bytes()))[..8]),
        }
    }

    fn value(&self) -> Value {
        let named = |kind: &str, name: &str| json!({"apiGroup": RBAC, "kind": kind, "name": name});
        match self {
            Self::User(name) => named("User", name),
            Self::Group(name) => named("Group", name),
            Self::ServiceAccount { namespace, name } => {
                json!({"kind": "ServiceAccount", "name": name, "namespace": namespace})
            }
        }
    }
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct RightsRequest {
    /// For what; all when empty.
    pub verbs: Vec<RightsFor>,
    pub subject: RightsSubject,
}

impl RightsRequest {
    /// What the rights are for, in the names of roles.
    fn purpose(&self) -> String {
        let words = [(RightsFor::Look, "look"), (RightsFor::Create, "create"), (RightsFor::Restore, "restore")];
        let asked: Vec<&str> =
            words.into_iter().filter(|(verb, _)| self.verbs.contains(verb)).map(|(_, word)| word).collect();
        if asked.is_empty() || asked.len() == words.len() { "all".into() } else { asked.join("-") }
    }
}

const RBAC: &str = "rbac.authorization.k8s.io";
const READ: &[&str] = &["get", "list"];
const ALL: &[&str] = &["get", "list", "watch", "create", "update", "patch", "delete"];
const MAKE: &[&str] = &["create", "delete"];

/// Names that a rule is limited to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Only {
    All,
    Writers,
    Vault,
}

impl Only {
    fn names(self) -> Option<Vec<String>> {
        match self {
            Self::All => None,
            Self::Writers => Some(WRITERS.map(str::to_owned).into()),
            Self::Vault => Some(vec![Names::default().vault()]),
        }
    }
}

/// A rule in the namespace: group, resources, names, verbs.
type Rule = (&'static str, &'static [&'static str], Only, &'static [&'static str]);

const LOOK: &[Rule] = &[
    ("", &["pods", "secrets", "configmaps", "persistentvolumeclaims", "services", "serviceaccounts"], Only::All, READ),
    ("", &["events", "resourcequotas", "limitranges"], Only::All, &["list"]),
    ("", &["pods/log"], Only::All, &["get"]),
    ("apps", &["deployments", "statefulsets", "daemonsets", "replicasets"], Only::All, READ),
    ("batch", &["jobs", "cronjobs"], Only::All, READ),
    ("autoscaling", &["horizontalpodautoscalers"], Only::All, &["list"]),
    ("networking.k8s.io", &["ingresses", "networkpolicies"], Only::All, READ),
    ("policy", &["poddisruptionbudgets"], Only::All, &["list"]),
    ("cert-manager.io", &["certificates", "issuers"], Only::All, &["list"]),
    (RBAC, &["roles", "rolebindings"], Only::All, READ),
    ("postgresql.cnpg.io", &["clusters", "poolers", "scheduledbackups"], Only::All, READ),
    ("coordination.k8s.io", &["leases"], Only::All, &["get"]),
];

/// A helper pod with a stream into it. A session into a pod begins with a GET, which the rules see as `get`; Kubernetes
/// 1.35 asks for `create` as well.
const HELPER: &[Rule] = &[("", &["pods"], Only::All, MAKE), ("", &["pods/exec"], Only::All, &["get", "create"])];

/// The application off and on, under the lease on the install.
const SWITCH: &[Rule] = &[
    ("apps", &["deployments"], Only::Writers, &["get", "patch"]),
    ("coordination.k8s.io", &["leases"], Only::All, &["get", "create", "update", "delete"]),
];

/// What asks OpsChain itself, and what a person scales by hand with.
const BESIDE: &[Rule] = &[
    ("", &["pods/portforward"], Only::All, &["get", "create"]),
    ("apps", &["deployments/scale"], Only::Writers, &["get", "patch"]),
];

/// The watchdog's account, with rights that whoever gives them has to have: the writers' get and patch.
const WATCHDOG: &[Rule] =
    &[("", &["serviceaccounts"], Only::All, MAKE), (RBAC, &["roles", "rolebindings"], Only::All, MAKE)];

/// Secrets and volume before helm, and all that helm makes, hooks included. Its roles may hold what nobody here does.
const INSTALL: &[Rule] = &[
    ("", &["secrets", "configmaps", "persistentvolumeclaims", "services", "serviceaccounts"], Only::All, ALL),
    ("", &["pods"], Only::All, &["watch"]),
    ("apps", &["deployments", "statefulsets", "daemonsets"], Only::All, ALL),
    ("apps", &["statefulsets/scale"], Only::Vault, &["patch"]),
    ("apps", &["replicasets"], Only::All, &["watch"]),
    ("batch", &["jobs", "cronjobs"], Only::All, ALL),
    ("policy", &["poddisruptionbudgets"], Only::All, ALL),
    ("networking.k8s.io", &["ingresses", "networkpolicies"], Only::All, ALL),
    ("cert-manager.io", &["certificates", "issuers"], Only::All, ALL),
    ("postgresql.cnpg.io", &["clusters", "poolers"], Only::All, ALL),
    (RBAC, &["roles", "rolebindings"], Only::All, ALL),
    (RBAC, &["roles"], Only::All, &["escalate", "bind"]),
];

/// The chart's objects that live in no namespace: kind, group, resource, names in a stock install.
const WIDE: &[(&str, &str, &str, &[&str])] = &[
    ("ClusterRole", RBAC, "clusterroles", &["opschain-api-cluster-role"]),
    ("ClusterRoleBinding", RBAC, "clusterrolebindings", &["opschain-api-cluster-role-binding"]),
    (
        "PriorityClass",
        "scheduling.k8s.io",
        "priorityclasses",
        &["opschain-backup", "opschain-runner", "opschain-system"],
    ),
    ("IngressClass", "networking.k8s.io", "ingressclasses", &["opschain-opschain"]),
    ("ValidatingWebhookConfiguration", "admissionregistration.k8s.io", "validatingwebhookconfigurations", &[]),
];

/// The roles as YAML documents. Names of objects outside of the namespace are those of the live release, where there is one.
///
/// # Errors
/// They cannot be written as YAML.
pub async fn rbac(ctx: &Ctx, request: &RightsRequest) -> Result<String> {
    let live = match live(ctx).await {
        Ok(objects) => objects,
        Err(error) => {
            ctx.events
                .warn(format!("no live release is known, so the names are those of a stock install: {error}"), None);
            Vec::new()
        }
    };
    let documents = documents(&ctx.install().namespace, &live, request);
    let written: std::result::Result<Vec<String>, _> = documents.iter().map(serde_yaml::to_string).collect();
    let written = written.map_err(|e| CommandError::new(Exit::Failure, "write the roles as YAML").because(e))?;
    Ok(written.join("---\n"))
}

async fn live(ctx: &Ctx) -> Result<Vec<Object>> {
    let (helm, release) = (ctx.helm().await?, &ctx.install().release);
    match helm.newest(release).await? {
        Some(newest) => Ok(helm.get_manifest(release, newest.revision).await?),
        None => Err(CommandError::new(Exit::NotFound, format!("there is no Helm release {release}"))),
    }
}

/// The rights of the account that a schedule in the cluster has: those of a create, under names of its own.
pub(super) fn of_schedule(namespace: &str, name: &str) -> Vec<Value> {
    let subject = RightsSubject::ServiceAccount { namespace: namespace.to_owned(), name: name.to_owned() };
    let request = RightsRequest { verbs: vec![RightsFor::Create], subject };
    let mut made = documents(namespace, &[], &request);
    let wide = format!("{name}:{namespace}");
    for object in &mut made {
        let own = if object["metadata"].get("namespace").is_some() { name } else { wide.as_str() };
        object["metadata"]["name"] = own.into();
        object["metadata"]["labels"]["app.kubernetes.io/component"] = "schedule".into();
        if object.get("roleRef").is_some() {
            object["roleRef"]["name"] = own.into();
        }
    }
    made
}

/// What making a bundle would fail without.
pub(super) fn to_create() -> Vec<Permission> {
    permissions(HELPER)
}

/// What stopping and starting the application would fail without.
pub(super) fn to_switch() -> Vec<Permission> {
    permissions(SWITCH)
}

/// The same as the rules, one by one.
fn permissions(rules: &[Rule]) -> Vec<Permission> {
    let mut all = Vec::new();
    for &(group, resources, only, verbs) in rules {
        for (resource, verb) in resources.iter().flat_map(|resource| verbs.iter().map(move |verb| (*resource, *verb))) {
            let (resource, part) = resource.split_once('/').unwrap_or((resource, ""));
            let one = Permission::here(verb, group, resource).of_part(part);
            match only.names() {
                Some(names) => all.extend(names.into_iter().map(|name| one.clone().named(name))),
                None => all.push(one),
            }
        }
    }
    all
}

/// Refuses `what` where rights are missing that it would fail without, half done.
///
/// # Errors
/// [`Exit::Cluster`] naming them.
pub(super) fn require_rights(what: &str, denied: &[String], namespace: &str) -> Result<()> {
    if denied.is_empty() {
        return Ok(());
    }
    let words =
        format!("{what} in namespace {namespace} needs what the access rules do not allow: {}", denied.join(", "));
    Err(CommandError::new(Exit::Cluster, words)
        .hint("Have an administrator grant it: `dr rbac --for create --subject user:NAME` prints the roles."))
}

fn documents(namespace: &str, live: &[Object], request: &RightsRequest) -> Vec<Value> {
    let (mut here, mut wide): (Vec<&Rule>, Vec<Value>) = (Vec::new(), Vec::new());
    let wants = |verb| request.verbs.is_empty() || request.verbs.contains(&verb);
    here.extend(LOOK);
    wide.extend(look_wide(namespace));
    if wants(RightsFor::Create) || wants(RightsFor::Restore) {
        here.extend(HELPER.iter().chain(SWITCH).chain(BESIDE));
    }
    if wants(RightsFor::Create) {
        here.extend(WATCHDOG);
    }
    if wants(RightsFor::Restore) {
        here.extend(INSTALL);
        wide.extend(install_wide(live));
    }
    let rules: Vec<Value> = here.into_iter().map(|rule| rule_here(*rule)).collect();
    let labels = BTreeMap::from([(MANAGED_BY, MANAGER)]);
    let object = |kind: &str, name: &str, namespace: Option<&str>| {
        let mut meta = json!({"name": name, "labels": labels});
        if let Some(namespace) = namespace {
            meta["namespace"] = namespace.into();
        }
        json!({"apiVersion": format!("{RBAC}/v1"), "kind": kind, "metadata": meta})
    };
    // What is applied for one subject or purpose takes nothing from another. No name of Kubernetes' has a colon, so that
    // what was joined by one is told apart again.
    let (here, wide_name) = (format!("dr-{}", request.purpose()), format!("dr-{}:{namespace}", request.purpose()));
    let mut made = Vec::new();
    for (role, binding, name, namespace, rules) in [
        ("Role", "RoleBinding", here, Some(namespace), rules),
        ("ClusterRole", "ClusterRoleBinding", wide_name, None, wide),
    ] {
        let mut granted = object(role, &name, namespace);
        granted["rules"] = rules.into();
        let mut bound = object(binding, &format!("{name}:{}", request.subject.in_a_name()), namespace);
        bound["roleRef"] = json!({"apiGroup": RBAC, "kind": role, "name": name});
        bound["subjects"] = json!([request.subject.value()]);
        made.extend([granted, bound]);
    }
    made
}

fn rule_here((group, resources, only, verbs): Rule) -> Value {
    let mut rule = json!({"apiGroups": [group], "resources": resources, "verbs": verbs});
    if let Some(names) = only.names() {
        rule["resourceNames"] = json!(names);
    }
    rule
}

fn named(group: &str, resource: &str, names: &[String], verbs: &[&str]) -> Value {
    json!({"apiGroups": [group], "resources": [resource], "resourceNames": names, "verbs": verbs})
}

/// Whose cluster and namespace it is, the operator, priorities and storage.
fn look_wide(namespace: &str) -> Vec<Value> {
    let one = |name: &str| [name.to_owned()];
    let list =
        |group: &str, resources: &[&str]| json!({"apiGroups": [group], "resources": resources, "verbs": ["list"]});
    vec![
        named("", "namespaces", &[namespace.to_owned(), "kube-system".to_owned()], &["get"]),
        named("apps", "deployments", &one("cnpg-controller-manager"), &["get"]),
        named(
            "admissionregistration.k8s.io",
            "mutatingwebhookconfigurations",
            &one("cnpg-mutating-webhook-configuration"),
            &["get"],
        ),
        named("scheduling.k8s.io", "priorityclasses", &one(BACKUP_PRIORITY), &["get"]),
        list("storage.k8s.io", &["storageclasses", "csidrivers"]),
        list("", &["persistentvolumes", "nodes"]),
    ]
}

/// What helm makes outside of the namespace: creation cannot be limited to names, all else is.
fn install_wide(live: &[Object]) -> Vec<Value> {
    let mut rules = Vec::new();
    for (kind, group, resource, stock) in WIDE {
        let own = live.iter().filter(|object| object.id.kind == *kind).map(|object| object.id.name.clone());
        let mut names: Vec<String> = own.collect();
        if names.is_empty() && live.is_empty() {
            names = stock.iter().map(|name| (*name).to_owned()).collect();
        }
        if names.is_empty() {
            continue;
        }
        rules.push(json!({"apiGroups": [group], "resources": [resource], "verbs": ["create"]}));
        let mut verbs = vec!["get", "update", "patch", "delete"];
        if *kind == "ClusterRole" {
            verbs.extend(["escalate", "bind"]);
        }
        rules.push(named(group, resource, &names, &verbs));
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(verbs: &[RightsFor]) -> Vec<Value> {
        let subject = "serviceaccount:ops/backup".parse().unwrap();
        documents("opschain", &[], &RightsRequest { verbs: verbs.to_vec(), subject })
    }

    fn allows(role: &Value, resource: &str, verb: &str) -> bool {
        let has = |list: &Value, what: &str| list.as_array().unwrap().iter().any(|one| one == what);
        role["rules"]
            .as_array()
            .unwrap()
            .iter()
            .any(|rule| has(&rule["resources"], resource) && has(&rule["verbs"], verb))
    }

    #[test]
    fn each_verb_has_what_it_needs_and_not_what_another_does() {
        let role = |verbs: &[RightsFor]| made(verbs).swap_remove(0);
        let (look, create, restore) =
            (role(&[RightsFor::Look]), role(&[RightsFor::Create]), role(&[RightsFor::Restore]));
        assert!(
            allows(&look, "pods", "list") && !allows(&look, "pods", "create") && !allows(&look, "pods/exec", "get")
        );
        assert!(allows(&create, "pods/exec", "create") && allows(&create, "roles", "create"));
        assert!(!allows(&create, "secrets", "create") && !allows(&create, "roles", "escalate"));
        assert!(allows(&restore, "clusters", "create") && allows(&restore, "roles", "escalate"));
        for role in [look, create, restore] {
            assert!(!role.to_string().contains("\"*\""), "nothing is for all");
        }
    }

    #[test]
    fn what_is_asked_for_before_a_bundle_is_what_the_roles_grant_by_name() {
        let role = made(&[RightsFor::Create]).swap_remove(0);
        let said: Vec<String> = to_create().iter().chain(&to_switch()).map(ToString::to_string).collect();
        for right in [
            "delete pods",
            "create pods/exec",
            "patch deployments.apps opschain-api",
            "delete leases.coordination.k8s.io",
        ] {
            assert!(said.iter().any(|one| one == right), "{right}: {said:?}");
        }
        for Permission { verb, resource, subresource, .. } in to_create().into_iter().chain(to_switch()) {
            let part = if subresource.is_empty() { resource.to_owned() } else { format!("{resource}/{subresource}") };
            assert!(allows(&role, &part, verb), "{verb} {part}");
        }
        let error = require_rights("a bundle", &["delete pods".into()], "ops").unwrap_err();
        assert_eq!(error.exit(), Exit::Cluster);
        assert_eq!(error.message(), "a bundle in namespace ops needs what the access rules do not allow: delete pods");
    }

    #[test]
    fn the_writers_alone_are_scaled_and_cluster_roles_are_given_by_name_only() {
        let made = made(&[]);
        let rules = |at: usize| made[at]["rules"].as_array().unwrap().clone();
        let scale = rules(0).into_iter().find(|rule| rule.to_string().contains("deployments/scale")).unwrap();
        assert_eq!(scale["resourceNames"], json!(WRITERS));
        let escalates: Vec<Value> = rules(2).into_iter().filter(|rule| rule.to_string().contains("escalate")).collect();
        assert_eq!(escalates.len(), 1);
        assert_eq!(escalates[0]["resourceNames"], json!(["opschain-api-cluster-role"]));
        let kinds: Vec<&str> = made.iter().map(|one| one["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"]);
        assert_eq!(made[1]["subjects"][0], json!({"kind": "ServiceAccount", "name": "backup", "namespace": "ops"}));
        assert_eq!(made[3]["roleRef"]["name"], "dr-all:opschain");
    }

    #[test]
    fn what_is_applied_for_one_subject_or_purpose_takes_nothing_from_another() {
        let names = |verbs: &[RightsFor], subject: &str| -> Vec<String> {
            let request = RightsRequest { verbs: verbs.to_vec(), subject: subject.parse().unwrap() };
            let named = |one: Value| format!("{} {}", one["kind"], one["metadata"]["name"]);
            documents("opschain", &[], &request).into_iter().map(named).collect()
        };
        let create = names(&[RightsFor::Create], "user:a/b");
        let (other, restore) = (names(&[RightsFor::Create], "group:a"), names(&[RightsFor::Restore], "user:a/b"));
        assert_eq!(create[1], r#""RoleBinding" "dr-create:user:a-b:0e3a6f07""#);
        assert!(create.iter().all(|name| !restore.contains(name)), "{restore:?}");
        let same: Vec<&String> = create.iter().filter(|name| other.contains(name)).collect();
        assert_eq!(same, [&create[0], &create[2]], "the roles, which are the same");
        assert!(!names(&[RightsFor::Create], "user:a-b").contains(&create[1]), "another user's");
    }

    #[test]
    fn what_is_joined_to_one_name_is_told_apart_in_it() {
        let wide = |made: Vec<Value>| made[2]["metadata"]["name"].clone();
        assert_ne!(wide(of_schedule("b-c", "dr-bundle-a")), wide(of_schedule("c", "dr-bundle-a-b")));
        let of = |namespace: &str, verbs: &[RightsFor]| {
            let request = RightsRequest { verbs: verbs.to_vec(), subject: "user:me".parse().unwrap() };
            documents(namespace, &[], &request)
        };
        let (look, both) = (&[RightsFor::Look][..], &[RightsFor::Look, RightsFor::Create][..]);
        assert_ne!(wide(of("create-x", look)), wide(of("x", both)));
    }

    #[test]
    fn a_subject_is_a_user_a_group_or_an_account() {
        assert_eq!("user:me@x".parse(), Ok(RightsSubject::User("me@x".into())));
        assert_eq!("group:a:b".parse(), Ok(RightsSubject::Group("a:b".into())));
        for wrong in ["me", "user:", "serviceaccount:backup", "role:x"] {
            assert!(wrong.parse::<RightsSubject>().is_err(), "{wrong}");
        }
    }
}
