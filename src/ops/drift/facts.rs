//! What is asked of helm and the cluster before anything is compared.

use std::time::Duration;

use crate::cluster::{LiveObject, Wanted};
use crate::error::{CommandError, Exit, Result};
use crate::helm::Object;
use crate::ops::Ctx;
use crate::ops::history::History;
use crate::ops::objects;

/// What was seen beside history and values.
pub(super) struct DriftFacts {
    /// The major version of helm.
    pub helm_major: u64,
    /// The program that wrote helm's deployed revision, where no `dr` did.
    pub writer: Option<String>,
    /// The objects of the deployed revision; why there are none to compare, where there are none.
    pub objects: std::result::Result<SeenObjects, String>,
}

/// The objects of a release as helm stored them, and as the cluster has them, in the same order.
pub(super) struct SeenObjects {
    pub stored: Vec<Object>,
    pub live: Vec<LiveObject>,
    /// What an autoscaler scales.
    pub scaled: Vec<String>,
}

/// Asks. `limit` is how long the objects may take.
///
/// # Errors
/// There is no helm. What helm or the cluster cannot tell is said in the facts.
pub(super) async fn gather(ctx: &Ctx, history: &History, limit: Option<Duration>) -> Result<DriftFacts> {
    let helm_major = ctx.helm().await?.version().major;
    Ok(DriftFacts { helm_major, objects: seen(ctx, history, limit).await, writer: writer(ctx, history).await })
}

async fn seen(ctx: &Ctx, history: &History, limit: Option<Duration>) -> std::result::Result<SeenObjects, String> {
    let Some(deployed) = history.deployed() else { return Err("helm has no deployed revision".into()) };
    let text = |error: CommandError| ctx.secrets().scrub(&error.to_string()).into_owned();
    let helm = ctx.helm().await.map_err(text)?;
    let manifest = helm.get_manifest(&ctx.install().release, deployed.revision).await;
    let stored = manifest.map_err(|error| text(error.into()))?;
    ctx.events.waiting(format!("the cluster's {} objects of revision {}", stored.len(), deployed.revision), None);
    let asking = ask_cluster(ctx, stored);
    let Some(limit) = limit else { return asking.await.map_err(text) };
    tokio::time::timeout(limit, asking)
        .await
        .unwrap_or_else(|_| {
            let text = format!("the cluster did not answer for all of them in {} s", limit.as_secs());
            Err(CommandError::new(Exit::Timeout, text))
        })
        .map_err(text)
}

async fn ask_cluster(ctx: &Ctx, stored: Vec<Object>) -> Result<SeenObjects> {
    let cluster = ctx.cluster().await?;
    let wanted: Vec<Wanted> = stored
        .iter()
        .map(|object| Wanted {
            api_version: object.id.api_version.clone(),
            kind: object.id.kind.clone(),
            namespace: object.id.namespace.clone(),
            name: object.id.name.clone(),
        })
        .collect();
    let names: Vec<&str> = stored.iter().map(|object| object.id.name.as_str()).collect();
    // Without permission to list autoscalers, their work is shown as drift: better than nothing at all.
    let scaled = cluster.autoscalers(&names).await.unwrap_or_default().into_iter().map(|(_, target)| target).collect();
    let live = cluster.live_objects(&wanted).await?;
    for (object, live) in stored.iter().zip(&live) {
        objects::teach(ctx.secrets(), &object.fields);
        if let LiveObject::There { fields, .. } = live {
            objects::teach(ctx.secrets(), fields);
        }
    }
    Ok(SeenObjects { stored, live, scaled })
}

/// Asks the cluster which program wrote a revision that no `dr` made. Not to know it is no failure.
async fn writer(ctx: &Ctx, history: &History) -> Option<String> {
    let revision = history.deployed().filter(|_| history.own().is_none() && history.live().is_some())?.revision;
    let secret = format!("sh.helm.release.v1.{}.v{revision}", ctx.install().release);
    let writer = ctx.cluster().await.ok()?.writer_of_secret(&secret).await.ok().flatten()?;
    Some(writer.name)
}
