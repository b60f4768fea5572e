//! What the access rules of the cluster let this user do.

use std::fmt;

use futures::future::try_join_all;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::api::{Api, PostParams};

use super::error::{ApiRequest, Result};
use super::kube::Cluster;

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
    /// Whether it is asked for the whole cluster and not for one namespace.
    pub cluster_wide: bool,
}

impl Permission {
    /// A permission in the namespace. `resource` may be `pods/exec`.
    pub const fn here(verb: &'static str, group: &'static str, resource: &'static str) -> Self {
        Self { verb, group, resource, subresource: "", cluster_wide: false }
    }

    /// A permission in the whole cluster.
    pub const fn wide(verb: &'static str, group: &'static str, resource: &'static str) -> Self {
        Self { verb, group, resource, subresource: "", cluster_wide: true }
    }

    /// The same for a subresource.
    #[must_use]
    pub const fn of_part(mut self, subresource: &'static str) -> Self {
        self.subresource = subresource;
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
        Ok(())
    }
}

impl Cluster {
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
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(ResourceAttributes {
                    verb: some(permission.verb),
                    group: some(permission.group),
                    resource: some(permission.resource),
                    subresource: some(permission.subresource),
                    namespace: (!permission.cluster_wide).then(|| self.namespace().to_owned()),
                    ..ResourceAttributes::default()
                }),
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
    }
}
