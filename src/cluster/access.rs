//! What the access rules of the cluster let this user do.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use futures::future::try_join_all;
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::api::{Api, PostParams};

use super::error::{ApiRequest, Result};
use super::kube::Cluster;
use super::objects::WantedObject;

/// One thing that a user may or may not do, in the words of RBAC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permission {
    /// Such as `create`.
    pub verb: &'static str,
    /// The API group; empty for the core one.
    pub group: &'static str,
    /// The plural resource, such as `pods`.
    pub resource: &'static str,
    /// The subresource, such as `exec`; empty for none.
    pub subresource: &'static str,
    /// The object that it is asked for; empty for all of them.
    pub name: Cow<'static, str>,
    /// Whether it is asked for the whole cluster and not for one namespace.
    pub cluster_wide: bool,
}

impl Permission {
    /// A permission in the namespace.
    pub const fn here(verb: &'static str, group: &'static str, resource: &'static str) -> Self {
        Self { verb, group, resource, subresource: "", name: Cow::Borrowed(""), cluster_wide: false }
    }

    /// A permission in the whole cluster.
    pub const fn wide(verb: &'static str, group: &'static str, resource: &'static str) -> Self {
        Self { verb, group, resource, subresource: "", name: Cow::Borrowed(""), cluster_wide: true }
    }

    /// The same for a subresource.
    #[must_use]
    pub const fn of_part(mut self, subresource: &'static str) -> Self {
        self.subresource = subresource;
        self
    }

    /// The same for one object: it may be granted by its name.
    #[must_use]
    pub fn named(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.name = name.into();
        self
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        if !self.subresource.is_empty() {
            write!(f, "/{}", self.subresource)?;
        }
        if !self.name.is_empty() {
            write!(f, " {}", self.name)?;
        }
        Ok(())
    }
}

/// What is to be done with one object.
#[derive(Debug, Clone)]
pub struct ObjectRight {
    /// Such as `create`.
    pub verb: &'static str,
    pub object: WantedObject,
}

/// How many reviews are asked for at once.
const AT_ONCE: usize = 16;

impl Cluster {
    /// What of this the access rules do not allow, in the words of RBAC: neither for all objects of a kind nor for the
    /// named one. Kinds that the cluster does not know are passed over.
    ///
    /// # Errors
    /// The cluster cannot be asked.
    pub async fn denied_objects(&self, wanted: &[ObjectRight]) -> Result<Vec<String>> {
        let mut kinds: BTreeMap<&str, BTreeMap<String, (String, bool)>> = BTreeMap::new();
        let mut asked: BTreeMap<KindRight, BTreeSet<&str>> = BTreeMap::new();
        for ObjectRight { verb, object } in wanted {
            let version = object.api_version.as_str();
            if !kinds.contains_key(version) {
                kinds.insert(version, self.kinds(version).await?);
            }
            let Some((resource, is_namespaced)) = kinds[version].get(&object.kind) else { continue };
            let group = version.split_once('/').map_or("", |(group, _)| group);
            let namespace = object.namespace.as_deref().unwrap_or(self.namespace());
            let namespace = is_namespaced.then(|| namespace.to_owned());
            let key = KindRight { verb, group: group.to_owned(), resource: resource.clone(), namespace };
            asked.entry(key).or_default().insert(&object.name);
        }
        let answers = stream::iter(asked.into_iter().map(|(key, names)| self.denied_names(key, names)));
        let denied: Vec<Option<String>> = answers.buffered(AT_ONCE).try_collect().await?;
        Ok(denied.into_iter().flatten().collect())
    }

    /// The objects of one kind that the verb is not allowed for. What makes or lists objects knows no names.
    async fn denied_names(&self, key: KindRight, names: BTreeSet<&str>) -> Result<Option<String>> {
        if self.review(key.attributes(None)).await? {
            return Ok(None);
        }
        if matches!(key.verb, "create" | "list" | "watch") {
            return Ok(Some(key.to_string()));
        }
        let mut denied = Vec::new();
        for name in &names {
            if !self.review(key.attributes(Some(name))).await? {
                denied.push(*name);
            }
        }
        Ok(match denied.as_slice() {
            [] => None,
            all if all.len() == names.len() => Some(key.to_string()),
            some => Some(format!("{key} ({})", some.join(", "))),
        })
    }

    /// Returns those of `wanted` that the access rules do not allow, in their order.
    ///
    /// Asks the API server itself (`SelfSubjectAccessReview`), so any authorizer counts, not only RBAC.
    ///
    /// # Errors
    /// The reviews cannot be asked for.
    pub async fn denied(&self, wanted: &[Permission]) -> Result<Vec<Permission>> {
        let answers = try_join_all(wanted.iter().map(|permission| self.may(permission))).await?;
        Ok(wanted.iter().zip(answers).filter(|(_, allowed)| !allowed).map(|(p, _)| p.clone()).collect())
    }

    async fn may(&self, permission: &Permission) -> Result<bool> {
        self.review(ResourceAttributes {
            verb: some(permission.verb),
            group: some(permission.group),
            resource: some(permission.resource),
            subresource: some(permission.subresource),
            name: some(&permission.name),
            namespace: (!permission.cluster_wide).then(|| self.namespace().to_owned()),
            ..ResourceAttributes::default()
        })
        .await
    }

    async fn review(&self, attributes: ResourceAttributes) -> Result<bool> {
        let named = attributes.name.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
        let permission = format!("{}{named}", said(&attributes));
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(attributes),
                ..SelfSubjectAccessReviewSpec::default()
            },
            ..SelfSubjectAccessReview::default()
        };
        let params = PostParams::default();
        let reviews: Api<SelfSubjectAccessReview> = Api::all(self.client().clone());
        // What it is about is said, or twenty lines of a log would read the same.
        let ask = ApiRequest {
            verb: "review",
            kind: format!("the permission to {permission} for"),
            resource: "selfsubjectaccessreviews.authorization.k8s.io".into(),
            name: Some("dr".into()),
            namespace: None,
        };
        let answer = self.ask(ask, reviews.create(&params, &review)).await?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// In the words of RBAC.
fn said(attributes: &ResourceAttributes) -> String {
    let part =
        |text: &Option<String>, sign: &str| text.as_ref().map(|text| format!("{sign}{text}")).unwrap_or_default();
    let (verb, resource) = (part(&attributes.verb, ""), part(&attributes.resource, " "));
    format!("{verb}{resource}{}{}", part(&attributes.group, "."), part(&attributes.subresource, "/"))
}

/// A verb on the objects of one kind, in one namespace or in none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct KindRight {
    group: String,
    resource: String,
    namespace: Option<String>,
    verb: &'static str,
}

impl KindRight {
    fn attributes(&self, name: Option<&str>) -> ResourceAttributes {
        ResourceAttributes {
            verb: some(self.verb),
            group: some(&self.group),
            resource: some(&self.resource),
            namespace: self.namespace.clone(),
            name: name.map(str::to_owned),
            ..ResourceAttributes::default()
        }
    }
}

impl fmt::Display for KindRight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&said(&self.attributes(None)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permission_reads_as_a_rule_does() {
        assert_eq!(Permission::here("create", "", "pods").of_part("exec").to_string(), "create pods/exec");
        assert_eq!(
            Permission::here("patch", "apps", "deployments").of_part("scale").to_string(),
            "patch deployments.apps/scale"
        );
        assert_eq!(Permission::wide("get", "", "namespaces").named("ops").to_string(), "get namespaces ops");
    }
}
