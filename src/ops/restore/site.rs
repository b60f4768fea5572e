//! What the target's site says of a restore before anything is touched.

use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;

use super::images::ReleaseImages;
use super::plan::RestorePlan;
use super::strategy::VolumePlan;
use super::{storage, strategy};
use crate::cluster::{PodPlacement, WantedClaim, first_instance};
use crate::error::{CommandError, Exit, Result};
use crate::helm::Object;
use crate::ops::helper::{self, RecoveryVolume};
use crate::ops::neighbours::StandingNeighbour;
use crate::ops::{Ctx, neighbours};

/// What a site says of a restore, beside what refuses it.
#[derive(Debug, Default)]
pub(super) struct SiteLook {
    /// What the database's volume will be made of.
    storage: Option<String>,
    taken_over: Vec<StandingNeighbour>,
    images: ReleaseImages,
    warnings: Vec<String>,
}

impl RestorePlan {
    /// The plan with what was seen of the site.
    pub(super) fn at_site(mut self, look: SiteLook) -> Self {
        let SiteLook { storage, taken_over, images, warnings } = look;
        self.warnings.extend(warnings);
        Self { storage, taken_over, images, ..self }
    }
}

/// Looks whether the cluster holds another OpsChain, and whether the chart's volumes can be made. `needed` is what the
/// database takes, in bytes.
///
/// # Errors
/// Another OpsChain is there, or a deleted one has left objects that `take_over` does not name; a storage class is missing;
/// or the cluster cannot be asked.
pub(super) async fn look(
    ctx: &Ctx,
    plan: &RestorePlan,
    rendered: &[Object],
    take_over: Option<&str>,
    needed: u64,
) -> Result<SiteLook> {
    let cluster = ctx.cluster().await?;
    let seen = neighbours::gather(ctx, rendered).await?;
    let neighbours = neighbours::judge(seen, &plan.namespace, &plan.release, take_over)?;
    let storage = storage::judge(&storage::wishes(rendered), &cluster.storage().await?, needed)?;
    let mut warnings = storage.warnings;
    warnings.extend(neighbours.warning);
    warnings.extend(neighbours::taken_words(&neighbours.taken, &plan.namespace, &plan.release));
    Ok(SiteLook { storage: storage.line, taken_over: neighbours.taken, images: ReleaseImages::of(rendered), warnings })
}

/// Has the API server judge the volume that is made before the database.
///
/// # Errors
/// [`Exit::Cluster`] with the words of what refuses it; or the cluster cannot be asked.
pub(super) async fn volume_admitted(ctx: &Ctx, plan: &RestorePlan) -> Result<()> {
    let Some(VolumePlan { size, storage_class, .. }) = &plan.volume else { return Ok(()) };
    let wanted =
        WantedClaim { database: &plan.database, size, storage_class: storage_class.as_deref(), run: helper::NO_RUN };
    match ctx.cluster().await?.claim_refusal(&wanted).await? {
        None => Ok(()),
        Some(why) => {
            Err(CommandError::new(Exit::Cluster, format!("the database's volume would not be admitted: {why}"))
                .hint("Have whoever set the rule make room, or restore into another namespace with -n."))
        }
    }
}

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
