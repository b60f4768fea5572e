//! What helm has stored in the namespace.

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use zeroize::Zeroizing;

use super::error::ClusterError;
use super::kube::Cluster;
use crate::helm::{HelmError, PackedRelease, ReleaseSecrets};

#[async_trait]
impl ReleaseSecrets for Cluster {
    async fn of(&self, release: &str) -> Result<Vec<PackedRelease>, HelmError> {
        let selector = format!("owner=helm,name={release}");
        let secrets = self.here::<Secret>().list(Some(&selector)).await.map_err(in_helms_words)?;
        let packed = secrets.into_iter().filter_map(|secret| {
            let (secret_name, labels) = (secret.name_any(), secret.metadata.labels.unwrap_or_default());
            Some(PackedRelease {
                secret: secret_name,
                version: labels.get("version").and_then(|version| version.parse().ok()),
                status: labels.get("status").cloned(),
                packed: Zeroizing::new(secret.data?.remove("release")?.0),
            })
        });
        Ok(packed.collect())
    }
}

fn in_helms_words(error: ClusterError) -> HelmError {
    let verb = "release".to_owned();
    match error {
        ClusterError::Forbidden { ask } => HelmError::Forbidden { verb, right: ask.to_string() },
        error => HelmError::Failed { verb, said: error.to_string() },
    }
}
