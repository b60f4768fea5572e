//! Volume claims: who mounts them.

use k8s_openapi::api::core::v1::Pod;

use super::error::Result;
use super::kube::Cluster;

impl Cluster {
    /// Names the pods that mount the claim and have not ended.
    ///
    /// # Errors
    /// The pods may not be listed.
    pub async fn mounters(&self, claim: &str) -> Result<Vec<String>> {
        let pods = self.here::<Pod>().list(None).await?;
        Ok(pods.iter().filter(|pod| mounts(pod, claim)).filter_map(|pod| pod.metadata.name.clone()).collect())
    }
}

fn mounts(pod: &Pod, claim: &str) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    !matches!(phase, Some("Succeeded" | "Failed"))
        && volumes.flat_map(|volume| &volume.persistent_volume_claim).any(|source| source.claim_name == claim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_that_has_ended_mounts_nothing() {
        let pod = |phase: &str| -> Pod {
            serde_json::from_value(serde_json::json!({
                "metadata": {"name": "p"},
                "spec": {"containers": [], "volumes": [{"name": "d", "persistentVolumeClaim": {"claimName": "opschain-db-1"}}]},
                "status": {"phase": phase},
            }))
            .unwrap()
        };
        assert!(mounts(&pod("Running"), "opschain-db-1"));
        assert!(!mounts(&pod("Running"), "opschain-db-2"));
        assert!(!mounts(&pod("Succeeded"), "opschain-db-1"));
    }
}
