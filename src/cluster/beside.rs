//! What stands in the namespace and is not of the Helm release: what a site rules it by, and what people keep beside it.

use std::collections::BTreeSet;

use futures::future::join_all;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};

use super::error::{ClusterError, Result};
use super::kube::Cluster;
use super::namespace::{EVERYWHERE, Kind, ObjectRef, is_owned, types_of};
use super::{MANAGED_BY, MANAGER};

/// The kinds that a site rules a namespace by.
const RULING: &[Kind] = &[
    ("", "v1", "ResourceQuota", "resourcequotas"),
    ("", "v1", "LimitRange", "limitranges"),
    ("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies"),
    ("rbac.authorization.k8s.io", "v1", "Role", "roles"),
    ("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings"),
];
/// The kinds that people keep something in, and that nothing makes again. Pods and Jobs are work, which ends.
const KEPT: &[Kind] = &[
    ("apps", "v1", "Deployment", "deployments"),
    ("apps", "v1", "StatefulSet", "statefulsets"),
    ("apps", "v1", "DaemonSet", "daemonsets"),
    ("batch", "v1", "CronJob", "cronjobs"),
    ("", "v1", "Service", "services"),
    ("networking.k8s.io", "v1", "Ingress", "ingresses"),
    ("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
    ("", "v1", "Secret", "secrets"),
    ("", "v1", "ConfigMap", "configmaps"),
    ("", "v1", "ServiceAccount", "serviceaccounts"),
    ("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers"),
    ("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets"),
    ("postgresql.cnpg.io", "v1", "Cluster", "clusters"),
    ("postgresql.cnpg.io", "v1", "Pooler", "poolers"),
    ("postgresql.cnpg.io", "v1", "ScheduledBackup", "scheduledbackups"),
    ("cert-manager.io", "v1", "Certificate", "certificates"),
    ("cert-manager.io", "v1", "Issuer", "issuers"),
];
/// The release that has made an object.
const OF_RELEASE: &str = "meta.helm.sh/release-name";
/// What helm makes without that mark.
const HOOK: &str = "helm.sh/hook";
/// A Secret that is made from a Certificate.
const OF_CERTIFICATE: &str = "cert-manager.io/certificate-name";
/// A Secret that is made for a ServiceAccount.
const OF_ACCOUNT: &str = "kubernetes.io/service-account.name";
/// How labels and annotations of a namespace begin that every namespace has, or that say nothing to a site.
const PLAIN: [&str; 4] = [
    "kubernetes.io/metadata.name",
    "dr.opschain/",
    "kubectl.kubernetes.io/last-applied-configuration",
    "meta.helm.sh/",
];

/// What stands beside a release, by names alone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BesideRelease {
    /// What rules the namespace: its labels and annotations, quotas, limits, network policies, roles and their bindings.
    pub ruling: Vec<String>,
    /// Objects that people keep there, and other Helm releases.
    pub kept: Vec<String>,
    /// The resources that may not be listed.
    pub unseen: Vec<String>,
}

/// What tells the release's own objects from others'.
#[derive(Debug, Clone, Copy)]
pub struct OwnObjects<'a> {
    /// The Helm release.
    pub release: &'a str,
    /// What a bundle carries.
    pub carried: &'a [ObjectRef],
    /// How the names of what the application makes for its work begin.
    pub work: &'a [&'a str],
}

impl Cluster {
    /// Looks at what stands in the namespace beside the release. No contents are asked for, and what may not be listed is
    /// named.
    ///
    /// # Errors
    /// The cluster does not answer.
    pub async fn beside_release(&self, own: OwnObjects<'_>) -> Result<BesideRelease> {
        let kinds = || RULING.iter().chain(KEPT);
        let namespace = self.wide::<Namespace>();
        let (namespace, lists) =
            futures::join!(namespace.get_opt(self.namespace()), join_all(kinds().map(|kind| self.metadata_of(kind))));
        let mut found = BesideRelease::default();
        match namespace {
            Err(error) if error.is_forbidden() => found.unseen.push("namespaces".into()),
            namespace => found.ruling = marks_of(&namespace?.map(|namespace| namespace.metadata).unwrap_or_default()),
        }
        let mut seen = Vec::new();
        for (kind, list) in kinds().zip(lists) {
            match list {
                Err(error) if error.is_forbidden() => found.unseen.push(kind.3.to_owned()),
                list => seen.extend(list?.into_iter().map(|meta| (kind, meta))),
            }
        }
        found.sort_out(seen, own);
        Ok(found)
    }

