//! Volume claims: what they hold in size, whether they are bound, and who mounts them.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use serde::Serialize;

use super::error::Result;
use super::kube::Cluster;

/// What is known of a volume claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Volume {
    /// The claim's name.
    pub name: String,
    /// The claim's uid.
    pub uid: String,
    /// Whether a volume stands behind it. Some storage classes bind only when the first pod comes.
    pub bound: bool,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// What was asked for, in bytes.
    pub requested: Option<u64>,
    /// What the storage says it gave, in bytes. Some storage does not enforce it.
    pub capacity: Option<u64>,
    /// The storage class.
    pub class: Option<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Kinds and names of its owners, such as `Cluster opschain-db`.
    pub owners: Vec<String>,
}

impl Cluster {
    /// Reads a volume claim; `None` where there is none of the name.
    ///
    /// # Errors
    /// It may not be read.
    pub async fn volume(&self, claim: &str) -> Result<Option<Volume>> {
        Ok(self.here::<PersistentVolumeClaim>().get_opt(claim).await?.as_ref().map(Volume::from))
    }

    /// Lists volume claims by label, or all of the namespace.
    ///
    /// # Errors
    /// They may not be listed.
    pub async fn volumes(&self, labels: Option<&str>) -> Result<Vec<Volume>> {
        Ok(self.here::<PersistentVolumeClaim>().list(labels).await?.iter().map(Volume::from).collect())
    }

    /// Makes a volume claim. `false`: there is one of the name, and it is left as it is.
    ///
    /// # Errors
    /// It may not be made.
    pub async fn create_volume(&self, claim: &PersistentVolumeClaim) -> Result<bool> {
        match self.here::<PersistentVolumeClaim>().create(claim).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_conflict() => Ok(false),
            Err(error) => Err(error),
        }
    }

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

impl From<&PersistentVolumeClaim> for Volume {
    fn from(claim: &PersistentVolumeClaim) -> Self {
        let meta = &claim.metadata;
        let spec = claim.spec.as_ref();
        let status = claim.status.as_ref();
        let requested = spec.and_then(|s| s.resources.as_ref()?.requests.as_ref()?.get("storage"));
        let capacity = status.and_then(|s| s.capacity.as_ref()?.get("storage"));
        Self {
            name: meta.name.clone().unwrap_or_default(),
            uid: meta.uid.clone().unwrap_or_default(),
            bound: status.and_then(|s| s.phase.as_deref()) == Some("Bound"),
            deleting: meta.deletion_timestamp.is_some(),
            requested: requested.and_then(|quantity| bytes(&quantity.0)),
            capacity: capacity.and_then(|quantity| bytes(&quantity.0)),
            class: spec.and_then(|s| s.storage_class_name.clone()),
            labels: meta.labels.clone().unwrap_or_default(),
            annotations: meta.annotations.clone().unwrap_or_default(),
            owners: meta.owner_references.iter().flatten().map(|o| format!("{} {}", o.kind, o.name)).collect(),
        }
    }
}

/// Reads a Kubernetes quantity of bytes: `10Gi`, `500M`, `1e9`, `1073741824`. Fractions are rounded up.
///
/// After the API conventions' resource quantities: binary suffixes, decimal suffixes, or a decimal exponent.
pub fn bytes(quantity: &str) -> Option<u64> {
    const SUFFIXES: &[(&str, f64)] = &[
        ("Ki", 1024.0),
        ("Mi", 1048576.0),
        ("Gi", 1073741824.0),
        ("Ti", 1099511627776.0),
        ("Pi", 1125899906842624.0),
        ("Ei", 1152921504606846976.0),
        ("m", 0.001),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
        ("E", 1e18),
    ];
    let (number, factor) = SUFFIXES
        .iter()
        .find_map(|(suffix, factor)| quantity.strip_suffix(suffix).map(|number| (number, *factor)))
        .unwrap_or((quantity, 1.0));
    if factor == 1.0
        && let Ok(whole) = number.parse::<u64>()
    {
        return Some(whole);
    }
    let value = number.parse::<f64>().ok()? * factor;
    (value.is_finite() && value >= 0.0 && value <= u64::MAX as f64).then_some(value.ceil() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_as_kubernetes_reads_them() {
        for (text, expected) in [
            ("10Gi", 10_737_418_240),
            ("500M", 500_000_000),
            ("1e9", 1_000_000_000),
            ("1.5Ki", 1536),
            ("1073741824", 1_073_741_824),
            ("100m", 1),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(bytes(text), Some(expected), "{text}");
        }
        for text in ["", "Gi", "ten", "-1", "1Gb"] {
            assert_eq!(bytes(text), None, "{text}");
        }
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
