//! Some objects of a revision against those of the cluster.

use super::facts::ask_cluster;
use super::objects::judge;
use super::report::DriftFinding;
use crate::cluster::ObjectRef;
use crate::error::Result;
use crate::helm::Object;
use crate::ops::Ctx;
use crate::ops::objects::comparing_scrubber;

/// What differs of the `wanted` objects of the namespace between what helm stored in a revision and the cluster. Those
/// that are not part of the revision are left out; no secret is shown.
///
/// # Errors
/// helm or the cluster cannot be asked.
pub(in crate::ops) async fn of_objects(ctx: &Ctx, revision: u32, wanted: &[&ObjectRef]) -> Result<Vec<DriftFinding>> {
    let mut stored = ctx.helm().await?.get_manifest(&ctx.install().release, revision).await?;
    let is_wanted = |object: &Object| wanted.iter().any(|one| one.kind == object.id.kind && one.name == object.id.name);
    stored.retain(is_wanted);
    Ok(judge(&ask_cluster(ctx, &stored, &comparing_scrubber(None)?).await?, None).findings)
}