    /// What the objects of a kind are called, and who has made them. Not their contents: a Secret's are nobody's business
    /// here, and helm's own are large.
    async fn metadata_of(&self, kind: &Kind) -> Result<Vec<ObjectMeta>> {
        match self.dynamic(types_of(kind)).list_metadata().await {
            Err(ClusterError::NotFound { .. }) => Ok(Vec::new()),
            list => list,
        }
    }
}

impl BesideRelease {
    fn sort_out(&mut self, seen: Vec<(&Kind, ObjectMeta)>, own: OwnObjects<'_>) {
        let sets = seen.iter().filter(|((_, _, kind, _), _)| *kind == "StatefulSet");
        let sets: BTreeSet<String> = sets.filter_map(|(_, meta)| meta.name.clone()).collect();
        let mut releases = BTreeSet::new();
        for (kind, meta) in &seen {
            let annotation = |name: &str| meta.annotations.as_ref().and_then(|all| all.get(name));
            if let Some(release) = annotation(OF_RELEASE) {
                if release != own.release && releases.insert(release.clone()) {
                    self.kept.push(format!("Helm release {release}"));
                }
                continue;
            }
            let object = ObjectRef::new(kind.2, meta.name.clone().unwrap_or_default());
            let is_made = [HOOK, OF_CERTIFICATE, OF_ACCOUNT].iter().any(|mark| annotation(mark).is_some());
            if !is_made && !is_known(&object, meta, own) && !is_claim_of(&sets, &object) {
                let named = object.to_string();
                if RULING.contains(kind) { self.ruling.push(named) } else { self.kept.push(named) }
            }
        }
    }
}

/// The labels and annotations of a namespace that decide something there.
fn marks_of(meta: &ObjectMeta) -> Vec<String> {
    let ruling = |what: &'static str, marks: Option<&std::collections::BTreeMap<String, String>>| {
        let names = marks.into_iter().flatten().map(|(name, _)| name.clone());
        let names = names.filter(|name| !PLAIN.iter().any(|plain| name.starts_with(plain)));
        names.map(|name| format!("namespace {what} {name}")).collect::<Vec<_>>()
    };
    let labels = ruling("label", meta.labels.as_ref());
    labels.into_iter().chain(ruling("annotation", meta.annotations.as_ref())).collect()
}

/// Whether it is known where the object comes from: `dr`, helm, Kubernetes, the application, an owner, or the bundle.
fn is_known(object: &ObjectRef, meta: &ObjectMeta, own: OwnObjects<'_>) -> bool {
    let label = |name: &str| meta.labels.as_ref().and_then(|all| all.get(name)).map(String::as_str);
    label(MANAGED_BY) == Some(MANAGER)
        || (object.kind == "Secret" && label("owner") == Some("helm"))
        || EVERYWHERE.contains(&(object.kind.as_str(), object.name.as_str()))
        || (object.kind == "Service" && object.name == "kubernetes")
        || own.carried.contains(object)
        || own.work.iter().any(|prefix| object.name.starts_with(prefix))
        || is_owned(meta, KEPT)
}

