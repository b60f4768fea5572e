//! What the target's site says of a restore before anything is touched.

use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;

use super::plan::RestorePlan;
use super::strategy;
use crate::cluster::{PodPlacement, first_instance};
use crate::error::Result;
use crate::ops::Ctx;
use crate::ops::helper::{self, RecoveryVolume};

/// Has the API server judge the pod that the restore works in, which needs the namespace to be there. `spec` is the
/// database's, as the chart has it. Returns what is to be warned of.
///
/// # Errors
/// It would not be made; or the cluster cannot be asked.
pub(super) async fn pod_admitted(ctx: &Ctx, plan: &RestorePlan, spec: Option<&Value>) -> Result<Option<String>> {
    let Some(pod) = pod(ctx, plan, spec).await? else { return Ok(None) };
    let refusal = ctx.cluster().await?.admission(&pod).await?;
    helper::admitted("the pod that the restore works in", refusal.as_ref())
}

/// The pod as it will be made, as far as that is known by now.
async fn pod(ctx: &Ctx, plan: &RestorePlan, spec: Option<&Value>) -> Result<Option<Pod>> {
    if let Some(volume) = &plan.volume {
        return volume.pod(ctx, helper::NO_RUN).await.map(Some);
    }
    let Some(spec) = spec else { return Ok(None) };
    let placement: PodPlacement = strategy::placement_of(spec).unwrap_or_default();
    let image = spec["imageName"].as_str().unwrap_or("postgresql");
    let on = RecoveryVolume { claim: &first_instance(&plan.database), cpu: None, memory_bytes: 0 };
    helper::recovery_pod(ctx, helper::NO_RUN, image, &placement, on).await.map(Some)
}
