//! The volumes that are asked for, as they are found.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::request::CreateRequest;
use crate::cluster::{ClaimUse, PodPlacement, PodRefusal};
use crate::error::Result;
use crate::ops::{Ctx, helper};
use crate::opschain::volumes::{self, VOLUMES};

/// What is known of volumes before anything is touched.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct AskedVolumes {
    /// The names that were asked for.
    pub wanted: Vec<String>,
    /// The claims of those that OpsChain is known to have.
    pub claims: Vec<ClaimUse>,
    /// Why the API server would not make the pod that reads a volume, by the volume's name.
    pub refusals: Vec<(String, PodRefusal)>,
}

/// Looks at the claims, and asks for a pod on each that is wanted.
pub(super) async fn look(
    ctx: &Ctx,
    wanted: Vec<String>,
    database: Option<(&str, &PodPlacement)>,
) -> Result<AskedVolumes> {
    if wanted.is_empty() {
        return Ok(AskedVolumes::default());
    }
    let cluster = ctx.cluster().await?;
    let claims = cluster.claims_in_use(&VOLUMES.map(|volume| volume.claim)).await?;
    let mut refusals = Vec::new();
    for name in &wanted {
        let claim = volumes::known(name).and_then(|known| claims.iter().find(|claim| claim.claim == known.claim));
        if let (Some(claim), Some((image, placement))) = (claim, database) {
            let placement = placed(claim, placement);
            let pod = helper::volume_pod(ctx, helper::NO_RUN, name, image, &placement, &claim.claim, false).await?;
            refusals.extend(cluster.admission(&pod).await?.map(|refusal| (name.clone(), refusal)));
        }
    }
    Ok(AskedVolumes { wanted, claims, refusals })
}

/// Where the pod goes that reads the claim's volume.
pub(super) fn placed(claim: &ClaimUse, database: &PodPlacement) -> PodPlacement {
    claim.placement.clone().map_or_else(|| database.clone(), |placement| placement.pulling_as(database))
}

/// Which names are asked for: those of the command, or else of the settings.
pub(super) fn wanted(request: &CreateRequest, settings: &[String]) -> Vec<String> {
    let mut names = request.with.clone().unwrap_or_else(|| settings.to_vec());
    let mut seen = BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_command_names_goes_before_the_settings_and_each_name_counts_once() {
        let settings = ["git".to_owned()];
        let asked = |with: Option<&[&str]>| {
            let with = with.map(|names| names.iter().map(|&name| name.to_owned()).collect());
            wanted(&CreateRequest { with, ..CreateRequest::default() }, &settings)
        };
        assert_eq!(asked(None), ["git"]);
        assert_eq!(asked(Some(&["steps", "registry", "steps"])), ["steps", "registry"]);
        assert!(asked(Some(&[])).is_empty());
    }
}