/// Whether a claim is made by one of the StatefulSets: `template-set-0`.
fn is_claim_of(sets: &BTreeSet<String>, object: &ObjectRef) -> bool {
    let Some((rest, ordinal)) = object.name.rsplit_once('-') else { return false };
    let is_of = |set: &String| rest.strip_suffix(set.as_str()).is_some_and(|template| template.ends_with('-'));
    object.kind == "PersistentVolumeClaim" && ordinal.parse::<u32>().is_ok() && sets.iter().any(is_of)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn beside(objects: &[(&str, serde_json::Value)]) -> BesideRelease {
        let kind = |name: &str| RULING.iter().chain(KEPT).find(|(_, _, kind, _)| *kind == name).unwrap();
        let seen = objects.iter().map(|(of, meta)| (kind(of), serde_json::from_value(meta.clone()).unwrap()));
        let carried = [ObjectRef::new("Secret", "opschain-build-env")];
        let mut found = BesideRelease::default();
        found.sort_out(
            seen.collect(),
            OwnObjects { release: "opschain", carried: &carried, work: &["opschain-agent-", "change-"] },
        );
        found
    }

    #[test]
    fn what_nobody_makes_again_is_named_by_kind_and_name() {
        let found = beside(&[
            ("Deployment", json!({"name": "nightly-report"})),
            ("Ingress", json!({"name": "portal"})),
            ("PersistentVolumeClaim", json!({"name": "reports-0"})),
            ("Secret", json!({"name": "own-token", "labels": {"owner": "us"}})),
            ("ServiceAccount", json!({"name": "reporter"})),
            ("NetworkPolicy", json!({"name": "deny-all"})),
            ("ConfigMap", json!({"name": "a", "annotations": {"meta.helm.sh/release-name": "grafana"}})),
            ("Secret", json!({"name": "b", "annotations": {"meta.helm.sh/release-name": "grafana"}})),
            // By an operator that is not looked at: whoever restores has to have it.
            (
                "Secret",
                json!({"name": "external", "ownerReferences": [
                {"apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret", "name": "external", "uid": "u"}]}),
            ),
        ]);
        assert_eq!(found.ruling, ["NetworkPolicy deny-all"]);
        let kept = [
            "Deployment nightly-report",
            "Ingress portal",
            "PersistentVolumeClaim reports-0",
            "Secret own-token",
            "ServiceAccount reporter",
            "Helm release grafana",
            "Secret external",
        ];
        assert_eq!(found.kept, kept);
    }

    #[test]
    fn what_the_release_kubernetes_dr_or_another_object_makes_is_not_named() {
        let owner = json!([{"apiVersion": "postgresql.cnpg.io/v1", "kind": "Cluster", "name": "d", "uid": "u"}]);
        let found = beside(&[
            ("Deployment", json!({"name": "d", "annotations": {"meta.helm.sh/release-name": "opschain"}})),
            ("ServiceAccount", json!({"name": "hook", "annotations": {"helm.sh/hook": "pre-install"}})),
            ("ServiceAccount", json!({"name": "default"})),
            ("ConfigMap", json!({"name": "kube-root-ca.crt"})),
            ("Secret", json!({"name": "sh.helm.release.v1.opschain.v1", "labels": {"owner": "helm"}})),
            ("Secret", json!({"name": "t", "annotations": {"kubernetes.io/service-account.name": "default"}})),
            ("Secret", json!({"name": "c", "annotations": {"cert-manager.io/certificate-name": "c"}})),
            ("Secret", json!({"name": "opschain-build-env"})),
            ("Secret", json!({"name": "opschain-db-ca", "ownerReferences": owner})),
            ("PodDisruptionBudget", json!({"name": "opschain-db", "ownerReferences": owner})),
            ("Service", json!({"name": "opschain-agent-7"})),
            ("RoleBinding", json!({"name": "dr", "labels": {"app.kubernetes.io/managed-by": "dr"}})),
            (
                "StatefulSet",
                json!({"name": "opschain-image-registry", "annotations": {"meta.helm.sh/release-name": "opschain"}}),
            ),
            ("PersistentVolumeClaim", json!({"name": "data-vol-opschain-image-registry-0"})),
        ]);
        assert_eq!(found, BesideRelease::default());
    }

    #[test]
    fn labels_and_annotations_of_the_namespace_are_named_without_what_they_say() {
        let meta = json!({"labels": {"kubernetes.io/metadata.name": "n", "zone": "dmz"},
            "annotations": {"openshift.io/sa.scc.uid-range": "1/2", "kubectl.kubernetes.io/last-applied-configuration": "{}"}});
        let marks = marks_of(&serde_json::from_value(meta).unwrap());
        assert_eq!(marks, ["namespace label zone", "namespace annotation openshift.io/sa.scc.uid-range"]);
    }
}
