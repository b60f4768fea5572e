//! The database operator itself: whether it is there, ready, of which version, and whether its webhook answers.

use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::DynamicObject;
use serde::{Deserialize, Serialize};

use super::cnpg::types;
use super::error::{ApiRequest, ClusterError, Result};
use super::kube::Cluster;
use super::workloads::Workload;

/// Where the operator's own manifest puts it.
const DEFAULT_NAMESPACE: &str = "cnpg-system";
const DEFAULT_NAME: &str = "cnpg-controller-manager";
/// The label of the operator's Deployment, in its manifest and in its chart.
const LABEL: &str = "app.kubernetes.io/name=cloudnative-pg";
/// The webhook configuration that names the operator's namespace.
const WEBHOOKS: &str = "cnpg-mutating-webhook-configuration";

/// The operator's Deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operator {
    pub namespace: String,
    pub name: String,
    pub image: String,
    /// Its version, from the image's tag, such as `1.27.0`.
    pub version: Option<String>,
    /// Pods that are ready.
    pub ready: i32,
    /// Pods that it is to have.
    pub replicas: i32,
}

impl Cluster {
    /// Whether the cluster knows the operator's `Cluster` kind.
    ///
    /// # Errors
    /// The cluster does not answer.
    pub async fn knows_databases(&self) -> Result<bool> {
        let ask = ApiRequest::of::<DynamicObject>(&types(), "list", None, None);
        match self.ask(ask, self.client().list_api_group_resources("postgresql.cnpg.io/v1")).await {
            Ok(list) => Ok(list.resources.iter().any(|resource| resource.kind == "Cluster")),
            Err(ClusterError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Finds the operator: by its label in any namespace, else by its webhook's namespace, else where its own manifest
    /// puts it. `None`: it is in none of these.
    ///
    /// # Errors
    /// All three may not be looked at. One that may is enough.
    pub async fn operator(&self) -> Result<Option<Operator>> {
        match self.wide::<Deployment>().list(Some(LABEL)).await {
            Ok(list) => {
                if let Some(found) = list.iter().find(|d| d.metadata.labels.is_some()) {
                    let namespace = found.metadata.namespace.clone().unwrap_or_default();
                    return Ok(Some(Operator::of(&Workload::from(found), &namespace)));
                }
            }
            Err(error) if error.is_forbidden() => {}
            Err(error) => return Err(error),
        }
        let namespace = match self.wide::<MutatingWebhookConfiguration>().get_opt(WEBHOOKS).await {
            Ok(found) => found.and_then(|configuration| {
                configuration.webhooks?.into_iter().find_map(|webhook| Some(webhook.client_config.service?.namespace))
            }),
            Err(error) if error.is_forbidden() => None,
            Err(error) => return Err(error),
        };
        let namespace = namespace.unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
        let found = self.within::<Deployment>(&namespace).get_opt(DEFAULT_NAME).await?;
        Ok(found.map(|deployment| Operator::of(&Workload::from(&deployment), &namespace)))
    }

    /// Has the API server check a small database as if it were made, which calls the operator's webhooks. Nothing is
    /// made. The webhook's refusal of the object would be an answer too.
    ///
    /// # Errors
    /// [`ClusterError::NoOperator`] without the CRD, [`ClusterError::Webhook`] when the webhook cannot be called.
    pub async fn check_operator_webhook(&self) -> Result<()> {
        let namespace = match self.namespace_uid().await {
            Ok(None) => "default",
            _ => self.namespace(),
        };
        let mut probe = DynamicObject::new("dr-webhook-check", &types()).within(namespace);
        probe.data = serde_json::json!({"spec": {"instances": 1, "storage": {"size": "1Gi"}}});
        match self.in_namespace(namespace).dynamic(types()).create_dry(&probe).await {
            Ok(_) | Err(ClusterError::Conflict { .. }) => Ok(()),
            Err(ClusterError::NotFound { .. }) => Err(ClusterError::NoOperator),
            // The API server says 500 when it cannot call a webhook, and the webhook's own code when it says no.
            Err(ClusterError::Refused { code, message, .. }) if code >= 500 => {
                Err(ClusterError::Webhook { cause: message })
            }
            Err(ClusterError::Refused { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl Operator {
    fn of(workload: &Workload, namespace: &str) -> Self {
        let image = workload.images.first().cloned().unwrap_or_default();
        Self {
            namespace: namespace.to_owned(),
            name: workload.name.clone(),
            version: version_of(&image),
            image,
            ready: workload.ready,
            replicas: workload.replicas,
        }
    }

    /// Whether enough of it runs to act on a database.
    pub fn is_ready(&self) -> bool {
        self.ready > 0
    }
}

/// The version in an image's tag: `registry:5000/cnpg:1.27.0@sha256:...` is 1.27.0. A tag that begins with no version
/// is none.
fn version_of(image: &str) -> Option<String> {
    let named = image.split('@').next().unwrap_or(image);
    let tag = named.rsplit('/').next()?.split_once(':')?.1;
    let version = tag.strip_prefix('v').unwrap_or(tag);
    version.starts_with(|c: char| c.is_ascii_digit()).then(|| version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_tag_and_a_port_is_not_a_tag() {
        for (image, version) in [
            ("limepoint/opschain-cnpg-operator:1.27.0", Some("1.27.0")),
            ("registry.example:5000/cnpg/operator:v1.28.0@sha256:00", Some("1.28.0")),
            ("registry.example:5000/cnpg/operator@sha256:00", None),
            ("cnpg/operator:latest", None),
            ("cnpg/operator", None),
        ] {
            assert_eq!(version_of(image).as_deref(), version, "{image}");
        }
    }
}
