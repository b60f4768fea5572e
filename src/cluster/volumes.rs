//! Volume claims: who mounts them, and those of a database's other instances.

use std::time::Duration;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::api::{DeleteParams, ObjectMeta};

use super::database::{CLUSTER_LABEL, POSTGRES_CONTAINER};
use super::error::{ClusterError, Result};
use super::kube::Cluster;
use super::wait::Wait;
use crate::event::Events;

/// How long a pod may take to say how full its volume is.
const ASK_LIMIT: Duration = Duration::from_secs(60);

impl Cluster {
    /// Names the pods that mount the claim and have not ended.
    ///
    /// # Errors
    /// The pods may not be listed.
    pub async fn mounters(&self, claim: &str) -> Result<Vec<String>> {
        let pods = self.here::<Pod>().list(None).await?;
        Ok(pods.iter().filter(|pod| mounts(pod, claim)).filter_map(|pod| pod.metadata.name.clone()).collect())
    }

    /// The room on the volume of a database's `pod` in bytes.
    ///
    /// # Errors
    /// The pod cannot be asked, or its answer is not understood.
    pub async fn volume_free(&self, pod: &str) -> Result<u64> {
        let command = ["df", "-B1", "--output=avail", "/var/lib/postgresql/data"];
        let said = self.exec_ok(pod, POSTGRES_CONTAINER, &command, None, ASK_LIMIT).await?;
        let text = String::from_utf8_lossy(&said);
        let free = text.lines().last().and_then(|line| line.trim().parse().ok());
        free.ok_or_else(|| ClusterError::Unexpected {
            act: format!("ask pod {pod} for the room on its volume"),
            cause: "its answer is no number".to_owned(),
        })
    }

    /// Deletes the claims of a sleeping database's instances but `keep`, and waits until they are gone. The operator makes
    /// those instances anew, from the one that is left. Returns the names.
    ///
    /// # Errors
    /// They may not be listed or deleted, or are not gone within `limit`.
    pub async fn delete_other_claims(
        &self,
        database: &str,
        keep: &str,
        limit: Duration,
        events: &Events,
    ) -> Result<Vec<String>> {
        let claims = self.here::<PersistentVolumeClaim>();
        let label = format!("{CLUSTER_LABEL}={database}");
        let mut wait =
            Wait::new("the volumes of the other instances to be gone", limit, events).within(self.namespace());
        let mut deleted = Vec::new();
        loop {
            let mut left = claims.list(Some(&label)).await?.into_iter().map(|claim| claim.metadata).collect::<Vec<_>>();
            left.retain(|claim| !is_of_instance(claim, keep));
            if left.is_empty() {
                return Ok(deleted);
            }
            let names: Vec<String> = left.into_iter().filter_map(|claim| claim.name).collect();
            for name in names.iter().filter(|name| !deleted.contains(*name)).cloned().collect::<Vec<_>>() {
                claims.delete(&name, &DeleteParams::background()).await?;
                deleted.push(name);
            }
            wait.not_yet(Some(names.join(", "))).await?;
        }
    }
}

/// An instance has a claim of its own name, and perhaps others that say whose they are.
fn is_of_instance(claim: &ObjectMeta, instance: &str) -> bool {
    let labels = claim.labels.as_ref();
    let owner = labels.and_then(|labels| labels.get("cnpg.io/instanceName")).or(claim.name.as_ref());
    owner.is_some_and(|owner| owner == instance)
}

pub(super) fn mounts(pod: &Pod, claim: &str) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    !matches!(phase, Some("Succeeded" | "Failed"))
        && volumes.flat_map(|volume| &volume.persistent_volume_claim).any(|source| source.claim_name == claim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_keeps_the_claims_that_are_its_own() {
        let claim = |name: &str, instance: Option<&str>| ObjectMeta {
            name: Some(name.into()),
            labels: instance.map(|of| [("cnpg.io/instanceName".to_owned(), of.to_owned())].into()),
            ..ObjectMeta::default()
        };
        let own = [claim("db-1", Some("db-1")), claim("db-1-wal", Some("db-1")), claim("db-1", None)];
        assert!(own.iter().all(|claim| is_of_instance(claim, "db-1")));
        assert!(
            !is_of_instance(&claim("db-2", Some("db-2")), "db-1") && !is_of_instance(&claim("db-12", None), "db-1")
        );
    }

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
